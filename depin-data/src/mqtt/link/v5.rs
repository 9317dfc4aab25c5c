//! MQTT 5.

use rumqttc::{
    NetworkOptions, Outgoing, Transport,
    v5::{
        AsyncClient, ConnectionError, Event as Packets, EventLoop, MqttOptions, StateError,
        mqttbytes::{
            self, QoS,
            v5::{
                ConnectProperties, ConnectReturnCode, Packet, Publish, PublishProperties,
                SubscribeReasonCode,
            },
        },
    },
};

use super::{Ack, Dialogue, Event, Link, Loss, MAX_PACKET, Message, Sender, Session, WRITES, cut};

pub(super) fn open(
    options: &super::MqttOptions,
    transport: Transport,
    session: Session,
) -> (Sender, Link) {
    let mut wanted = MqttOptions::new(session.client_id, options.host.clone(), options.port());
    let mut properties = ConnectProperties::new();
    properties.max_packet_size = Some(MAX_PACKET);
    properties.receive_maximum = Some(session.inflight.max(1));
    let seconds = session.kept.map(|kept| u32::try_from(kept.as_secs()).unwrap_or(u32::MAX));
    properties.session_expiry_interval = Some(seconds.unwrap_or(0));
    wanted
        .set_transport(transport)
        .set_connect_properties(properties)
        .set_keep_alive(options.keep_alive)
        .set_clean_start(session.kept.is_none())
        .set_outgoing_inflight_upper_limit(session.inflight.max(1))
        .set_manual_acks(session.manual_acks);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    wanted.set_network_options(network);
    if let Some((user, password)) = &options.login {
        wanted.set_credentials(user, password);
    }
    let (client, link) = AsyncClient::new(wanted, WRITES);
    (Sender::V5(client), Link::V5(Box::new(link)))
}

pub(super) async fn publish(
    client: &AsyncClient,
    topic: &str,
    payload: Vec<u8>,
    dialogue: Dialogue,
) -> bool {
    let properties = PublishProperties {
        response_topic: dialogue.response_topic,
        correlation_data: dialogue.correlation.map(Into::into),
        ..PublishProperties::default()
    };
    let qos = QoS::AtLeastOnce;
    client.publish_with_properties(topic, qos, false, payload, properties).await.is_ok()
}

pub(super) async fn subscribe(client: &AsyncClient, filter: &str) -> bool {
    client.subscribe(filter, QoS::AtLeastOnce).await.is_ok()
}

pub(super) async fn ack(client: &AsyncClient, id: u16) -> bool {
    let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new(), None);
    publish.pkid = id;
    client.ack(&publish).await.is_ok()
}

pub(super) async fn next(link: &mut EventLoop) -> Result<Event, Loss> {
    match link.poll().await {
        Ok(Packets::Incoming(packet)) => Ok(event(packet)),
        Ok(Packets::Outgoing(Outgoing::Disconnect)) => Ok(Event::Closed),
        Ok(Packets::Outgoing(_)) => Ok(Event::Other),
        Err(error) => {
            // A packet that waited for an id of the lost connection would wait for ever.
            link.state.collision = None;
            Err(loss(error))
        }
    }
}

fn event(packet: Packet) -> Event {
    match packet {
        Packet::ConnAck(_) => Event::Connected,
        Packet::SubAck(answer) => {
            let granted =
                |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
            Event::Subscribed(answer.return_codes.iter().all(granted))
        }
        Packet::Publish(publish) => Event::Message(Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: cut(&publish.payload),
            correlation: publish
                .properties
                .and_then(|properties| properties.correlation_data)
                .map(|data| data.to_vec()),
            ack: Ack((publish.qos != QoS::AtMostOnce).then_some(publish.pkid)),
        }),
        _ => Event::Other,
    }
}

fn loss(error: ConnectionError) -> Loss {
    use ConnectReturnCode::{
        BadClientId, BadUserNamePassword, Banned, ClientIdentifierNotValid, NotAuthorized,
    };
    let refused = matches!(
        error,
        ConnectionError::ConnectionRefused(
            BadClientId | BadUserNamePassword | Banned | ClientIdentifierNotValid | NotAuthorized
        )
    );
    let oversized = matches!(
        error,
        ConnectionError::MqttState(StateError::Deserialization(
            mqttbytes::Error::PayloadSizeLimitExceeded { .. }
        ))
    );
    let cause = match error {
        ConnectionError::MqttState(StateError::ConnectionAborted) => Loss::aborted(),
        // It would not tell what is behind it.
        ConnectionError::MqttState(StateError::Deserialization(cause)) => cause.into(),
        error => error.into(),
    };
    Loss { refused, oversized, cause }
}
