//! Conformance of [`DidResolver`].

use depin_core::{
    Did, ErrorKind,
    resolution::{DidResolver, Freshness, Resolution, Version},
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

/// Clause 5 across a change: what was answered `Forever` before `change` is answered the same after it.
///
/// Asks for the present document and, where the method names versions, for that version by name and by time.
///
/// # Panics
/// When it does not hold, or when the present document is the same after the change.
pub async fn keeps_its_word(resolver: &dyn DidResolver, did: &Did, change: impl AsyncFnOnce()) {
    let before = resolver.resolve_version(did, &Version::Latest).await;
    let before = before.expect("clause 1: a known did resolves");
    let mut promised = Vec::new();
    for version in [Version::Latest].into_iter().chain(names_of(&before)) {
        let answer = resolver.resolve_version(did, &version).await;
        let answer = answer.expect("clause 2: a version that was named resolves");
        if answer.freshness == Freshness::Forever {
            promised.push((version, answer));
        }
    }
    change().await;
    for (version, answer) in promised {
        let again =
            resolver.resolve_version(did, &version).await.expect("clause 5: it still resolves");
        assert_eq!(
            again.document, answer.document,
            "clause 5: {version:?} was said to stay for ever"
        );
    }
    let after = resolver.resolve_version(did, &Version::Latest).await;
    let after = after.expect("clause 1: a known did resolves");
    let same = (&before.document, before.metadata.deactivated)
        == (&after.document, after.metadata.deactivated);
    assert!(!same, "clause 5: the suite needs a change that shows in the document");
}

/// The ways in which a version can be asked for again.
fn names_of(latest: &Resolution) -> Vec<Version> {
    let id = latest.metadata.version_id.clone().map(Version::Id);
    id.into_iter().chain(latest.metadata.updated.map(Version::At)).collect()
}

/// Versions that the answer names, and names that nobody gives: refused by a method without versions, unknown
/// to the others.
async fn versions(resolver: &dyn DidResolver, did: &Did) {
    let latest = resolver.resolve_version(did, &Version::Latest).await;
    let latest = latest.expect("clause 1: a known did resolves");
    if latest.freshness == Freshness::Forever {
        let again = resolver.resolve_version(did, &Version::Latest).await.ok();
        assert_eq!(again.as_ref(), Some(&latest), "clause 5: forever means the same answer");
    }
    for version in names_of(&latest) {
        let named = resolver.resolve_version(did, &version).await;
        let named =
            named.unwrap_or_else(|error| panic!("clause 2: {version:?} was named: {error}"));
        assert_eq!(named.document, latest.document, "clause 2: {version:?} is the present one");
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
    use std::sync::Mutex;

    use async_trait::async_trait;
    use depin_core::{Error, Result, document::DidDocument};

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

    /// A document that can change, and what it says of its freshness.
    #[derive(Debug)]
    struct Changing(Mutex<DidDocument>, Freshness);

    #[async_trait]
    impl DidResolver for Changing {
        async fn resolve_version(&self, _: &Did, _: &Version) -> Result<Resolution> {
            Ok(Resolution::new(self.0.lock().unwrap().clone(), self.1))
        }
    }

    async fn change_what_is(freshness: Freshness, change: fn(&mut DidDocument)) {
        let did = Did::parse("did:example:1").unwrap();
        let changing = Changing(Mutex::new(DidDocument::new(did.clone())), freshness);
        keeps_its_word(&changing, &did, async || change(&mut changing.0.lock().unwrap())).await;
    }

    #[tokio::test]
    async fn a_document_that_may_change_does() {
        change_what_is(Freshness::Once, |document| document.also_known_as.push("it".into())).await;
    }

    #[tokio::test]
    #[should_panic(expected = "was said to stay for ever")]
    async fn a_broken_promise_is_caught() {
        change_what_is(Freshness::Forever, |document| document.also_known_as.push("it".into()))
            .await;
    }

    #[tokio::test]
    #[should_panic(expected = "the suite needs a change")]
    async fn a_change_that_does_not_show_is_no_test() {
        change_what_is(Freshness::Once, |_| {}).await;
    }
}
