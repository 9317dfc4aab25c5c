//! MQTT over TLS.

use std::{path::Path, process::Command};

use depin_core::{
    Did, Error, ErrorKind, Result,
    transport::{Answer, Transport},
};
use depin_data::{
    mqtt::{self, MqttOptions, MqttServing, MqttTransport, MqttVersion},
    receipt::ReceiptVerifier,
};
use tokio::{io::AsyncReadExt, net::TcpListener};

use super::{
    super::{net, wire::mosquitto},
    AUTHORITY, Authority, equip,
};
use crate::{broker::Broker, support::Net};

const VERSIONS: [MqttVersion; 2] = [MqttVersion::V3, MqttVersion::V5];

fn encrypted(folder: &Path, port: u16) -> String {
    let [certificate, key, _] = equip(folder);
    let (certificate, key) = (certificate.display(), key.display());
    format!("{}certfile {certificate}\nkeyfile {key}\n", mosquitto(folder, port))
}

/// One that asks for certificates.
fn mutual(folder: &Path, port: u16) -> String {
    let authority = folder.join("ca.pem");
    let mutual = format!("cafile {}\nrequire_certificate true\n", authority.display());
    encrypted(folder, port) + &mutual
}

/// One whose certificate is of last year.
fn expired(folder: &Path, port: u16) -> String {
    let expired = AUTHORITY.as_ref().unwrap().file("expired.pem");
    let configuration = encrypted(folder, port);
    std::fs::copy(expired, folder.join("broker.pem")).unwrap();
    configuration
}

fn at(port: u16) -> MqttOptions {
    MqttOptions::parse(&format!("mqtts://127.0.0.1:{port}")).unwrap()
}

async fn connect(
    options: &MqttOptions,
    did: &Did,
    receipts: &ReceiptVerifier,
) -> Result<MqttTransport> {
    MqttTransport::connect(options, did, receipts.clone(), &mut rand::thread_rng()).await
}

