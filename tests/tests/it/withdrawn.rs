//! Epochs that the arbiter rejected: withdrawn, closed again, and held against the ledger.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use depin::{
    Address, Algorithm, Amount, B256, Builder, Clock, Device, EpochId, Error, ErrorKind,
    ManualClock, Network, Quantity, Reading, Result, SoftwareKey, audit_row,
    core::{
        log::BatchLog,
        reward::{Commitment, RewardDistributor, RewardPolicy},
    },
    data::{
        epoch::{Checks, EpochDraft, Member, Sealed, Statement, Windows, Withdrawal, score},
        log::MemoryLog,
        quality::Bounds,
    },
    dec,
    devnet::Devnet,
    evm::Chain,
    hw::{Policy, PsaVerifier, SIMULATED_INSECURE, SimulatedPebble},
    payment::{MemoryLedger, ProRata},
    presets, tokens,
};
use tempfile::TempDir;

use crate::support::{Asked, NOW, Watched, owner};

mod beside;
mod meanwhile;

const FIRST: EpochId = EpochId::new(0);
const SECOND: EpochId = EpochId::new(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A ledger with an arbiter: what is published waits until he decides.
#[derive(Clone, Debug, Default)]
struct Judged {
    active: Arc<MemoryLedger>,
    waits: Arc<Mutex<Option<Commitment>>>,
}

impl Judged {
    async fn uphold(&self) {
        let waits = self.waits.lock().unwrap().take().unwrap();
        self.active.publish(&waits).await.unwrap();
    }

    fn reject(&self) {
        self.waits.lock().unwrap().take().unwrap();
    }
}

#[async_trait]
impl RewardDistributor for Judged {
    async fn publish(&self, commitment: &Commitment) -> Result<()> {
        if self.active.latest().await?.is_some_and(|latest| commitment.epoch <= latest) {
            return self.active.publish(commitment).await;
        }
        let mut waits = self.waits.lock().unwrap();
        if waits.is_some_and(|waits| waits != *commitment) {
            return Err(Error::new(ErrorKind::Conflict, "another epoch waits"));
        }
        *waits = Some(*commitment);
        Ok(())
    }

    async fn published(&self, epoch: EpochId) -> Result<Option<Commitment>> {
        let waits = self.waits.lock().unwrap().filter(|waits| waits.epoch == epoch);
        Ok(waits.or(self.active.published(epoch).await?))
    }

    async fn latest(&self) -> Result<Option<EpochId>> {
        self.active.latest().await
    }

    async fn last(&self) -> Result<Option<EpochId>> {
        let waits = self.waits.lock().unwrap().map(|waits| waits.epoch);
        Ok(self.active.last().await?.max(waits))
    }

    async fn claim(&self, account: Address, cumulative: Amount, proof: &[B256]) -> Result<Amount> {
        self.active.claim(account, cumulative, proof).await
    }

    async fn claimed(&self, account: Address) -> Result<Amount> {
        self.active.claimed(account).await
    }
}

/// What outlives the processes of a network: its chain, its ledger and its log.
struct World {
    devnet: Devnet,
    ledger: Judged,
    log: Arc<dyn BatchLog>,
    clock: Arc<ManualClock>,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            devnet: Devnet::start(),
            ledger: Judged::default(),
            log: Arc::new(MemoryLog::new()),
            clock: Arc::new(ManualClock::at(NOW)),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A process with a folder of this name; the first one deploys.
    async fn process(&self, name: &str, rules: impl FnOnce(Builder) -> Builder) -> Network {
        let (folder, file) = (self.folder.path().join(name), "deployment.json");
        fs::create_dir_all(&folder).unwrap();
        let _ = fs::copy(self.folder.path().join(file), folder.join(file));
        let chain = Chain::from_provider(self.devnet.provider(), self.devnet.account(0));
        let chain = chain.connect().await.unwrap();
        let verifier = PsaVerifier::new(Policy::default().allow_simulated(SIMULATED_INSECURE));
        let operator = SoftwareKey::from_seed(Algorithm::Es256k, [9; 32]);
        let preset = presets::chain(chain, &folder, verifier, operator).unwrap();
        let builder = Network::builder(preset)
            .name("story")
            .clock(self.clock.clone())
            .log(Watched(self.log.clone(), Asked::default()))
            .distributor(self.ledger.clone())
            .rewards(policy());
        let network = rules(builder).build().await.unwrap();
        fs::copy(folder.join(file), self.folder.path().join(file)).unwrap();
        network
    }

    /// A device measures this a minute later.
    async fn measures(&self, device: &Device, value: i32) {
        self.clock.set(self.clock.now().plus(Duration::from_secs(60)));
        let quantity = Quantity::new("temperature", "Cel");
        device.send(&[Reading::new(quantity, dec(value), self.clock.now())]).await.unwrap();
    }
}

fn policy() -> ProRata {
    ProRata::per_epoch(tokens(100))
}

fn bounds() -> Bounds {
    Bounds::new("temperature", "Cel", dec(-60)..=dec(60))
}

async fn enroll(network: &Network, number: u8) -> Device {
    network.enroll(SimulatedPebble::new(u64::from(number)), owner(number)).await.unwrap()
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// A network whose first epoch waits for the arbiter, and the device that worked in it.
async fn first_waits(world: &World) -> (Network, Device, Commitment) {
    let network = world.process("a", |it| it).await;
    let device = enroll(&network, 1).await;
    world.measures(&device, 20).await;
    let closed = network.close_epoch(FIRST).await.unwrap();
    (network, device, *closed.commitment())
}

#[tokio::test]
async fn a_rejected_epoch_is_judged_again_by_better_rules_and_the_network_goes_on() {
    let world = World::new();
    let careless = world.process("a", |it| it).await;
    let [honest, cheat] = [enroll(&careless, 1).await, enroll(&careless, 2).await];
    world.measures(&honest, 20).await;
    world.measures(&cheat, 900).await;
    let wrong = careless.close_epoch(FIRST).await.unwrap();
    assert_eq!(wrong.payout(cheat.did()), tokens(50));
    world.ledger.reject();

    // Started again with the check that was missing. What came meanwhile counts with the rest.
    let network = world.process("b", |it| it.check(bounds())).await;
    network.withdraw_epoch(FIRST).await.unwrap();
    assert!(network.latest_epoch().await.unwrap().is_none());
    world.measures(&honest, 21).await;
    let right = network.close_epoch(FIRST).await.unwrap();
    assert_eq!((right.payout(honest.did()), right.payout(cheat.did())), (tokens(100), 0.into()));
    assert_eq!(right.record().replaces(), Some(wrong.commitment().manifest));
    world.ledger.uphold().await;
    assert_eq!(network.claim(honest.did()).await.unwrap(), tokens(100));
    assert!(network.claim(cheat.did()).await.unwrap().is_zero());

    world.measures(&honest, 22).await;
    network.close_epoch(SECOND).await.unwrap();
    world.ledger.uphold().await;
    assert_eq!(network.claim(honest.did()).await.unwrap(), tokens(100));
    let mut found = 0;
    network.explain(FIRST, &mut |_, _| found += 1).await.unwrap();
    assert_eq!(found, 1, "the record that counts is explained");

    // Neither who has the log nor a stranger with files believes anything.
    let files = [FIRST, SECOND].map(|id| world.folder.path().join(id.to_string()));
    for (id, file) in [FIRST, SECOND].iter().zip(&files) {
        assert!(network.audit(*id).await.unwrap().is_complete());
        network.export_epoch(*id, file).await.unwrap();
    }
    let (registry, ledger) = (&**network.registry(), &**network.distributor());
    let checks = Checks::new().and([Arc::new(bounds()) as _], []);
    let audits = audit_row(&files, &checks, &[&policy()], registry, ledger).await.unwrap();
    assert!(audits.iter().all(depin::Audit::is_complete));
    assert_eq!(audits[0].replaces, Some(wrong.commitment().manifest));
    assert!(audits[0].to_string().ends_with("it replaces a withdrawn one"), "{}", audits[0]);
    assert_eq!(audits[1].replaces, None);
}

#[tokio::test]
async fn only_what_the_ledger_does_not_have_can_be_withdrawn_and_only_once() {
    let world = World::new();
    let (network, ..) = first_waits(&world).await;
    assert_eq!(kind(network.withdraw_epoch(SECOND).await), ErrorKind::NotFound, "still open");
    let waits = network.withdraw_epoch(FIRST).await.unwrap_err();
    assert_eq!(waits.kind(), ErrorKind::Conflict);
    assert!(waits.to_string().contains("reject it first"), "{waits}");
    world.ledger.reject();
    network.withdraw_epoch(FIRST).await.unwrap();
    assert_eq!(kind(network.withdraw_epoch(FIRST).await), ErrorKind::NotFound, "a second time");

    network.close_epoch(FIRST).await.unwrap();
    world.ledger.uphold().await;
    let pays = network.withdraw_epoch(FIRST).await.unwrap_err();
    assert_eq!(pays.kind(), ErrorKind::Conflict);
    assert!(pays.to_string().contains("it stays"), "{pays}");
    // Nor one that was sealed before one that pays.
    network.close_epoch(SECOND).await.unwrap();
    world.ledger.uphold().await;
    assert_eq!(kind(network.withdraw_epoch(FIRST).await), ErrorKind::Conflict);
    network.audit(SECOND).await.unwrap();
}

#[tokio::test]
async fn what_was_forgotten_cannot_be_judged_again() {
    let world = World::new();
    let (network, ..) = first_waits(&world).await;
    network.log().forget(1).await.unwrap();
    world.ledger.reject();
    let error = network.withdraw_epoch(FIRST).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("forgotten"), "{error}");
    assert!(network.epoch(FIRST).await.unwrap().is_some(), "nothing was withdrawn");
}

#[tokio::test]
async fn epochs_that_rest_on_a_withdrawn_one_go_with_it() {
    let world = World::new();
    let (network, device, _) = first_waits(&world).await;
    world.measures(&device, 21).await;
    assert_eq!(kind(network.close_epoch(SECOND).await), ErrorKind::Conflict, "sealed, and waits");
    let second = network.epoch(SECOND).await.unwrap().unwrap();
    world.ledger.reject();
    network.withdraw_epoch(FIRST).await.unwrap();
    assert!(network.epoch(SECOND).await.unwrap().is_none());

    let first = network.close_epoch(FIRST).await.unwrap();
    assert_eq!(first.record().range(), 0..2);
    world.ledger.uphold().await;
    world.measures(&device, 22).await;
    let again = network.close_epoch(SECOND).await.unwrap();
    assert_eq!(again.record().range(), 2..3);
    assert_eq!(again.record().replaces(), Some(second.commitment().manifest));
    world.ledger.uphold().await;
    network.audit(SECOND).await.unwrap();
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(200));
}

