//! What happens in a network, one event per step: explorers and dashboards fold over these.

use alloy_primitives::{Address, B256};

use crate::{Amount, Did, EpochId, PublicKey, Sequence, transport::RefusalCode};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "event", rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// A device was appraised and registered.
    DeviceEnrolled {
        /// The device.
        did: Did,
        /// Its owner.
        owner: Address,
        /// Its own account, where the registry gives one.
        account: Option<Address>,
    },
    /// A device changed its key to the one that it had committed to.
    KeyRotated {
        /// The device.
        did: Did,
        /// Its key from now on.
        key: PublicKey,
    },
    /// A batch is durable.
    BatchAccepted {
        /// The device.
        did: Did,
        /// Position in its chain.
        sequence: Sequence,
        /// Hash of the batch.
        batch: B256,
        /// Position in the log.
        index: u64,
        /// Readings in it.
        readings: u64,
    },
    /// A batch was refused.
    BatchRefused {
        /// Who seems to have sent it.
        did: Option<Did>,
        /// Hash of the bytes.
        batch: B256,
        /// The reason.
        code: RefusalCode,
    },
    /// An epoch was scored, shared and published.
    EpochClosed {
        /// The epoch.
        epoch: EpochId,
        /// Root of its reward tree.
        root: B256,
        /// What it emitted.
        emission: Amount,
        /// How many devices were paid.
        payouts: u64,
    },
    /// An epoch, and those sealed after it, count no more: no ledger has them, and it is closed again.
    EpochWithdrawn {
        /// The epoch.
        epoch: EpochId,
        /// Root of the reward tree that it had led to.
        root: B256,
    },
    /// An account was paid.
    Claimed {
        /// The account.
        account: Address,
        /// What it got.
        amount: Amount,
    },
}
