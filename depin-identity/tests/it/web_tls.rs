//! did:web over https: a host must show a certificate that leads to somebody we trust.
//!
//! The host is `openssl s_server`; where there is no openssl the tests say so and pass.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use depin_core::{
    Algorithm, Did, ErrorKind, Signer, SoftwareKey,
    resolution::{DidResolver, Version},
};
use depin_identity::{
    document::to_json,
    methods::web::{self, WebResolver},
};
use tempfile::TempDir;

/// A host on this machine with a certificate of an authority of its own, for a name.
struct Host {
    folder: TempDir,
    server: Child,
    did: Did,
}

impl Host {
    fn start(name: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        if !certificates(folder.path(), name) {
            println!("skipped: there is no openssl that makes certificates");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let did = web::did_web(&format!("localhost:{port}")).unwrap();
        let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
        let place = folder.path().join(".well-known");
        fs::create_dir(&place).unwrap();
        let document = web::document(&did, key.public_key()).unwrap();
        fs::write(place.join("did.json"), to_json(&document)).unwrap();
        let mut server = Command::new("openssl")
            .args(["s_server", "-WWW", "-cert", "host.pem", "-key", "host.key", "-accept"])
            .arg(format!("localhost:{port}"))
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let listens = lines.any(|line| line.is_ok_and(|line| line.contains("ACCEPT")));
        assert!(listens, "the server did not start");
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { folder, server, did })
    }

    fn authority(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("ca.pem")).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Writes `ca.pem` and, signed by it, `host.pem` with `host.key`.
fn certificates(folder: &Path, name: &str) -> bool {
    let make = |words: &str, more: &[String]| {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command.args(["-nodes", "-days", "3650"]).args(words.split(' ')).args(more);
        command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let alternative = format!("subjectAltName=DNS:{name}");
    make("-subj /CN=authority -keyout ca.key -out ca.pem", &[])
        && make(
            "-subj /CN=host -keyout host.key -out host.pem -CA ca.pem -CAkey ca.key -addext basicConstraints=CA:FALSE -addext",
            &[alternative],
        )
}

#[tokio::test]
async fn a_document_is_fetched_over_https_from_a_host_that_is_believed() {
    let Some(host) = Host::start("localhost") else { return };
    let resolver = WebResolver::with_authority(&host.authority()).unwrap();
    let found = resolver.resolve_version(&host.did, &Version::Latest).await.unwrap();
    assert_eq!(found.document.id, host.did);
}

#[tokio::test]
async fn a_certificate_that_leads_to_nobody_we_know_is_refused() {
    let (Some(host), Some(other)) = (Host::start("localhost"), Host::start("localhost")) else {
        return;
    };
    let resolver = WebResolver::with_authority(&other.authority()).unwrap();
    let error = resolver.resolve_version(&host.did, &Version::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn the_certificate_of_another_name_is_refused() {
    let Some(host) = Host::start("thief.example") else { return };
    let resolver = WebResolver::with_authority(&host.authority()).unwrap();
    let error = resolver.resolve_version(&host.did, &Version::Latest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[test]
fn what_is_no_certificate_is_refused() {
    assert_eq!(
        WebResolver::with_authority(b"no certificate").unwrap_err().kind(),
        ErrorKind::Malformed
    );
}
