//! The stream on its server: made, read by sequence, and written only where the writer expects its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client, Event, Subscriber,
    connection::State,
    jetstream::{
        self, Context,
        context::PublishErrorKind,
        message::{PublishMessage, StreamMessage},
        stream::{
            Config, DirectGetErrorKind, PersistenceMode, RawMessageErrorKind, RetentionPolicy,
            StorageType, Stream,
        },
    },
};
use depin_core::{Bytes, Error, ErrorKind, NetworkId, Result};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    JetStreamOptions,
    parts::Source,
    writer::{PATIENCE, PAUSE},
};
use crate::nats::{NatsOptions, connect_as};

/// How long the server may take for one answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Fewest replicas in a cluster: with these a server that loses what it has not flushed loses nothing of the stream.
/// Whether any did is told by the server that we are connected to alone, see [`Wire::server`].
const REPLICAS: usize = 3;

/// Header that tells which server took a message.
const SERVER: &str = "Depin-Server";

/// What became of a message.
pub(super) enum Published {
    /// It is the message with this sequence.
    At(u64),
    /// The stream does not end where the writer thought; the message is not there, unless an earlier try
    /// with the same expectation brought it there.
    Elsewhere,
    /// No answer: it may be there, or come yet.
    Unknown(Error),
}

pub(super) struct Wire {
    context: Context,
    stream: Stream,
    subject: String,
    wake: String,
    woken: Subscriber,
    connections: Arc<AtomicU64>,
}

impl Wire {
    pub(super) async fn open(
        server: &NatsOptions,
        network: &NetworkId,
        options: &JetStreamOptions,
    ) -> Result<Self> {
        let connections = Arc::new(AtomicU64::new(0));
        let client = connect(server, Arc::clone(&connections)).await?;
        if let Some(cluster) = client.server_info().cluster
            && options.replicas < REPLICAS
        {
            let why = "a stream with fewer than 3 replicas lies on some server of the cluster, which may lose its \
                       end while the one that we speak to goes on; set JetStreamOptions::replicas to 3 or 5";
            return Err(Error::new(ErrorKind::Config, why).with("cluster", cluster));
        }
        let mut context = jetstream::new(client.clone());
        context.set_timeout(ANSWER);
        let subject = format!("depin.{network}.log");
        let stream = ensure(&context, &subject, network, options).await?;
        let wake = format!("depin.{network}.log-grew");
        let woken = client.subscribe(wake.clone()).await.map_err(failed)?;
        Ok(Self { context, stream, subject, wake, woken, connections })
    }

    /// A name that no other writer has.
    pub(super) fn unique(&self) -> String {
        self.context.client().new_inbox().trim_start_matches("_INBOX.").to_owned()
    }

    /// Most bytes of a message.
    pub(super) fn most(&self) -> usize {
        // The headers that we add are below 256 bytes.
        self.context.client().max_payload().saturating_sub(256)
    }

    pub(super) fn client(&self) -> Client {
        self.context.client()
    }

    pub(super) const fn stream(&self) -> &Stream {
        &self.stream
    }

    fn stream_name(&self) -> &str {
        &self.stream.cached_info().config.name
    }

    /// How often the connection was made; more than before means that the server may have lost something.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Acquire)
    }

    /// The server's name for itself, another one after every start.
    pub(super) fn server(&self) -> String {
        self.context.client().server_info().server_id
    }

    /// Whether the server has been up since it took the message with this sequence, so that it still knows
    /// everything it has acknowledged since.
    pub(super) async fn was_up_at(&self, sequence: u64) -> Result<bool> {
        let message = message(&self.stream, sequence).await?;
        Ok(message.is_some_and(|message| is_by(&message, &self.server())))
    }

    /// First and last sequence.
    pub(super) async fn ends(&self) -> Result<(u64, u64)> {
        let info = self.stream.get_info().await.map_err(failed)?;
        Ok((info.state.first_sequence, info.state.last_sequence))
    }

    /// The message with this sequence if the answering server has it, which may be behind the leader.
    pub(super) async fn read(&self, sequence: u64) -> Result<Option<Bytes>> {
        match self.stream.direct_get(sequence).await {
            Ok(message) => Ok(Some(message.payload.into())),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// The message with this sequence if the leader has it.
    pub(super) async fn read_surely(&self, sequence: u64) -> Result<Option<Bytes>> {
        let message = message(&self.stream, sequence).await?;
        Ok(message.map(|message| message.payload.into()))
    }

    /// Adds a message right after the one with sequence `last`, or not at all.
    pub(super) async fn publish(&self, last: u64, message: &Bytes) -> Published {
        // The client would keep it for whichever server comes next, which may have lost what it was to follow.
        if self.context.client().connection_state() != State::Connected {
            return Published::Unknown(Error::unavailable(
                "there is no connection to the nats server; try again",
            ));
        }
        let message = PublishMessage::build()
            .payload(message.0.clone())
            .expected_last_sequence(last)
            .header(SERVER, self.server())
            .expected_stream(self.stream_name());
        let sent = self.context.send_publish(self.subject.clone(), message).await;
        let answer = match sent {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => {
                // Whoever does not hear it looks again by itself, a little later.
                let _ = self.context.client().publish(self.wake.clone(), "".into()).await;
                Published::At(answer.sequence)
            }
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                Published::Elsewhere
            }
            Err(error) => Published::Unknown(failed(error)),
        }
    }

    /// Waits until another writer says that it wrote.
    pub(super) async fn woken(&mut self) {
        if self.woken.next().await.is_none() {
            // The client is closed: whoever waits has a timer too.
            std::future::pending::<()>().await;
        }
    }
}

