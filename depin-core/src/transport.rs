//! The seam between a device and ingest: a signed batch goes out, a receipt or a refusal comes back. A device
//! that does not know where its chain stands asks.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use alloy_primitives::{B256, Bytes};
use async_trait::async_trait;

use crate::{Did, Result, SignedBatch, Signer, log::ChainTip};

/// Why a batch was not taken. The text form is stable: it is stored, counted and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum RefusalCode {
    /// Not deterministic CBOR, or not the batch format.
    Malformed,
    /// More bytes or readings than a batch may have.
    TooLarge,
    /// Signed for another network.
    WrongNetwork,
    /// Signed as something else than a batch of this version.
    WrongPurpose,
    /// The signature does not hold for the registered key.
    BadSignature,
    /// No such device in the registry.
    NotRegistered,
    /// The device is suspended or revoked.
    NotActive,
    /// A reading lies further in the future than clocks may differ.
    ClockAhead,
    /// A reading is older than ingest accepts.
    ClockBehind,
    /// Same position in the device's chain, other content: signed evidence against the device.
    Fork,
    /// Batches before this one are missing; send them first.
    SequenceGap,
    /// The chain has gone on without it: the batch was given up by a gap marker, or a gap marker gives up
    /// only what is stored. Drop it and go on with the next.
    Superseded,
}

impl RefusalCode {
    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::WrongNetwork => "wrong-network",
            Self::WrongPurpose => "wrong-purpose",
            Self::BadSignature => "bad-signature",
            Self::NotRegistered => "not-registered",
            Self::NotActive => "not-active",
            Self::ClockAhead => "clock-ahead",
            Self::ClockBehind => "clock-behind",
            Self::Fork => "fork",
            Self::SequenceGap => "sequence-gap",
            Self::Superseded => "superseded",
        }
    }

    /// Every code.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::TooLarge,
        Self::WrongNetwork,
        Self::WrongPurpose,
        Self::BadSignature,
        Self::NotRegistered,
        Self::NotActive,
        Self::ClockAhead,
        Self::ClockBehind,
        Self::Fork,
        Self::SequenceGap,
        Self::Superseded,
    ];

    /// What the code means, and what helps.
    ///
    /// ```
    /// use depin_core::transport::RefusalCode;
    ///
    /// assert!(RefusalCode::NotRegistered.explain().may_change);
    /// assert!(!RefusalCode::Malformed.explain().may_change);
    /// ```
    pub const fn explain(self) -> Explanation {
        let (meaning, remedy, may_change) = match self {
            Self::Malformed => (
                "the bytes are not deterministic CBOR, or not a batch",
                "mend the encoder of the device; the fault and its place are in the explanation",
                false,
            ),
            Self::TooLarge => (
                "more bytes or readings than a batch may have",
                "put fewer readings into a batch",
                false,
            ),
            Self::WrongNetwork => (
                "the batch was signed for another network",
                "give the device the name of this network, or send the batch to that one",
                false,
            ),
            Self::WrongPurpose => (
                "the bytes were signed as something else than a batch of this version",
                "update the device or ingest, so that both know the version",
                false,
            ),
            Self::BadSignature => (
                "the signature does not hold for the key that the registry has",
                "if the device changed its key, register the change and replay",
                true,
            ),
            Self::NotRegistered => (
                "the registry does not know the device under this name",
                "enrol the device and replay",
                true,
            ),
            Self::NotActive => (
                "the device is suspended or revoked",
                "resume a suspended device and replay; a revoked one stays out",
                true,
            ),
            Self::ClockAhead => (
                "a reading was later than the clock of ingest by more than the rule allows",
                "set the device's clock; if the clock of ingest was wrong, set that and let the device send again",
                true,
            ),
            Self::ClockBehind => (
                "a reading was older than the rule allows",
                "let ingest accept older readings and replay, or give the batch up",
                true,
            ),
            Self::Fork => (
                "the device signed something else at this place of its chain, or names another batch \
                 as the one before",
                "keep it as evidence; find out whether the device lost its memory or has a twin",
                false,
            ),
            Self::SequenceGap => (
                "batches before this one are missing",
                "send the missing batches first, then this one again",
                true,
            ),
            Self::Superseded => (
                "the device gave the batch up, or a gap marker gives up only what is stored",
                "drop it and go on with the next",
                false,
            ),
        };
        Explanation { meaning, remedy, may_change }
    }

    /// The code of a stable text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

