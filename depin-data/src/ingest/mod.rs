//! Takes signed batches from anywhere, and lets into the log what a registered device has signed.
//!
//! The checks run from cheap to dear: size, format, network, registry, standing, signature over the
//! received bytes, clock, what the device may take, and last the log itself, which alone decides about a
//! device's chain. The answer is a [`Receipt`] for what is durable, or a [`Refusal`] that names its code
//! and is kept with the bytes, to be [explained](Ingest::explain) and [judged again](Ingest::replay).

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use depin_core::{
    B256, Bytes, Clock, Did, Error, ErrorKind, NetworkEvent, NetworkId, Result, Sequence,
    SignedBatch, Timestamp,
    log::{BatchLog, RefusedBatch, TreeHead},
    registry::DeviceRegistry,
    transport::{Answer, Receipt, Refusal, RefusalCode},
};

use crate::{
    batch, observe,
    privacy::{Commitment, witness},
    receipt::HeadSigner,
};

mod account;
mod admit;
mod builder;
mod diagnosis;
mod due;
mod fork;
mod group;
mod lag;
mod letter;
mod lookups;
mod objection;
mod quota;
mod records;
mod standing;
mod turn;

pub use account::{DeviceLimits, Rate};
pub use builder::{IngestBuilder, Listener};
pub use diagnosis::{ByteFault, Claimed, Diagnosis, Standing};
pub use lag::Lag;
pub use letter::{DeadLetter, LetterPage, Letters, Replays};

use self::{
    admit::throttled,
    builder::ClockRule,
    due::Due,
    group::Groups,
    lookups::Lookups,
    objection::Objection,
    quota::{Quota, Worth},
    records::Records,
    turn::{Place, Turn},
};

/// Batches of [`Ingest::accept_many`] that are under way together.
const TOGETHER: usize = 64;

/// The gate before the log. Shared by every way in; see [`builder`](Self::builder).
///
/// # How much a device may take
///
/// [`DeviceLimits`] bound what one device stores per time and how many of its batches are under way, so
/// that no device stops another; [`concurrency`](IngestBuilder::concurrency) bounds them all together. More
/// is [`ErrorKind::Unavailable`] with the time after which to come again
/// ([`Error::retry_after`]); it is no refusal, and nothing is kept. What the log holds already is answered
/// at any rate. What is refused is not charged, but for forks of which only further signatures tell whether they convict
/// the device: one a second, and 32 at once. Accounts are kept for the 32,768 to 65,536 devices heard of last.
///
/// # How much refusals may cost
///
/// Refused bytes are evidence, and anyone can send bytes. So per minute of the clock at most 240 refusals
/// and 1 MiB are kept of what nobody vouches for (unknown, not active, or a signature that does not hold), and
/// 8 MiB of what devices have signed. No sender uses up the room of others: a name that is only claimed may have a
/// quarter of what the others have left, as may everything that names nobody; a device that signed may have a 32nd
/// of what the others have left, and 20 letters of a code. Beside that there are 8 MiB for the first fork of each device
/// in the minute, with both batches, which are room for 64 devices at least: whatever else a device sends, what convicts
/// it is kept. Further ones are answered and announced as events all
/// the same, and [counted](Self::unkept). Invented names cost nothing, so dozens of them fill the room of what
/// nobody vouches for, until the minute ends.
/// What is kept stays until somebody [forgets](BatchLog::forget_refusals) it. These are bounds for a minute and for a
/// process: strangers who never tire write 1.4 GiB a day to the disk of each. In a log that several processes share it
/// all goes into the stream, which keeps what a process forgets in its own view: there the disk of the server is to
/// be watched, and networks in which strangers reach ingest are better off with a log in a folder.
///
/// # How fresh standing is
///
/// Registry records are cached for 10 s of the clock; absence is not. [`forget`](Self::forget) makes a
/// change count at once. What counts is the standing when a batch arrives, not when it was signed or when its
/// readings say they were measured: that is the device's own word, and whoever has stolen a key would date what he
/// signs before the day on which it was revoked. A batch that is stored has its receipt again, whatever became of
/// its device or key.
///
/// So after a change of key this process takes nothing more under the old one as soon as it is told, and any
/// other process that takes batches for the same log 10 s later at the latest: until then whoever has the old
/// key can still extend the device's chain there, and [forget](Self::forget) on each of them closes the window.
/// What comes in that way is signed with a key that was the device's until just now, and is scored as such; a
/// key cannot come back: an epoch counts no batch signed with an older key than the one before it in the chain.
///
/// # What a flood of invented names costs
///
/// A name must be looked up before anything about a batch can be known. At most a quarter of the
/// [concurrency](IngestBuilder::concurrency) waits for the registry over names that were never stored or
/// registered lately, half of it over devices that were; so a flood delays devices that are new, and no others.
/// Over MQTT and NATS such a name also takes one of the places for messages that wait, of which a topic has a 16th, and
/// nobody waits in line behind it: a line is what one device sends over one topic.
pub struct Ingest {
    network: NetworkId,
    log: Arc<dyn BatchLog>,
    registry: Arc<dyn DeviceRegistry>,
    clock: Arc<dyn Clock>,
    heads: HeadSigner,
    rule: ClockRule,
    limits: DeviceLimits,
    records: Mutex<Records>,
    groups: Groups,
    due: Due,
    quota: Mutex<Quota>,
    unkept: AtomicU64,
    in_flight: AtomicUsize,
    /// Commitments that are looked up.
    witnessing: AtomicUsize,
    lookups: Lookups,
    concurrency: usize,
    head: Mutex<Option<Head>>,
    listeners: RwLock<Vec<Listener>>,
}

