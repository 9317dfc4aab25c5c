//! A registry that fails takes nothing from any device; a device that made itself unreadable takes nothing from others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use depin::core::registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment, OwnFault};
use depin::data::{epoch::Checks, quality::Bounds};
use depin::{
    Amount, Audit, Did, EpochId, Error, ErrorKind, ManualClock, Network, Result, Signer,
    audit_bundle, dec, hw::SimulatedPebble, payment::ProRata, presets, tokens,
};

use crate::support::{NOW, celsius, later, owner};

type Fault = fn() -> Error;

/// A registry in memory that fails about one device.
#[derive(Clone, Debug, Default)]
struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    records: HashMap<Did, DeviceRecord>,
    fault: Option<(Did, Fault)>,
}

impl Ledger {
    fn fails_about(&self, did: &Did, fault: Fault) {
        self.0.lock().unwrap().fault = Some((did.clone(), fault));
    }

    fn recovers(&self) {
        self.0.lock().unwrap().fault = None;
    }
}

#[async_trait]
impl DeviceRegistry for Ledger {
    async fn register(&self, enrolment: &Enrolment, _: &dyn Signer) -> Result<DeviceRecord> {
        let record = DeviceRecord::registered(enrolment, NOW);
        self.0.lock().unwrap().records.insert(record.did.clone(), record.clone());
        Ok(record)
    }

    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>> {
        let book = self.0.lock().unwrap();
        match &book.fault {
            Some((of, fault)) if of == did => Err(fault()),
            _ => Ok(book.records.get(did).cloned()),
        }
    }

    async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<()> {
        self.0.lock().unwrap().records.get_mut(did).unwrap().status = status;
        Ok(())
    }
}

fn bounds() -> Bounds {
    Bounds::new("temperature", "Cel", dec(-60)..=dec(60))
}

fn policy() -> ProRata {
    ProRata::per_epoch(tokens(100))
}

/// What nodes say, none of it about a device.
const FAULTS: [Fault; 5] = [
    || Error::unavailable("the node does not answer"),
    || Error::new(ErrorKind::Unsupported, "the node lacks this method"),
    || Error::new(ErrorKind::NotFound, "the node does not have this"),
    || Error::new(ErrorKind::Malformed, "the node's answer is not what its method promises"),
    || Error::new(ErrorKind::Rejected, "the node refused the request"),
];

fn own() -> Error {
    Error::new(ErrorKind::Malformed, "the device's key is none").source(OwnFault)
}

#[tokio::test]
async fn an_epoch_waits_for_a_registry_that_fails_and_for_no_device_that_is_unreadable() {
    let (ledger, folder) = (Ledger::default(), tempfile::tempdir().unwrap());
    let network = Network::builder(presets::devnet().await.unwrap())
        .clock(Arc::new(ManualClock::at(NOW)))
        .registry(ledger.clone())
        .check(bounds())
        .rewards(policy())
        .build()
        .await
        .unwrap();
    let one = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let two = network.enroll(SimulatedPebble::new(2), owner(2)).await.unwrap();
    one.send(&[celsius(20)]).await.unwrap();
    two.send(&[celsius(20)]).await.unwrap();
    let [first, second] = [0, 1].map(EpochId::new);
    for fault in FAULTS {
        ledger.fails_about(two.did(), fault);
        let error = network.close_epoch(first).await.unwrap_err();
        assert_eq!(error.kind(), fault().kind(), "{error}");
        assert!(network.epoch(first).await.unwrap().is_none(), "nothing is sealed: {error}");
    }
    ledger.recovers();
    let epoch = network.close_epoch(first).await.unwrap();
    assert_eq!([&one, &two].map(|device| epoch.payout(device.did())), [tokens(50); 2]);

    one.send(&[later(21)]).await.unwrap();
    two.send(&[later(21)]).await.unwrap();
    ledger.fails_about(two.did(), own);
    let epoch = network.close_epoch(second).await.unwrap();
    let paid = [&one, &two].map(|device| epoch.payout(device.did()));
    assert_eq!(paid, [tokens(100), Amount::ZERO]);

    // An audit asks for the same devices.
    let paths = [first, second].map(|id| folder.path().join(id.to_string()));
    for (id, path) in [first, second].into_iter().zip(&paths) {
        network.export_epoch(id, path).await.unwrap();
    }
    let audit = async |at: usize| -> Result<Audit> {
        let (checks, ledger) = (Checks::new().check(bounds()), &**network.distributor());
        audit_bundle(&paths[at], &checks, &policy(), &**network.registry(), ledger).await
    };
    assert_eq!(audit(1).await.unwrap().root, epoch.root(), "it was left out, and would be now");
    let error = audit(0).await.unwrap_err();
    assert!(OwnFault::is_in(&error), "it had keys, of which nobody can tell now: {error}");
    for fault in FAULTS {
        ledger.fails_about(two.did(), fault);
        assert_eq!(audit(0).await.unwrap_err().kind(), fault().kind(), "no verdict");
    }
    ledger.recovers();
    assert!(audit(0).await.unwrap().is_complete());
}
