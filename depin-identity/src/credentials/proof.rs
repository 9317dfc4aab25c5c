//! The decision over a credential: terms first, then the document of its issuer, then the proof.

use depin_core::{Unverified, Verified, Verifier, document::DidDocument};

use super::{Credential, CredentialError, CredentialVerifier, key::resolve_document};
use crate::{
    data_integrity::{self, Expectation, Purpose},
    json::{self, Object, Value},
};

impl CredentialVerifier<'_> {
    /// Verifies the JSON of a credential.
    ///
    /// # Errors
    /// Any [`CredentialError`]; see there for the difference between "no" and "unknown".
    pub async fn verify(&self, json: &[u8]) -> Result<Verified<Credential>, CredentialError> {
        match json::parse(json)? {
            Value::Object(object) => self.verify_object(&object).await,
            _ => Err(CredentialError::Member("credentialSubject")),
        }
    }

    /// Verifies a credential that was parsed already.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_object(
        &self,
        secured: &Object,
    ) -> Result<Verified<Credential>, CredentialError> {
        // What needs no network comes first: nobody makes us resolve the DIDs of strangers.
        let credential = Credential::read(secured.clone())?;
        self.check_terms(&credential)?;
        let document = resolve_document(self.resolver, credential.issuer()).await?;
        Unverified::new(secured).verify(&Judge { verifier: self, issuer: &document })
    }

    /// What proofs must say.
    pub(super) fn expectation(&self, purpose: Purpose) -> Expectation {
        let mut expected = Expectation::new(purpose, self.now());
        expected.skew = self.leeway;
        expected
    }
}

/// Checks proof and terms, once the document of the issuer is there.
struct Judge<'a> {
    verifier: &'a CredentialVerifier<'a>,
    issuer: &'a DidDocument,
}

impl Verifier<&Object> for Judge<'_> {
    type Output = Credential;
    type Error = CredentialError;

    fn check(&self, secured: &&Object) -> Result<Credential, CredentialError> {
        let expected = self.verifier.expectation(Purpose::Assertion);
        let proofs = data_integrity::verify(secured, &expected, |did| {
            (*did == self.issuer.id).then_some(self.issuer)
        })?;
        // From here on only what the proofs cover.
        let credential = Credential::read(proofs.document.clone())?;
        self.verifier.check_terms(&credential)?;
        if proofs.is_signed_by(credential.issuer()) {
            Ok(credential)
        } else {
            Err(CredentialError::Issuer(credential.issuer().clone()))
        }
    }
}
