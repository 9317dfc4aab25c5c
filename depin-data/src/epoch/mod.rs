//! Epochs: ranges of the log, sealed in a record and scored.
//!
//! An [`EpochRecord`] is everything that decides an epoch apart from the batches themselves: the range
//! of the log, the hash of every batch in it, who signed and who is paid for it, the quality checks and
//! the reward policy. Its SHA-256, the manifest, goes on chain beside the reward root. With the record
//! and a copy of the batches from anybody, everybody computes the same [`Scored`] epoch, and a copy that
//! differs anywhere is told which batch it is ([`audit`](crate::audit)).
//!
//! # The bytes
//!
//! Deterministic CBOR, one encoding per record:
//!
//! ```text
//! record = {
//!   0: "depin epoch v2"
//!   1: tstr                   network
//!   2: uint                   epoch
//!   3: uint                   first, the index of the first batch in the log
//!   4: bstr                   roots of the complete subtrees of the log's first `first` batches, largest
//!                             first, 32 bytes for each set bit of `first`
//!   5: bstr                   RFC 9162 leaves of the epoch's batches in the log, `SHA-256(0x00 ||
//!                             SHA-256(batch))`, 32 bytes each, at most 2^22;
//!                             so the epoch ends before index `first` + their number
//!   6: bstr .size 32          RFC 9162 root of the log at the end of the epoch
//!   7: [* [did tstr, [*8 [alg int, key bstr]], beneficiary bstr .size 20, past]]
//!                             at most 1,000,000 devices by rising DID; alg as in COSE, keys compressed;
//!                             past = null for a device new to the log, else
//!                             [sequence uint, hash bstr .size 32, ms since the Unix epoch uint,
//!                             SHA-256 of the [alg, key] that signed last, bstr .size 32, or null, open]
//!                             open = [*321 [epoch uint, readings uint, score uint, paid bstr .size (0..32)]] by
//!                             rising epoch, paid big-endian without leading zeros; empty without windows
//!   8: [* tstr]               names of at most 256 quality checks, in the order of their findings, those
//!                             that judge devices against each other last
//!   9: tstr                   name of the reward policy
//!   10: null / [start ms since the Unix epoch uint, length ms uint, lateness ms uint, settling uint .le 256,
//!               first epoch uint]
//!                             the windows of time that epochs are since that epoch; null when an epoch counts
//!                             whatever is in its range of the log
//!   11: tstr / null           name of the reward policy of the epoch that settles; null when none does
//!   12: bstr .size 32 / null  RFC 9162 root of the [`Standings`] that the epoch begins with, of all devices
//!                             ever, whether they take part or not; null commits to none
//!   ? 13: bstr .size 32       manifest of the withdrawn record that this one replaces; only when it replaces one
//! }
//! ```
//!
//! The hashes in 4 and 5 lead to the root in 6, so a record that parses is consistent in itself, and the
//! records of a network can be chained with [`EpochRecord::follows`] without any batch.
//!
//! # Windows, and work that comes late
//!
//! Without [`Windows`] an epoch counts what its range of the log holds. With them a reading counts in the epoch
//! in whose window its time lies, whichever range it comes in: what comes early waits in the device's
//! [`Past`], and what comes when its epoch is closed is a [`Correction`] of it. An epoch that
//! [settles](Windows::settled_by) is counted once more with everything that came since, and what each device
//! was paid for it at closing is known from the roster. Sealed records never change: a correction is part of
//! the epoch in whose range it came, signed by its device and committed to by that epoch's manifest. What no ledger
//! took is taken back by a [`Withdrawal`], and its epoch closed again.

use std::ops::Range;

use depin_core::{
    Address, B256, Did, EpochId, Error, ErrorKind, NetworkId, PublicKey, Result, Timestamp,
    cbor::{self, CborError},
    log::ChainTip,
};
use sha2::{Digest, Sha256};

use crate::merkle::Accumulator;

mod blocks;
mod chain;
mod checks;
mod codec;
mod draft;
mod judge;
mod notes;
mod score;
mod sealed;
mod standings;
mod tally;
mod windows;
mod withdrawal;

pub(crate) use chain::{Submission, difference};
pub(crate) use judge::Round;
pub(crate) use score::{Each, Scorer, WAVE};

