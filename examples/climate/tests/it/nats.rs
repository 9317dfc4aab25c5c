//! A nats-server of this test's own.

use std::{
    hash::{BuildHasher, RandomState},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) url: String,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Server {
    /// `None` where the program is not installed.
    pub(crate) fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        // Debian keeps it where not every shell looks.
        let process = ["nats-server", "/usr/sbin/nats-server"].iter().find_map(|program| {
            let mut command = Command::new(program);
            command.args(["-js", "-a", "127.0.0.1", "-p", &address.port().to_string(), "-sd"]);
            command.arg(folder.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
        })?;
        let server = Self { url: format!("nats://{address}"), process, _folder: folder };
        let patience = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < patience, "nats-server does not listen");
            sleep(Duration::from_millis(20));
        }
        Some(server)
    }
}

/// Below the ports that systems give out to clients: one of those may be taken meanwhile, or connect to itself.
fn free_address() -> SocketAddr {
    let random = || RandomState::new().hash_one(std::process::id());
    let addresses = std::iter::repeat_with(|| {
        SocketAddr::from(([127, 0, 0, 1], 10_000 + (random() % 20_000) as u16))
    });
    let mut free = addresses.filter(|address| TcpListener::bind(address).is_ok());
    free.next().expect("a free port")
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
