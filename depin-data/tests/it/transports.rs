//! The ways through a broker, over real ones: at least once on the wire, exactly once in the log.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use depin_core::{
    Algorithm, B256, Did, ErrorKind, NetworkEvent, SignedBatch, SoftwareKey,
    log::BatchLog,
    transport::{Answer, Refusal, RefusalCode, Transport},
};
use depin_data::{
    batch::MAX_BYTES,
    ingest::{DeviceLimits, Ingest, Rate},
    log::MemoryLog,
    mqtt::{self, MqttOptions, MqttServer, MqttServing, MqttTransport, MqttVersion},
    nats::{self, NatsOptions, NatsServer, NatsServing, NatsTransport},
    receipt::HeadSigner,
    wire::{self, Nonce},
};
use depin_testkit::transport::{conforms, fails_without_ingest};
use futures_util::StreamExt;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    broker::Broker,
    support::{Device, NOW, Net, network, reading},
};

/// Each test over each broker and protocol.
macro_rules! over_every_broker {
    ($($test:ident)*) => { over_every_broker!(@ v3 V3 $($test)*); over_every_broker!(@ v5 V5 $($test)*); over_every_broker!(@ core_nats Nats $($test)*); };
    (@ $module:ident $kind:ident $($test:ident)*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if let Some(wire) = super::Wire::start(super::Kind::$kind) {
                    super::$test(wire).await;
                }
            })*
        }
    };
}

over_every_broker! {
    it_conforms
    receipts_and_refusals_are_those_of_ingest
    a_broker_that_dies_loses_nothing_and_doubles_nothing
    an_ingest_that_dies_loses_nothing_and_doubles_nothing
    servers_share_the_work_and_one_log
    forged_and_repeated_answers_are_ignored
    whoever_publishes_the_signature_decides
    noise_is_refused_and_kept_and_others_are_served
    while_ingest_cannot_answer_the_batch_waits
    a_large_batch_is_told_so
    a_device_that_sends_too_much_is_in_nobodys_way
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    V3,
    V5,
    Nats,
}

struct Wire {
    kind: Kind,
    broker: Broker,
}

enum Server {
    Mqtt(MqttServer),
    Nats(NatsServer),
}

impl Server {
    async fn shutdown(self) {
        match self {
            Self::Mqtt(server) => server.shutdown().await,
            Self::Nats(server) => server.shutdown().await,
        }
    }
}

fn mosquitto(_: &Path, port: u16) -> String {
    format!("listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nuser root\n")
}

fn nats_server(_: &Path, port: u16) -> String {
    format!("listen: 127.0.0.1:{port}\n")
}

impl Wire {
    fn start(kind: Kind) -> Option<Self> {
        let broker = match kind {
            Kind::Nats => Broker::nats(nats_server),
            _ => Broker::mosquitto(mosquitto),
        };
        broker.map(|broker| Self { kind, broker })
    }

    fn mqtt(&self) -> MqttOptions {
        let version = if self.kind == Kind::V3 { MqttVersion::V3 } else { MqttVersion::V5 };
        MqttOptions::new("127.0.0.1", self.broker.port).version(version)
    }

    fn nats(&self) -> NatsOptions {
        self.broker.options()
    }

    async fn connect(&self, net: &Net, did: &Did) -> Box<dyn Transport> {
        self.hasty(net, did, Duration::from_secs(100)).await
    }

    /// Gives up after `whole`.
    async fn hasty(&self, net: &Net, did: &Did, whole: Duration) -> Box<dyn Transport> {
        let (receipts, rng) = (net.receipts.clone(), &mut rand::thread_rng());
        let resend = Duration::from_millis(300);
        if self.kind == Kind::Nats {
            let transport = NatsTransport::connect(&self.nats(), did, receipts, rng).await.unwrap();
            return Box::new(transport.patience(whole, resend));
        }
        let transport = MqttTransport::connect(&self.mqtt(), did, receipts, rng).await.unwrap();
        Box::new(transport.patience(whole, resend))
    }

    async fn serve(&self, ingest: &Arc<Ingest>, name: Option<&str>) -> Server {
        self.serve_at_a_time(64, ingest, name).await
    }