pub use checks::Checks;
pub use draft::{EpochDraft, end_of_range};
pub use score::{COUNTED_BEFORE, MAX_FINDINGS, MAX_FINDINGS_OF_DEVICE, Scored, score, score_each};
pub use sealed::{MAX_STATED, Sealed, Statement};
pub use standings::{Break, Standings, StandingsError};
pub use tally::{Correction, Settled, TOO_EARLY, TOO_LATE, Work};
pub use windows::{MAX_AHEAD, MAX_SETTLING, Readiness, Watermarks, Windows};
pub use withdrawal::Withdrawal;

/// Most batches in an epoch.
pub const MAX_BATCHES: u64 = 1 << 22;
/// Signed bytes of one device that count in an epoch. What it sends beyond moves its chain and earns nothing, so
/// that nobody makes closing and auditing hold more than that, decoded and with a finding for each reading.
pub const MAX_BYTES_OF_DEVICE: usize = 64 << 20;
/// Readings of one device that count in an epoch, as [`MAX_BYTES_OF_DEVICE`]; whole batches count or do not.
pub const MAX_READINGS_OF_DEVICE: usize = 1 << 20;
/// Bytes of all notes that checks of the fleet take in an epoch, for as long as each note has
/// [`LEAST_NOTE`](depin_core::quality::LEAST_NOTE) bytes: with 15 checks, as a preset for weather has, that is up to
/// 34,000 devices, and 15 KiB for each device with more. How much [room](depin_core::quality::Sent::room) a note has
/// depends on the numbers of devices in the roster and of checks, and on nothing that devices send. They lie in a file
/// without a name among the temporary files; the check that compares has 4 MiB of them in memory.
pub const MAX_NOTES: usize = 512 << 20;
/// Most devices in an epoch.
pub const MAX_DEVICES: usize = 1_000_000;
/// Most keys of one device in an epoch.
pub const MAX_KEYS: usize = 8;
/// Most quality checks.
pub const MAX_CHECKS: usize = 256;
/// Most epochs in which a device has work that is not settled.
pub const MAX_OPEN: usize = (MAX_SETTLING + MAX_AHEAD + 1) as usize;
/// Longest name of a check or policy in bytes.
pub const MAX_NAME: usize = 4096;
/// Longest record in bytes.
pub const MAX_BYTES: usize = 1 << 29;

