//! A device of the network, as its firmware would hold it.

use std::{fmt, fs, path::Path, sync::Arc};

use depin_core::{
    Address, B256, Did, Error, ErrorKind, Reading, Result, SignedBatch, Signer,
    log::ChainTip,
    registry::DeviceRecord,
    transport::{Answer, Receipt, Refusal, RefusalCode, Transport},
};
#[cfg(feature = "geo")]
use depin_data::privacy::Discretion;
use depin_data::{
    batch::{Extras, SaltSeed},
    outbox::{FileStore, Outbox},
    receipt::ReceiptVerifier,
    transport::InProcess,
    wire,
};
use rand::rngs::OsRng;
use tokio::sync::Mutex;

use crate::{Hardware, Network};

/// Bytes of the file that keeps what a device has signed.
const KEPT: u64 = 4 << 20;

/// Signs readings in batches and keeps each until it holds a receipt.
///
/// Calls on one device run one after another, because its batches form a chain. Clones share the chain.
#[derive(Clone)]
pub struct Device {
    record: DeviceRecord,
    hardware: Hardware,
    outbox: Arc<Mutex<Outbox>>,
    #[cfg(feature = "geo")]
    discretion: Arc<Mutex<Discretion>>,
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
        let mut outbox = match &hardware.folder {
            Some(folder) => kept_in(folder, network, &record.did, receipts)?,
            None => Outbox::new(network.id(), &record.did, receipts),
        };
        // What is kept may be signed with a key that was changed while the device was away.
        outbox.rekey(&*hardware.signer, tip)?;
        outbox.reconcile(tip)?;
        let transport = Arc::new(InProcess::new(network.ingest().clone()));
        Ok(Self {
            record,
            #[cfg(feature = "geo")]
            discretion: Arc::new(Mutex::new(hardware.discretion.clone())),
            hardware,
            outbox: Arc::new(Mutex::new(outbox)),
            transport,
        })
    }

    /// The same device with its next key.
    pub(crate) async fn rekeyed(
        self,
        signer: Arc<dyn Signer>,
        record: DeviceRecord,
        tip: Option<ChainTip>,
    ) -> Result<Self> {
        self.outbox.lock().await.rekey(&*signer, tip)?;
        Ok(Self { record, hardware: Hardware { signer, ..self.hardware }, ..self })
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
    /// will happen, [`discard`](Self::discard) it, or nothing after it is sent. [`ErrorKind::NotFound`] when nothing
    /// is left of what the owner lets the device tell (`Hardware::silent_in`): none of it was signed, and what waited
    /// was tried.
    pub async fn send(&self, readings: &[Reading]) -> Result<Receipt> {
        self.send_with(readings, Extras::default()).await
    }

    /// As [`send`](Self::send), with more than readings: salts, or readings that one reader alone can open, which
    /// `privacy::seal_readings` seals (feature `hpke`).
    ///
    /// # Errors
    /// As [`send`](Self::send). [`ErrorKind::Config`] for what is sealed already where the owner has said something about
    /// places (`Hardware::coarsened`, `Hardware::silent_in`), for nobody here can hold it against that: the
    /// [`Collector`](depin_data::collector::Collector) does so before it seals.
    pub async fn send_with(&self, readings: &[Reading], extras: Extras<'_>) -> Result<Receipt> {
        let mut outbox = self.outbox.lock().await;
        let salts = self.hardware.is_salted && extras.seed.is_none();
        let fresh = salts.then(|| SaltSeed::generate(&mut OsRng));
        let extras = Extras { seed: extras.seed.or(fresh.as_ref()), ..extras };
        let kept = self.keep(&mut outbox, readings, extras).await;
        let kept = match kept {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            kept => kept,
        };
        // Where nothing of this may be told, what was signed elsewhere goes all the same.
        let last = self.drain(&mut outbox).await;
        kept?;
        last?.ok_or_else(|| Error::new(ErrorKind::NotFound, "nothing was waiting to be sent"))
    }

    /// Sends what is not receipted yet, oldest first; returns the last receipt, if anything waited.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn flush(&self) -> Result<Option<Receipt>> {
        self.drain(&mut *self.outbox.lock().await).await
    }

    /// Batches that were signed and are not receipted.
    ///
    /// # Errors
    /// What the device's store says.
    pub async fn pending(&self) -> Result<Vec<SignedBatch>> {
        self.outbox.lock().await.pending()
    }

    /// Gives up a batch that ingest refuses for good, by the hash in the error of [`send`](Self::send). A
    /// signed gap marker takes its place. Returns the readings that are lost.
    ///
    /// Ingest is asked once more before: what is stored is not lost.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the batch is stored, or may be: while the device is suspended, or
    /// earlier batches are missing. [`ErrorKind::NotFound`] when no such batch is pending, or as
    /// [`send`](Self::send).
    pub async fn discard(&self, batch: B256) -> Result<Vec<Reading>> {
        use RefusalCode::{Fork, NotActive, NotRegistered, SequenceGap};
        let mut outbox = self.outbox.lock().await;
        let kept = outbox.pending()?.into_iter().find(|kept| kept.hash() == batch);
        let unsafe_to =
            |why: &'static str| Error::new(ErrorKind::Conflict, why).with("batch", batch);
        if let Some(kept) = kept {
            match self.transport.send(&kept).await? {
                Answer::Receipt(receipt) => {
                    outbox.acknowledge(&receipt)?;
                    return Err(unsafe_to("the batch is stored; it has its receipt now"));
                }
                Answer::Refusal(Refusal {
                    code: code @ (Fork | NotActive | NotRegistered | SequenceGap),
                    ..
                }) => {
                    let why = "ingest does not say that the batch is not stored; keep it";
                    return Err(unsafe_to(why).with("code", code));
                }
                Answer::Refusal(_) => {}
            }
        }
        outbox.discard(batch)
    }

    /// Signs what may be told and keeps it.
    #[cfg(feature = "geo")]
    async fn keep(
        &self,
        outbox: &mut Outbox,
        readings: &[Reading],
        extras: Extras<'_>,
    ) -> Result<()> {
        let mut discretion = self.discretion.lock().await;
        if extras.sealed.is_some() && !discretion.tells_all() {
            let text = "what is sealed already cannot be held against what the owner says about places; let the \
                        collector seal it";
            return Err(Error::new(ErrorKind::Config, text).with("device", self.did()));
        }
        let mut after = discretion.clone();
        let told = after.apply(readings.to_vec());
        if told.is_empty() && !readings.is_empty() {
            *discretion = after;
            let text = "the owner lets the device tell nothing of this; nothing was signed";
            return Err(Error::new(ErrorKind::NotFound, text).with("device", self.did()));
        }
        outbox.push_with(&*self.hardware.signer, &told, extras)?;
        // What was not signed is given again, and judged by where the device was before.
        *discretion = after;
        Ok(())
    }

    #[cfg(not(feature = "geo"))]
    async fn keep(
        &self,
        outbox: &mut Outbox,
        readings: &[Reading],
        extras: Extras<'_>,
    ) -> Result<()> {
        outbox.push_with(&*self.hardware.signer, readings, extras).map(|_| ())
    }

    async fn drain(&self, outbox: &mut Outbox) -> Result<Option<Receipt>> {
        let mut last = None;
        loop {
            let Some(batch) = outbox.next(&*self.hardware.signer)? else { return Ok(last) };
            match self.transport.send(&batch).await? {
                Answer::Receipt(receipt) => {
                    outbox.acknowledge(&receipt)?;
                    last = Some(receipt);
                }
                // The log holds what a marker gives up. Of a batch it would say so in a receipt.
                Answer::Refusal(refusal)
                    if refusal.code == RefusalCode::Superseded
                        && outbox.superseded(refusal.batch).is_ok() => {}
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

/// The outbox in a folder, which it shares with those of other devices.
fn kept_in(
    folder: &Path,
    network: &Network,
    did: &Did,
    receipts: ReceiptVerifier,
) -> Result<Outbox> {
    let failed = |error| {
        Error::unavailable("the folder of the outbox cannot be made; check its path and rights")
            .with("path", folder.display())
            .source(error)
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let file = folder.join(format!("{}.outbox", wire::device_tag(did)));
    Outbox::open(network.id(), did, receipts, FileStore::open(file, KEPT)?)
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("did", self.did())
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}
