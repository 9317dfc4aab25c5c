//! The way of one batch: from bytes to a receipt, or to what stops it.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use depin_core::{
    Algorithm, B256, Did, Error, Result, SignedBatch, Timestamp,
    log::{Append, NewBatch},
    registry::DeviceStatus,
    transport::Receipt,
};

use super::{
    Ingest, Throttled, account,
    due::Note,
    lock,
    objection::{self, Against, Objection, Stop},
    records::Known,
    turn::Turn,
};
use crate::{
    batch::{self, BatchError, Link, Parsed},
    observe,
};

/// How long to wait for one of the places that everybody shares.
pub(super) const TURN: Duration = Duration::from_secs(1);

impl Ingest {
    /// A receipt or what stops the batch. What is in the log already has its receipt whatever is said of
    /// its device by now: the bytes are those that were verified when they were stored.
    pub(super) async fn judge(
        &self,
        batch: &SignedBatch,
        received: Timestamp,
        turn: &Turn<'_>,
    ) -> Result<Result<Receipt, Objection>> {
        let stop = match self.admit(batch, received, turn).await {
            Ok((receipt, readings)) => {
                observe::accepted(readings);
                return Ok(Ok(receipt));
            }
            Err(stop) => stop,
        };
        if stop.may_be_stored()
            && let Some(index) = self.stored_before(batch).await?
        {
            self.announce_if(self.due.found(batch.hash(), index));
            observe::accepted(None);
            return Ok(Ok(self.receipt(batch.hash(), index).await?));
        }
        match stop {
            Stop::Refuse(objection) => Ok(Err(objection)),
            Stop::Throttle(delay) => Err(throttled(delay)),
            Stop::Behind(delay) => {
                let why = "the device's batch before cannot be taken now; send both again later";
                let error = Error::unavailable(why);
                Err(match delay {
                    Some(delay) => error.retry_in(delay),
                    None => error,
                })
            }
            Stop::Fail(error) => Err(error),
        }
    }

    /// The receipt, and the number of readings when they are new.
    async fn admit(
        &self,
        batch: &SignedBatch,
        received: Timestamp,
        turn: &Turn<'_>,
    ) -> Result<(Receipt, Option<u64>), Stop> {
        let parsed = Parsed::new(batch.as_bytes(), &self.network)
            .map_err(|error| Objection::unproven(error.code(), error, None))?;
        let known = self.known(parsed.device()).await?;
        let link = self.verify(parsed, &known, batch.hash()).await?;
        if let Link::Batch(verified) = &link
            && let Some(objection) = self.rule.object(verified, received)
            // Of a place that is taken the log tells more: the same bytes, or a fork.
            && self.log.find(link.device(), link.sequence()).await?.is_none()
        {
            return Err(objection.into());
        }
        let (hash, sequence, readings) =
            (batch.hash(), link.sequence(), link.readings().len() as u64);
        let tip = link.covers().map_or(sequence, |end| end.sequence);
        let latest = link.readings().iter().map(depin_core::Reading::at).max();
        let now = self.clock.now();
        let cost = readings.saturating_add(account::hidden(link.sealed()));
        let entry = known.account.enter(&self.limits, tip, cost, now);
        let entry = entry.map_err(Stop::Throttle)?;
        let new = link.into_new(now, batch.clone());
        let did = new.device.clone();
        let attempt = self.due.note(Note::new(did.clone(), sequence, hash, readings));
        let (index, readings) = match self.append(new, turn).await? {
            Append::Stored(index) => {
                entry.stored(tip, latest);
                self.announce_if(attempt.stored(index));
                (index, Some(readings))
            }
            Append::Duplicate(index) => {
                self.announce_if(attempt.was_stored(index));
                (index, None)
            }
            Append::Fork(there) => {
                attempt.over();
                let held = self.contradicted(&did, [tip, sequence], there).await?;
                let against = held.map(|held| Against { held, accused: Arc::clone(&known) });
                return Err(Objection::fork(&did, sequence, there, against).into());
            }
            Append::Superseded(tip) => {
                attempt.over();
                return Err(Objection::superseded(&did, sequence, tip.sequence).into());
            }
            Append::Gap(next) => {
                attempt.over();
                turn.missed().await?;
                return Err(Objection::gap(&did, sequence, next).into());
            }
        };
        Ok((self.receipt(hash, index).await?, readings))
    }

