//! Strangers who audit an epoch from a file.

use std::{fs, path::Path, sync::Arc};

use async_trait::async_trait;
use depin::core::registry::{DeviceRecord, DeviceRegistry, DeviceStatus, Enrolment};
use depin::data::quality::Bounds;
use depin::{
    Address, Audit, Did, EpochId, Error, ErrorKind, ManualClock, Network, PublicKey, Signer,
    audit_bundle, data::epoch::Checks, dec, hw::SimulatedPebble, payment::ProRata, presets, tokens,
};

use crate::support::{NOW, celsius, later, owner};

fn bounds() -> Bounds {
    Bounds::new("temperature", "Cel", dec(-60)..=dec(60))
}

fn policy() -> ProRata {
    ProRata::per_epoch(tokens(100))
}

/// Two epochs of two devices.
async fn network() -> Network {
    let network = Network::builder(presets::devnet().await.unwrap())
        .clock(Arc::new(ManualClock::at(NOW)))
        .check(bounds())
        .rewards(policy())
        .build()
        .await
        .unwrap();
    let one = network.enroll(SimulatedPebble::new(1), owner(1)).await.unwrap();
    let two = network.enroll(SimulatedPebble::new(2), owner(2)).await.unwrap();
    one.send(&[celsius(20)]).await.unwrap();
    two.send(&[celsius(20)]).await.unwrap();
    network.close_epoch(EpochId::new(0)).await.unwrap();
    one.send(&[later(21)]).await.unwrap();
    two.send(&[later(80)]).await.unwrap();
    network.close_epoch(EpochId::new(1)).await.unwrap();
    network
}

async fn audit(network: &Network, path: &Path) -> Result<Audit, Error> {
    let checks = Checks::new().check(bounds());
    audit_bundle(path, &checks, &policy(), &**network.registry(), &**network.distributor()).await
}

#[tokio::test]
async fn a_stranger_comes_to_the_root_on_chain_also_when_the_log_has_forgotten() {
    let (network, folder) = (network().await, tempfile::tempdir().unwrap());
    let paths = [0, 1].map(|id| folder.path().join(format!("{id}.bundle")));
    for (id, path) in (0..).zip(&paths) {
        network.export_epoch(EpochId::new(id), path).await.unwrap();
    }
    network.log().forget(4).await.unwrap();
    for (id, path) in (0..).zip(&paths) {
        let audited = audit(&network, path).await.unwrap();
        let epoch = network.epoch(EpochId::new(id)).await.unwrap().unwrap();
        assert_eq!((audited.root, audited.batches, audited.readings), (epoch.root(), 2, 2));
        // The first epoch stands alone; where devices stood before the second is in no bundle of it.
        assert_eq!((audited.believed_standings, audited.believed_work), (2 * id, 0));
        assert_eq!(
            (audited.is_complete(), audited.to_string().contains("taken")),
            (id == 0, id > 0)
        );
    }
}

/// A registry in which every device now belongs to the same account.
#[derive(Debug)]
struct Sold<'a>(&'a dyn DeviceRegistry, Address);

#[async_trait]
impl DeviceRegistry for Sold<'_> {
    async fn register(
        &self,
        enrolment: &Enrolment,
        device: &dyn Signer,
    ) -> Result<DeviceRecord, Error> {
        self.0.register(enrolment, device).await
    }

    async fn device(&self, did: &Did) -> Result<Option<DeviceRecord>, Error> {
        let mut record = self.0.device(did).await?;
        record.iter_mut().for_each(|record| record.owner = self.1);
        Ok(record)
    }

    async fn keys(&self, did: &Did) -> Result<Vec<PublicKey>, Error> {
        self.0.keys(did).await
    }

    async fn set_status(&self, did: &Did, status: DeviceStatus) -> Result<(), Error> {
        self.0.set_status(did, status).await
    }
}

#[tokio::test]
async fn an_audit_counts_who_was_paid_for_devices_of_others() {
    let (network, folder) = (network().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("0.bundle");
    network.export_epoch(EpochId::new(0), &path).await.unwrap();
    let checks = Checks::new().check(bounds());
    let sold = Sold(&**network.registry(), owner(1));
    let audited = audit_bundle(&path, &checks, &policy(), &sold, &**network.distributor()).await;
    let audited = audited.unwrap();
    assert_eq!((audited.believed_owners, audited.is_complete()), (1, false));
    assert!(audited.to_string().contains("1 device paid to somebody who is not the owner now"));
    assert_eq!(audit(&network, &path).await.unwrap().believed_owners, 0);
}

#[tokio::test]
async fn a_bundle_of_other_rules_or_with_another_byte_is_refused() {
    let (network, folder) = (network().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("bundle");
    network.export_epoch(EpochId::new(1), &path).await.unwrap();
    let (registry, distributor) = (&**network.registry(), &**network.distributor());
    let checks = Checks::new().check(bounds());
    let other = ProRata::per_epoch(tokens(99));
    let error = audit_bundle(&path, &checks, &other, registry, distributor).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let error = audit_bundle(&path, &Checks::new(), &policy(), registry, distributor).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
    let bytes = fs::read(&path).unwrap();
    for at in (0..bytes.len()).step_by(97) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        let error = audit(&network, &path).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Malformed), "{at}: {error}");
    }
}

#[tokio::test]
async fn a_bundle_of_another_network_is_not_the_one_on_chain() {
    let (mine, folder) = (network().await, tempfile::tempdir().unwrap());
    let other = Network::builder(presets::devnet().await.unwrap())
        .clock(Arc::new(ManualClock::at(NOW)))
        .check(bounds())
        .rewards(policy())
        .build()
        .await
        .unwrap();
    let device = other.enroll(SimulatedPebble::new(3), owner(3)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();
    other.close_epoch(EpochId::new(0)).await.unwrap();
    let path = folder.path().join("bundle");
    other.export_epoch(EpochId::new(0), &path).await.unwrap();
    let error = audit(&mine, &path).await.unwrap_err();
    assert!(error.to_string().contains("not the one on chain"), "{error}");
}

#[tokio::test]
async fn an_export_that_fails_leaves_the_only_copy_as_it_is() {
    let (network, folder) = (network().await, tempfile::tempdir().unwrap());
    let path = folder.path().join("0.bundle");
    network.export_epoch(EpochId::new(0), &path).await.unwrap();
    let whole = fs::read(&path).unwrap();
    network.log().forget(4).await.unwrap();
    let error = network.export_epoch(EpochId::new(0), &path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "half a bundle lies there");
    audit(&network, &path).await.unwrap();
}
