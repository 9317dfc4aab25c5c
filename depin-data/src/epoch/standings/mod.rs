//! Standings: everything that one epoch hands to the next.
//!
//! What an epoch counts and pays rests on what came before: where each device's chain ends and up to when its
//! readings were counted, its work in epochs that are not settled, what those were sealed with, and where the
//! log's next batch belongs. That is a [`Standings`]. A network keeps one and goes on from it; whoever audits
//! a row of bundles keeps one too, and sees that every epoch begins with what he came to himself. The record of
//! an epoch commits to the standings that it begins with, so that one who cannot recompute the beginning of a
//! network's life, because nobody has those batches any more, can at least be shown what was fixed then.
//!
//! Checks of quality hand nothing on: each sees the batches of its epoch alone.

use std::{collections::BTreeMap, fmt};

use depin_core::{B256, Did, EpochId, Error, ErrorKind, NetworkId};

use super::{EpochError, EpochRecord, Past, Sealed, Statement, Windows};
use crate::merkle::{Accumulator, leaf_hash};

mod file;

pub use file::StandingsError;

/// Everything that one epoch hands to the next.
///
/// ```
/// use depin_core::{Bytes, EpochId, NetworkId};
/// use depin_data::{epoch::{Checks, EpochDraft, Standings, score}, log::MemoryLog};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> depin_data::Result<()> {
/// let (log, network) = (MemoryLog::new(), NetworkId::parse("climate")?);
/// let mut standings = Standings::new(network.clone());
/// let draft = EpochDraft::read(&log, &network, standings.next(), 0..0).await?;
/// let record = draft.standings(&standings).close(Vec::new(), Vec::new(), "pro-rata")?;
/// // An auditor, who came to the same standings by himself.
/// standings.check(&record)?;
/// let scored = score(&log, &record, &Checks::new()).await?;
/// standings.advance(&record, &scored.pasts);
/// assert_eq!(standings.next(), EpochId::new(1));
/// // What he keeps until the next bundle comes.
/// let mut kept = Vec::new();
/// standings.write(&mut kept)?;
/// assert_eq!(Standings::read(&kept[..])?, standings);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standings {
    network: NetworkId,
    next: EpochId,
    size: u64,
    root: B256,
    /// Those of the epoch before, and the first epoch that had them.
    windows: Option<(Windows, EpochId)>,
    /// What epochs that are not settled were sealed with.
    policies: BTreeMap<EpochId, String>,
    devices: BTreeMap<Did, Past>,
    /// Taken from records: not all there are.
    partial: bool,
}

/// The first thing in which an epoch does not begin where the one before it ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Break {
    /// Something that is not about one device.
    #[error("its {field} is {recorded}, not {recomputed}")]
    Epoch {
        /// What of it.
        field: &'static str,
        /// As it follows from the epochs before.
        recomputed: String,
        /// As the record has it.
        recorded: String,
    },
    /// Where a device stood.
    #[error(
        "{field} of {device} is {recorded}, not {recomputed}: that is not where its device stood when the one before ended"
    )]
    Device {
        /// The device.
        device: Did,
        /// What of its standing.
        field: String,
        /// As it follows from the epochs before.
        recomputed: String,
        /// As the record has it.
        recorded: String,
    },
    /// A device is not in the roster.
    #[error("it leaves out {0}, whose work is not settled")]
    LeftOut(Did),
    /// All that take part stand where they should, and yet the record commits to other standings.
    #[error(
        "it commits to the standings {recorded}, not {recomputed}: some device that does not take part in it was left out, added or changed"
    )]
    Commitment {
        /// The root over what follows from the epochs before.
        recomputed: B256,
        /// In the record.
        recorded: B256,
    },
}

impl Standings {
    /// Before the first epoch: nobody stands anywhere.
    pub fn new(network: NetworkId) -> Self {
        Self {
            network,
            next: EpochId::new(0),
            size: 0,
            root: Accumulator::new().root(),
            windows: None,
            policies: BTreeMap::new(),
            devices: BTreeMap::new(),
            partial: false,
        }
    }

    /// As a record says that they were when its epoch began, for those who take part in it: nothing is shown of
    /// it. For an audit of a row that has no beginning.
    pub fn believed(record: &EpochRecord) -> Self {
        let since = record.windows_since().filter(|since| *since < record.epoch());
        let windows = record.windows().copied().zip(since);
        let standings = Self::new(record.network().clone());
        let mut standings = Self {
            next: record.epoch(),
            size: record.range().start,
            root: record.root_before(),
            windows,
            partial: true,
            ..standings
        };
        for member in record.roster() {
            standings.believe(&member.device, member.past.as_ref());
        }
        standings.believe_policy(record);
        standings
    }

