//! What goes wrong between the steps of a journey, and who might lie about one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use async_trait::async_trait;
use depin::{
    Address, Algorithm, Amount, Answer, B256, Builder, Did, EpochId, Error, ErrorKind, Hardware,
    ManualClock, Network, Quantity, Reading, Result, Sequence, SignedBatch, Signer, SoftwareKey,
    Timestamp, Verified,
    core::{
        evidence::{Attester, Challenge, Evidence},
        log::NewBatch,
        quality::Contributions,
        registry::DeviceStatus,
        reward::{Allocation, Commitment, RewardDistributor, RewardPolicy},
        transport::{Standing, Transport},
    },
    data::{
        batch::{self, BatchVerifier, Link},
        epoch::{Checks, EpochDraft, EpochRecord, Member, Sealed, Statement, score},
        log::RedbLog,
        transport::InProcess,
    },
    dec,
    hw::SimulatedPebble,
    identity::methods::io,
    payment::{MemoryLedger, ProRata},
    presets, tokens,
};
use tokio::task::JoinSet;

use crate::support::{NOW, celsius, later, owner};

const FIRST: EpochId = EpochId::new(0);
const SECOND: EpochId = EpochId::new(1);

async fn builder() -> Builder {
    Network::builder(presets::devnet().await.unwrap())
        .name("story")
        .clock(Arc::new(ManualClock::at(NOW)))
        .rewards(ProRata::per_epoch(tokens(100)))
}

/// A ledger that does not take epochs while it is down, and counts how often it is asked for one.
#[derive(Debug)]
struct Moody(MemoryLedger, Arc<AtomicBool>, Arc<AtomicU32>);

#[async_trait]
impl RewardDistributor for Moody {
    async fn publish(&self, commitment: &Commitment) -> Result<()> {
        if self.1.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the ledger is down"));
        }
        self.0.publish(commitment).await
    }

    async fn published(&self, epoch: EpochId) -> Result<Option<Commitment>> {
        self.2.fetch_add(1, Ordering::SeqCst);
        self.0.published(epoch).await
    }

    async fn latest(&self) -> Result<Option<EpochId>> {
        self.0.latest().await
    }

    async fn last(&self) -> Result<Option<EpochId>> {
        self.0.last().await
    }

    async fn claim(&self, account: Address, cumulative: Amount, proof: &[B256]) -> Result<Amount> {
        self.0.claim(account, cumulative, proof).await
    }

    async fn claimed(&self, account: Address) -> Result<Amount> {
        self.0.claimed(account).await
    }
}

#[tokio::test]
async fn a_sealed_epoch_that_was_not_published_is_published_before_the_next() {
    let down = Arc::new(AtomicBool::new(false));
    let ledger = Moody(MemoryLedger::default(), down.clone(), Arc::default());
    let network = builder().await.distributor(ledger).build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();

    down.store(true, Ordering::SeqCst);
    let error = network.close_epoch(FIRST).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let early = network.claim(device.did()).await.unwrap();
    assert!(early.is_zero(), "nothing is published, so nothing is due");

    down.store(false, Ordering::SeqCst);
    device.send(&[later(21)]).await.unwrap();
    network.close_epoch(SECOND).await.unwrap();
    for epoch in [FIRST, SECOND] {
        network.audit(epoch).await.unwrap();
    }
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(200));
}

#[tokio::test]
async fn what_was_published_can_be_claimed_while_a_later_epoch_waits() {
    let down = Arc::new(AtomicBool::new(false));
    let ledger = Moody(MemoryLedger::default(), down.clone(), Arc::default());
    let network = builder().await.distributor(ledger).build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    network.close_epoch(FIRST).await.unwrap();

    down.store(true, Ordering::SeqCst);
    device.send(&[later(21)]).await.unwrap();
    network.close_epoch(SECOND).await.unwrap_err();
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(100));
}

