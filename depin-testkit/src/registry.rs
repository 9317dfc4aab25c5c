//! Conformance of [`DeviceRegistry`].
//!
//! The attacks on consent use signers that are honest about their key and dishonest about what they
//! sign: one lends a signature that it made for another enrolment, one signs with a second key.

use std::sync::Mutex;

use depin_core::{
    Address, Algorithm, B256, Did, Error, ErrorKind, NetworkId, PublicKey, Result, Signature,
    Signer, SoftwareKey, Timestamp, Unverified, Verified,
    evidence::{Appraisal, Appraising, Challenge, Evidence, EvidenceVerifier, Nonce, TrustTier},
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment, OwnFault},
};

/// Runs every clause of the contract with fresh devices, so it can run again on the same ledger.
///
/// `open` opens the same ledger every time it is called, as after a restart. `algorithm` is that of the
/// devices' keys, and `identity` names the DID that the registry expects of a key.
///
/// # Panics
/// When a clause does not hold.
pub async fn conforms<R: DeviceRegistry>(
    open: impl AsyncFn() -> R,
    algorithm: Algorithm,
    identity: impl Fn(&PublicKey) -> Did,
) {
    let fleet = Fleet { algorithm, identity: &identity };
    let registry = open().await;
    finds_what_was_registered(&registry, &open, &fleet).await;
    refuses_a_second_registration(&registry, &fleet).await;
    refuses_a_signer_with_another_key(&registry, &fleet).await;
    refuses_borrowed_signatures(&registry, &fleet).await;
    registers_several_at_once(&registry, &fleet).await;
    knows_no_strangers(&registry, &fleet).await;
    keeps_the_revoked_out(&registry, &fleet).await;
    admits_each_hardware_once(&registry, &fleet).await;
    keeps_or_refuses_a_next_key(&registry, &fleet).await;
    rotates_to_the_committed_key_alone(&registry, &fleet).await;
}

/// A verified appraisal of simulated hardware, for tests that need something to register.
///
/// It attests nothing: whoever calls this is the hardware, the verifier and the policy.
pub fn enrolment(did: &Did, key: &PublicKey, owner: Address) -> Enrolment {
    let challenge = Challenge {
        network: NetworkId::parse("conformance").expect("invariant: a valid network name"),
        nonce: Nonce::new(rand::random()),
        did: did.clone(),
        key: key.clone(),
    };
    let evidence = Evidence { format: "application/x-conformance".into(), bytes: vec![1] };
    let now = Timestamp::from_secs(1_700_000_000);
    let appraising = Appraising { verifier: &Believer, challenge: &challenge, now };
    let appraisal = Unverified::new(evidence).verify(&appraising);
    let appraisal: Verified<Appraisal> = appraisal.expect("invariant: the believer believes");
    Enrolment::new(appraisal, owner).document(B256::new(rand::random()), "")
}

#[derive(Debug)]
struct Believer;

impl EvidenceVerifier for Believer {
    fn appraise(&self, e: &Evidence, challenge: &Challenge, now: Timestamp) -> Result<Appraisal> {
        let hardware = challenge.key.to_bytes();
        let tier = TrustTier::Simulated;
        Ok(Appraisal::new(challenge.clone(), e, hardware, "conformance".into(), tier, now))
    }
}

struct Fleet<'a> {
    algorithm: Algorithm,
    identity: &'a dyn Fn(&PublicKey) -> Did,
}

impl Fleet<'_> {
    fn device(&self) -> (Did, SoftwareKey) {
        let key = SoftwareKey::generate(self.algorithm, &mut rand::thread_rng());
        ((self.identity)(key.public_key()), key)
    }

    fn candidate(&self) -> (Enrolment, SoftwareKey) {
        let (did, key) = self.device();
        let enrolment = enrolment(&did, key.public_key(), Address::new(rand::random()));
        (enrolment, key)
    }
}

fn did(enrolment: &Enrolment) -> &Did {
    &enrolment.appraisal.challenge.did
}

fn agrees(record: &DeviceRecord, enrolment: &Enrolment) {
    assert_eq!(record.did, *did(enrolment), "clause 1: the did is recorded");
    assert_eq!(record.key, enrolment.appraisal.challenge.key, "clause 1: the key is recorded");
    assert_eq!(record.owner, enrolment.owner, "clause 1: the owner is recorded");
    assert_eq!(record.status, DeviceStatus::Active, "clause 1: a new device is active");
    assert_eq!(record.document_hash, enrolment.document_hash, "clause 1: the document's hash");
    assert_eq!(record.document_uri, enrolment.document_uri, "clause 1: the document's place");
    assert_eq!(record.appraisal, enrolment.appraisal.hash(), "clause 1: the appraisal's hash");
    assert_eq!(record.next_key, enrolment.next_key, "clause 1: the next key is recorded");
    assert_eq!(record.nullifier, enrolment.nullifier, "clause 1: the nullifier is recorded");
}