    async fn serve_at_a_time(
        &self,
        concurrency: u16,
        ingest: &Arc<Ingest>,
        name: Option<&str>,
    ) -> Server {
        let ingest = Arc::clone(ingest);
        if self.kind == Kind::Nats {
            let mut serving = NatsServing::default();
            serving.concurrency = concurrency;
            return Server::Nats(nats::serve(ingest, &self.nats(), serving).await.unwrap());
        }
        let mut serving = MqttServing::default();
        (serving.name, serving.concurrency) = (name.map(Into::into), concurrency);
        Server::Mqtt(mqtt::serve(ingest, &self.mqtt(), serving).await.unwrap())
    }

    async fn stranger(&self) -> Stranger {
        if self.kind == Kind::Nats {
            let url = format!("nats://127.0.0.1:{}", self.broker.port);
            return Stranger::Nats(async_nats::connect(url).await.unwrap());
        }
        let options = rumqttc::MqttOptions::new("stranger", "127.0.0.1", self.broker.port);
        let mut options = options;
        options.set_max_packet_size(1 << 20, 1 << 20);
        let (client, link) = rumqttc::AsyncClient::new(options, 64);
        Stranger::Mqtt(client, Box::new(link))
    }
}

/// Somebody with a connection to the broker and no key.
enum Stranger {
    Mqtt(rumqttc::AsyncClient, Box<rumqttc::EventLoop>),
    Nats(async_nats::Client),
}

impl Stranger {
    /// Publishes as if by `did`, and returns when the broker has it.
    async fn publish(&mut self, did: &Did, payload: &[u8]) {
        let tag = wire::device_tag(did);
        match self {
            Self::Mqtt(client, link) => {
                let topic = format!("depin/v1/climate/{tag}/up");
                client.publish(topic, rumqttc::QoS::AtLeastOnce, false, payload).await.unwrap();
                loop {
                    let event = link.poll().await.unwrap();
                    if matches!(event, rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))) {
                        return;
                    }
                }
            }
            Self::Nats(client) => {
                let subject = format!("depin.v1.climate.{tag}.up");
                client.publish(subject, payload.to_vec().into()).await.unwrap();
                client.flush().await.unwrap();
            }
        }
    }

    /// Waits for a request of `did` and gives it all these answers.
    async fn answer(&mut self, did: &Did, answers: impl FnOnce(&[u8]) -> Vec<Vec<u8>>) {
        let tag = wire::device_tag(did);
        match self {
            Self::Mqtt(client, link) => {
                use rumqttc::{Event, Packet, QoS};
                let (up, down) =
                    (format!("depin/v1/climate/{tag}/up"), format!("depin/v1/climate/{tag}/down"));
                client.subscribe(up, QoS::AtLeastOnce).await.unwrap();
                let request = loop {
                    if let Event::Incoming(Packet::Publish(publish)) = link.poll().await.unwrap() {
                        break publish.payload;
                    }
                };
                let answers = answers(&request);
                let mut acks = answers.len();
                for answer in answers {
                    client.publish(&down, QoS::AtLeastOnce, false, answer).await.unwrap();
                }
                while acks > 0 {
                    let event = link.poll().await.unwrap();
                    acks -= usize::from(matches!(event, Event::Incoming(Packet::PubAck(_))));
                }
            }
            Self::Nats(client) => {
                let mut requests =
                    client.subscribe(format!("depin.v1.climate.{tag}.up")).await.unwrap();
                let request = requests.next().await.unwrap();
                for answer in answers(&request.payload) {
                    client.publish(request.reply.clone().unwrap(), answer.into()).await.unwrap();
                }
                client.flush().await.unwrap();
            }
        }
    }
}

fn net() -> Net {
    Net::over(Arc::new(MemoryLog::new()))
}

/// Counts what an ingest takes.
fn taken(ingest: &Ingest) -> watch::Receiver<u64> {
    let (count, counted) = watch::channel(0);
    ingest.subscribe(Arc::new(move |event| {
        if matches!(event, NetworkEvent::BatchAccepted { .. }) {
            count.send_modify(|count| *count += 1);
        }
    }));
    counted
}

fn refusal_of(answer: Answer) -> Refusal {
    match answer {
        Answer::Refusal(refusal) => refusal,
        Answer::Receipt(receipt) => panic!("taken: {receipt:?}"),
    }
}

