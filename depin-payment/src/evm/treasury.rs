//! Treasury runs: a list of accounts and amounts, each paid once, whatever happens meanwhile.
//!
//! [`Treasury::plan`] says what the list costs by either way of paying, batched transfers and claims, and
//! [`Treasury::run`] pays. Three things keep a payment from being made twice or not at all: a journal on
//! disk that fixes the list, the way and the size of the batches before anything is sent; the chain
//! handle's store, in which a batch has a key of its own; and the chain, where `Disperse` takes a key of an
//! account once and an epoch names the list that it pays. So a run that was cut off at any point is run again
//! with the same journal and goes on, and one whose journal was lost is found on chain.

mod closing;
mod csv;
mod decimals;
mod disperse;
mod guard;
mod journal;
mod list;
mod notes;
mod parts;
mod plan;
mod publish;
mod published;
mod rebuild;
mod received;
mod transfers;
mod unpaid;

use std::{collections::BTreeSet, path::Path};

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result};
use depin_evm::{
    Chain,
    alloy::{primitives::TxKind, providers::DynProvider, sol_types::SolCall},
    bindings::{Disperse, NetworkToken},
};

use super::{EvmDistributor, approval::approve, calls::patiently};
use crate::Cumulative;
use decimals::Decimals;
use journal::{Journal, Place, Terms};
pub use list::PayList;
pub use plan::{Estimate, Plan, Way};
pub use unpaid::{Refusal, Unpaid};

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
    batch: Option<usize>,
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
    /// Recipients who have yet to claim. Either claims are left to them; or the epoch can still be disputed, and
    /// the run is run again when its window is over; or a later epoch serves claims than the balances of the
    /// treasury know, and the run is run again with the balances of that one.
    pub to_claim: usize,
    /// Gas of the batches, or of the publication and the claims, that this call sent.
    pub gas: u64,
    /// The transactions that paid, in their order, by this call and earlier ones with the same journal. One that
    /// was mined while the process died is missing.
    pub transactions: Vec<B256>,
    /// After a run by claims, what all accounts have earned with it: the beginning of the next run.
    /// [Save](Cumulative::save) it beside the journal; with a dispute window, keep the file of the run before until the
    /// epoch is active: an epoch that is rejected is made again from that.
    pub balances: Option<Cumulative>,
}

