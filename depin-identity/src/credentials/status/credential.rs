//! The credential that carries a list: `BitstringStatusListCredential`.

use alloc::{collections::BTreeSet, format, vec::Vec};
use core::time::Duration;

use depin_core::{DidUrl, Error, Signer, Timestamp};

use super::{ListTerms, PublishedList, Purpose, StatusError, StatusList, clip, entry::check_size};
use crate::{
    credentials::{Credential, CredentialError, CredentialVerifier},
    data_integrity,
    json::{self, Number, Object, Value},
};

impl PublishedList {
    /// The `type` of the credential that carries a list.
    pub const CREDENTIAL_TYPE: &'static str = "BitstringStatusListCredential";
    /// The `type` of its subject.
    pub const SUBJECT_TYPE: &'static str = "BitstringStatusList";
    /// How long a list that names neither `validUntil` nor `ttl` is believed after it was verified.
    pub const DEFAULT_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
    /// How long ago a list without `validUntil` may have been signed, unless the verifier
    /// [says otherwise](CredentialVerifier::list_age).
    pub const DEFAULT_AGE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    /// Longest JSON text of a list's credential in bytes.
    pub const MAX_JSON_LEN: usize = 3 << 20;

    /// Issues the credential to publish at the list's `id`.
    ///
    /// # Errors
    /// Whatever the signer objects to.
    pub fn issue(&self, signer: &dyn Signer, method: &DidUrl) -> Result<Object, Error> {
        let purposes: Vec<_> = self.terms.purposes.iter().map(|p| p.as_str()).collect();
        let purposes = match purposes.as_slice() {
            [one] => Value::from(*one),
            _ => Value::from(purposes),
        };
        let mut subject = json::object([
            ("id", format!("{}#list", self.terms.id)),
            ("type", Self::SUBJECT_TYPE.into()),
            ("encodedList", self.list.encode()),
        ]);
        subject.insert("statusPurpose", purposes);
        Credential::builder(&self.terms.issuer)
            .id(&self.terms.id)
            .kind(Self::CREDENTIAL_TYPE)
            .valid_from(self.terms.as_of)
            .valid_until(self.terms.fresh_until)
            .subject(subject)
            .build()?
            .issue(signer, method, self.terms.as_of)
    }

    /// Verifies a published list: proof, issuer and dates by `verifier`, then the list itself.
    ///
    /// It may be believed until its `validUntil` passes or its `ttl`, counted from the verifier's
    /// present, is over; for [`DEFAULT_LIFE`](Self::DEFAULT_LIFE) if it names neither. One without
    /// `validUntil` must also have been signed recently, by the `created` of its proof or else its
    /// `validFrom`: not longer ago than [`CredentialVerifier::list_age`]. Otherwise somebody could show a
    /// list from before a revocation for ever.
    ///
    /// # Errors
    /// As [`CredentialVerifier::verify`]; [`CredentialError::StatusList`] when the list does
    /// not follow its format, or was signed too long ago.
    pub async fn verify(
        json: &[u8],
        verifier: &CredentialVerifier<'_>,
    ) -> Result<Self, CredentialError> {
        let Value::Object(secured) = json::parse_within(json, Self::MAX_JSON_LEN)? else {
            return Err(CredentialError::Member("credentialSubject"));
        };
        let credential = verifier.for_lists().verify_object(&secured).await?;
        let signed = data_integrity::created(&secured)?;
        Ok(Self::read(&credential, signed, verifier)?)
    }

    fn read(
        credential: &Credential,
        signed: Option<Timestamp>,
        verifier: &CredentialVerifier<'_>,
    ) -> Result<Self, StatusError> {
        let [subject] = credential.subjects() else {
            return Err(StatusError::Member("credentialSubject"));
        };
        if subject.text("type") != Some(Self::SUBJECT_TYPE) {
            return Err(StatusError::Member("type"));
        }
        check_size(subject)?;
        let encoded = subject.text("encodedList").ok_or(StatusError::Member("encodedList"))?;
        let id = credential.id().ok_or(StatusError::Member("id"))?;
        let as_of = credential.valid_from().ok_or(StatusError::Member("validFrom"))?;
        let aged = signed.unwrap_or(as_of).plus(verifier.list_age);
        let fresh_until =
            fresh_until(credential.valid_until(), ttl(subject)?, aged, verifier.now());
        let terms = ListTerms {
            id: id.into(),
            issuer: credential.issuer().clone(),
            purposes: read_purposes(subject)?,
            as_of,
            fresh_until: fresh_until.ok_or_else(|| StatusError::Stale(clip(id)))?,
        };
        Ok(Self { terms, list: StatusList::decode(encoded)? })
    }
}

/// `aged` is when a list without `validUntil` was signed too long ago; nothing when it is past.
fn fresh_until(
    until: Option<Timestamp>,
    ttl: Option<Duration>,
    aged: Timestamp,
    now: Timestamp,
) -> Option<Timestamp> {
    let lives = ttl.map(|ttl| now.plus(ttl));
    match until {
        Some(until) => Some(lives.map_or(until, |lives| until.min(lives))),
        None if now > aged => None,
        None => Some(lives.unwrap_or_else(|| now.plus(PublishedList::DEFAULT_LIFE)).min(aged)),
    }
}

fn ttl(subject: &Object) -> Result<Option<Duration>, StatusError> {
    let Some(ttl) = subject.get("ttl") else { return Ok(None) };
    let millis = ttl.as_number().and_then(Number::as_u64).ok_or(StatusError::Member("ttl"))?;
    Ok(Some(Duration::from_millis(millis)))
}

/// The purposes that decide over validity; others, such as `message`, are nothing to us.
fn read_purposes(subject: &Object) -> Result<BTreeSet<Purpose>, StatusError> {
    let malformed = StatusError::Member("statusPurpose");
    let one = |value: &Value| value.as_text().map(Purpose::parse);
    let purposes: Option<BTreeSet<_>> = match subject.get("statusPurpose") {
        Some(Value::List(many)) => many.iter().map(one).collect(),
        Some(value) => one(value).map(|purpose| [purpose].into()),
        None => None,
    };
    Ok(purposes.ok_or(malformed)?.into_iter().flatten().collect())
}