/// A ledger that was down for long is not asked for each number that it missed.
#[tokio::test]
async fn what_a_ledger_is_asked_before_an_epoch_is_sealed_does_not_grow_with_what_waits() {
    let (down, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let ledger = Moody(MemoryLedger::default(), down.clone(), asked.clone());
    let network = builder().await.distributor(ledger).build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let mut questions = Vec::new();
    for epoch in 0..8 {
        let error = network.close_epoch(EpochId::new(epoch)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{epoch}: {error}");
        questions.push(asked.swap(0, Ordering::SeqCst));
    }
    assert_eq!(questions[7], questions[1], "{questions:?}");
    down.store(false, Ordering::SeqCst);
    network.close_epoch(EpochId::new(8)).await.unwrap();
    network.audit(EpochId::new(7)).await.unwrap();
}

/// A policy that cannot decide for a while.
#[derive(Debug)]
struct Undecided(ProRata, Arc<AtomicBool>);

impl RewardPolicy for Undecided {
    fn name(&self) -> String {
        self.0.name()
    }

    fn allocate(&self, work: &Verified<Contributions>) -> Result<Allocation> {
        if self.1.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Overflow, "the policy cannot decide"));
        }
        self.0.allocate(work)
    }
}

#[tokio::test]
async fn what_cannot_be_shared_out_is_not_sealed() {
    let undecided = Arc::new(AtomicBool::new(true));
    let policy = Undecided(ProRata::per_epoch(tokens(100)), undecided.clone());
    let network = builder().await.rewards(policy).build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();

    network.close_epoch(FIRST).await.unwrap_err();
    assert_eq!(network.log().sealed(FIRST).await.unwrap(), None);

    undecided.store(false, Ordering::SeqCst);
    network.close_epoch(FIRST).await.unwrap();
    network.audit(FIRST).await.unwrap();
}

/// Seals a record with what comes out of it, behind the back of the network.
async fn seal(network: &Network, record: EpochRecord) {
    let (log, epoch) = (&**network.log(), record.epoch());
    let scored = score(log, &record, &Checks::new()).await.unwrap();
    let allocation = ProRata::per_epoch(tokens(100)).allocate(&scored.contributions).unwrap();
    let sealed = Sealed { record, statement: Statement::new(scored, allocation) };
    log.seal(epoch, sealed.to_bytes().unwrap().into()).await.unwrap();
}

/// An operator with the log in hand can write whatever it likes, but not into the registry.
#[tokio::test]
async fn an_audit_finds_devices_that_the_operator_invented() {
    let network = builder().await.build().await.unwrap();
    let key = SoftwareKey::from_seed(Algorithm::Es256k, [9; 32]);
    let (device, start) = (io::did_io(key.public_key()).unwrap(), Sequence::new(0));
    let batch =
        batch::seal(&key, &device, network.id(), start, B256::ZERO, &[celsius(20)]).unwrap();
    let new = NewBatch {
        device: device.clone(),
        sequence: start,
        previous: B256::ZERO,
        covers: None,
        received: NOW,
        batch,
    };
    network.log().append(new).await.unwrap();
    let draft = EpochDraft::read(&**network.log(), network.id(), FIRST, 0..1).await.unwrap();
    let member =
        Member { device, keys: vec![key.public_key().clone()], beneficiary: owner(6), past: None };
    let policy = ProRata::per_epoch(tokens(100)).name();
    let record = draft.close(vec![member], Vec::new(), policy).unwrap();
    seal(&network, record).await;

    network.close_epoch(FIRST).await.unwrap();
    let error = network.audit(FIRST).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("registry"), "{error}");
}

/// Appends a batch of the device under another name, behind the back of ingest, and seals epochs.
async fn forge(network: &Network, epochs: &[std::ops::Range<u64>]) {
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let entries = network.log().read(0, 1).await.unwrap();
    let again = NewBatch {
        device: "did:example:nobody".parse().unwrap(),
        sequence: Sequence::new(0),
        previous: B256::ZERO,
        covers: None,
        received: NOW,
        batch: entries[0].batch.clone(),
    };
    network.log().append(again).await.unwrap();
    let record = network.device(device.did()).await.unwrap();
    let member = Member {
        device: record.did,
        keys: vec![record.key],
        beneficiary: record.owner,
        past: None,
    };
    for (number, range) in (0..).zip(epochs) {
        let (log, epoch) = (&**network.log(), EpochId::new(number));
        let draft = EpochDraft::read(log, network.id(), epoch, range.clone()).await.unwrap();
        let policy = ProRata::per_epoch(tokens(100)).name();
        let record = draft.close(vec![member.clone()], Vec::new(), policy).unwrap();
        seal(network, record).await;
        network.close_epoch(epoch).await.unwrap();
    }
}

