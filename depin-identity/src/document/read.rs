//! Reading: what devices, registries and other libraries write.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use depin_core::{Did, DidUrl, Error, ErrorKind, PublicKey, key::KeyError};

use super::{
    jwk,
    tree::{Node, Object},
};
use crate::{DidDocument, Service, VerificationMethod};

/// Longest JSON text of a document in bytes.
pub const MAX_JSON_LEN: usize = 256 * 1024;

/// Most verification methods, references, services, controllers or other names in one document.
pub const MAX_ENTRIES: usize = 64;

/// Why a text is no DID document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Longer than [`MAX_JSON_LEN`].
    #[error("a did document has at most {MAX_JSON_LEN} bytes")]
    TooLong,
    /// More than [`MAX_ENTRIES`] of the named member.
    #[error("a did document has at most {MAX_ENTRIES} entries in {0}")]
    TooMany(&'static str),
    /// Not JSON, nested too deeply, or a name twice in one object.
    #[error("the did document is no strict json: {0}")]
    Json(String),
    /// A member is missing, of the wrong type, or does not follow its format.
    #[error("the member {0} of the did document is missing or malformed")]
    Member(&'static str),
    /// Two verification methods or services have one id.
    #[error("two entries of the did document have the id {0}")]
    Twice(DidUrl),
    /// A key with its private half.
    #[error("the did document publishes a private key; consider that key stolen")]
    PrivateKey,
}

impl From<DocumentError> for Error {
    fn from(error: DocumentError) -> Self {
        let kind = match error {
            DocumentError::TooLong | DocumentError::TooMany(_) => ErrorKind::Limit,
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, error.to_string()).source(error)
    }
}

/// Reads the JSON of a DID document, whoever wrote it.
///
/// Keys are read from `Multikey` and from `publicKeyJwk` (secp256k1, P-256, Ed25519), as ioID devices
/// write them. Kept are the verification methods that may **authenticate**, because a
/// [`DidDocument`] lets each of its keys sign: a key listed only to agree on secrets or to assert must
/// not become more. Keys of other curves, services without one plain endpoint and unknown members are
/// left out, as DID Core asks.
///
/// ```
/// use depin_identity::document;
///
/// let json = br##"{"id": "did:example:7", "verificationMethod": [{"id": "#a", "type": "Multikey",
///     "controller": "did:example:7",
///     "publicKeyMultibase": "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"}],
///     "authentication": ["#a"]}"##;
/// let document = document::from_json(json)?;
/// assert_eq!(document.verification_method[0].id.to_string(), "did:example:7#a");
/// assert!(document::from_json(br#"{"id": 7}"#).is_err());
/// # Ok::<(), document::DocumentError>(())
/// ```
///
/// # Errors
/// Says what is wrong with the text. Time and memory are bounded by [`MAX_JSON_LEN`] and
/// [`MAX_ENTRIES`].
pub fn from_json(json: &[u8]) -> Result<DidDocument, DocumentError> {
    if json.len() > MAX_JSON_LEN {
        return Err(DocumentError::TooLong);
    }
    let tree = serde_json::from_slice(json).map_err(|e| DocumentError::Json(e.to_string()))?;
    let Node::Object(root) = tree else { return Err(DocumentError::Json("no object".into())) };
    let id = Did::parse(required_text(&root, "id")?).map_err(|_| DocumentError::Member("id"))?;
    Ok(DidDocument {
        controller: read_controllers(&root)?,
        verification_method: read_methods(&root, &id)?,
        also_known_as: read_names(&root)?,
        service: read_services(&root, &id)?,
        id,
    })
}

fn read_controllers(root: &Object) -> Result<Vec<Did>, DocumentError> {
    const NAME: &str = "controller";
    let did = |node: &Node| match node {
        Node::Text(text) => Did::parse(text).map_err(|_| DocumentError::Member(NAME)),
        _ => Err(DocumentError::Member(NAME)),
    };
    match root.member(NAME) {
        Some(one @ Node::Text(_)) => Ok(vec![did(one)?]),
        _ => entries(root, NAME)?.iter().map(did).collect(),
    }
}

fn read_names(root: &Object) -> Result<Vec<String>, DocumentError> {
    const NAME: &str = "alsoKnownAs";
    let name = |node: &Node| match node {
        Node::Text(text) => Ok(text.clone()),
        _ => Err(DocumentError::Member(NAME)),
    };
    entries(root, NAME)?.iter().map(name).collect()
}

/// The methods that may authenticate, in the order in which the document defines them.
fn read_methods(root: &Object, id: &Did) -> Result<Vec<VerificationMethod>, DocumentError> {
    let mut references = BTreeSet::new();
    let mut embedded = Vec::new();
    for entry in entries(root, "authentication")? {
        match entry {
            Node::Text(text) => drop(references.insert(url(id, text, "authentication")?)),
            Node::Object(method) => embedded.push(method),
            _ => return Err(DocumentError::Member("authentication")),
        }
    }
    let mut seen = BTreeSet::new();
    let mut methods = Vec::new();
    for entry in entries(root, "verificationMethod")? {
        let Node::Object(method) = entry else {
            return Err(DocumentError::Member("verificationMethod"));
        };
        let name = unique(&mut seen, entry_id(method, id)?)?;
        if references.contains(&name) {
            methods.extend(read_method(method, name)?);
        }
    }
    for method in embedded {
        let name = unique(&mut seen, entry_id(method, id)?)?;
        methods.extend(read_method(method, name)?);
    }
    Ok(methods)
}

/// The method, or nothing when its key is of a kind the SDK does not know.
fn read_method(method: &Object, id: DidUrl) -> Result<Option<VerificationMethod>, DocumentError> {
    let controller = required_text(method, "controller")?;
    let controller = Did::parse(controller).map_err(|_| DocumentError::Member("controller"))?;
    let key = match required_text(method, "type")? {
        "Multikey" => multikey(required_text(method, "publicKeyMultibase")?)?,
        "JsonWebKey2020" | "JsonWebKey" => match method.member("publicKeyJwk") {
            Some(Node::Object(jwk)) => jwk::public_key(jwk)?,
            _ => return Err(DocumentError::Member("publicKeyJwk")),
        },
        _ => None,
    };
    Ok(key.map(|key| VerificationMethod::new(id, controller, key)))
}

fn multikey(text: &str) -> Result<Option<PublicKey>, DocumentError> {
    match PublicKey::from_multikey(text) {
        Ok(key) => Ok(Some(key)),
        // Other multicodecs are other kinds of keys, unless the text is no base58btc at all.
        Err(KeyError::Multikey) if is_base58btc(text) => Ok(None),
        Err(_) => Err(DocumentError::Member("publicKeyMultibase")),
    }
}

fn is_base58btc(text: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte);
    text.strip_prefix('z').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(digit))
}