/// Why neither a device nor a server connects, in either version; they have the same reason.
async fn refused(options: &MqttOptions, net: &Net) -> Error {
    let did = "did:example:station".parse().unwrap();
    let mut errors = Vec::new();
    for version in VERSIONS {
        let options = options.clone().version(version);
        errors.push(connect(&options, &did, &net.receipts).await.unwrap_err());
        let served = mqtt::serve(net.ingest.clone(), &options, MqttServing::default()).await;
        errors.push(served.unwrap_err());
    }
    assert!(errors.iter().all(|error| error.message() == errors[0].message()), "{errors:?}");
    errors.swap_remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_is_spoken_over_tls_with_whom_we_trust() {
    let Some(authority) = AUTHORITY.as_ref() else { return };
    let Some(broker) = Broker::mosquitto(encrypted) else { return };
    for version in VERSIONS {
        let net = net();
        let mut device = net.enrol("a");
        let options = at(broker.port).version(version).root_certificates(authority.certificate());
        let serving = MqttServing::default();
        let server = mqtt::serve(net.ingest.clone(), &options, serving).await.unwrap();
        // Whoever asks for TLS by its certificates has it, also without a url that says so.
        let plain = MqttOptions::new("127.0.0.1", broker.port).version(version);
        for options in [&options, &plain.root_certificates(authority.certificate())] {
            let transport = connect(options, &device.did, &net.receipts).await.unwrap();
            for _ in 0..3 {
                let batch = device.measure();
                let Answer::Receipt(receipt) = transport.send(&batch).await.unwrap() else {
                    panic!()
                };
                net.receipts.verify(&receipt, &batch).unwrap();
            }
        }
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_is_not_spoken_with_somebody_in_the_middle() {
    let Some(authority) = AUTHORITY.as_ref() else { return };
    let Some(broker) = Broker::mosquitto(encrypted) else { return };
    let Some(old) = Broker::mosquitto(expired) else { return };
    let Some(other) = Authority::found() else { return };
    let net = net();
    let elsewhere = MqttOptions::parse(&format!("mqtts://localhost:{}", broker.port)).unwrap();
    for (options, why) in [
        (at(broker.port), "name its authority's with root_certificates"),
        (at(broker.port).root_certificates(other.certificate()), "from nobody we trust"),
        (elsewhere.root_certificates(authority.certificate()), "connect to a name that it is for"),
        (at(old.port).root_certificates(authority.certificate()), "renew it"),
    ] {
        let error = refused(&options, &net).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.message().contains(why), "{error:?} does not say: {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_brokers_that_speak_no_tls_get_none_of_our_words() {
    let Some(authority) = AUTHORITY.as_ref() else { return };
    let Some(broker) = Broker::mosquitto(mosquitto) else { return };
    let net = net();
    let error = refused(&at(broker.port).root_certificates(authority.certificate()), &net).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.message().contains("hangs up"), "{error:?}");
    // Nor does the other way around work, and both say what may be wrong.
    let Some(broker) = Broker::mosquitto(encrypted) else { return };
    let error = refused(&MqttOptions::new("127.0.0.1", broker.port), &net).await;
    assert!(error.message().contains("mqtts://"), "{error:?}");

    // An impostor that listens hears the start of a handshake, and never who we are.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 4096];
        let length = stream.read(&mut heard).await.unwrap();
        heard.truncate(length);
        // It pretends to be a broker that lets everybody in.
        tokio::io::AsyncWriteExt::write_all(&mut stream, &[0x20, 2, 0, 0]).await.unwrap();
        stream.read_to_end(&mut heard).await.unwrap();
        heard
    });
    let options = at(port).password("station", "secret").root_certificates(authority.certificate());
    let did = "did:example:station".parse().unwrap();
    let error = connect(&options, &did, &net.receipts).await.unwrap_err();
    assert!(error.message().contains("does not speak tls"), "{error:?}");
    let heard = heard.await.unwrap();
    assert_eq!(heard[0], 22, "a handshake of TLS");
    for word in ["station", "secret"] {
        assert!(!heard.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_brokers_take_devices_by_their_certificates() {
    let Some(authority) = AUTHORITY.as_ref() else { return };
    let Some(broker) = Broker::mosquitto(mutual) else { return };
    let Some(other) = Authority::found() else { return };
    let net = net();
    let nobody = at(broker.port).root_certificates(authority.certificate());
    let shown = |by: &Authority, key: &str| {
        nobody.clone().client_certificate(by.file("device.pem"), by.file(key))
    };
    for options in [&nobody, &shown(&other, "device.key")] {
        let error = refused(options, &net).await;
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
        assert!(error.message().contains("client_certificate"), "{error:?}");
    }
    for (file, what) in [("broker.key", "key"), ("names", "PEM"), ("nothing", "PEM")] {
        let error = refused(&shown(authority, file), &net).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{file}: {error:?}");
        assert!(error.message().contains(what), "{error:?}");
    }
    let device = net.enrol("a");
    for version in VERSIONS {
        let known = shown(authority, "device.key").version(version);
        connect(&known, &device.did, &net.receipts).await.unwrap();
    }
}

#[tokio::test]
async fn a_handshake_that_is_broken_off_is_not_blamed_on_certificates_alone() {
    let Some(authority) = AUTHORITY.as_ref() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let broker = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        // A fatal alert: handshake_failure, as of a broker that finds no cipher that both know.
        let alert = [21, 3, 3, 0, 2, 2, 40];
        tokio::io::AsyncWriteExt::write_all(&mut stream, &alert).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let (net, did) = (net(), "did:example:station".parse().unwrap());
    let options = at(port).root_certificates(authority.certificate());
    let error = connect(&options, &did, &net.receipts).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error:?}");
    for remedy in ["client_certificate", "ciphers"] {
        assert!(error.message().contains(remedy), "{error:?}");
    }
    broker.await.unwrap();
}

/// Where the broker is that the process below looks for.
const URL: &str = "DEPIN_TEST_MQTTS_URL";

#[test]
fn mqtt_trusts_whom_the_system_trusts_unless_told_otherwise() {
    let Some(authority) = AUTHORITY.as_ref() else { return };
    let Some(broker) = Broker::mosquitto(encrypted) else { return };
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "transports::tls::mqtt::process_whose_system_knows_the_authority"]);
    process.env(URL, format!("mqtts://127.0.0.1:{}", broker.port));
    process.env("SSL_CERT_FILE", authority.certificate()).env_remove("SSL_CERT_DIR");
    let output = process.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn process_whose_system_knows_the_authority() {
    let Ok(url) = std::env::var(URL) else { return };
    let (net, did) = (net(), "did:example:station".parse().unwrap());
    let options = MqttOptions::parse(&url).unwrap();
    connect(&options, &did, &net.receipts).await.unwrap();
    // Who names authorities trusts these and no other.
    let other = Authority::found().unwrap();
    let options = options.root_certificates(other.certificate());
    let error = connect(&options, &did, &net.receipts).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}
