//! Writing: a fixed order of members, so no library decides about the bytes that are hashed.

use alloc::{format, string::String};
use core::fmt::{self, Write as _};

use depin_core::document::Material;

use crate::{DidDocument, Service, VerificationMethod};

/// The JSON-LD text of a document, always the same bytes for the same document.
///
/// Members are sorted and there are no blanks, which for this content is RFC 8785 (JCS). Keys are written as
/// `Multikey`, and every method is listed under `authentication` and `assertionMethod`. Empty members
/// are left out.
///
/// ```
/// use depin_identity::{document, methods::key};
///
/// let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp".parse()?;
/// let json = document::to_json(&key::document(&did)?);
/// assert!(json.starts_with(r#"{"@context":["https://www.w3.org/ns/did/v1","#));
/// assert_eq!(document::from_json(json.as_bytes())?, key::document(&did)?);
/// # Ok::<(), depin_core::Error>(())
/// ```
pub fn to_json(document: &DidDocument) -> String {
    let DidDocument { id, controller, verification_method, also_known_as, service } = document;
    let references = list(verification_method, |out, method| string(out, &method.id));
    let members = [
        ("@context", Some(CONTEXT.into())),
        ("alsoKnownAs", list(also_known_as, |out, name| string(out, name))),
        ("assertionMethod", references.clone()),
        ("authentication", references),
        ("controller", list(controller, |out, did| string(out, did))),
        ("id", Some(quoted(id))),
        ("service", list(service, write_service)),
        ("verificationMethod", list(verification_method, write_method)),
    ];
    let mut out = String::from("{");
    for (name, value) in members {
        let Some(value) = value else { continue };
        if out.len() > 1 {
            out.push(',');
        }
        string(&mut out, name);
        out.push(':');
        out.push_str(&value);
    }
    out.push('}');
    out
}

const CONTEXT: &str = r#"["https://www.w3.org/ns/did/v1","https://w3id.org/security/multikey/v1"]"#;

fn write_method(out: &mut String, method: &VerificationMethod) {
    let VerificationMethod { id, controller, material, .. } = method;
    let Material::Key(key) = material else { return };
    out.push_str(&format!(
        r#"{{"controller":{},"id":{},"publicKeyMultibase":{},"type":"Multikey"}}"#,
        quoted(controller),
        quoted(id),
        quoted(key.to_multikey()),
    ));
}

fn write_service(out: &mut String, service: &Service) {
    let Service { id, kind, endpoint } = service;
    out.push_str(&format!(
        r#"{{"id":{},"serviceEndpoint":{},"type":{}}}"#,
        quoted(id),
        quoted(endpoint),
        quoted(kind),
    ));
}

/// A JSON array, or nothing for no items.
fn list<T>(items: &[T], write: impl Fn(&mut String, &T)) -> Option<String> {
    let mut out = String::new();
    for item in items {
        out.push(if out.is_empty() { '[' } else { ',' });
        write(&mut out, item);
    }
    (!out.is_empty()).then(|| out + "]")
}

fn quoted(text: impl fmt::Display) -> String {
    let mut out = String::new();
    string(&mut out, text);
    out
}

/// A JSON string as RFC 8785 section 3.2.2.2 escapes it.
fn string(out: &mut String, text: impl fmt::Display) {
    out.push('"');
    write!(Escaped(out), "{text}").expect("invariant: writing to a string does not fail");
    out.push('"');
}

struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\u{8}' => self.0.push_str("\\b"),
                '\t' => self.0.push_str("\\t"),
                '\n' => self.0.push_str("\\n"),
                '\u{c}' => self.0.push_str("\\f"),
                '\r' => self.0.push_str("\\r"),
                c if c < ' ' => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}
