//! A device that dies at any moment: what it had sealed arrives, once.
//!
//! The test binary starts itself as the device, which sends over its standard output and hears answers on its
//! standard input: `device` does nothing unless [`FILE`] is set.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use depin_core::{
    Algorithm, Bytes, Did, Error, Result, SignedBatch, Signer,
    transport::{Answer, Refusal, RefusalCode, Standing, Transport},
};
use depin_data::{
    batch::BatchVerifier,
    collector::{Collector, Next, Options},
    ingest::{DeviceLimits, Rate},
    log::MemoryLog,
    outbox::{FileStore, Outbox},
    receipt,
    wire::{self, Nonce},
};

use crate::support::{self, Device, NOW, Net, network, reading};

const FILE: &str = "DEPIN_DEVICE_FILE";
const START: &str = "DEPIN_DEVICE_START";
const KILLS: &str = "DEPIN_DEVICE_KILLS";
/// Numbers of the readings of one life.
const LIFE: u64 = 1_000_000;

/// Lines to and from the parent.
#[derive(Debug)]
struct Pipe;

impl Pipe {
    /// One write per line; what a kill cuts off lacks the end.
    fn say(line: &str) {
        let mut out = std::io::stdout().lock();
        out.write_all(format!("\n{line} .\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

#[async_trait]
impl Transport for Pipe {
    async fn send(&self, batch: &SignedBatch) -> Result<Answer> {
        Self::say(&format!("send {}", Bytes::copy_from_slice(batch.as_bytes())));
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).unwrap();
        match line.trim().split_once(' ') {
            Some(("receipt", hex)) => {
                let bytes: Bytes = hex.parse().unwrap();
                Ok(Answer::Receipt(receipt::decode(&bytes).unwrap()))
            }
            Some(("refusal", code)) => Ok(Answer::Refusal(Refusal {
                code: RefusalCode::parse(code).unwrap(),
                detail: String::new(),
                batch: batch.hash(),
                device: None,
            })),
            _ => Err(Error::unavailable("the parent is gone")),
        }
    }

    async fn standing(&self, device: &Did, signer: &dyn Signer) -> Result<Standing> {
        let (nonce, receipts) = (Nonce::from_bytes(rand::random()), support::receipts());
        let question = wire::question(signer, device, &network(), &nonce)?;
        let request = wire::encode_request(&nonce, &question)?;
        Self::say(&format!("ask {}", Bytes::from(request)));
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).unwrap();
        let gone = |_| Error::unavailable("the parent is gone");
        let bytes: Bytes = line.trim().parse().map_err(gone)?;
        let reply = wire::Reply::parse(&bytes, &network())?;
        Ok(reply.open_standing(&receipts, &question, &nonce)?)
    }
}

#[tokio::test]
async fn device() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let device = Device::new("a", Algorithm::EdDsa);
    let store = FileStore::open(path, 2 << 20).unwrap();
    let outbox = Outbox::open(&network(), &device.did, support::receipts(), store).unwrap();
    let mut collector = Collector::new(outbox, Options::default());
    Pipe::say("ready");
    // A device without a store asks first.
    assert_eq!(collector.forward(&Pipe, &*device.key).await.unwrap(), Next::Done);
    if let Ok(start) = std::env::var(START) {
        collect(&mut collector, &device, start.parse().unwrap()).await;
    }
    assert_eq!(collector.forward(&Pipe, &*device.key).await.unwrap(), Next::Done);
    Pipe::say(&format!("dropped {}", collector.outbox().dropped()));
}

/// Measures, seals and sends until it is killed.
async fn collect(collector: &mut Collector, device: &Device, start: u64) {
    for number in start.. {
        collector.push(reading(&number.to_string(), NOW), NOW, &*device.key).unwrap();
        if number % 3 == 2 {
            collector.seal(&*device.key).unwrap();
            Pipe::say(&format!("sealed {number}"));
        }
        // Some batches wait for each other, but not for so many that the store is full.
        if number % 7 == 6 || collector.outbox().len() > 100 {
            assert_eq!(collector.forward(&Pipe, &*device.key).await.unwrap(), Next::Done);
        }
    }
}

fn spawn(path: &Path, start: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "device_kill::device", "--nocapture", "--test-threads=1"]);
    command.env(FILE, path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(start) = start {
        command.env(START, start.to_string());
    }
    command.spawn().unwrap()
}

/// What the device has told about itself.
#[derive(Default)]
struct Told {
    sealed: Vec<u64>,
    dropped: Option<u64>,
}

/// When a device dies: so long after it has said so many things.
#[derive(Clone, Copy)]
struct Death {
    said: u64,
    after: Duration,
}

impl Death {
    /// At any moment, whatever the pace of the machine: before it is ready, at work, or while it waits for an answer.
    fn random() -> Self {
        let random = RandomState::new().hash_one(0);
        Self { said: random % 40, after: Duration::from_micros(random / 40 % 20_000) }
    }

    fn comes(self, pid: u32) -> JoinHandle<()> {
        std::thread::spawn(move || {
            std::thread::sleep(self.after);
            let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
            assert!(killed.unwrap().success());
        })
    }
}

