//! The side of ingest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use depin_core::{Error, Result};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    MqttOptions,
    client::State,
    link::{self, Ack, Dialogue, Event, Link, Message, Sender, Session},
    topics,
};
use crate::{
    broker::{Desk, Hours, Lanes, Origin},
    ingest::Ingest,
    observe,
};

/// Pauses before connecting again, the first and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// Time for what is in flight when the server is shut down.
const GRACE: Duration = Duration::from_secs(10);
/// Most bytes of correlation data that come back.
const MAX_CORRELATION: usize = 64;

/// How a server takes part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MqttServing {
    /// The client id. A server with a name gets, when it comes back, what was published while it was
    /// away; without one it gets what comes while it is there, and devices send the rest again. No two
    /// servers may have the same name at a time.
    pub name: Option<String>,
    /// How long the broker keeps messages for a named server that is away. MQTT 3.1.1 has no such limit.
    pub session: Duration,
    /// Servers of one group share the work, if the broker knows shared subscriptions; `None` for a
    /// server that hears everything.
    pub group: Option<String>,
    /// Batches judged at a time. Those of one device are judged one after another.
    pub concurrency: u16,
    /// Messages that the broker may have under way to us: those that are not acknowledged yet. One topic may have a
    /// 16th of them wait; more is acknowledged without an answer, and its device sends it again. So is a request that
    /// comes again while it waits.
    pub inflight: u16,
    /// How long one batch may take to be judged, before others have their turn: a registry that does not answer for
    /// one device keeps no other waiting. What came too late counts, once, when the batch is judged again.
    pub attempt: Duration,
    /// How long to ask ingest again while it cannot answer. After that a message is acknowledged without
    /// an answer, so that it is not in the way of others for ever: its device sends it again.
    pub patience: Duration,
}

impl Default for MqttServing {
    /// No name, group `ingest`, 64 batches at a time of 256 under way, sessions of one hour, 10 s for an attempt,
    /// patience of five minutes.
    fn default() -> Self {
        Self {
            name: None,
            session: Duration::from_secs(3600),
            group: Some("ingest".into()),
            concurrency: 64,
            inflight: 256,
            attempt: Duration::from_secs(10),
            patience: Duration::from_secs(300),
        }
    }
}

/// A running server. Dropping it stops at once: what it has not acknowledged comes again, to it or to
/// others.
#[derive(Debug)]
pub struct MqttServer {
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Answers what devices publish on a broker, once it lets us listen.
///
/// Must be called inside a tokio runtime.
///
/// # Errors
/// [`ErrorKind::Rejected`](depin_core::ErrorKind::Rejected) when the broker does not let us in,
/// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when there is none,
/// [`ErrorKind::Config`](depin_core::ErrorKind::Config) when we do not trust its certificate or cannot read ours.
pub async fn serve(
    ingest: Arc<Ingest>,
    options: &MqttOptions,
    serving: MqttServing,
) -> Result<MqttServer> {
    let filter = topics::requests(ingest.network(), serving.group.as_deref());
    let session = Session {
        client_id: serving.name.clone().unwrap_or_default(),
        kept: serving.name.as_ref().map(|_| serving.session),
        inflight: serving.inflight,
        manual_acks: true,
    };
    let kept = session.kept.is_some();
    let (sender, link) = link::open(options, session)?;
    let MqttServing { concurrency, inflight, attempt, patience, .. } = serving;
    let desk = Desk::new(ingest, "mqtt", concurrency, Hours { attempt, patience });
    let connection = Arc::new(AtomicU64::new(0));
    let work = {
        let (desk, sender, connection) = (desk.clone(), sender.clone(), Arc::clone(&connection));
        move |job| work(desk.clone(), sender.clone(), Arc::clone(&connection), job)
    };
    let lanes = Lanes::new(inflight.into(), work);
    let (told, mut state) = watch::channel(State::Connecting);
    let (stop, stopped) = watch::channel(false);
    let server = Server { link, sender, desk, filter, kept, connection, told };
    let task = tokio::spawn(server.run(lanes, stopped));
    let server = MqttServer { stop, task: Some(task) };
    State::settled(&mut state).await?;
    Ok(server)
}

impl MqttServer {
    /// Takes nothing new, answers what is in flight (for at most 10 s) and disconnects.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for MqttServer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// A message, and the connection it came over: packet ids mean nothing on another.
struct Job {
    message: Message,
    connection: u64,
}

/// Answers one message, and acknowledges it only then. While ingest cannot answer it stays
/// unacknowledged, so that the broker holds back more, and gives it to us again should we die.
async fn work(desk: Desk, sender: Sender, connection: Arc<AtomicU64>, job: Job) {
    let Message { topic, payload, correlation, ack } = job.message;
    if let (Some(bytes), Some(down)) = (desk.answer(&payload).await, topics::answers(&topic)) {
        let correlation = correlation.filter(|data| data.len() <= MAX_CORRELATION);
        sender.publish(&down, bytes, Dialogue { response_topic: None, correlation }).await;
    }
    acknowledge(&sender, &connection, job.connection, ack).await;
}

/// Says that a message is dealt with, while there still is the connection that it came over.
async fn acknowledge(sender: &Sender, connection: &AtomicU64, over: u64, ack: Ack) {
    if connection.load(Ordering::Acquire) == over {
        sender.ack(ack).await;
    }
}

struct Server {
    link: Link,
    sender: Sender,
    desk: Desk,
    filter: String,
    /// Whether the broker keeps our session.
    kept: bool,
    /// Counts connections.
    connection: Arc<AtomicU64>,
    told: watch::Sender<State>,
}

impl Server {
    async fn run(mut self, lanes: Lanes<Job>, mut stopped: watch::Receiver<bool>) {
        let mut pause = FIRST;
        loop {
            let event = tokio::select! {
                event = self.link.next() => event,
                _ = stopped.wait_for(|stop| *stop) => break,
            };
            match event {
                Ok(Event::Message(message)) => {
                    let connection = self.connection.load(Ordering::Acquire);
                    let job = Job { message, connection };
                    let pushed = tokio::select! {
                        pushed = lanes.push(self.origin(&lanes, &job), job) => pushed,
                        _ = stopped.wait_for(|stop| *stop) => break,
                    };
                    if let Err(job) = pushed {
                        self.pass_over(job);
                    }
                }
                Ok(event) => {
                    if self.hear(event).await {
                        pause = FIRST;
                    }
                }
                Err(loss) => {
                    self.lose(loss);
                    sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LONGEST);
                }
            }
        }
        self.leave(lanes).await;
    }

