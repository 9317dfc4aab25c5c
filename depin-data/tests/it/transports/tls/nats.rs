//! NATS over TLS.

use std::path::Path;

use depin_core::{
    Did, ErrorKind,
    transport::{Answer, Transport},
};
use depin_data::nats::{self, NatsOptions, NatsServing, NatsTransport};

use super::{
    super::{net, wire::nats_server},
    AUTHORITY, Authority, equip, nats_over_tls,
};
use crate::broker::Broker;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_spoken_over_tls_with_whom_we_trust_and_nobody_else() {
    let Some(authority) = AUTHORITY.as_ref() else { return };
    let Some(broker) = Broker::nats(nats_over_tls) else { return };
    let Some(other) = Authority::found() else { return };
    let net = net();
    let mut device = net.enrol("a");
    let url = format!("tls://127.0.0.1:{}", broker.port);
    let trusting = NatsOptions::new(&url).root_certificates(authority.certificate());
    let server = nats::serve(net.ingest.clone(), &trusting, NatsServing::default()).await.unwrap();
    let connect = async |options: &NatsOptions, did: &Did| {
        let rng = &mut rand::thread_rng();
        NatsTransport::connect(options, did, net.receipts.clone(), rng).await
    };
    let transport = connect(&trusting, &device.did).await.unwrap();
    for _ in 0..3 {
        let batch = device.measure();
        let Answer::Receipt(receipt) = transport.send(&batch).await.unwrap() else { panic!() };
        net.receipts.verify(&receipt, &batch).unwrap();
    }
    // Whoever asks for TLS by its certificates has it, also where the url does not say so.
    let plain = format!("nats://127.0.0.1:{}", broker.port);
    let options = NatsOptions::new(&plain).root_certificates(authority.certificate());
    connect(&options, &device.did).await.unwrap();
    // Somebody in the middle has a certificate of another authority, or for another name, or none.
    for stranger in [
        NatsOptions::new(&url),
        NatsOptions::new(&url).root_certificates(other.certificate()),
        NatsOptions::new(format!("tls://localhost:{}", broker.port))
            .root_certificates(authority.certificate()),
    ] {
        let error = connect(&stranger, &device.did).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{stranger:?}: {error:?}");
        assert!(error.message().contains("the broker's certificate"), "{error:?}");
    }
    let Some(bare) = Broker::nats(nats_server) else { return };
    for url in [format!("tls://127.0.0.1:{}", bare.port), bare.url()] {
        let options = NatsOptions::new(&url).root_certificates(authority.certificate());
        assert!(connect(&options, &device.did).await.is_err(), "{url} does not speak TLS");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn nats_takes_devices_by_their_certificates() {
    fn mutual(folder: &Path, port: u16) -> String {
        let [certificate, key, authority] = equip(folder);
        format!(
            "listen: 127.0.0.1:{port}\ntls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {authority:?}, verify: true }}\n"
        )
    }
    let Some(authority) = AUTHORITY.as_ref() else { return };
    let Some(broker) = Broker::nats(mutual) else { return };
    let net = net();
    let device = net.enrol("a");
    let connect = async |options: &NatsOptions| {
        let rng = &mut rand::thread_rng();
        NatsTransport::connect(options, &device.did, net.receipts.clone(), rng).await
    };
    let nobody = broker.options().root_certificates(authority.certificate());
    assert!(connect(&nobody).await.is_err());
    let known =
        nobody.client_certificate(authority.file("device.pem"), authority.file("device.key"));
    connect(&known).await.unwrap();
}
