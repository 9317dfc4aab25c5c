//! A device's life: birth, enrollment, delegation, theft and rotation, revocation.
//!
//! Everything runs in this process: the chain, the network, the factory and the thief. Each chapter is a
//! function; copy those that your network needs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use depin::{
    Address, Algorithm, Device, DeviceStatus, EpochId, ErrorKind, Hardware, Network, NetworkId,
    Quantity, Reading, Result, Signer, SoftwareKey, Timestamp, Unverified, Verified,
    core::{
        document::Relationships,
        evidence::{Appraisal, Appraising, Challenge, Nonce},
    },
    dec,
    hw::{Policy, PsaVerifier, SIMULATED_INSECURE, SimulatedPebble},
    identity::{
        KeyRing, Period,
        birth::{Anchors, BirthCertificate, Model, ModelCertificate},
        delegation::{DelegationChain, Ownership, Scopes},
        keys::{Cost, FileKeyStore, KeyName, KeyStore, Passphrase},
        login::{Audience, Channel, LoginResponse, LoginService, Session, respond},
        methods::{io, key},
    },
    payment::ProRata,
    presets, tokens,
};
use rand::rngs::OsRng;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let network = Network::builder(presets::devnet().await?)
        .name("fleet")
        .rewards(ProRata::per_epoch(tokens(1_000)))
        .build()
        .await?;
    let home = tempfile::tempdir()?; // in production a folder that stays
    let passphrase = Passphrase::new("correct horse battery staple".into());
    let keys = FileKeyStore::open(home.path(), &passphrase, Cost::default(), OsRng)?;
    let chip = SimulatedPebble::new(7); // its root of trust; the device's own key is in the store

    let device_key = keys.generate(&KeyName::parse("device")?, Algorithm::Es256k)?;
    born(&network, &*device_key, &chip)?;

    // The next key is made now and kept away from the device: the registry holds only its hash.
    let next_key = keys.generate(&KeyName::parse("device-next")?, Algorithm::Es256k)?;
    let hardware =
        Hardware::new(device_key.clone(), chip.attester()).with_next_key(next_key.public_key());
    let device = enrolled(&network, hardware, &chip).await?;

    operated(&network, &device, &*device_key)?;
    logged_in(&network, &device, &*device_key)?;
    let device = stolen(&network, device, device_key, next_key).await?;
    paid(&network, &device).await?;
    revoked(&network, &device).await?;
    Ok(())
}

/// The factory certifies the device; years later anybody can verify that without a network.
fn born(network: &Network, device: &dyn Signer, chip: &SimulatedPebble) -> Result<()> {
    chapter("Birth");
    let now = network.clock().now();
    let maker = SoftwareKey::generate(Algorithm::Es256, &mut OsRng);
    let maker_did = key::did_key(maker.public_key());
    let line = SoftwareKey::generate(Algorithm::Es256, &mut OsRng);
    let year = Period::new(now, now.plus(Duration::from_secs(31_536_000)))?;
    let model = Model::new("Pebble", "rev C", line.public_key().clone(), year)?;
    let model = ModelCertificate::issue(&maker, &maker_did, &model)?;
    let appraisal = appraise(device, chip, now)?;
    let certificate = BirthCertificate::issue(&model, &line, device, &appraisal, now)?;
    println!("certificate of {} bytes: manufacturer, model, device", certificate.as_bytes().len());

    let anchors = Anchors::new().trust(maker_did, maker.public_key().clone(), Period::ALWAYS);
    let later = now.plus(Duration::from_secs(10 * 31_536_000));
    let birth = BirthCertificate::parse(certificate.as_bytes())?.verify(&anchors, later)?;
    println!("ten years on, offline: a {} {}, {:?}", birth.model.name(), birth.did, birth.tier);
    let stranger = refusal(certificate.verify(&Anchors::new(), later))?;
    println!("without trust in the maker: {}", stranger);
    Ok(())
}

/// What the factory's test bench asks the chip.
fn appraise(
    device: &dyn Signer,
    chip: &SimulatedPebble,
    now: Timestamp,
) -> Result<Verified<Appraisal>> {
    let challenge = Challenge {
        network: NetworkId::parse("factory")?,
        nonce: Nonce::new(rand::random()),
        did: io::did_io(device.public_key())?,
        key: device.public_key().clone(),
    };
    let verifier = PsaVerifier::new(Policy::default().allow_simulated(SIMULATED_INSECURE));
    let evidence = Unverified::new(chip.attester().attest(&challenge)?);
    evidence.verify(&Appraising { verifier: &verifier, challenge: &challenge, now })
}

/// On chain: device token, account, owner, the hash of the next key, and a name of the chip.
async fn enrolled(network: &Network, hardware: Hardware, chip: &SimulatedPebble) -> Result<Device> {
    chapter("Enrollment");
    let device = network.enroll(hardware, OWNER).await?;
    println!("{} belongs to {}", device.did(), device.owner());
    let other_key = Arc::new(SoftwareKey::generate(Algorithm::Es256k, &mut OsRng));
    let sybil = Hardware::new(other_key, chip.attester());
    let refused = refusal(network.enroll(sybil, OWNER).await)?;
    println!("the same chip under another key: {refused}");
    Ok(device)
}