    /// Appends behind the batch before it. Appends take their places when they are first polled, so the next
    /// one need not wait for the disk.
    #[tracing::instrument(level = "debug", skip_all)]
    async fn append(&self, new: NewBatch, turn: &Turn<'_>) -> Result<Append, Stop> {
        turn.comes().await?;
        let timer = observe::Timer::start();
        let mut append = self.log.append(new);
        let begun = poll_fn(|context| Poll::Ready(append.as_mut().poll(context))).await;
        turn.placed();
        let appended = match begun {
            Poll::Ready(appended) => appended,
            Poll::Pending => append.await,
        }?;
        timer.ended("depin_ingest_append_seconds");
        Ok(appended)
    }

    /// Checks the signature, together with others of its algorithm where that is cheaper.
    #[tracing::instrument(level = "debug", skip_all)]
    async fn verify(
        &self,
        parsed: Parsed<'_>,
        known: &Arc<Known>,
        hash: B256,
    ) -> Result<Link, Stop> {
        let timer = observe::Timer::start();
        let did = parsed.device().clone();
        let shared = known.key.algorithm() == Algorithm::EdDsa
            && self.in_flight.load(Ordering::Relaxed) > 1
            && !known.suspect.load(Ordering::Relaxed);
        let verified = if shared {
            match parsed.signed(&known.key) {
                Ok((message, signature)) => {
                    let verdict = self.groups.verify(known, message, signature).await;
                    parsed.judged(verdict, hash)
                }
                Err(error) => Err(error),
            }
        } else {
            parsed.open(&known.key, hash)
        };
        timer.ended("depin_ingest_verify_seconds");
        let bad = matches!(verified, Err(BatchError::Envelope(_)));
        if bad != known.suspect.load(Ordering::Relaxed) {
            known.suspect.store(bad, Ordering::Relaxed);
        }
        verified.map_err(|error| Objection::unproven(error.code(), error, Some(&did)).into())
    }

    /// What the registry says about the device, if it may send.
    pub(super) async fn known(&self, did: &Did) -> Result<Arc<Known>, Stop> {
        let now = self.clock.now();
        let (cached, moment) = {
            let mut records = lock(&self.records);
            (records.find(did, now), records.moment())
        };
        let known = match cached {
            Some(known) => known,
            None => {
                // Invented names wait for the registry, too, and leave those that are known their own room.
                let known = self.has_heard_of(did).await?;
                let _turn = self.lookups.enter(did, known, self.concurrency)?;
                let record = objection::registered(did, self.registry.device(did).await)?;
                lock(&self.records).keep(did, &record, now, moment)
            }
        };
        match known.status {
            DeviceStatus::Active => Ok(known),
            status => Err(Objection::not_active(did, status).into()),
        }
    }

    /// Whether this device was registered lately, or has ever been stored.
    async fn has_heard_of(&self, did: &Did) -> Result<bool> {
        let remembered = lock(&self.records).contains(did);
        Ok(remembered || self.log.tip(did).await?.is_some())
    }

    /// Where these very bytes are in the log, if they are.
    pub(super) async fn stored_before(&self, batch: &SignedBatch) -> Result<Option<u64>> {
        let Some(place) = batch::place(batch.as_bytes(), &self.network) else { return Ok(None) };
        let found = self.log.find(&place.device, place.sequence).await?;
        Ok(found.filter(|(_, hash)| *hash == batch.hash()).map(|(index, _)| index))
    }
}

/// What a device is told that has to wait.
pub(super) fn throttled(delay: Duration) -> Error {
    observe::throttled("device");
    let why = "the device has sent too much lately; send the batch again later";
    Error::unavailable(why).retry_in(delay).source(Throttled(delay))
}

/// A place among a bounded number; left when dropped.
pub(super) struct Slot<'a>(&'a AtomicUsize);

pub(super) fn enter<'a>(
    taken: &'a AtomicUsize,
    most: usize,
    what: &'static str,
) -> Result<Slot<'a>> {
    let slot = Slot(taken);
    if taken.fetch_add(1, Ordering::AcqRel) >= most.max(1) {
        observe::throttled(what);
        let why = "ingest is saturated; send this again later";
        return Err(Error::unavailable(why).retry_in(TURN));
    }
    Ok(slot)
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
