//! Birth certificates: who made a device, as which model, with which hardware, verified offline.
//!
//! Three signatures, each of a purpose of its own so that none can stand for another. The manufacturer
//! certifies a model's key, the model's key (which lives in the factory) certifies the device, and the
//! device accepts with its own key, which proves that it has it. The leaf binds DID, key, the hash of
//! the hardware's appraisal and a name of the hardware that does not tell its id.
//!
//! # The bytes
//!
//! Deterministic CBOR, at most [`MAX_BYTES`], each link a COSE_Sign1 as [`depin_core::envelope`] writes
//! it. A hash is SHA-256 of the bytes of a link; times are ms since the Unix epoch; a key is its COSE
//! algorithm number and its compressed bytes.
//!
//! ```text
//! certificate = [bstr model link, bstr device link, bstr acceptance]
//! model link  = manufacturer signs ("birth-model", 1)
//!               {1: alg, 2: key, 3: name, 4: hardware version, 5: from, 6: until}
//! device link = model key signs as its did:key ("birth-device", 1)
//!               {1: hash of the model link, 2: DID, 3: alg, 4: key, 5: hash of the appraisal,
//!                6: tier, 7: unit (32 bytes), 8: born}
//! acceptance  = device signs as its DID ("birth-accept", 1) {1: hash of the device link}
//! ```
//!
//! A device is born before it joins a network, so the envelopes name none: in its place stands the fixed
//! word `birth`. A network that happens to have that name loses nothing by it, because no message of a
//! network has these three purposes. The manufacturer is told apart by DID and key, not by a namespace.
//!
//! # What counts when
//!
//! A device outlives the key that certified it. So a certificate is valid for good if the device was born
//! while the model's key was valid, and that time lies within the manufacturer's own ([`Anchors`]). The
//! time of birth is the factory's word: whoever steals a model's key can date certificates back, and the
//! remedy is [`Anchors::revoke`], which drops the model's link with all its devices. Nothing counts how
//! many devices a model key certifies, for no offline check could; a registry that takes each nullifier
//! once does.
//!
//! ```
//! use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey, Timestamp, Unverified,
//!     evidence::{Appraisal, Appraising, Challenge, Evidence, EvidenceVerifier, Nonce, TrustTier}};
//! use depin_identity::{Period, birth::{Anchors, BirthCertificate, Model, ModelCertificate}, methods::{io, key}};
//!
//! // Stands for the verifier of a real attestation format.
//! #[derive(Debug)]
//! struct OneChip;
//! impl EvidenceVerifier for OneChip {
//!     fn appraise(&self, evidence: &Evidence, asked: &Challenge, now: Timestamp) -> depin_core::Result<Appraisal> {
//!         Ok(Appraisal::new(asked.clone(), evidence, b"chip 7".to_vec(), "Chip".into(), TrustTier::Simulated, now))
//!     }
//! }
//!
//! // Once per model: the manufacturer certifies the key of a factory line for a year.
//! let maker = SoftwareKey::from_seed(Algorithm::Es256, [1; 32]);
//! let maker_did = key::did_key(maker.public_key());
//! let factory = SoftwareKey::from_seed(Algorithm::Es256, [2; 32]);
//! let year = Period::new(Timestamp::from_secs(1_000), Timestamp::from_secs(31_537_000))?;
//! let model = Model::new("Pebble", "rev C", factory.public_key().clone(), year)?;
//! let line = ModelCertificate::issue(&maker, &maker_did, &model)?;
//!
//! // Once per device, in the factory: its chip is appraised, then it is certified.
//! let device = SoftwareKey::from_seed(Algorithm::Es256k, [3; 32]);
//! let challenge = Challenge {
//!     network: NetworkId::parse("factory")?,
//!     nonce: Nonce::new([4; 32]),
//!     did: io::did_io(device.public_key())?,
//!     key: device.public_key().clone(),
//! };
//! let born = Timestamp::from_secs(2_000);
//! let evidence = Unverified::new(Evidence { format: "example".into(), bytes: vec![] });
//! let appraisal = evidence.verify(&Appraising { verifier: &OneChip, challenge: &challenge, now: born })?;
//! let certificate = BirthCertificate::issue(&line, &factory, &device, &appraisal, born)?;
//! assert!(certificate.as_bytes().len() < 1024);
//!
//! // Years later, anywhere, without a network.
//! let anchors = Anchors::new().trust(maker_did, maker.public_key().clone(), Period::ALWAYS);
//! let later = Timestamp::from_secs(100_000_000);
//! let birth = BirthCertificate::parse(certificate.as_bytes())?.verify(&anchors, later)?;
//! assert_eq!((birth.model.name(), &birth.did), ("Pebble", &challenge.did));
//! birth.matches(&appraisal)?;
//! assert!(certificate.verify(&Anchors::new(), later).is_err(), "nobody else's word counts");
//! # Ok::<(), depin_core::Error>(())
//! ```

