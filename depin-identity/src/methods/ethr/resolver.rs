//! Resolves did:ethr over one or more ledgers, and knows what is final.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use depin_core::{
    ChainId, Clock, Timestamp,
    resolution::{Freshness, Resolution, Version},
};

use super::{
    Block, EthrError, History, Identifier, Ledger, Limits, METHOD, Moment, Network,
    document::State,
    record::{Record, Records},
    syntax::DEFAULT_NETWORK,
    walk::{Budget, walk},
};
use crate::{Did, DidResolver, Error, Result, methods::only};

/// Resolves did:ethr on the networks it was given.
///
/// What the chain has finalised is kept, so a version or time that is final and known is answered without
/// a request. The present document costs one, `changed`, as long as the newest change is final; changes
/// that are not final are read again each time, because a reorganisation may replace them. An answer is
/// [`Freshness::Forever`] when its successor is final too; before, `next_version_id` may still come.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use depin_core::{Address, SystemClock, document::Material};
/// use depin_identity::{DidResolver, methods::ethr::{BlockHead, Event, EthrResolver, Ledger, Network}};
///
/// /// A chain on which nobody ever changed anything.
/// #[derive(Debug)]
/// struct Quiet;
///
/// #[async_trait::async_trait]
/// impl Ledger for Quiet {
///     async fn changed(&self, _: Address, _: Option<u64>) -> depin_core::Result<u64> { Ok(0) }
///     async fn events(&self, _: Address, _: u64) -> depin_core::Result<Vec<Event>> { Ok(vec![]) }
///     async fn block(&self, _: u64) -> depin_core::Result<Option<BlockHead>> { Ok(None) }
///     async fn finalised(&self) -> depin_core::Result<u64> { Ok(0) }
/// }
///
/// let resolver = EthrResolver::new(Arc::new(SystemClock))
///     .with_network(Network::known("mainnet").unwrap(), Arc::new(Quiet));
/// let did = "did:ethr:0xf3beac30c498d9e26865f34fcaa57dbb935b0d74".parse()?;
/// let document = resolver.resolve(&did).await?;
/// assert!(matches!(document.verification_method[0].material, Material::Account { .. }));
/// # Ok::<(), depin_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct EthrResolver {
    clock: Arc<dyn Clock>,
    limits: Limits,
    networks: Vec<Arc<Served>>,
}

#[derive(Debug)]
struct Served {
    network: Network,
    ledger: Arc<dyn Ledger>,
    limits: Limits,
    records: Mutex<Records>,
}

/// What a question is about.
struct Subject<'a> {
    did: &'a Did,
    identifier: Identifier,
}

/// What the chain said: all there is now, and the final part of it.
struct Loaded {
    history: Arc<History>,
    record: Option<Arc<Record>>,
}

