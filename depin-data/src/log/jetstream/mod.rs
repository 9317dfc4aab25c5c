//! A log of many machines: one stream of NATS JetStream is the order, and every machine keeps a view.
//!
//! Several ingest processes write one log. The stream `DEPIN_<network>` holds messages, each a group of
//! batches, refusals and sealed records that one process adds in one step. Every process applies every
//! message, in the stream's order, to a log of its own (the *view*, usually a
//! [`RedbLog`](super::RedbLog)), and answers reads from it.
//!
//! # How an append happens
//!
//! 1. A task takes all appends that wait and judges them against the view and each other.
//! 2. Those that continue their chains become one message, which the server takes only right after the
//!    message that the view has applied last (`Nats-Expected-Last-Sequence`). So check and append are one
//!    step across machines too. If another process was faster, its message is applied and everything is
//!    judged again.
//! 3. The batches are [`Append::Stored`] once the server has acknowledged the message and the view has
//!    made it durable. A message without an answer is sent again under the same expectation, so it goes
//!    in once, and is looked for in the stream before anybody hears of success or failure.
//! 4. [`Append::Gap`] is answered only by a view that was level with the stream a moment ago.
//!
//! Each message says how many batches its writer had before it and under which root, how many refusals, and
//! how many sealed epochs. A view that does not have the same, or that has another refusal or epoch in the
//! place of one in the message, stops with [`ErrorKind::Corrupt`] instead of signing a second history.
//!
//! # What the stream may contain
//!
//! | message | every replica |
//! |---|---|
//! | a group that continues the log | applies it |
//! | a part of a sealed record | passes over it until a head leads to it |
//! | a head whose parts are in the stream before it | seals the epoch |
//! | a head whose parts are not | passes over it: whoever put it seals again before anybody is told of success |
//! | a group whose writer had another message before it, which a server that lost some took in the wrong place | passes over it, warns, and [counts](JetStreamLog::skipped) it; its writer judges and sends it anew |
//! | bytes that are no group of this network | passes over it, warns, and [counts](JetStreamLog::skipped) it |
//! | a group of another version | stops with [`ErrorKind::Unsupported`]: passing over would part replicas |
//! | a group that contradicts what was before | stops with [`ErrorKind::Corrupt`] |
//!
//! Nobody may remove, purge or restore messages while a process writes: stop all of them first. Give the right to
//! publish on `depin.<network>.log` to ingest alone: others can take no batch back and forge none (each is signed),
//! but can stop the log.
//!
//! # What an acknowledgement proves
//!
//! | [`Acknowledge`] | the view | stored means |
//! |---|---|---|
//! | [`OnceFlushed`](Acknowledge::OnceFlushed), unless said otherwise | in a folder | the server has taken it, and it is on the disk of this machine |
//! | `OnceFlushed` | in memory | never: such a log is read and followed, and writing to it is [`ErrorKind::Config`] |
//! | [`OnceTaken`](Acknowledge::OnceTaken) | in memory | the server has taken it; what that is worth, the server's settings decide |
//!
//! A nats-server answers before it flushes. nats-server 2.9 flushes every 2 minutes and has no setting for it; later
//! ones have `sync_interval`, and `sync_interval: always` flushes before each answer. No server tells its clients
//! which it has, so it cannot be checked here: whoever says `OnceTaken` vouches for that setting, or for
//! [`replicas`](JetStreamOptions::replicas) on machines that do not lose power together. What can be checked is, at
//! every opening: the stream lies in files, has as many replicas as asked for, drops and replaces nothing, writes
//! before it answers (no asynchronous persistence), and does answer.
//!
//! # What survives what
//!
//! | failure | acknowledged batches, refusals and sealed epochs |
//! |---|---|
//! | kill -9 of an ingest process | all there; a view in a folder continues where it was |
//! | kill -9 and restart of the server | all there: the server may lose what it had not handed to the kernel; views that hold it give it back in the same order |
//! | power loss of a single server | the same, for up to the server's sync interval, if a process whose view has them is back before another writes, which waits for a [`grace`](JetStreamOptions::grace) |
//! | power loss of a server and of all ingest machines | `OnceFlushed`: all there, given back by the views in folders, under the same condition. `OnceTaken`: up to the sync interval is lost |
//! | loss of a view's disk | all in the stream: start with an empty view, it is filled again |
//! | power loss of a server and loss of all views' disks | up to the sync interval is lost; use a cluster and `replicas` = 3 |
//! | loss of a minority of a cluster with 3 replicas | all there |
//! | a cluster and fewer than 3 replicas | refused with [`ErrorKind::Config`]: the server that keeps the stream may lose its end while the one that a process speaks to goes on, and nobody notices |
//!
//! So an append waits for the view's disk too, and a process whose view holds more than the stream gives it back,
//! whether it lived through the loss or starts later. Every message says how many batches, refusals and sealed
//! epochs were before it, so that a view knows what the stream lacks; what it gives back is made anew from the view,
//! batches first, then refusals, then records, each kind in its order. For a [`grace`](JetStreamOptions::grace)
//! after a server has started nobody writes anything new, so that whoever holds more comes first. Who comes later than
//! that, and after others have written, holds another history than the stream: it stops with [`ErrorKind::Corrupt`], and
//! what it alone had acknowledged is not in the log, while other batches have its indices. So where machines may lose power
//! together, make the grace longer than their starts lie apart, or let the server flush before it answers
//! (`sync_interval: always`), or use a cluster and 3 replicas.
//!
//! What a view has [forgotten](BatchLog::forget) it cannot give back: while the stream lacks such batches,
//! calls answer [`ErrorKind::Unavailable`] until a process comes whose view has them. In the place of a refusal
//! that nobody has any more stands one without bytes that says so, and all others keep their positions.
//!
//! # Limits
//!
//! A batch and a refusal must fit the server's `max_payload` (1 MiB unless configured, at most 64 MiB). A sealed
//! epoch (the record and the [statement](crate::epoch::Statement) of what came out: 32 bytes for each batch,
//! about 325 for each device, and with windows about 40 for each epoch in which it has work that is not settled) may be larger, up to 256 MiB and 4,096 messages: what does not
//! fit, and what is longer than 1 MiB, goes into the stream in parts, each of which names the one before, and a
//! head names the last. Appends of the process that seals go on between the parts, so that they wait for one
//! message more, not for the record. When the head comes, every process reads the parts in the stream, puts
//! them together and verifies the SHA-256 of the whole; the one that seals compares them with what it has. A
//! head counts only if the parts it leads to are there, and the seal is answered once it has counted, so no
//! loss of the stream's end leaves an epoch whose record cannot be read.
//!
//! Appends of all processes pass one point: contention costs a judged group again,
//! never a batch. [`head`](BatchLog::head), [`tip`](BatchLog::tip) and reads tell what this view has,
//! which another process may be ahead of; [`level`](JetStreamLog::level) waits until it has caught up.
//! One view belongs to one process, and nobody else may write to it. [`forget`](BatchLog::forget) and
//! [`forget_refusals`](BatchLog::forget_refusals) give up bytes of this view only; the stream keeps all of them, so that an empty view can be filled.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use async_nats::{Client, jetstream::stream::Stream};
use async_trait::async_trait;
use depin_core::{
    B256, Bytes, Did, EpochId, Error, ErrorKind, NetworkId, Result, Sequence,
    log::{Append, BatchLog, ChainTip, LogEntry, NewBatch, RefusedBatch, TreeHead},
};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot, watch,
    },
    task::JoinHandle,
};