/// Three hours, of which the first one settles with the second, and the second with the third.
async fn three_hours(rejected: bool) -> Vec<Vec<Amount>> {
    let world = World::new();
    let windows = Windows::new(NOW, HOUR, HOUR / 6).unwrap().settling(1);
    let network =
        world.process("a", |it| it.windows(windows).rewards(policy().reserve(2_000))).await;
    let [a, b] = [enroll(&network, 1).await, enroll(&network, 2).await];
    let at = |minutes: u64| NOW.plus(Duration::from_secs(60 * minutes));
    let mut paid = Vec::new();
    for hour in 0..3 {
        world.clock.set(at(60 * hour + 9));
        world.measures(&a, 20).await;
        // This one is offline for half an hour after each, and sends what it measured then.
        if hour > 0 {
            let quantity = Quantity::new("temperature", "Cel");
            let late = [60 * hour - 20, 60 * hour + 5].map(at);
            let late = late.map(|at| Reading::new(quantity.clone(), dec(20), at));
            b.send(&late).await.unwrap();
        }
        world.clock.set(at(60 * hour + 71));
        let id = EpochId::new(hour);
        let mut closed = network.close_epoch(id).await.unwrap();
        if rejected {
            world.ledger.reject();
            network.withdraw_epoch(id).await.unwrap();
            let again = network.close_epoch(id).await.unwrap();
            assert_eq!(again.record().replaces(), Some(closed.commitment().manifest));
            closed = again;
        }
        world.ledger.uphold().await;
        network.audit(id).await.unwrap();
        paid.push(closed.payouts().iter().map(|payout| payout.amount).collect());
    }
    let total = network.token().supply().await.unwrap();
    assert!(total.is_zero(), "this ledger has a token of its own");
    paid
}

