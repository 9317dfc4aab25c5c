//! Presentations: a holder shows credentials in answer to a challenge.

use alloc::{vec, vec::Vec};

use depin_core::{
    Did, DidUrl, Error, ErrorKind, Signer, Timestamp, Unverified, Verified, Verifier,
    document::DidDocument,
};

use super::{
    CONTEXT, Challenge, Credential, CredentialError, CredentialVerifier,
    credential::{objects, texts},
    key::resolve_document,
};
use crate::{
    data_integrity::{self, Options, ProofError, Purpose},
    json::{self, Object, Value},
};

/// The `type` that every presentation has.
const TYPE: &str = "VerifiablePresentation";

/// Most credentials in one presentation.
pub const MAX_CREDENTIALS: usize = 16;

/// Credentials that a holder puts together to present them.
#[derive(Clone, Debug)]
#[must_use]
pub struct Presentation {
    holder: Did,
    credentials: Vec<Value>,
}

impl Presentation {
    /// A presentation by `holder`, of nothing yet.
    pub const fn new(holder: Did) -> Self {
        Self { holder, credentials: Vec::new() }
    }

    /// Adds a credential as its issuer gave it, with the proof.
    pub fn credential(mut self, credential: Object) -> Self {
        self.credentials.push(credential.into());
        self
    }

    /// Signs as the holder, with a key for `authentication`. Gives the JSON to send.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `method` is no key of the holder, and whatever the signer objects to.
    pub fn sign(
        self,
        signer: &dyn Signer,
        method: &DidUrl,
        challenge: &Challenge,
        created: Timestamp,
    ) -> Result<Object, Error> {
        if *method.did() != self.holder {
            let message = "a presentation is signed with a key of its holder";
            return Err(Error::new(ErrorKind::Config, message).with("method", method));
        }
        let mut object = json::object([("type", vec![TYPE]), ("@context", vec![CONTEXT])]);
        object.insert("holder", self.holder.as_str());
        object.insert("verifiableCredential", Value::List(self.credentials));
        let mut options = Options::new(method.clone(), Purpose::Authentication);
        options.created = Some(created);
        options.challenge = Some(challenge.nonce().into());
        options.domain = vec![challenge.audience().into()];
        data_integrity::secure(&object, &options, signer)
    }
}

/// A verified presentation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presented {
    /// Who signed in answer to the challenge.
    pub holder: Did,
    /// What was shown, at least one credential.
    pub credentials: Vec<Credential>,
}

impl CredentialVerifier<'_> {
    /// Verifies the JSON of a presentation and all credentials in it.
    ///
    /// The holder must have signed in answer to `challenge`, with a key that its DID document lists for
    /// `authentication`, and must be the one subject of every credential unless
    /// [`any_holder`](Self::any_holder) is set. Every credential must pass [`verify`](Self::verify).
    ///
    /// # Errors
    /// Any [`CredentialError`].
    pub async fn verify_presentation(
        &self,
        json: &[u8],
        challenge: &Challenge,
    ) -> Result<Verified<Presented>, CredentialError> {
        let Value::Object(secured) = json::parse(json)? else {
            return Err(CredentialError::Member("verifiableCredential"));
        };
        let (holder, shown) = read(&secured)?;
        self.check_words(&secured)?;
        // A stranger's DID is resolved only after credentials of those whom we trust held.
        let mut credentials = Vec::with_capacity(shown.len());
        for credential in shown {
            let credential = self.verify_object(credential).await?.into_inner();
            self.check_holder(&credential, &holder)?;
            credentials.push(credential);
        }
        let document = resolve_document(self.resolver, &holder).await?;
        let judge = Judge { verifier: self, challenge, holder: &document, credentials };
        Unverified::new(&secured).verify(&judge)
    }

    fn check_holder(&self, credential: &Credential, holder: &Did) -> Result<(), CredentialError> {
        let held = |subject: &Object| subject.text("id") == Some(holder.as_str());
        if self.any_holder || credential.subjects().iter().all(held) {
            Ok(())
        } else {
            Err(CredentialError::Holder(holder.clone()))
        }
    }
}

/// Who presents what, by their own words.
fn read(object: &Object) -> Result<(Did, Vec<&Object>), CredentialError> {
    if texts(object, "@context")?.first() != Some(&CONTEXT) {
        return Err(CredentialError::Member("@context"));
    }
    if !texts(object, "type")?.contains(&TYPE) {
        return Err(CredentialError::Member("type"));
    }
    let holder = match object.get("holder") {
        Some(Value::Object(holder)) => holder.text("id"),
        other => other.and_then(Value::as_text),
    };
    let holder = holder.and_then(|text| Did::parse(text).ok());
    let credentials = objects(object, "verifiableCredential")?;
    if credentials.is_empty() || credentials.len() > MAX_CREDENTIALS {
        return Err(CredentialError::Member("verifiableCredential"));
    }
    Ok((holder.ok_or(CredentialError::Member("holder"))?, credentials))
}

/// Checks the holder's signature, once its document is there and the credentials held.
struct Judge<'a> {
    verifier: &'a CredentialVerifier<'a>,
    challenge: &'a Challenge,
    holder: &'a DidDocument,
    credentials: Vec<Credential>,
}

impl Verifier<&Object> for Judge<'_> {
    type Output = Presented;
    type Error = CredentialError;

    fn check(&self, secured: &&Object) -> Result<Presented, CredentialError> {
        self.challenge.check_asked()?;
        let mut expected = self.verifier.expectation(Purpose::Authentication);
        expected.challenge = Some(self.challenge.nonce().into());
        expected.domain = vec![self.challenge.audience().into()];
        let find = |did: &Did| (*did == self.holder.id).then_some(self.holder);
        let proofs =
            data_integrity::verify(secured, &expected, find).map_err(|error| match error {
                ProofError::Challenge => CredentialError::Challenge,
                ProofError::Domain => CredentialError::Audience,
                other => other.into(),
            })?;
        for proof in &proofs.proofs {
            let signed = proof.created.ok_or(CredentialError::Member("created"))?;
            self.verifier.check_dates(Some(signed), Some(self.challenge.until(signed)))?;
        }
        let (holder, credentials) = (self.holder.id.clone(), self.credentials.clone());
        Ok(Presented { holder, credentials })
    }
}
