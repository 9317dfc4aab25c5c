//! The file that keeps what was signed, and an interrupted deployment that goes on from it.

use std::{path::Path, sync::Arc, time::Duration};

use depin_core::NetworkId;
use depin_devnet::Devnet;
use depin_evm::{Chain, DeployOptions, ErrorKind, alloy::providers::Provider, deploy};

use crate::{
    faults::{self, Faults},
    sending::{gift, recipient},
};

async fn open(devnet: &Devnet, account: u16, path: &Path) -> depin_evm::Result<Chain> {
    Chain::from_provider(devnet.provider(), devnet.account(account)).store(path).connect().await
}

#[tokio::test]
async fn a_file_belongs_to_one_account_on_one_chain() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("transactions.redb");
    let devnet = Devnet::builder().at(1_000).build();
    drop(open(&devnet, 0, &path).await.unwrap());

    let other_account = open(&devnet, 1, &path).await.unwrap_err();
    assert_eq!(other_account.kind(), ErrorKind::Config);
    let reborn = Devnet::builder().at(2_000).build();
    let other_chain = open(&reborn, 0, &path).await.unwrap_err();
    assert_eq!(other_chain.kind(), ErrorKind::Config);
    open(&devnet, 0, &path).await.unwrap();
}

#[tokio::test]
async fn two_handles_cannot_open_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("transactions.redb");
    let devnet = Devnet::start();
    let _first = open(&devnet, 0, &path).await.unwrap();
    let second = open(&devnet, 0, &path).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_file_of_something_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "milk, bread").unwrap();
    let error = open(&Devnet::start(), 0, &path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"milk, bread");
}

#[tokio::test]
async fn a_key_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("transactions.redb");
    let devnet = Devnet::start();
    let chain = open(&devnet, 0, &path).await.unwrap();
    let first = chain.send_once("rent", gift(recipient(1))).await.unwrap();
    drop(chain);
    let chain = open(&devnet, 0, &path).await.unwrap();
    let again = chain.send_once("rent", gift(recipient(1))).await.unwrap();
    assert_eq!(first.transaction_hash, again.transaction_hash);
}

#[tokio::test]
async fn an_interrupted_deployment_goes_on_where_it_stopped() {
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap());
    for requests in (0..130).step_by(5) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("transactions.redb");
        let devnet = Devnet::start();
        let start = |faults: &Arc<Faults>| {
            Chain::from_provider(faults::provider(&devnet, faults), devnet.account(0))
                .store(&path)
                .poll_interval(Duration::from_micros(200))
                .timeout(Duration::from_millis(50))
                .connect()
        };
        let faults = Faults::new(requests.into(), 0).crash_after(requests);
        if let Ok(chain) = start(&faults).await {
            let _ = deploy(&chain, &options).await;
        }
        let chain = start(&Faults::new(0, 0)).await.unwrap();
        let deployment = deploy(&chain, &options).await.unwrap();
        let used = chain.provider().get_transaction_count(chain.account()).await.unwrap();
        assert_eq!(used, 12, "six contracts and six roles, crash after {requests}");
        let code = chain.provider().get_code_at(deployment.registry).await.unwrap();
        assert!(!code.is_empty());
    }
}