#[tokio::test]
async fn late_work_and_reserves_are_paid_as_if_nothing_had_been_withdrawn() {
    let paid = three_hours(false).await;
    assert!(paid.iter().skip(1).all(|epoch| epoch.len() == 2), "{paid:?}");
    assert_eq!(three_hours(true).await, paid);
}

#[tokio::test]
async fn other_processes_follow_a_withdrawal() {
    let world = World::new();
    let (one, device, wrong) = first_waits(&world).await;
    let other = world.process("b", |it| it).await;
    assert_eq!(other.latest_epoch().await.unwrap().unwrap().root(), wrong.root);
    world.ledger.reject();
    one.withdraw_epoch(FIRST).await.unwrap();
    assert_eq!(other.readiness().await.unwrap().0, FIRST);
    let again = other.close_epoch(FIRST).await.unwrap();
    world.ledger.uphold().await;
    assert_eq!(one.epoch(FIRST).await.unwrap().unwrap().commitment(), again.commitment());
    world.measures(&device, 21).await;
    one.close_epoch(SECOND).await.unwrap();
    world.ledger.uphold().await;
    other.audit(SECOND).await.unwrap();
}

/// Another process was publishing what is withdrawn, and the arbiter let it pass.
#[tokio::test]
async fn what_the_ledger_took_after_all_is_restored() {
    let world = World::new();
    let (network, device, stale) = first_waits(&world).await;
    world.ledger.reject();
    network.withdraw_epoch(FIRST).await.unwrap();
    world.ledger.publish(&stale).await.unwrap();
    world.ledger.uphold().await;
    let error = network.audit(FIRST).await.unwrap_err();
    assert!(error.to_string().contains("restores it"), "{error}");

    world.measures(&device, 21).await;
    let restored = network.close_epoch(FIRST).await.unwrap();
    assert_eq!(restored.commitment(), &stale);
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(100));
    network.close_epoch(SECOND).await.unwrap();
    world.ledger.uphold().await;
    for id in [FIRST, SECOND] {
        assert_eq!(network.audit(id).await.unwrap().replaces, None);
    }
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(100));
}

