//! Polling filters: what happened since the last question.
//!
//! All filters read one bounded record of events, each from its own place. A filter that is not
//! asked for five minutes, or falls behind the record, is gone.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::{
    primitives::B256,
    rpc::types::{Filter, Log},
};

use crate::{
    block::Block,
    error::{Error, ErrorKind},
    logs::append_logs,
};

/// Something a filter may tell.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Mined(Arc<Block>),
    /// Was part of the chain and no longer is.
    Orphaned(Arc<Block>),
    Pending(B256),
}

/// What a filter listens for.
#[derive(Clone, Debug)]
pub(crate) enum Topic {
    Blocks,
    PendingTransactions,
    Logs(Box<Filter>),
}

/// The answer to a poll.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Changes {
    Hashes(Vec<B256>),
    Logs(Vec<Log>),
}

/// Live filters and the record they read.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    live: HashMap<u64, Live>,
    events: VecDeque<Event>,
    /// Number of the first event still recorded.
    first: u64,
    last_id: u64,
}

#[derive(Debug)]
struct Live {
    topic: Topic,
    next: u64,
    asked: Instant,
}

impl Filters {
    /// Notes an event for whoever listens.
    pub(crate) fn record(&mut self, event: Event) {
        if self.live.is_empty() {
            return;
        }
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
            self.first = self.first.saturating_add(1);
        }
        self.events.push_back(event);
    }

    pub(crate) fn install(&mut self, topic: Topic, now: Instant) -> Result<u64, Error> {
        self.expire(now);
        if self.live.len() >= MAX_FILTERS {
            let text = format!("{MAX_FILTERS} filters are installed, uninstall one first");
            return Err(Error::new(ErrorKind::Limit, text));
        }
        self.last_id = self.last_id.saturating_add(1);
        self.live.insert(self.last_id, Live { topic, next: self.end(), asked: now });
        Ok(self.last_id)
    }

    pub(crate) fn uninstall(&mut self, id: u64) -> bool {
        self.live.remove(&id).is_some()
    }

    /// The log filter behind a number.
    pub(crate) fn log_filter(&mut self, id: u64, now: Instant) -> Result<Filter, Error> {
        self.expire(now);
        match self.live.get(&id).map(|live| &live.topic) {
            Some(Topic::Logs(filter)) => Ok((**filter).clone()),
            _ => Err(not_found()),
        }
    }

    /// What happened since the last poll.
    pub(crate) fn poll(&mut self, id: u64, now: Instant) -> Result<Changes, Error> {
        self.expire(now);
        let end = self.end();
        let live = self.live.get_mut(&id).ok_or_else(not_found)?;
        let skip = usize::try_from(live.next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        (live.next, live.asked) = (end, now);
        let news = self.events.iter().skip(skip);
        let changes = match &live.topic {
            Topic::Blocks => Changes::Hashes(news.filter_map(mined_hash).collect()),
            Topic::PendingTransactions => Changes::Hashes(news.filter_map(pending_hash).collect()),
            Topic::Logs(filter) => Changes::Logs(log_changes(filter, news)),
        };
        self.forget_read_events();
        Ok(changes)
    }

    fn end(&self) -> u64 {
        self.first.saturating_add(self.events.len() as u64)
    }

    fn expire(&mut self, now: Instant) {
        let first = self.first;
        self.live.retain(|_, live| {
            now.saturating_duration_since(live.asked) < LIFETIME && live.next >= first
        });
        self.forget_read_events();
    }

    fn forget_read_events(&mut self) {
        let end = self.end();
        let oldest = self.live.values().map(|live| live.next).min().unwrap_or(end);
        while self.first < oldest && self.events.pop_front().is_some() {
            self.first = self.first.saturating_add(1);
        }
    }
}

fn log_changes<'a>(filter: &Filter, news: impl Iterator<Item = &'a Event>) -> Vec<Log> {
    let mut found = Vec::new();
    for event in news {
        match event {
            Event::Mined(block) => append_logs(block, filter, false, &mut found),
            Event::Orphaned(block) => append_logs(block, filter, true, &mut found),
            Event::Pending(_) => {}
        }
    }
    found
}

fn mined_hash(event: &Event) -> Option<B256> {
    if let Event::Mined(block) = event { Some(block.hash()) } else { None }
}

fn pending_hash(event: &Event) -> Option<B256> {
    if let Event::Pending(hash) = event { Some(*hash) } else { None }
}

fn not_found() -> Error {
    Error::new(ErrorKind::Missing, "filter not found, install it again")
}

const MAX_FILTERS: usize = 1_024;
const MAX_EVENTS: usize = 65_536;
const LIFETIME: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_gone_after_five_silent_minutes() {
        let (mut filters, start) = (Filters::default(), Instant::now());
        let asked = filters.install(Topic::PendingTransactions, start).unwrap();
        let silent = filters.install(Topic::PendingTransactions, start).unwrap();
        filters.record(Event::Pending(B256::ZERO));
        let news = Changes::Hashes(vec![B256::ZERO]);
        assert_eq!(filters.poll(asked, start + LIFETIME / 2).unwrap(), news);
        assert!(filters.poll(asked, start + LIFETIME).is_ok());
        assert_eq!(filters.poll(silent, start + LIFETIME).unwrap_err().kind(), ErrorKind::Missing);
        assert!(filters.events.is_empty(), "nobody is left to read them");
    }

    #[test]
    fn a_filter_that_falls_behind_the_record_is_gone() {
        let (mut filters, now) = (Filters::default(), Instant::now());
        let slow = filters.install(Topic::PendingTransactions, now).unwrap();
        (0..=MAX_EVENTS).for_each(|_| filters.record(Event::Pending(B256::ZERO)));
        assert_eq!(filters.events.len(), MAX_EVENTS);
        assert_eq!(filters.poll(slow, now).unwrap_err().kind(), ErrorKind::Missing);
    }

    #[test]
    fn filters_are_limited_until_one_is_uninstalled() {
        let (mut filters, now) = (Filters::default(), Instant::now());
        for _ in 0..MAX_FILTERS {
            filters.install(Topic::Blocks, now).unwrap();
        }
        let refused = filters.install(Topic::Blocks, now).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Limit);
        assert!(filters.uninstall(1));
        assert!(filters.install(Topic::Blocks, now).is_ok());
    }
}
