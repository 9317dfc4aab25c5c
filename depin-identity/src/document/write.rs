//! Writing: canonical JSON, so no library decides about the bytes that are hashed.

use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use depin_core::{Algorithm, PublicKey, document::Material};

use super::{
    account::to_caip10,
    kind::{self, ACCOUNT, BASE58, JWK, MULTIBASE},
    read::RELATIONSHIPS,
};
use crate::{
    DidDocument, Service, VerificationMethod,
    json::{self, Object, Value, object},
    jwk,
};

/// The JSON-LD text of a document, always the same bytes for the same document.
///
/// It is canonical JSON (RFC 8785). The `kind` of a method decides how a key is written: as
/// `publicKeyMultibase` for `Multikey`, `Ed25519VerificationKey2020` and kinds unknown to the SDK, as `publicKeyBase58`
/// for `Ed25519VerificationKey2018`, else as `publicKeyJwk`. Accounts are written as
/// `blockchainAccountId`, with their checksum. Methods are referred to from each relationship they
/// have. Empty members are left out.
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
    to_object(document).canonical()
}

/// The document as part of a larger JSON text.
pub(crate) fn to_object(document: &DidDocument) -> Object {
    let DidDocument { id, controller, verification_method, also_known_as, service } = document;
    let mut root = object([("id", id.as_str())]);
    root.insert("@context", contexts(verification_method));
    add(&mut root, "alsoKnownAs", also_known_as.iter().map(String::as_str));
    add(&mut root, "controller", controller.iter().map(|did| did.as_str()));
    add(&mut root, "service", service.iter().map(service_object));
    add(&mut root, "verificationMethod", verification_method.iter().map(method_object));
    for (name, relationship) in RELATIONSHIPS {
        let has = |method: &&VerificationMethod| method.relationships.contains(relationship);
        let ids = verification_method.iter().filter(has).map(|method| format!("{}", method.id));
        add(&mut root, name, ids);
    }
    root
}

/// Adds a list, unless it is empty.
fn add<V: Into<Value>>(root: &mut Object, name: &str, items: impl Iterator<Item = V>) {
    let items: Vec<Value> = items.map(Into::into).collect();
    if !items.is_empty() {
        root.insert(name, items);
    }
}

/// The context of DID Core, then those of the kinds of methods by alphabet.
fn contexts(methods: &[VerificationMethod]) -> Vec<&'static str> {
    let kinds = methods.iter().filter_map(|method| kind::named(&method.kind));
    let of_kinds: BTreeSet<&str> = kinds.map(|kind| kind.context).collect();
    ["https://www.w3.org/ns/did/v1"].into_iter().chain(of_kinds).collect()
}

/// One verification method.
pub(crate) fn method_object(method: &VerificationMethod) -> Object {
    let VerificationMethod { id, controller, kind, material, .. } = method;
    let member = match material {
        Material::Key(key) => Some(key_member(kind, key)),
        Material::Account { chain, address } => Some((ACCOUNT, to_caip10(*chain, *address).into())),
        Material::Foreign { member, value } => Some((member.as_str(), foreign(member, value))),
        _ => None,
    };
    let mut object = object(member);
    object.insert("id", format!("{id}"));
    object.insert("controller", controller.as_str());
    object.insert("type", kind.as_str());
    object
}

fn key_member(kind: &str, key: &PublicKey) -> (&'static str, Value) {
    match kind::named(kind).map_or(MULTIBASE, |kind| kind.key_member) {
        JWK => (JWK, jwk::to_object(key).into()),
        BASE58 if key.algorithm() == Algorithm::EdDsa => {
            (BASE58, bs58::encode(key.to_bytes()).into_string().into())
        }
        _ => (MULTIBASE, key.to_multikey().into()),
    }
}

/// A JWK is kept as its text.
fn foreign(member: &str, value: &str) -> Value {
    match json::parse(value.as_bytes()) {
        Ok(jwk @ Value::Object(_)) if member == JWK => jwk,
        _ => value.into(),
    }
}

fn service_object(service: &Service) -> Object {
    let Service { id, kind, endpoint } = service;
    object([("id", format!("{id}")), ("serviceEndpoint", endpoint.clone()), ("type", kind.clone())])
}
