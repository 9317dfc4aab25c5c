//! What a network trusts: makes of hardware, their states and their software.
//!
//! Verification says who made a token; a [`Policy`] says whether that is good enough. It starts empty and
//! refuses everything: each make of root is allowed by its id, with the firmware it may run.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};

use depin_core::{Error, ErrorKind, evidence::TrustTier};

use crate::{
    psa::{Claims, ImplementationId, InstanceId, Lifecycle},
    root::{SIMULATED_INSECURE, SoftwareRoot},
};

/// Why well-formed evidence is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Another media type than a PSA token's.
    #[error("the evidence is not a psa token")]
    Format,
    /// Made for another challenge.
    #[error(
        "the nonce of the token is not the binding of this challenge; attest again for this network, nonce, did and key"
    )]
    Binding,
    /// The device signs with its attestation key.
    #[error("the device key is the attestation key; give the device a key of its own")]
    SharedKey,
    /// Nobody endorsed the instance.
    #[error("no endorsement of instance {0}; add the attestation key its manufacturer vouches for")]
    Unendorsed(InstanceId),
    /// A simulated root where hardware is required.
    #[error(
        "the root of trust is simulated and proves nothing; for development call allow_simulated(\"{SIMULATED_INSECURE}\")"
    )]
    Simulated,
    /// The token of a simulated root is not signed by the key that its instance id names.
    #[error("the simulated root carries no key that its instance id names")]
    CarriedKey,
    /// The make of the root is not allowed.
    #[error("implementation {0} is not allowed by the policy")]
    Implementation(ImplementationId),
    /// The chip is in a state that is not allowed.
    #[error("the security lifecycle is {}, which the policy does not allow", .0.as_str())]
    Lifecycle(Lifecycle),
    /// The policy has no reference value for this make.
    #[error("the policy has no reference measurement for implementation {0}; add one")]
    NoReference(ImplementationId),
    /// A component without a role cannot be compared.
    #[error("a software component has no measurement type, so no reference value fits")]
    Untyped,
    /// A component runs software that is not known.
    #[error("the measurement of software component \"{0}\" is none of the reference values")]
    Measurement(String),
    /// An expected component was not measured.
    #[error("the token lacks a measurement of software component \"{0}\"")]
    Unmeasured(String),
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        let kind = match error {
            PolicyError::Format => ErrorKind::Malformed,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// A make of root of trust that a network accepts, with the software it may run.
///
/// ```
/// use depin_hw::{Implementation, psa::{ImplementationId, Lifecycle}};
///
/// let board = Implementation::new(ImplementationId::new([0xaa; 32]), "weather board 2")
///     .measurement("BL", [1; 32])
///     .measurement("App", [2; 32])
///     .measurement("App", [3; 32]) // the next release
///     .lifecycle(Lifecycle::Debug); // at most a warning, never affirming
/// assert_eq!(board.model(), "weather board 2");
/// ```
#[derive(Clone, Debug)]
pub struct Implementation {
    id: ImplementationId,
    model: String,
    lifecycles: BTreeSet<Lifecycle>,
    measurements: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

impl Implementation {
    /// A make that counts in the state [`Lifecycle::Secured`] only, with no known software yet.
    pub fn new(id: ImplementationId, model: impl Into<String>) -> Self {
        Self {
            id,
            model: model.into(),
            lifecycles: BTreeSet::from([Lifecycle::Secured]),
            measurements: BTreeMap::new(),
        }
    }

    /// The software root, with no known software yet. It counts in the state
    /// [`Lifecycle::AssemblyAndTest`] only, and only beside [`Policy::allow_simulated`].
    pub fn simulated() -> Self {
        Self {
            lifecycles: BTreeSet::from([Lifecycle::AssemblyAndTest]),
            ..Self::new(ImplementationId::simulated(), SIMULATED_INSECURE)
        }
    }

    /// Adds a reference value for components of one type. Several values of a type are alternatives; a
    /// token must measure every type that is named here, and nothing else.
    #[must_use]
    pub fn measurement(mut self, of: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.measurements.entry(of.into()).or_default().insert(value.into());
        self
    }

    /// Accepts another state, with [`TrustTier::Warning`] at most.
    #[must_use]
    pub fn lifecycle(mut self, state: Lifecycle) -> Self {
        self.lifecycles.insert(state);
        self
    }

    /// The name that appraisals give to it.
    pub fn model(&self) -> &str {
        &self.model
    }

    fn check_software(&self, claims: &Claims) -> Result<(), PolicyError> {
        if self.measurements.is_empty() {
            return Err(PolicyError::NoReference(self.id));
        }
        let mut measured = BTreeSet::new();
        for component in &claims.components {
            let name = component.measurement_type.as_deref().ok_or(PolicyError::Untyped)?;
            let known = self.measurements.get(name);
            if !known.is_some_and(|values| values.contains(&component.measurement_value)) {
                return Err(PolicyError::Measurement(name.chars().take(64).collect()));
            }
            measured.insert(name);
        }
        match self.measurements.keys().find(|name| !measured.contains(name.as_str())) {
            Some(name) => Err(PolicyError::Unmeasured(name.clone())),
            None => Ok(()),
        }
    }
}

/// What a network demands of hardware. Empty, it refuses everything.
///
/// ```
/// use depin_hw::{Implementation, Policy, SIMULATED_INSECURE, psa::ImplementationId};
///
/// let board = Implementation::new(ImplementationId::new([0xaa; 32]), "weather board 2")
///     .measurement("App", [2; 32]);
/// let production = Policy::default().allow(board);
/// assert!(!production.allows_simulated());
/// let development = production.allow_simulated(SIMULATED_INSECURE);
/// assert!(development.allows_simulated());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Policy {
    simulated: bool,
    implementations: BTreeMap<ImplementationId, Implementation>,
}

impl Policy {
    /// Accepts a make of root; a second one of the same id replaces the first.
    #[must_use]
    pub fn allow(mut self, implementation: Implementation) -> Self {
        self.implementations.insert(implementation.id, implementation);
        self
    }

    /// Accepts software roots, for development: the caller must spell [`SIMULATED_INSECURE`], anything
    /// else changes nothing. Appraisals then say [`TrustTier::Simulated`].
    ///
    /// The firmware must be [`SoftwareRoot::default_firmware`], or what [`allow`](Self::allow) was told
    /// about [`Implementation::simulated`].
    #[must_use]
    pub fn allow_simulated(mut self, name: &str) -> Self {
        if name == SIMULATED_INSECURE {
            self.simulated = true;
            self.implementations.entry(ImplementationId::simulated()).or_insert_with(|| {
                Implementation::simulated()
                    .measurement(SoftwareRoot::COMPONENT, SoftwareRoot::default_firmware().to_vec())
            });
        }
        self
    }

    /// Whether software roots were allowed by name.
    pub const fn allows_simulated(&self) -> bool {
        self.simulated
    }

    /// Judges verified claims: the make as the policy knows it, and how far it is trusted.
    ///
    /// # Errors
    /// The first rule of the policy that is broken.
    pub(crate) fn judge(
        &self,
        claims: &Claims,
    ) -> Result<(&Implementation, TrustTier), PolicyError> {
        let id = claims.implementation_id;
        if id.is_simulated() && !self.simulated {
            return Err(PolicyError::Simulated);
        }
        let make = self.implementations.get(&id).ok_or(PolicyError::Implementation(id))?;
        if !make.lifecycles.contains(&claims.lifecycle) {
            return Err(PolicyError::Lifecycle(claims.lifecycle));
        }
        make.check_software(claims)?;
        let tier = match claims.lifecycle {
            _ if id.is_simulated() => TrustTier::Simulated,
            Lifecycle::Secured => TrustTier::Affirming,
            _ => TrustTier::Warning,
        };
        Ok((make, tier))
    }
}