    /// What comes again over another connection is no repetition: only there it can be acknowledged.
    fn origin(&self, lanes: &Lanes<Job>, Job { message, connection }: &Job) -> Origin {
        let Message { topic, payload, correlation, .. } = message;
        lanes.origin(topic, self.desk.sender(payload).as_ref(), (connection, payload, correlation))
    }

    /// Whether all is well.
    async fn hear(&mut self, event: Event) -> bool {
        match event {
            Event::Connected => {
                self.link.begin_anew(!self.kept);
                self.sender.subscribe(&self.filter).await;
                false
            }
            Event::Subscribed(granted) => {
                if !granted {
                    tracing::error!(filter = self.filter, "the mqtt broker does not let us listen");
                }
                self.told.send_replace(if granted { State::Ready } else { State::DEAF });
                granted
            }
            _ => false,
        }
    }

    /// Leaves a message without an answer, so that it is in nobody's way.
    fn pass_over(&self, job: Job) {
        observe::dropped("mqtt");
        let (sender, connection) = (self.sender.clone(), Arc::clone(&self.connection));
        // Not here, where packets are read off to be written: it would wait for itself. What the broker has under way
        // bounds these, and they end with the link.
        tokio::spawn(async move {
            acknowledge(&sender, &connection, job.connection, job.message.ack).await;
        });
    }

    fn lose(&mut self, loss: link::Loss) {
        self.connection.fetch_add(1, Ordering::AcqRel);
        if loss.oversized {
            // The broker would send it again and again; what it keeps beside it, devices send again.
            observe::oversized("mqtt");
            self.link.begin_anew(true);
        }
        self.told.send_replace(State::down(&loss));
        let error = Error::from(loss);
        tracing::warn!(?error, "connection to the mqtt broker lost");
    }

    /// Finishes what was taken, and says goodbye.
    async fn leave(mut self, lanes: Lanes<Job>) {
        let finish = timeout(GRACE, lanes.finish());
        tokio::pin!(finish);
        loop {
            tokio::select! {
                _ = &mut finish => break,
                event = self.link.next() => {
                    if event.is_err() {
                        sleep(FIRST).await;
                    }
                }
            }
        }
        self.sender.disconnect().await;
        let goodbye = async {
            while let Ok(event) = self.link.next().await {
                if matches!(event, Event::Closed) {
                    break;
                }
            }
        };
        let _ = timeout(FIRST.saturating_mul(20), goodbye).await;
    }
}
