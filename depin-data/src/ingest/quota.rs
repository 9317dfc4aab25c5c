//! How many refusals are kept, so that nobody can fill the disk with them.

use std::collections::{BTreeMap, HashMap};

use depin_core::{Did, Timestamp, transport::RefusalCode};

const UNPROVEN: u32 = 60;
const UNPROVEN_BYTES: usize = 256 * 1024;
const PER_DEVICE_AND_CODE: u32 = 20;
const PER_DEVICE_BYTES: usize = 256 * 1024;
/// Of all devices together: a registered device is not a trusted one.
const PROVEN_BYTES: usize = 4 * 1024 * 1024;

/// What was kept in the present minute. A device gets here only with its signature, so the map is no
/// larger than the registry.
#[derive(Default)]
pub(super) struct Quota {
    minute: u64,
    unproven: u32,
    unproven_bytes: usize,
    proven_bytes: usize,
    devices: HashMap<Did, Kept>,
}

/// Of one device.
#[derive(Default)]
struct Kept {
    codes: BTreeMap<RefusalCode, u32>,
    bytes: usize,
}

impl Quota {
    /// Whether a refusal may be kept, on the account of the device that signed it or on everyone's.
    pub(super) fn admits(
        &mut self,
        signer: Option<&Did>,
        code: RefusalCode,
        bytes: usize,
        now: Timestamp,
    ) -> bool {
        let minute = now.secs() / 60;
        if minute != self.minute {
            *self = Self { minute, ..Self::default() };
        }
        let Some(did) = signer else {
            let fits = self.unproven < UNPROVEN
                && self.unproven_bytes.saturating_add(bytes) <= UNPROVEN_BYTES;
            if fits {
                self.unproven += 1;
                self.unproven_bytes += bytes;
            }
            return fits;
        };
        let kept = self.devices.entry(did.clone()).or_default();
        let count = kept.codes.entry(code).or_default();
        let fits = *count < PER_DEVICE_AND_CODE
            && kept.bytes.saturating_add(bytes) <= PER_DEVICE_BYTES
            && self.proven_bytes.saturating_add(bytes) <= PROVEN_BYTES;
        if fits {
            *count += 1;
            kept.bytes += bytes;
            self.proven_bytes += bytes;
        }
        fits
    }
}
