//! The device's side.

use std::{fmt, sync::Arc, time::Duration};

use async_nats::{Client, Subscriber};
use async_trait::async_trait;
use depin_core::{
    Did, Error, ErrorKind, Result, SignedBatch, Signer,
    transport::{Answer, Standing, Transport},
};
use futures_util::StreamExt;
use rand_core::CryptoRngCore;
use tokio::task::JoinHandle;

use super::{NatsOptions, options};
use crate::{
    broker::{Patience, Waiting},
    receipt::ReceiptVerifier,
    wire,
};

/// Answers that may wait to be verified.
const ANSWERS: usize = 256;

/// A [`Transport`] through a NATS server. Cloning shares the connection.
///
/// It connects again by itself, and sends a request again while there is no answer. Answers are verified
/// with the key of the log; what does not verify is ignored.
#[derive(Clone)]
pub struct NatsTransport {
    client: Client,
    subject: String,
    inbox: String,
    waiting: Arc<Waiting>,
    patience: Patience,
    _task: Arc<Task>,
}

/// Ends with the last handle.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl NatsTransport {
    /// Connects as the device `did`.
    ///
    /// `receipts` verifies what ingest says. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for options that cannot be read, [`ErrorKind::Rejected`] when the server does
    /// not let us in, [`ErrorKind::Unavailable`] when there is none.
    pub async fn connect(
        options: &NatsOptions,
        did: &Did,
        receipts: ReceiptVerifier,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self> {
        let subject = format!("depin.v1.{}.{}.up", receipts.network(), wire::device_tag(did));
        let waiting = Arc::new(Waiting::new(receipts, rng));
        let client = options::connect(options, ANSWERS).await?;
        let inbox = client.new_inbox();
        let answers = client.subscribe(inbox.clone()).await.map_err(|error| {
            Error::unavailable("the nats connection has ended; connect again").source(error)
        })?;
        let task = tokio::spawn(listen(answers, Arc::clone(&waiting)));
        let patience = Patience::default();
        Ok(Self { client, subject, inbox, waiting, patience, _task: Arc::new(Task(task)) })
    }

    /// Waits for an answer for `whole` (30 s unless said), and sends the request again after `resend`
    /// (5 s), then after twice as long, and so on.
    #[must_use]
    pub const fn patience(mut self, whole: Duration, resend: Duration) -> Self {
        self.patience = Patience { whole, resend };
        self
    }

    async fn publish(&self, request: Vec<u8>) -> Result<()> {
        use async_nats::client::PublishErrorKind::MaxPayloadExceeded;
        let (subject, inbox) = (self.subject.clone(), self.inbox.clone());
        let sent = self.client.publish_with_reply(subject, inbox, request.into()).await;
        sent.map_err(|error| {
            let (kind, why) = match error.kind() {
                MaxPayloadExceeded => {
                    (ErrorKind::Limit, "the nats server takes no message as large as a batch")
                }
                _ => (ErrorKind::Unavailable, "the nats connection has ended; connect again"),
            };
            Error::new(kind, why).source(error)
        })
    }
}

#[async_trait]
impl Transport for NatsTransport {
    async fn send(&self, batch: &SignedBatch) -> Result<Answer> {
        let publish = |_, request| self.publish(request);
        self.waiting.send(self.patience, batch, publish).await
    }

    async fn standing(&self, device: &Did, signer: &dyn Signer) -> Result<Standing> {
        let publish = |_, request| self.publish(request);
        self.waiting.ask(self.patience, device, signer, publish).await
    }
}

impl fmt::Debug for NatsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsTransport").field("subject", &self.subject).finish_non_exhaustive()
    }
}

async fn listen(mut answers: Subscriber, waiting: Arc<Waiting>) {
    while let Some(message) = answers.next().await {
        // The server itself says so when nobody listens; then the request is sent again in its time.
        if message.status.is_none() {
            waiting.settle(&message.payload);
        }
    }
}
