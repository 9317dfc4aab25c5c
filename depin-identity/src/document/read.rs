//! Reading: what devices, registries and other libraries write.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use depin_core::{Did, DidUrl, Error, ErrorKind, document::Relationships};

use super::material;
use crate::{
    DidDocument, Service, VerificationMethod,
    json::{self, JsonError, Object, Value},
};

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
    Json(#[from] JsonError),
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
            DocumentError::TooLong
            | DocumentError::TooMany(_)
            | DocumentError::Json(JsonError::TooLong(_) | JsonError::TooDeep(_)) => {
                ErrorKind::Limit
            }
            _ => ErrorKind::Malformed,
        };
        Self::new(kind, error.to_string()).source(error)
    }
}

/// Reads the JSON of a DID document, whoever wrote it.
///
/// Each verification method comes with what it may be used for, whether a relationship refers to it or holds
/// it. Keys are read from `publicKeyMultibase` and `publicKeyJwk`, and from `publicKeyBase58` and
/// `publicKeyHex` where the type says the curve; accounts from `blockchainAccountId` (CAIP-10, `eip155`).
/// Keys of other kinds are kept as text ([`Material::Foreign`](depin_core::document::Material::Foreign)).
/// Left out, as DID Core asks, are methods that hold no key at all, services without one plain type and
/// endpoint, references to methods elsewhere, and unknown members.
///
/// ```
/// use depin_core::document::Relationships;
/// use depin_identity::document;
///
/// let json = br##"{"id": "did:example:7", "verificationMethod": [{"id": "#a", "type": "Multikey",
///     "controller": "did:example:7",
///     "publicKeyMultibase": "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"}],
///     "authentication": ["#a"]}"##;
/// let document = document::from_json(json)?;
/// assert_eq!(document.verification_method[0].id.to_string(), "did:example:7#a");
/// assert_eq!(document.keys(Relationships::AUTHENTICATION).count(), 1);
/// assert_eq!(document.keys(Relationships::ASSERTION).count(), 0);
/// assert!(document::from_json(br#"{"id": 7}"#).is_err());
/// # Ok::<(), document::DocumentError>(())
/// ```
///
/// # Errors
/// Says what is wrong with the text: also a key that is none, a private key, or an address with a wrong
/// checksum. Time and memory are bounded by [`MAX_JSON_LEN`] and [`MAX_ENTRIES`].
pub fn from_json(json: &[u8]) -> Result<DidDocument, DocumentError> {
    if json.len() > MAX_JSON_LEN {
        return Err(DocumentError::TooLong);
    }
    match json::parse_within(json, MAX_JSON_LEN)? {
        Value::Object(root) => from_object(&root),
        _ => Err(DocumentError::Member("id")),
    }
}

/// Reads a document that is part of a larger JSON text.
pub(crate) fn from_object(root: &Object) -> Result<DidDocument, DocumentError> {
    let id = Did::parse(required_text(root, "id")?).map_err(|_| DocumentError::Member("id"))?;
    Ok(DidDocument {
        controller: read_controllers(root)?,
        verification_method: read_methods(root, &id)?,
        also_known_as: read_names(root)?,
        service: read_services(root, &id)?,
        id,
    })
}

/// The members that say what methods may be used for.
pub(super) const RELATIONSHIPS: [(&str, Relationships); 5] = [
    ("authentication", Relationships::AUTHENTICATION),
    ("assertionMethod", Relationships::ASSERTION),
    ("keyAgreement", Relationships::KEY_AGREEMENT),
    ("capabilityInvocation", Relationships::INVOCATION),
    ("capabilityDelegation", Relationships::DELEGATION),
];

fn read_controllers(root: &Object) -> Result<Vec<Did>, DocumentError> {
    const NAME: &str = "controller";
    let did = |value: &Value| match value {
        Value::Text(text) => Did::parse(text).map_err(|_| DocumentError::Member(NAME)),
        _ => Err(DocumentError::Member(NAME)),
    };
    match root.get(NAME) {
        Some(one @ Value::Text(_)) => Ok(vec![did(one)?]),
        _ => entries(root, NAME)?.iter().map(did).collect(),
    }
}

fn read_names(root: &Object) -> Result<Vec<String>, DocumentError> {
    const NAME: &str = "alsoKnownAs";
    let name = |value: &Value| match value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err(DocumentError::Member(NAME)),
    };
    entries(root, NAME)?.iter().map(name).collect()
}

/// The methods in the order in which they are met: the list of methods first, then the relationships.
fn read_methods(root: &Object, id: &Did) -> Result<Vec<VerificationMethod>, DocumentError> {
    const NAME: &str = "verificationMethod";
    let mut defined = Vec::new();
    for entry in entries(root, NAME)? {
        let method = entry.as_object().ok_or(DocumentError::Member(NAME))?;
        defined.push((entry_id(method, id)?, method));
    }
    let mut uses: BTreeMap<DidUrl, Relationships> = BTreeMap::new();
    for (name, relationship) in RELATIONSHIPS {
        for entry in entries(root, name)? {
            let method = match entry {
                Value::Text(text) => url(id, text, name)?,
                Value::Object(method) => {
                    defined.push((entry_id(method, id)?, method));
                    entry_id(method, id)?
                }
                _ => return Err(DocumentError::Member(name)),
            };
            let known = uses.entry(method).or_default();
            *known = *known | relationship;
        }
    }
    if defined.len() > MAX_ENTRIES {
        return Err(DocumentError::TooMany(NAME));
    }
    let mut seen = BTreeSet::new();
    let mut methods = Vec::new();
    for (name, method) in defined {
        let name = unique(&mut seen, name)?;
        let relationships = uses.get(&name).copied().unwrap_or_default();
        methods.extend(read_method(method, name, relationships)?);
    }
    Ok(methods)
}

/// The method, or nothing when it has no member that can hold a key.
fn read_method(
    method: &Object,
    id: DidUrl,
    relationships: Relationships,
) -> Result<Option<VerificationMethod>, DocumentError> {
    let controller = required_text(method, "controller")?;
    let controller = Did::parse(controller).map_err(|_| DocumentError::Member("controller"))?;
    let kind = required_text(method, "type")?;
    let material = material::read(method, kind)?;
    let kind = kind.into();
    Ok(material.map(|material| VerificationMethod {
        id,
        controller,
        kind,
        material,
        relationships,
    }))
}

fn read_services(root: &Object, id: &Did) -> Result<Vec<Service>, DocumentError> {
    let mut seen = BTreeSet::new();
    let mut services = Vec::new();
    for entry in entries(root, "service")? {
        let service = entry.as_object().ok_or(DocumentError::Member("service"))?;
        let id = unique(&mut seen, entry_id(service, id)?)?;
        // Both may also be sets or maps, which the SDK has no use for.
        if let (Some(kind), Some(endpoint)) =
            (service.text("type"), service.text("serviceEndpoint"))
        {
            services.push(Service { id, kind: kind.into(), endpoint: endpoint.into() });
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

fn entries<'a>(root: &'a Object, name: &'static str) -> Result<&'a [Value], DocumentError> {
    match root.get(name) {
        None => Ok(&[]),
        Some(Value::List(list)) if list.len() <= MAX_ENTRIES => Ok(list),
        Some(Value::List(_)) => Err(DocumentError::TooMany(name)),
        Some(_) => Err(DocumentError::Member(name)),
    }
}

fn required_text<'a>(object: &'a Object, name: &'static str) -> Result<&'a str, DocumentError> {
    object.text(name).ok_or(DocumentError::Member(name))
}
