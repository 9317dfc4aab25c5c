//! Brokers that let in whom they know.

use std::path::Path;

use depin_core::{Algorithm, ErrorKind};
use depin_data::{
    mqtt::{self, MqttOptions, MqttServing, MqttTransport, MqttVersion},
    nats::{NatsOptions, NatsTransport},
};

use super::net;
use crate::{broker::Broker, support::Device};

const PASSWORD: &str = "se:cr@t/%";

#[tokio::test]
async fn mosquitto_lets_in_whom_it_knows() {
    fn locked(folder: &Path, port: u16) -> String {
        let file = folder.join("passwords");
        // mosquitto_passwd comes with mosquitto.
        let made = std::process::Command::new("mosquitto_passwd")
            .args(["-c", "-b"])
            .args([file.as_os_str(), "station".as_ref(), PASSWORD.as_ref()])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status();
        assert!(made.unwrap().success());
        format!("listener {port} 127.0.0.1\nuser root\npassword_file {}\n", file.display())
    }
    let Some(broker) = Broker::mosquitto(locked) else { return };
    let (net, device) = (net(), Device::new("a", Algorithm::EdDsa));
    for version in [MqttVersion::V3, MqttVersion::V5] {
        let options = MqttOptions::new("127.0.0.1", broker.port).version(version);
        let connect = async |options: &MqttOptions| {
            let rng = &mut rand::thread_rng();
            MqttTransport::connect(options, &device.did, net.receipts.clone(), rng).await
        };
        let wrong = options.clone().password("station", "guess");
        assert_eq!(connect(&options).await.unwrap_err().kind(), ErrorKind::Rejected);
        assert_eq!(connect(&wrong).await.unwrap_err().kind(), ErrorKind::Rejected);
        let refused = mqtt::serve(net.ingest.clone(), &wrong, MqttServing::default()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Rejected);
        connect(&options.password("station", PASSWORD)).await.unwrap();
        let url = format!("mqtt://station:se%3Acr%40t%2F%25@127.0.0.1:{}/", broker.port);
        connect(&MqttOptions::parse(&url).unwrap().version(version)).await.unwrap();
    }
}

#[test]
fn urls_of_brokers_say_where_and_nothing_else() {
    let shown = |url: &str| format!("{:?}", MqttOptions::parse(url).unwrap());
    for (url, host, port, tls) in [
        ("mqtt://broker.example", "broker.example", 1883, false),
        ("mqtts://broker.example/", "broker.example", 8883, true),
        ("mqtts://station@[::1]", "::1", 8883, true),
        ("mqtts://station:secret@[::1]:1", "::1", 1, true),
    ] {
        let shown = shown(url);
        for part in [format!("{host:?}"), format!("port: {port},"), format!("tls: {tls}")] {
            assert!(shown.contains(&part), "{url} gives {shown}");
        }
        assert!(!shown.contains("station") && !shown.contains("secret"), "{shown}");
    }
    // Certificates ask for TLS, which is spoken at a port of its own.
    let secure = |url| MqttOptions::parse(url).unwrap().root_certificates("authority.pem");
    for (url, port) in [("mqtt://broker.example", 8883), ("mqtt://broker.example:1883", 1883)] {
        let shown = format!("{:?}", secure(url));
        assert!(
            shown.contains(&format!("port: {port}, ")) && shown.contains("tls: true"),
            "{shown}"
        );
    }
    for url in [
        "",
        "broker.example",
        "station:secret@broker.example:1883",
        "mqtt:broker",
        "mqtts://",
        "mqtts://:8883",
        "mqtts://station:secret@",
        "mqtts://station:secret@:8883",
        "mqtts://broker:99999",
        "mqtts://broker:port",
        "mqtts://broker:",
        "mqtts://station:sec%FFret@broker",
        "mqtts://broker/secret",
        "mqtts://broker?secret",
        "https://station:secret@broker",
        "wss://broker",
    ] {
        let error = MqttOptions::parse(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(!format!("{error:?}{error}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn nats_lets_in_whom_it_knows() {
    // A pair of keys from the documentation of NATS.
    const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    fn locked(_: &Path, port: u16) -> String {
        let nkey = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
        let users = format!("{{user: station, password: secret}}, {{nkey: {nkey}}}");
        format!("listen: 127.0.0.1:{port}\nauthorization: {{users: [{users}]}}\n")
    }
    let Some(broker) = Broker::nats(locked) else { return };
    let (net, device) = (net(), Device::new("a", Algorithm::EdDsa));
    let connect = async |options: &NatsOptions| {
        let rng = &mut rand::thread_rng();
        NatsTransport::connect(options, &device.did, net.receipts.clone(), rng).await
    };
    let options = broker.options();
    for refused in [
        options.clone(),
        options.clone().password("station", "guess"),
        options.clone().token("secret"),
        options.clone().nkey("SUAIBDPBAUTWCWBKIO6XHQNINK5FWJW4OHLXC3HQ2KFE4PEJUA44CNHTC4"),
    ] {
        assert_eq!(connect(&refused).await.unwrap_err().kind(), ErrorKind::Rejected);
    }
    connect(&options.clone().password("station", "secret")).await.unwrap();
    connect(&options.clone().nkey(SEED)).await.unwrap();
    let config = connect(&options.credentials("no creds")).await.unwrap_err();
    assert_eq!(config.kind(), ErrorKind::Config);
    let config = connect(&NatsOptions::new("http://x")).await.unwrap_err();
    assert_eq!(config.kind(), ErrorKind::Config);
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn mqtt_without_the_feature_of_tls_does_not_go_on_in_the_clear() {
    let (net, device) = (net(), Device::new("a", Algorithm::EdDsa));
    let options = MqttOptions::parse("mqtts://station:secret@127.0.0.1").unwrap();
    let rng = &mut rand::thread_rng();
    let connected = MqttTransport::connect(&options, &device.did, net.receipts.clone(), rng).await;
    let error = connected.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("`tls`"), "{error:?}");
}
