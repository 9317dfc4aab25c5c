//! Who decides whether a credential is accepted, with everything that the decision rests on.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, time::Duration};

use depin_core::{Did, PublicKey, Timestamp};

use super::{
    CONTEXT, Credential, CredentialError,
    credential::texts,
    status::{PublishedList, StatusEntry, StatusError, StatusLists, clip},
};
use crate::{DidResolver, json::Object};

/// Members of a credential that restrict what it is good for. One that is not understood must not be
/// ignored. The last two are the dates of data model 1.1, which have no meaning in 2.0.
const CRITICAL: [&str; 4] = ["termsOfUse", "credentialSchema", "expirationDate", "issuanceDate"];

/// Verifies credentials and presentations. It trusts nobody until told.
///
/// Everything that the answer rests on is given to it: where DIDs are resolved, what time it is, whom
/// to trust, which status lists are at hand. It fetches nothing else.
///
/// # What is checked
/// The form of data model 2.0; the proof, by a key that the issuer's DID document lists for
/// `assertionMethod`; the issuer, dates, expected types; every `credentialStatus`. Contexts beside the
/// first must be listed with [`context`](Self::context). Refused as not understood are other proofs and
/// suites, other kinds of status, and members that restrict use (`termsOfUse`, `credentialSchema`),
/// unless [left unchecked](Self::leave_unchecked) by name.
///
/// # What is not checked
/// The JCS suites sign the JSON as it stands. Terms are not expanded by their contexts, so nothing
/// here knows whether a context defines a member, nor what it means.
#[derive(Clone)]
pub struct CredentialVerifier<'a> {
    pub(super) resolver: &'a dyn DidResolver,
    now: Timestamp,
    pub(super) leeway: Duration,
    trusted: BTreeSet<Did>,
    trusts: Option<&'a (dyn Fn(&Did) -> bool + Send + Sync)>,
    pub(super) issuer_keys: BTreeMap<String, PublicKey>,
    lists: Option<&'a StatusLists>,
    pub(super) list_age: Duration,
    authorities: BTreeSet<Did>,
    types: BTreeSet<String>,
    contexts: BTreeSet<String>,
    unchecked: BTreeSet<String>,
    pub(super) any_holder: bool,
}

impl<'a> CredentialVerifier<'a> {
    /// Asks `resolver` for documents and takes `now` for the present.
    pub const fn new(resolver: &'a dyn DidResolver, now: Timestamp) -> Self {
        Self {
            resolver,
            now,
            leeway: Duration::ZERO,
            trusted: BTreeSet::new(),
            trusts: None,
            issuer_keys: BTreeMap::new(),
            lists: None,
            list_age: PublishedList::DEFAULT_AGE,
            authorities: BTreeSet::new(),
            types: BTreeSet::new(),
            contexts: BTreeSet::new(),
            unchecked: BTreeSet::new(),
            any_holder: false,
        }
    }

    /// Trusts an issuer.
    #[must_use]
    pub fn trust(mut self, issuer: Did) -> Self {
        self.trusted.insert(issuer);
        self
    }

    /// Trusts the issuers that `decide` says yes to, beside those named.
    #[must_use]
    pub fn trust_if(mut self, decide: &'a (dyn Fn(&Did) -> bool + Send + Sync)) -> Self {
        self.trusts = Some(decide);
        self
    }

    /// Trusts an issuer of SD-JWTs whose `iss` is not a DID, for example an HTTPS address, by its key.
    #[must_use]
    pub fn trust_key(mut self, issuer: impl Into<String>, key: PublicKey) -> Self {
        self.issuer_keys.insert(issuer.into(), key);
        self
    }

    /// Looks statuses up in these lists. Without, a credential with a status is refused.
    #[must_use]
    pub const fn lists(mut self, lists: &'a StatusLists) -> Self {
        self.lists = Some(lists);
        self
    }

    /// How long ago a status list that names no `validUntil` may have been signed; 30 days otherwise.
    ///
    /// An old list knows nothing of later revocations, so such a list is refused as stale when it was
    /// signed longer ago. See [`PublishedList::verify`].
    #[must_use]
    pub const fn list_age(mut self, age: Duration) -> Self {
        self.list_age = age;
        self
    }

    /// Lets `issuer` publish status lists for the credentials of others too.
    #[must_use]
    pub fn status_authority(mut self, issuer: Did) -> Self {
        self.authorities.insert(issuer);
        self
    }

