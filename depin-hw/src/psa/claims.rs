//! The claims of a token and the rules of its profile.

use alloc::{string::String, vec::Vec};

use minicbor::{Decoder, Encoder, encode};

use super::{
    entries::{Entries, encoding},
    error::{Claim, PsaError},
    id::{ImplementationId, InstanceId},
    profile::{Lifecycle, Profile},
};

/// Most software components of one token.
pub const MAX_COMPONENTS: u64 = 32;

/// One measured piece of software (RFC 9783 section 4.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Component {
    /// Its role, for example `BL`, `PRoT` or `App`.
    pub measurement_type: Option<String>,
    /// Hash of its code: 32, 48 or 64 bytes.
    pub measurement_value: Vec<u8>,
    /// Issued version.
    pub version: Option<String>,
    /// Hash of the key that signed it: 32, 48 or 64 bytes.
    pub signer_id: Vec<u8>,
    /// Name of the hash algorithm.
    pub description: Option<String>,
}

impl Component {
    /// A component in the role `measurement_type`, measured and signed.
    pub fn new(
        measurement_type: impl Into<String>,
        measurement_value: impl Into<Vec<u8>>,
        signer_id: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            measurement_type: Some(measurement_type.into()),
            measurement_value: measurement_value.into(),
            version: None,
            signer_id: signer_id.into(),
            description: None,
        }
    }

    fn decode(entries: &Entries<'_>) -> Result<Self, PsaError> {
        let text = |key, claim| Ok::<_, PsaError>(entries.text(key, claim)?.map(String::from));
        Ok(Self {
            measurement_type: text(1, Claim::MeasurementType)?,
            measurement_value: hash(entries, 2, Claim::MeasurementValue)?,
            version: text(4, Claim::Version)?,
            signer_id: hash(entries, 5, Claim::SignerId)?,
            description: text(6, Claim::Description)?,
        })
    }

    fn encode(&self, e: &mut Encoder<&mut Vec<u8>>) -> Encoded {
        let texts = [&self.measurement_type, &self.version, &self.description];
        let present = texts.iter().filter(|text| text.is_some()).count() as u64;
        e.map(2 + present)?;
        if let Some(text) = &self.measurement_type {
            e.u8(1)?.str(text)?;
        }
        e.u8(2)?.bytes(&self.measurement_value)?;
        if let Some(text) = &self.version {
            e.u8(4)?.str(text)?;
        }
        e.u8(5)?.bytes(&self.signer_id)?;
        if let Some(text) = &self.description {
            e.u8(6)?.str(text)?;
        }
        Ok(())
    }
}

/// What a token says (RFC 9783 section 4).
///
/// ```
/// use depin_hw::psa::{Claim, Claims, ImplementationId, InstanceId, Lifecycle, PsaError};
///
/// let instance = InstanceId::parse(&[1; 33]).unwrap();
/// let claims =
///     Claims::new([7; 32], instance, ImplementationId::new([9; 32]), Lifecycle::Secured, vec![]);
/// assert_eq!(claims.encode(), Err(PsaError::Value { claim: Claim::Components }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claims {
    /// Generation of the format.
    pub profile: Profile,
    /// The challenge: 32, 48 or 64 bytes.
    pub nonce: Vec<u8>,
    /// Which attestation key.
    pub instance_id: InstanceId,
    /// Who asked inside the chip: negative outside the secure world, positive inside, never 0.
    pub client_id: i32,
    /// Major state of the chip's life.
    pub lifecycle: Lifecycle,
    /// Minor state, whose meaning the manufacturer defines.
    pub lifecycle_minor: u8,
    /// Which make of root.
    pub implementation_id: ImplementationId,
    /// Differs from boot to boot.
    pub boot_seed: Option<Vec<u8>>,
    /// Entry in the PSA certification database.
    pub certification_reference: Option<String>,
    /// The software that runs; empty only in the legacy profile.
    pub components: Vec<Component>,
    /// Hint where to verify. Never followed here.
    pub verification_service: Option<String>,
}