impl EthrResolver {
    /// Knows no network yet. The clock decides what has expired.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, limits: Limits::default(), networks: Vec::new() }
    }

    /// Bounds what is read and kept of the networks that are added afterwards.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Resolves DIDs of `network` too, from its registry. Of two networks with one name the later is asked.
    #[must_use]
    pub fn with_network(mut self, network: Network, ledger: Arc<dyn Ledger>) -> Self {
        let (limits, records) = (self.limits, Mutex::new(Records::new(self.limits)));
        self.networks.insert(0, Arc::new(Served { network, ledger, limits, records }));
        self
    }

    fn served(&self, name: &str) -> Result<&Served, EthrError> {
        let served = self.networks.iter().find(|served| served.network.is_named(name));
        served.map(Arc::as_ref).ok_or_else(|| EthrError::Network(name.into()))
    }

    /// The answer that was given before, without looking into the DID further than its network.
    fn known(&self, did: &Did, version: &Version) -> Option<Arc<Resolution>> {
        let name = did.id().rsplit_once(':').map_or(DEFAULT_NETWORK, |(name, _)| name);
        self.served(name).ok()?.records().answer(did, version)
    }

    async fn at_head(&self, served: &Served, subject: &Subject<'_>) -> Result<Resolution> {
        let loaded = served.load(subject, false).await?;
        let moment = Moment::Head(self.clock.now());
        resolution(subject, served.network.chain, &loaded.history, moment, Freshness::Once)
    }

    async fn at_block(
        &self,
        served: &Served,
        subject: &Subject<'_>,
        number: u64,
    ) -> Result<Arc<Resolution>> {
        let version = Version::Id(number.to_string());
        if let Some(record) = served.final_through(subject.did, number) {
            let time = served.time(number, Some(&record)).await?;
            return served.answer(subject, &record, &version, Moment::Block { number, time });
        }
        let loaded = served.load(subject, true).await?;
        let known = loaded.record.filter(|record| number <= record.through);
        let time = served.time(number, known.as_ref()).await?;
        let moment = Moment::Block { number, time };
        served.join(subject, &loaded.history, known, &version, moment)
    }

    async fn at_time(
        &self,
        served: &Served,
        subject: &Subject<'_>,
        time: Timestamp,
    ) -> Result<Arc<Resolution>> {
        if time > self.clock.now() {
            return Err(EthrError::Future.into());
        }
        let version = Version::At(time);
        let moment = Moment::Time(time);
        if let Some(record) = served.final_before(subject.did, time) {
            return served.answer(subject, &record, &version, moment);
        }
        let loaded = served.load(subject, true).await?;
        let known = loaded.record.filter(|record| record.covers(time));
        served.join(subject, &loaded.history, known, &version, moment)
    }
}

impl Served {
    fn records(&self) -> MutexGuard<'_, Records> {
        // Nothing here leaves the records half changed when it panics.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn final_through(&self, did: &Did, number: u64) -> Option<Arc<Record>> {
        self.records().record(did).filter(|record| number <= record.through)
    }

    fn final_before(&self, did: &Did, time: Timestamp) -> Option<Arc<Record>> {
        self.records().record(did).filter(|record| record.covers(time))
    }

    /// Asks for the newest change, and for all that is not recorded when there is one, or when `deep`.
    async fn load(&self, subject: &Subject<'_>, deep: bool) -> Result<Loaded> {
        let identity = subject.identifier.address();
        let record = self.records().record(subject.did);
        let known = record.as_ref().map_or(0, |record| record.newest());
        let history = record.as_ref().map(|record| record.history.clone()).unwrap_or_default();
        let changed = self.ledger.changed(identity, None).await?;
        if changed == known && !deep {
            return Ok(Loaded { history, record });
        }
        let finalised = self.ledger.finalised().await?;
        let settled = self.ledger.changed(identity, Some(finalised)).await?;
        let newest = changed.max(settled);
        if newest < known || settled > finalised {
            return Err(self.contradicted(subject.did));
        }
        let budget = Budget::beside(history.blocks(), self.limits)?;
        let fresh = match walk(&*self.ledger, identity, newest, known, finalised, budget).await {
            Ok(fresh) => fresh,
            Err(error) => {
                // Were it the record that is wrong, the next try should not build on it.
                self.records().forget(subject.did);
                return Err(error);
            }
        };
        let history = joined(&history, fresh)?;
        let through = history.through(finalised);
        if through.newest().unwrap_or(0) != settled {
            return Err(self.contradicted(subject.did));
        }
        let through_time = self.ledger.block(finalised).await?.map(|head| head.time);
        let record = Record { history: Arc::new(through), through: finalised, through_time };
        let record = self.records().keep(subject.did, record);
        Ok(Loaded { history: Arc::new(history), record: Some(record) })
    }

    /// Two answers that no one chain gives. The record goes, so that the next try reads all again.
    fn contradicted(&self, did: &Did) -> Error {
        self.records().forget(did);
        let message = "the node contradicts what it said before: it lags behind, or nodes behind one url \
                       disagree; try again";
        Error::unavailable(message).with("did", did)
    }

    /// The time of a block: of a change, of one that was asked about before, or as the node says.
    async fn time(&self, number: u64, record: Option<&Arc<Record>>) -> Result<Timestamp> {
        let change = |record: &Arc<Record>| {
            let blocks = record.history.blocks();
            let place = blocks.binary_search_by_key(&number, |block| block.number).ok()?;
            blocks.get(place).map(|block| block.time)
        };
        let known = record.and_then(change).or_else(|| self.records().time(number));
        if let Some(time) = known {
            return Ok(time);
        }
        let head = self.ledger.block(number).await?.ok_or(EthrError::Future)?;
        if record.is_some() {
            self.records().keep_time(number, head.time);
        }
        Ok(head.time)
    }

    /// An answer from what is final, kept for the next time.
    fn answer(
        &self,
        subject: &Subject<'_>,
        record: &Arc<Record>,
        version: &Version,
        moment: Moment,
    ) -> Result<Arc<Resolution>> {
        let chain = self.network.chain;
        let mut answer = resolution(subject, chain, &record.history, moment, Freshness::Once)?;
        if answer.metadata.next_version_id.is_some() || answer.metadata.deactivated {
            answer.freshness = Freshness::Forever;
        }
        let answer = Arc::new(answer);
        self.records().keep_answer(subject.did, record, version, &answer);
        Ok(answer)
    }

    /// An answer from all there is, unless the final part says it all.
    fn join(
        &self,
        subject: &Subject<'_>,
        history: &History,
        known: Option<Arc<Record>>,
        version: &Version,
        moment: Moment,
    ) -> Result<Arc<Resolution>> {
        let chain = self.network.chain;
        let whole = resolution(subject, chain, history, moment, Freshness::Once)?;
        let Some(record) = known else { return Ok(Arc::new(whole)) };
        let settled = self.answer(subject, &record, version, moment)?;
        // The successor may be known but not final yet.
        Ok(if settled.metadata == whole.metadata { settled } else { Arc::new(whole) })
    }
}

