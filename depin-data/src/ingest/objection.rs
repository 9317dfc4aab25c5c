//! Why a batch is not taken, before it becomes a refusal.

use std::{fmt, sync::Arc, time::Duration};

use depin_core::{
    B256, Bytes, Did, Error, Result, Sequence,
    registry::{DeviceRecord, DeviceStatus, OwnFault},
    transport::RefusalCode,
};

use super::{quota::Worth, records::Known};

/// The end of the way for a batch.
pub(super) enum Stop {
    /// The batch is at fault.
    Refuse(Objection),
    /// The device has sent too much lately and may come again after this time.
    Throttle(Duration),
    /// One before it of the same device cannot be taken now, and so it cannot either.
    Behind(Option<Duration>),
    /// We are at fault, and know nothing about the batch.
    Fail(Error),
}

impl Stop {
    /// Whether the batch may be in the log already: nothing was asked of the log yet, and standing, key and
    /// clock may have been others when it came first.
    pub(super) const fn may_be_stored(&self) -> bool {
        use RefusalCode::{BadSignature, ClockAhead, ClockBehind, NotActive, NotRegistered};
        match self {
            Self::Refuse(objection) => matches!(
                objection.code,
                BadSignature | ClockAhead | ClockBehind | NotActive | NotRegistered
            ),
            Self::Throttle(_) | Self::Behind(_) => true,
            Self::Fail(_) => false,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fail(error)
    }
}

impl From<Objection> for Stop {
    fn from(objection: Objection) -> Self {
        Self::Refuse(objection)
    }
}

pub(super) struct Objection {
    pub(super) code: RefusalCode,
    pub(super) detail: String,
    pub(super) device: Option<Did>,
    pub(super) worth: Worth,
    pub(super) against: Option<Against>,
}

/// What the log holds instead of a fork, and who signed that.
pub(super) struct Against {
    pub(super) held: Bytes,
    pub(super) accused: Arc<Known>,
}

impl Objection {
    pub(super) fn unproven(code: RefusalCode, why: impl fmt::Display, did: Option<&Did>) -> Self {
        let (detail, device) = (why.to_string(), did.cloned());
        Self { code, detail, device, worth: Worth::Claim, against: None }
    }

    pub(super) fn proven(code: RefusalCode, detail: String, did: &Did) -> Self {
        Self { code, detail, device: Some(did.clone()), worth: Worth::Signed, against: None }
    }

    pub(super) fn not_active(did: &Did, status: DeviceStatus) -> Self {
        let standing = match status {
            DeviceStatus::Revoked => "revoked",
            _ => "suspended",
        };
        let why = format!("the device is {standing}; its owner can say why");
        Self::unproven(RefusalCode::NotActive, why, Some(did))
    }

    /// `against` is what the log holds, if it is there still.
    pub(super) fn fork(
        did: &Did,
        sequence: Sequence,
        there: B256,
        against: Option<Against>,
    ) -> Self {
        let detail = format!("batch {sequence} does not continue the chain, which holds {there}");
        Self { against, ..Self::proven(RefusalCode::Fork, detail, did) }
    }

    pub(super) fn superseded(did: &Did, sequence: Sequence, tip: Sequence) -> Self {
        let why =
            format!("the chain is at {tip} and does not wait for {sequence}; drop it and go on");
        Self::proven(RefusalCode::Superseded, why, did)
    }

    pub(super) fn gap(did: &Did, sequence: Sequence, next: Sequence) -> Self {
        let detail = format!("batch {sequence} came before batch {next}; send that first");
        Self::proven(RefusalCode::SequenceGap, detail, did)
    }
}

/// The record a registry has under exactly this DID. One that nobody can read is none; a second spelling of a registered name would be a second chain for one device.
pub(super) fn registered(
    did: &Did,
    answer: Result<Option<DeviceRecord>>,
) -> Result<DeviceRecord, Stop> {
    let why = match answer {
        Ok(Some(record)) if record.did == *did => return Ok(record),
        Ok(Some(record)) => format!("the device is registered as {}; sign as that", record.did),
        Ok(None) => "the device is not registered in this network; enrol it first".into(),
        Err(error) if OwnFault::is_in(&error) => {
            format!("nobody can tell what the registry has of the device: {error}")
        }
        Err(error) => {
            let why = "the device registry does not answer; send the batch again later";
            return Err(Error::unavailable(why).source(error).into());
        }
    };
    Err(Objection::unproven(RefusalCode::NotRegistered, why, Some(did)).into())
}
