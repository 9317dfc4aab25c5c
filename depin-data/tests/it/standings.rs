//! What one epoch hands to the next: the first difference is named, and the bytes are as they were written.

use std::time::Duration;

use depin_core::{
    Address, Algorithm, Amount, B256, EpochId, Error, ErrorKind, NetworkId, Timestamp,
    log::BatchLog, reward::Payout,
};
use depin_data::{
    epoch::{
        Break, EpochDraft, EpochRecord, Member, Scored, Standings, StandingsError, Windows, score,
    },
    log::MemoryLog,
    merkle::leaf_hash,
};
use proptest::prelude::*;

use super::epoch::{append, checks, member, stations};
use crate::support::{Device, NOW, network};

/// A log, and what was closed of it.
struct Network {
    log: MemoryLog,
    devices: [Device; 3],
    windows: Option<Windows>,
    standings: Standings,
}

impl Network {
    fn new(windows: Option<Windows>) -> Self {
        let standings = Standings::new(network());
        Self { log: MemoryLog::new(), devices: stations(), windows, standings }
    }

    /// With hours as windows, of which two may be late.
    fn of_hours() -> Self {
        let hour = Duration::from_secs(3600);
        Self::new(Some(Windows::new(NOW, hour, hour).unwrap().settling(2)))
    }

    async fn send(&mut self, device: usize, values: &[&str]) {
        append(&self.log, &mut self.devices[device], values).await;
    }

    /// The record of the next epoch, with the roster as it should be, and then changed.
    async fn record(&self, change: impl FnOnce(&mut Vec<Member>)) -> EpochRecord {
        self.record_with(&self.standings, change).await
    }

    /// The same, committed to these standings.
    async fn record_with(
        &self,
        standings: &Standings,
        change: impl FnOnce(&mut Vec<Member>),
    ) -> EpochRecord {
        let end = self.log.head().await.unwrap().size;
        let range = self.standings.size()..end;
        let next = self.standings.next();
        let draft = EpochDraft::read(&self.log, &network(), next, range).await.unwrap();
        let mut draft = draft.standings(standings);
        if let Some(windows) = self.windows {
            let settled = windows.settled_by(next).map(|_| "policy");
            draft = draft.windows(windows, EpochId::new(0), settled);
        }
        let devices = self.devices.iter().filter(|device| {
            let past = self.standings.past(&device.did);
            draft.devices().any(|did| *did == device.did)
                || past.is_some_and(|it| !it.open.is_empty())
        });
        let past = |device: &Device| self.standings.past(&device.did).cloned();
        let mut roster: Vec<_> =
            devices.map(|device| Member { past: past(device), ..member(device) }).collect();
        change(&mut roster);
        draft.close(roster, checks().names(), "policy").unwrap()
    }

    /// Closes the next epoch; each member is paid a token.
    async fn close(&mut self) -> (EpochRecord, Scored) {
        let record = self.record(|_| {}).await;
        self.standings.check(&record).unwrap();
        assert_eq!(EpochRecord::parse(&record.to_bytes()).unwrap(), record);
        let mut scored = score(&self.log, &record, &checks()).await.unwrap();
        if self.windows.is_some() {
            let paid = |it: &Member| Payout {
                device: it.device.clone(),
                beneficiary: Address::repeat_byte(1),
                amount: Amount::tokens(1),
            };
            scored.note_paid(&record.roster().iter().map(paid).collect::<Vec<_>>());
        }
        self.standings.advance(&record, &scored.pasts);
        (record, scored)
    }

    /// Two epochs, and something in the log for the third.
    async fn played(windows: bool) -> Self {
        let mut network = if windows { Self::of_hours() } else { Self::new(None) };
        for devices in [[0, 1], [0, 2]] {
            for device in devices {
                network.send(device, &["1", "2"]).await;
            }
            network.close().await;
        }
        network.send(0, &["3"]).await;
        network
    }
}

