//! The payee's side of escrow rails: spends out of what flows.

use async_trait::async_trait;
use depin_core::{
    Address, Amount, B256, Error, ErrorKind, Result, U256,
    payment::{Accepted, Charge, Payment, PaymentRail, RailBalance, Settlement},
};
use depin_evm::{
    Chain,
    alloy::{
        eips::BlockId,
        rpc::types::{Filter, Log},
        sol_types::SolEvent,
    },
    bindings::ServiceEscrow as Contract,
};

use super::{EvmEscrow, is_unknown};
use crate::{
    evm::{
        approval::{Sent, key_of, send},
        flow::{Flow, TimeRail, rejected, state},
    },
    rail::{RailStore, damaged},
    typed::Domain,
};

/// Takes spends out of escrow rails to a payee.
///
/// A spend is good when all spends out of its rail together stay within what the rail has credited the payee or
/// owes it now. What is credited is in the payee's account of the escrow: [`EvmEscrow::withdraw`] takes it out. Only
/// keys sign spends, not contracts.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use depin_core::{
///     Address, Algorithm, Amount, B256, NetworkId, SoftwareKey,
///     payment::{Charge, Payer, PaymentRail, Settlement},
/// };
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, Role, Roles, bindings::NetworkToken, deploy};
/// use depin_payment::{
///     evm::{EscrowRail, EvmEscrow, RailTerms},
///     rail::{RailStore, SpendPayer},
/// };
///
/// let devnet = Devnet::start();
/// let payers = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let payees = Chain::from_provider(devnet.provider(), devnet.account(1)).connect().await?;
/// let (payer, payee) = (payers.account(), payees.account());
/// # let token = deploy(&payers, &DeployOptions::new(NetworkId::parse("climate")?)).await?.token;
/// # Roles::of(payers.clone(), token).grant(Role::MINTER, payer).await?;
/// # let contract = NetworkToken::new(token, payers.provider());
/// # let mint = contract.mint(payer, Amount::tokens(1).to_units());
/// # payers.send(mint.into_transaction_request()).await?;
/// let escrow = EvmEscrow::deploy(payers).await?;
/// escrow.deposit("account", token, Amount::from(1_200)).await?;
/// escrow.allow_operator("service", token, payee, 10, 1_000, 20).await?;
///
/// let service = EvmEscrow::new(payees, escrow.address());
/// let validator = Address::ZERO;
/// let (rate, lockup_period, lockup_fixed) = (10, 20, 0);
/// let terms = RailTerms { payer, payee, token, validator, rate, lockup_period, lockup_fixed };
/// let number = service.open_rail("service", &terms).await?;
/// devnet.increase_time(100).expect("time passes");
/// devnet.mine(1);
///
/// // Signed by the payer, taken by the payee, and paid out of what has flowed.
/// let key = SoftwareKey::from_bytes(Algorithm::Es256k, &devnet.account(0).to_bytes().0)?;
/// let folder = tempfile::tempdir().expect("a folder");
/// let path = folder.path().join("wallet");
/// let limit = Amount::from(1_000);
/// let wallet = SpendPayer::escrow(&path, escrow.domain(), number, payee, token, Arc::new(key), limit)?;
/// let rail = EscrowRail::new(service.clone(), payee, token, validator, 0, RailStore::in_memory()?)?;
/// let charge = Charge { id: B256::repeat_byte(1), payee, amount: Amount::from(400) };
/// rail.accept(&charge, &wallet.pay(&charge).await?).await?;
/// let settled = rail.settle().await?;
/// assert!(matches!(settled, Settlement::Settled { amount, .. } if amount == Amount::from(400)));
/// assert!(service.account(token, payee).await?.funds >= Amount::from(400));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct EscrowRail(TimeRail<Rails>);

