//! How readings are bought, and checked.

use std::sync::Arc;

use anyhow::{Result, ensure};
use axum::http::Request;
use depin::{
    Amount, B256, SignedBatch, SystemClock, Unverified,
    data::batch::BatchVerifier,
    payment::{
        channel::Terms,
        evm::EvmChannel,
        rail::ChannelPayer,
        x402::{Allowance, PayingClient, Policy, Purse, Tab, Wallet},
    },
};

use crate::town::Town;

/// One way of paying, and what it came to.
#[derive(Clone, Debug)]
pub struct Purchase {
    pub way: &'static str,
    pub requests: u64,
    pub paid: Amount,
}

/// Bob.
pub struct Buyer<'a> {
    town: &'a Town,
    url: String,
    price: Amount,
}

impl<'a> Buyer<'a> {
    pub fn new(town: &'a Town, url: String, price: Amount) -> Self {
        Self { town, url, price }
    }

    /// Buys readings one by one: each is a transfer that Bob signs and Ann sends.
    pub async fn with_x402(&self, requests: u64) -> Result<Purchase> {
        let bob = &self.town.bob;
        let (chain, asset) = (bob.chain.id(), self.town.token);
        let total = self.price.mul_div(requests.into(), 1.into())?;
        let allowance = Allowance { chain, asset, each: self.price, total };
        let policy = Policy::default().allow(allowance).only_to([self.town.ann.account()]);
        let purse = Purse::new(bob.key.clone(), policy, Arc::new(SystemClock))?;
        self.buy(&PayingClient::new(purse)?, requests).await?;
        Ok(Purchase { way: "x402", requests, paid: total })
    }

    /// Buys readings with vouchers: a deposit before, a settlement after, and a signature for each request.
    pub async fn with_vouchers(&self, requests: u64) -> Result<Purchase> {
        let (ann, bob) = (&self.town.ann, &self.town.bob);
        let terms = Terms {
            payer: bob.account(),
            payee: ann.account(),
            token: self.town.token,
            signer: bob.account(),
            challenge: 86_400,
            salt: B256::ZERO,
        };
        let total = self.price.mul_div(requests.into(), 1.into())?;
        let channel = EvmChannel::new(bob.chain.clone(), self.town.channels);
        channel.deposit("readings", &terms, total).await?;
        let key = bob.key.clone();
        let payer = ChannelPayer::in_memory(channel.domain(), terms, key.clone(), total)?;
        let tab = Tab::new(payer, channel.domain(), self.price);
        // The purse allows nothing: only the tab pays.
        let purse = Purse::new(key, Policy::default(), Arc::new(SystemClock))?;
        let wallet = Wallet::new(purse).with_tab(tab);
        self.buy(&PayingClient::new(wallet)?, requests).await?;
        Ok(Purchase { way: "vouchers", requests, paid: total })
    }

    /// Asks for the first readings, whatever the client pays with.
    async fn buy(&self, client: &PayingClient, requests: u64) -> Result<()> {
        for n in 0..requests {
            let request = Request::get(format!("{}/readings/{n}", self.url)).body(Vec::new())?;
            let paid = client.send(request, &mut rand::thread_rng()).await?;
            let settled = paid.settlement.is_some_and(|settlement| settlement.success);
            ensure!(settled, "reading {n} was not paid for: {:?}", paid.response.status());
            self.check(paid.response.into_body()).await?;
        }
        Ok(())
    }

    /// Whether Ann's station signed this, whatever the server says.
    async fn check(&self, bytes: Vec<u8>) -> Result<()> {
        let network = &self.town.network;
        let station = network.device(self.town.station.did()).await?;
        let verifier = BatchVerifier::new(network.id(), &station.key);
        let batch = Unverified::new(SignedBatch::new(bytes)).verify(&verifier)?;
        ensure!(!batch.readings.is_empty(), "an empty batch was sold");
        Ok(())
    }
}
