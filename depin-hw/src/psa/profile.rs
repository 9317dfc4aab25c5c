//! Generations of the token format, and the states of a chip.

use alloc::string::String;

use super::{
    entries::Entries,
    error::{Claim, PsaError},
};

/// A generation of the token format, with its own claim keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Profile {
    /// `tag:psacertified.org,2023:psa#tfm` of RFC 9783. The only one that is written.
    Tfm,
    /// `http://arm.com/psa/2.0.0` of the drafts, as Trusted Firmware-M wrote it: boot seed at 2397.
    Draft,
    /// `PSA_IOT_PROFILE_1`: keys in the private range, boot seed mandatory.
    Legacy,
}

impl Profile {
    /// The text of the profile claim.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tfm => "tag:psacertified.org,2023:psa#tfm",
            Self::Draft => "http://arm.com/psa/2.0.0",
            Self::Legacy => "PSA_IOT_PROFILE_1",
        }
    }

    /// Decides the profile from the claim of either generation.
    ///
    /// The legacy format allowed to omit it, so its other keys are enough.
    pub(super) fn of(entries: &Entries<'_>) -> Result<Self, PsaError> {
        let legacy_keys = (-75_010..=-75_000).any(|key| entries.contains(key));
        if let Some(found) = entries.text(265, Claim::Profile)? {
            let known = [Self::Tfm, Self::Draft].into_iter().find(|it| it.as_str() == found);
            let profile = known.ok_or_else(|| PsaError::Profile { found: clip(found) })?;
            return if legacy_keys { Err(PsaError::Mixed) } else { Ok(profile) };
        }
        if !legacy_keys {
            return Err(PsaError::Missing(Claim::Profile));
        }
        match entries.text(-75_000, Claim::Profile)? {
            Some(found) if found != Self::Legacy.as_str() => {
                Err(PsaError::Profile { found: clip(found) })
            }
            _ => Ok(Self::Legacy),
        }
    }

    /// The key of a claim in the outer map.
    pub(super) const fn key(self, claim: Claim) -> i64 {
        if matches!(self, Self::Legacy) {
            return match claim {
                Claim::Profile => -75_000,
                Claim::ClientId => -75_001,
                Claim::Lifecycle => -75_002,
                Claim::ImplementationId => -75_003,
                Claim::BootSeed => -75_004,
                Claim::CertificationReference => -75_005,
                Claim::Components => -75_006,
                Claim::NoMeasurements => -75_007,
                Claim::Nonce => -75_008,
                Claim::InstanceId => -75_009,
                _ => -75_010,
            };
        }
        match (claim, self) {
            (Claim::Nonce, _) => 10,
            (Claim::InstanceId, _) => 256,
            (Claim::Profile, _) => 265,
            (Claim::BootSeed, Self::Tfm) => 268,
            (Claim::ClientId, _) => 2394,
            (Claim::Lifecycle, _) => 2395,
            (Claim::ImplementationId, _) => 2396,
            (Claim::BootSeed, _) => 2397,
            (Claim::CertificationReference, _) => 2398,
            (Claim::Components, _) => 2399,
            _ => 2400,
        }
    }
}

/// The major state of a chip's life (RFC 9783 section 4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Lifecycle {
    /// Not a state that should occur.
    Unknown,
    /// On the production line.
    AssemblyAndTest,
    /// Receiving its keys.
    Provisioning,
    /// In the field, locked.
    Secured,
    /// Debugging outside the root of trust; the root itself is intact.
    Debug,
    /// Debugging of the root of trust, with a way back.
    RootDebug,
    /// At its end.
    Decommissioned,
}

impl Lifecycle {
    /// The state named by the high byte of the claim.
    pub(super) const fn of_major(major: u8) -> Option<Self> {
        Some(match major {
            0x00 => Self::Unknown,
            0x10 => Self::AssemblyAndTest,
            0x20 => Self::Provisioning,
            0x30 => Self::Secured,
            0x40 => Self::Debug,
            0x50 => Self::RootDebug,
            0x60 => Self::Decommissioned,
            _ => return None,
        })
    }

    pub(super) const fn major(self) -> u8 {
        match self {
            Self::Unknown => 0x00,
            Self::AssemblyAndTest => 0x10,
            Self::Provisioning => 0x20,
            Self::Secured => 0x30,
            Self::Debug => 0x40,
            Self::RootDebug => 0x50,
            Self::Decommissioned => 0x60,
        }
    }

    /// The lower-case name, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::AssemblyAndTest => "assembly-and-test",
            Self::Provisioning => "psa-rot-provisioning",
            Self::Secured => "secured",
            Self::Debug => "non-psa-rot-debug",
            Self::RootDebug => "recoverable-psa-rot-debug",
            Self::Decommissioned => "decommissioned",
        }
    }
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}