impl Source for Wire {
    fn message(&self, sequence: u64) -> impl Future<Output = Result<Option<Bytes>>> + Send {
        self.read_surely(sequence)
    }
}

async fn connect(server: &NatsOptions, connections: Arc<AtomicU64>) -> Result<Client> {
    let count = move |event| {
        if matches!(event, Event::Connected) {
            connections.fetch_add(1, Ordering::AcqRel);
        }
        std::future::ready(())
    };
    // Soon and often, so that those who hold what a server lost come back before they write anew.
    let delay = |tries: usize| {
        let tries = u64::try_from(tries).unwrap_or(u64::MAX);
        Duration::from_millis(tries.saturating_mul(50).min(500))
    };
    connect_as(server, |dial| dial.event_callback(count).reconnect_delay_callback(delay)).await
}

/// Finds the stream, or makes it. Only what 2.9 knows is asked for.
async fn ensure(
    context: &Context,
    subject: &str,
    network: &NetworkId,
    options: &JetStreamOptions,
) -> Result<Stream> {
    let config = Config {
        name: format!("DEPIN_{network}"),
        subjects: vec![subject.to_owned()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: options.replicas,
        allow_direct: true,
        ..Config::default()
    };
    let deadline = Instant::now() + PATIENCE;
    let stream = loop {
        match context.get_or_create_stream(config.clone()).await {
            Ok(stream) => break stream,
            // One that has just started lets clients in before it knows its streams.
            Err(error) if Instant::now() < deadline => {
                debug!(%error, "the server knows no streams yet; asking again");
                sleep(PAUSE).await;
            }
            Err(error) => return Err(failed(error)),
        }
    };
    let found = &stream.cached_info().config;
    match unfit(found, subject, options.replicas) {
        None => Ok(stream),
        Some(needs) => Err(Error::new(
            ErrorKind::Config,
            format!("the stream exists with other settings; it needs {needs}"),
        )
        .with("stream", &found.name)
        .with("subject", subject)),
    }
}

/// What a stream that is there already lacks to keep everything, and to keep it before it says so.
fn unfit(found: &Config, subject: &str, replicas: usize) -> Option<&'static str> {
    let is_async = found.persist_mode.is_some_and(|mode| mode != PersistenceMode::Default);
    let lacks = [
        (found.subjects != [subject], "this one subject"),
        (found.storage != StorageType::File || is_async, "to write to files before it answers"),
        (found.num_replicas < replicas, "as many replicas as this process asks for"),
        (found.retention != RetentionPolicy::Limits, "to keep what was read"),
        (!found.max_age.is_zero(), "no max_age, which drops messages"),
        (found.max_messages > 0 || found.max_bytes > 0, "no limits, which drop messages"),
        (found.max_messages_per_subject > 0, "no max_msgs_per_subject, which drops messages"),
        (found.allow_rollup, "no allow_rollup_hdrs, by which one message replaces all"),
        (found.no_ack, "to answer (no_ack is set)"),
        (found.mirror.is_some() || found.sources.is_some(), "no messages of other streams"),
        (!found.allow_direct, "direct access (allow_direct)"),
    ];
    lacks.into_iter().find_map(|(lacks, what)| lacks.then_some(what))
}

/// The message with this sequence, if the leader has one.
pub(super) async fn message(stream: &Stream, sequence: u64) -> Result<Option<StreamMessage>> {
    match stream.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Whether this start of a server took the message.
pub(super) fn is_by(message: &StreamMessage, server: &str) -> bool {
    message.headers.get(SERVER).is_some_and(|by| by.as_str() == server)
}

/// What the server or the way to it says no to; a repeated call may heal it.
pub(super) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unavailable("jetstream does not answer as it should; try again")
        .with("cause", &error)
        .source(error)
}
