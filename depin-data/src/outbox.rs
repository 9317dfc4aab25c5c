//! The device's side of its chain: seals batches and keeps each until the log has proven to hold it.

use alloc::{collections::VecDeque, vec::Vec};

use depin_core::{
    B256, Did, Error, ErrorKind, NetworkId, Reading, Result, Sequence, SignedBatch, Signer,
    log::ChainTip, transport::Receipt,
};

use crate::{
    batch::{self, Claim},
    receipt::ReceiptVerifier,
};

/// Batches that an outbox keeps when nothing else is said.
pub const CAPACITY: usize = 1024;

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
/// let reading = Reading::new(Quantity::new("t", "Cel"), Decimal::from(3), Timestamp::from_secs(1));
/// outbox.push(&key, &[reading])?;
/// assert_eq!(outbox.pending().count(), 1);
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Outbox {
    network: NetworkId,
    did: Did,
    receipts: ReceiptVerifier,
    capacity: usize,
    /// The last batch sealed or known to be stored.
    tip: Option<ChainTip>,
    pending: VecDeque<Pending>,
}

#[derive(Clone, Debug)]
struct Pending {
    hash: B256,
    batch: SignedBatch,
}

impl Outbox {
    /// An empty outbox at the start of the chain of `did`.
    pub fn new(network: &NetworkId, did: &Did, receipts: ReceiptVerifier) -> Self {
        Self {
            network: network.clone(),
            did: did.clone(),
            receipts,
            capacity: CAPACITY,
            tip: None,
            pending: VecDeque::new(),
        }
    }

    /// Keeps at most this many batches.
    #[must_use]
    pub fn capacity(mut self, batches: usize) -> Self {
        self.capacity = batches;
        self
    }

    /// Goes on after a restart: `tip` is the last batch that is known to be stored, `pending` what was
    /// kept since, oldest first. Batches up to the tip may be among them; sending those again brings
    /// their receipts.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] for damaged batches, [`ErrorKind::Conflict`] when they are not this
    /// device's or do not continue each other and the tip. The outbox is unchanged then.
    pub fn resume(&mut self, tip: Option<ChainTip>, pending: Vec<SignedBatch>) -> Result<()> {
        let broken = |why: &'static str| Error::new(ErrorKind::Conflict, why);
        let mut chain: Option<ChainTip> = None;
        let mut kept = VecDeque::with_capacity(pending.len());
        for batch in pending {
            let (claim, hash) = (batch::claim(batch.as_bytes(), &self.network)?, batch.hash());
            if claim.device != self.did {
                return Err(broken("a kept batch is another device's").with("device", claim.device));
            }
            let known = tip.filter(|tip| tip.sequence == claim.sequence);
            if known.is_some_and(|tip| tip.hash != hash) {
                return Err(broken("a kept batch is not the one that the log stored"));
            }
            // What came before: a kept batch, the tip, or nothing that we still know.
            let free = chain.is_none() && tip.is_some_and(|tip| claim.sequence <= tip.sequence);
            if !free && next(chain.or(tip)) != Some((claim.sequence, claim.previous)) {
                return Err(broken("kept batches do not continue the chain")
                    .with("sequence", claim.sequence));
            }
            chain = Some(ChainTip { sequence: claim.sequence, hash });
            kept.push_back(Pending { hash, batch });
        }
        let reached = chain.filter(|chain| tip.is_none_or(|tip| tip.sequence <= chain.sequence));
        (self.tip, self.pending) = (reached.or(tip), kept);
        Ok(())
    }

    /// Seals readings as the next batch and keeps it until [`acknowledge`](Self::acknowledge).
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when the outbox is full (send first), or as [`batch::seal`].
    pub fn push(&mut self, signer: &dyn Signer, readings: &[Reading]) -> Result<SignedBatch> {
        if self.pending.len() >= self.capacity {
            return Err(Error::new(ErrorKind::Limit, "the outbox is full; send what is pending")
                .with("batches", self.pending.len()));
        }
        let (sequence, previous) = next(self.tip)
            .ok_or_else(|| Error::new(ErrorKind::Overflow, "the device's chain is at its end"))?;
        let batch = batch::seal(signer, &self.did, &self.network, sequence, previous, readings)?;
        let hash = batch.hash();
        self.tip = Some(ChainTip { sequence, hash });
        self.pending.push_back(Pending { hash, batch: batch.clone() });
        Ok(batch)
    }

