//! The device's side of its chain: seals batches and keeps each until the log has proven to hold it.
//!
//! A blank store is that of a device which never sent, or of one that lost its memory. The second would sign
//! number 0 again and give evidence against itself, so nothing is signed before the outbox is
//! [placed](Outbox::is_placed): by what the store holds, or by the word of the log.
//!
//! Every batch is written down before anybody sees it, so a device that loses power never signs another
//! batch for the same place. What does not fit any more goes, oldest first, and a signed
//! [gap marker](crate::batch::seal_gap) closes the hole when the chain is sent. The marker is made when it is
//! needed and kept until it is answered; made again after a restart it says the same or more, and a log takes
//! both.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};

use depin_core::{
    B256, Did, Error, ErrorKind, NetworkId, Reading, Result, Sequence, SignedBatch, Signer,
    log::ChainTip, transport::Receipt,
};

use sha2::{Digest, Sha256};

use crate::{
    batch::{self, Claim, Extras, SaltSeed},
    receipt::ReceiptVerifier,
};

#[cfg(feature = "std")]
mod file;
mod record;
mod ring;
mod store;

#[cfg(feature = "std")]
pub use file::FileStore;
pub use store::{RamStore, Store};

use self::{
    record::{Checkpoint, Record},
    ring::{Found, Place, Ring},
};

/// What a device has signed and not yet proven to be stored, in chain order.
///
/// ```
/// use depin_core::{Algorithm, Decimal, NetworkId, Reading, Signer, SoftwareKey, Timestamp, reading::Quantity};
/// use depin_data::{outbox::Outbox, receipt::ReceiptVerifier};
///
/// let (network, key) = (NetworkId::parse("climate")?, SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]));
/// let log_key = SoftwareKey::from_seed(Algorithm::EdDsa, [2; 32]);
/// let receipts = ReceiptVerifier::new(&network, log_key.public_key());
///
/// let mut outbox = Outbox::new(&network, &"did:example:a".parse()?, receipts);
/// outbox.reconcile(None)?; // The log knows nothing of this device.
/// let reading = Reading::new(Quantity::new("t", "Cel"), Decimal::from(3), Timestamp::from_secs(1));
/// let batch = outbox.push(&key, &[reading])?;
/// assert_eq!(outbox.next(&key)?, Some(batch));
/// assert_eq!(outbox.len(), 1);
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Debug)]
pub struct Outbox {
    network: NetworkId,
    did: Did,
    receipts: ReceiptVerifier,
    ring: Ring,
    /// Whether what is known comes from the store or from the log, and not from nowhere.
    placed: bool,
    known: Checkpoint,
    kept: VecDeque<Kept>,
    /// The marker that was handed out and is not answered yet, with what it gives up.
    marker: Option<(SignedBatch, ChainTip)>,
    dropped: u64,
}

/// A batch in the ring.
#[derive(Clone, Copy, Debug)]
struct Kept {
    sequence: Sequence,
    previous: B256,
    hash: B256,
    place: Place,
    /// Signed with a key that the device no longer has.
    stale: bool,
}

impl Kept {
    /// Whether it is still to be sent when the log holds the chain up to `settled`.
    fn waits_after(&self, settled: Option<ChainTip>) -> bool {
        self.stale || settled.is_none_or(|settled| self.sequence > settled.sequence)
    }
}

impl Outbox {
    /// An empty outbox in memory, of up to 4 MiB, for the chain of `did`. It signs nothing before it is
    /// [placed](Self::is_placed).
    pub fn new(network: &NetworkId, did: &Did, receipts: ReceiptVerifier) -> Self {
        let opened = Self::open(network, did, receipts, RamStore::new(64, 64 * 1024));
        opened.expect("invariant: memory has enough sectors and nothing in them")
    }