use self::{
    follower::Follower,
    place::Place,
    replica::Replica,
    view::AnyView,
    wire::Wire,
    writer::{Outcome, Request, Status, Waiting, Writer},
};
use super::{redb::refusal, sealed_otherwise};
use crate::nats::NatsOptions;

mod follower;
mod group;
mod parts;
mod place;
mod replica;
mod view;
mod wire;
mod work;
mod writer;

pub use self::{
    view::View,
    work::{Job, WorkOptions, Worker},
};

/// Most appends that may wait for the stream.
const QUEUE: usize = 4096;

/// How a [`JetStreamLog`] is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JetStreamOptions {
    /// How many servers keep the stream: 1 for a server that stands alone, 3 or 5 in a cluster, where fewer are
    /// refused. A stream that is there must have as many.
    pub replicas: usize,
    /// Whether a view that holds batches may fill a stream that is empty: to move a log of one machine
    /// to many, or after the stream was lost. Off, so that a wrong url does no harm.
    pub seed: bool,
    /// What has to be durable before something counts as stored.
    pub acknowledge: Acknowledge,
    /// How long nobody writes anything new after a server has started, so that a process whose view holds what the
    /// server lost [comes first](self#what-survives-what). 1 second unless said otherwise; longer where machines
    /// that lost power start further apart. Devices keep what they send until then.
    pub grace: Duration,
}