/// The source of an error when one device has sent too much: others are served meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device may come again in {} ms", .0.as_millis())]
pub struct Throttled(Duration);

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
    /// refusal means that sending the same bytes again will not help, unless its code
    /// [may change](depin_core::transport::Explanation::may_change).
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the device or all together send too much, or log or registry do not
    /// answer now: keep the batch and send it again, after the time that the error names. Damage of the
    /// log is [`ErrorKind::Corrupt`].
    pub async fn accept(&self, bytes: &[u8]) -> Result<Answer> {
        self.accept_batch(&SignedBatch::new(Bytes::copy_from_slice(bytes))).await
    }

    /// As [`accept`](Self::accept), for bytes that are shared and hashed already.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    #[tracing::instrument(level = "debug", name = "accept", skip_all, fields(batch = %batch.hash()))]
    pub async fn accept_batch(&self, batch: &SignedBatch) -> Result<Answer> {
        self.accept_in_turn(batch, &Turn::default()).await
    }

    async fn accept_in_turn(&self, batch: &SignedBatch, turn: &Turn<'_>) -> Result<Answer> {
        let answer = self.answer(batch, turn).await;
        turn.ended(&answer);
        answer
    }

    async fn answer(&self, batch: &SignedBatch, turn: &Turn<'_>) -> Result<Answer> {
        let timer = observe::Timer::start();
        let answer = self.judged(batch, turn).await;
        observe::answered(answer.as_ref(), timer);
        answer
    }

    async fn judged(&self, batch: &SignedBatch, turn: &Turn<'_>) -> Result<Answer> {
        let _slot = admit::enter(&self.in_flight, self.concurrency, "ingest")?;
        observe::received(batch.as_bytes().len(), self.in_flight.load(Ordering::Relaxed));
        let received = self.clock.now();
        Ok(match self.judge(batch, received, turn).await? {
            Ok(receipt) => Answer::Receipt(receipt),
            Err(objection) => Answer::Refusal(self.refuse(batch, received, objection).await?),
        })
    }

    /// Judges many batches: one answer for each, in their order, as [`accept`](Self::accept) gives it.
    ///
    /// Signatures of one algorithm are verified together where that is cheaper, and appends wait for the
    /// disk together, 64 batches at a time. Batches of one device go in the order given; behind one that cannot
    /// be taken now (an error) no later one of its device is taken or refused: these come again with it.
    pub async fn accept_many(&self, batches: &[SignedBatch]) -> Vec<Result<Answer>> {
        let sender = |b: &SignedBatch| batch::claimed_signer(b.as_bytes(), &self.network).ok();
        let senders: Vec<_> = batches.iter().map(sender).collect();
        let mut last = HashMap::new();
        let before =
            senders.iter().enumerate().map(|(own, sender)| last.insert(sender.as_ref()?, own));
        let places: Vec<_> = before.map(Place::behind).collect();
        let turns: Vec<_> = (0..places.len()).map(|own| Turn::new(&places, own)).collect();
        let mut answers = Vec::with_capacity(batches.len());
        let turns = turns.chunks(TOGETHER).zip(senders.chunks(TOGETHER));
        for (together, (turns, senders)) in batches.chunks(TOGETHER).zip(turns) {
            self.meet(senders).await;
            let calls = together.iter().zip(turns);
            answers.extend(all(calls.map(|(batch, turn)| self.accept_in_turn(batch, turn))).await);
        }
        answers
    }

    /// Asks the registry first for those who claim to have sent something, so that no batch waits for it while
    /// its place in the order is open.
    async fn meet(&self, senders: &[Option<Did>]) {
        let names: BTreeSet<_> = senders.iter().flatten().collect();
        all(names.into_iter().map(|did| self.known(did))).await;
    }

    /// Tells `listener` what happens from now on. It runs on the task that handles the batch, so it
    /// should hand over and return. A batch that is stored is told once, if need be when it is sent again because
    /// its answer was lost.
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

    /// The receipt of what holds a place of a device's chain: for whoever lost it, and for auditors.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the chain does not reach there, or as the log's reads.
    pub async fn receipt_of(&self, device: &Did, sequence: Sequence) -> Result<Receipt> {
        let none = || {
            Error::new(ErrorKind::NotFound, "the device's chain does not reach there")
                .with("device", device)
                .with("sequence", sequence)
        };
        let (index, hash) = self.log.find(device, sequence).await?.ok_or_else(none)?;
        self.receipt(hash, index).await
    }

    /// Says, signed, that a commitment is of a batch in the log: for whoever is shown a part of the batch and
    /// cannot check its receipt. [`witnessed`](crate::privacy::witnessed) verifies it. Anybody may ask, so a quarter of
    /// the [concurrency](IngestBuilder::concurrency), beside that of batches, is for all who do.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] while too many ask: ask again, after the time that the error names.
    /// [`ErrorKind::NotFound`] when the chain does not reach there or its bytes are forgotten,
    /// [`ErrorKind::Rejected`] when the commitment is not of the batch there, [`ErrorKind::Malformed`] when it is
    /// none, or as the log's reads.
    pub async fn witness(&self, commitment: &Commitment) -> Result<Vec<u8>> {
        let _slot = admit::enter(&self.witnessing, self.concurrency / 4, "witnesses")?;
        let (device, sequence) = commitment.place(&self.network)?;
        let Receipt { index, .. } = self.receipt_of(&device, sequence).await?;
        let entry = self.log.read(index, 1).await?.into_iter().next();
        let entry = entry.ok_or_else(|| Error::new(ErrorKind::NotFound, "the log ends before"))?;
        let held = (index, entry.batch.as_bytes());
        witness::sign(&self.heads, &self.network, commitment, held, self.clock.now())
    }

    /// The network whose batches are taken.
    pub const fn network(&self) -> &NetworkId {
        &self.network
    }

    /// The log behind the gate.
    pub const fn log(&self) -> &Arc<dyn BatchLog> {
        &self.log
    }

    /// What signs for the log: tree heads, and refusals that go through a broker.
    pub const fn signer(&self) -> &HeadSigner {
        &self.heads
    }

    /// How many refusals were answered and, to save the disk, not kept.
    pub fn unkept(&self) -> u64 {
        self.unkept.load(Ordering::Relaxed)
    }

    /// The receipt of a batch that is in the log at this index.
    pub(crate) async fn receipt(&self, batch: B256, index: u64) -> Result<Receipt> {
        let cached = lock(&self.head).clone().filter(|head| index < head.tree.size);
        let head = match cached {
            Some(head) => head,
            None => self.sign(self.log.head().await?)?,
        };
        let TreeHead { size: tree_size, root } = head.tree;
        let path = self.log.inclusion(index, tree_size).await?;
        Ok(Receipt { batch, index, tree_size, root, path, head: head.signed })
    }

    /// Signs a head, or finds the signature made before: one signature serves a whole group commit. Whoever
    /// comes late with a smaller tree gets the larger head: an honest log must not look as if it had shrunk.
    fn sign(&self, tree: TreeHead) -> Result<Head> {
        let serves = |head: &Head| head.tree == tree || head.tree.size > tree.size;
        if let Some(head) = lock(&self.head).clone().filter(serves) {
            return Ok(head);
        }
        let head = Head { tree, signed: self.heads.sign(&tree, self.clock.now())?.into() };
        let mut kept = lock(&self.head);
        match &*kept {
            // Another was faster.
            Some(larger) if larger.tree.size > tree.size => return Ok(larger.clone()),
            Some(same) if same.tree.size == tree.size => {}
            _ => *kept = Some(head.clone()),
        }
        Ok(head)
    }

    /// Judges kept bytes again, and keeps no second letter of them. Their readings may fit the moment when they
    /// came, or the present one: it may have been the clock of ingest that was wrong.
    #[tracing::instrument(level = "debug", name = "replay", skip_all)]
    async fn judge_again(&self, refused: &RefusedBatch) -> Result<Answer> {
        let batch = SignedBatch::new(refused.bytes.clone());
        let _slot = admit::enter(&self.in_flight, self.concurrency, "ingest")?;
        let mut judged = self.judge(&batch, refused.received, &Turn::default()).await?;
        let clock = [RefusalCode::ClockAhead, RefusalCode::ClockBehind];
        if judged.as_ref().is_err_and(|objection| clock.contains(&objection.code)) {
            judged = self.judge(&batch, self.clock.now(), &Turn::default()).await?;
        }
        let answer = match judged {
            Ok(receipt) => Answer::Receipt(receipt),
            Err(Objection { code, detail, device, .. }) => {
                Answer::Refusal(Refusal { code, detail, batch: batch.hash(), device })
            }
        };
        observe::replayed(&answer);
        Ok(answer)
    }

    async fn refuse(
        &self,
        batch: &SignedBatch,
        received: Timestamp,
        objection: Objection,
    ) -> Result<Refusal> {
        let bytes = batch.as_bytes();
        let cut = Bytes::copy_from_slice(bytes.get(..batch::MAX_BYTES).unwrap_or(bytes));
        let Objection { code, detail, device, worth, against } = objection;
        let worth = match (&device, &against) {
            (Some(did), Some(against)) => self.worth(batch, against, did, received)?,
            _ => worth,
        };
        let against = against.map(|against| against.held);
        let batch = batch.hash();
        let refusal = Refusal { code, detail, batch, device };
        let sender = refusal.device.as_ref();
        let kept = cut.len().saturating_add(against.as_ref().map_or(0, |held| held.len()));
        if lock(&self.quota).admits(sender, worth, code, kept, received) {
            let refused = RefusedBatch { refusal: refusal.clone(), received, bytes: cut, against };
            self.log.refuse(refused).await?;
        } else {
            self.unkept.fetch_add(1, Ordering::Relaxed);
            observe::unkept(worth != Worth::Claim);
        }
        let did = refusal.device.clone();
        self.announce(|| NetworkEvent::BatchRefused { did, batch, code });
        Ok(refusal)
    }

    /// Tells everybody of an event, if there is one.
    fn announce_if(&self, event: Option<NetworkEvent>) {
        event.into_iter().for_each(|event| self.announce(|| event));
    }

    fn announce(&self, event: impl FnOnce() -> NetworkEvent) {
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !listeners.is_empty() {
            let event = event();
            listeners.iter().for_each(|listener| listener(&event));
        }
    }
}

/// Waits for all, polling them in their order.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(move |context| {
        let mut waiting = false;
        for (future, output) in running.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match pin!(future).poll(context) {
                    Poll::Ready(value) => *output = Some(value),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(outputs.drain(..).flatten().collect()) }
    })
    .await
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
