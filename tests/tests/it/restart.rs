//! A network that starts again reads what it kept, and makes it anew when that is damaged or somebody else's.

use std::{fs, path::Path, sync::Arc, time::Duration};

use depin::{
    B256, Clock, EpochId, ManualClock, Network, Quantity, Reading, data::log::RedbLog, dec,
    hw::SimulatedPebble, payment::ProRata, presets, tokens,
};

use crate::support::{Asked, NOW, Watched, owner};

async fn open(folder: &Path) -> (Network, Asked, Arc<ManualClock>) {
    let (asked, clock) = (Asked::default(), Arc::new(ManualClock::at(NOW)));
    let preset = presets::devnet_at(folder).await.unwrap();
    let log = RedbLog::open(folder.join("watched")).unwrap();
    let network = Network::builder(preset)
        .clock(clock.clone())
        .log(Watched(Arc::new(log), asked.clone()))
        .rewards(ProRata::per_epoch(tokens(100)));
    (network.build().await.unwrap(), asked, clock)
}

/// Closes so many epochs, in which a device works; gives the last root.
async fn play(folder: &Path, epochs: u64, value: i32) -> B256 {
    let (network, _, clock) = open(folder).await;
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    for epoch in 0..epochs {
        clock.set(clock.now().plus(Duration::from_secs(60)));
        let quantity = Quantity::new("temperature", "Cel");
        device.send(&[Reading::new(quantity, dec(value), clock.now())]).await.unwrap();
        network.close_epoch(EpochId::new(epoch)).await.unwrap();
    }
    network.latest_epoch().await.unwrap().unwrap().root()
}

/// The root at a start, and which epochs of the log were read for it.
async fn start(folder: &Path) -> (B256, Vec<u64>) {
    let (network, asked, _) = open(folder).await;
    let epoch = network.latest_epoch().await.unwrap().unwrap();
    let standings = network.standings(epoch.id().next().unwrap()).await.unwrap();
    let read = asked.lock().unwrap().clone();
    // It is the same as what follows from all statements, and as what the next record commits to.
    assert_eq!(standings.size(), epoch.record().range().end);
    let (before, id) = (network.standings(epoch.id()).await.unwrap(), epoch.id());
    assert_eq!(before.commitment(), epoch.record().standings());
    let next = network.close_epoch(id.next().unwrap()).await;
    assert_eq!(next.unwrap().record().standings(), standings.commitment());
    (epoch.root(), read)
}

#[tokio::test]
async fn a_start_reads_the_last_epochs_and_not_the_life_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let root = play(folder.path(), 10, 20).await;
    let (again, read) = start(folder.path()).await;
    assert_eq!(again, root);
    assert!(read.iter().all(|epoch| *epoch >= 7), "{read:?}");
}

#[tokio::test]
async fn books_of_an_older_network_are_soon_written_over() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    play(folder.path(), 10, 20).await;
    play(other.path(), 19, 21).await;
    fs::copy(other.path().join("books"), folder.path().join("books")).unwrap();
    start(folder.path()).await;
    let (_, read) = start(folder.path()).await;
    assert!(read.iter().all(|epoch| *epoch >= 7), "{read:?}");
}

#[tokio::test]
async fn kept_books_that_are_damaged_lost_or_of_another_log_are_made_anew() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = play(folder.path(), 10, 20).await;
    play(other.path(), 10, 21).await;
    let books = folder.path().join("books");
    let whole = fs::read(&books).unwrap();
    let theirs = fs::read(other.path().join("books")).unwrap();
    assert_ne!(whole, theirs);
    let mut torn = whole.clone();
    torn[whole.len() / 2] ^= 1;
    let mut expected = root;
    for bad in [Some(torn), Some(whole[..whole.len() - 1].to_vec()), Some(theirs), None] {
        match bad {
            Some(bad) => fs::write(&books, bad).unwrap(),
            None => fs::remove_file(&books).unwrap(),
        }
        let (again, read) = start(folder.path()).await;
        assert_eq!(again, expected);
        assert!(read.contains(&0), "{read:?}");
        let (network, ..) = open(folder.path()).await;
        expected = network.latest_epoch().await.unwrap().unwrap().root();
    }
}
