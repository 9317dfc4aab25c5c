//! A root of trust in software, for development.
//!
//! It speaks the very format of real chips, so that the whole path from challenge to registry runs
//! without hardware, and says in the implementation id claim that it is worth nothing: whoever has the
//! seed can attest anything.

use alloc::{vec, vec::Vec};

use depin_core::{
    Algorithm, B256, Error, ErrorKind, PublicKey, Result, Signer, SoftwareKey,
    cbor::Encoder,
    cose,
    evidence::{Attester, Challenge, Evidence},
};
use sha2::{Digest, Sha256};

use crate::psa::{Claims, Component, ImplementationId, InstanceId, Lifecycle, MEDIA_TYPE};

/// What software roots call themselves, in the implementation id claim.
///
/// [`Policy::allow_simulated`](crate::Policy::allow_simulated) wants it spelled out.
pub const SIMULATED_INSECURE: &str = "SIMULATED-INSECURE";

/// Attests with a key in memory. Never for devices that are paid in anything of value.
///
/// Its tokens name [`SIMULATED_INSECURE`] as implementation, `assembly-and-test` as lifecycle, and one
/// software component of type `App` with the given firmware digest. The instance id is the hash of the
/// attestation key, and the key itself travels as the key id of the protected header: a verifier has no
/// endorsement of a simulated device and finds the key there. That shows that whoever holds the key made
/// the token, and nothing about hardware.
///
/// ```
/// use depin_core::evidence::{Attester, Challenge, Nonce};
/// use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey};
/// use depin_hw::{SIMULATED_INSECURE, SoftwareRoot, psa::Token};
///
/// let root = SoftwareRoot::from_seed([1; 32]);
/// let device = SoftwareKey::from_seed(Algorithm::Es256k, [2; 32]);
/// let evidence = root.attest(&Challenge {
///     network: NetworkId::parse("climate")?,
///     nonce: Nonce::new([3; 32]),
///     did: "did:example:station".parse()?,
///     key: device.public_key().clone(),
/// })?;
/// let token = Token::parse(&evidence.bytes)?;
/// let claims = token.verify(root.public_key())?;
/// assert_eq!(claims.implementation_id.to_string(), SIMULATED_INSECURE);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Debug)]
pub struct SoftwareRoot {
    key: SoftwareKey,
    firmware: B256,
}

impl SoftwareRoot {
    /// The measurement type of its one software component.
    pub const COMPONENT: &'static str = "App";

    /// The root whose attestation key (P-256) follows from 32 secret bytes, measuring
    /// [`default_firmware`](Self::default_firmware).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = SoftwareKey::from_seed(Algorithm::Es256, seed);
        Self { key, firmware: Self::default_firmware() }
    }

    /// Measures another firmware, given by its SHA-256.
    #[must_use]
    pub fn measuring(mut self, firmware: B256) -> Self {
        self.firmware = firmware;
        self
    }

    /// The digest of the firmware that a simulated device claims to run unless told otherwise.
    pub fn default_firmware() -> B256 {
        B256::new(Sha256::digest(b"SIMULATED-INSECURE firmware").into())
    }

    /// The attestation key, which is never the device key.
    pub fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// The instance id: the hash of the attestation key.
    pub fn instance_id(&self) -> InstanceId {
        InstanceId::of_key(self.public_key())
    }

    /// The protected header: ES256, and the attestation key as key id.
    fn header(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        let written = Encoder::new(&mut bytes)
            .map(2)
            .and_then(|e| e.i64(cose::ALG)?.i64(Algorithm::Es256.cose()))
            .and_then(|e| e.i64(cose::KID)?.bytes(&self.public_key().to_bytes()))
            .is_ok();
        debug_assert!(written, "writing to a vector cannot fail");
        bytes
    }
}

impl Attester for SoftwareRoot {
    fn attest(&self, challenge: &Challenge) -> Result<Evidence> {
        if challenge.key == *self.public_key() {
            return Err(Error::new(
                ErrorKind::Rejected,
                "the device key is the attestation key; give the device a key of its own",
            )
            .with("did", &challenge.did));
        }
        // Nobody signed the simulated firmware, which a signer id of zeros says.
        let firmware = Component::new(Self::COMPONENT, self.firmware.as_slice(), [0; 32]);
        let claims = Claims::new(
            challenge.binding().as_slice(),
            self.instance_id(),
            ImplementationId::simulated(),
            Lifecycle::AssemblyAndTest,
            vec![firmware],
        );
        let bytes = cose::sign1(&self.key, &self.header(), &claims.encode()?, &[])?;
        Ok(Evidence { format: MEDIA_TYPE.into(), bytes })
    }
}
