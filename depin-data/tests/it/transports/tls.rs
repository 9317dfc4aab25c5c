//! A broker over TLS, and strangers in the middle.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use depin_core::{
    Did, ErrorKind,
    transport::{Answer, Transport},
};
use depin_data::nats::{self, NatsOptions, NatsServing, NatsTransport};

use super::{net, wire::nats_server};
use crate::broker::Broker;

/// A certificate authority and what it vouches for, in a folder.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    /// Of nobody else. Made by openssl, as operators do; nothing, and a word about it, without openssl.
    fn found() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
        let authority = Self { folder };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        authority.openssl(&format!(
            "req -x509 {key} -days 9 -subj /CN=authority -keyout ca.key -out ca.pem"
        ))?;
        authority.openssl(&format!("req {key} -subj /CN=nats -keyout nats.key -out nats.csr"))?;
        authority.openssl(
            "x509 -req -in nats.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile names -out nats.pem",
        )?;
        Some(authority)
    }

    fn openssl(&self, arguments: &str) -> Option<()> {
        let mut command = std::process::Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(self.folder.path());
        let Ok(output) = command.output() else {
            depin_testkit::skip::skipped("openssl is not installed");
            return None;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(())
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Puts what the server needs where it looks for it.
    fn equip(&self, folder: &Path) {
        for file in ["nats.pem", "nats.key"] {
            fs::copy(self.folder.path().join(file), folder.join(file)).unwrap();
        }
    }
}

static AUTHORITY: LazyLock<Option<Authority>> = LazyLock::new(Authority::found);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_spoken_over_tls_with_whom_we_trust_and_nobody_else() {
    fn encrypted(folder: &Path, port: u16) -> String {
        AUTHORITY.as_ref().unwrap().equip(folder);
        let path = |file| folder.join(file);
        let (certificate, key) = (path("nats.pem"), path("nats.key"));
        format!(
            "listen: 127.0.0.1:{port}\ntls {{ cert_file: {certificate:?}, key_file: {key:?} }}\n"
        )
    }
    let Some(authority) = AUTHORITY.as_ref() else { return };
    let Some(broker) = Broker::nats(encrypted) else { return };
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
        assert!(
            matches!(error.kind(), ErrorKind::Config | ErrorKind::Unavailable),
            "{stranger:?}: {error:?}"
        );
    }
    let Some(bare) = Broker::nats(nats_server) else { return };
    for url in [format!("tls://127.0.0.1:{}", bare.port), bare.url()] {
        let options = NatsOptions::new(&url).root_certificates(authority.certificate());
        assert!(connect(&options, &device.did).await.is_err(), "{url} does not speak TLS");
    }
    server.shutdown().await;
}
