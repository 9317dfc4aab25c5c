//! Credentials of the W3C Verifiable Credentials Data Model 2.0: a typed view of their JSON.

use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};

use depin_core::{Did, DidUrl, Error, ErrorKind, Signer, Timestamp};

use super::{CredentialError, status::StatusEntry};
use crate::{
    data_integrity::{self, Options, Purpose},
    json::{self, Object, Value},
};

/// The context that every credential and presentation starts with.
pub const CONTEXT: &str = "https://www.w3.org/ns/credentials/v2";

/// The `type` that every credential has.
pub const TYPE: &str = "VerifiableCredential";

/// Most contexts, types, subjects or status entries of one credential.
pub const MAX_ENTRIES: usize = 64;

/// A credential without its proof: what somebody says about somebody.
///
/// Members that the SDK does not know stay in it, and a proof covers them.
///
/// ```
/// use depin_core::Timestamp;
/// use depin_identity::{credentials::Credential, json};
///
/// let credential = Credential::builder(&"did:example:maker".parse()?)
///     .kind("StationCredential")
///     .valid_from(Timestamp::from_secs(1_700_000_000))
///     .subject(json::object([("id", "did:example:station-7"), ("model", "Pebble 2")]))
///     .build()?;
/// assert_eq!(credential.types().last(), Some("StationCredential"));
/// assert_eq!(credential.subjects()[0].text("model"), Some("Pebble 2"));
/// assert_eq!(Credential::read(credential.as_object().clone())?, credential);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    object: Object,
    issuer: Did,
    subjects: Vec<Object>,
    valid_from: Option<Timestamp>,
    valid_until: Option<Timestamp>,
}

impl Credential {
    /// Starts a credential of an issuer.
    pub fn builder(issuer: &Did) -> CredentialBuilder {
        CredentialBuilder {
            object: json::object([("issuer", issuer.as_str())]),
            contexts: vec![CONTEXT.into()],
            types: vec![TYPE.into()],
            subjects: Vec::new(),
            status: Vec::new(),
        }
    }

    /// Reads the members that the SDK acts on. This checks the form, not the truth; see
    /// [`CredentialVerifier`](super::CredentialVerifier).
    ///
    /// # Errors
    /// [`CredentialError::Member`] names what is missing or malformed.
    pub fn read(mut object: Object) -> Result<Self, CredentialError> {
        object.remove("proof");
        let contexts = texts(&object, "@context")?;
        let types = texts(&object, "type")?;
        if contexts.first() != Some(&CONTEXT) || object.text("@context").is_some() {
            return Err(CredentialError::Member("@context"));
        }
        if !types.contains(&TYPE) {
            return Err(CredentialError::Member("type"));
        }
        if object.contains("id") && object.text("id").is_none_or(str::is_empty) {
            return Err(CredentialError::Member("id"));
        }
        let (valid_from, valid_until) =
            (moment(&object, "validFrom")?, moment(&object, "validUntil")?);
        if valid_from.zip(valid_until).is_some_and(|(from, until)| until < from) {
            return Err(CredentialError::Member("validUntil"));
        }
        let subjects = objects(&object, "credentialSubject")?;
        if subjects.is_empty() || subjects.iter().any(|subject| bad_subject(subject)) {
            return Err(CredentialError::Member("credentialSubject"));
        }
        let subjects = subjects.into_iter().cloned().collect();
        Ok(Self { issuer: issuer(&object)?, subjects, valid_from, valid_until, object })
    }

    /// Its name, if it has one.
    pub fn id(&self) -> Option<&str> {
        self.object.text("id")
    }

    /// What it is, `VerifiableCredential` among others.
    pub fn types(&self) -> impl DoubleEndedIterator<Item = &str> {
        texts(&self.object, "type").unwrap_or_default().into_iter()
    }

    /// The contexts after the first, which define the words of this kind of credential.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        texts(&self.object, "@context").unwrap_or_default().into_iter().skip(1)
    }

    /// Who says it.
    pub const fn issuer(&self) -> &Did {
        &self.issuer
    }

    /// About whom, and what.
    pub fn subjects(&self) -> &[Object] {
        &self.subjects
    }

    /// When it begins to hold, if it says so.
    pub const fn valid_from(&self) -> Option<Timestamp> {
        self.valid_from
    }

    /// The last moment at which it holds, if it says so.
    pub const fn valid_until(&self) -> Option<Timestamp> {
        self.valid_until
    }

    /// Where its status is published, as it stands there.
    ///
    /// # Errors
    /// [`CredentialError::Member`] when it is neither an object nor a few of them.
    pub fn status(&self) -> Result<Vec<&Object>, CredentialError> {
        objects(&self.object, "credentialStatus")
    }

    /// All of its members.
    pub const fn as_object(&self) -> &Object {
        &self.object
    }

    /// Signs it as its issuer, with a Data Integrity proof for `assertionMethod` that `signer`'s key
    /// decides the suite of. Gives the JSON to hand out.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `method` is no key of the issuer, and whatever the signer objects to.
    pub fn issue(
        &self,
        signer: &dyn Signer,
        method: &DidUrl,
        created: Timestamp,
    ) -> Result<Object, Error> {
        if *method.did() != self.issuer {
            let message = "a credential is signed with a key of its issuer";
            return Err(Error::new(ErrorKind::Config, message).with("method", method));
        }
        let mut options = Options::new(method.clone(), Purpose::Assertion);
        options.created = Some(created);
        data_integrity::secure(&self.object, &options, signer)
    }
}

