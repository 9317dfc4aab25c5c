//! What a network has to keep beside ioID so that its registry keeps the contract of the seam: the hash
//! of each appraisal, and who is suspended or revoked.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use super::*;

type Ledger = Arc<Mutex<BTreeMap<Did, (B256, DeviceStatus)>>>;

#[derive(Debug)]
pub(super) struct Completed {
    ioid: IoIdRegistry,
    beside: Ledger,
}

impl Completed {
    pub(super) fn ledger() -> Ledger {
        Ledger::default()
    }

    pub(super) fn new(ioid: IoIdRegistry, beside: &Ledger) -> Self {
        Self { ioid, beside: beside.clone() }
    }

    fn beside(&self) -> MutexGuard<'_, BTreeMap<Did, (B256, DeviceStatus)>> {
        self.beside.lock().unwrap()
    }

    fn complete(&self, record: DeviceRecord) -> DeviceRecord {
        let (appraisal, status) = self.beside()[&record.did];
        DeviceRecord { appraisal, status, ..record }
    }
}

#[async_trait::async_trait]
impl DeviceRegistry for Completed {
    async fn register(
        &self,
        enrolment: &Enrolment,
        device: &dyn Signer,
    ) -> depin_core::Result<DeviceRecord> {
        let record = self.ioid.register(enrolment, device).await?;
        let kept = (enrolment.appraisal.hash(), record.status);
        self.beside().insert(record.did.clone(), kept);
        Ok(self.complete(record))
    }

    async fn device(&self, did: &Did) -> depin_core::Result<Option<DeviceRecord>> {
        Ok(self.ioid.device(did).await?.map(|record| self.complete(record)))
    }

    async fn set_status(&self, did: &Did, status: DeviceStatus) -> depin_core::Result<()> {
        let unknown = || depin_core::Error::new(ErrorKind::NotFound, "no such device");
        let mut beside = self.beside();
        let (_, now) = beside.get_mut(did).ok_or_else(unknown)?;
        if *now == DeviceStatus::Revoked {
            return Err(depin_core::Error::new(ErrorKind::Rejected, "it was revoked"));
        }
        *now = status;
        Ok(())
    }
}