use alloc::{format, vec::Vec};

use depin_core::{
    B256, Error, ErrorKind, NetworkId, PublicKey, Result, Signer, Timestamp, Unverified, Verified,
    Verifier, cbor::CborError, envelope::EnvelopeError, evidence::TrustTier,
};

use crate::{Did, sybil::Nullifier, wire};

mod anchors;
mod appraisal;
mod links;
mod model;

pub use anchors::Anchors;
pub use model::{Model, ModelCertificate};

/// Most bytes of a certificate.
pub const MAX_BYTES: usize = 1024;

/// What stands in the envelopes in place of a network.
const NAMESPACE: &str = "birth";

fn namespace() -> NetworkId {
    NetworkId::parse(NAMESPACE).expect("invariant: five small letters are a network name")
}

/// Why bytes are no birth certificate, or one that proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BirthError {
    /// More than [`MAX_BYTES`].
    #[error("the birth certificate has more than 1024 bytes; use shorter dids and names")]
    TooLong,
    /// Not deterministic CBOR.
    #[error("the birth certificate is not deterministic cbor: {0}")]
    Encoding(#[from] CborError),
    /// A link is malformed, of another purpose, or not signed by who should have.
    #[error("the {link} of the birth certificate: {error}")]
    Envelope {
        /// `"model link"`, `"device link"` or `"acceptance"`.
        link: &'static str,
        /// What is wrong with it.
        error: EnvelopeError,
    },
    /// A payload, or the list of links, has another shape.
    #[error("the {0} breaks the format of birth certificates")]
    Format(&'static str),
    /// The links do not belong together.
    #[error("the links of the birth certificate do not fit: {0}")]
    Broken(&'static str),
    /// The manufacturer is not among the anchors.
    #[error("{0} is not a trusted manufacturer; add its key to the anchors")]
    Manufacturer(Did),
    /// The model's key was certified for a time in which the manufacturer's key is not trusted.
    #[error("the model's key is valid outside the time in which the manufacturer's key is trusted")]
    ModelPeriod,
    /// The model's link was revoked.
    #[error("the key of this model was revoked, with all devices it certified")]
    Revoked,
    /// The device was born when the model's key was not valid.
    #[error("the device was born at {0}, when the key of its model was not valid")]
    Born(Timestamp),
    /// The device was born after the present.
    #[error("the device was born at {0}, which is in the future; check the clock")]
    Unborn(Timestamp),
    /// The appraisal is about another device, or is another one.
    #[error("the birth certificate is not about this appraisal: another {0}")]
    Appraisal(&'static str),
}

impl From<BirthError> for Error {
    fn from(error: BirthError) -> Self {
        let kind = match &error {
            BirthError::TooLong => ErrorKind::Limit,
            BirthError::Encoding(_) | BirthError::Format(_) => ErrorKind::Malformed,
            BirthError::Envelope { error, .. } => Self::from(error.clone()).kind(),
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// What a birth certificate says. Only as [`Verified<Birth>`](Verified) is it known to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Birth {
    /// Who made the device.
    pub manufacturer: Did,
    /// As which model.
    pub model: Model,
    /// Hash of the model's link, which [`Anchors::revoke`] takes.
    pub model_link: B256,
    /// The device's identity when it was born.
    pub did: Did,
    /// The device's key when it was born.
    pub key: PublicKey,
    /// Hash of the appraisal of its hardware.
    pub appraisal: B256,
    /// How far that appraisal trusted the hardware.
    pub tier: TrustTier,
    /// Name of the hardware: the same for every appraisal of the same chip, and not its id.
    pub unit: Nullifier,
    /// When it was born, by the factory's clock.
    pub born: Timestamp,
}

/// A birth certificate whose signatures have not been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BirthCertificate {
    bytes: Vec<u8>,
    claims: Birth,
}

impl BirthCertificate {
    /// Certifies a device in the factory: the model's key signs what was appraised, the device accepts.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `factory` is not the model's key or `device` not the key that was
    /// appraised; [`ErrorKind::Rejected`] when the model's key is not valid at `born`, the appraisal is
    /// [`Contraindicated`](TrustTier::Contraindicated) or the DID does not name the key; [`ErrorKind::Limit`] when it would be longer than [`MAX_BYTES`]; or whatever
    /// the signers object to.
    pub fn issue(
        model: &ModelCertificate,
        factory: &dyn Signer,
        device: &dyn Signer,
        appraisal: &Verified<depin_core::evidence::Appraisal>,
        born: Timestamp,
    ) -> Result<Self> {
        let mismatch = |message| Err(Error::new(ErrorKind::Config, message));
        if factory.public_key() != model.model().key() {
            return mismatch("the signer is not the key that the model's link certifies");
        }
        if *device.public_key() != appraisal.challenge.key {
            return mismatch("the device's signer is not the key that was appraised");
        }
        if !model.model().valid().contains(born) {
            return Err(BirthError::Born(born).into());
        }
        if appraisal.tier == TrustTier::Contraindicated {
            let message = "the appraisal says that something is wrong with the hardware";
            return Err(Error::new(ErrorKind::Rejected, message));
        }
        let leaf = links::seal_device(model, factory, appraisal, born)?;
        let acceptance = links::seal_acceptance(&leaf, device, &appraisal.challenge.did)?;
        Ok(Self::parse(&wire::join(&[model.as_bytes(), &leaf, &acceptance]))?)
    }

    /// Parses a certificate and checks everything that needs no key and no clock.
    ///
    /// # Errors
    /// Names the first link that is not as it should be.
    pub fn parse(bytes: &[u8]) -> Result<Self, BirthError> {
        let claims = links::Links::parse(bytes)?.claims()?;
        Ok(Self { bytes: bytes.into(), claims })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says before verification, for routing and logging only.
    pub const fn peek(&self) -> &Birth {
        &self.claims
    }

    /// Verifies all three signatures up to a trusted manufacturer, and that each was made in its time.
    ///
    /// # Errors
    /// Names the first claim that does not hold.
    pub fn verify(&self, anchors: &Anchors, now: Timestamp) -> Result<Verified<Birth>, BirthError> {
        Unverified::new(self).verify(&Judge { anchors, now })
    }
}

struct Judge<'a> {
    anchors: &'a Anchors,
    now: Timestamp,
}

impl Verifier<&BirthCertificate> for Judge<'_> {
    type Output = Birth;
    type Error = BirthError;

    fn check(&self, certificate: &&BirthCertificate) -> Result<Birth, BirthError> {
        let links = links::Links::parse(&certificate.bytes)?;
        let birth = links.claims()?;
        self.anchors.check(&links.model, &birth)?;
        links.device.open(birth.model.key()).map_err(links::failed(links::DEVICE))?;
        links.acceptance.open(&birth.key).map_err(links::failed(links::ACCEPTANCE))?;
        if !birth.model.valid().contains(birth.born) {
            return Err(BirthError::Born(birth.born));
        }
        if self.now < birth.born {
            return Err(BirthError::Unborn(birth.born));
        }
        Ok(birth)
    }
}
