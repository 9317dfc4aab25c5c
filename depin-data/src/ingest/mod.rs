//! Takes signed batches from anywhere, and lets into the log what a registered device has signed.
//!
//! The checks run from cheap to dear: size, format, network, registry, standing, signature over the
//! received bytes, clock, and last the log itself, which alone decides about a device's chain. The answer
//! is a [`Receipt`] for what is durable, or a [`Refusal`] that names its code and is kept with the bytes.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use depin_core::{
    B256, Batch, Bytes, Clock, Did, Error, NetworkEvent, NetworkId, Result, SignedBatch, Timestamp,
    Verified,
    log::{Append, BatchLog, RefusedBatch, TreeHead},
    registry::{DeviceRegistry, DeviceStatus},
    transport::{Answer, Receipt, Refusal},
};

use crate::{
    batch::{self, Link},
    receipt::HeadSigner,
};

mod builder;
mod objection;
mod quota;
mod records;

pub use builder::{IngestBuilder, Listener};

use self::{
    builder::ClockRule,
    objection::{Objection, Stop},
    quota::Quota,
    records::{Known, Records},
};

/// The gate before the log. Shared by every way in; see [`builder`](Self::builder).
///
/// # How much refusals may cost
///
/// Refused bytes are evidence, and anyone can send bytes. So per minute of the clock at most 60 refusals
/// and 256 KiB are kept from senders that nobody vouches for (unknown, not active, or a signature that
/// does not hold), and 20 per code from each device that signed them. Further ones are answered and
/// announced as events all the same, and [counted](Self::unkept).
///
/// # How fresh standing is
///
/// Registry records are cached for 10 s of the clock; absence is not. [`forget`](Self::forget) makes a
/// change count at once.
pub struct Ingest {
    network: NetworkId,
    log: Arc<dyn BatchLog>,
    registry: Arc<dyn DeviceRegistry>,
    clock: Arc<dyn Clock>,
    heads: HeadSigner,
    rule: ClockRule,
    records: Mutex<Records>,
    quota: Mutex<Quota>,
    unkept: AtomicU64,
    in_flight: AtomicUsize,
    concurrency: usize,
    head: Mutex<Option<Head>>,
    listeners: RwLock<Vec<Listener>>,
}

/// A tree head with its signature.
#[derive(Clone)]
struct Head {
    tree: TreeHead,
    signed: Bytes,
}

impl Ingest {
    /// Judges a batch as it came over the wire.
    ///
    /// A receipt means that the batch is durable; the same bytes sent again get a receipt again. A
    /// refusal means that sending the same bytes again will not help, except for
    /// `sequence-gap`, `clock-ahead` and a standing that changes.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when too many batches are in
    /// flight, or log or registry do not answer now: keep the batch and send it again. Damage of the log
    /// is [`ErrorKind::Corrupt`](depin_core::ErrorKind::Corrupt).
    pub async fn accept(&self, bytes: &[u8]) -> Result<Answer> {
        let _slot = self.enter()?;
        let received = self.clock.now();
        match self.admit(bytes, received).await {
            Ok(receipt) => Ok(Answer::Receipt(receipt)),
            Err(Stop::Refuse(objection)) => {
                self.refuse(bytes, received, objection).await.map(Answer::Refusal)
            }
            Err(Stop::Fail(error)) => Err(error),
        }
    }

    /// Tells `listener` what happens from now on. It runs on the task that handles the batch, so it
    /// should hand over and return.
    pub fn subscribe(&self, listener: Listener) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Asks the registry again at the next batch of this device.
    pub fn forget(&self, did: &Did) {
        lock(&self.records).forget(did);
    }

    /// The present tree head, signed.
    ///
    /// # Errors
    /// As the log's [`head`](BatchLog::head), or whatever the signer objects to.
    pub async fn head(&self) -> Result<Bytes> {
        let tree = self.log.head().await?;
        Ok(self.sign(tree)?.signed)
    }

    /// The network whose batches are taken.
    pub const fn network(&self) -> &NetworkId {
        &self.network
    }

    /// The log behind the gate.
    pub const fn log(&self) -> &Arc<dyn BatchLog> {
        &self.log
    }

    /// How many refusals were answered and, to save the disk, not kept.
    pub fn unkept(&self) -> u64 {
        self.unkept.load(Ordering::Relaxed)
    }

