//! Conformance of [`DidResolver`].

use depin_core::{
    Did, ErrorKind,
    resolution::{DidResolver, Freshness, Version},
};

/// Runs every clause of the contract.
///
/// `known` are DIDs that have a document, `gone` are DIDs that never existed or were deactivated; a method
/// whose DIDs all exist, such as did:key, has none.
///
/// # Panics
/// When a clause does not hold.
pub async fn conforms(resolver: &dyn DidResolver, known: &[Did], gone: &[Did]) {
    assert!(!known.is_empty(), "the suite needs a did that has a document");
    for did in known {
        let document = resolver.resolve(did).await.expect("clause 1: a known did resolves");
        assert_eq!(document.id, *did, "clause 1: the document is that of the did asked for");
        let again = resolver.resolve(did).await.expect("clause 1: a known did resolves again");
        assert_eq!(document, again, "clause 1: nothing changed, so neither does the document");
        versions(resolver, did).await;
    }
    let foreign = Did::parse("did:nosuchmethod:1").expect("invariant: it follows the grammar");
    let error = resolver.resolve(&foreign).await.expect_err("clause 2: an unknown method fails");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "clause 2: {error}");
    for did in gone {
        let error = resolver.resolve(did).await.expect_err("clause 3: nothing to resolve");
        assert_eq!(error.kind(), ErrorKind::NotFound, "clause 3: {did}: {error}");
    }
    for did in known.iter().flat_map(misshapen) {
        match resolver.resolve(&did).await {
            Err(_) => {}
            Ok(document) => assert_eq!(document.id, did, "clause 4: garbage names no other did"),
        }
    }
}

/// Names of versions that nobody gives: refused by a method without versions, unknown to the others.
async fn versions(resolver: &dyn DidResolver, did: &Did) {
    let latest = resolver.resolve_version(did, &Version::Latest).await;
    let latest = latest.expect("clause 1: a known did resolves");
    if latest.freshness == Freshness::Forever {
        let again = resolver.resolve_version(did, &Version::Latest).await.ok();
        assert_eq!(again.as_ref(), Some(&latest), "clause 5: forever means the same answer");
    }
    match resolver.resolve_version(did, &Version::Id("no such version".into())).await {
        Ok(_) => panic!("clause 2: a version that nobody named was resolved"),
        Err(error) => assert!(
            matches!(
                error.kind(),
                ErrorKind::Unsupported | ErrorKind::NotFound | ErrorKind::Malformed
            ),
            "clause 2: {error}"
        ),
    }
}

/// DIDs of the same method that follow the grammar of DID Core and mostly not that of the method.
fn misshapen(known: &Did) -> Vec<Did> {
    let (method, id) = (known.method(), known.id());
    let longest = "z".repeat(Did::MAX_LEN - "did::".len() - method.len());
    let half = id.get(..id.len() / 2).unwrap_or("1").trim_end_matches([':', '%']);
    [
        longest.as_str(),
        "1",
        "%00",
        "..",
        half,
        &format!("{id}1"),
        &format!("{id}:{id}"),
        &id.to_ascii_uppercase(),
        &id.to_ascii_lowercase(),
    ]
    .iter()
    .filter_map(|id| Did::parse(&format!("did:{method}:{id}")).ok())
    .filter(|did| did != known)
    .collect()
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use depin_core::{Error, Result, document::DidDocument, resolution::Resolution};

    use super::*;

    #[derive(Debug)]
    struct Answers(fn(&Did) -> Result<DidDocument>);

    #[async_trait]
    impl DidResolver for Answers {
        async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
            if *version != Version::Latest {
                return Err(Error::new(ErrorKind::Unsupported, "no versions"));
            }
            (self.0)(did).map(|document| Resolution::new(document, Freshness::Once))
        }
    }

    fn correct(did: &Did) -> Result<DidDocument> {
        match did.as_str() {
            "did:example:known" => Ok(DidDocument::new(did.clone())),
            _ if did.method() == "example" => Err(Error::new(ErrorKind::NotFound, "nobody")),
            _ => Err(Error::new(ErrorKind::Unsupported, "did:example only")),
        }
    }

    async fn try_out(answer: fn(&Did) -> Result<DidDocument>) {
        let did = |text: &str| Did::parse(text).unwrap();
        conforms(&Answers(answer), &[did("did:example:known")], &[did("did:example:gone")]).await;
    }

    #[tokio::test]
    async fn a_correct_resolver_conforms() {
        try_out(correct).await;
    }

    #[tokio::test]
    #[should_panic(expected = "clause 1: the document is that of the did asked for")]
    async fn the_document_of_another_did_is_caught() {
        try_out(|_| Ok(DidDocument::new(Did::parse("did:example:other").unwrap()))).await;
    }

    #[tokio::test]
    #[should_panic(expected = "clause 2")]
    async fn pretending_to_know_every_method_is_caught() {
        try_out(|did| Ok(DidDocument::new(did.clone()))).await;
    }

    #[tokio::test]
    #[should_panic(expected = "clause 3")]
    async fn empty_documents_for_the_gone_are_caught() {
        try_out(|did| match did.method() {
            "example" => Ok(DidDocument::new(did.clone())),
            _ => correct(did),
        })
        .await;
    }
}
