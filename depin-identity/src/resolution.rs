//! Resolution results as JSON (W3C DID Resolution 1.0): what resolvers tell each other.
//!
//! A result is a document with what is known about it, or an error with a code. Written are the errors of
//! version 1.0, objects as in RFC 9457; read are also the plain words of 0.3 (`notFound`).

use alloc::{
    format,
    string::{String, ToString},
};

use depin_core::{
    Did, Error, ErrorKind, Result, Timestamp,
    document::DidDocument,
    resolution::{DocumentMetadata, Freshness, Resolution},
};

use crate::{
    document::{self, DocumentError, MAX_JSON_LEN},
    json::{self, Object, Value, object},
};

/// The media type of a result.
pub const MEDIA_TYPE: &str = "application/did-resolution";

/// Longest JSON text of a result in bytes: a document and what is known about it.
pub const MAX_LEN: usize = MAX_JSON_LEN + 64 * 1024;

/// Why a DID was not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The DID breaks the grammar, of DIDs or of its method.
    InvalidDid,
    /// The DID URL breaks the grammar.
    InvalidDidUrl,
    /// An option has no such value.
    InvalidOptions,
    /// There is a document, but not one of that DID, or none at all by its format.
    InvalidDidDocument,
    /// There is no such DID.
    NotFound,
    /// The document is not to be had in the format that was asked for.
    RepresentationNotSupported,
    /// The resolver does not speak the method.
    MethodNotSupported,
    /// The resolver speaks the method, but cannot do what was asked, such as a version.
    FeatureNotSupported,
    /// Anything else, also a ledger that does not answer.
    InternalError,
}

/// Each code with its name in version 1.0, in 0.3, and its HTTP status.
const CODES: [(Code, &str, &str, u16); 9] = [
    (Code::InvalidDid, "INVALID_DID", "invalidDid", 400),
    (Code::InvalidDidUrl, "INVALID_DID_URL", "invalidDidUrl", 400),
    (Code::InvalidOptions, "INVALID_OPTIONS", "invalidOptions", 400),
    (Code::InvalidDidDocument, "INVALID_DID_DOCUMENT", "invalidDidDocument", 500),
    (Code::NotFound, "NOT_FOUND", "notFound", 404),
    (
        Code::RepresentationNotSupported,
        "REPRESENTATION_NOT_SUPPORTED",
        "representationNotSupported",
        406,
    ),
    (Code::MethodNotSupported, "METHOD_NOT_SUPPORTED", "methodNotSupported", 501),
    (Code::FeatureNotSupported, "FEATURE_NOT_SUPPORTED", "featureNotSupported", 501),
    (Code::InternalError, "INTERNAL_ERROR", "internalError", 500),
];

const TYPE_PREFIX: &str = "https://www.w3.org/ns/did#";

impl Code {
    /// The name, as it follows `https://www.w3.org/ns/did#`.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The HTTP status that goes with it (DID Resolution 1.0, section 12.1).
    pub fn http_status(self) -> u16 {
        self.row().3
    }

    /// The code of a name, with or without the URL before it, or of a word of version 0.3.
    ///
    /// ```
    /// use depin_identity::resolution::Code;
    ///
    /// assert_eq!(Code::parse("https://www.w3.org/ns/did#NOT_FOUND"), Some(Code::NotFound));
    /// assert_eq!(Code::parse("notFound"), Some(Code::NotFound));
    /// assert_eq!(Code::parse("gone"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix(TYPE_PREFIX).unwrap_or(text);
        CODES.iter().find(|row| row.1 == name || row.2 == name).map(|row| row.0)
    }

    /// The code that says most of an error of a resolver.
    pub fn of(error: &Error) -> Self {
        let source = core::error::Error::source(error);
        let of_document = source.is_some_and(|source| source.is::<DocumentError>());
        match error.kind() {
            ErrorKind::Malformed | ErrorKind::Limit if of_document => Self::InvalidDidDocument,
            ErrorKind::Rejected => Self::InvalidDidDocument,
            ErrorKind::Malformed => Self::InvalidDid,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Unsupported => Self::MethodNotSupported,
            _ => Self::InternalError,
        }
    }

    fn kind(self) -> ErrorKind {
        match self {
            Self::InvalidDid | Self::InvalidDidUrl | Self::InvalidOptions => ErrorKind::Malformed,
            Self::InvalidDidDocument => ErrorKind::Rejected,
            Self::NotFound => ErrorKind::NotFound,
            Self::RepresentationNotSupported
            | Self::MethodNotSupported
            | Self::FeatureNotSupported => ErrorKind::Unsupported,
            Self::InternalError => ErrorKind::Unavailable,
        }
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, u16) {
        CODES.iter().find(|row| row.0 == self).expect("invariant: every code has its row")
    }
}