    /// The network.
    pub const fn network(&self) -> &NetworkId {
        &self.network
    }

    /// The epoch that begins with these.
    pub const fn next(&self) -> EpochId {
        self.next
    }

    /// How many batches the log had when the epoch before ended: where the next one begins.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The windows of the epoch before, and since which epoch there are some.
    pub const fn windows(&self) -> Option<&(Windows, EpochId)> {
        self.windows.as_ref()
    }

    /// What an epoch that is not settled was sealed with.
    pub fn policy(&self, epoch: EpochId) -> Option<&str> {
        self.policies.get(&epoch).map(String::as_str)
    }

    /// What epochs that are not settled were sealed with, by rising epoch.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = (EpochId, &str)> {
        self.policies.iter().map(|(epoch, policy)| (*epoch, policy.as_str()))
    }

    /// Where a device stands.
    pub fn past(&self, device: &Did) -> Option<&Past> {
        self.devices.get(device)
    }

    /// Every device that ever sent something, by DID.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = (&Did, &Past)> {
        self.devices.iter()
    }

    /// Devices with work that is not settled: no epoch may leave them out.
    pub fn unsettled(&self) -> impl Iterator<Item = &Did> {
        let open = self.devices.iter().filter(|(_, past)| !past.open.is_empty());
        open.map(|(device, _)| device)
    }

    /// RFC 9162 root over the head and every device, in their bytes as a [file](Self::write) has them: what
    /// records commit to. None of what was only [believed](Self::believed), which is not all.
    pub fn commitment(&self) -> Option<B256> {
        if self.partial {
            return None;
        }
        let mut tree = Accumulator::new();
        self.each(&mut |leaf| {
            tree.push(leaf_hash(leaf));
            Ok(())
        })
        .ok()?;
        Some(tree.root())
    }

    /// Checks that an epoch begins with these.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, record: &EpochRecord) -> Result<(), Break> {
        self.check_place(record)?;
        self.check_windows(record)?;
        if let Some(device) = self.unsettled().find(|device| record.member(device).is_none()) {
            return Err(Break::LeftOut(device.clone()));
        }
        for member in record.roster() {
            let (past, recorded) = (self.past(&member.device), member.past.as_ref());
            if past != recorded {
                return Err(difference(&member.device, past, recorded));
            }
        }
        match (self.commitment(), record.standings()) {
            (Some(recomputed), Some(recorded)) if recomputed != recorded => {
                Err(Break::Commitment { recomputed, recorded })
            }
            _ => Ok(()),
        }
    }

    /// What stands when an epoch that began with these has ended; `pasts` are those that it was scored to, with
    /// what was paid [noted](super::Scored::note_paid).
    pub fn advance(&mut self, record: &EpochRecord, pasts: &BTreeMap<Did, Past>) {
        self.next = EpochId::new(record.epoch().value().saturating_add(1));
        (self.size, self.root) = (record.range().end, record.root());
        self.windows = record.windows().copied().zip(record.windows_since());
        if record.windows().is_some_and(Windows::takes_late) {
            self.policies.insert(record.epoch(), record.policy().to_owned());
            let settled = record.settles();
            self.policies.retain(|epoch, _| settled.is_none_or(|settled| *epoch > settled));
        } else {
            self.policies.clear();
        }
        self.devices.extend(pasts.iter().map(|(device, past)| (device.clone(), past.clone())));
    }

    /// Passes over an epoch as a log keeps it, and gives what came out of it: as [`Sealed::statement`], nothing is
    /// verified.
    ///
    /// # Errors
    /// Says what is wrong with the bytes, also when they are those of another network or epoch.
    pub fn pass(&mut self, sealed: &[u8]) -> Result<Statement, Error> {
        let (record, statement) = Sealed::passed(sealed)?;
        if record.network() != &self.network || record.epoch() != self.next {
            let message =
                "the log holds the record of another network or epoch; use this network's log";
            return Err(Error::new(ErrorKind::Corrupt, message)
                .with("epoch", self.next)
                .with("found", format!("{} {}", record.network(), record.epoch())));
        }
        self.advance(&record, &statement.pasts);
        Ok(statement)
    }

    /// Takes from somebody's word where a device stands, when these are not all.
    pub fn believe(&mut self, device: &Did, past: Option<&Past>) {
        if let Some(past) = past.filter(|_| self.partial) {
            self.devices.insert(device.clone(), past.clone());
        }
    }

    /// Takes from a record what the epoch was sealed with that settles, when these are not all. Answers whether
    /// it had to.
    pub fn believe_policy(&mut self, record: &EpochRecord) -> bool {
        let named = record.settles().zip(record.settled_policy());
        let Some((settled, name)) = named.filter(|_| self.partial) else { return false };
        let unknown = !self.policies.contains_key(&settled);
        self.policies.entry(settled).or_insert_with(|| name.to_owned());
        unknown
    }

    /// Whether they were [believed](Self::believed) and are not all.
    pub const fn is_partial(&self) -> bool {
        self.partial
    }

    /// That no batch is left out between two epochs, and none before the first.
    fn check_place(&self, record: &EpochRecord) -> Result<(), Break> {
        same("network", &self.network, record.network())?;
        same("number", &self.next, &record.epoch())?;
        let first = record.range().start;
        if first > self.size {
            let recorded = format!("{first} and leaves out batches of the log");
            let recomputed = self.size.to_string();
            return Err(Break::Epoch { field: "first batch", recomputed, recorded });
        }
        same("first batch", &self.size, &first)?;
        same("root of the log before", &self.root, &record.root_before())
    }

    /// That it has the windows of the one before, or the first ones, and settles by the policy that was sealed.
    fn check_windows(&self, record: &EpochRecord) -> Result<(), Break> {
        let recorded = record.windows().copied().zip(record.windows_since());
        let first = Some(record.epoch());
        let fits = match self.windows {
            Some(windows) => recorded == Some(windows),
            None => recorded.is_none_or(|(_, since)| Some(since) == first),
        };
        if !fits {
            let (recomputed, recorded) = (written(&self.windows), written(&recorded));
            return Err(Break::Epoch { field: "windows", recomputed, recorded });
        }
        let sealed_with = record.settles().and_then(|settled| self.policy(settled));
        let none = || "none".to_owned();
        if sealed_with != record.settled_policy() {
            return Err(Break::Epoch {
                field: "policy of the epoch that settles",
                recomputed: sealed_with.map_or_else(none, str::to_owned),
                recorded: record.settled_policy().map_or_else(none, str::to_owned),
            });
        }
        Ok(())
    }
}