impl Record {
    /// Whether every block up to `time` is in it. Blocks may share a second.
    fn covers(&self, time: Timestamp) -> bool {
        self.through_time.is_some_and(|through| time.secs() < through.secs())
    }
}

fn joined(history: &History, fresh: Vec<Block>) -> Result<History, EthrError> {
    History::new(history.blocks().iter().cloned().chain(fresh).collect())
}

fn resolution(
    subject: &Subject<'_>,
    chain: ChainId,
    history: &History,
    moment: Moment,
    freshness: Freshness,
) -> Result<Resolution> {
    let state = State::at(history, moment);
    let (document, metadata) = state.write(subject.did, &subject.identifier, chain)?;
    let mut resolution = Resolution::new(document, freshness);
    resolution.metadata = metadata;
    Ok(resolution)
}

#[async_trait]
impl DidResolver for EthrResolver {
    async fn resolve_version(&self, did: &Did, version: &Version) -> Result<Resolution> {
        only(METHOD, did)?;
        if let Some(known) = self.known(did, version) {
            return Ok(Resolution::clone(&known));
        }
        let identifier = Identifier::of(did)?;
        let served = self.served(identifier.network())?;
        let subject = Subject { did, identifier };
        let answer = match version {
            Version::Latest => self.at_head(served, &subject).await.map(Arc::new),
            Version::Id(text) => {
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let number = text.parse().ok().filter(|_| digits).ok_or(EthrError::Version)?;
                self.at_block(served, &subject, number).await
            }
            Version::At(time) => self.at_time(served, &subject, *time).await,
            _ => Err(Error::new(
                crate::ErrorKind::Unsupported,
                "did:ethr knows versions by block and by time",
            )),
        };
        answer.map(|answer| Resolution::clone(&answer)).map_err(|error| error.with("did", did))
    }
}