async fn finds_what_was_registered<R: DeviceRegistry>(
    registry: &R,
    open: &impl AsyncFn() -> R,
    fleet: &Fleet<'_>,
) {
    let (enrolment, key) = fleet.candidate();
    let hash = enrolment.document_hash;
    let enrolment =
        enrolment.document(hash, "https://example.org/a%20%22document%22/%C3%A9?of=1#it");
    let record = registry.register(&enrolment, &key).await.expect("clause 1: it registers");
    agrees(&record, &enrolment);
    let found = registry.device(&record.did).await.expect("clause 1: the ledger answers");
    assert_eq!(found.as_ref(), Some(&record), "clause 1: the record is found");
    let found = open().await.device(&record.did).await.expect("clause 1: the ledger answers");
    assert_eq!(found.as_ref(), Some(&record), "clause 1: also after a restart");
}

async fn refuses_a_second_registration(registry: &dyn DeviceRegistry, fleet: &Fleet<'_>) {
    let (first, key) = fleet.candidate();
    let record = registry.register(&first, &key).await.expect("clause 2: the first registers");
    let second = enrolment(&record.did, &record.key, Address::repeat_byte(0xbb));
    let error = registry.register(&second, &key).await.expect_err("clause 2: the second fails");
    assert_eq!(error.kind(), ErrorKind::Conflict, "clause 2: {error}");
    let found = registry.device(&record.did).await.expect("clause 2: the ledger answers");
    assert_eq!(found, Some(record), "clause 2: nothing changed");
}

async fn refuses_a_signer_with_another_key(registry: &dyn DeviceRegistry, fleet: &Fleet<'_>) {
    let (enrolment, key) = fleet.candidate();
    let (_, stranger) = fleet.device();
    let honest = registry.register(&enrolment, &stranger).await;
    honest.expect_err("clause 3: a signer with another key is refused");
    let liar = Liar { claims: key.public_key().clone(), signs: stranger };
    let lied = registry.register(&enrolment, &liar).await;
    lied.expect_err("clause 3: a signature by another key is refused");
    let found = registry.device(did(&enrolment)).await.expect("clause 3: the ledger answers");
    assert_eq!(found, None, "clause 3: nothing was registered");
}

async fn refuses_borrowed_signatures(registry: &dyn DeviceRegistry, fleet: &Fleet<'_>) {
    let (consented, key) = fleet.candidate();
    let witness = Witness::new(key);
    let aborted = registry.register(&consented, &witness).await;
    aborted.expect_err("clause 3: a device that does not answer is not registered");
    let stolen = witness.stolen().expect("clause 3: the device was asked to consent");

    let again = enrolment(did(&consented), witness.public_key(), consented.owner);
    let mut sold = consented.clone();
    sold.owner = Address::repeat_byte(0xcc);
    let hash = consented.document_hash;
    let changes: [(&str, Enrolment); 6] = [
        ("owner", sold),
        ("document hash", consented.clone().document(B256::ZERO, "")),
        ("document uri", consented.clone().document(hash, "ipfs://x")),
        ("appraisal", again.document(hash, "")),
        ("next key", consented.clone().next_key(fleet.device().1.public_key())),
        ("nullifier", consented.clone().nullifier(B256::new(rand::random()))),
    ];
    for (field, changed) in changes {
        let thief = Thief { claims: witness.public_key().clone(), stolen };
        let lent = registry.register(&changed, &thief).await;
        lent.expect_err(&format!("clause 3: consent covers the {field}"));
        let found = registry.device(did(&changed)).await.expect("clause 3: the ledger answers");
        assert_eq!(found, None, "clause 3: nothing was registered with another {field}");
    }
}

