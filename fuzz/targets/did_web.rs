#![no_main]
//! did:web: whatever the DID, its URL leads to the host that it names, by https.

use depin_identity::{Did, methods::web};

libfuzzer_sys::fuzz_target!(|id: &str| {
    if let Ok(did) = Did::parse(&format!("did:web:{id}"))
        && let Ok(url) = web::url(&did)
    {
        let host = id.split([':', '%']).next().unwrap_or_default();
        let rest = url.strip_prefix("https://").and_then(|rest| rest.strip_prefix(host));
        assert!(rest.is_some_and(|rest| rest.starts_with([':', '/'])), "{url}");
        assert!(url.ends_with("/did.json") && !url.contains("/../"), "{url}");
    }
});
