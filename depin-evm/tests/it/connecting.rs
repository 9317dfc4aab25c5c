//! Reaching a chain, and being told why not.

use depin_core::ChainId;
use depin_devnet::Devnet;
use depin_evm::{Chain, ErrorKind};

#[tokio::test]
async fn a_chain_with_another_id_is_refused() {
    let devnet = Devnet::start();
    let chain = Chain::from_provider(devnet.provider(), devnet.account(0));
    let error = chain.expect_id(ChainId::new(4_690)).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let error = Chain::builder().provider(devnet.provider()).connect().await.unwrap_err();
    assert!(error.to_string().contains("signer"), "{error}");
}

#[tokio::test]
async fn a_node_that_is_not_there_is_retryable_and_its_access_key_stays_secret() {
    let signer = Devnet::start().account(0);
    let chain = Chain::builder().url("http://127.0.0.1:1/my-access-key").unwrap().signer(signer);
    let error = chain.connect().await.unwrap_err();
    assert!(error.is_retryable());
    assert!(!format!("{error} {error:?}").contains("access-key"), "{error:?}");
}

#[tokio::test]
async fn https_names_the_feature_it_needs() {
    let signer = Devnet::start().account(0);
    let chain = Chain::builder().url("https://127.0.0.1:1").unwrap().signer(signer);
    let error = chain.connect().await.unwrap_err();
    if cfg!(feature = "tls") {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    } else {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.to_string().contains("`tls`"), "{error}");
    }
}

#[test]
fn what_is_no_url_of_a_node_is_refused() {
    for text in ["", "localhost:8545", "ftp://localhost", "ws://localhost", "http://"] {
        assert_eq!(Chain::builder().url(text).unwrap_err().kind(), ErrorKind::Config, "{text}");
    }
}

#[test]
fn keys_are_not_printed() {
    let signer = Devnet::start().account(0);
    let secret = signer.to_bytes().to_string();
    let text = format!("{:?}", Chain::iotex_testnet(signer));
    assert!(!text.contains(secret.trim_start_matches("0x")), "{text}");
}
