//! A row of bundles: the life of a network, recomputed from files when its log has forgotten the batches.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Seek,
    path::Path,
};

use depin_core::{
    Address, Amount, B256, Did, EpochId, Error, ErrorKind, Result,
    registry::DeviceRegistry,
    reward::{Commitment, RewardDistributor, RewardPolicy},
};
use depin_data::{
    bundle::{Bundle, claimed_epoch},
    epoch::{Checks, EpochRecord, Scored, Standings},
};
use depin_payment::RewardTree;

use crate::{
    Audit,
    audit::broken,
    roll::Roll,
    rules::{checks_of, pay, policy_of},
};

/// Recomputes the epochs of these bundles, which go by rising epoch, as [`RowAudit`] does: one call for who has
/// all files.
///
/// # Errors
/// As [`RowAudit::next`], at the first epoch that differs.
pub async fn audit_row<P: AsRef<Path>>(
    paths: impl IntoIterator<Item = P>,
    checks: &Checks,
    policies: &[&dyn RewardPolicy],
    registry: &dyn DeviceRegistry,
    distributor: &dyn RewardDistributor,
) -> Result<Vec<Audit>> {
    let mut row = RowAudit::new(checks, policies, registry, distributor);
    let mut audits = Vec::new();
    for path in paths {
        audits.push(row.next(path).await?);
    }
    Ok(audits)
}

/// Recomputes epochs from [bundles](depin_data::bundle), one after the other, and compares with the chain: no log
/// and no server is asked, only registry and ledger.
///
/// Each record must be the one on chain, its devices those of the registry, what accounts had before must lead to
/// the root before, and signatures, checks and policy to the root after. And each epoch must begin where the one
/// before it ended: in the log, in its windows, and for every device, whether it takes part or not, in what the
/// record [commits](EpochRecord::standings) to. A row that begins with epoch 0 believes nothing. Any other begins
///
/// - with standings of one's own, kept from an earlier audit ([`resume`](Self::resume)): it believes nothing either,
/// - with standings that somebody else kept ([`begin_with`](Self::begin_with)): they must be those that the first
///   record of the row commits to. That they are right is believed, and counted for every device that takes part,
/// - or with nothing: where each device stood when it first takes part is believed, and counted.
///
/// A bundle that leaves out epochs begins a row of its own, with nothing; [`Audit::since`] says where that was.
/// Memory holds where each device stands and what each account has earned, and never the readings.
///
/// ```
/// use depin::{Address, EpochId, Network, Quantity, Reading, Timestamp, audit_row, data::epoch::Checks, dec,
///     hw::SimulatedPebble, payment::ProRata, presets, tokens};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> depin::Result<()> {
/// let policy = ProRata::per_epoch(tokens(100));
/// let network = Network::builder(presets::devnet().await?).rewards(policy.clone()).build().await?;
/// let device = network.enroll(SimulatedPebble::new(1), Address::repeat_byte(1)).await?;
/// let (folder, mut files) = (tempfile::tempdir().unwrap(), Vec::new());
/// for id in (0..3).map(EpochId::new) {
///     let at = network.clock().now();
///     device.send(&[Reading::new(Quantity::new("temperature", "Cel"), dec(20), at)]).await?;
///     network.close_epoch(id).await?;
///     files.push(folder.path().join(format!("{id}.bundle")));
///     network.export_epoch(id, files.last().unwrap()).await?;
/// }
/// network.log().forget(3).await?;
///
/// // A stranger, with the files, the rules by their code, the registry and the ledger.
/// let (registry, ledger) = (&**network.registry(), &**network.distributor());
/// let audits = audit_row(&files, &Checks::new(), &[&policy], registry, ledger).await?;
/// assert_eq!(audits.len(), 3);
/// assert!(audits.iter().all(|audit| audit.is_complete() && audit.batches == 1));
/// // Without the first file he is told what he believes.
/// let audits = audit_row(&files[1..], &Checks::new(), &[&policy], registry, ledger).await?;
/// assert_eq!((audits[1].since, audits[1].believed_standings), (EpochId::new(1), 1));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RowAudit<'a> {
    checks: &'a Checks,
    policies: &'a [&'a dyn RewardPolicy],
    distributor: &'a dyn RewardDistributor,
    roll: Roll<'a>,
    row: Row,
}

/// What the row has come to.
#[derive(Debug, Default)]
struct Row {
    /// What its next epoch begins with; none before the first.
    standings: Option<Standings>,
    /// Whether those that it began with were somebody's word.
    begun_with: Word,
    since: EpochId,
    /// Devices that took part, unless nothing is believed.
    seen: BTreeSet<Did>,
    believed: Believed,
}

/// Whose word the beginning of a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Word {
    /// One's own, or nothing was before.
    #[default]
    Own,
    /// Standings that the first record commits to.
    Committed,
    /// What the records say.
    Records,
}