/// Puts a [`Credential`] together.
#[derive(Clone, Debug)]
#[must_use]
pub struct CredentialBuilder {
    object: Object,
    contexts: Vec<String>,
    types: Vec<String>,
    subjects: Vec<Value>,
    status: Vec<Value>,
}

impl CredentialBuilder {
    /// Names it, with a URL.
    pub fn id(self, id: impl Into<String>) -> Self {
        self.member("id", id.into())
    }

    /// Adds a `type` beside `VerifiableCredential`.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.types.push(kind.into());
        self
    }

    /// Adds a context that defines words of this kind of credential. Its verifiers must list it.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.contexts.push(context.into());
        self
    }

    /// When it begins to hold.
    pub fn valid_from(self, at: Timestamp) -> Self {
        self.member("validFrom", at.to_string())
    }

    /// The last moment at which it holds.
    pub fn valid_until(self, at: Timestamp) -> Self {
        self.member("validUntil", at.to_string())
    }

    /// Adds a subject; its `id` is the DID that may present the credential.
    pub fn subject(mut self, subject: Object) -> Self {
        self.subjects.push(subject.into());
        self
    }

    /// Adds a place where its status is published.
    pub fn status(mut self, entry: &StatusEntry) -> Self {
        self.status.push(entry.to_object().into());
        self
    }

    /// Sets any other member.
    pub fn member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.object.insert(name, value);
        self
    }

    /// The credential.
    ///
    /// # Errors
    /// [`CredentialError::Member`] names what is missing or malformed: at least a subject is needed.
    pub fn build(self) -> Result<Credential, CredentialError> {
        let mut object = self.object;
        object.insert("@context", self.contexts);
        object.insert("type", self.types);
        for (name, mut entries) in
            [("credentialSubject", self.subjects), ("credentialStatus", self.status)]
        {
            match (entries.pop(), entries.is_empty()) {
                (None, _) => {}
                (Some(one), true) => drop(object.insert(name, one)),
                (Some(last), false) => {
                    entries.push(last);
                    object.insert(name, Value::List(entries));
                }
            }
        }
        Credential::read(object)
    }
}

/// The issuer, named by a text or by an object with an `id`.
fn issuer(object: &Object) -> Result<Did, CredentialError> {
    let text = match object.get("issuer") {
        Some(Value::Object(issuer)) => issuer.text("id"),
        other => other.and_then(Value::as_text),
    };
    text.and_then(|text| Did::parse(text).ok()).ok_or(CredentialError::Member("issuer"))
}

fn bad_subject(subject: &Object) -> bool {
    subject.is_empty() || (subject.contains("id") && subject.text("id").is_none())
}

fn moment(object: &Object, name: &'static str) -> Result<Option<Timestamp>, CredentialError> {
    let Some(value) = object.get(name) else { return Ok(None) };
    let moment = value.as_text().and_then(|text| Timestamp::parse(text).ok());
    moment.map(Some).ok_or(CredentialError::Member(name))
}

/// A text or an array of texts.
pub(super) fn texts<'a>(
    object: &'a Object,
    name: &'static str,
) -> Result<Vec<&'a str>, CredentialError> {
    let texts: Option<Vec<_>> = match object.get(name) {
        Some(Value::List(items)) if items.len() <= MAX_ENTRIES => {
            items.iter().map(Value::as_text).collect()
        }
        Some(Value::Text(text)) => Some(vec![text.as_str()]),
        _ => None,
    };
    texts.ok_or(CredentialError::Member(name))
}

/// An object or an array of objects; none if there is no such member.
pub(super) fn objects<'a>(
    object: &'a Object,
    name: &'static str,
) -> Result<Vec<&'a Object>, CredentialError> {
    let objects: Option<Vec<_>> = match object.get(name) {
        None => Some(Vec::new()),
        Some(Value::List(items)) if items.len() <= MAX_ENTRIES => {
            items.iter().map(Value::as_object).collect()
        }
        Some(one) => one.as_object().map(|one| vec![one]),
    };
    objects.ok_or(CredentialError::Member(name))
}
