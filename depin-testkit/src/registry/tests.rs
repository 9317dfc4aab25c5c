//! The suite accepts a registry in memory and catches each of its possible flaws.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use depin_core::keccak256;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    ForgetsAtRestart,
    Overwrites,
    BelievesTheSigner,
    SignsOnlyTheOwner,
    InventsStrangers,
    Forgives,
    AdmitsTwins,
    DropsTheNextKey,
    RefusesNullifiers,
}

#[derive(Clone, Debug)]
struct Memory {
    flaw: Flaw,
    records: Arc<Mutex<BTreeMap<Did, DeviceRecord>>>,
}

impl Memory {
    fn consent(&self, enrolment: &Enrolment) -> Vec<u8> {
        if self.flaw == Flaw::SignsOnlyTheOwner {
            return enrolment.owner.to_vec();
        }
        let uri = keccak256(&enrolment.document_uri);
        let appraisal = enrolment.appraisal.hash();
        let next = enrolment.next_key.unwrap_or_default();
        let nullifier = enrolment.nullifier.unwrap_or_default();
        let words = [enrolment.document_hash, uri, appraisal, next, nullifier];
        [enrolment.owner.as_slice(), &words.map(|word| word.0).concat()].concat()
    }
}

#[async_trait]
impl DeviceRegistry for Memory {
    async fn register(&self, enrolment: &Enrolment, device: &dyn Signer) -> Result<DeviceRecord> {
        if self.flaw == Flaw::RefusesNullifiers && enrolment.nullifier.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "this registry keeps no nullifiers"));
        }
        let challenge = &enrolment.appraisal.challenge;
        let message = self.consent(enrolment);
        let signature = device.sign(&message)?;
        if self.flaw != Flaw::BelievesTheSigner {
            challenge.key.verify(&message, &signature)?;
        }
        let mut records = self.records.lock().unwrap();
        if records.contains_key(&challenge.did) && self.flaw != Flaw::Overwrites {
            return Err(Error::new(ErrorKind::Conflict, "the device is registered already"));
        }
        let taken = |record: &DeviceRecord| record.nullifier == enrolment.nullifier;
        let twin = enrolment.nullifier.is_some() && records.values().any(taken);
        if twin && self.flaw != Flaw::AdmitsTwins {
            return Err(Error::new(ErrorKind::Conflict, "the hardware is registered already"));
        }
        let mut record = DeviceRecord::registered(enrolment, Timestamp::EPOCH);
        if self.flaw == Flaw::DropsTheNextKey {
            record.next_key = None;
        }
        records.insert(record.did.clone(), record.clone());
        Ok(record)
    }

    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>> {
        let records = self.records.lock().unwrap();
        match records.get(did) {
            None if self.flaw == Flaw::InventsStrangers => {
                Err(Error::new(ErrorKind::NotFound, "who is that?"))
            }
            found => Ok(found.cloned()),
        }
    }

    async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<()> {
        let mut records = self.records.lock().unwrap();
        let unknown = || Error::new(ErrorKind::NotFound, "no such device");
        let record = records.get_mut(did).ok_or_else(unknown)?;
        if record.status == DeviceStatus::Revoked && self.flaw != Flaw::Forgives {
            return Err(Error::new(ErrorKind::Rejected, "the device was revoked"));
        }
        record.status = status;
        Ok(())
    }
}

/// A registry whose ledger is away, and what it says of that.
#[derive(Debug)]
struct Away(fn() -> Result<()>);

#[async_trait]
impl DeviceRegistry for Away {
    async fn register(&self, _: &Enrolment, _: &dyn Signer) -> Result<DeviceRecord> {
        Err(Error::unavailable("away"))
    }

    async fn device(&self, _: &Did) -> Result<Option<DeviceRecord>> {
        (self.0)().map(|()| None)
    }

    async fn set_status(&self, _: &Did, _: DeviceStatus) -> Result<()> {
        (self.0)()
    }
}

async fn is_away(says: fn() -> Result<()>) {
    fails_without_ledger(&Away(says), &[Did::parse("did:example:a").unwrap()]).await;
}

#[tokio::test]
async fn a_ledger_that_is_away_may_say_so() {
    is_away(|| Err(Error::unavailable("away"))).await;
}

#[tokio::test]
#[should_panic(expected = "clause 9: did:example:a is not to blame")]
async fn blaming_a_device_for_it_is_caught() {
    is_away(|| Err(Error::unavailable("away").source(OwnFault))).await;
}

#[tokio::test]
#[should_panic(expected = "clause 9: the ledger is away")]
async fn taking_devices_for_strangers_then_is_caught() {
    is_away(|| Ok(())).await;
}

#[tokio::test]
#[should_panic(expected = "clause 9: it may come back")]
async fn giving_up_on_it_is_caught() {
    is_away(|| Err(Error::new(ErrorKind::NotFound, "who is that?"))).await;
}

async fn try_out(flaw: Flaw) {
    let records = Arc::<Mutex<BTreeMap<_, _>>>::default();
    let open = async || {
        let records = if flaw == Flaw::ForgetsAtRestart { Arc::default() } else { records.clone() };
        Memory { flaw, records }
    };
    let identity = |key: &PublicKey| Did::parse(&format!("did:key:{}", key.to_multikey())).unwrap();
    for algorithm in Algorithm::ALL {
        conforms(open, algorithm, identity).await;
    }
}

#[tokio::test]
async fn a_correct_registry_conforms() {
    try_out(Flaw::None).await;
}

#[tokio::test]
#[should_panic(expected = "clause 1: also after a restart")]
async fn forgetting_is_caught() {
    try_out(Flaw::ForgetsAtRestart).await;
}

#[tokio::test]
#[should_panic(expected = "clause 2")]
async fn overwriting_is_caught() {
    try_out(Flaw::Overwrites).await;
}

#[tokio::test]
#[should_panic(expected = "clause 3: a signer with another key is refused")]
async fn an_unchecked_signature_is_caught() {
    try_out(Flaw::BelievesTheSigner).await;
}

#[tokio::test]
#[should_panic(expected = "clause 3: consent covers the document hash")]
async fn consent_to_less_than_everything_is_caught() {
    try_out(Flaw::SignsOnlyTheOwner).await;
}

#[tokio::test]
#[should_panic(expected = "clause 3")]
async fn errors_for_strangers_are_caught() {
    try_out(Flaw::InventsStrangers).await;
}

#[tokio::test]
#[should_panic(expected = "clause 5: nobody comes back")]
async fn forgiveness_is_caught() {
    try_out(Flaw::Forgives).await;
}

#[tokio::test]
#[should_panic(expected = "clause 6: the same hardware again")]
async fn twins_are_caught() {
    try_out(Flaw::AdmitsTwins).await;
}

#[tokio::test]
#[should_panic(expected = "clause 1: the next key is recorded")]
async fn a_dropped_next_key_is_caught() {
    try_out(Flaw::DropsTheNextKey).await;
}

#[tokio::test]
async fn a_registry_that_says_that_it_keeps_no_nullifiers_conforms() {
    try_out(Flaw::RefusesNullifiers).await;
}
