//! Brokers over TLS, and strangers in the middle.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

mod mqtt;
mod nats;
mod redirected;

/// A certificate authority and what it vouches for, in a folder.
struct Authority {
    folder: tempfile::TempDir,
}

/// The one that our brokers are vouched for by.
static AUTHORITY: LazyLock<Option<Authority>> = LazyLock::new(Authority::found);

impl Authority {
    /// Of nobody else. Made by openssl, as operators do; nothing, and a word about it, without openssl.
    fn found() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
        let own = "[ca]\ndefault_ca=own\n[own]\ndatabase=issued\nnew_certs_dir=.\nrand_serial=yes\n\
            default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n";
        fs::write(folder.path().join("own.conf"), own).unwrap();
        fs::write(folder.path().join("issued"), "").unwrap();
        let authority = Self { folder };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        authority.openssl(&format!(
            "req -x509 {key} -days 9 -subj /CN=authority -keyout ca.key -out ca.pem"
        ))?;
        for name in ["broker", "device"] {
            authority.openssl(&format!(
                "req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"
            ))?;
            authority.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile names -out {name}.pem"
            ))?;
        }
        authority.openssl(
            "ca -batch -notext -config own.conf -cert ca.pem -keyfile ca.key -in broker.csr -extfile names \
             -startdate 200101000000Z -enddate 210101000000Z -out expired.pem",
        )?;
        Some(authority)
    }

    fn openssl(&self, arguments: &str) -> Option<()> {
        let mut command = std::process::Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(self.folder.path());
        let Ok(output) = command.output() else {
            depin_testkit::skip::skipped("openssl is not installed");
            return None;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn certificate(&self) -> PathBuf {
        self.file("ca.pem")
    }
}

/// Puts what a broker needs where it looks for it: its certificate and key, and its authority's.
fn equip(folder: &Path) -> [PathBuf; 3] {
    let authority = AUTHORITY.as_ref().unwrap();
    ["broker.pem", "broker.key", "ca.pem"].map(|name| {
        let copy = folder.join(name);
        fs::copy(authority.file(name), &copy).unwrap();
        copy
    })
}

/// Configuration of a nats-server that speaks nothing but TLS.
fn nats_over_tls(folder: &Path, port: u16) -> String {
    let [certificate, key, _] = equip(folder);
    format!("listen: 127.0.0.1:{port}\ntls {{ cert_file: {certificate:?}, key_file: {key:?} }}\n")
}