/// The owner lets the device choose who maintains it; the device lets an operator in for an hour.
fn operated(network: &Network, device: &Device, device_key: &dyn Signer) -> Result<()> {
    chapter("Delegation");
    let now = Timestamp::from_secs(network.clock().now().secs()); // as exact as on chain
    let [owner, operator] = [(); 2].map(|()| SoftwareKey::generate(Algorithm::EdDsa, &mut OsRng));
    let did = |of: &SoftwareKey| key::did_key(of.public_key());
    let registered = Ownership { owner: did(&owner), device: device.did().clone() };
    let day = Period::new(now, now.plus(Duration::from_secs(86_400)))?;
    let hour = Period::new(now, now.plus(Duration::from_secs(3_600)))?;
    let rights = Scopes::OPERATE | Scopes::CONFIGURE | Scopes::DELEGATE;
    let chain =
        DelegationChain::start(network.id(), &owner, &registered, device.did(), rights, day)?
            .extend(device_key, &did(&operator), Scopes::OPERATE, hour)?;

    let mut ring = KeyRing::new();
    ring.insert(device.did(), device_key.public_key().clone(), Relationships::DELEGATION)?;
    let shown = DelegationChain::parse(chain.as_bytes(), network.id())?;
    let grant = shown.verify(&registered, &ring, &BTreeSet::new(), now)?;
    println!("the operator may: {}", grant.scopes);
    let late = refusal(shown.verify(&registered, &ring, &BTreeSet::new(), hour.until()))?;
    println!("an hour later: {}", late);
    let taken_back = BTreeSet::from([chain.hashes()[0]]);
    let revoked = refusal(shown.verify(&registered, &ring, &taken_back, now))?;
    println!("when the owner takes it back: {}", revoked);
    Ok(())
}

/// The device proves itself to a service once, on the channel it speaks over.
fn logged_in(network: &Network, device: &Device, device_key: &dyn Signer) -> Result<()> {
    chapter("Login");
    let now = network.clock().now();
    let audience = Audience::parse("https://updates.example")?;
    let channel = Channel::of(b"exported from the TLS session");
    let mut service = LoginService::new(network.id().clone(), audience.clone(), &mut OsRng);
    let challenge = service.challenge(&channel, &mut OsRng, now)?;
    let session = Session { network: network.id().clone(), audience, channel };
    let answer = respond(device_key, device.did(), &session, &challenge, now)?;

    let mut ring = KeyRing::new();
    ring.insert(device.did(), device_key.public_key().clone(), Relationships::AUTHENTICATION)?;
    let response = LoginResponse::parse(&answer, network.id())?;
    println!("let in: {}", service.accept(&response, &channel, &ring, now)?.device);
    let replayed = refusal(service.accept(&response, &channel, &ring, now))?;
    println!("the same answer again: {}", replayed);
    Ok(())
}

/// A thief has the device's key. He can lie until the owner rotates, and cannot rotate himself.
async fn stolen(
    network: &Network,
    device: Device,
    loot: Arc<dyn Signer>,
    next_key: Arc<dyn Signer>,
) -> Result<Device> {
    chapter("Theft and rotation");
    device.send(&[celsius(network, 18)]).await?;
    let thief = network.resume(Hardware::new(loot, SimulatedPebble::new(666).attester())).await?;
    let own_key = Arc::new(SoftwareKey::generate(Algorithm::Es256k, &mut OsRng));
    let refused = refusal(network.rotate(&thief, own_key, None).await)?;
    println!("the thief tries to take over: {refused}");

    let device = network.rotate(&device, next_key, None).await?;
    println!("the owner rotates: {} signs with its next key", device.did());
    let refused = refusal(thief.send(&[celsius(network, 99)]).await)?;
    println!("the thief sends a reading: {refused}");
    let receipt = device.send(&[celsius(network, 19)]).await?;
    println!("the device goes on: batch {} of the log", receipt.index);
    Ok(device)
}

/// Work from before and after the rotation is paid alike, and anybody can recompute it.
async fn paid(network: &Network, device: &Device) -> Result<()> {
    chapter("Payday");
    let epoch = network.close_epoch(EpochId::new(0)).await?;
    println!(
        "paid {} tokens; {}",
        network.claim(device.did()).await?,
        network.audit(epoch.id()).await?
    );
    Ok(())
}

/// The end: for this key, and for this chip.
async fn revoked(network: &Network, device: &Device) -> Result<()> {
    chapter("Revocation");
    network.set_status(device.did(), DeviceStatus::Revoked).await?;
    let refused = refusal(device.send(&[celsius(network, 20)]).await)?;
    println!("sending: {refused}");
    let resolved = refusal(network.resolver().resolve(device.did()).await)?;
    println!("resolving: {resolved}");
    let again = SimulatedPebble::new(7);
    let refused = refusal(network.enroll(again, OWNER).await)?;
    println!("coming back with the same chip: {refused}");
    Ok(())
}

fn celsius(network: &Network, degrees: i32) -> Reading {
    Reading::new(Quantity::new("temperature", "Cel"), dec(degrees), network.clock().now())
}

fn chapter(title: &str) {
    println!("\n{title}\n{}", "-".repeat(title.len()));
}

/// The reason of a refusal; that there was none is an error.
fn refusal<T, E>(outcome: std::result::Result<T, E>) -> Result<E> {
    let accepted = || depin::Error::new(ErrorKind::Corrupt, "this must have been refused");
    outcome.err().ok_or_else(accepted)
}

/// In production the owner's wallet.
const OWNER: Address = Address::repeat_byte(0xa1);
