#![no_main]
//! did:web: whatever the DID, its URL leads to the host that it names, by https.

use depin_identity::{Did, methods::web};

libfuzzer_sys::fuzz_target!(|id: &str| {
    if let Ok(did) = Did::parse(&format!("did:web:{id}"))
        && let Ok(url) = web::url(&did)
    {
        let authority = id.split(':').next().unwrap_or_default().replace("%3A", ":");
        let host = authority.split(':').next().unwrap_or_default();
        let rest = url.strip_prefix("https://").and_then(|rest| rest.strip_prefix(host));
        // A host may be spelled with escapes, which the url does not have.
        let named = rest.is_some_and(|rest| rest.starts_with([':', '/']));
        assert!(named || host.contains('%'), "{url}");
        assert!(url.ends_with("/did.json") && !url.contains("/../"), "{url}");
    }
});