/// What a refusal means.
///
/// | code | meaning | what helps | the same bytes may be taken later |
/// |---|---|---|---|
/// | `malformed` | not deterministic CBOR, or not a batch | mend the device's encoder | no |
/// | `too-large` | too many bytes or readings | put fewer readings into a batch | no |
/// | `wrong-network` | signed for another network | give the device this network's name | no |
/// | `wrong-purpose` | signed as something else, or another version | update device or ingest | no |
/// | `bad-signature` | does not hold for the registered key | register the change of key | yes |
/// | `not-registered` | no such device in the registry | enrol it | yes |
/// | `not-active` | suspended or revoked | resume it | yes |
/// | `clock-ahead` | a reading lies in the future | set the clock that is wrong | yes |
/// | `clock-behind` | a reading is too old | accept older ones, or give the batch up | yes |
/// | `fork` | the chain holds something else there | keep it as evidence | no |
/// | `sequence-gap` | batches before it are missing | send those first | yes |
/// | `superseded` | the chain has gone on without it | drop it | no |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// What is wrong.
    pub meaning: &'static str,
    /// What helps.
    pub remedy: &'static str,
    /// Whether the same bytes may be taken later, when something around them has changed.
    pub may_change: bool,
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A refusal as the device sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub code: RefusalCode,
    /// The reason in words, with the remedy.
    pub detail: String,
    /// Hash of the refused bytes.
    pub batch: B256,
    /// Who seems to have sent it: not proven when the signature is what failed.
    pub device: Option<Did>,
}

/// Proof that a batch is durable: its place in the log, signed by the log.
///
/// Made and checked by `depin-data`, which owns the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Hash of the batch.
    pub batch: B256,
    /// Position in the log, from 0.
    pub index: u64,
    /// Size of the tree that `root` is over.
    pub tree_size: u64,
    /// RFC 9162 root of the log.
    pub root: B256,
    /// Inclusion path from the batch to the root.
    pub path: Vec<B256>,
    /// The signed tree head (COSE_Sign1) over size and root.
    pub head: Bytes,
}

/// What ingest says to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a batch is either taken or not")]
pub enum Answer {
    /// Taken and durable. A batch sent again gets a receipt again.
    Receipt(Receipt),
    /// Not taken, for a reason that is kept.
    Refusal(Refusal),
}

/// What ingest says to a device that asks where its chain stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a device is either told or not")]
pub enum Standing {
    /// The log holds the chain up to here: nothing of a device that has never sent.
    Tip(Option<ChainTip>),
    /// Not told, because the device may not send, or did not ask this itself. The refusal names the hash of the
    /// question in place of a batch, and is not kept.
    Refusal(Refusal),
}

/// Carries batches to ingest.
///
/// # Contract
/// 1. The bytes MUST arrive unchanged, or the call fails.
/// 2. `Ok` MUST be the answer of ingest to this very call, never of an intermediary.
/// 3. An error MUST mean "unknown": the batch may have been stored; sending it again is safe.
/// 4. The call MUST end in bounded time.
/// 5. A standing MUST tell of every batch that was answered with a receipt before the device asked. Whoever is on
///    the way MUST be able to neither make one up nor give one that he has kept: a device signs what comes next
///    on the strength of it.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transport",
    note = "implement `depin_core::transport::Transport`"
)]
pub trait Transport: Send + Sync + fmt::Debug {
    /// Sends one batch and waits for the answer.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when there was no answer; keep the
    /// batch and send it again.
    async fn send(&self, batch: &SignedBatch) -> Result<Answer>;

    /// Asks where the chain of `device` stands, in its name: `signer` holds its key.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when there was no answer; sign nothing and ask
    /// again. Whatever the signer says.
    async fn standing(&self, device: &Did, signer: &dyn Signer) -> Result<Standing>;
}