#[tokio::test]
async fn an_audit_finds_a_statement_that_pays_what_nobody_earned() {
    let network = builder().await.build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    let log = &**network.log();
    let draft = EpochDraft::read(log, network.id(), FIRST, 0..1).await.unwrap();
    let known = network.device(device.did()).await.unwrap();
    let member =
        Member { device: known.did, keys: vec![known.key], beneficiary: known.owner, past: None };
    let policy = ProRata::per_epoch(tokens(100));
    let record = draft.close(vec![member], Vec::new(), policy.name()).unwrap();
    let scored = score(log, &record, &Checks::new()).await.unwrap();
    let mut allocation = policy.allocate(&scored.contributions).unwrap();
    allocation.payouts[0].amount = tokens(101);
    allocation.emission = tokens(101);
    let sealed = Sealed { record, statement: Statement::new(scored, allocation) };
    log.seal(FIRST, sealed.to_bytes().unwrap().into()).await.unwrap();
    assert_eq!(network.close_epoch(FIRST).await.unwrap().emission(), tokens(101));
    let error = network.audit(FIRST).await.unwrap_err();
    assert!(error.to_string().contains("not the one on chain"), "{error}");
}

#[tokio::test]
async fn an_audit_finds_a_batch_that_counts_in_two_epochs() {
    let network = builder().await.build().await.unwrap();
    forge(&network, &[0..1, 1..2]).await;
    network.audit(FIRST).await.unwrap();
    let error = network.audit(SECOND).await.unwrap_err();
    assert!(error.to_string().contains("where its device stood"), "{error}");
}

#[tokio::test]
async fn an_audit_finds_batches_left_out_before_the_first_epoch() {
    let network = builder().await.build().await.unwrap();
    forge(&network, std::slice::from_ref(&(1..2))).await;
    let error = network.audit(FIRST).await.unwrap_err();
    assert!(error.to_string().contains("leaves out"), "{error}");
}