/// Why bytes are no record of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EpochError {
    /// More bytes, batches, devices, checks or characters than a record may have.
    #[error("the record has too many {0}; {remedy}", remedy = remedy(.0))]
    Limit(&'static str),
    /// Not deterministic CBOR.
    #[error("the record is not deterministic cbor: {0}")]
    Encoding(#[from] CborError),
    /// Not the one encoding of a record.
    #[error("the record breaks its format: {0}")]
    Format(&'static str),
    /// The hashes of the batches do not lead to the root of the log.
    #[error("the hashes of the batches do not lead to the root of the log")]
    Root,
}

/// What helps against too much of something.
fn remedy(what: &str) -> &'static str {
    match what {
        "devices" => "run several networks: an epoch has at most 1,000,000 devices that take part",
        "bytes" => {
            "let late work settle after fewer epochs, close shorter epochs, or run several networks"
        }
        "batches" => "close shorter epochs, or let devices send longer batches",
        _ => "take fewer or shorter ones",
    }
}

impl From<EpochError> for Error {
    fn from(error: EpochError) -> Self {
        let kind = match &error {
            EpochError::Limit(_) => ErrorKind::Limit,
            EpochError::Root => ErrorKind::Rejected,
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// A device that takes part in an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The device.
    pub device: Did,
    /// The keys that its batches are signed with, oldest first, at most [`MAX_KEYS`]. More than one when it
    /// changed its key: within the epoch a batch is never signed with an older key than the batch before it.
    /// None when the registry does not know the device any more.
    pub keys: Vec<PublicKey>,
    /// Who is paid for it.
    pub beneficiary: Address,
    /// Where it stood when the epoch began; `None` when it had sent nothing before.
    pub past: Option<Past>,
}

/// Where a device stood between two epochs.
///
/// It joins epochs: the device's chain goes on from its tip, and no reading counts that is not later than
/// everything counted before, so that the same work is never paid in two epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its last batch.
    pub tip: ChainTip,
    /// The time of its latest reading.
    pub latest: Timestamp,
    /// [Thumbprint](thumbprint) of the key that it signed with last: an older one counts no more, whoever
    /// has it now. `None` when nothing it sent was ever verified.
    pub key: Option<B256>,
    /// Its work in epochs that are not settled, by rising epoch: those that still take late readings, and those
    /// to come. Empty without [`Windows`].
    pub open: Vec<Work>,
}

impl Past {
    /// Its work in an epoch that is not settled.
    pub fn work(&self, epoch: EpochId) -> Option<&Work> {
        let place = self.open.binary_search_by_key(&epoch, |work| work.epoch).ok()?;
        self.open.get(place)
    }
}

/// SHA-256 of a key as a roster writes it: `[alg, key]` in CBOR.
pub fn thumbprint(key: &PublicKey) -> B256 {
    B256::new(Sha256::digest(codec::key_bytes(key)).into())
}

/// Everything that decides an epoch, apart from the bytes of its batches.
///
/// Made by [`EpochDraft::close`] or parsed; the module describes the bytes.
///
/// ```
/// use depin_core::{B256, Bytes, EpochId, NetworkId, log::BatchLog};
/// use depin_data::{epoch::{EpochDraft, EpochRecord}, log::MemoryLog};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> depin_data::Result<()> {
/// let (log, network) = (MemoryLog::new(), NetworkId::parse("climate")?);
/// let draft = EpochDraft::read(&log, &network, EpochId::new(0), 0..0).await?;
/// let record = draft.close(Vec::new(), Vec::new(), "pro-rata")?;
/// let bytes = record.to_bytes();
/// log.seal(record.epoch(), Bytes::from(bytes.clone())).await?;
/// assert_eq!(EpochRecord::parse(&bytes)?, record);
/// assert_ne!(record.manifest(), B256::ZERO);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    network: NetworkId,
    epoch: EpochId,
    first: u64,
    before: Vec<B256>,
    leaves: Vec<B256>,
    root: B256,
    roster: Vec<Member>,
    checks: Vec<String>,
    policy: String,
    windows: Option<Windows>,
    /// The first epoch with these windows; meaningless without.
    windows_since: EpochId,
    settled_policy: Option<String>,
    standings: Option<B256>,
    replaces: Option<B256>,
}

impl EpochRecord {
    /// Parses a record.
    ///
    /// # Errors
    /// Says what is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, EpochError> {
        let record = codec::decode(bytes)?;
        record.validate()?;
        // Keys have several encodings; a record has one.
        if codec::is_encoding(&record, bytes) {
            Ok(record)
        } else {
            Err(EpochError::Format("a key is not compressed"))
        }
    }

    /// Bytes from which [`claimed`](Self::claimed) reads: tag, network and epoch.
    pub(crate) const HEAD: usize = 128;

    /// The epoch that the beginning of a record names.
    pub(crate) fn claimed(head: &[u8]) -> Result<EpochId, EpochError> {
        codec::decode_head(&mut cbor::Decoder::new(head)).map(|(_, _, epoch)| epoch)
    }

    /// The bytes, one encoding per record.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// SHA-256 of the bytes: what goes on chain.
    pub fn manifest(&self) -> B256 {
        let mut hash = Sha256::new();
        codec::each_part(self, &mut |part| hash.update(part));
        B256::new(hash.finalize().into())
    }

    /// The network.
    pub const fn network(&self) -> &NetworkId {
        &self.network
    }

    /// The epoch.
    pub const fn epoch(&self) -> EpochId {
        self.epoch
    }

    /// The indices of its batches in the log.
    pub fn range(&self) -> Range<u64> {
        self.first..self.first.saturating_add(self.leaves.len() as u64)
    }

    /// Indices of all batches that may count in it, rising.
    pub(crate) fn indices(&self) -> impl Iterator<Item = u64> + '_ {
        self.range()
    }

    /// RFC 9162 root of the log at the end of the range.
    pub const fn root(&self) -> B256 {
        self.root
    }

    /// RFC 9162 root of the log before the range.
    pub fn root_before(&self) -> B256 {
        self.accumulator().root()
    }

    /// The [leaves](crate::merkle::batch_leaf) of its batches in the log, in order.
    pub fn leaves(&self) -> &[B256] {
        &self.leaves
    }

    /// The devices that take part, by DID.
    pub fn roster(&self) -> &[Member] {
        &self.roster
    }

    /// The leaf of the batch at this index of the log.
    pub(crate) fn leaf(&self, index: u64) -> Option<B256> {
        let place = index.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        self.leaves.get(place?).copied()
    }

    /// The entry of a device.
    pub fn member(&self, device: &Did) -> Option<&Member> {
        self.roster.get(self.place(device)?)
    }

    /// Where a device stands in the roster.
    pub(crate) fn place(&self, device: &Did) -> Option<usize> {
        self.roster.binary_search_by(|member| member.device.cmp(device)).ok()
    }

    /// Names of the quality checks.
    pub fn checks(&self) -> &[String] {
        &self.checks
    }

    /// Name of the reward policy.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The windows of time that the network's epochs are; `None` when an epoch counts what is in its range.
    pub const fn windows(&self) -> Option<&Windows> {
        self.windows.as_ref()
    }

    /// The first epoch that has these windows: nothing before it settles or takes readings.
    pub fn windows_since(&self) -> Option<EpochId> {
        self.windows.map(|_| self.windows_since)
    }

    /// Name of the reward policy that the epoch was sealed with that settles when this one closes.
    pub fn settled_policy(&self) -> Option<&str> {
        self.settled_policy.as_deref()
    }

    /// The [commitment](Standings::commitment) of the standings that the epoch begins with, if it has one.
    pub const fn standings(&self) -> Option<B256> {
        self.standings
    }

    /// Manifest of the record that was sealed for this epoch before and [withdrawn](Withdrawal), if one was.
    pub const fn replaces(&self) -> Option<B256> {
        self.replaces
    }

    /// Checks that this epoch begins where `previous` ended, in the same network and the same log, with the
    /// same windows unless that had none: then no batch fell between them, and no epoch is settled that was paid
    /// without windows.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when it does not.
    pub fn follows(&self, previous: &Self) -> Result<()> {
        let continues = self.network == previous.network
            && self.epoch > previous.epoch
            && self.first == previous.range().end
            && self.root_before() == previous.root
            && match previous.windows {
                Some(_) => {
                    self.windows == previous.windows && self.windows_since == previous.windows_since
                }
                None => self.windows_since().is_none_or(|since| since == self.epoch),
            };
        if continues {
            return Ok(());
        }
        let message = "the epoch does not begin where the one before it ended";
        Err(Error::new(ErrorKind::Rejected, message)
            .with("epoch", self.epoch)
            .with("previous", previous.epoch))
    }

    /// The log before the range.
    fn accumulator(&self) -> Accumulator {
        Accumulator::resume(self.first, self.before.clone())
    }

    /// Whether a device may have this work open when the epoch begins.
    fn takes(&self, open: &[Work]) -> bool {
        let ordered = open.is_sorted_by(|a, b| a.epoch < b.epoch);
        ordered && open.iter().all(|work| self.is_open(work.epoch) && work.score <= work.readings)
    }

    /// What must hold in every record, however it was made.
    fn validate(&self) -> Result<(), EpochError> {
        let name_fits = |name: &String| name.len() <= MAX_NAME;
        if self.leaves.len() as u64 > MAX_BATCHES {
            return Err(EpochError::Limit("batches"));
        }
        if self.roster.len() > MAX_DEVICES {
            return Err(EpochError::Limit("devices"));
        }
        if self.checks.len() > MAX_CHECKS {
            return Err(EpochError::Limit("checks"));
        }
        let policies = self.settled_policy.iter().chain([&self.policy]);
        if !self.checks.iter().chain(policies).all(name_fits) {
            return Err(EpochError::Limit("characters in a name"));
        }
        if self.before.len() != self.first.count_ones() as usize
            || self.first.checked_add(MAX_BATCHES).is_none()
        {
            return Err(EpochError::Format("it lacks the log before its first batch"));
        }
        if self.roster.iter().any(|member| member.keys.len() > MAX_KEYS) {
            return Err(EpochError::Limit("keys of a device"));
        }
        if self.windows_since > self.epoch {
            return Err(EpochError::Format("its windows begin with a later epoch"));
        }
        if self.settled_policy.is_some() != self.settles().is_some() {
            return Err(EpochError::Format(
                "it names no policy for the epoch that settles, or needs none",
            ));
        }
        if !self.roster.is_sorted_by(|a, b| a.device < b.device) {
            return Err(EpochError::Format("devices are not ordered by did, or repeat"));
        }
        let pasts = self.roster.iter().filter_map(|member| member.past.as_ref());
        if !pasts.into_iter().all(|past| self.takes(&past.open)) {
            return Err(EpochError::Format(
                "a device has work in epochs that take none, or unordered",
            ));
        }
        let mut log = self.accumulator();
        self.leaves.iter().for_each(|leaf| log.push(*leaf));
        if log.root() == self.root { Ok(()) } else { Err(EpochError::Root) }
    }
}
