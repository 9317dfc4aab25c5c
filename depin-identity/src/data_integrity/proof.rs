//! The JSON of proofs: reading its members, and the 64 bytes that a suite signs.

use alloc::{string::ToString, vec::Vec};

use depin_core::{Algorithm, DidUrl, Signature, Timestamp};
use sha2::{Digest, Sha256};

use super::{MAX_PROOFS, ProofError};
use crate::json::{Object, Value};

/// The `type` of every proof that names a suite.
pub(super) const TYPE: &str = "DataIntegrityProof";

/// The suite that signs with an algorithm.
pub(super) const fn suite(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::EdDsa => Some("eddsa-jcs-2022"),
        Algorithm::Es256 => Some("ecdsa-jcs-2019"),
        _ => None,
    }
}

/// A proof as the document has it.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) members: &'a Object,
    pub(super) algorithm: Algorithm,
    pub(super) id: Option<&'a str>,
    pub(super) verification_method: DidUrl,
    pub(super) purpose: &'a str,
    pub(super) created: Option<Timestamp>,
    pub(super) expires: Option<Timestamp>,
    pub(super) challenge: Option<&'a str>,
    pub(super) domain: Vec<&'a str>,
    pub(super) previous: Vec<&'a str>,
    pub(super) signature: Signature,
}

impl<'a> Claim<'a> {
    pub(super) fn read(members: &'a Object) -> Result<Self, ProofError> {
        known(members, "type", |name| (name == TYPE).then_some(()))?;
        let algorithm = known(members, "cryptosuite", |name| {
            Algorithm::ALL.into_iter().find(|algorithm| suite(*algorithm) == Some(name))
        })?;
        let method = required(members, "verificationMethod")?;
        Ok(Self {
            members,
            algorithm,
            id: optional(members, "id")?,
            verification_method: DidUrl::parse(method)
                .map_err(|_| ProofError::Member("verificationMethod"))?,
            purpose: required(members, "proofPurpose")?,
            created: moment(members, "created")?,
            expires: moment(members, "expires")?,
            challenge: optional(members, "challenge")?,
            domain: texts(members, "domain")?,
            previous: texts(members, "previousProof")?,
            signature: signature(required(members, "proofValue")?)?,
        })
    }
}

/// The proofs of a document: one object, or a list of them.
pub(super) fn all(document: &Object) -> Result<Vec<&Object>, ProofError> {
    let proofs = document.get("proof").ok_or(ProofError::Missing)?;
    let proofs = proofs.one_or_more();
    match proofs.len() {
        0 => Err(ProofError::Missing),
        1..=MAX_PROOFS => proofs
            .iter()
            .map(|proof| proof.as_object().ok_or(ProofError::Member("proof")))
            .collect(),
        _ => Err(ProofError::TooMany),
    }
}

/// When the newest proof of a document says that it was made. That it holds was verified before.
#[cfg(feature = "credentials")]
pub(crate) fn created(document: &Object) -> Result<Option<Timestamp>, ProofError> {
    let moments = all(document)?.into_iter().map(|proof| moment(proof, "created"));
    moments.collect::<Result<Vec<_>, _>>().map(|moments| moments.into_iter().flatten().max())
}

/// What a suite signs: the hash of the proof without its value, then the hash of the document with the
/// proofs that are covered and no others (W3C Data Integrity EdDSA Cryptosuites 1.0 section 3.3.4).
pub(super) fn hash_data(
    proof: &Object,
    document: &Object,
    covered: Vec<&Object>,
) -> Result<[u8; 64], ProofError> {
    let (mut config, mut document) = (proof.clone(), document.clone());
    config.remove("proofValue");
    document.remove("proof");
    if let Some(context) = config.get("@context") {
        let began = document.insert("@context", context.clone());
        if !began.is_some_and(|began| began.one_or_more().starts_with(context.one_or_more())) {
            return Err(ProofError::Context);
        }
    }
    if !covered.is_empty() {
        document.insert("proof", covered.into_iter().cloned().collect::<Vec<_>>());
    }
    let mut hashes = [0; 64];
    let (first, second) = hashes.split_at_mut(32);
    first.copy_from_slice(&Sha256::digest(config.canonical()));
    second.copy_from_slice(&Sha256::digest(document.canonical()));
    Ok(hashes)
}

fn known<T>(
    members: &Object,
    member: &'static str,
    find: impl FnOnce(&str) -> Option<T>,
) -> Result<T, ProofError> {
    let name = required(members, member)?;
    find(name)
        .ok_or_else(|| ProofError::Unsupported { member, found: name.chars().take(64).collect() })
}

fn required<'a>(members: &'a Object, name: &'static str) -> Result<&'a str, ProofError> {
    members.text(name).ok_or(ProofError::Member(name))
}

fn optional<'a>(members: &'a Object, name: &'static str) -> Result<Option<&'a str>, ProofError> {
    members.get(name).map(|value| value.as_text().ok_or(ProofError::Member(name))).transpose()
}

/// A text or a list of some, each once.
fn texts<'a>(members: &'a Object, name: &'static str) -> Result<Vec<&'a str>, ProofError> {
    let Some(value) = members.get(name) else { return Ok(Vec::new()) };
    let items = value.one_or_more();
    if !(1..=MAX_PROOFS).contains(&items.len()) {
        return Err(ProofError::Member(name));
    }
    let mut texts = Vec::new();
    for item in items {
        let text = item.as_text().filter(|text| !texts.contains(text));
        texts.push(text.ok_or(ProofError::Member(name))?);
    }
    Ok(texts)
}

fn moment(members: &Object, name: &'static str) -> Result<Option<Timestamp>, ProofError> {
    let text = optional(members, name)?;
    text.map(|text| Timestamp::parse(text).map_err(|_| ProofError::Member(name))).transpose()
}

/// Multibase base58btc of 64 bytes.
fn signature(text: &str) -> Result<Signature, ProofError> {
    const LONGEST: usize = 88;
    let malformed = ProofError::Member("proofValue");
    let mut bytes = [0; Signature::LEN];
    let Some(digits) = text.strip_prefix('z').filter(|digits| digits.len() <= LONGEST) else {
        return Err(malformed);
    };
    match bs58::decode(digits).onto(&mut bytes) {
        Ok(Signature::LEN) => Ok(Signature::from_bytes(bytes)),
        _ => Err(malformed),
    }
}

/// The text of a signature in `proofValue`.
pub(super) fn proof_value(signature: &Signature) -> Value {
    alloc::format!("z{}", bs58::encode(signature.as_bytes()).into_string()).into()
}

/// `xsd:dateTimeStamp`, without a fraction where there is none.
pub(super) fn moment_text(moment: Timestamp) -> Value {
    moment.to_string().replace(".000Z", "Z").into()
}
