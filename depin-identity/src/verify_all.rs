//! Many signed messages at once: each DID is resolved once, its keys are read once, and the Ed25519
//! signatures are verified as one sum (see [`depin_core::key::verify_all`]).

use alloc::{
    borrow::Cow,
    collections::{BTreeMap, btree_map::Entry},
    string::ToString,
    vec::Vec,
};

use depin_core::{
    Algorithm, Did, DidUrl, Error, ErrorKind, PublicKey, Result, Signature,
    document::{DidDocument, Relationships},
    envelope::{Envelope, EnvelopeError},
    key::{self, Check, KeyError},
    resolution::DidResolver,
};

use crate::jws::{Jws, JwsError};

/// A signed message that was read, not yet verified.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Message<'a> {
    /// A JWS whose `kid` is the DID URL of the key.
    Jws(&'a Jws<'a>),
    /// An envelope, signed with any key of its DID.
    Envelope(&'a Envelope<'a>),
}

/// Verifies messages with keys that their signers' documents name for `purpose`.
///
/// The answers have the order of the messages, and none depends on the others: whoever asks for one
/// message alone is told the same.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use depin_core::{Algorithm, Signer, SoftwareKey, document::Relationships};
/// use depin_identity::{Resolver, json::object, jws::{self, Jws}, methods::key, verify_all::{self, Message}};
///
/// let device = SoftwareKey::from_seed(Algorithm::EdDsa, [7; 32]);
/// let did = key::did_key(device.public_key());
/// let kid = format!("{did}#{}", did.id());
/// let text = jws::sign(&device, object([("kid", kid)]), b"4.9 Cel")?;
/// let message = Jws::parse(&text)?;
///
/// let messages = [Message::Jws(&message), Message::Jws(&message)];
/// let verdicts =
///     verify_all::verify_all(&messages, Relationships::AUTHENTICATION, &Resolver::new()).await;
/// assert!(verdicts.iter().all(Result::is_ok));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// Each answer may be [`ErrorKind::Malformed`] for a `kid` that is no DID URL, [`ErrorKind::NotFound`] for
/// a key that the document does not have for this purpose, [`ErrorKind::Rejected`] for a signature that
/// does not hold, or what the resolver says.
pub async fn verify_all(
    messages: &[Message<'_>],
    purpose: Relationships,
    resolver: &dyn DidResolver,
) -> Vec<Result<()>> {
    let mut documents: BTreeMap<Did, Result<DidDocument>> = BTreeMap::new();
    for did in messages.iter().filter_map(Message::signer) {
        if let Entry::Vacant(unknown) = documents.entry(did) {
            let document = resolver.resolve(unknown.key()).await;
            unknown.insert(document);
        }
    }
    let mut verdicts = Vec::with_capacity(messages.len());
    let mut claims = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        verdicts.push(match message.judge(purpose, &documents) {
            Ok(None) => Ok(()),
            Ok(Some(claim)) => {
                claims.push((index, claim));
                Ok(())
            }
            Err(error) => Err(error),
        });
    }
    let checks: Vec<_> =
        claims.iter().map(|(_, claim): &(usize, Claim<'_>)| claim.check()).collect();
    for ((index, _), held) in claims.iter().zip(key::verify_all(&checks)) {
        if let (Err(error), Some(verdict), Some(message)) =
            (held, verdicts.get_mut(*index), messages.get(*index))
        {
            *verdict = Err(message.refused(error));
        }
    }
    verdicts
}

/// An Ed25519 signature whose verdict waits for the others.
struct Claim<'a> {
    key: &'a PublicKey,
    message: Cow<'a, [u8]>,
    signature: Signature,
}

impl Claim<'_> {
    fn check(&self) -> Check<'_> {
        Check { key: self.key, message: &self.message, signature: &self.signature }
    }
}

impl Message<'_> {
    /// The DID that claims to have signed, if it can be read.
    fn signer(&self) -> Option<Did> {
        match self {
            Self::Jws(jws) => key_url(jws).ok().map(|url| url.did().clone()),
            Self::Envelope(envelope) => Some(envelope.signer().clone()),
        }
    }

    /// Verifies what is verified alone; what is left is a claim.
    fn judge<'d>(
        &'d self,
        purpose: Relationships,
        documents: &'d BTreeMap<Did, Result<DidDocument>>,
    ) -> Result<Option<Claim<'d>>> {
        match self {
            Self::Jws(jws) => {
                let url = key_url(jws)?;
                let key = named_key(found(documents, url.did())?, &url, purpose)?;
                if key.algorithm() != Algorithm::EdDsa || jws.algorithm() != Algorithm::EdDsa {
                    jws.check(key)?;
                    return Ok(None);
                }
                let (message, signature) = jws.signed();
                Ok(Some(Claim { key, message: message.into(), signature: *signature }))
            }
            Self::Envelope(envelope) => {
                let keys: Vec<_> = found(documents, envelope.signer())?.keys(purpose).collect();
                match keys.as_slice() {
                    [key] if key.algorithm() == Algorithm::EdDsa => {
                        let (message, signature) = envelope.signed(key)?;
                        Ok(Some(Claim { key, message: message.into(), signature }))
                    }
                    keys => any_opens(envelope, keys).map(|()| None),
                }
            }
        }
    }

    /// The error that this message gives when it is verified alone.
    fn refused(&self, error: KeyError) -> Error {
        match self {
            Self::Jws(_) => JwsError::from(error).into(),
            Self::Envelope(_) => EnvelopeError::Cose(error.into()).into(),
        }
    }
}

fn key_url(jws: &Jws<'_>) -> Result<DidUrl> {
    let kid = jws.key_id().ok_or_else(|| {
        Error::new(ErrorKind::Malformed, "the jws names no key; add a kid that is a did url")
    })?;
    DidUrl::parse(kid).map_err(|error| {
        Error::new(ErrorKind::Malformed, "the kid of the jws is no did url").source(error)
    })
}

fn found<'d>(
    documents: &'d BTreeMap<Did, Result<DidDocument>>,
    did: &Did,
) -> Result<&'d DidDocument> {
    match documents.get(did) {
        Some(Ok(document)) => Ok(document),
        Some(Err(error)) => Err(said_again(error)),
        None => Err(Error::new(ErrorKind::NotFound, "the did was not resolved").with("did", did)),
    }
}

/// One failure to resolve is an answer to many messages.
fn said_again(error: &Error) -> Error {
    let same = Error::new(error.kind(), error.message().to_string());
    error.context().fold(same, |same, (key, value)| same.with(key, value))
}

fn named_key<'d>(
    document: &'d DidDocument,
    url: &DidUrl,
    purpose: Relationships,
) -> Result<&'d PublicKey> {
    let method = document.method(url).filter(|method| method.relationships.contains(purpose));
    method.and_then(|method| method.key()).ok_or_else(|| no_key().with("key", url))
}

fn no_key() -> Error {
    Error::new(ErrorKind::NotFound, "the document of the signer has no such key for this purpose")
}

/// The envelope does not say which key signed, so any may have.
fn any_opens(envelope: &Envelope<'_>, keys: &[&PublicKey]) -> Result<()> {
    let mut refused = None;
    for key in keys {
        match envelope.open(key) {
            Ok(_) => return Ok(()),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.map_or_else(|| no_key().with("did", envelope.signer()), Error::from))
}
