//! Treasury runs: a list of accounts and amounts, each paid once, whatever happens meanwhile.
//!
//! [`Treasury::plan`] says what the list costs by either way of paying, batched transfers and claims, and
//! [`Treasury::run`] pays. Three things keep a payment from being made twice or not at all: a journal on
//! disk that fixes the list, the way and the size of the batches before anything is sent; the chain
//! handle's store, in which a batch has a key of its own; and `Disperse`, which takes a key of an account
//! once. So a run that was cut off at any point is run again with the same journal and goes on.

mod journal;
mod list;
mod plan;
mod publish;
mod transfers;

use std::path::Path;

use depin_core::{Address, Amount, Error, ErrorKind, Result};
use depin_evm::{
    Chain,
    alloy::providers::DynProvider,
    bindings::{Disperse, NetworkToken},
};

use super::{EvmDistributor, approval::approve, calls::create};
use crate::Cumulative;
use journal::{Journal, Terms};
pub use list::PayList;
pub use plan::{Estimate, Plan, Way};

/// Pays lists of accounts from the account of a chain handle.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Address, Amount, NetworkId, reward::TokenLedger};
/// use depin_devnet::Devnet;
/// use depin_evm::{Chain, DeployOptions, deploy};
/// use depin_payment::{Cumulative, evm::{EvmDistributor, EvmToken, PayList, Treasury, Way}};
///
/// let devnet = Devnet::start();
/// let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await?;
/// let contracts = deploy(&chain, &DeployOptions::new(NetworkId::parse("climate")?)).await?;
/// let distributor = EvmDistributor::new(chain.clone(), contracts.distributor);
/// let treasury = Treasury::new(chain.clone(), contracts.token)
///     .claims(distributor, Cumulative::default());
///
/// let (ann, bob) = (Address::repeat_byte(1), Address::repeat_byte(2));
/// let list = PayList::new("november", [(ann, Amount::tokens(3)), (bob, Amount::tokens(4))])?;
/// let plan = treasury.plan(&list).await?;
/// assert_eq!(plan.way(), Way::Claims, "nothing else was set up");
///
/// let folder = tempfile::tempdir().unwrap();
/// let report = treasury.run(&plan, folder.path().join("november.run")).await?;
/// assert_eq!((report.paid, report.amount), (2, Amount::tokens(7)));
/// assert_eq!(EvmToken::new(chain, contracts.token).balance(bob).await?, Amount::tokens(4));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Treasury {
    chain: Chain,
    token: Address,
    disperse: Option<Address>,
    claims: Option<(EvmDistributor, Cumulative)>,
    claim_every: u32,
    batch: usize,
}

/// What a run did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunReport {
    /// How the run pays.
    pub way: Way,
    /// Recipients who have their money, by this call and earlier ones of the same run.
    pub paid: usize,
    /// What they got.
    pub amount: Amount,
    /// Recipients who cannot receive. The others of their batch were paid without them.
    pub unpaid: Vec<Unpaid>,
    /// Recipients who have yet to claim: claims are left to them, or the epoch can still be disputed. In that
    /// case run it again when its window is over.
    pub to_claim: usize,
    /// Gas of the batches that this call sent.
    pub gas: u64,
    /// After a run by claims, what all accounts have earned with it: the beginning of the next run.
    pub balances: Option<Cumulative>,
}

/// A recipient whom the token does not let receive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpaid {
    /// Who.
    pub account: Address,
    /// What they should have got.
    pub amount: Amount,
    /// What the token said.
    pub reason: String,
}

impl Treasury {
    /// A treasury that pays in the token at `token`. Say next which ways are open to it.
    pub const fn new(chain: Chain, token: Address) -> Self {
        Self { chain, token, disperse: None, claims: None, claim_every: 1, batch: Self::MAX_BATCH }
    }

    /// Most recipients of a batch: at 27,000 gas for one who never had the token, they cost less than
    /// three quarters of the 16,777,216 gas that a transaction may have (EIP-7825), which leaves room for
    /// the fifth that the sender adds to what was estimated.
    pub const MAX_BATCH: usize = 450;

    /// Opens batched transfers: the `Disperse` contract that moves the tokens of the account, which has to
    /// [allow](Self::allow) it.
    #[must_use]
    pub const fn transfers(mut self, disperse: Address) -> Self {
        self.disperse = Some(disperse);
        self
    }

    /// Opens claims: the distributor, whose publisher the account is, and what all accounts have earned
    /// with the epochs published so far. The run is its next epoch; it issues new tokens rather than
    /// moving those of the account.
    #[must_use]
    pub fn claims(mut self, distributor: EvmDistributor, balances: Cumulative) -> Self {
        self.claims = Some((distributor, balances));
        self
    }