impl From<Break> for Error {
    fn from(found: Break) -> Self {
        let message = format!("the epoch does not begin where the one before it ended: {found}");
        Self::new(ErrorKind::Corrupt, message).source(found)
    }
}

fn same<T: PartialEq + fmt::Display>(
    field: &'static str,
    recomputed: &T,
    recorded: &T,
) -> Result<(), Break> {
    if recomputed == recorded {
        return Ok(());
    }
    let [recomputed, recorded] = [recomputed, recorded].map(|it| it.to_string());
    Err(Break::Epoch { field, recomputed, recorded })
}

fn written(windows: &Option<(Windows, EpochId)>) -> String {
    windows.as_ref().map_or_else(
        || "none".to_owned(),
        |(windows, since)| {
            let [start, length, lateness, settling] = windows.parts();
            format!("{length} ms from {start} ms on, late by {lateness} ms and {settling} epochs, since epoch {since}")
        },
    )
}

/// The first field in which two standings of a device differ.
fn difference(device: &Did, recomputed: Option<&Past>, recorded: Option<&Past>) -> Break {
    let [recomputed, recorded] = [recomputed, recorded].map(fields);
    let place = recomputed.iter().zip(&recorded).take_while(|(a, b)| a == b).count();
    let (here, there) = (recomputed.get(place), recorded.get(place));
    let field = here.or(there).map_or("standing", |(field, _)| field);
    let value = |of: Option<&(String, String)>| {
        let value = of.filter(|(name, _)| name == field).map(|(_, value)| value.clone());
        value.unwrap_or_else(|| "none".into())
    };
    Break::Device {
        device: device.clone(),
        field: field.into(),
        recomputed: value(here),
        recorded: value(there),
    }
}

/// What a standing says, by name.
fn fields(past: Option<&Past>) -> Vec<(String, String)> {
    let sequence = past.map_or_else(|| "none".to_owned(), |past| past.tip.sequence.to_string());
    let mut fields = vec![("the last sequence".to_owned(), sequence)];
    let Some(past) = past else { return fields };
    let key = past.key.map_or_else(|| "none".to_owned(), |key| key.to_string());
    fields.push(("the hash of the last batch".into(), past.tip.hash.to_string()));
    fields.push(("the time of the latest reading".into(), past.latest.to_string()));
    fields.push(("the key that signed last".into(), key));
    fields.extend(past.open.iter().map(|work| {
        let (readings, score, paid) = (work.readings, work.score, work.paid);
        (
            format!("the work in epoch {}", work.epoch),
            format!("{readings} readings, {score} points, {paid} paid"),
        )
    }));
    fields
}