fn written(standings: &Standings) -> Vec<u8> {
    let mut bytes = Vec::new();
    standings.write(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn standings_are_read_as_they_were_written_and_truncated_nowhere() {
    for windows in [false, true] {
        let network = Network::played(windows).await;
        let bytes = written(&network.standings);
        assert_eq!(Standings::read(&bytes[..]).unwrap(), network.standings);
        // The root at the end is the one that records commit to.
        assert_eq!(bytes[bytes.len() - 32..], network.standings.commitment().unwrap()[..]);
        for length in 0..bytes.len() {
            let error = Standings::read(&bytes[..length]).unwrap_err();
            assert!(
                matches!(error, StandingsError::Length | StandingsError::Magic),
                "{length}: {error}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(matches!(Standings::read(&longer[..]), Err(StandingsError::Length)));
    }
}

#[tokio::test]
async fn one_changed_byte_leads_to_another_root_or_to_nothing() {
    let network = Network::played(true).await;
    let bytes = written(&network.standings);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(Standings::read(&changed[..]).is_err(), "{at}");
    }
}

#[tokio::test]
async fn a_length_of_gigabytes_costs_nothing() {
    let mut bytes = written(&Standings::new(network()))[..19].to_vec();
    bytes.extend(u32::MAX.to_be_bytes());
    let error = Standings::read(&bytes[..]).unwrap_err();
    assert!(matches!(error, StandingsError::Entry { entry: 0, .. }), "{error}");
    assert_eq!(Error::from(error).kind(), ErrorKind::Malformed);
}

proptest! {
    #[test]
    fn random_bytes_are_no_standings(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Standings::read(&bytes[..]).is_err());
        let tagged = [&b"depin standings v1\n"[..], &bytes].concat();
        prop_assert!(Standings::read(&tagged[..]).is_err());
    }
}

#[tokio::test]
async fn the_first_field_of_the_first_device_that_differs_is_named() {
    let network = Network::played(true).await;
    let fields = [
        "the last sequence",
        "the hash of the last batch",
        "the time of the latest reading",
        "the key that signed last",
        "the work in epoch 0",
        "the work in epoch 0",
    ];
    for (number, expected) in fields.into_iter().enumerate() {
        let record = network.record(|roster| {
            let past = roster[0].past.as_mut().unwrap();
            match number {
                0 => past.tip.sequence = depin_core::Sequence::new(77),
                1 => past.tip.hash = B256::ZERO,
                2 => past.latest = Timestamp::EPOCH,
                3 => past.key = None,
                4 => past.open[0].paid = Amount::tokens(2),
                _ => past.open.clear(),
            }
        });
        let found = network.standings.check(&record.await).unwrap_err();
        let Break::Device { device, field, .. } = &found else { panic!("{found}") };
        assert_eq!((device, field.as_str()), (&network.devices[0].did, expected));
        let error = Error::from(found);
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("where its device stood"), "{error}");
    }
}

/// A device that is said to be new could be paid for the same readings again.
#[tokio::test]
async fn a_standing_that_is_left_out_is_missed() {
    for windows in [false, true] {
        let network = Network::played(windows).await;
        let found = network.standings.check(&network.record(|it| it[0].past = None).await);
        let Err(Break::Device { recomputed, recorded, .. }) = &found else { panic!("{found:?}") };
        assert_eq!((recomputed.as_str(), recorded.as_str()), ("1", "none"));
    }
    let network = Network::played(true).await;
    let found = network.standings.check(&network.record(|it| drop(it.remove(1))).await);
    assert_eq!(found, Err(Break::LeftOut(network.devices[1].did.clone())));
}

#[tokio::test]
async fn standings_swapped_between_two_devices_are_found() {
    let network = Network::played(true).await;
    let record = network.record(|roster| {
        let first = roster[0].past.take();
        roster[0].past = std::mem::replace(&mut roster[1].past, first);
    });
    assert!(matches!(network.standings.check(&record.await), Err(Break::Device { .. })));
}

/// Also a device that does not take part stands somewhere, and the record commits to it.
#[tokio::test]
async fn a_record_that_commits_to_other_standings_is_found() {
    let network = Network::played(false).await;
    let absent = &network.devices[1].did;
    assert!(network.record(|_| {}).await.member(absent).is_none());
    let mut other = Network::new(None);
    for devices in [[0, 0], [0, 2]] {
        for device in devices {
            other.send(device, &["1", "2"]).await;
        }
        other.close().await;
    }
    let record = network.record_with(&other.standings, |_| {}).await;
    let found = network.standings.check(&record).unwrap_err();
    assert!(matches!(found, Break::Commitment { .. }), "{found}");
    assert!(found.to_string().contains("does not take part"));
    let none = network.standings.clone();
    let silent = network.record_with(&Standings::believed(&record), |_| {}).await;
    assert_eq!((silent.standings(), none.check(&silent)), (None, Ok(())), "it commits to none");
}

#[tokio::test]
async fn another_network_epoch_place_or_window_is_no_continuation() {
    let network = Network::played(true).await;
    let named = |found: Result<(), Break>| match found.unwrap_err() {
        Break::Epoch { field, .. } => field,
        found => panic!("{found}"),
    };
    let record = network.record(|_| {}).await;
    let fresh = Standings::new(NetworkId::parse("other").unwrap());
    assert_eq!(named(fresh.check(&record)), "network");
    let begin = Standings::new(crate::support::network());
    assert_eq!(named(begin.check(&record)), "number");
    // The same number, and not the same log.
    let mut short = Network::of_hours();
    for device in [0, 1, 2] {
        short.send(device, &["1"]).await;
        if device > 0 {
            short.close().await;
        }
    }
    assert_eq!(named(short.standings.check(&record)), "first batch");
    let mut other = Network::of_hours();
    for devices in [[0, 1], [0, 2]] {
        for device in devices {
            other.send(device, &["7"]).await;
        }
        other.close().await;
    }
    assert_eq!(named(other.standings.check(&record)), "root of the log before");
    let mut late = Network { windows: None, ..Network::played(true).await };
    late.standings = network.standings.clone();
    let record = late.record(|it| it.iter_mut().for_each(|it| it.past = None)).await;
    assert_eq!(named(network.standings.check(&record)), "windows");
}

#[tokio::test]
async fn an_epoch_settles_by_the_policy_that_was_handed_on() {
    let mut network = Network::played(true).await;
    assert_eq!(network.standings.policy(EpochId::new(0)), Some("policy"));
    network.close().await;
    // Epoch 0 settled with epoch 2.
    assert_eq!(network.standings.policy(EpochId::new(0)), None);
    assert_eq!(network.standings.policy(EpochId::new(1)), Some("policy"));
    let end = network.log.head().await.unwrap().size;
    let next = network.standings.next();
    let draft = EpochDraft::read(&network.log, &crate::support::network(), next, end..end).await;
    let draft = draft.unwrap().windows(network.windows.unwrap(), EpochId::new(0), Some("better"));
    let past = |device: &Device| network.standings.past(&device.did).cloned();
    let roster = network.devices.iter().map(|it| Member { past: past(it), ..member(it) });
    let record = draft.close(roster.collect(), checks().names(), "policy").unwrap();
    let found = network.standings.check(&record).unwrap_err();
    let Break::Epoch { field, recorded, .. } = found else { panic!("{found}") };
    assert_eq!((field, recorded.as_str()), ("policy of the epoch that settles", "better"));
}

#[tokio::test]
async fn what_was_only_believed_is_not_kept_and_commits_to_nothing() {
    let network = Network::played(true).await;
    let record = network.record(|_| {}).await;
    let believed = Standings::believed(&record);
    assert!(believed.is_partial() && believed.commitment().is_none());
    assert_eq!(believed.check(&record), Ok(()));
    assert!(matches!(believed.write(Vec::new()), Err(StandingsError::Partial)));
    assert_eq!(believed.devices().len(), 3);
    let mut other = network.standings.clone();
    other.believe(&Device::new("z", Algorithm::EdDsa).did, believed.past(&network.devices[0].did));
    assert_eq!(other, network.standings, "who knows all believes nobody");
}

#[test]
fn the_bytes_of_an_empty_beginning() {
    let bytes = written(&Standings::new(network()));
    let head = [
        &[0x87, 0x67][..],
        b"climate",
        &[0x00, 0x00, 0x58, 0x20],
        // The root of an empty tree: SHA-256 of nothing (RFC 9162 section 2.1.1).
        &hash_of("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        &[0xf6, 0x80, 0x00],
    ]
    .concat();
    let length = (head.len() as u32).to_be_bytes();
    let root = leaf_hash(&head);
    assert_eq!(bytes, [b"depin standings v1\n", &length[..], &head, root.as_slice()].concat());
}

fn hash_of(hex: &str) -> [u8; 32] {
    hex.parse::<B256>().unwrap().0
}
