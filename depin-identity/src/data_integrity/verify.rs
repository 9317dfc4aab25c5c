//! Checking every proof of a document against what is expected and against the signers' DID documents.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use depin_core::{
    Did, DidUrl, Result, Timestamp, Unverified, Verified, Verifier, document::DidDocument,
    resolution::DidResolver,
};

use super::{
    Expectation, ProofError, Purpose,
    proof::{self, Claim},
};
use crate::json::{Object, Value};

/// A document whose proofs all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Secured {
    /// The document without its proofs, as every one of them covers it.
    pub document: Object,
    /// The proofs, in the order of the document.
    pub proofs: Vec<Proof>,
}

impl Secured {
    /// Whether one of the proofs is by a key of `did`.
    pub fn is_signed_by(&self, did: &Did) -> bool {
        self.proofs.iter().any(|proof| proof.verification_method.did() == did)
    }
}

/// What a proof that holds says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proof {
    /// Its name, if it has one.
    pub id: Option<String>,
    /// The key that signed.
    pub verification_method: DidUrl,
    /// What it is for.
    pub purpose: Purpose,
    /// When its signer says that it was made.
    pub created: Option<Timestamp>,
    /// From when on it does not hold any more.
    pub expires: Option<Timestamp>,
    /// The names of the proofs that it covers.
    pub previous: Vec<String>,
}

/// Verifies all proofs of a document, a single one, a set or a chain.
///
/// `find` gives the DID document of a signer, as [`documents`] resolves them or as the caller has it. Every
/// proof must hold and match the expectation; one that does not spoils the document. **Who** signed is
/// for the caller to compare, with [`Secured::is_signed_by`] or [`Proof::verification_method`]: anybody can add
/// a proof of his own to a copy without proofs.
///
/// ```
/// use depin_core::Timestamp;
/// use depin_identity::{data_integrity::{self, Expectation, ProofError, Purpose}, json::object};
///
/// let expected = Expectation::new(Purpose::Assertion, Timestamp::EPOCH);
/// let error = data_integrity::verify(&object([("name", "unsigned")]), &expected, |_| None);
/// assert_eq!(error, Err(ProofError::Missing));
/// ```
///
/// # Errors
/// The first thing that is wrong with a proof.
pub fn verify<'d>(
    secured: &Object,
    expected: &Expectation,
    find: impl Fn(&Did) -> Option<&'d DidDocument>,
) -> Result<Verified<Secured>, ProofError> {
    Unverified::new(secured).verify(&Check { expected, find })
}

/// Resolves the DID documents that [`verify`] needs, each once.
///
/// # Errors
/// A malformed proof, or whatever the resolver objects to.
pub async fn documents(
    secured: &Object,
    resolver: &dyn DidResolver,
) -> Result<BTreeMap<Did, DidDocument>> {
    let mut documents = BTreeMap::new();
    for claim in claims(secured)? {
        let did = claim.verification_method.did();
        if !documents.contains_key(did) {
            documents.insert(did.clone(), resolver.resolve(did).await?);
        }
    }
    Ok(documents)
}

fn claims(secured: &Object) -> Result<Vec<Claim<'_>>, ProofError> {
    proof::all(secured)?.into_iter().map(Claim::read).collect()
}

struct Check<'e, F> {
    expected: &'e Expectation,
    find: F,
}

impl<'d, F: Fn(&Did) -> Option<&'d DidDocument>> Verifier<&Object> for Check<'_, F> {
    type Output = Secured;
    type Error = ProofError;

    fn check(&self, secured: &&Object) -> Result<Secured, ProofError> {
        let claims = claims(secured)?;
        check_order(&claims)?;
        for claim in &claims {
            self.check_expected(claim)?;
            self.check_signature(secured, claim, &claims)?;
        }
        let proofs = claims.iter().map(|claim| self.proof(claim)).collect();
        Ok(Secured { document: common(secured, &claims), proofs })
    }
}