impl Default for JetStreamOptions {
    fn default() -> Self {
        let grace = Duration::from_secs(1);
        Self { replicas: 1, seed: false, acknowledge: Acknowledge::default(), grace }
    }
}

/// When a [`JetStreamLog`] says that something is stored; see
/// [what that proves](self#what-an-acknowledgement-proves).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acknowledge {
    /// When the server has taken it and the view of this process has flushed it. A view in memory flushes
    /// nothing, so nothing can be written over one.
    #[default]
    OnceFlushed,
    /// When the server has taken it, also over a view in memory: no more than a promise of a server that flushes
    /// before it answers, or of several that do not lose power together.
    OnceTaken,
}

/// A [`BatchLog`] that several processes write and read; see the [module](self).
///
/// ```
/// use depin_core::{ErrorKind, NetworkId};
/// use depin_data::{log::{JetStreamLog, RedbLog}, nats::NatsOptions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> depin_data::Result<()> {
/// let network = NetworkId::parse("climate")?;
/// let nobody = NatsOptions::new("nats://127.0.0.1:1");
/// let error = JetStreamLog::open(&nobody, &network, RedbLog::open_in_memory()?).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// # Ok(()) }
/// ```
pub struct JetStreamLog {
    view: Arc<AnyView>,
    jobs: Option<mpsc::Sender<Waiting>>,
    status: watch::Receiver<Status>,
    writer: Option<JoinHandle<()>>,
    client: Client,
    stream: Stream,
    network: NetworkId,
    /// Whether what is stored is as durable as was asked for.
    is_writable: bool,
}