impl Claims {
    /// Claims of the current profile, asked for from outside the secure world.
    pub fn new(
        nonce: impl Into<Vec<u8>>,
        instance_id: InstanceId,
        implementation_id: ImplementationId,
        lifecycle: Lifecycle,
        components: Vec<Component>,
    ) -> Self {
        Self {
            profile: Profile::Tfm,
            nonce: nonce.into(),
            instance_id,
            client_id: -1,
            lifecycle,
            lifecycle_minor: 0,
            implementation_id,
            boot_seed: None,
            certification_reference: None,
            components,
            verification_service: None,
        }
    }

    /// Reads the payload of a token and holds it to the rules of its profile.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn decode(bytes: &[u8]) -> Result<Self, PsaError> {
        let mut decoder = Decoder::new(bytes);
        let entries = Entries::read(&mut decoder)?;
        if decoder.position() != bytes.len() {
            return Err(PsaError::Trailing);
        }
        let profile = Profile::of(&entries)?;
        let key = |claim| profile.key(claim);
        let (lifecycle, lifecycle_minor) = lifecycle(&entries, key(Claim::Lifecycle))?;
        Ok(Self {
            profile,
            nonce: hash(&entries, key(Claim::Nonce), Claim::Nonce)?,
            instance_id: required(&entries, key(Claim::InstanceId), Claim::InstanceId, |bytes| {
                InstanceId::parse(bytes)
            })?,
            client_id: client_id(&entries, key(Claim::ClientId))?,
            lifecycle,
            lifecycle_minor,
            implementation_id: required(
                &entries,
                key(Claim::ImplementationId),
                Claim::ImplementationId,
                |bytes| bytes.try_into().ok().map(ImplementationId::new),
            )?,
            boot_seed: boot_seed(&entries, profile)?,
            certification_reference: certification(&entries, profile)?,
            components: components(&entries, profile)?,
            verification_service: service(&entries, key(Claim::VerificationService))?,
        })
    }

    /// Deterministic CBOR of the current profile, ready to be signed as payload of a COSE_Sign1.
    ///
    /// # Errors
    /// The rule that a reader would refuse; [`PsaError::Profile`] for claims of an older profile.
    pub fn encode(&self) -> Result<Vec<u8>, PsaError> {
        if self.profile != Profile::Tfm {
            return Err(PsaError::Profile { found: self.profile.as_str().into() });
        }
        let mut bytes = Vec::with_capacity(256);
        self.write(&mut Encoder::new(&mut bytes)).map_err(|_| PsaError::Encoding)?;
        // The reader's rules are the only rules.
        Self::decode(&bytes)?;
        Ok(bytes)
    }

    fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Encoded {
        let key = |claim| self.profile.key(claim);
        let optional = u64::from(self.boot_seed.is_some())
            + u64::from(self.certification_reference.is_some())
            + u64::from(self.verification_service.is_some());
        e.map(7 + optional)?;
        e.i64(key(Claim::Nonce))?.bytes(&self.nonce)?;
        e.i64(key(Claim::InstanceId))?.bytes(self.instance_id.as_bytes())?;
        e.i64(key(Claim::Profile))?.str(self.profile.as_str())?;
        if let Some(seed) = &self.boot_seed {
            e.i64(key(Claim::BootSeed))?.bytes(seed)?;
        }
        e.i64(key(Claim::ClientId))?.i32(self.client_id)?;
        let state = u16::from_be_bytes([self.lifecycle.major(), self.lifecycle_minor]);
        e.i64(key(Claim::Lifecycle))?.u16(state)?;
        e.i64(key(Claim::ImplementationId))?.bytes(self.implementation_id.as_bytes())?;
        if let Some(reference) = &self.certification_reference {
            e.i64(key(Claim::CertificationReference))?.str(reference)?;
        }
        e.i64(key(Claim::Components))?.array(self.components.len() as u64)?;
        for component in &self.components {
            component.encode(e)?;
        }
        if let Some(service) = &self.verification_service {
            e.i64(key(Claim::VerificationService))?.str(service)?;
        }
        Ok(())
    }
}

/// Writing to a vector cannot fail; the type keeps `?` short.
type Encoded = Result<(), encode::Error<core::convert::Infallible>>;

