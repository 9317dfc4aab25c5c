#![no_main]
//! DID URLs with parameters and fragments: what they ask for is found, refused or unknown, and what is found
//! bears the name that was asked for.

use depin_core::DidUrl;
use depin_identity::{Resolver, Resource, resolve_url};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let did = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK";
    for text in [text.to_owned(), format!("{did}{text}"), format!("{did}?{text}")] {
        let Ok(url) = DidUrl::parse(&text) else { continue };
        match runtime.block_on(resolve_url(&Resolver::new(), &url)) {
            Ok(Resource::Document(found)) => assert_eq!(&found.document.id, url.did()),
            Ok(Resource::Method(method)) => assert_eq!(method.id.fragment(), url.fragment()),
            Ok(Resource::Service(service)) => assert_eq!(service.id.fragment(), url.fragment()),
            _ => {}
        }
    }
});