#[tokio::test]
async fn a_log_of_another_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = async |name: &str| {
        let log = RedbLog::open(folder.path().join("log")).unwrap();
        builder().await.name(name).log(log).build().await.unwrap()
    };
    open("story").await.close_epoch(FIRST).await.unwrap();
    let error = open("history").await.close_epoch(SECOND).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn a_device_that_the_registry_forgot_enrolls_again_and_continues_its_chain() {
    let folder = tempfile::tempdir().unwrap();
    for sent in 0..2 {
        let log = RedbLog::open(folder.path().join("log")).unwrap();
        let network = builder().await.log(log).build().await.unwrap();
        let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
        assert_eq!(device.send(&[celsius(20)]).await.unwrap().index, sent);
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_for_good_can_be_given_up() {
    let network = builder().await.build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let wrong = Timestamp::from_secs(NOW.secs() * 2);
    let wrong = Reading::new(Quantity::new("temperature", "Cel"), dec(20), wrong);
    let error = device.send(std::slice::from_ref(&wrong)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    device.send(&[later(21)]).await.unwrap_err();

    let hash = device.pending().await.unwrap()[0].hash();
    assert!(error.to_string().contains(&hash.to_string()), "{error}");
    assert_eq!(device.discard(hash).await.unwrap(), [wrong]);
    let receipt = device.flush().await.unwrap();
    assert_eq!(receipt.map(|receipt| receipt.index), Some(1), "after the marker of the gap");
}

/// A transport that loses every answer.
#[derive(Debug)]
struct Lossy(InProcess);

#[async_trait]
impl Transport for Lossy {
    async fn send(&self, batch: &SignedBatch) -> Result<Answer> {
        self.0.send(batch).await?;
        Err(Error::unavailable("the answer was lost"))
    }

    async fn standing(&self, device: &Did, signer: &dyn Signer) -> Result<Standing> {
        self.0.standing(device, signer).await
    }
}

#[tokio::test]
async fn a_batch_that_may_be_stored_is_not_given_up() {
    let network = builder().await.build().await.unwrap();
    let device = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let lossy = device.clone().over(Lossy(InProcess::new(network.ingest().clone())));
    lossy.send(&[celsius(20)]).await.unwrap_err();
    let stored = device.pending().await.unwrap()[0].hash();

    network.registry().set_status(device.did(), DeviceStatus::Suspended).await.unwrap();
    network.ingest().forget(device.did());
    assert_eq!(device.discard(stored).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(device.pending().await.unwrap().is_empty(), "its receipt was there for the asking");
    device.send(&[later(21)]).await.unwrap_err();

    network.registry().set_status(device.did(), DeviceStatus::Active).await.unwrap();
    network.ingest().forget(device.did());
    assert_eq!(device.flush().await.unwrap().map(|receipt| receipt.index), Some(1));
}

/// A transport that reaches nobody.
#[derive(Debug)]
pub(crate) struct Offline;

#[async_trait]
impl Transport for Offline {
    async fn send(&self, _: &SignedBatch) -> Result<Answer> {
        Err(Error::unavailable("no network"))
    }

    async fn standing(&self, _: &Did, _: &dyn Signer) -> Result<Standing> {
        Err(Error::unavailable("no network"))
    }
}

#[tokio::test]
async fn what_a_device_keeps_in_a_folder_is_sent_after_its_restart() {
    let (network, folder) = (builder().await.build().await.unwrap(), tempfile::tempdir().unwrap());
    let pebble = || SimulatedPebble::new(1);
    let hardware = || Hardware::from(pebble()).kept_in(folder.path().join("new")).salted();
    let device = network.enroll(hardware(), owner(1)).await.unwrap();
    let lossy = device.clone().over(Lossy(InProcess::new(network.ingest().clone())));
    lossy.send(&[celsius(20)]).await.unwrap_err();
    let offline = device.clone().over(Offline);
    offline.send(&[later(21)]).await.unwrap_err();
    let in_use = network.resume(hardware()).await.unwrap_err();
    assert_eq!(in_use.kind(), ErrorKind::Conflict);
    drop((device, lossy, offline));

    let device = network.resume(hardware()).await.unwrap();
    assert_eq!(device.pending().await.unwrap().len(), 1, "the log holds the first");
    assert_eq!(device.flush().await.unwrap().map(|receipt| receipt.index), Some(1));
    let verifier = BatchVerifier::new(network.id(), pebble().signer().public_key());
    for entry in network.log().read(0, 9).await.unwrap() {
        let Link::Batch(batch) = verifier.link(&entry.batch).unwrap() else { panic!("a batch") };
        assert!(batch.salt_seed.is_some());
    }

    // The folder is lost: the device goes on where the log stands.
    drop(device);
    std::fs::remove_dir_all(folder.path().join("new")).unwrap();
    let device = network.resume(hardware()).await.unwrap();
    assert_eq!(device.send(&[later(22)]).await.unwrap().index, 2);
}

/// Hardware that never answers.
#[derive(Debug)]
struct Silent;

impl Attester for Silent {
    fn attest(&self, _: &Challenge) -> Result<Evidence> {
        Err(Error::unavailable("the hardware does not answer"))
    }
}

#[tokio::test]
async fn hardware_that_never_answers_does_not_keep_others_out() {
    const MORE_THAN_NONCES: usize = 10_001;
    let network = builder().await.build().await.unwrap();
    let key = Arc::new(SoftwareKey::from_seed(Algorithm::Es256k, [9; 32]));
    for _ in 0..MORE_THAN_NONCES {
        let silent = Hardware::new(key.clone(), Arc::new(Silent));
        network.enroll(silent, owner(1)).await.unwrap_err();
    }
    network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_enroll_at_once_all_survive_a_restart() {
    const DEVICES: u64 = 12;
    let folder = tempfile::tempdir().unwrap();
    let open = async || {
        Network::builder(presets::devnet_at(folder.path()).await.unwrap())
            .name("story")
            .rewards(ProRata::per_epoch(tokens(100)))
            .build()
            .await
            .unwrap()
    };
    let network = open().await;
    let mut enrolling = JoinSet::new();
    for number in 0..DEVICES {
        let network = network.clone();
        enrolling.spawn(async move {
            network.enroll(SimulatedPebble::new(number), owner(1)).await.unwrap();
        });
    }
    enrolling.join_all().await;
    drop(network);
    let network = open().await;
    for number in 0..DEVICES {
        network.resume(SimulatedPebble::new(number)).await.unwrap();
    }
}