async fn registers_several_at_once(registry: &dyn DeviceRegistry, fleet: &Fleet<'_>) {
    let candidates: Vec<_> = (0..3).map(|_| fleet.candidate()).collect();
    let wishes: Vec<(Enrolment, &dyn Signer)> =
        candidates.iter().map(|(e, key)| (e.clone(), key as &dyn Signer)).collect();
    let records = registry.register_all(&wishes).await.expect("clause 1: several register");
    assert_eq!(records.len(), wishes.len(), "clause 1: a record for each");
    for (record, (enrolment, _)) in records.iter().zip(&wishes) {
        agrees(record, enrolment);
        let found = registry.device(&record.did).await.expect("clause 1: the ledger answers");
        assert_eq!(found.as_ref(), Some(record), "clause 1: each record is found");
    }
    let error = registry.register_all(&wishes).await.expect_err("clause 2: all exist");
    assert_eq!(error.kind(), ErrorKind::Conflict, "clause 2: {error}");
    let none = registry.register_all(&[]).await.expect("clause 1: nobody is easily registered");
    assert!(none.is_empty(), "clause 1: no records for nobody");
}

async fn knows_no_strangers(registry: &dyn DeviceRegistry, fleet: &Fleet<'_>) {
    let (stranger, _) = fleet.device();
    let found = registry.device(&stranger).await.expect("clause 4: a stranger is no error");
    assert_eq!(found, None, "clause 4: a stranger has no record");
    let foreign = Did::parse("did:nosuchmethod:1").expect("invariant: it follows the grammar");
    let found = registry.device(&foreign).await.expect("clause 4: nor is a foreign did");
    assert_eq!(found, None, "clause 4: a foreign did has no record");
    for did in [&stranger, &foreign] {
        let keys = registry.keys(did).await.expect("clause 9: nobody is to blame for a stranger");
        assert_eq!(keys, [], "clause 4: a stranger has no keys");
    }
    let error = registry.set_status(&stranger, DeviceStatus::Suspended).await;
    let error = error.expect_err("clause 4: a stranger has no status");
    assert_eq!(error.kind(), ErrorKind::NotFound, "clause 4: {error}");
}

/// Clause 9: asks a registry whose ledger is away for devices that were registered with it, if any were.
///
/// # Panics
/// When it answers, or blames a device for it.
pub async fn fails_without_ledger(registry: &dyn DeviceRegistry, devices: &[Did]) {
    for did in devices {
        let record = registry.device(did).await.map(|_| ());
        let keys = registry.keys(did).await.map(|_| ());
        for error in [record, keys].map(|answer| answer.expect_err("clause 9: the ledger is away"))
        {
            assert!(!OwnFault::is_in(&error), "clause 9: {did} is not to blame: {error}");
            assert!(error.is_retryable(), "clause 9: it may come back: {error}");
        }
    }
}

async fn keeps_the_revoked_out(registry: &dyn DeviceRegistry, fleet: &Fleet<'_>) {
    use DeviceStatus::{Active, Revoked, Suspended};
    let (enrolment, key) = fleet.candidate();
    registry.register(&enrolment, &key).await.expect("clause 5: it registers");
    for status in [Suspended, Active, Suspended, Revoked] {
        registry.set_status(did(&enrolment), status).await.expect("clause 5: the status changes");
        let found = registry.device(did(&enrolment)).await.expect("clause 5: the ledger answers");
        assert_eq!(found.map(|record| record.status), Some(status), "clause 5: it is recorded");
    }
    for status in [Active, Suspended] {
        let back = registry.set_status(did(&enrolment), status).await;
        back.expect_err("clause 5: nobody comes back from being revoked");
    }
    registry.register(&enrolment, &key).await.expect_err("clause 2: nor by registering again");
    let found = registry.device(did(&enrolment)).await.expect("clause 5: the ledger answers");
    assert_eq!(found.map(|record| record.status), Some(Revoked), "clause 5: it stays revoked");
}

async fn admits_each_hardware_once(registry: &dyn DeviceRegistry, fleet: &Fleet<'_>) {
    let nullifier = B256::new(rand::random());
    let (first, key) = fleet.candidate();
    let record = match registry.register(&first.nullifier(nullifier), &key).await {
        Err(error) => return assert_unsupported(&error),
        Ok(record) => record,
    };
    assert_eq!(record.nullifier, Some(nullifier), "clause 1: the nullifier is recorded");
    registry.set_status(&record.did, DeviceStatus::Revoked).await.expect("clause 5: it is revoked");
    let before = registry.device(&record.did).await.expect("clause 6: the ledger answers");

    let (second, key) = fleet.candidate();
    let second = second.nullifier(nullifier);
    let (third, other) = fleet.candidate();
    let alone = registry.register(&second, &key).await.map(drop);
    let in_a_batch = registry.register_all(&[(second.clone(), &key), (third, &other)]).await;
    for refused in [alone, in_a_batch.map(drop)] {
        let error = refused.expect_err("clause 6: the same hardware again is refused");
        assert_eq!(error.kind(), ErrorKind::Conflict, "clause 6: {error}");
        let found = registry.device(did(&second)).await.expect("clause 6: the ledger answers");
        assert_eq!(found, None, "clause 6: the hardware got no second identity");
    }
    let after = registry.device(&record.did).await.expect("clause 6: the ledger answers");
    assert_eq!(after, before, "clause 6: nothing changed");
}