/// How many things were believed.
#[derive(Clone, Copy, Debug, Default)]
struct Believed {
    standings: u64,
    work: u64,
    policies: u64,
}

impl<'a> RowAudit<'a> {
    /// A row that is still empty. Checks and policies are all that the network ever had: each epoch says by which of
    /// them it was scored and paid.
    pub fn new(
        checks: &'a Checks,
        policies: &'a [&'a dyn RewardPolicy],
        registry: &'a dyn DeviceRegistry,
        distributor: &'a dyn RewardDistributor,
    ) -> Self {
        let (roll, row) = (Roll::new(registry), Row::default());
        Self { checks, policies, distributor, roll, row }
    }

    /// Begins with what one's own audit [came to](Self::standings) earlier. What a row that [began with somebody
    /// else's](Self::begin_with) standings came to is theirs too: go on with it by `begin_with`.
    #[must_use]
    pub fn resume(mut self, standings: Standings) -> Self {
        let since = standings.next();
        // Of a row that itself began with nothing, the rest stays what the records say.
        let begun_with = if standings.is_partial() { Word::Records } else { Word::Own };
        self.row = Row { standings: Some(standings), since, begun_with, ..Row::default() };
        self
    }

    /// Begins with standings of somebody else, such as those that the network [gives](crate::Network::standings).
    #[must_use]
    pub fn begin_with(self, standings: Standings) -> Self {
        let mut begun = self.resume(standings);
        if begun.row.begun_with == Word::Own {
            begun.row.begun_with = Word::Committed;
        }
        begun
    }

    /// What the next epoch begins with, to be kept until its bundle comes; none before the first, and those of a
    /// row that began with nothing [are not all](Standings::is_partial).
    pub const fn standings(&self) -> Option<&Standings> {
        self.row.standings.as_ref()
    }

    /// Recomputes the next epoch. After an error the row is where it was before.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] or [`ErrorKind::Malformed`] naming the first thing that differs: the epoch, the device
    /// and what of it; [`ErrorKind::Config`] when checks or policies do not include those of the record,
    /// [`ErrorKind::NotFound`] when there is no such file or the epoch is not on chain, [`ErrorKind::Rejected`] for
    /// an epoch that the row has passed.
    pub async fn next(&mut self, path: impl AsRef<Path>) -> Result<Audit> {
        let (mut bundle, on_chain) = self.open(path.as_ref()).await?;
        let record = bundle.record().clone();
        let fresh = self.row.beginning(&record)?;
        let row = fresh.as_ref().unwrap_or(&self.row);
        let (standings, believed, seen) = row.check(&record)?;
        self.roll.check(&record).await?;
        let (scored, recomputed) = self.recompute(&mut bundle, &record).await?;
        if recomputed != on_chain {
            return Err(differs("the recomputed epoch is not the one on chain", record.epoch())
                .with("recomputed root", recomputed.root)
                .with("root on chain", on_chain.root));
        }
        if let Some(fresh) = fresh {
            self.row = fresh;
        }
        self.row.enter(standings, &record, &scored, believed, seen);
        Ok(Audit {
            epoch: record.epoch(),
            since: self.row.since,
            root: on_chain.root,
            replaces: record.replaces(),
            batches: record.range().end.saturating_sub(record.range().start),
            readings: scored.readings,
            believed_standings: believed.standings,
            believed_work: believed.work,
            believed_policies: believed.policies,
            believed_owners: self.roll.elsewhere(),
        })
    }

    /// From the batches to what belongs on chain.
    async fn recompute(
        &self,
        bundle: &mut Bundle<File>,
        record: &EpochRecord,
    ) -> Result<(Scored, Commitment)> {
        let balances = balances_before(bundle, record.epoch(), self.distributor).await?;
        let remedy = "give it to the audit";
        let mut scored = bundle.audit(&checks_of(self.checks, record, remedy)?)?;
        self.check_unverified(bundle, record, &scored)?;
        let policy = |name| policy_of(self.policies.iter().copied(), record.epoch(), name, remedy);
        let of_settled = policy(record.settled_policy().unwrap_or_else(|| record.policy()))?;
        let paid = pay(policy(record.policy())?.get(), of_settled.get(), record, &mut scored)?;
        let recomputed = commit(balances, record, &paid.payouts)?;
        Ok((scored, recomputed))
    }

    /// The bundle, whose record is the one on chain, and what is there.
    async fn open(&self, path: &Path) -> Result<(Bundle<File>, Commitment)> {
        let file = File::open(path)
            .map_err(|error| Error::new(ErrorKind::NotFound, "there is no bundle").source(error))?;
        let epoch = claimed_epoch(&file)?;
        let on_chain = self.distributor.published(epoch).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the epoch is not on chain").with("epoch", epoch)
        })?;
        let unread = |error| Error::unavailable("the bundle cannot be read").source(error);
        (&file).rewind().map_err(unread)?;
        let opened = Bundle::open(file, &on_chain.manifest).map_err(Error::from);
        Ok((opened.map_err(|error| error.with("epoch", epoch))?, on_chain))
    }

    /// That no batch counted for nothing because its key was left out.
    fn check_unverified(
        &self,
        bundle: &mut Bundle<File>,
        record: &EpochRecord,
        scored: &Scored,
    ) -> Result<()> {
        let mut checked = Ok(());
        bundle.look_at(&scored.unverified.iter().copied().collect(), &mut |batch| {
            if checked.is_ok() {
                checked = self.roll.check_left_out(record, batch);
            }
        })?;
        checked
    }
}

