//! A device of the network, as its firmware would hold it.

use std::{fmt, sync::Arc};

use depin_core::{
    Address, B256, Did, Error, ErrorKind, Reading, Result, SignedBatch,
    log::ChainTip,
    registry::DeviceRecord,
    transport::{Answer, Receipt, Transport},
};
use depin_data::{outbox::Outbox, receipt::ReceiptVerifier, transport::InProcess};
use tokio::sync::Mutex;

use crate::{Hardware, Network};

/// Signs readings in batches and keeps each until it holds a receipt.
///
/// Calls on one device run one after another, because its batches form a chain. Clones share the chain.
#[derive(Clone)]
pub struct Device {
    record: DeviceRecord,
    hardware: Hardware,
    outbox: Arc<Mutex<Outbox>>,
    transport: Arc<dyn Transport>,
}

impl Device {
    pub(crate) fn new(
        network: &Network,
        hardware: Hardware,
        record: DeviceRecord,
        tip: Option<ChainTip>,
    ) -> Result<Self> {
        let receipts = ReceiptVerifier::new(network.id(), network.log_key());
        let mut outbox = Outbox::new(network.id(), &record.did, receipts);
        outbox.resume(tip, Vec::new())?;
        let transport = Arc::new(InProcess::new(network.ingest().clone()));
        Ok(Self { record, hardware, outbox: Arc::new(Mutex::new(outbox)), transport })
    }

    /// The same device, sending over another transport.
    #[must_use]
    pub fn over(mut self, transport: impl Transport + 'static) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// Its identity.
    pub fn did(&self) -> &Did {
        &self.record.did
    }

    /// Who owned it when it was enrolled or resumed.
    pub fn owner(&self) -> Address {
        self.record.owner
    }

    /// Its own account, where the registry gives one.
    pub fn account(&self) -> Option<Address> {
        self.record.account
    }

    /// Signs the readings as one batch and sends what is not receipted yet, oldest first.
    ///
    /// Returns the receipt of the new batch: proof that it is durable.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when there was no answer: the batch is kept, call
    /// [`flush`](Self::flush) later. [`ErrorKind::Rejected`] with the code and the hash when ingest refused
    /// it; the batch stays pending, for a clock that is ahead passes and a suspension ends. Where neither
    /// will happen, [`discard`](Self::discard) it, or nothing after it is sent.
    pub async fn send(&self, readings: &[Reading]) -> Result<Receipt> {
        let mut outbox = self.outbox.lock().await;
        outbox.push(&*self.hardware.signer, readings)?;
        let last = self.drain(&mut outbox).await?;
        last.ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing was waiting to be sent"))
    }

    /// Sends what is not receipted yet, oldest first; returns the last receipt, if anything waited.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn flush(&self) -> Result<Option<Receipt>> {
        self.drain(&mut *self.outbox.lock().await).await
    }

    /// Batches that were signed and are not receipted.
    pub async fn pending(&self) -> Vec<SignedBatch> {
        self.outbox.lock().await.pending().cloned().collect()
    }

    /// Gives up a batch that ingest refuses for good, by the hash in the error of [`send`](Self::send),
    /// and signs those after it anew, for they name it. Returns the readings that are lost.
    ///
    /// Only give up what was refused: a batch that was stored and is signed anew would be a fork.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no such batch is pending, or whatever the signer objects to.
    pub async fn discard(&self, batch: B256) -> Result<Vec<Reading>> {
        self.outbox.lock().await.discard(&*self.hardware.signer, batch)
    }

    async fn drain(&self, outbox: &mut Outbox) -> Result<Option<Receipt>> {
        let mut last = None;
        loop {
            let Some(batch) = outbox.pending().next().cloned() else { return Ok(last) };
            match self.transport.send(&batch).await? {
                Answer::Receipt(receipt) => {
                    outbox.acknowledge(&receipt)?;
                    last = Some(receipt);
                }
                Answer::Refusal(refusal) => {
                    return Err(Error::new(ErrorKind::Rejected, refusal.detail)
                        .with("code", refusal.code)
                        .with("batch", refusal.batch)
                        .with("device", self.did()));
                }
            }
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("did", self.did())
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
