//! Answers that are still true, as many as fit.
//!
//! Bounded by count and by bytes; what was used longest ago goes first. Also that a DID does not exist is
//! remembered, briefly. While somebody asks for a version of a DID, others who want the same wait for him.

use alloc::{collections::BTreeMap, sync::Arc};
use core::time::Duration;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use depin_core::{
    Clock, Did, ErrorKind, Result, Timestamp,
    resolution::{Freshness, Resolution, Version},
};

use super::{
    ask,
    flight::{Answer, Flight, Landing},
};
use crate::{DidResolver, document::to_json};

/// How much a [`Resolver`](crate::Resolver) remembers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CacheLimits {
    /// Most answers.
    pub entries: usize,
    /// Most memory for them in bytes, estimated.
    pub bytes: usize,
    /// How long it is remembered that a DID does not exist.
    pub negative: Duration,
}

impl Default for CacheLimits {
    /// 10,000 answers in 32 MiB; absence for 10 s.
    fn default() -> Self {
        Self { entries: 10_000, bytes: 32 << 20, negative: Duration::from_secs(10) }
    }
}

type Key = (Did, Version);

#[derive(Debug)]
pub(super) struct Cache {
    limits: CacheLimits,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, Key>,
    turn: u64,
    bytes: usize,
    flights: HashMap<Key, Arc<Flight>>,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    stored: Timestamp,
    /// Until when it is true; nothing for ever.
    until: Option<Timestamp>,
    bytes: usize,
    turn: u64,
}

/// What somebody who wants an answer has to do.
enum Turn<'a> {
    Take(Answer, Option<Duration>),
    Wait(Arc<Flight>),
    Ask(Departure<'a>),
}

impl Cache {
    pub(super) fn new(limits: CacheLimits, clock: Arc<dyn Clock>) -> Self {
        Self { limits, clock, state: Mutex::default() }
    }

    /// One like this that remembers nothing yet.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.limits, Arc::clone(&self.clock))
    }

    pub(super) async fn resolve(
        &self,
        resolver: &dyn DidResolver,
        did: &Did,
        version: &Version,
    ) -> Result<Resolution> {
        let key = (did.clone(), version.clone());
        loop {
            match self.turn(&key) {
                Turn::Take(answer, left) => return aged(answer.to_result(), left),
                Turn::Ask(departure) => {
                    let result = ask(resolver, did, version).await;
                    departure.land(&result);
                    return result;
                }
                Turn::Wait(flight) => match flight.landing().await {
                    Landing::Shared(answer) => return answer.to_result(),
                    Landing::Alone => return ask(resolver, did, version).await,
                    Landing::Lost => {}
                },
            }
        }
    }

    /// Forgets all versions, and lets nobody store what is being asked for now.
    pub(super) fn forget(&self, did: &Did) {
        let mut state = self.lock();
        state.flights.retain(|(other, _), _| other != did);
        let keys: Vec<Key> = state.entries.keys().filter(|key| key.0 == *did).cloned().collect();
        keys.iter().for_each(|key| state.remove(key));
    }

    fn turn(&self, key: &Key) -> Turn<'_> {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some((answer, left)) = state.take(key, now) {
            return Turn::Take(answer, left);
        }
        if let Some(flight) = state.flights.get(key) {
            return Turn::Wait(Arc::clone(flight));
        }
        let flight = Arc::new(Flight::default());
        state.flights.insert(key.clone(), Arc::clone(&flight));
        Turn::Ask(Departure { cache: self, key: key.clone(), flight, asked: now })
    }

    /// How long an answer is true, or nothing when it is not to be kept.
    fn lasting(&self, result: &Result<Resolution>) -> Option<Freshness> {
        let freshness = match result {
            Ok(resolution) => resolution.freshness,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Freshness::For(self.limits.negative)
            }
            Err(_) => Freshness::Once,
        };
        match freshness {
            Freshness::Forever => Some(freshness),
            Freshness::For(time) if !time.is_zero() => Some(freshness),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever takes an answer that is some time old is told how long it stays true from now.
fn aged(result: Result<Resolution>, left: Option<Duration>) -> Result<Resolution> {
    result.map(|mut resolution| {
        if let Some(left) = left {
            resolution.freshness = Freshness::For(left);
        }
        resolution
    })
}

/// The duty to tell those who wait how it went, also when the call is dropped half way.
struct Departure<'a> {
    cache: &'a Cache,
    key: Key,
    flight: Arc<Flight>,
    asked: Timestamp,
}

impl Departure<'_> {
    fn land(self, result: &Result<Resolution>) {
        let lasting = self.cache.lasting(result);
        let landing = match (result, lasting) {
            (Ok(_), None) => Landing::Alone,
            _ => Landing::Shared(Answer::of(result)),
        };
        if let (Landing::Shared(answer), Some(lasting)) = (&landing, lasting) {
            self.store(answer.clone(), lasting);
        }
        self.flight.land(landing);
    }

    fn store(&self, answer: Answer, lasting: Freshness) {
        let until = match lasting {
            // Counted from the question: the answer may have been true only then.
            Freshness::For(time) => Some(self.asked.plus(time)),
            _ => None,
        };
        let bytes = weight(&self.key, &answer);
        let mut state = self.cache.lock();
        // Somebody who forgot the DID meanwhile knows better.
        let present = state.flights.get(&self.key);
        if present.is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            let entry = Entry { answer, stored: self.asked, until, bytes, turn: 0 };
            state.insert(self.key.clone(), entry, &self.cache.limits);
        }
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        let present = state.flights.get(&self.key);
        if present.is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            state.flights.remove(&self.key);
        }
        drop(state);
        self.flight.land(Landing::Lost);
    }
}

impl State {
    /// The answer if it is still true, with how long it stays so.
    fn take(&mut self, key: &Key, now: Timestamp) -> Option<(Answer, Option<Duration>)> {
        let entry = self.entries.get_mut(key)?;
        // A clock that went back cannot say how old an answer is.
        if now < entry.stored || entry.until.is_some_and(|until| now >= until) {
            self.remove(key);
            return None;
        }
        if let Some(own) = self.order.remove(&entry.turn) {
            self.turn = self.turn.wrapping_add(1);
            entry.turn = self.turn;
            self.order.insert(self.turn, own);
        }
        Some((entry.answer.clone(), entry.until.map(|until| until.since(now))))
    }

    fn insert(&mut self, key: Key, mut entry: Entry, limits: &CacheLimits) {
        self.remove(&key);
        if entry.bytes > limits.bytes || limits.entries == 0 {
            return;
        }
        while self.entries.len() >= limits.entries
            || self.bytes.saturating_add(entry.bytes) > limits.bytes
        {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.remove(&oldest);
        }
        self.turn = self.turn.wrapping_add(1);
        entry.turn = self.turn;
        self.order.insert(self.turn, key.clone());
        self.bytes = self.bytes.saturating_add(entry.bytes);
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.turn);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }
}

/// About how much memory an answer takes: its text, some three times because of the many small parts.
fn weight((did, version): &Key, answer: &Answer) -> usize {
    let version = if let Version::Id(id) = version { id.len() } else { 0 };
    let answer = match answer {
        Answer::Found(resolution) => to_json(&resolution.document).len(),
        Answer::Failed(_) => did.as_str().len(),
    };
    512_usize.saturating_add(3 * (did.as_str().len() + version + answer))
}
