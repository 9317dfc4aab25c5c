//! Devices with the batches that they have signed.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use depin_core::{
    Address, Algorithm, B256, Decimal, Did, Error, ErrorKind, NetworkId, Reading, Result, Sequence,
    SignedBatch, Signer, SoftwareKey, Timestamp,
    reading::Quantity,
    registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment},
};
use depin_data::{batch::seal, merkle};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// A quantity with its unit, and values around one with this exponent, as far apart as its last tenth.
pub(crate) type Kind = (&'static str, &'static str, i64, i8);

pub(crate) const CLIMATE: [Kind; 4] = [
    ("temperature", "Cel", 215, -1),
    ("humidity", "%RH", 481, -1),
    ("pressure", "Pa", 101_325, 0),
    ("wind", "m/s", 34, -1),
];

/// What a Pebble tracker sends at once.
pub(crate) const PEBBLE: [Kind; 16] = [
    ("signal", "/100", 55, 0),
    ("battery", "%EL", 866, -1),
    ("latitude", "lat", -335_123_456, -7),
    ("longitude", "lon", -1_234_567_891, -7),
    ("gas-resistance", "Ohm", 1_234_567, -2),
    ("temperature", "Cel", -1059, -2),
    ("pressure", "Pa", 80_918, 0),
    ("humidity", "%RH", 9743, -2),
    ("light", "lx", 300_000, -2),
    ("temperature2", "Cel", 2150, -2),
    ("gyroscope-x", "", -2658, 0),
    ("gyroscope-y", "", 9, 0),
    ("gyroscope-z", "", 11, 0),
    ("accelerometer-x", "", 2658, 0),
    ("accelerometer-y", "", -3835, 0),
    ("accelerometer-z", "", 3326, 0),
];

pub(crate) struct Device {
    pub(crate) did: Did,
    pub(crate) key: SoftwareKey,
    pub(crate) batches: Vec<SignedBatch>,
}

pub(crate) struct Fleet {
    pub(crate) network: NetworkId,
    pub(crate) devices: Vec<Device>,
    /// The readings of every batch.
    pub(crate) readings: Vec<Reading>,
}

impl Fleet {
    pub(crate) fn new(
        algorithm: Algorithm,
        readings: usize,
        devices: usize,
        rounds: usize,
    ) -> Self {
        Self::of(&CLIMATE, algorithm, readings, devices, rounds)
    }

    pub(crate) fn of(
        kinds: &[Kind],
        algorithm: Algorithm,
        readings: usize,
        devices: usize,
        rounds: usize,
    ) -> Self {
        let network = NetworkId::parse("bench").expect("a name");
        let readings = readings_of(readings, kinds);
        let devices = (0..devices).map(|n| Device::new(n, algorithm, &network, &readings, rounds));
        Self { devices: devices.collect(), network, readings }
    }

    pub(crate) fn batches(&self) -> impl Iterator<Item = &SignedBatch> {
        self.devices.iter().flat_map(|device| &device.batches)
    }
}

impl Device {
    fn new(
        n: usize,
        algorithm: Algorithm,
        network: &NetworkId,
        readings: &[Reading],
        rounds: usize,
    ) -> Self {
        let did = Did::parse(&format!("did:example:device-{n}")).expect("a did");
        let key = SoftwareKey::from_seed(algorithm, merkle::leaf_hash(&n.to_be_bytes()).0);
        let (mut batches, mut previous) = (Vec::new(), B256::ZERO);
        for sequence in 0..rounds as u64 {
            let sequence = Sequence::new(sequence);
            let batch = seal(&key, &did, network, sequence, previous, readings).expect("a batch");
            previous = batch.hash();
            batches.push(batch);
        }
        Self { did, key, batches }
    }
}

fn readings_of(count: usize, kinds: &[Kind]) -> Vec<Reading> {
    let quantities: Vec<_> =
        kinds.iter().map(|(name, unit, _, _)| Quantity::new(name, unit)).collect();
    let reading = |i: usize| {
        let (_, _, about, exponent) = kinds[i % kinds.len()];
        let drift = (i as i64 * 37) % 100 * about.abs().max(100) / 1000;
        let value = Decimal::new(about + drift, exponent).expect("a decimal");
        let at = NOW.plus(Duration::from_secs((i / kinds.len()) as u64));
        Reading::new(quantities[i % kinds.len()].clone(), value, at)
    };
    (0..count).map(reading).collect()
}

#[derive(Debug)]
pub(crate) struct Registry(HashMap<Did, DeviceRecord>);

impl Registry {
    pub(crate) fn of(devices: &[Device]) -> Self {
        let record = |device: &Device| DeviceRecord {
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
        Self(devices.iter().map(|device| (device.did.clone(), record(device))).collect())
    }
}

#[async_trait]
impl DeviceRegistry for Registry {
    async fn register(&self, _: &Enrolment, _: &dyn Signer) -> Result<DeviceRecord> {
        Err(Error::new(ErrorKind::Unsupported, "the fleet is fixed"))
    }

    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>> {
        Ok(self.0.get(did).cloned())
    }

    async fn set_status(&self, _: &Did, _: DeviceStatus) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "the fleet is fixed"))
    }
}