impl<'d, F: Fn(&Did) -> Option<&'d DidDocument>> Check<'_, F> {
    fn check_expected(&self, claim: &Claim<'_>) -> Result<(), ProofError> {
        let Expectation { purpose, now, skew, challenge, domain } = self.expected;
        if claim.purpose != purpose.as_str() {
            let found = claim.purpose.chars().take(64).collect();
            return Err(ProofError::Purpose { found, expected: *purpose });
        }
        if challenge.as_deref().is_some_and(|challenge| claim.challenge != Some(challenge)) {
            return Err(ProofError::Challenge);
        }
        let same = claim.domain.len() == domain.len()
            && domain.iter().all(|domain| claim.domain.contains(&domain.as_str()));
        if !domain.is_empty() && !same {
            return Err(ProofError::Domain);
        }
        if let Some(expired) = claim.expires.filter(|expires| *expires <= *now) {
            return Err(ProofError::Expired(expired));
        }
        if let Some(early) = claim.created.filter(|created| *created > now.plus(*skew)) {
            return Err(ProofError::Early(early));
        }
        Ok(())
    }

    fn check_signature(
        &self,
        secured: &Object,
        claim: &Claim<'_>,
        all: &[Claim<'_>],
    ) -> Result<(), ProofError> {
        let url = &claim.verification_method;
        let document = (self.find)(url.did()).filter(|document| document.id == *url.did());
        let document = document.ok_or_else(|| ProofError::NoDocument(url.did().clone()))?;
        let method = document.method(url).ok_or_else(|| ProofError::NoMethod(url.clone()))?;
        if method.controller != document.id {
            return Err(ProofError::Controller(url.clone()));
        }
        let purpose = self.expected.purpose;
        if !method.relationships.contains(purpose.relationship()) {
            return Err(ProofError::Relationship(url.clone(), purpose));
        }
        let key = method.key().filter(|key| key.algorithm() == claim.algorithm);
        let key = key.ok_or_else(|| ProofError::Algorithm(url.clone()))?;
        let covered = all.iter().filter(|other| covers(claim, other));
        let covered = covered.map(|other| other.members).collect();
        let signed = proof::hash_data(claim.members, secured, covered)?;
        // The suites leave both forms of `s` open, so others may write the high one.
        Ok(key.verify_any_s(&signed, &claim.signature)?)
    }

    fn proof(&self, claim: &Claim<'_>) -> Proof {
        Proof {
            id: claim.id.map(Into::into),
            verification_method: claim.verification_method.clone(),
            purpose: self.expected.purpose,
            created: claim.created,
            expires: claim.expires,
            previous: claim.previous.iter().copied().map(Into::into).collect(),
        }
    }
}

fn covers(claim: &Claim<'_>, other: &Claim<'_>) -> bool {
    other.id.is_some_and(|id| claim.previous.contains(&id))
}

/// Ids are given once, previous proofs are there, and following them comes to an end.
fn check_order(claims: &[Claim<'_>]) -> Result<(), ProofError> {
    let mut ids: Vec<&str> = claims.iter().filter_map(|claim| claim.id).collect();
    ids.sort_unstable();
    if let Some(twice) =
        ids.windows(2).find_map(|pair| pair.first().filter(|id| Some(*id) == pair.last()))
    {
        return Err(ProofError::Twice((*twice).into()));
    }
    let mut previous = claims.iter().flat_map(|claim| &claim.previous);
    if let Some(missing) = previous.find(|id| ids.binary_search(id).is_err()) {
        return Err(ProofError::Previous((*missing).into()));
    }
    // Take away, again and again, what rests on nothing that is left. A circle stays.
    let mut left: Vec<&Claim<'_>> = claims.iter().collect();
    loop {
        let before = left.clone();
        left.retain(|claim| before.iter().any(|other| covers(claim, other)));
        match left.first() {
            None => return Ok(()),
            Some(claim) if left.len() == before.len() => {
                return Err(ProofError::Cycle(claim.id.unwrap_or_default().into()));
            }
            Some(_) => {}
        }
    }
}

/// The document without its proofs, and with no more of its `@context` than all of them cover.
fn common(secured: &Object, claims: &[Claim<'_>]) -> Object {
    let mut document = secured.clone();
    document.remove("proof");
    let entries = |context: &Value| context.one_or_more().len();
    let whole = secured.get("@context").map_or(0, entries);
    let covered = claims.iter().filter_map(|claim| claim.members.get("@context"));
    let shortest = covered.min_by_key(|context| entries(context));
    if let Some(context) = shortest.filter(|context| entries(context) < whole) {
        document.insert("@context", context.clone());
    }
    document
}