fn required<T>(
    entries: &Entries<'_>,
    key: i64,
    claim: Claim,
    accept: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, PsaError> {
    let bytes = entries.bytes(key, claim)?.ok_or(PsaError::Missing(claim))?;
    accept(bytes).ok_or(PsaError::Value { claim })
}

/// A hash-sized byte string: of 256, 384 or 512 bits.
fn hash(entries: &Entries<'_>, key: i64, claim: Claim) -> Result<Vec<u8>, PsaError> {
    required(entries, key, claim, |bytes| {
        matches!(bytes.len(), 32 | 48 | 64).then(|| bytes.to_vec())
    })
}

fn client_id(entries: &Entries<'_>, key: i64) -> Result<i32, PsaError> {
    let claim = Claim::ClientId;
    let number = entries.integer(key, claim)?.ok_or(PsaError::Missing(claim))?;
    let id = i32::try_from(number).ok().filter(|id| *id != 0);
    id.ok_or(PsaError::Value { claim })
}

fn lifecycle(entries: &Entries<'_>, key: i64) -> Result<(Lifecycle, u8), PsaError> {
    let claim = Claim::Lifecycle;
    let number = entries.integer(key, claim)?.ok_or(PsaError::Missing(claim))?;
    let state = u16::try_from(number).map_err(|_| PsaError::Value { claim })?;
    let [major, minor] = state.to_be_bytes();
    let lifecycle = Lifecycle::of_major(major).ok_or(PsaError::Value { claim })?;
    Ok((lifecycle, minor))
}

fn boot_seed(entries: &Entries<'_>, profile: Profile) -> Result<Option<Vec<u8>>, PsaError> {
    let claim = Claim::BootSeed;
    let seed = entries.bytes(profile.key(claim), claim)?;
    let (shortest, optional) = if profile == Profile::Legacy { (32, false) } else { (8, true) };
    match seed {
        None if optional => Ok(None),
        None => Err(PsaError::Missing(claim)),
        Some(seed) if (shortest..=32).contains(&seed.len()) => Ok(Some(seed.to_vec())),
        Some(_) => Err(PsaError::Value { claim }),
    }
}

fn certification(entries: &Entries<'_>, profile: Profile) -> Result<Option<String>, PsaError> {
    let claim = Claim::CertificationReference;
    let Some(text) = entries.text(profile.key(claim), claim)? else { return Ok(None) };
    let digits =
        |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let holds = match text.split_once('-') {
        Some((article, version)) => digits(article, 13) && digits(version, 5),
        None => profile == Profile::Legacy && digits(text, 13),
    };
    if holds { Ok(Some(text.into())) } else { Err(PsaError::Value { claim }) }
}

fn components(entries: &Entries<'_>, profile: Profile) -> Result<Vec<Component>, PsaError> {
    let claim = Claim::Components;
    let list = entries.array(profile.key(claim), claim)?;
    if profile == Profile::Legacy {
        let claim = Claim::NoMeasurements;
        match (entries.integer(profile.key(claim), claim)?, &list) {
            (Some(1), None) => return Ok(Vec::new()),
            (Some(_), _) => return Err(PsaError::Value { claim }),
            (None, _) => {}
        }
    }
    let (count, mut decoder) = list.ok_or(PsaError::Missing(claim))?;
    if count == 0 {
        return Err(PsaError::Value { claim });
    }
    if count > MAX_COMPONENTS {
        return Err(PsaError::Components { count });
    }
    let mut read = || {
        if !matches!(decoder.datatype().map_err(encoding)?, minicbor::data::Type::Map) {
            return Err(PsaError::Type { claim });
        }
        Component::decode(&Entries::read(&mut decoder)?)
    };
    (0..count).map(|_| read()).collect()
}

fn service(entries: &Entries<'_>, key: i64) -> Result<Option<String>, PsaError> {
    let claim = Claim::VerificationService;
    match entries.text(key, claim)? {
        Some("") => Err(PsaError::Value { claim }),
        text => Ok(text.map(String::from)),
    }
}
