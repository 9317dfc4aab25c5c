//! Resolution results as JSON.

use depin_core::{
    Did, Error, ErrorKind, Timestamp,
    resolution::{DocumentMetadata, Freshness, Resolution},
};
use depin_identity::{
    DidDocument,
    document::from_json as read_document,
    resolution::{Code, error_to_json, from_json, to_json},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::documents::documents;

fn did() -> Did {
    "did:example:7".parse().unwrap()
}

fn read(result: &Value) -> Result<Resolution, Error> {
    from_json(&did(), result.to_string().as_bytes())
}

#[test]
fn the_text_of_a_result_is_known_to_the_byte() {
    let mut found = Resolution::new(DidDocument::new(did()), Freshness::Forever);
    found.metadata.created = Some(Timestamp::from_millis(1_558_583_052_999));
    found.metadata.version_id = Some("7813666".into());
    let expected = concat!(
        r#"{"didDocument":{"@context":["https://www.w3.org/ns/did/v1"],"id":"did:example:7"},"#,
        r#""didDocumentMetadata":{"created":"2019-05-23T03:44:12Z","versionId":"7813666"},"#,
        r#""didResolutionMetadata":{"contentType":"application/did"}}"#,
    );
    assert_eq!(to_json(&found), expected);
    let gone = concat!(
        r#"{"didDocument":null,"didDocumentMetadata":{},"didResolutionMetadata":{"error":{"#,
        r#""detail":"nobody","title":"not found","type":"https://www.w3.org/ns/did#NOT_FOUND"}}}"#,
    );
    assert_eq!(error_to_json(Code::NotFound, "nobody"), gone);
}

#[test]
fn results_and_bare_documents_of_others_are_read() {
    let document = json!({"id": "did:example:7", "authentication": []});
    let result = json!({
        "@context": "https://w3id.org/did-resolution/v1",
        "didDocument": document,
        "didResolutionMetadata": {"contentType": "application/did+ld+json", "duration": 12.5},
        "didDocumentMetadata": {"created": "2019-03-23T06:35:22Z", "updated": "some day", "versionId": 7,
            "nextVersionId": "9", "deactivated": false, "method": {"network": "mainnet"}},
    });
    let found = read(&result).unwrap();
    assert_eq!(found.document, read(&document).unwrap().document);
    assert_eq!(found.metadata.created, Timestamp::parse("2019-03-23T06:35:22Z").ok());
    assert_eq!((found.metadata.updated, found.metadata.version_id), (None, None));
    assert_eq!(found.metadata.next_version_id.as_deref(), Some("9"));
    assert_eq!(found.freshness, Freshness::Once);
}

#[test]
fn a_did_that_was_given_up_has_no_keys_whatever_the_document_says() {
    let key = json!({"id": "#k", "type": "Multikey", "controller": "did:example:7",
        "publicKeyMultibase": "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"});
    for document in [json!({"id": "did:example:7", "authentication": [key]}), json!(null), json!(1)]
    {
        let result = json!({"didDocument": document, "didDocumentMetadata": {"deactivated": true}});
        let found = read(&result).unwrap();
        assert!(found.metadata.deactivated);
        assert_eq!(found.document, DidDocument::new(did()));
    }
}

#[test]
fn errors_are_read_as_objects_and_as_words() {
    for (code, kind) in [
        ("INVALID_DID", ErrorKind::Malformed),
        ("invalidDid", ErrorKind::Malformed),
        ("invalidDidUrl", ErrorKind::Malformed),
        ("INVALID_OPTIONS", ErrorKind::Malformed),
        ("INVALID_DID_DOCUMENT", ErrorKind::Rejected),
        ("notFound", ErrorKind::NotFound),
        ("https://www.w3.org/ns/did#NOT_FOUND", ErrorKind::NotFound),
        ("methodNotSupported", ErrorKind::Unsupported),
        ("FEATURE_NOT_SUPPORTED", ErrorKind::Unsupported),
        ("representationNotSupported", ErrorKind::Unsupported),
        ("internalError", ErrorKind::Unavailable),
        ("something new", ErrorKind::Unavailable),
    ] {
        for error in [json!(code), json!({"type": code, "title": "x"})] {
            let result = json!({"didDocument": null, "didResolutionMetadata": {"error": error}});
            assert_eq!(read(&result).unwrap_err().kind(), kind, "{code}");
        }
    }
    for error in [json!(7), json!({}), json!(null)] {
        // A document beside an error is no answer.
        let result = json!({"didDocument": {"id": "did:example:7"}, "didResolutionMetadata": {"error": error}});
        assert_eq!(read(&result).unwrap_err().kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[test]
fn what_is_no_result_is_refused() {
    let other = json!({"didDocument": {"id": "did:example:8"}});
    assert_eq!(read(&other).unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(read(&json!({"id": "did:example:8"})).unwrap_err().kind(), ErrorKind::Rejected);
    for bad in [
        json!([]),
        json!({}),
        json!({"didDocument": null}),
        json!({"didDocument": null, "didResolutionMetadata": {}}),
        json!({"didDocument": {"id": "did:example:7"}, "didDocumentMetadata": {"deactivated": "false"}}),
    ] {
        assert_eq!(read(&bad).unwrap_err().kind(), ErrorKind::Malformed, "{bad}");
    }
    let long = from_json(&did(), &vec![b' '; 1 << 20]).unwrap_err();
    assert_eq!(long.kind(), ErrorKind::Limit);
}

#[test]
fn every_code_has_its_status_and_its_names() {
    for (code, status) in [
        (Code::InvalidDid, 400),
        (Code::NotFound, 404),
        (Code::RepresentationNotSupported, 406),
        (Code::InternalError, 500),
        (Code::InvalidDidDocument, 500),
        (Code::MethodNotSupported, 501),
        (Code::FeatureNotSupported, 501),
    ] {
        assert_eq!(code.http_status(), status);
        assert_eq!(Code::parse(code.as_str()), Some(code));
    }
    let of_host = Error::from(read_document(b"{}").unwrap_err());
    assert_eq!(Code::of(&of_host), Code::InvalidDidDocument);
    let of_name = Error::from(Did::parse("did:x").unwrap_err());
    assert_eq!(Code::of(&of_name), Code::InvalidDid);
}

/// What may be known about a document, in whole seconds.
pub(crate) fn metadata() -> impl Strategy<Value = DocumentMetadata> {
    let moment = || proptest::option::of((0..4_000_000_000_u64).prop_map(Timestamp::from_secs));
    let id = || proptest::option::of("[ -~]{0,20}");
    (moment(), moment(), moment(), id(), id(), any::<bool>()).prop_map(
        |(created, updated, next_update, version_id, next_version_id, deactivated)| {
            let mut metadata = DocumentMetadata::default();
            metadata.created = created;
            metadata.updated = updated;
            metadata.next_update = next_update;
            metadata.version_id = version_id;
            metadata.next_version_id = next_version_id;
            metadata.deactivated = deactivated;
            metadata
        },
    )
}

/// What a resolver may answer. A DID that was given up has an empty document.
pub(crate) fn resolutions() -> impl Strategy<Value = Resolution> {
    (documents(), metadata()).prop_map(|(document, metadata)| {
        let document = if metadata.deactivated { DidDocument::new(document.id) } else { document };
        let mut resolution = Resolution::new(document, Freshness::Once);
        resolution.metadata = metadata;
        resolution
    })
}

proptest! {
    #[test]
    fn results_survive_json(found in resolutions()) {
        let text = to_json(&found);
        prop_assert_eq!(from_json(&found.document.id, text.as_bytes()).unwrap(), found);
    }

    #[test]
    fn outside_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(from_json(&did(), &bytes));
    }

    #[test]
    fn mutated_results_never_panic(found in resolutions(), at: prop::sample::Index, byte: u8) {
        let mut text = to_json(&found).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        drop(from_json(&found.document.id, &text));
    }
}
