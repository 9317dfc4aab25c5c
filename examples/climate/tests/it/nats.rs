//! A nats-server of this test's own.

use std::{
    net::{TcpListener, TcpStream},
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
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it has an address");
        drop(free);
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

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