    /// Goes on with what `store` holds. One that holds nothing does not know what was sent, and signs nothing before
    /// it is [placed](Self::is_placed). One that was put back, an older copy, knows less than was sent and cannot
    /// see that: where there may be copies, [`reconcile`](Self::reconcile) with the log before anything is signed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a store that is too small, [`ErrorKind::Conflict`] for that of another device
    /// or network, [`ErrorKind::Corrupt`] when it holds something else, or what the store says.
    pub fn open(
        network: &NetworkId,
        did: &Did,
        receipts: ReceiptVerifier,
        store: impl Store + 'static,
    ) -> Result<Self> {
        let (ring, found) = Ring::open(Box::new(store), owner(network, did))?;
        let mut outbox = Self {
            network: network.clone(),
            did: did.clone(),
            receipts,
            ring,
            placed: !found.is_empty(),
            known: Checkpoint::default(),
            kept: VecDeque::new(),
            marker: None,
            dropped: 0,
        };
        for found in found {
            match found {
                Found::Checkpoint(known) => outbox.settle(known),
                Found::Record(place, content) => outbox.replay(place, &content)?,
            }
        }
        Ok(outbox)
    }

    /// Seals readings as the next batch and keeps it until [`acknowledge`](Self::acknowledge). When this
    /// returns, the batch survives power loss. The oldest batches go where there is no room.
    ///
    /// # Errors
    /// As [`batch::seal`], [`ErrorKind::Unavailable`] while the outbox is not [placed](Self::is_placed),
    /// [`ErrorKind::Limit`] for a batch larger than the store, [`ErrorKind::Conflict`] for another key than the one
    /// that signed before, see [`rekey`](Self::rekey), or what the store says; the batch was not shown to anybody
    /// then.
    pub fn push(&mut self, signer: &dyn Signer, readings: &[Reading]) -> Result<SignedBatch> {
        self.push_with(signer, readings, Extras::default())
    }

