//! Two who would share one rail's book: each hears of the other.

use std::{path::PathBuf, process::Command};

use depin_core::ErrorKind;
use depin_payment::{
    evm::{ChannelRail, ChannelRules},
    rail::{ChannelPayer, RailStore},
};

use super::channel::Channel;

/// The file that the other process opens.
const FILE: &str = "DEPIN_RAIL_FILE";

/// Another process, when [`FILE`] is set.
#[test]
fn visitor() {
    let Ok(file) = std::env::var(FILE) else { return };
    let error = RailStore::open(&PathBuf::from(file)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    println!("visitor: {error}");
}

#[tokio::test]
async fn another_process_hears_that_a_book_is_in_use() {
    let channel = Channel::open().await;
    let rail = channel.rail_in("rail.redb", ChannelRules::default());
    let file = channel.world.folder.path().join("rail.redb");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "rails::locks::visitor", "--nocapture"])
        .env(FILE, &file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("visitor: ") && said.contains("end the other process"), "{said}");
    drop(rail);
    RailStore::open(&file).unwrap();
}

#[tokio::test]
async fn two_rails_do_not_share_a_book() {
    let channel = Channel::open().await;
    let store = RailStore::in_memory().unwrap();
    let rail = |store| {
        let (payee, token) = (channel.terms.payee, channel.terms.token);
        ChannelRail::new(channel.payees(), payee, token, ChannelRules::default(), store)
    };
    let first = rail(store.clone()).unwrap();
    let error = rail(store.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("share that rail"), "{error}");
    drop(first);
    rail(store).unwrap();
}

#[tokio::test]
async fn two_payers_do_not_share_a_book() {
    let channel = Channel::open().await;
    let path = channel.world.folder.path().join("buyer.redb");
    let buyer = || {
        let (domain, key) = (channel.payers().domain(), channel.world.key());
        ChannelPayer::open(&path, domain, channel.terms, key, 10.into())
    };
    let first = buyer().unwrap();
    let error = buyer().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("open elsewhere"), "{error}");
    drop(first);
    buyer().unwrap();
}