/// The same, when the withdrawn one has a successor already.
#[tokio::test]
async fn what_the_ledger_took_after_all_replaces_its_successor() {
    let world = World::new();
    let (network, device, stale) = first_waits(&world).await;
    world.ledger.reject();
    network.withdraw_epoch(FIRST).await.unwrap();
    network.close_epoch(FIRST).await.unwrap();
    world.ledger.reject();
    world.ledger.publish(&stale).await.unwrap();
    world.ledger.uphold().await;

    let error = network.close_epoch(SECOND).await.unwrap_err();
    assert!(error.to_string().contains("restores it"), "{error}");
    assert_eq!(kind(network.audit(FIRST).await), ErrorKind::Corrupt);
    network.withdraw_epoch(FIRST).await.unwrap();
    assert_eq!(network.close_epoch(FIRST).await.unwrap().commitment(), &stale);
    world.measures(&device, 21).await;
    network.close_epoch(SECOND).await.unwrap();
    world.ledger.uphold().await;
    network.audit(SECOND).await.unwrap();
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(200));
}

/// The same, when the successor was never published, and while the withdrawn one still waits for its window.
#[tokio::test]
async fn nothing_is_built_beside_what_the_ledger_took_after_all() {
    let world = World::new();
    let (network, device, stale) = first_waits(&world).await;
    world.ledger.reject();
    network.withdraw_epoch(FIRST).await.unwrap();
    world.measures(&device, 21).await;
    network.close_epoch(FIRST).await.unwrap();
    world.ledger.reject();
    world.ledger.publish(&stale).await.unwrap();

    world.measures(&device, 22).await;
    for id in [SECOND, FIRST] {
        let error = network.close_epoch(id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert!(error.to_string().contains("restores it"), "{error}");
    }
    assert!(network.epoch(SECOND).await.unwrap().is_none(), "nothing is sealed on top");
    network.withdraw_epoch(FIRST).await.unwrap();
    assert_eq!(network.close_epoch(FIRST).await.unwrap().commitment(), &stale);
    world.ledger.uphold().await;
    network.close_epoch(SECOND).await.unwrap();
    world.ledger.uphold().await;
    network.audit(SECOND).await.unwrap();
    assert_eq!(network.claim(device.did()).await.unwrap(), tokens(200));
}

/// Processes end right after a withdrawal; their kept books go beyond the epoch that was withdrawn.
#[tokio::test]
async fn a_network_that_ended_after_a_withdrawal_goes_on_from_it() {
    let world = World::new();
    let third = EpochId::new(2);
    let (root, manifest) = {
        let network = world.process("a", |it| it).await;
        let device = enroll(&network, 1).await;
        let mut standing = None;
        for number in 0..10 {
            world.measures(&device, 20).await;
            let _ = network.close_epoch(EpochId::new(number)).await;
            if number < 2 {
                world.ledger.uphold().await;
                standing = network.latest_epoch().await.unwrap();
            }
        }
        assert!(world.folder.path().join("a/books").exists(), "books of eight epochs");
        let wrong = network.epoch(third).await.unwrap().unwrap();
        world.ledger.reject();
        network.withdraw_epoch(third).await.unwrap();
        (standing.unwrap().root(), wrong.commitment().manifest)
    };
    // With the kept books, and with none.
    for name in ["a", "b"] {
        let network = world.process(name, |it| it).await;
        let latest = network.latest_epoch().await.unwrap().unwrap();
        assert_eq!((latest.id(), latest.root()), (SECOND, root));
    }
    let network = world.process("a", |it| it).await;
    let again = network.close_epoch(third).await.unwrap();
    assert_eq!((again.record().range(), again.record().replaces()), (2..10, Some(manifest)));
    world.ledger.uphold().await;
    for number in 3..12 {
        network.close_epoch(EpochId::new(number)).await.unwrap();
        world.ledger.uphold().await;
    }
    // The books that are kept by now know where each epoch is.
    for name in ["a", "b"] {
        let network = world.process(name, |it| it).await;
        assert!(network.audit(EpochId::new(11)).await.unwrap().is_complete());
    }
}

/// An operator that withdraws what its devices have been promised is found out.
#[tokio::test]
async fn an_audit_finds_a_withdrawal_of_what_the_ledger_has() {
    let world = World::new();
    let (network, _, taken) = first_waits(&world).await;
    world.ledger.uphold().await;
    let (epoch, manifest, root) = (FIRST, taken.manifest, taken.root);
    let invented = Withdrawal { network: network.id().clone(), epoch, manifest, root };
    world.log.seal(SECOND, invented.to_bytes().into()).await.unwrap();
    let error = network.audit(FIRST).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    // Also when the log goes on with another epoch, which somebody else's ledger took.
    let elsewhere = World { ledger: Judged::default(), ..world };
    elsewhere.process("b", |it| it.check(bounds())).await.close_epoch(FIRST).await.unwrap();
    assert_eq!(network.epoch(FIRST).await.unwrap().unwrap().record().checks().len(), 1);
    let error = network.audit(FIRST).await.unwrap_err();
    assert!(error.to_string().contains("withdraws an epoch"), "{error}");
}

#[tokio::test]
async fn a_withdrawal_of_what_the_log_does_not_have_is_refused() {
    let manifests = [None, Some(B256::repeat_byte(7))];
    for (name, epoch, manifest) in
        [("story", 0, manifests[1]), ("story", 1, None), ("story", 9, None), ("other", 0, None)]
    {
        let world = World::new();
        let (network, _, closed) = first_waits(&world).await;
        let invented = Withdrawal {
            network: depin::NetworkId::parse(name).unwrap(),
            epoch: EpochId::new(epoch),
            manifest: manifest.unwrap_or(closed.manifest),
            root: closed.root,
        };
        world.log.seal(SECOND, invented.to_bytes().into()).await.unwrap();
        assert_eq!(kind(network.latest_epoch().await), ErrorKind::Corrupt, "{invented:?}");
        let fresh = world.process("b", |it| it).await;
        assert_eq!(kind(fresh.close_epoch(SECOND).await), ErrorKind::Corrupt, "{invented:?}");
    }
}

/// That an epoch was withdrawn goes on chain with its successor, or an audit says so.
#[tokio::test]
async fn an_audit_finds_an_epoch_that_hides_what_it_replaces() {
    let world = World::new();
    let (network, device, _) = first_waits(&world).await;
    world.ledger.reject();
    network.withdraw_epoch(FIRST).await.unwrap();
    let known = network.device(device.did()).await.unwrap();
    let member =
        Member { device: known.did, keys: vec![known.key], beneficiary: known.owner, past: None };
    let draft = EpochDraft::read(&*world.log, network.id(), FIRST, 0..1).await.unwrap();
    let record = draft.close(vec![member], Vec::new(), policy().name()).unwrap();
    let scored = score(&*world.log, &record, &Checks::new()).await.unwrap();
    let allocation = policy().allocate(&scored.contributions).unwrap();
    let sealed = Sealed { record, statement: Statement::new(scored, allocation) };
    let place = EpochId::new(2);
    world.log.seal(place, sealed.to_bytes().unwrap().into()).await.unwrap();
    network.close_epoch(FIRST).await.unwrap();
    world.ledger.uphold().await;
    let error = network.audit(FIRST).await.unwrap_err();
    assert!(error.to_string().contains("does not name"), "{error}");
}