    /// As [`push`](Self::push), with [salted leaves](SaltSeed) if there is a seed.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn push_salted(
        &mut self,
        signer: &dyn Signer,
        readings: &[Reading],
        seed: Option<&SaltSeed>,
    ) -> Result<SignedBatch> {
        self.push_with(signer, readings, Extras { seed, sealed: None })
    }

    /// As [`push`](Self::push), with more than readings.
    ///
    /// # Errors
    /// As for [`push`](Self::push).
    pub fn push_with(
        &mut self,
        signer: &dyn Signer,
        readings: &[Reading],
        extras: Extras<'_>,
    ) -> Result<SignedBatch> {
        self.renew(signer)?;
        self.add(signer, readings, extras, None)
    }

    /// What to send now, if anything: the oldest batch, or first a marker that earlier ones are given up.
    ///
    /// # Errors
    /// What the signer or the store says.
    pub fn next(&mut self, signer: &dyn Signer) -> Result<Option<SignedBatch>> {
        self.renew(signer)?;
        loop {
            let (expected, previous) = next(self.known.settled).ok_or_else(at_its_end)?;
            if let Some((marker, _)) =
                self.marker.as_ref().filter(|(_, end)| end.sequence >= expected)
            {
                return Ok(Some(marker.clone()));
            }
            let end = match (self.kept.front().copied(), self.known.tip) {
                (Some(kept), _) if kept.sequence <= expected => match self.ring.read(kept.place) {
                    Ok(content) => return batch_of(&content).map(Some),
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        self.kept.pop_front();
                        self.dropped += 1;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
                (Some(kept), _) => before(&kept),
                (None, tip) => tip.filter(|tip| tip.sequence >= expected),
            };
            let Some(end) = end else { return Ok(None) };
            let key = self.key_of(signer)?;
            let (did, network) = (&self.did, &self.network);
            let marker = batch::seal_gap(signer, did, network, expected, previous, end)?;
            self.known.key = key;
            self.marker = Some((marker, end));
        }
    }

    /// Forgets the batch that a receipt proves to be stored, and all before it, for a log stores a chain in
    /// order.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no such batch or marker waits, [`ErrorKind::Rejected`] or
    /// [`ErrorKind::Malformed`] when the receipt does not hold; the batch is kept then.
    pub fn acknowledge(&mut self, receipt: &Receipt) -> Result<()> {
        if let Some((marker, end)) = self.marker.clone().filter(|(m, _)| m.hash() == receipt.batch)
        {
            self.receipts.verify(receipt, &marker)?;
            return self.settled(end);
        }
        let kept = self.find(receipt.batch)?;
        let batch = batch_of(&self.ring.read(kept.place)?)?;
        self.receipts.verify(receipt, &batch)?;
        self.settled(ChainTip { sequence: kept.sequence, hash: kept.hash })
    }

    /// Forgets a marker of which ingest says that it is
    /// [superseded](depin_core::transport::RefusalCode::Superseded): the log holds what it gives up.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when it is not the marker that waits.
    pub fn superseded(&mut self, marker: B256) -> Result<()> {
        let end = self.marker.as_ref().filter(|(m, _)| m.hash() == marker).map(|(_, end)| *end);
        self.settled(end.ok_or_else(not_pending)?)
    }

    /// Gives up a batch that ingest refuses for good and returns its readings, which the chain loses. Those that were
    /// sealed for a consumer are not among them and are lost with it: only he could open them. Who wants to keep the
    /// bytes for him takes the batch from [`pending`](Self::pending) before. A gap
    /// marker takes its place; those after it stay as they are. Where writing this down would cost another
    /// batch, it is kept in mind only: after power loss the batch waits again, to be refused again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no such batch waits, or what the store says; the outbox is unchanged then.
    pub fn discard(&mut self, batch: B256) -> Result<Vec<Reading>> {
        let kept = self.find(batch)?;
        let claim = self.claim(&kept)?;
        self.note(&Record::Gone(batch), |kept| kept.hash != batch)?;
        self.ring.sync()?;
        self.kept.retain(|kept| kept.hash != batch);
        Ok(claim.readings)
    }

    /// Seals what is not stored yet anew, under another key: after the device changed its key, batches of
    /// the old one are refused. `tip` is the last batch that the log stored, whoever signed it; what is kept
    /// up to it is dropped. When it is none of those kept (a thief was faster), all are signed anew, stored or
    /// not: better twice, which earns nothing, than lost. What two keys signed for one place is no
    /// [evidence](crate::evidence) against the device. A full store loses its oldest batches over it.
    ///
    /// One key never signs two batches for one place. So with the key that signs already this only goes on
    /// with what was interrupted, and takes a tip that is newer as [`reconcile`](Self::reconcile) does.
    ///
    /// # Errors
    /// Whatever the signer or the store says. What was not signed anew by then is at the next
    /// [`push`](Self::push) or [`next`](Self::next), also after a restart. [`ErrorKind::Conflict`] when the key
    /// signs already and the log holds another chain: change the key again.
    pub fn rekey(&mut self, signer: &dyn Signer, tip: Option<ChainTip>) -> Result<()> {
        let key = key_hash(signer);
        if self.known.key == Some(key) {
            self.renew(signer)?;
            let newer = position(tip) > position(self.known.settled);
            return if newer { self.reconcile(tip) } else { Ok(()) };
        }
        if let Some(stored) = tip.filter(|tip| self.find(tip.hash).is_ok()) {
            self.settled(stored)?;
        }
        let known = Checkpoint { settled: tip, tip, key: Some(key) };
        if self.placed {
            self.write(&Record::Restart(known))?;
            self.ring.sync()?;
        } else {
            self.place(known)?;
        }
        self.restart(known);
        self.renew(signer)
    }

    /// Takes the log's word for where the chain stands there: when the store was lost or is older than the log, or
    /// when ingest says that batches are missing which were receipted. [`Collector`](crate::collector::Collector)
    /// asks for it; `None` is right for a device that has never sent, and nobody else.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`], and nothing changes, when the log holds another batch than the one kept for
    /// that place, or goes on after the last that was signed here while some are kept: somebody else signs with
    /// the key, see [`rekey`](Self::rekey). A store that is an older copy looks the same; there,
    /// [`discard`](Self::discard) what the log has first.
    pub fn reconcile(&mut self, tip: Option<ChainTip>) -> Result<()> {
        if !self.placed {
            return self.place(Checkpoint { settled: tip, tip, key: None });
        }
        let kept = self.kept.iter().filter(|kept| !kept.stale);
        let there = kept.map(|kept| (kept.sequence, kept.hash)).chain(of(self.known.tip));
        for (sequence, hash) in there.chain(of(self.known.settled)) {
            if tip.is_some_and(|tip| tip.sequence == sequence && tip.hash != hash) {
                let why =
                    "the log holds another batch than the one kept; the key is used elsewhere";
                return Err(Error::new(ErrorKind::Conflict, why).with("sequence", sequence));
            }
        }
        let ahead = position(tip) > position(self.known.tip);
        if ahead && self.kept.iter().any(|kept| !kept.stale) {
            let why = "the log goes on after the last batch signed here; the key is used elsewhere";
            let conflict = Error::new(ErrorKind::Conflict, why);
            return Err(tip.into_iter().fold(conflict, |e, tip| e.with("sequence", tip.sequence)));
        }
        // It was made for where the log stood then; made again, it says no less.
        self.marker = None;
        let tip_now = if ahead { tip } else { self.known.tip };
        let known = Checkpoint { settled: tip, tip: tip_now, ..self.known };
        if known == self.known {
            return Ok(());
        }
        if ahead {
            // Forgotten, it would be a place signed twice.
            self.write(&Record::Settled(known))?;
        } else {
            self.note(&Record::Settled(known), |kept| kept.waits_after(tip))?;
        }
        self.ring.sync()?;
        self.settle(known);
        Ok(())
    }

    /// Batches that are kept, oldest first. [`next`](Self::next) says what to send.
    ///
    /// # Errors
    /// What the store says.
    pub fn pending(&mut self) -> Result<Vec<SignedBatch>> {
        let places: Vec<_> = self.kept.iter().map(|kept| kept.place).collect();
        places.into_iter().map(|place| batch_of(&self.ring.read(place)?)).collect()
    }

    /// Bytes of the largest batch that the store takes, also when it is signed anew.
    pub(crate) fn largest(&self) -> usize {
        self.ring.largest().saturating_sub(Record::BATCH).min(batch::MAX_BYTES)
    }

    /// Number of batches that are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether everything that was signed is known to be stored, or given up and the log knows.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.known.tip == self.known.settled
    }

    /// Whether it knows where its chain stands, so that it may sign what comes next: its store held something when
    /// it was opened, or it was [reconciled](Self::reconcile) with the log or [given a key](Self::rekey) since.
    pub const fn is_placed(&self) -> bool {
        self.placed
    }

    /// Whose chain it is.
    pub const fn did(&self) -> &Did {
        &self.did
    }

    /// The network that its batches are for.
    pub const fn network(&self) -> &NetworkId {
        &self.network
    }

    /// The last batch of the chain, sealed or known to be stored.
    pub const fn tip(&self) -> Option<ChainTip> {
        self.known.tip
    }

    /// Up to where the log holds the chain, as far as it has said so.
    pub const fn settled_at(&self) -> Option<ChainTip> {
        self.known.settled
    }

    /// How many batches went unsent since the outbox was opened, because there was no room or the store
    /// damaged them.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Begins a blank store where the log says. Its very first header says so already, so that power loss leaves
    /// it blank or placed.
    fn place(&mut self, known: Checkpoint) -> Result<()> {
        self.ring.append(&Record::Settled(known).to_bytes(), &known)?;
        self.ring.sync()?;
        (self.known, self.placed) = (known, true);
        Ok(())
    }

    /// Signs what the key before signed, oldest first.
    fn renew(&mut self, signer: &dyn Signer) -> Result<()> {
        while let Some(stale) = self.kept.front().copied().filter(|kept| kept.stale) {
            match self.claim(&stale) {
                Ok(Claim { readings, salt_seed, sealed, .. }) => {
                    let extras = Extras { seed: salt_seed.as_ref(), sealed: sealed.as_deref() };
                    self.add(signer, &readings, extras, Some(stale.hash))?;
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    self.kept.pop_front();
                    self.dropped += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The key that is asked to sign, if it is the one that signs.
    fn key_of(&self, signer: &dyn Signer) -> Result<Option<B256>> {
        let key = key_hash(signer);
        if self.known.key.is_some_and(|known| known != key) {
            let why = "the outbox signs with another key; rekey it to change the key";
            return Err(Error::new(ErrorKind::Conflict, why));
        }
        Ok(Some(key))
    }

    fn add(
        &mut self,
        signer: &dyn Signer,
        readings: &[Reading],
        extras: Extras<'_>,
        replaces: Option<B256>,
    ) -> Result<SignedBatch> {
        if !self.placed {
            return Err(unplaced());
        }
        let key = self.key_of(signer)?;
        let (sequence, previous) = next(self.known.tip).ok_or_else(at_its_end)?;
        let (did, network) = (&self.did, &self.network);
        let batch = batch::seal_with(signer, did, network, sequence, previous, readings, extras)?;
        let hash = batch.hash();
        self.known.key = key;
        let place = self.write(&Record::Batch { replaces, bytes: batch.as_bytes() })?;
        self.ring.sync()?;
        self.keep(Kept { sequence, previous, hash, place, stale: false }, replaces);
        Ok(batch)
    }

    /// Writes a record; what the ring erased for it is gone.
    fn write(&mut self, record: &Record<'_>) -> Result<Place> {
        let written = self.ring.append(&record.to_bytes(), &self.known);
        let oldest = self.ring.oldest();
        let before = self.kept.len();
        self.kept.retain(|kept| kept.place.generation >= oldest);
        let gone = (before - self.kept.len()) as u64;
        self.dropped += gone;
        #[cfg(feature = "std")]
        if gone > 0 {
            crate::observe::given_up(gone);
        }
        written
    }

    /// Writes a record unless the ring would have to erase a batch for it that `stays`. What is not written, a
    /// later record says or the header of the next sector.
    fn note(&mut self, record: &Record<'_>, stays: impl Fn(&Kept) -> bool) -> Result<()> {
        let bytes = record.to_bytes();
        let oldest = self.ring.oldest_after(bytes.len());
        if self.kept.iter().any(|kept| kept.place.generation < oldest && stays(kept)) {
            return Ok(());
        }
        let written = self.ring.append(&bytes, &self.known);
        // None of these counts as dropped: it is what the record is about.
        let oldest = self.ring.oldest();
        self.kept.retain(|kept| kept.place.generation >= oldest);
        written.map(drop)
    }

    fn replay(&mut self, place: Place, content: &[u8]) -> Result<()> {
        match Record::parse(content)? {
            Record::Batch { replaces, bytes } => {
                let Claim { sequence, previous, .. } = batch::claim(bytes, &self.network)?;
                let hash = SignedBatch::new(bytes.to_vec()).hash();
                self.keep(Kept { sequence, previous, hash, place, stale: false }, replaces);
            }
            Record::Settled(known) => self.settle(known),
            Record::Restart(known) => self.restart(known),
            Record::Gone(batch) => self.kept.retain(|kept| kept.hash != batch),
        }
        Ok(())
    }

    /// Takes a batch in. One for a place that is taken was signed because the other could not be written for
    /// sure, and was never shown.
    fn keep(&mut self, new: Kept, replaces: Option<B256>) {
        self.kept.retain(|kept| {
            Some(kept.hash) != replaces && (kept.stale || kept.sequence < new.sequence)
        });
        self.known.tip = Some(ChainTip { sequence: new.sequence, hash: new.hash });
        self.kept.push_back(new);
    }

    fn settle(&mut self, known: Checkpoint) {
        self.known = known;
        let Some(settled) = known.settled else { return };
        self.kept.retain(|kept| kept.waits_after(known.settled));
        self.marker = self.marker.take().filter(|(_, end)| end.sequence > settled.sequence);
    }

    fn restart(&mut self, known: Checkpoint) {
        self.known = known;
        self.marker = None;
        // What was signed anew before this was interrupted holds readings older than what was not.
        let (stale, anew): (VecDeque<_>, VecDeque<_>) =
            self.kept.drain(..).partition(|kept| kept.stale);
        self.kept =
            anew.into_iter().map(|kept| Kept { stale: true, ..kept }).chain(stale).collect();
    }

    /// The log holds the chain up to here. Not flushed: what is lost of it is sent once more.
    fn settled(&mut self, settled: ChainTip) -> Result<()> {
        let known = Checkpoint { settled: Some(settled), ..self.known };
        self.note(&Record::Settled(known), |kept| kept.waits_after(known.settled))?;
        self.settle(known);
        Ok(())
    }

    fn claim(&mut self, kept: &Kept) -> Result<Claim> {
        let batch = batch_of(&self.ring.read(kept.place)?)?;
        Ok(batch::claim(batch.as_bytes(), &self.network)?)
    }

    fn find(&self, batch: B256) -> Result<Kept> {
        let found = self.kept.iter().find(|kept| kept.hash == batch && !kept.stale);
        found.copied().ok_or_else(not_pending)
    }
}

/// Whose store it is, in its headers.
fn owner(network: &NetworkId, did: &Did) -> [u8; 16] {
    let hash =
        Sha256::new_with_prefix(network.as_str()).chain_update([0]).chain_update(did.as_str());
    let mut owner = [0; 16];
    owner.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    owner
}

fn batch_of(content: &[u8]) -> Result<SignedBatch> {
    match Record::parse(content)? {
        Record::Batch { bytes, .. } => Ok(SignedBatch::new(bytes.to_vec())),
        _ => Err(Error::new(ErrorKind::Corrupt, "a kept batch is damaged")),
    }
}

fn position(tip: Option<ChainTip>) -> Option<Sequence> {
    tip.map(|tip| tip.sequence)
}

/// A key's name in the store.
fn key_hash(signer: &dyn Signer) -> B256 {
    let key = signer.public_key();
    let multikey = Sha256::new_with_prefix("depin-outbox-key\0").chain_update(key.to_multikey());
    B256::new(multikey.finalize().into())
}

/// Sequence and previous hash of the batch after `tip`.
fn next(tip: Option<ChainTip>) -> Option<(Sequence, B256)> {
    match tip {
        Some(tip) => tip.sequence.next().map(|sequence| (sequence, tip.hash)),
        None => Some((Sequence::new(0), B256::ZERO)),
    }
}

/// What a batch says about the one before it.
fn before(kept: &Kept) -> Option<ChainTip> {
    let sequence = Sequence::new(kept.sequence.value().checked_sub(1)?);
    Some(ChainTip { sequence, hash: kept.previous })
}

fn of(tip: Option<ChainTip>) -> Option<(Sequence, B256)> {
    tip.map(|tip| (tip.sequence, tip.hash))
}

fn at_its_end() -> Error {
    Error::new(ErrorKind::Overflow, "the device's chain is at its end")
}

fn unplaced() -> Error {
    let why = "the store is blank and the log was not asked where the chain stands; \
               reconcile the outbox with the log's tip, or with none if the device has never sent";
    Error::unavailable(why)
}

fn not_pending() -> Error {
    Error::new(ErrorKind::NotFound, "no such batch is pending")
}