    /// How many runs recipients let pass before they claim; one unless told. With one, the treasury claims
    /// for everybody at once. With more it publishes and leaves the claims to the recipients.
    #[must_use]
    pub fn claim_every(mut self, runs: u32) -> Self {
        self.claim_every = runs.max(1);
        self
    }

    /// At most so many recipients in a batch, for chains with smaller blocks.
    #[must_use]
    pub fn batch(mut self, recipients: usize) -> Self {
        self.batch = recipients.clamp(1, Self::MAX_BATCH);
        self
    }

    /// Puts a `Disperse` contract on the chain. The chain handle's store remembers the one it has.
    ///
    /// # Errors
    /// As [`Chain::send_once`].
    pub async fn deploy_disperse(chain: &Chain) -> Result<Address> {
        let tx = Disperse::deploy_builder(chain.provider()).into_transaction_request();
        create(chain, "treasury/disperse", tx).await
    }

    /// Lets `Disperse` move so much of the account's tokens, for all runs until it is used up.
    ///
    /// # Errors
    /// As [`Chain::send`]; [`ErrorKind::Config`] when transfers are not open.
    pub async fn allow(&self, amount: Amount) -> Result<()> {
        let disperse = self.disperse.ok_or_else(|| closed(Way::Transfers))?;
        approve(&self.chain, self.token, disperse, amount).await
    }

    /// Pays what the plan says, once, however often it is called with the same journal.
    ///
    /// The journal is a file that is made before anything is sent; keep it until the run is over, and with
    /// the books after that. Where it exists already, the way that it names is gone on with, even when the
    /// plan chose another. A batch that reverts is tried again; when single recipients are the reason, they
    /// are written down and the others are paid without them.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the balance or the allowance of the account is too small, before
    /// anything is sent; [`ErrorKind::Conflict`] when the journal belongs to another list, account or chain,
    /// is in use by another process, or when the run's name was used for another list;
    /// [`ErrorKind::Corrupt`] when the journal is damaged; [`ErrorKind::Unavailable`] when the chain or the
    /// disk does not answer now: run it again with the same journal.
    pub async fn run(&self, plan: &Plan, journal: impl AsRef<Path>) -> Result<RunReport> {
        let list = plan.list();
        let mut journal = Journal::open(journal.as_ref(), self.terms(plan)?, list)?;
        self.chain.settle().await?;
        match journal.terms().clone() {
            Terms { disperse: Some((disperse, batch)), .. } => {
                self.transfer_all(disperse, batch, list, &mut journal).await
            }
            terms => self.publish(&terms, list).await,
        }
    }

    /// What a new journal fixes.
    fn terms(&self, plan: &Plan) -> Result<Terms> {
        let mut terms = Terms::new(self.chain.id(), self.chain.account(), self.token);
        match plan.way() {
            Way::Transfers => {
                let disperse = self.disperse.ok_or_else(|| closed(Way::Transfers))?;
                terms.disperse = Some((disperse, self.batch));
            }
            Way::Claims => {
                let (distributor, balances) =
                    self.claims.as_ref().ok_or_else(|| closed(Way::Claims))?;
                terms.distributor = Some((distributor.roots().address(), publish::next(balances)?));
            }
        }
        Ok(terms)
    }

    /// Refuses a run that could not be paid to its end.
    async fn check_funds(&self, disperse: Address, needed: Amount) -> Result<()> {
        let (token, account) = (self.contract(), self.chain.account());
        let held = self.chain.read(&token.balanceOf(account)).await.map(Amount::units)?;
        if held < needed {
            let text = "the treasury holds less than the run pays";
            return Err(short(text, held, needed));
        }
        let allowed =
            self.chain.read(&token.allowance(account, disperse)).await.map(Amount::units)?;
        if allowed < needed {
            let text = "the treasury allows Disperse less than the run pays; allow more";
            return Err(short(text, allowed, needed));
        }
        Ok(())
    }

    fn contract(&self) -> NetworkToken::NetworkTokenInstance<&DynProvider> {
        NetworkToken::new(self.token, self.chain.provider())
    }
}

fn short(text: &'static str, has: Amount, needed: Amount) -> Error {
    Error::new(ErrorKind::Rejected, text).with("has", has).with("needed", needed)
}

fn closed(way: Way) -> Error {
    let text = "this way of paying is not set up; tell the treasury its contract";
    Error::new(ErrorKind::Config, text).with("way", way)
}
