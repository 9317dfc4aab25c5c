//! The side of ingest.

use std::{sync::Arc, time::Duration};

use async_nats::{Client, Event, Message, Subject, Subscriber};
use depin_core::{Error, Result};
use futures_util::StreamExt;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{NatsOptions, options};
use crate::{
    broker::{Desk, Hours, Lanes},
    ingest::Ingest,
    observe, wire,
};

/// Messages that may lie between the connection and us. We take them as they come, cut to what a request may have,
/// so that memory holds this many of the largest that the server lets through, beside the requests that wait.
const UNREAD: usize = 64;
/// Most bytes of a message that are kept: enough to see that it is too large.
const MAX_PAYLOAD: usize = wire::MAX_REQUEST + 1;
/// Time for what is in flight when the server is shut down.
const GRACE: Duration = Duration::from_secs(10);

/// How a server takes part.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NatsServing {
    /// Servers of one group share the work.
    pub group: String,
    /// Batches judged at a time. Those of one device are judged one after another.
    pub concurrency: u16,
    /// Messages that may wait, a 16th of them for one subject; more are dropped, and devices send them again. So is a
    /// request that comes again while it waits.
    pub waiting: usize,
    /// How long one batch may take to be judged, before others have their turn: a registry that does not answer for
    /// one device keeps no other waiting. What came too late counts, once, when the batch is judged again.
    pub attempt: Duration,
    /// How long to ask ingest again while it cannot answer.
    pub patience: Duration,
}

impl Default for NatsServing {
    /// Group `ingest`, 64 batches at a time, 256 waiting, 10 s for an attempt, patience of 30 s.
    fn default() -> Self {
        Self {
            group: "ingest".into(),
            concurrency: 64,
            waiting: 256,
            attempt: Duration::from_secs(10),
            patience: Duration::from_secs(30),
        }
    }
}

/// A running server. Dropping it stops at once: devices send what has no answer again.
#[derive(Debug)]
pub struct NatsServer {
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// Answers what devices publish on a NATS server.
///
/// Must be called inside a tokio runtime.
///
/// # Errors
/// [`ErrorKind::Config`](depin_core::ErrorKind::Config) for options that cannot be read,
/// [`ErrorKind::Rejected`](depin_core::ErrorKind::Rejected) when the server does not let us in,
/// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when there is none.
pub async fn serve(
    ingest: Arc<Ingest>,
    options: &NatsOptions,
    serving: NatsServing,
) -> Result<NatsServer> {
    let NatsServing { group, concurrency, waiting, attempt, patience } = serving;
    let client = options::connect_as(options, |dial| {
        dial.subscription_capacity(UNREAD).event_callback(|event| async move {
            // A burst that came faster than it was read; the connection tells each message that it dropped.
            if matches!(event, Event::SlowConsumer(_)) {
                observe::dropped("nats");
            }
        })
    })
    .await?;
    let ended = |error: async_nats::Error| {
        Error::unavailable("the nats connection has ended; serve again").source(error)
    };
    let subject = format!("depin.v1.{}.*.up", ingest.network());
    let requests = client.queue_subscribe(subject, group).await.map_err(|e| ended(e.into()))?;
    client.flush().await.map_err(|error| ended(error.into()))?;
    let desk = Desk::new(ingest, "nats", concurrency, Hours { attempt, patience });
    let work = {
        let (desk, client) = (desk.clone(), client.clone());
        move |job| work(desk.clone(), client.clone(), job)
    };
    let lanes = Lanes::new(waiting, work);
    let (stop, stopped) = watch::channel(false);
    let task = tokio::spawn(run(client, requests, desk, lanes, stopped));
    Ok(NatsServer { stop, task: Some(task) })
}

impl NatsServer {
    /// Takes nothing new, answers what is in flight (for at most 10 s) and disconnects.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Where clients of NATS wait for answers, and nobody else reads.
const INBOX: &str = "_INBOX.";

/// A message of which no more is kept than is looked at.
struct Job {
    payload: Vec<u8>,
    reply: Option<Subject>,
}

async fn work(desk: Desk, client: Client, job: Job) {
    let bytes = desk.answer(&job.payload).await;
    // Nobody makes ingest publish with its rights where the sender has none.
    let reply = job.reply.filter(|reply| reply.starts_with(INBOX));
    if let (Some(bytes), Some(reply)) = (bytes, reply) {
        // It fails only when the connection has ended for good.
        let _ = client.publish(reply, bytes.into()).await;
    }
}

async fn run(
    client: Client,
    mut requests: Subscriber,
    desk: Desk,
    lanes: Lanes<Job>,
    mut stopped: watch::Receiver<bool>,
) {
    let take = async {
        while let Some(message) = requests.next().await {
            let Message { subject, reply, payload, .. } = message;
            let payload = payload.get(..MAX_PAYLOAD).unwrap_or(&payload).to_vec();
            let sender = desk.sender(&payload);
            let origin = lanes.origin(&subject, sender.as_ref(), (&payload, reply.as_deref()));
            if !lanes.try_push(origin, Job { payload, reply }) {
                observe::dropped("nats");
            }
        }
    };
    tokio::select! {
        () = take => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    let _ = requests.unsubscribe().await;
    let _ = timeout(GRACE, lanes.finish()).await;
    let _ = client.flush().await;
}
