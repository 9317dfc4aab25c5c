//! Both logs run the suite; the file survives reopening and refuses what is not a log.

use std::sync::Arc;

use depin_core::{ErrorKind, log::BatchLog};
use depin_data::log::{MemoryLog, RedbLog};
use depin_testkit::log::{conforms, survives_reopening};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_log_conforms() {
    conforms(async || MemoryLog::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_redb_log_conforms_in_memory() {
    conforms(async || RedbLog::open_in_memory().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_redb_log_conforms_in_a_file_and_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conforms(async || {
        count.set(count.get() + 1);
        RedbLog::open(folder.path().join(count.get().to_string())).unwrap()
    })
    .await;
    let path = folder.path().join("reopened");
    survives_reopening(RedbLog::open(&path).unwrap(), async |log| {
        drop(log);
        RedbLog::open(&path).unwrap()
    })
    .await;
}

#[test]
fn a_file_that_is_held_elsewhere_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let first = RedbLog::open(&path).unwrap();
    assert_eq!(RedbLog::open(&path).unwrap_err().kind(), ErrorKind::Conflict);
    drop(first);
    RedbLog::open(&path).unwrap();
}

#[tokio::test]
async fn damage_is_a_typed_error_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut device = crate::support::Device::new("a", depin_core::Algorithm::EdDsa);
    let net = crate::support::Net::over(Arc::new(RedbLog::open(&path).unwrap()));
    net.registry.add(&device);
    for _ in 0..200 {
        net.taken(&device.measure()).await;
    }
    drop(net);
    let good = std::fs::read(&path).unwrap();
    let mut found = 0;
    for at in (0..good.len()).step_by(good.len() / 60) {
        let mut bad = good.clone();
        bad[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&path, &bad).unwrap();
        match RedbLog::open(&path) {
            // The damage lies where nothing is kept.
            Ok(log) => assert_eq!(log.read(0, 1000).await.unwrap().len(), 200),
            Err(error) => {
                found += 1;
                let typed = [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::Unavailable];
                assert!(typed.contains(&error.kind()), "{error:?}");
            }
        }
    }
    assert!(found > 5, "only {found} damages were found");
}

#[test]
fn a_foreign_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    std::fs::write(&path, b"this is a text and no database, whatever its name may say").unwrap();
    assert!(RedbLog::open(&path).is_err());
}

#[test]
fn half_a_file_of_a_killed_process_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.redb");
    let half = folder.path().join(format!("log.redb.{}.new", std::process::id()));
    std::fs::write(&half, [0; 4096]).unwrap();
    drop(RedbLog::open(&path).unwrap());
    assert!(path.exists() && !half.exists());
    // A log that lost its beginning is damaged, not new.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..64].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    assert!(RedbLog::open(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
