//! Strangers who audit the life of a network from a row of files, when its log has forgotten everything.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use depin::{
    Audit, Clock, Device, EpochId, Error, ErrorKind, ManualClock, Network, Quantity, Reading,
    RowAudit, Timestamp, audit_row,
    core::reward::RewardPolicy,
    data::{
        epoch::{Checks, EpochDraft, Member, Sealed, Standings, Statement, Windows, score},
        quality::Bounds,
    },
    dec,
    hw::SimulatedPebble,
    payment::ProRata,
    presets, tokens,
};
use tempfile::TempDir;

use crate::support::{NOW, owner};

const HOUR: Duration = Duration::from_secs(3600);

fn bounds() -> Bounds {
    Bounds::new("temperature", "Cel", dec(-60)..=dec(60))
}

fn checks() -> Checks {
    Checks::new().check(bounds())
}

fn policy() -> ProRata {
    ProRata::per_epoch(tokens(100)).reserve(2_000)
}

fn minute(minute: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(60 * minute))
}

/// A network, its three devices, and the files of its closed epochs.
struct Story {
    network: Network,
    clock: Arc<ManualClock>,
    devices: [Device; 3],
    folder: TempDir,
    files: Vec<PathBuf>,
}

impl Story {
    async fn begin(windows: Option<Windows>) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let builder = Network::builder(presets::devnet().await.unwrap())
            .name("row")
            .clock(clock.clone())
            .check(bounds())
            .rewards(policy());
        let builder = match windows {
            Some(windows) => builder.windows(windows),
            None => builder,
        };
        let network = builder.build().await.unwrap();
        let enroll = async |seed: u8| {
            network.enroll(SimulatedPebble::new(seed.into()), owner(seed)).await.unwrap()
        };
        let devices = [enroll(1).await, enroll(2).await, enroll(3).await];
        let (folder, files) = (tempfile::tempdir().unwrap(), Vec::new());
        Self { network, clock, devices, folder, files }
    }

    async fn send(&self, device: usize, minutes: &[u64]) {
        let last = minutes.iter().copied().max().map_or(NOW, minute);
        self.clock.set(self.clock.now().max(last));
        let reading = |at| Reading::new(Quantity::new("temperature", "Cel"), dec(20), minute(at));
        let readings: Vec<_> = minutes.iter().copied().map(reading).collect();
        self.devices[device].send(&readings).await.unwrap();
    }

    /// Closes the next epoch and keeps its file; the log forgets its batches.
    async fn close(&mut self) {
        let id = EpochId::new(self.files.len() as u64);
        let epoch = self.network.close_epoch(id).await.unwrap();
        let file = self.folder.path().join(format!("{id}.bundle"));
        self.network.export_epoch(id, &file).await.unwrap();
        self.network.log().forget(epoch.record().range().end).await.unwrap();
        self.files.push(file);
    }

    /// Four epochs of two devices each; what counts is what comes.
    async fn plain() -> Self {
        let mut story = Self::begin(None).await;
        for (number, devices) in (0..).zip([[0, 1], [0, 2], [1, 2], [0, 1]]) {
            for device in devices {
                story.send(device, &[10 * number + 1, 10 * number + 2]).await;
            }
            story.close().await;
        }
        story
    }

    /// Five hours; what is late by two is still paid. The second device is late once.
    async fn hours() -> Self {
        let windows = Windows::new(NOW, HOUR, HOUR / 6).unwrap().settling(2);
        let mut story = Self::begin(Some(windows)).await;
        for hour in 0..5 {
            story.send(0, &[60 * hour + 5, 60 * hour + 25]).await;
            match hour {
                0 => {}
                1 => story.send(1, &[40, 70]).await,
                _ => story.send(2, &[60 * hour + 7]).await,
            }
            story.clock.set(minute(60 * hour + 75));
            story.close().await;
        }
        story
    }

    fn row<'a>(&'a self, checks: &'a Checks, policies: &'a [&'a dyn RewardPolicy]) -> RowAudit<'a> {
        let (registry, ledger) = (&**self.network.registry(), &**self.network.distributor());
        RowAudit::new(checks, policies, registry, ledger)
    }

    async fn audit(&self, files: &[PathBuf]) -> Result<Vec<Audit>, Error> {
        let (registry, ledger) = (&**self.network.registry(), &**self.network.distributor());
        audit_row(files, &checks(), &[&policy()], registry, ledger).await
    }

    /// The error with which a row that begins with these standings ends at this file.
    async fn refused(&self, standings: Standings, file: &Path) -> Error {
        let (checks, policy) = (checks(), policy());
        let policies: [&dyn RewardPolicy; 1] = [&policy];
        let mut row = self.row(&checks, &policies).begin_with(standings);
        row.next(file).await.unwrap_err()
    }
}

