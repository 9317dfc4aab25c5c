//! One connection to a broker, whichever version it speaks.

use std::{io, time::Duration};

use depin_core::{Error, ErrorKind, Result, error::Source};

use super::{MqttOptions, MqttVersion};
use crate::{
    tls::{self, Verdict},
    wire,
};

mod v3;
mod v5;

/// Most bytes of a packet that is read: far more than a request may have, so that one that is too large gets its
/// refusal. What is larger still ends the connection.
const MAX_PACKET: u32 = 1 << 20;
/// Most bytes of a message that are kept: enough to see that it is too large.
const MAX_PAYLOAD: usize = wire::MAX_REQUEST + 1;
/// What may wait to be written. Never reached: what is acknowledged or answered was read before, and that
/// is bounded.
const WRITES: usize = 1 << 20;

/// What the broker is to remember of us.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) client_id: String,
    /// How long it keeps what comes while we are away; `None` for not at all.
    pub(super) kept: Option<Duration>,
    /// Messages that may be under way in each direction.
    pub(super) inflight: u16,
    /// Whether we acknowledge messages ourselves.
    pub(super) manual_acks: bool,
}

/// What happened on the connection.
#[derive(Debug)]
pub(super) enum Event {
    Connected,
    /// Whether the broker lets us read.
    Subscribed(bool),
    Message(Message),
    /// We have said goodbye.
    Closed,
    Other,
}

/// A message that came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    /// MQTT 5 only.
    pub(super) correlation: Option<Vec<u8>>,
    pub(super) ack: Ack,
}

/// What it takes to acknowledge a message: its packet id, if it has one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack(Option<u16>);

/// What MQTT 5 tells the other side about a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Dialogue {
    pub(super) response_topic: Option<String>,
    pub(super) correlation: Option<Vec<u8>>,
}

/// What is kept of a payload while it waits.
fn cut(payload: &[u8]) -> Vec<u8> {
    payload.get(..MAX_PAYLOAD).unwrap_or(payload).to_vec()
}

/// Why the connection is lost.
#[derive(Debug)]
pub(super) struct Loss {
    /// The broker does not want us.
    refused: bool,
    /// A message came that is larger than any may be.
    pub(super) oversized: bool,
    cause: Source,
}

impl Loss {
    /// The broker has ended the connection.
    fn aborted() -> Source {
        io::Error::from(io::ErrorKind::ConnectionAborted).into()
    }

    /// What it is called, and what helps.
    pub(super) fn verdict(&self) -> Verdict {
        if self.refused {
            let why = "the mqtt broker does not let us in; check the credentials";
            return (ErrorKind::Rejected, why);
        }
        if let Some(verdict) = tls::explain(&*self.cause) {
            return verdict;
        }
        let why = if tls::hung_up(&*self.cause) {
            "the mqtt broker hangs up; it may want mqtts:// on this port, or mqtt://, or a client_certificate"
        } else {
            "no mqtt broker answers; start it or check host and port"
        };
        (ErrorKind::Unavailable, why)
    }
}

impl From<Loss> for Error {
    fn from(loss: Loss) -> Self {
        let (kind, why) = loss.verdict();
        Self::new(kind, why).source(loss.cause)
    }
}

/// Opens a connection as soon as [`Link::next`] is called.
///
/// # Errors
/// [`ErrorKind::Config`] when TLS cannot be spoken with the certificates that are named, or at all.
pub(super) fn open(options: &MqttOptions, session: Session) -> Result<(Sender, Link)> {
    let transport = transport(options)?;
    Ok(match options.version {
        MqttVersion::V3 => v3::open(options, transport, session),
        MqttVersion::V5 => v5::open(options, transport, session),
    })
}

fn transport(options: &MqttOptions) -> Result<rumqttc::Transport> {
    if !options.is_secure() {
        return Ok(rumqttc::Transport::Tcp);
    }
    #[cfg(feature = "tls")]
    return Ok(rumqttc::Transport::tls_with_config(options.certificates.client()?.into()));
    #[cfg(not(feature = "tls"))]
    Err(Error::new(ErrorKind::Config, "mqtt over tls needs the feature `tls` of depin-data"))
}

/// Queues packets; [`Link::next`] writes them.
#[derive(Clone, Debug)]
pub(super) enum Sender {
    V3(rumqttc::AsyncClient),
    V5(rumqttc::v5::AsyncClient),
}

impl Sender {
    /// Publishes with QoS 1.
    pub(super) async fn publish(&self, topic: &str, payload: Vec<u8>, dialogue: Dialogue) {
        // It fails only after the link is gone, and then nothing waits for it.
        let _ = match self {
            Self::V3(client) => v3::publish(client, topic, payload).await,
            Self::V5(client) => v5::publish(client, topic, payload, dialogue).await,
        };
    }

    /// Subscribes with QoS 1.
    pub(super) async fn subscribe(&self, filter: &str) {
        let _ = match self {
            Self::V3(client) => v3::subscribe(client, filter).await,
            Self::V5(client) => v5::subscribe(client, filter).await,
        };
    }

    /// Tells the broker that a message is dealt with.
    pub(super) async fn ack(&self, ack: Ack) {
        let Some(id) = ack.0 else { return };
        let _ = match self {
            Self::V3(client) => v3::ack(client, id).await,
            Self::V5(client) => v5::ack(client, id).await,
        };
    }

    /// Says goodbye.
    pub(super) async fn disconnect(&self) {
        let _ = match self {
            Self::V3(client) => client.disconnect().await.is_ok(),
            Self::V5(client) => client.disconnect().await.is_ok(),
        };
    }
}

/// Reads and writes. After a loss, the next call connects again.
pub(super) enum Link {
    V3(Box<rumqttc::EventLoop>),
    V5(Box<rumqttc::v5::EventLoop>),
}

impl Link {
    /// The next thing that happens. Cancelling it may lose packets, as any loss of a connection does.
    pub(super) async fn next(&mut self) -> Result<Event, Loss> {
        match self {
            Self::V3(link) => v3::next(link).await,
            Self::V5(link) => v5::next(link).await,
        }
    }

    /// Whether the next connection begins a session without a past.
    pub(super) fn begin_anew(&mut self, anew: bool) {
        match self {
            Self::V3(link) => drop(link.mqtt_options.set_clean_session(anew)),
            Self::V5(link) => drop(link.options.set_clean_start(anew)),
        }
    }
}