/// Sends this many batches, and checks the proof of each.
async fn deliver(net: Arc<Net>, transport: Box<dyn Transport>, mut device: Device, batches: usize) {
    for _ in 0..batches {
        let batch = device.measure();
        let answer = loop {
            match transport.send(&batch).await {
                Ok(answer) => break answer,
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        };
        let Answer::Receipt(receipt) = answer else { panic!("{answer:?}") };
        net.receipts.verify(&receipt, &batch).unwrap();
    }
}

/// The log holds this many batches, none twice.
async fn holds(net: &Net, batches: u64) {
    let entries = net.ingest.log().read(0, usize::MAX).await.unwrap();
    let distinct: HashSet<B256> = entries.iter().map(|entry| entry.batch.hash()).collect();
    assert_eq!((entries.len() as u64, distinct.len() as u64), (batches, batches));
}

const DEVICES: usize = 4;
const EACH: usize = 25;

async fn fleet(wire: &Wire, net: &Arc<Net>) -> JoinSet<()> {
    let mut fleet = JoinSet::new();
    for n in 0..DEVICES {
        let device = net.enrol(&format!("d{n}"));
        let transport = wire.connect(net, &device.did).await;
        fleet.spawn(deliver(Arc::clone(net), transport, device, EACH));
    }
    fleet
}

async fn it_conforms(wire: Wire) {
    let net = net();
    let server = wire.serve(&net.ingest, None).await;
    let mut device = net.enrol("a");
    let transport = wire.connect(&net, &device.did).await;
    conforms(&*transport, || device.measure()).await;
    let hasty = wire.hasty(&net, &device.did, Duration::from_millis(700)).await;
    server.shutdown().await;
    fails_without_ingest(&*hasty, &device.measure()).await;
}

async fn receipts_and_refusals_are_those_of_ingest(wire: Wire) {
    let net = net();
    let _server = wire.serve(&net.ingest, None).await;
    let mut device = net.enrol("a");
    let transport = wire.connect(&net, &device.did).await;
    let batch = device.measure();
    let Answer::Receipt(receipt) = transport.send(&batch).await.unwrap() else {
        panic!("a good batch is taken")
    };
    net.receipts.verify(&receipt, &batch).unwrap();
    assert_eq!(receipt, net.taken(&batch).await);

    let fork = device.seal_at(0, B256::ZERO, &[reading("1", NOW)]);
    let stranger = Device::new("stranger", Algorithm::Es256).measure();
    for (batch, code) in [(fork, RefusalCode::Fork), (stranger, RefusalCode::NotRegistered)] {
        let refusal = refusal_of(transport.send(&batch).await.unwrap());
        assert_eq!((refusal.code, refusal.batch), (code, batch.hash()));
        let direct = net.refused(batch.as_bytes()).await;
        assert_eq!((refusal.detail, refusal.device), (direct.detail, direct.device));
    }
}

async fn a_broker_that_dies_loses_nothing_and_doubles_nothing(mut wire: Wire) {
    let net = Arc::new(net());
    let _server = wire.serve(&net.ingest, Some("ingest-1")).await;
    let mut count = taken(&net.ingest);
    let fleet = fleet(&wire, &net).await;
    for at in [10, 40, 70] {
        count.wait_for(|count| *count >= at).await.unwrap();
        wire.broker.kill();
        wire.broker.run();
    }
    fleet.join_all().await;
    holds(&net, (DEVICES * EACH) as u64).await;
}

async fn an_ingest_that_dies_loses_nothing_and_doubles_nothing(wire: Wire) {
    let net = Arc::new(net());
    let mut server = Some(wire.serve(&net.ingest, Some("ingest-1")).await);
    let mut count = taken(&net.ingest);
    let fleet = fleet(&wire, &net).await;
    for (at, gently) in [(10, false), (40, true), (70, false)] {
        count.wait_for(|count| *count >= at).await.unwrap();
        match server.take() {
            Some(server) if gently => server.shutdown().await,
            server => drop(server),
        }
        server = Some(wire.serve(&net.ingest, Some("ingest-1")).await);
    }
    fleet.join_all().await;
    holds(&net, (DEVICES * EACH) as u64).await;
}

async fn servers_share_the_work_and_one_log(wire: Wire) {
    let log: Arc<dyn BatchLog> = Arc::new(MemoryLog::new());
    let net = Arc::new(Net::over(Arc::clone(&log)));
    let key = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [77; 32]));
    let (registry, clock) = (net.registry.clone(), net.clock.clone());
    let did = "did:example:log".parse().unwrap();
    let second = Ingest::builder(network(), log, registry, clock, key, did).build();
    let second = Arc::new(second);
    let counts = [taken(&net.ingest), taken(&second)];
    let _servers = [wire.serve(&net.ingest, None).await, wire.serve(&second, None).await];
    fleet(&wire, &net).await.join_all().await;
    holds(&net, (DEVICES * EACH) as u64).await;
    let counts = counts.map(|count| *count.borrow());
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), (DEVICES * EACH) as u64);
}