/// Answers a device until it falls silent, if need be because it is killed.
async fn serve(net: &Net, child: &mut Child, told: &mut Told, death: Option<Death>) {
    let mut answers = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut said, mut killer) = (0, None);
    let mut check = |said| {
        if let Some(death) = death.filter(|death| death.said == said) {
            killer = Some(death.comes(child.id()));
        }
    };
    check(said);
    for line in lines.map_while(std::io::Result::ok) {
        let Some(line) = line.strip_suffix(" .") else { continue };
        said += 1;
        check(said);
        match line.split_once(' ') {
            Some(("send", hex)) => {
                let bytes: Bytes = hex.parse().unwrap();
                let answer = match net.ingest.accept(&bytes).await.unwrap() {
                    Answer::Receipt(receipt) => {
                        format!("receipt {}\n", Bytes::from(receipt::encode(&receipt).unwrap()))
                    }
                    Answer::Refusal(refusal) => panic!("{refusal:?}"),
                };
                // It may be dead by now.
                let _ = answers.write_all(answer.as_bytes());
            }
            Some(("ask", hex)) => {
                let bytes: Bytes = hex.parse().unwrap();
                let (nonce, question) = wire::decode_request(&bytes).unwrap();
                let question = SignedBatch::new(question.to_vec());
                let standing = net.ingest.standing(&question).await.unwrap();
                let (hash, log) = (question.hash(), net.ingest.signer());
                let signed = wire::encode_standing(&standing, hash, &nonce, log).unwrap();
                let _ = answers.write_all(format!("{}\n", Bytes::from(signed)).as_bytes());
            }
            Some(("sealed", number)) => told.sealed.push(number.parse().unwrap()),
            Some(("dropped", count)) => told.dropped = Some(count.parse().unwrap()),
            _ => {}
        }
    }
    if let Some(killer) = killer {
        killer.join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it did not end by itself");
    }
}

/// The clock of this ingest stands still, so nothing that a device takes is ever made up for.
fn patient() -> Net {
    let mut limits = DeviceLimits::default();
    limits.batches = Rate::new(1, u32::MAX);
    limits.readings = Rate::new(1, u32::MAX);
    Net::with(Arc::new(MemoryLog::new()), |ingest| ingest.device_limits(limits))
}

/// Lets a device live and kills it, this often. Where `loses` says so of a life, its store is gone after it.
async fn lives(net: &Net, path: &Path, kills: u64, loses: impl Fn(u64) -> bool) -> Told {
    let mut told = Told::default();
    for life in 0..kills {
        let mut child = spawn(path, Some(life * LIFE));
        serve(net, &mut child, &mut told, Some(Death::random())).await;
        if loses(life) {
            // It may have died before it had one.
            let _ = std::fs::remove_file(path);
        }
    }
    let mut last = spawn(path, None);
    serve(net, &mut last, &mut told, None).await;
    assert!(last.wait().unwrap().success());
    told
}

/// How often each reading is in the log, whose batches are one chain without a gap.
async fn readings(net: &Net, device: &Device) -> HashMap<u64, u32> {
    let verifier = BatchVerifier::new(&network(), device.key.public_key());
    let (mut seen, mut tip) = (HashMap::<u64, u32>::new(), None);
    for entry in net.ingest.log().read(0, usize::MAX).await.unwrap() {
        let link = verifier.link(&entry.batch).unwrap();
        tip = link.tip_after(tip);
        assert!(tip.is_some() && link.covers().is_none(), "one chain without a gap");
        for reading in link.readings() {
            let mantissa = u64::try_from(reading.value().mantissa()).unwrap();
            let exponent = u32::try_from(reading.value().exponent()).unwrap();
            *seen.entry(mantissa * 10u64.pow(exponent)).or_default() += 1;
        }
    }
    seen
}

fn kills(unless_said: u64) -> u64 {
    std::env::var(KILLS).map_or(unless_said, |kills| kills.parse().unwrap())
}

#[tokio::test]
async fn a_device_that_is_killed_loses_nothing_that_it_sealed_and_sends_nothing_twice() {
    let (net, folder, kills) = (patient(), tempfile::tempdir().unwrap(), kills(150));
    let device = net.enrol("a");
    let told = lives(&net, &folder.path().join("outbox"), kills, |_| false).await;
    assert_eq!(told.dropped, Some(0));
    let seen = readings(&net, &device).await;
    assert!(seen.values().all(|count| *count == 1), "a reading counts twice");
    for number in &told.sealed {
        assert!(seen.contains_key(number), "reading {number} was sealed and is lost");
    }
    println!("{kills} kills, {} readings sealed in {} batches", seen.len(), told.sealed.len());
    assert!(told.sealed.len() as u64 > kills, "the device was at work");
}

/// What it had not sent is gone with the store. What it sends is never refused: it forks nothing.
#[tokio::test]
async fn a_device_that_is_killed_and_loses_its_store_never_contradicts_itself() {
    let (net, folder, kills) = (patient(), tempfile::tempdir().unwrap(), kills(40));
    let device = net.enrol("a");
    let told = lives(&net, &folder.path().join("outbox"), kills, |life| life % 2 == 0).await;
    let seen = readings(&net, &device).await;
    assert!(seen.values().all(|count| *count == 1), "a reading counts twice");
    println!("{kills} kills, {} readings in the log of {}", seen.len(), told.sealed.len() * 3);
    assert!(seen.len() as u64 > kills, "the device was at work");
    assert_eq!(net.ingest.log().refusal_range().await.unwrap(), 0..0);
}