    /// Drops the batch that a receipt proves to be stored.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no such batch is pending, [`ErrorKind::Rejected`] or
    /// [`ErrorKind::Malformed`] when the receipt does not hold; the batch is kept then.
    pub fn acknowledge(&mut self, receipt: &Receipt) -> Result<()> {
        let at = self.position(receipt.batch)?;
        if let Some(pending) = self.pending.get(at) {
            self.receipts.verify(receipt, &pending.batch)?;
        }
        self.pending.remove(at);
        Ok(())
    }

    /// Gives up a batch that ingest refuses for good, and seals those after it anew, since they name its
    /// hash. Returns the readings that are lost to the chain.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no such batch is pending, or whatever the signer objects to; the
    /// outbox is unchanged then.
    pub fn discard(&mut self, signer: &dyn Signer, batch: B256) -> Result<Vec<Reading>> {
        let at = self.position(batch)?;
        let claims = self.pending.iter().skip(at);
        let claims = claims.map(|kept| batch::claim(kept.batch.as_bytes(), &self.network));
        let mut claims = claims.collect::<Result<Vec<Claim>, _>>()?.into_iter();
        let lost = claims.next().ok_or_else(not_pending)?;
        let before = lost.sequence.value().checked_sub(1).map(Sequence::new);
        let mut shorter = Self {
            tip: before.map(|sequence| ChainTip { sequence, hash: lost.previous }),
            pending: self.pending.iter().take(at).cloned().collect(),
            ..self.clone()
        };
        for claim in claims {
            shorter.push(signer, &claim.readings)?;
        }
        *self = shorter;
        Ok(lost.readings)
    }

    /// Seals what is not stored yet anew, under another key: after the device changed its key, batches of
    /// the old one are refused. `tip` is the last batch that the log stored, whoever signed it; what is kept
    /// up to it is dropped. When it is none of those kept (a thief was faster), all are signed anew, stored or
    /// not: better twice, which earns nothing, than lost.
    ///
    /// # Errors
    /// Whatever the signer objects to; the outbox is unchanged then.
    pub fn rekey(&mut self, signer: &dyn Signer, tip: Option<ChainTip>) -> Result<()> {
        let mut anew = Self { tip, pending: VecDeque::new(), ..self.clone() };
        let stored = tip.and_then(|tip| self.position(tip.hash).ok());
        for kept in self.pending.iter().skip(stored.map_or(0, |at| at + 1)) {
            let claim = batch::claim(kept.batch.as_bytes(), &self.network)?;
            anew.push(signer, &claim.readings)?;
        }
        *self = anew;
        Ok(())
    }

    /// What is kept, oldest first: the order in which to send.
    pub fn pending(&self) -> impl Iterator<Item = &SignedBatch> {
        self.pending.iter().map(|pending| &pending.batch)
    }

    /// The last batch of the chain, sealed or known to be stored.
    pub const fn tip(&self) -> Option<ChainTip> {
        self.tip
    }

    fn position(&self, batch: B256) -> Result<usize> {
        self.pending.iter().position(|pending| pending.hash == batch).ok_or_else(not_pending)
    }
}

/// Sequence and previous hash of the batch after `tip`.
fn next(tip: Option<ChainTip>) -> Option<(Sequence, B256)> {
    match tip {
        Some(tip) => tip.sequence.next().map(|sequence| (sequence, tip.hash)),
        None => Some((Sequence::new(0), B256::ZERO)),
    }
}

fn not_pending() -> Error {
    Error::new(ErrorKind::NotFound, "no such batch is pending")
}