async fn keeps_or_refuses_a_next_key(registry: &dyn DeviceRegistry, fleet: &Fleet<'_>) {
    let (enrolment, key) = fleet.candidate();
    let enrolment = enrolment.next_key(fleet.device().1.public_key());
    match registry.register(&enrolment, &key).await {
        Err(error) => assert_unsupported(&error),
        Ok(record) => {
            agrees(&record, &enrolment);
            let found = registry.device(&record.did).await.expect("clause 1: the ledger answers");
            assert_eq!(found, Some(record), "clause 1: the record is found");
        }
    }
}

async fn rotates_to_the_committed_key_alone(registry: &dyn DeviceRegistry, fleet: &Fleet<'_>) {
    let (enrolment, live) = fleet.candidate();
    let (next, after) = (fleet.device().1, fleet.device().1);
    let Ok(before) = registry.register(&enrolment.next_key(next.public_key()), &live).await else {
        return; // Clause 7 was checked before.
    };
    let did = &before.did;
    let promise = Some(after.public_key());
    match registry.rotate(did, &next, promise).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => return,
        rotated => {
            let record = rotated.expect("clause 8: the committed key takes over");
            assert_eq!(record.did, *did, "clause 8: the identity stays");
            assert_eq!(record.owner, before.owner, "clause 8: the owner stays");
            assert_eq!(record.key, *next.public_key(), "clause 8: the key is the next one");
        }
    }
    let keys = registry.keys(did).await.expect("clause 8: the ledger answers");
    assert_eq!(keys, [before.key, next.public_key().clone()], "clause 8: both keys are known");
    let thief = Liar { claims: after.public_key().clone(), signs: next };
    for stranger in [&live as &dyn Signer, &fleet.device().1, &thief] {
        let stolen = registry.rotate(did, stranger, None).await;
        stolen.expect_err("clause 8: only the key that was committed to, signing itself");
    }
    let last = registry.rotate(did, &after, None).await.expect("clause 8: it rotates again");
    assert_eq!(last.next_key, None, "clause 8: a key without a commitment is the last");
}

fn assert_unsupported(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unsupported, "clause 7: nothing is dropped: {error}");
}

/// Claims one key and signs with another.
#[derive(Debug)]
struct Liar {
    claims: PublicKey,
    signs: SoftwareKey,
}

impl Signer for Liar {
    fn public_key(&self) -> &PublicKey {
        &self.claims
    }

    fn sign(&self, message: &[u8]) -> Result<Signature> {
        self.signs.sign(message)
    }

    fn sign_prehash(&self, digest: &[u8; 32]) -> Result<Signature> {
        self.signs.sign_prehash(digest)
    }
}

/// Signs, but loses the answer on the way, so that somebody else may have it.
#[derive(Debug)]
struct Witness {
    key: SoftwareKey,
    stolen: Mutex<Option<Signature>>,
}

impl Witness {
    const fn new(key: SoftwareKey) -> Self {
        Self { key, stolen: Mutex::new(None) }
    }

    fn stolen(&self) -> Option<Signature> {
        *self.stolen.lock().expect("invariant: nobody panics with the lock")
    }

    fn lose(&self, signature: Signature) -> Result<Signature> {
        *self.stolen.lock().expect("invariant: nobody panics with the lock") = Some(signature);
        Err(Error::unavailable("the device went away"))
    }
}

impl Signer for Witness {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature> {
        self.key.sign(message).and_then(|signature| self.lose(signature))
    }

    fn sign_prehash(&self, digest: &[u8; 32]) -> Result<Signature> {
        self.key.sign_prehash(digest).and_then(|signature| self.lose(signature))
    }
}

/// Has no key, only a signature that was made for something else.
#[derive(Debug)]
struct Thief {
    claims: PublicKey,
    stolen: Signature,
}

impl Signer for Thief {
    fn public_key(&self) -> &PublicKey {
        &self.claims
    }

    fn sign(&self, _: &[u8]) -> Result<Signature> {
        Ok(self.stolen)
    }

    fn sign_prehash(&self, _: &[u8; 32]) -> Result<Signature> {
        Ok(self.stolen)
    }
}

#[cfg(test)]
mod tests;
