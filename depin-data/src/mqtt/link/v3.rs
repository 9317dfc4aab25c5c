//! MQTT 3.1.1.

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event as Packets, EventLoop, MqttOptions,
    Outgoing, Packet, Publish, QoS, StateError, SubscribeReasonCode, Transport, mqttbytes,
};

use super::{Ack, Event, Link, Loss, MAX_PACKET, Message, Sender, Session, WRITES, cut};

pub(super) fn open(
    options: &super::MqttOptions,
    transport: Transport,
    session: Session,
) -> (Sender, Link) {
    let mut wanted = MqttOptions::new(session.client_id, options.host.clone(), options.port());
    let most = MAX_PACKET as usize;
    wanted
        .set_transport(transport)
        .set_keep_alive(options.keep_alive)
        .set_clean_session(session.kept.is_none())
        .set_inflight(session.inflight.max(1))
        .set_max_packet_size(most, most)
        .set_manual_acks(session.manual_acks);
    if let Some((user, password)) = &options.login {
        wanted.set_credentials(user, password);
    }
    let (client, mut link) = AsyncClient::new(wanted, WRITES);
    link.network_options.set_tcp_nodelay(true);
    (Sender::V3(client), Link::V3(Box::new(link)))
}

pub(super) async fn publish(client: &AsyncClient, topic: &str, payload: Vec<u8>) -> bool {
    client.publish(topic, QoS::AtLeastOnce, false, payload).await.is_ok()
}

pub(super) async fn subscribe(client: &AsyncClient, filter: &str) -> bool {
    client.subscribe(filter, QoS::AtLeastOnce).await.is_ok()
}

pub(super) async fn ack(client: &AsyncClient, id: u16) -> bool {
    let mut publish = Publish::new("", QoS::AtLeastOnce, Vec::new());
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
            topic: publish.topic,
            payload: cut(&publish.payload),
            correlation: None,
            ack: Ack((publish.qos != QoS::AtMostOnce).then_some(publish.pkid)),
        }),
        _ => Event::Other,
    }
}

fn loss(error: ConnectionError) -> Loss {
    use ConnectReturnCode::{BadClientId, BadUserNamePassword, NotAuthorized};
    let refused = matches!(
        error,
        ConnectionError::ConnectionRefused(BadClientId | BadUserNamePassword | NotAuthorized)
    );
    let oversized = matches!(
        error,
        ConnectionError::MqttState(StateError::Deserialization(
            mqttbytes::Error::PayloadSizeLimitExceeded(_)
        ))
    );
    let cause = match error {
        ConnectionError::MqttState(StateError::ConnectionAborted) => Loss::aborted(),
        error => error.into(),
    };
    Loss { refused, oversized, cause }
}
