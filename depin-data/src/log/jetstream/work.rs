//! Consumers that share work: each message of the stream goes to one of them, until one has done it.

use std::{fmt, sync::Arc, time::Duration};

use async_nats::jetstream::{
    self, AckKind,
    consumer::{
        Consumer,
        pull::{self, MessagesError, MessagesErrorKind},
    },
};
use depin_core::{Error, ErrorKind, Result, log::LogEntry};
use futures_util::StreamExt;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    group::Group,
    place::Place,
    view::AnyView,
    wire::failed,
    writer::{LOOK, Status},
};

/// How often a server says that there is nothing yet.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a request for work stays with the server.
const REQUEST: Duration = Duration::from_secs(30);

/// How workers of one name share what there is; counts when the first of them comes after a start of the server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkOptions {
    /// Most jobs given out and not done, over all workers of the name: no more are given out before one is
    /// done, so that a backlog stays in the stream.
    pub pending: u16,
    /// How long a job may take before it is given to somebody else; [`Job::working`] begins the time anew.
    pub patience: Duration,
    /// Whether to begin with the batches that come from now on, not with the first of the log. A server that loses
    /// what it knows of the workers begins with the first for those who live through it.
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
    view: Arc<AnyView>,
    status: watch::Receiver<Status>,
}

/// Batches for one worker: those that were appended together.
///
/// Given to one worker at a time and, until it is [`done`](Self::done), again after a while: every batch is
/// worked on at least once, and more than once when a worker died or was late, or the server has started anew.
/// Indices tell which are known already. To drop a job without a word is to be late.
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
        let (server, consumer) = place.find(false).await?;
        Ok(Self { place, server, consumer, messages: None, view, status })
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
            if !self.applied(sequence).await? {
                continue;
            }
            let entries = match Group::decode(&message.payload, &self.place.network) {
                Ok(group) => self.entries(group).await?,
                Err(_) => Vec::new(),
            };
            if !self.is_followed() {
                continue;
            }
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
        loop {
            self.follow_server().await?;
            let waiting = self.messages.as_mut().map(|messages| messages.next());
            let Some(waiting) = waiting else {
                self.messages = Some(self.ask().await?);
                continue;
            };
            // A client that finds its way back asks the consumer that it had, whichever server that is.
            let message = tokio::select! {
                message = waiting => message,
                () = sleep(LOOK) => continue,
            };
            match message {
                Some(Ok(message)) => return Ok(message),
                // The request was lost, or taken for answered: another one is made at once.
                Some(Err(error)) if error.kind() == MessagesErrorKind::MissingHeartbeat => {
                    self.forget_server();
                }
                failure => {
                    self.forget_server();
                    let error = failure.and_then(std::result::Result::err);
                    return Err(failed(
                        error.unwrap_or_else(|| MessagesError::new(MessagesErrorKind::Other)),
                    ));
                }
            }
        }
    }

    async fn ask(&mut self) -> Result<pull::Stream> {
        let request = self.consumer.stream().max_messages_per_batch(1);
        let asked = request.heartbeat(HEARTBEAT).expires(REQUEST).messages().await;
        asked.map_err(|error| {
            self.forget_server();
            failed(error)
        })
    }

    /// Goes on with the consumer of a server that has started since.
    async fn follow_server(&mut self) -> Result<()> {
        if !self.is_followed() {
            self.messages = None;
            (self.server, self.consumer) = self.place.find(true).await?;
        }
        Ok(())
    }

    /// A stream that failed is not kept, and a consumer that may be gone is looked for.
    fn forget_server(&mut self) {
        self.messages = None;
        self.server.clear();
    }

    /// Whether the consumer is that of the server that we speak to, and what it numbers is what that one has.
    fn is_followed(&self) -> bool {
        self.server == self.place.server()
    }

    /// Waits until the view has applied the message; false when its number is of an earlier start of the server.
    async fn applied(&mut self, sequence: u64) -> Result<bool> {
        loop {
            let compared = (!self.place.is_in_cluster()).then_some(&self.server);
            let there = |status: &Status| {
                let is_compared = compared.is_none_or(|server| status.compared == *server);
                status.stopped.is_some() || (status.applied >= sequence && is_compared)
            };
            let closed = |_| Error::unavailable("the log was closed; open it again");
            let waited = timeout(LOOK, self.status.wait_for(there)).await;
            let waited = waited.map(|status| status.map_err(closed)?.check());
            match waited {
                _ if !self.is_followed() => return Ok(false),
                Ok(checked) => return checked.map(|()| true),
                Err(_) => {}
            }
        }
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
        f.debug_struct("Worker").field("network", &self.place.network).finish_non_exhaustive()
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
