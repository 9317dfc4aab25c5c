//! Brokers that let in whom they know.

use std::path::Path;

use depin_core::{Algorithm, ErrorKind};
use depin_data::{
    mqtt::{self, MqttOptions, MqttServing, MqttTransport, MqttVersion},
    nats::{NatsOptions, NatsTransport},
};

use super::net;
use crate::{broker::Broker, support::Device};

#[tokio::test]
async fn mosquitto_lets_in_whom_it_knows() {
    fn locked(folder: &Path, port: u16) -> String {
        let file = folder.join("passwords");
        // mosquitto_passwd comes with mosquitto.
        let made = std::process::Command::new("mosquitto_passwd")
            .args(["-c", "-b"])
            .args([file.as_os_str(), "station".as_ref(), "secret".as_ref()])
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
        connect(&options.password("station", "secret")).await.unwrap();
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