    /// Demands a `type` (in an SD-JWT: the `vct`). Several may be demanded; a credential needs all.
    #[must_use]
    pub fn expect_type(mut self, kind: impl Into<String>) -> Self {
        self.types.insert(kind.into());
        self
    }

    /// Lists a context that credentials may use.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.contexts.insert(context.into());
        self
    }

    /// Accepts what it does not understand by name: a member (`termsOfUse`), a type of status, or a
    /// purpose of status (`refresh`). Whoever calls this checks it, or does without.
    #[must_use]
    pub fn leave_unchecked(mut self, name: impl Into<String>) -> Self {
        self.unchecked.insert(name.into());
        self
    }

    /// Accepts presentations of credentials about others than the holder, for example by a gateway.
    #[must_use]
    pub const fn any_holder(mut self) -> Self {
        self.any_holder = true;
        self
    }

    /// Forgives clocks that differ by this much. Default: nothing.
    #[must_use]
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// The moment that it takes for the present.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Everything but the proof.
    pub(super) fn check_terms(&self, credential: &Credential) -> Result<(), CredentialError> {
        self.check_issuer(credential.issuer())?;
        self.check_words(credential.as_object())?;
        self.check_types(&credential.types().collect::<Vec<_>>())?;
        self.check_dates(credential.valid_from(), credential.valid_until())?;
        self.check_status(&credential.status()?, Some(credential.issuer()))
    }

    /// Contexts must be listed, and members that restrict use understood.
    pub(super) fn check_words(&self, object: &Object) -> Result<(), CredentialError> {
        let unlisted = |context: &&&str| **context != CONTEXT && !self.contexts.contains(**context);
        if let Some(context) = texts(object, "@context")?.iter().find(unlisted) {
            return Err(CredentialError::Context(clip(context)));
        }
        let unknown = |name: &&&str| object.contains(name) && !self.unchecked.contains(**name);
        match CRITICAL.iter().find(unknown) {
            Some(name) => Err(CredentialError::NotUnderstood(name.to_string())),
            None => Ok(()),
        }
    }

    /// As this one, for the credentials that carry status lists.
    pub(super) fn for_lists(&self) -> Self {
        let mut verifier = self.clone();
        verifier.types = [PublishedList::CREDENTIAL_TYPE.into()].into();
        verifier.trusted.extend(self.authorities.iter().cloned());
        verifier
    }

    pub(super) fn check_issuer(&self, issuer: &Did) -> Result<(), CredentialError> {
        let trusted =
            self.trusted.contains(issuer) || self.trusts.is_some_and(|trusts| trusts(issuer));
        if trusted { Ok(()) } else { Err(CredentialError::Issuer(issuer.clone())) }
    }

    pub(super) fn check_dates(
        &self,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> Result<(), CredentialError> {
        if let Some(from) = from.filter(|from| self.now.plus(self.leeway) < *from) {
            return Err(CredentialError::NotYetValid(from));
        }
        match until.filter(|until| self.now.minus(self.leeway) > *until) {
            Some(until) => Err(CredentialError::Expired(until)),
            None => Ok(()),
        }
    }

    pub(super) fn check_status(
        &self,
        entries: &[&Object],
        issuer: Option<&Did>,
    ) -> Result<(), CredentialError> {
        for entry in entries {
            let entry = match StatusEntry::read(entry) {
                Ok(entry) => entry,
                Err(StatusError::Kind(kind)) if self.unchecked.contains(&kind) => continue,
                Err(StatusError::Kind(kind)) => return Err(CredentialError::NotUnderstood(kind)),
                Err(error) => return Err(error.into()),
            };
            let issuers = issuer.into_iter().chain(&self.authorities);
            let missing = || StatusError::Missing(clip(&entry.list));
            if self.lists.ok_or_else(missing)?.is_set(&entry, issuers, self.now)? {
                return Err(CredentialError::Status(entry.purpose));
            }
        }
        Ok(())
    }

    /// Whether what is found holds everything that is expected.
    pub(super) fn check_types(&self, found: &[&str]) -> Result<(), CredentialError> {
        match self.types.iter().find(|expected| !found.contains(&expected.as_str())) {
            Some(missing) => Err(CredentialError::Type(missing.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn leaves_unchecked(&self, name: &str) -> bool {
        self.unchecked.contains(name)
    }
}

impl fmt::Debug for CredentialVerifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialVerifier")
            .field("now", &self.now)
            .field("trusted", &self.trusted)
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}