/// The JSON of a document that was found. Moments are written in whole seconds, as the standard says.
///
/// Of a DID that was given up no document is written.
///
/// ```
/// use depin_core::resolution::{Freshness, Resolution};
/// use depin_identity::{methods::key, resolution};
///
/// let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse()?;
/// let found = Resolution::new(key::document(&did)?, Freshness::Once);
/// let json = resolution::to_json(&found);
/// assert_eq!(resolution::from_json(&did, json.as_bytes())?, found);
/// # Ok::<(), depin_core::Error>(())
/// ```
pub fn to_json(resolution: &Resolution) -> String {
    let document = match resolution.metadata.deactivated {
        true => Value::Null,
        false => document::to_object(&resolution.document).into(),
    };
    result(document, object([("contentType", "application/did")]), metadata(&resolution.metadata))
}

/// The JSON of an error: its code, and a sentence for people.
pub fn error_to_json(code: Code, detail: &str) -> String {
    let name = code.as_str();
    let title = name.to_ascii_lowercase().replace('_', " ");
    let error = object([
        ("type", format!("{TYPE_PREFIX}{name}")),
        ("title", title),
        ("detail", detail.into()),
    ]);
    result(Value::Null, object([("error", error)]), Object::new())
}

fn result(document: Value, of_resolution: Object, of_document: Object) -> String {
    object([
        ("didDocument", document),
        ("didDocumentMetadata", of_document.into()),
        ("didResolutionMetadata", of_resolution.into()),
    ])
    .canonical()
}

fn metadata(metadata: &DocumentMetadata) -> Object {
    let DocumentMetadata { created, updated, next_update, version_id, next_version_id, .. } =
        metadata;
    let mut members = Object::new();
    for (name, moment) in [("created", created), ("updated", updated), ("nextUpdate", next_update)]
    {
        if let Some(moment) = moment {
            members
                .insert(name, Timestamp::from_secs(moment.secs()).to_string().replace(".000", ""));
        }
    }
    for (name, id) in [("versionId", version_id), ("nextVersionId", next_version_id)] {
        if let Some(id) = id {
            members.insert(name, id.as_str());
        }
    }
    if metadata.deactivated {
        members.insert("deactivated", true);
    }
    members
}

/// Reads what a resolver answered about `did`: a result, or a bare document.
///
/// How long it stays true is not part of it, so the answer says [`Freshness::Once`]. Moments and names of
/// versions that cannot be read are left out.
///
/// # Errors
/// The error in the result: [`ErrorKind::Malformed`] for a DID or option that it calls invalid,
/// [`ErrorKind::NotFound`], [`ErrorKind::Unsupported`], [`ErrorKind::Rejected`] for an invalid document and
/// when the document is that of another DID, else [`ErrorKind::Unavailable`]. [`ErrorKind::Malformed`] and
/// [`ErrorKind::Limit`] also when the JSON is no result.
pub fn from_json(did: &Did, json: &[u8]) -> Result<Resolution> {
    let malformed = || {
        Error::new(ErrorKind::Malformed, "the answer is no did resolution result").with("did", did)
    };
    let Value::Object(root) = json::parse_within(json, MAX_LEN)? else { return Err(malformed()) };
    if !root.contains("didDocument") && !root.contains("didResolutionMetadata") {
        return Ok(Resolution::new(document_of(did, &root)?, Freshness::Once));
    }
    let member = |name| root.get(name).and_then(Value::as_object);
    if let Some(error) =
        member("didResolutionMetadata").and_then(|resolution| resolution.get("error"))
    {
        return Err(error_in(error).with("did", did));
    }
    let metadata = member("didDocumentMetadata")
        .map_or_else(|| Some(DocumentMetadata::default()), metadata_in);
    let metadata = metadata.ok_or_else(malformed)?;
    let document = match root.get("didDocument") {
        // Whatever the other side says of a DID that was given up, it has no keys.
        _ if metadata.deactivated => DidDocument::new(did.clone()),
        Some(Value::Object(document)) => document_of(did, document)?,
        _ => return Err(malformed()),
    };
    let mut resolution = Resolution::new(document, Freshness::Once);
    resolution.metadata = metadata;
    Ok(resolution)
}

fn document_of(did: &Did, object: &Object) -> Result<DidDocument> {
    let document = document::from_object(object)?;
    if document.id == *did {
        return Ok(document);
    }
    let message = "the resolver answered with the document of another did";
    Err(Error::new(ErrorKind::Rejected, message).with("asked", did).with("answered", document.id))
}

/// An error as an object with a type, or as a word.
fn error_in(error: &Value) -> Error {
    let word = match error {
        Value::Object(problem) => problem.text("type"),
        other => other.as_text(),
    };
    let code = word.and_then(Code::parse).unwrap_or(Code::InternalError);
    let error = Error::new(code.kind(), "the resolver that was asked has no document");
    error.with("code", code.as_str())
}

/// Nothing when it does not say clearly whether the DID was given up.
fn metadata_in(members: &Object) -> Option<DocumentMetadata> {
    let moment = |name| members.text(name).and_then(|text| Timestamp::parse(text).ok());
    let id = |name| members.text(name).map(String::from);
    let mut metadata = DocumentMetadata::default();
    metadata.created = moment("created");
    metadata.updated = moment("updated");
    metadata.next_update = moment("nextUpdate");
    metadata.version_id = id("versionId");
    metadata.next_version_id = id("nextVersionId");
    metadata.deactivated = match members.get("deactivated") {
        None => false,
        Some(said) => said.as_bool()?,
    };
    Some(metadata)
}
