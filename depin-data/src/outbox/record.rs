//! What an outbox writes down.

use alloc::vec::Vec;

use depin_core::{B256, Error, ErrorKind, Result, Sequence, log::ChainTip};

/// Bytes of a tip, present or not, and of a key's name.
const TIP: usize = 1 + 8 + 32;
const KEY: usize = 1 + 32;

/// Where the chain stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Up to here the log holds the chain, or knows what was given up.
    pub(super) settled: Option<ChainTip>,
    /// The last batch that was signed.
    pub(super) tip: Option<ChainTip>,
    /// Hash of the key that signs, once it has.
    pub(super) key: Option<B256>,
}

impl Checkpoint {
    pub(super) const SIZE: usize = 2 * TIP + KEY;

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::SIZE);
        for tip in [self.settled, self.tip] {
            let shown = tip.unwrap_or(ChainTip { sequence: Sequence::new(0), hash: B256::ZERO });
            bytes.push(u8::from(tip.is_some()));
            bytes.extend_from_slice(&shown.sequence.value().to_le_bytes());
            bytes.extend_from_slice(shown.hash.as_slice());
        }
        bytes.push(u8::from(self.key.is_some()));
        bytes.extend_from_slice(self.key.unwrap_or_default().as_slice());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (settled, rest) = bytes.split_first_chunk::<TIP>()?;
        let (tip, key) = rest.split_first_chunk::<TIP>()?;
        let (flag, key) = key.split_first()?;
        let key = Some(B256::try_from(key).ok()?).filter(|_| *flag == 1);
        Some(Self { settled: read_tip(settled)?, tip: read_tip(tip)?, key })
    }
}

fn read_tip(bytes: &[u8; TIP]) -> Option<Option<ChainTip>> {
    let (flag, rest) = bytes.split_first()?;
    let (sequence, hash) = rest.split_first_chunk()?;
    let sequence = Sequence::new(u64::from_le_bytes(*sequence));
    let tip = ChainTip { sequence, hash: B256::try_from(hash).ok()? };
    Some((*flag == 1).then_some(tip))
}

/// A record of the ring: a kind in one byte, then what belongs to it.
pub(super) enum Record<'a> {
    /// A signed batch, and the stale batch whose readings it holds.
    Batch { replaces: Option<B256>, bytes: &'a [u8] },
    /// What the log holds by now.
    Settled(Checkpoint),
    /// The chain goes on from here with another key; what is kept waits to be signed anew.
    Restart(Checkpoint),
    /// A batch was given up.
    Gone(B256),
}

impl<'a> Record<'a> {
    /// Most bytes of a record beside its batch.
    pub(super) const BATCH: usize = 1 + 32;

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Batch { replaces: None, bytes } => [&[1], *bytes].concat(),
            Self::Batch { replaces: Some(stale), bytes } => {
                [&[2], stale.as_slice(), *bytes].concat()
            }
            Self::Settled(checkpoint) => [&[3], &*checkpoint.to_bytes()].concat(),
            Self::Restart(checkpoint) => [&[4], &*checkpoint.to_bytes()].concat(),
            Self::Gone(batch) => [&[5], batch.as_slice()].concat(),
        }
    }

    pub(super) fn parse(content: &'a [u8]) -> Result<Self> {
        let read = || {
            let (kind, rest) = content.split_first()?;
            Some(match kind {
                1 => Self::Batch { replaces: None, bytes: rest },
                2 => {
                    let (stale, bytes) = rest.split_first_chunk::<32>()?;
                    Self::Batch { replaces: Some(B256::new(*stale)), bytes }
                }
                3 => Self::Settled(Checkpoint::from_bytes(rest)?),
                4 => Self::Restart(Checkpoint::from_bytes(rest)?),
                5 => Self::Gone(B256::try_from(rest).ok()?),
                _ => return None,
            })
        };
        read().ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "the store holds what no outbox wrote; use another one")
        })
    }
}
