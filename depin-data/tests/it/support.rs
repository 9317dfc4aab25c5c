//! A network of one process: devices, a registry in memory, a clock that is set.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use depin_core::{
    Address, Algorithm, B256, Decimal, Did, Error, ErrorKind, ManualClock, NetworkId, PublicKey,
    Reading, Result, Sequence, SignedBatch, Signer, SoftwareKey, Timestamp,
    log::BatchLog,
    reading::Quantity,
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment},
    transport::{Answer, Receipt, Refusal},
};
use depin_data::{
    batch::seal,
    ingest::{Ingest, IngestBuilder},
    receipt::ReceiptVerifier,
};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

pub(crate) fn network() -> NetworkId {
    NetworkId::parse("climate").unwrap()
}

pub(crate) fn reading(value: &str, at: Timestamp) -> Reading {
    Reading::new(Quantity::new("temperature", "Cel"), Decimal::parse(value).unwrap(), at)
}

/// A device with its chain.
pub(crate) struct Device {
    pub(crate) did: Did,
    pub(crate) key: Arc<SoftwareKey>,
    pub(crate) next: u64,
    pub(crate) previous: B256,
}

impl Device {
    pub(crate) fn new(name: &str, algorithm: Algorithm) -> Self {
        let seed = depin_data::merkle::leaf_hash(name.as_bytes()).0;
        Self {
            did: Did::parse(&format!("did:example:{name}")).unwrap(),
            key: Arc::new(SoftwareKey::from_seed(algorithm, seed)),
            next: 0,
            previous: B256::ZERO,
        }
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.key.public_key().clone()
    }

    pub(crate) fn seal_at(
        &self,
        sequence: u64,
        previous: B256,
        readings: &[Reading],
    ) -> SignedBatch {
        let sequence = Sequence::new(sequence);
        seal(&*self.key, &self.did, &network(), sequence, previous, readings).unwrap()
    }

    /// The next batch of the chain.
    pub(crate) fn seal(&mut self, readings: &[Reading]) -> SignedBatch {
        let batch = self.seal_at(self.next, self.previous, readings);
        (self.next, self.previous) = (self.next + 1, batch.hash());
        batch
    }

    pub(crate) fn measure(&mut self) -> SignedBatch {
        let at = NOW.plus(Duration::from_secs(self.next));
        self.seal(&[reading("4.9", at), reading("5.1", at)])
    }
}

/// A registry in memory that counts how often it is asked.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    devices: Mutex<HashMap<Did, DeviceRecord>>,
    pub(crate) asked: Mutex<u32>,
    pub(crate) down: Mutex<bool>,
    /// For these it never answers.
    pub(crate) hangs: Mutex<HashSet<Did>>,
}

impl Registry {
    pub(crate) fn add(&self, device: &Device) {
        let record = DeviceRecord {
            did: device.did.clone(),
            key: device.key.public_key().clone(),
            owner: Address::ZERO,
            account: None,
            status: DeviceStatus::Active,
            next_key: None,
            nullifier: None,
            document_hash: B256::ZERO,
            document_uri: String::new(),
            appraisal: B256::ZERO,
            registered: NOW,
        };
        self.devices.lock().unwrap().insert(device.did.clone(), record);
    }

    /// Answers for `alias` with the record of `device`, as a registry that ignores case does.
    pub(crate) fn alias(&self, alias: &str, device: &Device) {
        let record = self.devices.lock().unwrap()[&device.did].clone();
        self.devices.lock().unwrap().insert(alias.parse().unwrap(), record);
    }
}

#[async_trait]
impl DeviceRegistry for Registry {
    async fn register(&self, _: &Enrolment, _: &dyn Signer) -> Result<DeviceRecord> {
        Err(Error::new(ErrorKind::Unsupported, "tests add records themselves"))
    }

    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>> {
        *self.asked.lock().unwrap() += 1;
        if *self.down.lock().unwrap() {
            return Err(Error::unavailable("the registry is down"));
        }
        let hangs = self.hangs.lock().unwrap().contains(did);
        if hangs {
            return std::future::pending().await;
        }
        Ok(self.devices.lock().unwrap().get(did).cloned())
    }

    async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<()> {
        self.devices.lock().unwrap().get_mut(did).unwrap().status = status;
        Ok(())
    }
}

/// What every log of these tests signs with.
fn log_key() -> SoftwareKey {
    SoftwareKey::from_seed(Algorithm::EdDsa, [77; 32])
}

/// Checks what it signs.
pub(crate) fn receipts() -> ReceiptVerifier {
    ReceiptVerifier::new(&network(), log_key().public_key())
}

/// Ingest with everything around it.
pub(crate) struct Net {
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) receipts: ReceiptVerifier,
}

impl Net {
    pub(crate) fn over(log: Arc<dyn BatchLog>) -> Self {
        Self::with(log, |builder| builder)
    }

    pub(crate) fn with(
        log: Arc<dyn BatchLog>,
        options: impl FnOnce(IngestBuilder) -> IngestBuilder,
    ) -> Self {
        let (registry, clock) = (Arc::new(Registry::default()), Arc::new(ManualClock::at(NOW)));
        let (key, receipts) = (Arc::new(log_key()), receipts());
        let did = "did:example:log".parse().unwrap();
        let builder = Ingest::builder(network(), log, registry.clone(), clock.clone(), key, did);
        Self { registry, clock, ingest: Arc::new(options(builder).build()), receipts }
    }

    pub(crate) fn enrol(&self, name: &str) -> Device {
        let device = Device::new(name, Algorithm::EdDsa);
        self.registry.add(&device);
        device
    }

    /// Sends what must be taken, and checks the proof.
    pub(crate) async fn taken(&self, batch: &SignedBatch) -> Receipt {
        match self.ingest.accept(batch.as_bytes()).await.unwrap() {
            Answer::Receipt(receipt) => {
                self.receipts.verify(&receipt, batch).unwrap();
                receipt
            }
            Answer::Refusal(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    /// Sends what must be refused.
    pub(crate) async fn refused(&self, bytes: &[u8]) -> Refusal {
        match self.ingest.accept(bytes).await.unwrap() {
            Answer::Refusal(refusal) => refusal,
            Answer::Receipt(receipt) => panic!("taken: {receipt:?}"),
        }
    }
}
