//! Where the story happens: a chain, a network, a seller with a station and a buyer with tokens.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use depin::{
    Address, Algorithm, Amount, Device, EpochId, Network, Quantity, Reading, SoftwareKey,
    Timestamp,
    alloy::providers::Provider,
    dec,
    devnet::Devnet,
    evm::Chain,
    hw::SimulatedPebble,
    payment::{ProRata, evm::EvmChannel},
    presets, tokens,
};

use crate::EARNED;

/// Somebody with an account on the chain.
pub struct Person {
    /// Reads and sends as this account.
    pub chain: Chain,
    /// What the account signs with.
    pub key: Arc<SoftwareKey>,
}

impl Person {
    async fn of(devnet: &Devnet, number: u16) -> Result<Self> {
        let account = devnet.account(number);
        let key = SoftwareKey::from_bytes(Algorithm::Es256k, &account.to_bytes().0)?;
        let chain = Chain::from_provider(devnet.provider(), account).connect().await?;
        Ok(Self { chain, key: Arc::new(key) })
    }

    pub fn account(&self) -> Address {
        self.chain.account()
    }
}

/// Everything before the first sale.
pub struct Town {
    pub network: Network,
    /// What is earned and spent.
    pub token: Address,
    /// The contract with everybody's channels.
    pub channels: Address,
    pub ann: Person,
    pub bob: Person,
    /// Ann's station.
    pub station: Device,
}

impl Town {
    /// Founds a network in which Ann and Bob measured and were paid. Ann's station signed `batches` batches.
    pub async fn found(batches: u64) -> Result<Self> {
        let preset = presets::devnet().await?;
        let devnet = preset.embedded().context("the preset has an embedded chain")?.clone();
        let (ann, bob) = (Person::of(&devnet, 1).await?, Person::of(&devnet, 2).await?);
        let network = Network::builder(preset)
            .name("weather")
            .rewards(ProRata::per_epoch(tokens(EARNED)))
            .build()
            .await?;
        let station = network.enroll(SimulatedPebble::new(1), ann.account()).await?;
        let other = network.enroll(SimulatedPebble::new(2), bob.account()).await?;
        let start = network.clock().now();
        for minute in 0..batches {
            let at = start.minus(Duration::from_secs(60 * (batches - minute)));
            station.send(&[measured(minute, at)]).await?;
            other.send(&[measured(minute, at)]).await?;
        }
        network.close_epoch(EpochId::new(0)).await?;
        network.claim_all([station.did(), other.did()]).await?;

        let token = network.deployment().context("the network has contracts")?.token;
        let channels = EvmChannel::deploy(ann.chain.clone()).await?.address();
        Ok(Self { network, token, channels, ann, bob, station })
    }

    /// How many transactions Ann and Bob have sent.
    pub async fn transactions(&self) -> Result<u64> {
        let mut sum = 0;
        for Person { chain, .. } in [&self.ann, &self.bob] {
            sum += chain.ask(chain.provider().get_transaction_count(chain.account())).await?;
        }
        Ok(sum)
    }

    /// What somebody has.
    pub async fn balance(&self, person: &Person) -> Result<Amount> {
        Ok(self.network.token().balance(person.account()).await?)
    }
}

/// The temperature of a day that turns slowly.
fn measured(minute: u64, at: Timestamp) -> Reading {
    let degrees = 15 + i32::try_from(minute % 20).unwrap_or(0) / 2;
    Reading::new(Quantity::new("temperature", "Cel"), dec(degrees), at)
}