impl Treasury {
    /// A treasury that pays in the token at `token`. Say next which ways are open to it.
    pub const fn new(chain: Chain, token: Address) -> Self {
        Self { chain, token, disperse: None, claims: None, claim_every: 1, batch: None }
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

    /// At most so many recipients in a batch, for chains with smaller blocks. A run of which anything was paid
    /// keeps its batches, and one of which anything was sent does until no reorganisation can have that executed.
    #[must_use]
    pub fn batch(mut self, recipients: usize) -> Self {
        self.batch = Some(recipients.clamp(1, Self::MAX_BATCH));
        self
    }

    /// Puts the `Disperse` contract on the chain, unless it is there: everybody shares one, whose address follows
    /// from its code. It keeps nothing but which account paid which batch, so it is also found, and with it what
    /// was paid, by a treasury that lost everything else.
    ///
    /// # Errors
    /// As [`Chain::send_once`]; [`ErrorKind::Unsupported`] on a chain without the contract at
    /// `0x4e59b44847b379578588920cA78FbF26c0B4956C` that creates others at such addresses.
    pub async fn deploy_disperse(chain: &Chain) -> Result<Address> {
        disperse::deploy(chain).await
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
    /// plan chose another. Where it does not, the chain is asked first: a run that paid anything, by the shared
    /// `Disperse`, that of this treasury or its distributor, is gone on with as it was begun. So a lost journal
    /// pays nobody twice, as long as the name of the run and the list are the same, and the way and the size of batches,
    /// where what it sent reverted less than [so many blocks](depin_evm::Chain::reorg_depth) ago; another list under a name that was
    /// run is refused: by `Disperse` among the account's runs, and by this treasury among all that were published to the
    /// distributor, whose events tell it: all of them, from its creation on, or no journal is made. While a
    /// transaction of the account waits in the pool that this chain handle does not know of, no journal is made.
    ///
    /// What is compared is what the chain has when a journal is made, and for one of transfers until it has paid somebody:
    /// one that was put back is refused when the run was published meanwhile. So do not begin one run twice at the same
    /// time, with a journal for either: where one goes by transfers and the other by claims, both pay.
    ///
    /// A run by claims that stopped before its publication, and whose epoch another list took meanwhile, becomes the
    /// next epoch: run it with the same journal and the balances that the other list left.
    /// One that was published and rejected by the arbiter, or replaced by another list, is over, also for transfers: what
    /// is still to be paid is paid under another name. One whose dispute nobody decided is published again by claims.
    ///
    /// An epoch that can be disputed is issued after its window. So before it is published, the source of the token is asked
    /// whether it would issue as much now; and when the window is over and something holds the epoch back, the run fails
    /// with that reason, until it does not.
    ///
    /// A batch that reverts is tried again; when single recipients are the reason, they are written down and the
    /// others are paid without them. When one of them lets every simulation pass and reverts on chain alone, the batch is
    /// closed, and paid in parts when [so many blocks](depin_evm::Chain::reorg_depth) follow that no reorganisation can
    /// have the whole executed beside them. Until then the run fails with that and is to be run again, some three times
    /// for a batch of the largest size. A batch of which nobody is left to be paid is closed as well, so that a run whose
    /// journal is lost pays none of them, whom the report of this one sent to another list.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the balance or the allowance of the account is too small, before
    /// anything is sent, when the list pays a contract of the run itself, or when the token takes a fee from
    /// transfers; [`ErrorKind::Conflict`] when the journal belongs to another list, account or chain,
    /// is in use by another process, or pays by transfers what was published meanwhile, when the run's name was used for
    /// another list, when a list that was published and whose dispute lapsed is to be paid by transfers, or when the balances are not those
    /// that the distributor has;
    /// [`ErrorKind::Limit`] when the curve, the band, the cap or the limit of the network leaves less than the epoch emits,
    /// [`ErrorKind::Rejected`] when its window is over and the guardian paused, or when the arbiter rejected it or another
    /// list came in its place;
    /// [`ErrorKind::Corrupt`] when the journal is damaged, [`ErrorKind::Unsupported`] when it is of another version,
    /// [`ErrorKind::Limit`] when the file is larger than any journal;
    /// [`ErrorKind::Unavailable`] when the chain or the disk does not answer now, lags behind what was mined, has transactions that wait, or lacks the old logs of the distributor, and when
    /// so many `blocks` have to follow before a batch is paid in parts, or in another size: run it again with the same
    /// journal.
    pub async fn run(&self, plan: &Plan, journal: impl AsRef<Path>) -> Result<RunReport> {
        let list = plan.list();
        self.check_recipients(list)?;
        let place = Place::lock(journal.as_ref())?;
        self.chain.settle().await?;
        let is_new = place.is_new()?;
        let terms = if !is_new {
            self.identity()
        } else {
            self.check_nothing_waits().await?;
            match self.begun(list, plan.way()).await? {
                Some(begun) => begun,
                None => self.terms(plan).await?,
            }
        };
        let mut journal = Journal::open(place, terms, list)?;
        self.catch_up(list, &mut journal).await?;
        match journal.terms().clone() {
            Terms { disperse: Some((disperse, batch)), .. } => {
                if !is_new {
                    self.check_unpublished(disperse, batch, list).await?;
                    self.check_batches(disperse, batch, list).await?;
                }
                let batch = self.resized(disperse, batch, list, &mut journal).await?;
                self.transfer_all(disperse, batch, list, &mut journal).await
            }
            terms => self.publish(&terms, list, &mut journal).await,
        }
    }

    /// Whose run it is.
    fn identity(&self) -> Terms {
        Terms::new(self.chain.id(), self.chain.account(), self.token)
    }

    /// What a new journal fixes.
    async fn terms(&self, plan: &Plan) -> Result<Terms> {
        let mut terms = self.identity();
        match plan.way() {
            Way::Transfers => {
                let disperse = self.disperse.ok_or_else(|| closed(Way::Transfers))?;
                terms.disperse = Some((disperse, self.batch_size()));
            }
            Way::Claims => {
                terms.distributor = Some(self.next_epoch().await?);
            }
        }
        Ok(terms)
    }

    /// The size of the batches: another one than the journal has, where it was asked for and nothing was paid.
    async fn resized(
        &self,
        disperse: Address,
        size: usize,
        list: &PayList,
        journal: &mut Journal,
    ) -> Result<usize> {
        let Some(asked) = self.batch.filter(|asked| *asked != size) else { return Ok(size) };
        let batches = list.payments().len().div_ceil(asked.min(size).max(1));
        let paid = self.paid_batches(disperse, list, batches).await?;
        if paid.iter().any(|paid| !paid.is_zero()) {
            return Ok(size);
        }
        // Also where the journal has begun none: it may be older than what it paid with.
        if !self.is_past(disperse, list).await? {
            let text = "a batch of the run was sent in another size, and a reorganisation may have it executed beside those \
                        of the new one; run it again when so many blocks followed, or in the size that it has";
            let error = Error::unavailable(text).with("run", list.id()).with("recipients", size);
            return Err(error.with("blocks", self.chain.reorg_depth()));
        }
        journal.resize(asked, list)?;
        Ok(asked)
    }

    /// Whether no batch of a run can be executed any more that was sent and is not on chain.
    async fn is_past(&self, disperse: Address, list: &PayList) -> Result<bool> {
        let keys: BTreeSet<_> =
            (0..list.payments().len() as u64).map(|index| self.key(list, index)).collect();
        let is_batch = |to: TxKind, input: &[u8]| {
            let key = input.strip_prefix(&Disperse::disperseCall::SELECTOR);
            let key = key.and_then(|rest| rest.first_chunk()).copied().map(B256::new);
            to == TxKind::Call(disperse) && key.is_some_and(|key| keys.contains(&key))
        };
        patiently(|| self.chain.are_buried(is_batch)).await
    }

    fn batch_size(&self) -> usize {
        self.batch.unwrap_or(Self::MAX_BATCH)
    }

    /// Refuses a list that pays what could never spend it.
    fn check_recipients(&self, list: &PayList) -> Result<()> {
        let distributor =
            self.claims.as_ref().map(|(distributor, _)| distributor.roots().address());
        let contracts = [
            ("the token", Some(self.token)),
            ("Disperse", self.disperse),
            ("Disperse", Some(disperse::address())),
            ("the distributor", distributor),
        ];
        for (name, contract) in contracts {
            let Some(contract) = contract else { continue };
            if list.payments().binary_search_by_key(&contract, |(account, _)| *account).is_ok() {
                let text = "the list pays a contract of the run itself, where the money would be lost; \
                            strike it";
                let error = Error::new(ErrorKind::Rejected, text).with("contract", name);
                return Err(error.with("account", contract));
            }
        }
        Ok(())
    }

    /// Refuses a run that could not be paid to its end.
    async fn check_funds(&self, disperse: Address, needed: Amount) -> Result<()> {
        let (token, account) = (self.contract(), self.chain.account());
        let (held, allowed) = (token.balanceOf(account), token.allowance(account, disperse));
        let held = patiently(|| self.chain.read(&held)).await.map(Amount::units)?;
        if held < needed {
            let text = "the treasury holds less than the run pays";
            return Err(self.short(text, held, needed).await);
        }
        let allowed = patiently(|| self.chain.read(&allowed)).await.map(Amount::units)?;
        if allowed < needed {
            let text = "the treasury allows Disperse less than the run pays; allow more";
            return Err(self.short(text, allowed, needed).await);
        }
        Ok(())
    }

    async fn short(&self, text: &'static str, has: Amount, needed: Amount) -> Error {
        let decimals = match Decimals::of(&self.chain, self.token).await {
            Ok(decimals) => decimals,
            Err(error) => return error,
        };
        let error = Error::new(ErrorKind::Rejected, text).with("has", decimals.show(has));
        error.with("needed", decimals.show(needed))
    }

    fn contract(&self) -> NetworkToken::NetworkTokenInstance<&DynProvider> {
        NetworkToken::new(self.token, self.chain.provider())
    }
}

fn closed(way: Way) -> Error {
    let text = "this way of paying is not set up; tell the treasury its contract";
    Error::new(ErrorKind::Config, text).with("way", way)
}