    async fn admit(&self, bytes: &[u8], received: Timestamp) -> Result<Receipt, Stop> {
        let did = batch::claimed_signer(bytes, &self.network)
            .map_err(|error| Objection::unproven(error.code(), error, None))?;
        let known = self.known(&did).await?;
        let batch = SignedBatch::new(Bytes::copy_from_slice(bytes));
        let link = known
            .verifier
            .link(&batch)
            .map_err(|error| Objection::unproven(error.code(), error, Some(&did)))?;
        if let Link::Batch(verified) = &link {
            self.check_clock(verified, received).await?;
        }
        let (hash, sequence, readings) =
            (batch.hash(), link.sequence(), link.readings().len() as u64);
        let new = link.into_new(received, batch);
        let index = match self.log.append(new).await? {
            Append::Stored(index) => {
                let (did, batch) = (did, hash);
                self.announce(|| NetworkEvent::BatchAccepted {
                    did,
                    sequence,
                    batch,
                    index,
                    readings,
                });
                index
            }
            Append::Duplicate(index) => index,
            Append::Fork(there) => return Err(Objection::fork(&did, sequence, there).into()),
            Append::Superseded(tip) => {
                return Err(Objection::superseded(&did, sequence, tip.sequence).into());
            }
            Append::Gap(next) => return Err(Objection::gap(&did, sequence, next).into()),
        };
        Ok(self.receipt(hash, index).await?)
    }

    /// What the registry says about the device, if it may send.
    async fn known(&self, did: &Did) -> Result<Arc<Known>, Stop> {
        let now = self.clock.now();
        let (cached, moment) = {
            let mut records = lock(&self.records);
            (records.find(did, now), records.moment())
        };
        let known = match cached {
            Some(known) => known,
            None => {
                let record = objection::registered(did, self.registry.device(did).await)?;
                let known = Arc::new(Known::new(&self.network, &record));
                lock(&self.records).keep(did, Arc::clone(&known), now, moment);
                known
            }
        };
        match known.status {
            DeviceStatus::Active => Ok(known),
            status => Err(Objection::not_active(did, status).into()),
        }
    }

    /// Refuses readings from another time, unless their place in the chain is taken: then the log says
    /// whether it has these very bytes.
    async fn check_clock(&self, batch: &Verified<Batch>, now: Timestamp) -> Result<(), Stop> {
        let Some(objection) = self.rule.object(batch, now) else { return Ok(()) };
        let tip = self.log.tip(&batch.device).await?;
        if tip.is_some_and(|tip| batch.sequence <= tip.sequence) {
            return Ok(());
        }
        Err(objection.into())
    }

    async fn receipt(&self, batch: B256, index: u64) -> Result<Receipt> {
        let cached = lock(&self.head).clone().filter(|head| index < head.tree.size);
        let head = match cached {
            Some(head) => head,
            None => self.sign(self.log.head().await?)?,
        };
        let TreeHead { size: tree_size, root } = head.tree;
        let path = self.log.inclusion(index, tree_size).await?;
        Ok(Receipt { batch, index, tree_size, root, path, head: head.signed })
    }

    /// Signs a head, or finds the signature made before: one signature serves a whole group commit.
    fn sign(&self, tree: TreeHead) -> Result<Head> {
        if let Some(head) = lock(&self.head).clone().filter(|head| head.tree == tree) {
            return Ok(head);
        }
        let head = Head { tree, signed: self.heads.sign(&tree, self.clock.now())?.into() };
        let mut kept = lock(&self.head);
        if kept.as_ref().is_none_or(|kept| kept.tree.size < tree.size) {
            *kept = Some(head.clone());
        }
        Ok(head)
    }

    async fn refuse(
        &self,
        bytes: &[u8],
        received: Timestamp,
        objection: Objection,
    ) -> Result<Refusal> {
        let cut = Bytes::copy_from_slice(bytes.get(..batch::MAX_BYTES).unwrap_or(bytes));
        let Objection { code, detail, device, proven } = objection;
        let batch = SignedBatch::new(bytes.to_vec()).hash();
        let refusal = Refusal { code, detail, batch, device };
        let payer = refusal.device.as_ref().filter(|_| proven);
        if lock(&self.quota).admits(payer, code, cut.len(), received) {
            let refused =
                RefusedBatch { refusal: refusal.clone(), received, bytes: cut, against: None };
            self.log.refuse(refused).await?;
        } else {
            self.unkept.fetch_add(1, Ordering::Relaxed);
        }
        let did = refusal.device.clone();
        self.announce(|| NetworkEvent::BatchRefused { did, batch, code });
        Ok(refusal)
    }

    fn announce(&self, event: impl FnOnce() -> NetworkEvent) {
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !listeners.is_empty() {
            let event = event();
            listeners.iter().for_each(|listener| listener(&event));
        }
    }

    fn enter(&self) -> Result<Slot<'_>> {
        let slot = Slot(&self.in_flight);
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.concurrency {
            return Err(Error::unavailable("ingest is saturated; send the batch again later"));
        }
        Ok(slot)
    }
}

/// A batch in flight; leaves when dropped.
struct Slot<'a>(&'a AtomicUsize);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the locks guard is consistent after every statement, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Ingest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ingest")
            .field("network", &self.network)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}
