//! Puts an ingest together.

use std::{
    fmt,
    sync::{Arc, Mutex, RwLock, atomic::AtomicUsize},
    time::Duration,
};

use depin_core::{
    Batch, Clock, Did, NetworkEvent, NetworkId, Signer, Timestamp, log::BatchLog,
    registry::DeviceRegistry, transport::RefusalCode,
};

use super::{DeviceLimits, Due, Groups, Ingest, Lookups, Objection, Quota, Records};
use crate::receipt::HeadSigner;

/// Hears what happens.
pub type Listener = Arc<dyn Fn(&NetworkEvent) + Send + Sync>;

/// How far readings may be from the clock of ingest.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockRule {
    ahead: Duration,
    behind: Duration,
}

impl ClockRule {
    pub(super) fn object(self, batch: &Batch, now: Timestamp) -> Option<Objection> {
        let times = || batch.readings.iter().map(depin_core::Reading::at);
        let (earliest, latest) = (times().min()?, times().max()?);
        let (code, detail) = if latest > now.plus(self.ahead) {
            let detail = format!("a reading at {latest} is ahead of {now}; set the device's clock");
            (RefusalCode::ClockAhead, detail)
        } else if earliest < now.minus(self.behind) {
            (RefusalCode::ClockBehind, format!("a reading at {earliest} is too old at {now}"))
        } else {
            return None;
        };
        Some(Objection::proven(code, detail, &batch.device))
    }
}

/// Options of an [`Ingest`].
#[must_use]
pub struct IngestBuilder {
    network: NetworkId,
    log: Arc<dyn BatchLog>,
    registry: Arc<dyn DeviceRegistry>,
    clock: Arc<dyn Clock>,
    heads: HeadSigner,
    rule: ClockRule,
    limits: DeviceLimits,
    concurrency: usize,
    listeners: Vec<Listener>,
}

impl Ingest {
    /// Starts with what every ingest needs. `head_signer` signs tree heads as `did`: the key that devices
    /// and auditors check receipts against.
    pub fn builder(
        network: NetworkId,
        log: Arc<dyn BatchLog>,
        registry: Arc<dyn DeviceRegistry>,
        clock: Arc<dyn Clock>,
        head_signer: Arc<dyn Signer>,
        did: Did,
    ) -> IngestBuilder {
        const MINUTE: Duration = Duration::from_secs(60);
        const DAY: Duration = Duration::from_secs(86_400);
        let heads = HeadSigner::new(&network, head_signer, did);
        let rule = ClockRule { ahead: 5 * MINUTE, behind: 30 * DAY };
        IngestBuilder {
            network,
            log,
            registry,
            clock,
            heads,
            rule,
            limits: DeviceLimits::default(),
            concurrency: 1024,
            listeners: Vec::new(),
        }
    }
}

impl IngestBuilder {
    /// Refuses readings later than the clock by more than `ahead` (5 minutes unless said) or earlier by
    /// more than `behind` (30 days).
    pub const fn clock_rule(mut self, ahead: Duration, behind: Duration) -> Self {
        self.rule = ClockRule { ahead, behind };
        self
    }

    /// Lets each device take this much and no more, see [`DeviceLimits`].
    pub const fn device_limits(mut self, limits: DeviceLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Handles at most this many batches at a time (1,024 unless said), and a quarter as many questions for
    /// [witnesses](Ingest::witness) beside them; more are told to come again.
    pub const fn concurrency(mut self, batches: usize) -> Self {
        self.concurrency = batches;
        self
    }

    /// Tells `listener` what happens, as [`Ingest::subscribe`].
    pub fn on_event(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// The ingest.
    pub fn build(self) -> Ingest {
        Ingest {
            network: self.network,
            log: self.log,
            registry: self.registry,
            clock: self.clock,
            heads: self.heads,
            rule: self.rule,
            limits: self.limits,
            groups: Groups::default(),
            due: Due::default(),
            lookups: Lookups::default(),
            records: Mutex::new(Records::default()),
            quota: Mutex::new(Quota::default()),
            unkept: 0.into(),
            in_flight: AtomicUsize::new(0),
            witnessing: AtomicUsize::new(0),
            concurrency: self.concurrency,
            head: Mutex::new(None),
            listeners: RwLock::new(self.listeners),
        }
    }
}

impl fmt::Debug for IngestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestBuilder").field("network", &self.network).finish_non_exhaustive()
    }
}
