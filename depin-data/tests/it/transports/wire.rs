//! A broker of each kind, those who serve and send through it, and strangers.

use std::{path::Path, sync::Arc, time::Duration};

use depin_core::{Did, transport::Transport};
use depin_data::{
    ingest::Ingest,
    mqtt::{self, MqttOptions, MqttServer, MqttServing, MqttTransport, MqttVersion},
    nats::{self, NatsOptions, NatsServer, NatsServing, NatsTransport},
    wire,
};
use futures_util::StreamExt;

use crate::{broker::Broker, support::Net};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    V3,
    V5,
    Nats,
}

impl Kind {
    fn mqtt(self, port: u16) -> MqttOptions {
        let version = if self == Self::V3 { MqttVersion::V3 } else { MqttVersion::V5 };
        MqttOptions::new("127.0.0.1", port).version(version)
    }

    /// Serves behind whatever broker listens there, also one that another process started.
    pub(super) async fn serve(
        self,
        port: u16,
        attempt: Duration,
        concurrency: u16,
        ingest: &Arc<Ingest>,
        name: Option<&str>,
    ) -> Server {
        let ingest = Arc::clone(ingest);
        if self == Self::Nats {
            let mut serving = NatsServing::default();
            (serving.concurrency, serving.attempt) = (concurrency, attempt);
            let options = NatsOptions::new(format!("nats://127.0.0.1:{port}"));
            return Server::Nats(nats::serve(ingest, &options, serving).await.unwrap());
        }
        let mut serving = MqttServing::default();
        (serving.name, serving.concurrency) = (name.map(Into::into), concurrency);
        serving.attempt = attempt;
        Server::Mqtt(mqtt::serve(ingest, &self.mqtt(port), serving).await.unwrap())
    }
}

pub(super) struct Wire {
    pub(super) kind: Kind,
    pub(super) broker: Broker,
}

pub(super) enum Server {
    Mqtt(MqttServer),
    Nats(NatsServer),
}

impl Server {
    pub(super) async fn shutdown(self) {
        match self {
            Self::Mqtt(server) => server.shutdown().await,
            Self::Nats(server) => server.shutdown().await,
        }
    }
}

pub(super) fn mosquitto(_: &Path, port: u16) -> String {
    format!("listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nuser root\n")
}

pub(super) fn nats_server(_: &Path, port: u16) -> String {
    format!("listen: 127.0.0.1:{port}\n")
}

impl Wire {
    pub(super) fn start(kind: Kind) -> Option<Self> {
        let broker = match kind {
            Kind::Nats => Broker::nats(nats_server),
            _ => Broker::mosquitto(mosquitto),
        };
        broker.map(|broker| Self { kind, broker })
    }

    pub(super) fn mqtt(&self) -> MqttOptions {
        self.kind.mqtt(self.broker.port)
    }

    pub(super) fn nats(&self) -> NatsOptions {
        self.broker.options()
    }

    pub(super) async fn connect(&self, net: &Net, did: &Did) -> Box<dyn Transport> {
        self.hasty(net, did, Duration::from_secs(100)).await
    }

    /// Gives up after `whole`.
    pub(super) async fn hasty(&self, net: &Net, did: &Did, whole: Duration) -> Box<dyn Transport> {
        let (receipts, rng) = (net.receipts.clone(), &mut rand::thread_rng());
        let resend = Duration::from_millis(300);
        if self.kind == Kind::Nats {
            let transport = NatsTransport::connect(&self.nats(), did, receipts, rng).await.unwrap();
            return Box::new(transport.patience(whole, resend));
        }
        let transport = MqttTransport::connect(&self.mqtt(), did, receipts, rng).await.unwrap();
        Box::new(transport.patience(whole, resend))
    }

    pub(super) async fn serve(&self, ingest: &Arc<Ingest>, name: Option<&str>) -> Server {
        self.serve_at_a_time(64, ingest, name).await
    }

    pub(super) async fn serve_at_a_time(
        &self,
        concurrency: u16,
        ingest: &Arc<Ingest>,
        name: Option<&str>,
    ) -> Server {
        self.serve_within(Duration::from_secs(10), concurrency, ingest, name).await
    }

    /// One attempt may take so long.
    pub(super) async fn serve_within(
        &self,
        attempt: Duration,
        concurrency: u16,
        ingest: &Arc<Ingest>,
        name: Option<&str>,
    ) -> Server {
        self.kind.serve(self.broker.port, attempt, concurrency, ingest, name).await
    }

    pub(super) async fn stranger(&self) -> Stranger {
        if self.kind == Kind::Nats {
            let url = format!("nats://127.0.0.1:{}", self.broker.port);
            return Stranger::Nats(async_nats::connect(url).await.unwrap());
        }
        let options = rumqttc::MqttOptions::new("stranger", "127.0.0.1", self.broker.port);
        let mut options = options;
        options.set_max_packet_size(8 << 20, 8 << 20);
        let (client, link) = rumqttc::AsyncClient::new(options, 64);
        Stranger::Mqtt(client, Box::new(link))
    }
}

/// Somebody with a connection to the broker and no key.
pub(super) enum Stranger {
    Mqtt(rumqttc::AsyncClient, Box<rumqttc::EventLoop>),
    Nats(async_nats::Client),
}

impl Stranger {
    /// Publishes as if by `did`, and returns when the broker has it.
    pub(super) async fn publish(&mut self, did: &Did, payload: &[u8]) {
        let tag = wire::device_tag(did);
        match self {
            Self::Mqtt(client, link) => {
                let topic = format!("depin/v1/climate/{tag}/up");
                client.publish(topic, rumqttc::QoS::AtLeastOnce, false, payload).await.unwrap();
                loop {
                    let event = link.poll().await.unwrap();
                    if matches!(event, rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))) {
                        return;
                    }
                }
            }
            Self::Nats(client) => {
                let subject = format!("depin.v1.climate.{tag}.up");
                client.publish(subject, payload.to_vec().into()).await.unwrap();
                client.flush().await.unwrap();
            }
        }
    }

    /// Waits for a request of `did` and gives it all these answers.
    pub(super) async fn answer(&mut self, did: &Did, answers: impl FnOnce(&[u8]) -> Vec<Vec<u8>>) {
        let tag = wire::device_tag(did);
        match self {
            Self::Mqtt(client, link) => {
                use rumqttc::{Event, Packet, QoS};
                let (up, down) =
                    (format!("depin/v1/climate/{tag}/up"), format!("depin/v1/climate/{tag}/down"));
                client.subscribe(up, QoS::AtLeastOnce).await.unwrap();
                let request = loop {
                    if let Event::Incoming(Packet::Publish(publish)) = link.poll().await.unwrap() {
                        break publish.payload;
                    }
                };
                let answers = answers(&request);
                let mut acks = answers.len();
                for answer in answers {
                    client.publish(&down, QoS::AtLeastOnce, false, answer).await.unwrap();
                }
                while acks > 0 {
                    let event = link.poll().await.unwrap();
                    acks -= usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
                }
            }
            Self::Nats(client) => {
                let mut requests =
                    client.subscribe(format!("depin.v1.climate.{tag}.up")).await.unwrap();
                let request = requests.next().await.unwrap();
                for answer in answers(&request.payload) {
                    client.publish(request.reply.clone().unwrap(), answer.into()).await.unwrap();
                }
                client.flush().await.unwrap();
            }
        }
    }
}
