//! Real brokers on free ports, killed when the test ends, however it ends.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use depin_data::nats::NatsOptions;
use depin_testkit::skip::skipped;
use tempfile::TempDir;

/// A program on the `PATH` or among the system's servers.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        skipped(format_args!("{program} is not installed"));
    }
    found
}

/// A port that nobody has now and nobody is given who asks for any: it lies below those that systems give out, also
/// to clients that connect while a broker is away, which would otherwise find its port taken when it comes back.
fn free_port() -> u16 {
    let random = || RandomState::new().hash_one(std::process::id());
    let ports = std::iter::repeat_with(|| 10_000 + (random() % 20_000) as u16);
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().unwrap()
}

/// A server of one program with its configuration.
pub(crate) struct Broker {
    program: PathBuf,
    folder: TempDir,
    pub(crate) port: u16,
    child: Option<Child>,
    configure: Configure,
}

/// What is in the file of a server with this folder and port.
type Configure = Box<dyn Fn(&Path, u16) -> String + Send + Sync>;

impl Broker {
    /// mosquitto with these further lines of configuration, or `None` where it is not installed.
    #[cfg(feature = "mqtt")]
    pub(crate) fn mosquitto(configure: fn(&Path, u16) -> String) -> Option<Self> {
        Self::start("mosquitto", configure)
    }

    /// nats-server with this configuration, or `None` where it is not installed.
    pub(crate) fn nats(configure: fn(&Path, u16) -> String) -> Option<Self> {
        Self::start("nats-server", configure)
    }

    fn start(program: &str, configure: fn(&Path, u16) -> String) -> Option<Self> {
        Self::start_with(program, configure)
    }

    fn start_with(
        program: &str,
        configure: impl Fn(&Path, u16) -> String + Send + Sync + 'static,
    ) -> Option<Self> {
        let program = find(program)?;
        let folder = tempfile::tempdir().unwrap();
        let configure = Box::new(configure);
        let mut broker = Self { program, folder, port: 0, child: None, configure };
        // A free port may be taken by somebody else before the broker has it.
        let up = (0..20).any(|_| {
            broker.port = free_port();
            broker.try_run()
        });
        assert!(up, "{} does not start", broker.program.display());
        Some(broker)
    }

    /// Three servers of nats-server that are one cluster, or `None` where it is not installed.
    pub(crate) fn nats_cluster() -> Option<[Self; 3]> {
        let routes = [free_port(), free_port(), free_port()];
        let all = routes.map(|port| format!("nats-route://127.0.0.1:{port}")).join(", ");
        let start = |n: usize| {
            let (own, all) = (routes[n], all.clone());
            Self::start_with("nats-server", move |folder, port| {
                let cluster = format!("name: c, listen: \"127.0.0.1:{own}\", routes: [{all}]");
                format!("{}server_name: n{n}\ncluster {{ {cluster} }}\n", jetstream(folder, port))
            })
        };
        Some([start(0)?, start(1)?, start(2)?])
    }

    /// Starts again on the same port.
    pub(crate) fn run(&mut self) {
        let up = (0..20).any(|_| self.try_run());
        assert!(up, "{} does not start again", self.program.display());
    }

    fn try_run(&mut self) -> bool {
        self.kill();
        let file = self.folder.path().join("broker.conf");
        fs::write(&file, (self.configure)(self.folder.path(), self.port)).unwrap();
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let child = self.child.insert(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn options(&self) -> NatsOptions {
        NatsOptions::new(self.url())
    }

    /// Lets it flush everything and end, and keeps what it has on its disk then.
    pub(crate) fn end_and_keep(&mut self) -> TempDir {
        self.signal("-TERM");
        self.child.as_mut().unwrap().wait().unwrap();
        self.kill_and_keep()
    }

    /// Ends it, and keeps what it has on its disk now.
    pub(crate) fn kill_and_keep(&mut self) -> TempDir {
        self.kill();
        let kept = tempfile::tempdir().unwrap();
        copy(&self.folder.path().join("store"), kept.path());
        kept
    }

    /// Ends it as a loss of power would that leaves on the disk what was kept, and no more; starts it again.
    pub(crate) fn lose_all_but(&mut self, kept: &TempDir) {
        self.kill();
        let store = self.folder.path().join("store");
        fs::remove_dir_all(&store).unwrap();
        copy(kept.path(), &store);
        self.run();
    }

    /// As [`lose_all_but`](Self::lose_all_but) for the messages of its streams; of their consumers it has what is
    /// `ahead`.
    pub(crate) fn lose_messages(&mut self, kept: &TempDir, ahead: &TempDir) {
        self.kill();
        let store = self.folder.path().join("store");
        fs::remove_dir_all(&store).unwrap();
        copy(kept.path(), &store);
        for stream in fs::read_dir(store.join("jetstream/$G/streams")).unwrap() {
            let name = stream.unwrap().file_name();
            let of = |folder: &Path| folder.join("jetstream/$G/streams").join(&name).join("obs");
            copy(&of(ahead.path()), &of(&store));
        }
        self.run();
    }

    /// Keeps it from answering, with all connections open.
    pub(crate) fn halt(&self) {
        self.signal("-STOP");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Ends it as a loss of power would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Configuration of a nats-server with JetStream, which keeps its streams in the folder.
pub(crate) fn jetstream(folder: &Path, port: u16) -> String {
    let store = folder.join("store");
    format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: {store:?} }}\n")
}

/// The same for a server that takes small messages only.
pub(crate) fn small(folder: &Path, port: u16) -> String {
    jetstream(folder, port) + "max_payload: 8192\n"
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