#[tokio::test]
async fn the_life_of_a_network_is_recomputed_from_its_files_when_the_log_has_forgotten() {
    for story in [Story::plain().await, Story::hours().await] {
        let size = story.network.log().head().await.unwrap().size;
        assert_eq!(story.network.log().oldest().await.unwrap(), size, "it has forgotten all");
        assert!(story.network.audit(EpochId::new(0)).await.is_err());
        let audits = story.audit(&story.files).await.unwrap();
        assert_eq!(audits.len(), story.files.len());
        for (id, audit) in (0..).map(EpochId::new).zip(&audits) {
            let epoch = story.network.epoch(id).await.unwrap().unwrap();
            assert_eq!((audit.epoch, audit.root), (id, epoch.root()));
            assert!(audit.is_complete() && audit.since == EpochId::new(0), "{audit}");
        }
        let batches: u64 = audits.iter().map(|audit| audit.batches).sum();
        assert_eq!(batches, size);
    }
}

#[tokio::test]
async fn a_row_without_its_beginning_says_what_it_believes_and_one_that_goes_on_believes_nothing() {
    let (story, checks, policy) = (Story::hours().await, checks(), policy());
    let policies: [&dyn RewardPolicy; 1] = [&policy];
    let believed = |it: &Audit| (it.believed_standings, it.believed_work, it.believed_policies);

    // Nothing is known: three devices, of which two had work when they first took part, and two settled epochs.
    let audits = story.audit(&story.files[2..]).await.unwrap();
    assert_eq!(audits.iter().map(believed).collect::<Vec<_>>(), [(3, 2, 1), (3, 2, 2), (3, 2, 2)]);
    assert!(audits.iter().all(|it| it.since == EpochId::new(2) && !it.is_complete()));
    assert!(audits[2].to_string().contains("taken from the record"), "{}", audits[2]);

    // The network's own word, which the record commits to: of who was new then, nothing is believed.
    let given = story.network.standings(EpochId::new(2)).await.unwrap();
    let mut row = story.row(&checks, &policies).begin_with(given.clone());
    assert_eq!(believed(&row.next(&story.files[2]).await.unwrap()), (2, 2, 1));

    // One's own: kept as bytes, read again, gone on with.
    let mut first = story.row(&checks, &policies);
    for file in &story.files[..2] {
        first.next(file).await.unwrap();
    }
    let mut kept = Vec::new();
    first.standings().unwrap().write(&mut kept).unwrap();
    let own = Standings::read(&kept[..]).unwrap();
    assert_eq!(own, given);
    let mut row = story.row(&checks, &policies).resume(own);
    for file in &story.files[2..] {
        let audit = row.next(file).await.unwrap();
        assert!(audit.is_complete() && audit.since == EpochId::new(2), "{audit}");
    }
    assert_eq!(row.standings(), Some(&story.network.standings(EpochId::new(5)).await.unwrap()));
}