impl Row {
    /// A new row, when the record does not go on with this one.
    fn beginning(&self, record: &EpochRecord) -> Result<Option<Self>> {
        let since = record.epoch();
        match &self.standings {
            Some(standings) if since == standings.next() => Ok(None),
            Some(standings) if since < standings.next() => {
                let message = "the row has passed this epoch; give bundles by rising epoch";
                Err(Error::new(ErrorKind::Rejected, message)
                    .with("epoch", since)
                    .with("next", standings.next()))
            }
            None if since.value() == 0 => {
                let standings = Some(Standings::new(record.network().clone()));
                Ok(Some(Self { standings, ..Self::default() }))
            }
            _ => Ok(Some(Self { begun_with: Word::Records, since, ..Self::default() })),
        }
    }

    /// Checks that the epoch begins where the row has come to. Gives that, with what had to be believed for it and
    /// by how many devices the row has grown.
    fn check(&self, record: &EpochRecord) -> Result<(Standings, Believed, Vec<Did>)> {
        let (mut believed, mut seen) = (self.believed, Vec::new());
        let mut standings = self.standings.clone().unwrap_or_else(|| Standings::believed(record));
        if self.begun_with != Word::Own {
            for member in record.roster().iter().filter(|it| !self.seen.contains(&it.device)) {
                let past = member.past.as_ref();
                standings.believe(&member.device, past);
                seen.push(member.device.clone());
                let is_word = past.is_some() || self.begun_with == Word::Records;
                believed.standings = believed.standings.saturating_add(u64::from(is_word));
                let has_work = past.is_some_and(|past| !past.open.is_empty());
                believed.work = believed.work.saturating_add(u64::from(has_work));
            }
            let policy = standings.believe_policy(record) || self.rests_on(record);
            believed.policies = believed.policies.saturating_add(u64::from(policy));
        }
        standings.check(record).map_err(|found| broken(record, found))?;
        if self.begun_with == Word::Committed && record.standings().is_none() {
            let message =
                "the record commits to no standings; audit without, or from the first epoch on";
            return Err(differs(message, record.epoch()));
        }
        Ok((standings, believed, seen))
    }

    /// Whether an epoch settles with this one that was sealed before the row.
    fn rests_on(&self, record: &EpochRecord) -> bool {
        record.settles().is_some_and(|settled| settled < self.since)
    }

    fn enter(
        &mut self,
        mut standings: Standings,
        record: &EpochRecord,
        scored: &Scored,
        believed: Believed,
        seen: Vec<Did>,
    ) {
        standings.advance(record, &scored.pasts);
        self.standings = Some(standings);
        self.believed = believed;
        self.seen.extend(seen);
    }
}

/// What accounts had earned before, which must be what the chain says.
async fn balances_before(
    bundle: &Bundle<File>,
    epoch: EpochId,
    distributor: &dyn RewardDistributor,
) -> Result<BTreeMap<Address, Amount>> {
    let rows = bundle.balances().to_vec();
    let published = match epoch.value().checked_sub(1) {
        Some(before) => distributor.published(EpochId::new(before)).await?,
        None => None,
    };
    let same = match published {
        Some(before) => {
            let sum = Amount::sum(rows.iter().map(|(_, amount)| *amount))?;
            before.root == RewardTree::build(rows.clone())?.root() && before.cumulative == sum
        }
        None => epoch.value() == 0 && rows.is_empty(),
    };
    if same {
        return Ok(rows.into_iter().collect());
    }
    Err(differs("what accounts had earned before the epoch is not what is on chain", epoch))
}

fn commit(
    mut balances: BTreeMap<Address, Amount>,
    record: &EpochRecord,
    payouts: &[depin_core::reward::Payout],
) -> Result<Commitment> {
    for payout in payouts {
        let balance = balances.entry(payout.beneficiary).or_default();
        *balance = balance.checked_add(payout.amount)?;
    }
    let cumulative = Amount::sum(balances.values().copied())?;
    let root: B256 = RewardTree::build(balances.into_iter().collect())?.root();
    Ok(Commitment { epoch: record.epoch(), root, cumulative, manifest: record.manifest() })
}

fn differs(message: &'static str, epoch: EpochId) -> Error {
    Error::new(ErrorKind::Corrupt, message).with("epoch", epoch)
}
