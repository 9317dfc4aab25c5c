//! The log of one machine in which a replica keeps what the stream says.

use depin_core::{Bytes, Did, EpochId, Result, Sequence, log::BatchLog};

use super::super::{MemoryLog, RedbLog, Stored};

/// A log of this process alone: a [`RedbLog`], or a [`MemoryLog`] that is filled from the stream at every
/// start and, unless the server is [vouched for](super::Acknowledge::OnceTaken), only read.
#[derive(Debug)]
pub struct View(pub(super) AnyView);

impl From<RedbLog> for View {
    fn from(log: RedbLog) -> Self {
        Self(AnyView::File(log))
    }
}

impl From<MemoryLog> for View {
    fn from(log: MemoryLog) -> Self {
        Self(AnyView::Memory(log))
    }
}

#[derive(Debug)]
pub(super) enum AnyView {
    File(RedbLog),
    Memory(MemoryLog),
}

impl AnyView {
    pub(super) fn log(&self) -> &dyn BatchLog {
        match self {
            Self::File(log) => log,
            Self::Memory(log) => log,
        }
    }

    /// Whether what it holds survives the process, and the power.
    pub(super) fn is_durable(&self) -> bool {
        match self {
            Self::File(log) => log.is_durable(),
            Self::Memory(_) => false,
        }
    }

    /// The link that holds a place of a chain, if the chain reaches there.
    pub(super) fn link(&self, device: &Did, sequence: Sequence) -> Result<Option<Stored>> {
        match self {
            Self::File(log) => log.link(device, sequence),
            Self::Memory(log) => Ok(log.link(device, sequence)),
        }
    }

    /// How many epochs are sealed.
    pub(super) fn seals(&self) -> Result<u64> {
        match self {
            Self::File(log) => log.seals(),
            Self::Memory(log) => Ok(log.seals()),
        }
    }

    /// The epoch that was sealed as number `position`, and its record.
    pub(super) fn seal_at(&self, position: u64) -> Result<Option<(EpochId, Bytes)>> {
        match self {
            Self::File(log) => log.seal_at(position),
            Self::Memory(log) => Ok(log.seal_at(position)),
        }
    }
}