impl JetStreamLog {
    /// Connects to a server, finds or makes the network's stream, and brings the view level with it. The
    /// view is this process's own: a folder of its own, or, for one that only reads, a log in memory, which is
    /// filled from the stream at every start.
    ///
    /// Runs a task on the present tokio runtime until the log is dropped or [closed](Self::close).
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the server does not answer, [`ErrorKind::Config`] for a stream with
    /// other settings or too few replicas for a cluster, [`ErrorKind::Rejected`] when the server does not let us in,
    /// [`ErrorKind::Conflict`] for an empty stream under a view that is not, [`ErrorKind::Corrupt`] when view and stream tell different histories.
    pub async fn open(
        server: &NatsOptions,
        network: &NetworkId,
        view: impl Into<View>,
    ) -> Result<Self> {
        Self::open_with(server, network, view, JetStreamOptions::default()).await
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(
        server: &NatsOptions,
        network: &NetworkId,
        view: impl Into<View>,
        options: JetStreamOptions,
    ) -> Result<Self> {
        let view = Arc::new(view.into().0);
        let is_writable = view.is_durable() || options.acknowledge == Acknowledge::OnceTaken;
        let wire = Wire::open(server, network, &options).await?;
        let (client, stream) = (wire.client(), wire.stream().clone());
        let replica = Replica::new(network.clone(), Arc::clone(&view));
        let mut follower = Follower::new(wire, replica, network.clone(), options.seed);
        let calm = follower.begin().await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (tell, status) = watch::channel(follower.status());
        let writer = tokio::spawn(Writer::new(follower, queue, tell, options.grace, calm).run());
        Ok(Self {
            view,
            jobs: Some(jobs),
            status,
            writer: Some(writer),
            client,
            stream,
            network: network.clone(),
            is_writable,
        })
    }

    /// Brings the view level with what the stream holds now, and says what it holds then.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the server does not answer.
    pub async fn level(&self) -> Result<TreeHead> {
        self.submit(Request::Level).await?;
        self.view.log().head().await
    }

    /// Messages that this process has passed over because no depin log has written them, or not in their place.
    pub fn skipped(&self) -> u64 {
        self.status.borrow().skipped
    }

    /// Sequence of the last message of the stream that the view has applied.
    pub fn applied(&self) -> u64 {
        self.status.borrow().applied
    }

    /// Joins the workers of this name, on this machine or others, who share the batches of the log: each group
    /// of them goes to one worker, and again to another when the first has not [done](Job::done) it in time.
    ///
    /// What a server that stands alone lost is given out when it is back in the stream, also where others had done it
    /// before: the server keeps the workers' place under their name, an `@` and its own name, anew with each start, and
    /// begins with the first message that it took itself or that nobody has done. Where it lost more than what came
    /// since its last start, it begins with the first of the log. A cluster keeps one place for ever, and if most of it
    /// loses power, workers pass over what bears old numbers: join under another name then.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a name that a server does not take, [`ErrorKind::Unavailable`] when it does
    /// not answer.
    pub async fn work(&self, name: &str, options: WorkOptions) -> Result<Worker> {
        let (client, stream) = (self.client.clone(), self.stream.clone());
        let (name, network) = (name.to_owned(), self.network.clone());
        let place = Place { client, stream, name, network, options };
        Worker::start(place, Arc::clone(&self.view), self.status.clone()).await
    }

    /// Waits until everything that was begun is answered and the view is free.
    pub async fn close(mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // It ends when it has no more jobs; a panic in it has been reported already.
            let _ = writer.await;
        }
    }

    async fn submit(&self, request: Request) -> Result<Outcome> {
        self.check()?;
        if !self.is_writable && !matches!(request, Request::Level) {
            return Err(Error::new(
                ErrorKind::Config,
                "a view in memory flushes nothing, so nothing is stored over it; give this process a view in a \
                 folder, or vouch for the server with Acknowledge::OnceTaken",
            ));
        }
        let stopped = || Error::unavailable("the log's writer has stopped; open the log again");
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(stopped)?;
        jobs.try_send(Waiting { request, reply }).map_err(|error| match error {
            TrySendError::Full(_) => Error::unavailable("the log is busy; try again"),
            TrySendError::Closed(_) => stopped(),
        })?;
        answer.await.map_err(|_| stopped())?
    }

    fn check(&self) -> Result<()> {
        self.status.borrow().check()
    }
}

impl fmt::Debug for JetStreamLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JetStreamLog({}, {:?})", self.network, self.view)
    }
}

fn too_large(bytes: usize) -> Error {
    let why =
        "the record does not fit a message of the server; raise its max_payload (at most 64 MB)";
    Error::new(ErrorKind::Limit, why).with("bytes", bytes)
}

fn epoch_too_large(epoch: EpochId, bytes: usize) -> Error {
    let why = "a sealed epoch takes at most 256 MiB and 4,096 messages of the server; close shorter epochs, \
               which have fewer batches, let late work settle after fewer epochs, which makes each device shorter, \
               run several networks, or raise its max_payload";
    Error::new(ErrorKind::Limit, why).with("epoch", epoch).with("bytes", bytes)
}

