//! What the owner of a device says about places holds for whatever it is told to send.

use std::{fs, path::Path, sync::Arc};

use depin::{
    Decimal, Device, ErrorKind, Hardware, ManualClock, Network, Quantity, Reading, Timestamp,
    data::{
        batch::Extras,
        geo::Position,
        privacy::{Coarsen, Zone},
    },
    hw::SimulatedPebble,
    payment::ProRata,
    presets, tokens,
};

use crate::{
    interruptions::Offline,
    support::{NOW, owner},
};

const HOME: [i32; 2] = [474_844_817, 109_756_893];
const AWAY: [i32; 2] = [474_944_817, 109_766_893];

fn at(second: u64) -> Timestamp {
    Timestamp::from_secs(NOW.secs() + second)
}

fn inside(second: u64) -> Reading {
    Reading::new(Quantity::new("temperature", "Cel"), Decimal::from(21), at(second))
}

fn fix([north, east]: [i32; 2], second: u64) -> Vec<Reading> {
    let of = |name, unit, value: i32| {
        let value = Decimal::new(value.into(), -7).unwrap();
        Reading::new(Quantity::new(name, unit), value, at(second))
    };
    vec![of("latitude", "lat", north), of("longitude", "lon", east), inside(second)]
}

/// How many of the exact coordinates are written in these bytes.
fn exact_in(bytes: &[u8]) -> usize {
    let written = |number: &i32| bytes.windows(4).any(|window| window == number.to_be_bytes());
    [HOME, AWAY].as_flattened().iter().filter(|number| written(number)).count()
}

fn kept(folder: &Path) -> Vec<u8> {
    let files = fs::read_dir(folder).unwrap();
    files.flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

/// Everything that the device has signed and that nobody has.
async fn pending(device: &Device) -> Vec<u8> {
    let batches = device.pending().await.unwrap();
    batches.iter().flat_map(|batch| batch.as_bytes().to_vec()).collect()
}

#[tokio::test]
async fn nothing_finer_than_the_owner_says_is_signed_kept_or_sent() {
    let network = Network::builder(presets::devnet().await.unwrap())
        .name("discreet")
        .clock(Arc::new(ManualClock::at(at(9))))
        .rewards(ProRata::per_epoch(tokens(1)))
        .build()
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let open = Hardware::from(SimulatedPebble::new(1)).kept_in(folder.path().join("open"));
    let device = network.enroll(open, owner(1)).await.unwrap().over(Offline);
    device.send(&[fix(HOME, 1), fix(AWAY, 2)].concat()).await.unwrap_err();
    assert_eq!(exact_in(&kept(&folder.path().join("open"))), 4, "the search finds what is there");
    assert_eq!(exact_in(&pending(&device).await), 4);

    let home = Position::try_new(HOME[0], HOME[1]).unwrap();
    let discreet = || {
        let hardware = Hardware::from(SimulatedPebble::new(2)).kept_in(folder.path().join("own"));
        let zone = Zone::Circle { centre: home, radius: 500 };
        hardware.silent_in([zone]).coarsened(Coarsen::to(7).unwrap())
    };
    let device = network.enroll(discreet(), owner(2)).await.unwrap().over(Offline);
    for silent in [vec![inside(1)], fix(HOME, 2), vec![inside(3)]] {
        let error = device.send(&silent).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(device.pending().await.unwrap().is_empty());
    }
    // What is in sealed bytes nobody here can tell.
    let extras = Extras { sealed: Some(b"anything"), ..Extras::default() };
    let error = device.send_with(&fix(AWAY, 4), extras).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(device.pending().await.unwrap().is_empty());
    let error = device.send(&fix(AWAY, 4)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(exact_in(&pending(&device).await), 0);
    drop(device);
    assert_eq!(exact_in(&kept(&folder.path().join("own"))), 0);

    // After a restart nobody knows where it is until it says so.
    let device = network.resume(discreet()).await.unwrap();
    device.flush().await.unwrap();
    assert_eq!(device.send(&[inside(5)]).await.unwrap_err().kind(), ErrorKind::NotFound);
    device.send(&fix(AWAY, 6)).await.unwrap();
    device.send(&[inside(7)]).await.unwrap();
    let log = network.log().read(0, 9).await.unwrap();
    assert_eq!(log.len(), 3);
    assert!(log.iter().all(|entry| exact_in(entry.batch.as_bytes()) == 0));
}