async fn forged_and_repeated_answers_are_ignored(wire: Wire) {
    let net = Arc::new(net());
    let mut device = net.enrol("a");
    let (first, batch) = (device.measure(), device.measure());
    let of_first = net.taken(&first).await;
    let transport = wire.connect(&net, &device.did).await;
    let hash = batch.hash();
    let sending = tokio::spawn({
        let batch = batch.clone();
        async move { transport.send(&batch).await }
    });

    let thief = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [66; 32]));
    let thief = HeadSigner::new(&network(), thief, "did:example:log".parse().unwrap());
    let code = RefusalCode::Malformed;
    let refusal = Refusal { code, detail: "drop it".into(), batch: hash, device: None };
    let refusal = Answer::Refusal(refusal);
    let mut receipt = of_first.clone();
    receipt.batch = hash;
    let forgeries = |request: &[u8]| {
        let (nonce, sent) = wire::decode_request(request).unwrap();
        assert_eq!(sent, batch.as_bytes());
        let log = net.ingest.signer();
        let old = Nonce::from_bytes([0; 16]);
        vec![
            Vec::new(),
            b"noise".to_vec(),
            vec![0; 60_000],
            wire::encode_answer(&refusal, &nonce, &thief).unwrap(),
            wire::encode_answer(&refusal, &old, log).unwrap(),
            wire::encode_answer(&Answer::Receipt(of_first), &nonce, log).unwrap(),
            wire::encode_answer(&Answer::Receipt(receipt), &nonce, log).unwrap(),
        ]
    };
    wire.stranger().await.answer(&device.did, forgeries).await;
    assert!(!sending.is_finished(), "no forgery is an answer");

    let _server = wire.serve(&net.ingest, None).await;
    let Answer::Receipt(receipt) = sending.await.unwrap().unwrap() else { panic!("taken") };
    net.receipts.verify(&receipt, &batch).unwrap();
    holds(&net, 2).await;
}

async fn whoever_publishes_the_signature_decides(wire: Wire) {
    let net = net();
    let _server = wire.serve(&net.ingest, None).await;
    let (mut a, mut b) = (net.enrol("a"), net.enrol("b"));
    let mut count = taken(&net.ingest);
    let batch = a.measure();
    let mut stranger = wire.stranger().await;
    // On the topic of another device, framed, bare and repeated.
    let framed = wire::encode_request(&Nonce::from_bytes([1; 16]), &batch).unwrap();
    for bytes in [&framed, &framed, &batch.as_bytes().to_vec(), &framed] {
        stranger.publish(&b.did, bytes).await;
    }
    count.wait_for(|count| *count == 1).await.unwrap();
    let transport = wire.connect(&net, &b.did).await;
    let Answer::Receipt(_) = transport.send(&b.measure()).await.unwrap() else { panic!("taken") };
    let transport = wire.connect(&net, &a.did).await;
    let Answer::Receipt(receipt) = transport.send(&batch).await.unwrap() else { panic!("taken") };
    net.receipts.verify(&receipt, &batch).unwrap();
    let Answer::Receipt(_) = transport.send(&a.measure()).await.unwrap() else { panic!("taken") };
    holds(&net, 3).await;
}