impl EscrowRail {
    /// Takes spends in `token` for `payee` out of rails with this `validator`, zero for none; remembers in `store`.
    /// `since` is a block before the first rail, at best that of the contract. All that flowed from there on can be
    /// spent, so a payee whose store is lost settles all rails first and begins the new store with the block after.
    ///
    /// A validator's judgement counts as it is now, so name only one whom the payee trusts to keep it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the store belongs to another rail.
    pub fn new(
        escrow: EvmEscrow,
        payee: Address,
        token: Address,
        validator: Address,
        since: u64,
        store: RailStore,
    ) -> Result<Self> {
        let rails = Rails { escrow, payee, token, validator };
        TimeRail::new(rails, payee, token, since, store).map(Self)
    }
}

#[async_trait]
impl PaymentRail for EscrowRail {
    fn scheme(&self) -> &'static str {
        "escrow"
    }

    async fn accept(&self, charge: &Charge, payment: &Payment) -> Result<Accepted> {
        self.0.accept(charge, payment).await
    }

    async fn settle(&self) -> Result<Settlement> {
        self.0.settle().await
    }

    async fn balance(&self) -> Result<RailBalance> {
        self.0.balance().await
    }
}

/// Rails of all payers to one payee. A source is the number of a rail.
#[derive(Debug)]
struct Rails {
    escrow: EvmEscrow,
    payee: Address,
    token: Address,
    validator: Address,
}

#[async_trait]
impl Flow for Rails {
    // A rail closes.
    const ALWAYS_CHECKED: bool = true;

    fn chain(&self) -> &Chain {
        &self.escrow.chain
    }

    fn domain(&self) -> Domain {
        self.escrow.domain()
    }

    fn source<'a>(&self, payment: &'a Payment) -> Result<(Vec<u8>, &'a [u8])> {
        let (rail, signature) = payment.proof.split_first_chunk::<8>().ok_or_else(|| {
            let text = "a spend out of escrow begins with the number of its rail in 8 bytes";
            Error::new(ErrorKind::Malformed, text)
        })?;
        Ok((rail.to_vec(), signature))
    }

    fn rail(source: &[u8]) -> Result<u64> {
        source.try_into().map(u64::from_be_bytes).map_err(|_| damaged())
    }

    async fn check(&self, source: &[u8], payer: Address) -> Result<()> {
        let number = number_of(source)?;
        let rail = match self.escrow.chain.read(&self.escrow.contract().railOf(number)).await {
            Ok(rail) => rail,
            Err(error) if is_unknown(&error) => {
                return Err(rejected("there is no such rail").with("rail", number).source(error));
            }
            Err(error) => return Err(error),
        };
        let same = (rail.payer, rail.payee, rail.token, rail.validator)
            == (payer, self.payee, self.token, self.validator);
        if same {
            return Ok(());
        }
        let text = "the rail is closed, or has another payer, payee, token or validator";
        Err(rejected(text).with("rail", number))
    }

    fn credits(&self, source: &[u8]) -> Result<Filter> {
        let credits = [Contract::RailSettled::SIGNATURE_HASH, Contract::FixedPaid::SIGNATURE_HASH];
        let filter = Filter::new().address(self.escrow.address).event_signature(credits.to_vec());
        Ok(filter.topic1(B256::from(number_of(source)?)))
    }

    fn credited(log: &Log) -> Option<U256> {
        let settled = log.log_decode::<Contract::RailSettled>().map(|log| log.inner.data.amount);
        settled
            .or_else(|_| log.log_decode::<Contract::FixedPaid>().map(|l| l.inner.data.amount))
            .ok()
    }

    async fn owed(&self, source: &[u8], at: BlockId) -> Result<Amount> {
        self.escrow.owed_at(Self::rail(source)?, at).await
    }

    async fn pull(&self, source: &[u8], received: Amount) -> Result<Sent> {
        let contract = self.escrow.contract();
        let call = contract.settle(number_of(source)?, U256::MAX);
        let tx = call.into_transaction_request();
        let key = key_of("settle", self.escrow.address, &tx, state(received));
        send(&self.escrow.chain, &key, tx).await
    }
}

fn number_of(source: &[u8]) -> Result<U256> {
    Rails::rail(source).map(U256::from)
}
