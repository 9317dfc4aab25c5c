//! The device's side.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use depin_core::{
    Did, Error, ErrorKind, Result, SignedBatch, Signer,
    transport::{Answer, Standing, Transport},
};
use rand_core::CryptoRngCore;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    MqttOptions,
    link::{self, Dialogue, Event, Link, Loss, Sender, Session},
    topics::Topics,
};
use crate::{
    broker::{Patience, Waiting},
    receipt::ReceiptVerifier,
    wire::Nonce,
};

/// Time for the first connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Pauses before connecting again, the first and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// Requests of one device that may be under way.
const INFLIGHT: u16 = 16;

/// A [`Transport`] through an MQTT broker. Cloning shares the connection.
///
/// It connects again by itself, and sends a request again while there is no answer. Answers are verified
/// with the key of the log; what does not verify is ignored.
#[derive(Clone)]
pub struct MqttTransport {
    topics: Topics,
    sender: Sender,
    waiting: Arc<Waiting>,
    state: watch::Receiver<State>,
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

/// How the connection stands.
#[derive(Clone, Debug)]
pub(super) enum State {
    Connecting,
    Ready,
    /// Why not, and whether it may yet come.
    Down(ErrorKind, &'static str),
}

impl State {
    pub(super) fn down(loss: &Loss) -> Self {
        let (kind, why) = loss.verdict();
        Self::Down(kind, why)
    }

    pub(super) const DEAF: Self = Self::Down(
        ErrorKind::Rejected,
        "the mqtt broker does not let us read our topic; check its access rules",
    );

    /// Waits for the first word from the broker.
    pub(super) async fn settled(state: &mut watch::Receiver<Self>) -> Result<()> {
        let silent = || Error::unavailable("the mqtt broker does not answer");
        let settled = state.wait_for(|state| !matches!(state, Self::Connecting));
        let settled = timeout(CONNECT, settled).await.map_err(|_| silent())?;
        match &*settled.map_err(|_| silent())? {
            Self::Down(kind, why) => Err(Error::new(*kind, *why)),
            _ => Ok(()),
        }
    }
}

impl MqttTransport {
    /// Connects as the device `did` and waits until the broker lets it listen.
    ///
    /// `receipts` verifies what ingest says. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the broker does not let us in, [`ErrorKind::Unavailable`] when there
    /// is none, [`ErrorKind::Config`] when we do not trust its certificate or cannot read ours.
    pub async fn connect(
        options: &MqttOptions,
        did: &Did,
        receipts: ReceiptVerifier,
        rng: &mut impl CryptoRngCore,
    ) -> Result<Self> {
        let mut id = [0; 8];
        rng.fill_bytes(&mut id);
        let client_id = format!("depin{:016x}", u64::from_be_bytes(id));
        let topics = Topics::of(receipts.network(), did);
        let waiting = Arc::new(Waiting::new(receipts, rng));
        let session = Session { client_id, kept: None, inflight: INFLIGHT, manual_acks: false };
        let (sender, link) = link::open(options, session)?;
        let (told, mut state) = watch::channel(State::Connecting);
        let listen = listen(link, sender.clone(), topics.down.clone(), Arc::clone(&waiting), told);
        let task = Arc::new(Task(tokio::spawn(listen)));
        State::settled(&mut state).await?;
        Ok(Self { topics, sender, waiting, state, patience: Patience::default(), _task: task })
    }

    /// Waits for an answer for `whole` (30 s unless said), and sends the request again after `resend`
    /// (5 s), then after twice as long, and so on.
    #[must_use]
    pub const fn patience(mut self, whole: Duration, resend: Duration) -> Self {
        self.patience = Patience { whole, resend };
        self
    }

    /// Publishes as soon as there is a connection.
    async fn publish(&self, nonce: Nonce, request: Vec<u8>) -> Result<()> {
        let mut state = self.state.clone();
        let ready = state.wait_for(|state| matches!(state, State::Ready)).await;
        ready.map_err(|_| Error::unavailable("the mqtt connection has ended; connect again"))?;
        let dialogue = Dialogue {
            response_topic: Some(self.topics.down.clone()),
            correlation: Some(nonce.as_bytes().to_vec()),
        };
        self.sender.publish(&self.topics.up, request, dialogue).await;
        Ok(())
    }
}

#[async_trait]
impl Transport for MqttTransport {
    async fn send(&self, batch: &SignedBatch) -> Result<Answer> {
        let publish = |nonce, request| self.publish(nonce, request);
        self.waiting.send(self.patience, batch, publish).await
    }

    async fn standing(&self, device: &Did, signer: &dyn Signer) -> Result<Standing> {
        let publish = |nonce, request| self.publish(nonce, request);
        self.waiting.ask(self.patience, device, signer, publish).await
    }
}

impl fmt::Debug for MqttTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MqttTransport").field("topics", &self.topics).finish_non_exhaustive()
    }
}

async fn listen(
    mut link: Link,
    sender: Sender,
    down: String,
    waiting: Arc<Waiting>,
    state: watch::Sender<State>,
) {
    let mut pause = FIRST;
    loop {
        match link.next().await {
            Ok(Event::Connected) => sender.subscribe(&down).await,
            Ok(Event::Subscribed(granted)) => {
                pause = FIRST;
                state.send_replace(if granted { State::Ready } else { State::DEAF });
            }
            Ok(Event::Message(message)) => waiting.settle(&message.payload),
            Ok(Event::Closed | Event::Other) => {}
            Err(loss) => {
                state.send_replace(State::down(&loss));
                let error = Error::from(loss);
                tracing::debug!(?error, "connection to the mqtt broker lost");
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST);
            }
        }
    }
}