#[async_trait]
impl BatchLog for JetStreamLog {
    async fn append(&self, batch: NewBatch) -> Result<Append> {
        let bytes = batch.batch.as_bytes().len();
        match self.submit(Request::Append(Box::new(batch))).await? {
            Outcome::Append(append) => Ok(append),
            Outcome::Malformed(why) => Err(Error::new(ErrorKind::Malformed, why)),
            _ => Err(too_large(bytes)),
        }
    }

    async fn head(&self) -> Result<TreeHead> {
        self.check()?;
        self.view.log().head().await
    }

    async fn grown(&self, size: u64) -> Result<u64> {
        let mut status = self.status.clone();
        tokio::select! {
            grown = self.view.log().grown(size) => grown,
            stopped = status.wait_for(|status| status.stopped.is_some()) => {
                drop(stopped);
                self.check()?;
                Err(Error::unavailable("the log's writer has stopped; open the log again"))
            }
        }
    }

    async fn root(&self, size: u64) -> Result<B256> {
        self.check()?;
        self.view.log().root(size).await
    }

    async fn inclusion(&self, index: u64, size: u64) -> Result<Vec<B256>> {
        self.check()?;
        self.view.log().inclusion(index, size).await
    }

    async fn consistency(&self, old: u64, size: u64) -> Result<Vec<B256>> {
        self.check()?;
        self.view.log().consistency(old, size).await
    }

    async fn chain(&self, device: &Did, from: Sequence, limit: usize) -> Result<Vec<LogEntry>> {
        self.check()?;
        self.view.log().chain(device, from, limit).await
    }

    async fn find(&self, device: &Did, sequence: Sequence) -> Result<Option<(u64, B256)>> {
        self.check()?;
        self.view.log().find(device, sequence).await
    }

    /// Gives up the bytes in this process's view; the stream and the views of others keep theirs.
    async fn forget(&self, before: u64) -> Result<()> {
        self.check()?;
        self.view.log().forget(before).await
    }

    async fn oldest(&self) -> Result<u64> {
        self.check()?;
        self.view.log().oldest().await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>> {
        self.check()?;
        self.view.log().read(from, limit).await
    }

    async fn tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        self.check()?;
        self.view.log().tip(device).await
    }

    async fn latest_tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        self.level().await?;
        self.tip(device).await
    }

    async fn refuse(&self, refused: RefusedBatch) -> Result<()> {
        let record = refusal::encode(&refused)?;
        let bytes = record.len();
        match self.submit(Request::Refuse(record)).await? {
            Outcome::TooLarge => Err(too_large(bytes)),
            _ => Ok(()),
        }
    }

    async fn refusals(&self, from: u64, limit: usize) -> Result<Vec<RefusedBatch>> {
        self.check()?;
        self.view.log().refusals(from, limit).await
    }

    async fn refusal_range(&self) -> Result<Range<u64>> {
        self.check()?;
        self.view.log().refusal_range().await
    }

    /// Gives up refusals of this process's view; the stream and the views of others keep theirs.
    async fn forget_refusals(&self, before: u64) -> Result<()> {
        self.check()?;
        self.view.log().forget_refusals(before).await
    }

    async fn seal(&self, epoch: EpochId, record: Bytes) -> Result<()> {
        let bytes = record.len();
        let hash = parts::sha256(&record).await?;
        match self.submit(Request::Seal(epoch, record, hash)).await? {
            Outcome::Done => Ok(()),
            Outcome::Conflict => Err(sealed_otherwise().with("epoch", epoch)),
            _ => Err(epoch_too_large(epoch, bytes)),
        }
    }

    async fn sealed(&self, epoch: EpochId) -> Result<Option<Bytes>> {
        self.check()?;
        self.view.log().sealed(epoch).await
    }
}
