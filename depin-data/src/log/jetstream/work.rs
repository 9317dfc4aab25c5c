//! Consumers that share work: each message of the stream goes to one of them, until one has done it.

use std::{fmt, sync::Arc, time::Duration};

use async_nats::jetstream::{
    self, AckKind,
    consumer::{
        Consumer,
        pull::{self, MessagesError, MessagesErrorKind},
    },
};
use depin_core::{Error, ErrorKind, NetworkId, Result, log::LogEntry};
use futures_util::StreamExt;
use tokio::sync::watch;

use super::{group::Group, place::Place, view::AnyView, wire::failed, writer::Status};

/// How often a server says that there is nothing yet.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a request for work stays with the server.
const REQUEST: Duration = Duration::from_secs(30);

/// How workers of one name share what there is; counts when the first of them comes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkOptions {
    /// Most jobs given out and not done, over all workers of the name: no more are given out before one is
    /// done, so that a backlog stays in the stream.
    pub pending: u16,
    /// How long a job may take before it is given to somebody else; [`Job::working`] begins the time anew.
    pub patience: Duration,
    /// Whether to begin with the batches that come from now on, not with the first of the log.
    pub only_new: bool,
}

impl Default for WorkOptions {
    /// 64 jobs, 30 s each, from the first batch on.
    fn default() -> Self {
        Self { pending: 64, patience: Duration::from_secs(30), only_new: false }
    }
}

/// One of several workers that share the batches of a log; see
/// [`JetStreamLog::work`](super::JetStreamLog::work).
pub struct Worker {
    place: Place,
    /// Whose consumer it is.
    server: String,
    consumer: Consumer<pull::Config>,
    messages: Option<pull::Stream>,
    network: NetworkId,
    view: Arc<AnyView>,
    status: watch::Receiver<Status>,
}

/// Batches for one worker: those that were appended together.
///
/// Given to one worker at a time and, until it is [`done`](Self::done), again after a while: every batch is
/// worked on at least once, and more than once when a worker died or was late. Indices tell which are
/// known already. To drop a job without a word is to be late.
pub struct Job {
    /// The batches, in the order of the log.
    pub entries: Vec<LogEntry>,
    /// Whether it was given out before.
    pub again: bool,
    message: jetstream::Message,
}

impl Worker {
    pub(super) async fn start(
        place: Place,
        network: NetworkId,
        view: Arc<AnyView>,
        status: watch::Receiver<Status>,
    ) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !(1..=64).contains(&place.name.len()) || !place.name.chars().all(plain) {
            return Err(Error::new(
                ErrorKind::Config,
                "a name of workers is 1 to 64 letters, digits, dashes and underscores",
            ));
        }
        let server = place.server();
        let consumer = place.consumer(&server).await?;
        Ok(Self { place, server, consumer, messages: None, network, view, status })
    }

    /// Waits for the next job.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the server does not answer; the next call asks again. Else why the
    /// log has stopped.
    pub async fn next(&mut self) -> Result<Job> {
        loop {
            let message = self.message().await?;
            let info = message.info().map_err(unclear)?;
            let (sequence, again) = (info.stream_sequence, info.delivered > 1);
            // What the view has applied is what the log holds.
            self.applied(sequence).await?;
            let entries = match Group::decode(&message.payload, &self.network) {
                Ok(group) => self.entries(group).await?,
                Err(_) => Vec::new(),
            };
            if !entries.is_empty() {
                return Ok(Job { entries, again, message });
            }
            message.ack().await.map_err(unclear)?;
        }
    }

    /// The batches of a message that are in the log where it says: those of one that all passed over are not.
    async fn entries(&self, group: Group) -> Result<Vec<LogEntry>> {
        let mut entries = Vec::with_capacity(group.batches.len());
        for (index, new) in (group.before.batches..).zip(group.batches) {
            let there = self.view.log().find(&new.device, new.sequence).await?;
            if there == Some((index, new.batch.hash())) {
                entries.push(LogEntry { index, received: new.received, batch: new.batch });
            }
        }
        Ok(entries)
    }

    async fn message(&mut self) -> Result<jetstream::Message> {
        self.follow_server().await?;
        match self.try_message().await {
            // The request was lost, or taken for answered: another one is made at once.
            Err(error) if error.kind() == MessagesErrorKind::MissingHeartbeat => {
                self.follow_server().await?;
                self.try_message().await.map_err(failed)
            }
            message => message.map_err(failed),
        }
    }

    /// Goes on with the consumer of a server that has started since.
    async fn follow_server(&mut self) -> Result<()> {
        let server = self.place.server();
        if server != self.server {
            self.messages = None;
            self.consumer = self.place.consumer(&server).await?;
            self.server = server;
        }
        Ok(())
    }

    async fn try_message(&mut self) -> Result<jetstream::Message, MessagesError> {
        let mut messages = match self.messages.take() {
            Some(messages) => messages,
            None => {
                let request = self.consumer.stream().max_messages_per_batch(1);
                let request = request.heartbeat(HEARTBEAT).expires(REQUEST).messages().await;
                request
                    .map_err(|error| MessagesError::with_source(MessagesErrorKind::Pull, error))?
            }
        };
        // A stream that failed is not kept, so that the next call makes another.
        let message = messages.next().await;
        let message = message.ok_or_else(|| MessagesError::new(MessagesErrorKind::Other))??;
        self.messages = Some(messages);
        Ok(message)
    }

    async fn applied(&mut self, sequence: u64) -> Result<()> {
        let there = |status: &Status| status.applied >= sequence || status.stopped.is_some();
        let closed = |_| Error::unavailable("the log was closed; open it again");
        let status = self.status.wait_for(there).await.map_err(closed)?;
        status.check()
    }
}

impl Job {
    /// Says that the work is done, and waits until the server knows.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the server does not answer: the job may be given out again.
    pub async fn done(self) -> Result<()> {
        self.message.double_ack().await.map_err(unclear)
    }

    /// Says that the work goes on, so that the job is not given to somebody else yet.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the server is out of reach.
    pub async fn working(&self) -> Result<()> {
        self.message.ack_with(AckKind::Progress).await.map_err(unclear)
    }

    /// Gives the job back, for somebody else to try.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the server is out of reach: it is given out again later.
    pub async fn give_back(self) -> Result<()> {
        self.message.ack_with(AckKind::Nak(None)).await.map_err(unclear)
    }
}

fn unclear(error: async_nats::Error) -> Error {
    Error::unavailable("the nats server does not answer; the job may be given out again")
        .with("cause", error)
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("network", &self.network).finish_non_exhaustive()
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("entries", &self.entries)
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}