#[tokio::test]
async fn a_gap_in_the_row_is_told_and_a_step_back_refused() {
    let (story, checks, policy) = (Story::plain().await, checks(), policy());
    let policies: [&dyn RewardPolicy; 1] = [&policy];
    let mut row = story.row(&checks, &policies);
    assert!(row.next(&story.files[0]).await.unwrap().is_complete());
    let after = row.next(&story.files[2]).await.unwrap();
    assert_eq!((after.since, after.believed_standings), (EpochId::new(2), 2));
    let kept = row.standings().unwrap().clone();
    assert!(kept.is_partial());
    let after = row.next(&story.files[3]).await.unwrap();
    assert_eq!((after.since, after.believed_standings), (EpochId::new(2), 3));
    let error = row.next(&story.files[1]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    // What was believed is not one's own for having been kept.
    for row in [
        story.row(&checks, &policies).resume(kept.clone()),
        story.row(&checks, &policies).begin_with(kept),
    ] {
        let audit = { row }.next(&story.files[3]).await.unwrap();
        assert!(audit.believed_standings > 0 && !audit.is_complete(), "{audit}");
    }
}

#[tokio::test]
async fn standings_of_another_time_or_network_or_with_a_device_less_begin_no_row() {
    let (story, other) = (Story::plain().await, Story::hours().await);
    let right = story.network.standings(EpochId::new(2)).await.unwrap();
    // The same epoch of another network of the same name.
    let error =
        story.refused(other.network.standings(EpochId::new(2)).await.unwrap(), &story.files[2]);
    assert!(error.await.to_string().contains("does not begin where"), "another network");
    let early = story.network.standings(EpochId::new(1)).await.unwrap();
    let (checks, policy) = (checks(), policy());
    let policies: [&dyn RewardPolicy; 1] = [&policy];
    // They are of an epoch before: a gap, and nothing of them counts.
    let audit =
        story.row(&checks, &policies).begin_with(early).next(&story.files[2]).await.unwrap();
    assert_eq!((audit.since, audit.believed_standings), (EpochId::new(2), 2));
    // A device less, with the root that these have then.
    let mut bytes = Vec::new();
    right.write(&mut bytes).unwrap();
    let less = without(&bytes, 1);
    let error = story.refused(Standings::read(&less[..]).unwrap(), &story.files[2]).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(
        error.to_string().contains("epoch=2") || error.to_string().contains("epoch: 2"),
        "{error}"
    );
}

/// Standings without one of their devices, in valid bytes.
fn without(bytes: &[u8], device: usize) -> Vec<u8> {
    use depin::data::merkle::{Accumulator, leaf_hash};
    let magic = b"depin standings v1\n".len();
    let (mut rest, mut entries) = (&bytes[magic..bytes.len() - 32], Vec::new());
    while !rest.is_empty() {
        let length = 4 + u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        entries.push(rest[4..length].to_vec());
        rest = &rest[length..];
    }
    entries.remove(1 + device);
    // The number of devices is the last byte of the head.
    *entries[0].last_mut().unwrap() -= 1;
    let (mut out, mut tree) = (bytes[..magic].to_vec(), Accumulator::new());
    for entry in &entries {
        out.extend((entry.len() as u32).to_be_bytes());
        out.extend(entry);
        tree.push(leaf_hash(entry));
    }
    [&out[..], tree.root().as_slice()].concat()
}

#[tokio::test]
async fn files_swapped_cut_or_of_another_network_are_refused_wherever_they_are_cut() {
    let (story, other) = (Story::plain().await, Story::hours().await);
    let [first, second] = [0, 1].map(|at| story.files[at].clone());
    let error = story.audit(&[second.clone(), first.clone()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    let error = story.audit(&[first.clone(), other.files[1].clone()]).await.unwrap_err();
    assert!(error.to_string().contains("not the one on chain"), "{error}");
    let (checks, policy) = (checks(), policy());
    let policies: [&dyn RewardPolicy; 1] = [&policy];
    let mut row = story.row(&checks, &policies);
    row.next(&first).await.unwrap();
    let (whole, cut) = (fs::read(&second).unwrap(), story.folder.path().join("cut"));
    for length in 0..whole.len() {
        fs::write(&cut, &whole[..length]).unwrap();
        let error = row.next(&cut).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Malformed),
            "{length}: {error}"
        );
    }
    // Whatever was refused, the row is where it was.
    assert!(row.next(&second).await.unwrap().is_complete());
}

/// An operator that leaves out where a device stood, and pays what it was paid for before: each file by itself is what
/// is on chain, and the row says which epoch, which device and what of it.
#[tokio::test]
async fn an_epoch_that_does_not_begin_where_the_one_before_ended_is_named() {
    for hide in [true, false] {
        let mut story = Story::begin(None).await;
        story.send(0, &[1, 2]).await;
        story.close().await;
        let (network, id) = (&story.network, EpochId::new(1));
        story.send(0, &[3]).await;
        let log = &**network.log();
        let right = network.standings(id).await.unwrap();
        let known = network.device(story.devices[0].did()).await.unwrap();
        let mut past = right.past(&known.did).unwrap().clone();
        past.latest = NOW;
        let did = known.did.clone();
        let member = Member {
            device: known.did,
            keys: vec![known.key],
            beneficiary: known.owner,
            past: Some(past),
        };
        let draft = EpochDraft::read(log, network.id(), id, 1..2).await.unwrap();
        // Whether it commits to what is right or to what it says does not help it.
        let draft = if hide { draft } else { draft.standings(&right) };
        let record = draft.close(vec![member], checks().names(), policy().name()).unwrap();
        let scored = score(log, &record, &checks()).await.unwrap();
        let allocation = policy().allocate(&scored.contributions).unwrap();
        let sealed = Sealed { record, statement: Statement::new(scored, allocation) };
        log.seal(id, sealed.to_bytes().unwrap().into()).await.unwrap();
        story.close().await;
        let alone = story.audit(&story.files[1..]).await.unwrap();
        assert_eq!((alone[0].believed_standings, alone[0].is_complete()), (1, false));
        let error = story.audit(&story.files).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        for words in ["the time of the latest reading", did.as_str(), "epoch"] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
