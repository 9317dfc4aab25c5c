//! did:pkh of the EVM chains.

use depin_core::{
    ChainId, Did, ErrorKind, address,
    document::{Material, Relationships},
};
use depin_identity::{
    Resolver,
    methods::pkh::{self, PkhResolver},
};

const ACCOUNT: &str = "did:pkh:eip155:4689:0xb9c5714089478a327f09197987f16f9e5d936e8a";

fn did(text: &str) -> Did {
    text.parse().unwrap()
}

#[tokio::test]
async fn the_resolver_conforms() {
    let resolver = Resolver::new().with_method(pkh::METHOD, std::sync::Arc::new(PkhResolver));
    depin_testkit::resolver::conforms(&resolver, &[did(ACCOUNT)], &[]).await;
}

#[test]
fn the_document_holds_the_account() {
    let document = pkh::document(&did(ACCOUNT)).unwrap();
    let method = &document.verification_method[0];
    assert_eq!(method.id.to_string(), format!("{ACCOUNT}#blockchainAccountId"));
    let address = address!("b9c5714089478a327f09197987f16f9e5d936e8a");
    assert_eq!(method.material, Material::Account { chain: ChainId::new(4689), address });
    assert!(method.relationships.contains(Relationships::AUTHENTICATION));
    assert_eq!(pkh::from_address(ChainId::new(4689), address), document.id);
}

#[test]
fn other_namespaces_are_unsupported_and_other_spellings_malformed() {
    for (text, kind) in [
        ("did:pkh:solana:4sGjMW1sUnHzSxGspuhpqLDx6wiyjNtZ:CKg5d1", ErrorKind::Unsupported),
        ("did:pkh:bip122:000000000019d6689c085ae165831e93:128Lkh", ErrorKind::Unsupported),
        ("did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp", ErrorKind::Unsupported),
        ("did:pkh:eip155:1", ErrorKind::Malformed),
        ("did:pkh:eip155:01:0xb9c5714089478a327f09197987f16f9e5d936e8a", ErrorKind::Malformed),
        ("did:pkh:eip155:0x1:0xb9c5714089478a327f09197987f16f9e5d936e8a", ErrorKind::Malformed),
        ("did:pkh:eip155:1:b9c5714089478a327f09197987f16f9e5d936e8a", ErrorKind::Malformed),
        ("did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e", ErrorKind::Malformed),
        ("did:pkh:eip155:1:0xB9c5714089478a327f09197987f16f9e5d936e8a", ErrorKind::Malformed),
        (
            "did:pkh:eip155:99999999999999999999:0xb9c5714089478a327f09197987f16f9e5d936e8a",
            ErrorKind::Malformed,
        ),
    ] {
        assert_eq!(pkh::account(&did(text)).unwrap_err().kind(), kind, "{text}");
    }
}