async fn noise_is_refused_and_kept_and_others_are_served(wire: Wire) {
    let net = net();
    let _server = wire.serve(&net.ingest, Some("ingest-1")).await;
    let mut device = net.enrol("a");
    let mut stranger = wire.stranger().await;
    let large = vec![0x55; 300_000];
    for noise in [b"noise".as_slice(), b"", &[0x82, 0x41, 0x00, 0x40], &large] {
        stranger.publish(&device.did, noise).await;
    }
    let transport = wire.connect(&net, &device.did).await;
    let batch = device.measure();
    let Answer::Receipt(_) = transport.send(&batch).await.unwrap() else { panic!("taken") };
    // What the broker gave us is kept as evidence, cut to what a batch may have.
    let kept = net.ingest.log().refusals(0, 10).await.unwrap();
    assert!(kept.iter().all(|refused| refused.bytes.len() <= MAX_BYTES));
    let codes: Vec<_> = kept.iter().map(|refused| refused.refusal.code).collect();
    assert!(codes.starts_with(&[RefusalCode::Malformed; 2]), "{codes:?}");
    assert_eq!(kept[0].bytes.as_ref(), b"noise");
    assert_eq!(codes.contains(&RefusalCode::TooLarge), wire.kind == Kind::Nats, "{codes:?}");
}

async fn while_ingest_cannot_answer_the_batch_waits(wire: Wire) {
    let net = Arc::new(net());
    *net.registry.down.lock().unwrap() = true;
    let server = wire.serve(&net.ingest, Some("ingest-1")).await;
    let mut device = net.enrol("a");
    let batch = device.measure();
    let transport = wire.connect(&net, &device.did).await;
    let sending = tokio::spawn({
        let batch = batch.clone();
        async move { transport.send(&batch).await }
    });
    while *net.registry.asked.lock().unwrap() < 3 {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(!sending.is_finished(), "there is no answer yet");
    if wire.kind == Kind::Nats {
        *net.registry.down.lock().unwrap() = false;
        assert!(matches!(sending.await.unwrap(), Ok(Answer::Receipt(_))));
        return;
    }
    // The device is gone and the server dies: the broker has the batch still.
    sending.abort();
    drop(server);
    *net.registry.down.lock().unwrap() = false;
    let mut count = taken(&net.ingest);
    let _server = wire.serve(&net.ingest, Some("ingest-1")).await;
    count.wait_for(|count| *count == 1).await.unwrap();
    holds(&net, 1).await;
}

async fn a_large_batch_is_told_so(wire: Wire) {
    let net = net();
    let _server = wire.serve(&net.ingest, None).await;
    let device = net.enrol("a");
    let transport = wire.connect(&net, &device.did).await;
    let large = SignedBatch::new(vec![0; MAX_BYTES + 10]);
    let refusal = refusal_of(transport.send(&large).await.unwrap());
    assert_eq!((refusal.code, refusal.batch), (RefusalCode::TooLarge, large.hash()));
    let huge = SignedBatch::new(vec![0; 2 * MAX_BYTES]);
    assert_eq!(transport.send(&huge).await.unwrap_err().kind(), ErrorKind::Limit);
}

async fn a_device_that_sends_too_much_is_in_nobodys_way(wire: Wire) {
    let mut limits = DeviceLimits::default();
    limits.batches = Rate::new(1, 1);
    let log = Arc::new(MemoryLog::new());
    let net = Net::with(log, |ingest| ingest.device_limits(limits));
    let _server = wire.serve_at_a_time(1, &net.ingest, None).await;
    let (mut greedy, mut other) = (net.enrol("a"), net.enrol("b"));
    let transport = wire.connect(&net, &greedy.did).await;
    let Answer::Receipt(_) = transport.send(&greedy.measure()).await.unwrap() else {
        panic!("the first is taken")
    };
    let batch = greedy.measure();
    let sending = tokio::spawn(async move { transport.send(&batch).await });
    let transport = wire.connect(&net, &other.did).await;
    let answer = transport.send(&other.measure()).await.unwrap();
    assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
    assert!(!sending.is_finished());
    net.clock.advance(Duration::from_secs(5));
    assert!(matches!(sending.await.unwrap(), Ok(Answer::Receipt(_))));
}

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
            println!("skipped: openssl is not installed");
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