fn read_services(root: &Object, id: &Did) -> Result<Vec<Service>, DocumentError> {
    let mut seen = BTreeSet::new();
    let mut services = Vec::new();
    for entry in entries(root, "service")? {
        let Node::Object(service) = entry else { return Err(DocumentError::Member("service")) };
        let id = unique(&mut seen, entry_id(service, id)?)?;
        // Both may also be sets or maps, which the SDK has no use for.
        if let (Some(Node::Text(kind)), Some(Node::Text(endpoint))) =
            (service.member("type"), service.member("serviceEndpoint"))
        {
            services.push(Service { id, kind: kind.clone(), endpoint: endpoint.clone() });
        }
    }
    Ok(services)
}

/// The id of a method or service, which may be relative to the document.
fn entry_id(entry: &Object, document: &Did) -> Result<DidUrl, DocumentError> {
    url(document, required_text(entry, "id")?, "id")
}

fn url(document: &Did, text: &str, member: &'static str) -> Result<DidUrl, DocumentError> {
    let absolute = if text.starts_with('#') {
        DidUrl::parse(&format!("{document}{text}"))
    } else {
        DidUrl::parse(text)
    };
    absolute.map_err(|_| DocumentError::Member(member))
}

fn unique(seen: &mut BTreeSet<DidUrl>, id: DidUrl) -> Result<DidUrl, DocumentError> {
    if seen.insert(id.clone()) { Ok(id) } else { Err(DocumentError::Twice(id)) }
}

fn entries<'a>(root: &'a Object, name: &'static str) -> Result<&'a [Node], DocumentError> {
    match root.member(name) {
        None => Ok(&[]),
        Some(Node::List(list)) if list.len() <= MAX_ENTRIES => Ok(list),
        Some(Node::List(_)) => Err(DocumentError::TooMany(name)),
        Some(_) => Err(DocumentError::Member(name)),
    }
}

pub(super) fn required_text<'a>(
    object: &'a Object,
    name: &'static str,
) -> Result<&'a str, DocumentError> {
    match object.member(name) {
        Some(Node::Text(text)) => Ok(text),
        _ => Err(DocumentError::Member(name)),
    }
}
