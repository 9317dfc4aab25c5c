//! Thousands of devices at once, and servers that are killed while devices send: over real sockets.
//!
//! The test binary starts itself again as the other side, so that each has its own sockets to use up.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    io,
    os::unix::process::ExitStatusExt,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use depin_core::{
    Algorithm, SignedBatch,
    log::BatchLog,
    transport::{Answer, Transport},
};
use depin_data::{
    http::{HttpTransport, Limits, serve, serve_with},
    log::RedbLog,
};
use depin_testkit::skip::skipped;
use tokio::net::TcpStream;

use crate::{
    kill::{Acknowledged, chains_are_whole, devices, lines, note, nothing_is_lost, say, spawn},
    support::{Device, NOW, Net, reading, receipts},
};

const URL: &str = "DEPIN_STORM_URL";
const FILE: &str = "DEPIN_HTTP_VICTIM_FILE";
/// Kills of the server; `DEPIN_KILLS=1000` for the long run.
const KILLS: usize = 15;
/// Devices that come at once, as far as there are file handles; `DEPIN_DEVICES` for others.
const DEVICES: usize = 10_000;
/// Sockets for everything but the devices.
const SPARE: usize = 200;

/// As many as are wanted, or as there are file handles for.
fn devices_that_fit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    wanted().min(soft.unwrap_or(1024_usize).saturating_sub(SPARE))
}

fn wanted() -> usize {
    let wanted = std::env::var("DEPIN_DEVICES").ok().and_then(|n| n.parse().ok());
    wanted.unwrap_or(DEVICES)
}

/// Takes as many file handles as the system gives us, for this process and those it starts.
fn take_all_handles() {
    let me = std::process::id().to_string();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    if let Some(hard) = line.and_then(|line| line.split_whitespace().nth(4)) {
        let raise = format!("--nofile={hard}:{hard}");
        let _ = Command::new("prlimit").args(["--pid", &me, &raise]).status();
    }
}

fn device(n: usize) -> Device {
    Device::new(&format!("storm-{n}"), Algorithm::EdDsa)
}

/// Sends one request on a connection of its own and reads until the answer is whole.
async fn talk(address: &str, batch: &SignedBatch) -> io::Result<(TcpStream, Vec<u8>)> {
    let stream = TcpStream::connect(address).await?;
    let body = batch.as_bytes();
    let head = format!(
        "POST /v1/batches HTTP/1.1\r\nhost: x\r\ncontent-type: application/cose\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    let mut sent = 0;
    while sent < request.len() {
        stream.writable().await?;
        match stream.try_write(&request[sent..]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => sent += written?,
        }
    }
    let (mut answer, mut piece) = (Vec::new(), [0; 2048]);
    loop {
        stream.readable().await?;
        match stream.try_read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) => return Ok((stream, answer)),
            read => answer.extend_from_slice(&piece[..read?]),
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let length = text.split("content-length: ").nth(1).and_then(|t| t.split("\r\n").next());
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some((head, length)) = head.zip(length.and_then(|text| text.parse::<usize>().ok()))
            && answer.len() >= head + 4 + length
        {
            answer.drain(..head + 4);
            let status = text.starts_with("HTTP/1.1 200");
            return if status { Ok((stream, answer)) } else { Ok((stream, Vec::new())) };
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowd() {
    let Ok(url) = std::env::var(URL) else { return };
    let (address, start) = (
        url.trim_start_matches("http://").to_owned(),
        Arc::new(tokio::sync::Barrier::new(devices_that_fit())),
    );
    let held = Arc::new(Mutex::new(Vec::new()));
    let tasks = (0..devices_that_fit()).map(|n| {
        let (address, start, held) = (address.clone(), Arc::clone(&start), Arc::clone(&held));
        tokio::spawn(async move {
            let batch = device(n).measure();
            start.wait().await;
            // As a device does: without an answer it comes again.
            for attempt in 0..200 {
                if let Ok((stream, answer)) = talk(&address, &batch).await
                    && let Ok(receipt) = depin_data::receipt::decode(&answer)
                {
                    // Whoever is done stays connected: idle ones must not stand in the way.
                    held.lock().unwrap().push(stream);
                    return say(&format!("ack {} {}", receipt.index, receipt.batch));
                }
                tokio::time::sleep(Duration::from_millis(50 * (1 + attempt % 10))).await;
            }
            panic!("device {n} never got an answer");
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_devices_at_once_are_each_served_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(RedbLog::open(folder.path().join("log")).unwrap());
    let net = Net::over(log.clone());
    take_all_handles();
    let (count, wanted) = (devices_that_fit(), wanted());
    if count < wanted {
        skipped(format_args!(
            "{} of {wanted} devices: raise the limit of open files",
            wanted - count
        ));
    }
    for n in 0..count {
        net.registry.add(&device(n));
    }
    // All come from one address, as through the gateway of a fleet.
    let mut limits = Limits::default();
    limits.per_address = count;
    let address = ([127, 0, 0, 1], 0).into();
    let server = serve_with(net.ingest.clone(), address, limits).await.unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "storm::crowd", "--nocapture", "--test-threads=1"]);
    command.env(URL, server.url());
    let errors = folder.path().to_owned();
    let collect = move || {
        let mut child = spawn(command, &errors);
        let mut acknowledged = Acknowledged::new();
        lines(&mut child).for_each(|line| note(&line, &mut acknowledged));
        let status = child.wait().unwrap();
        (acknowledged, status)
    };
    let (acknowledged, status) = tokio::task::spawn_blocking(collect).await.unwrap();
    assert!(status.success());
    assert_eq!(acknowledged.len(), count);
    nothing_is_lost(&*log, &acknowledged, false).await;
    assert_eq!(log.head().await.unwrap().size, count as u64);
    println!("{count} devices");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let net = Net::over(Arc::new(RedbLog::open(path).unwrap()));
    devices().iter().for_each(|device| net.registry.add(device));
    let server = serve(net.ingest.clone(), ([127, 0, 0, 1], 0).into()).await.unwrap();
    say(&format!("url {}", server.url()));
    std::future::pending::<()>().await;
}

/// A device, and the batch that it has no answer for.
struct Sender(Device, Option<SignedBatch>);

/// Sends until the server is gone, and counts the answers; tells what was acknowledged.
async fn send(
    url: String,
    mut sender: Sender,
    answers: Arc<AtomicUsize>,
) -> (Sender, Vec<(u64, SignedBatch)>) {
    let transport = HttpTransport::new(&url, receipts(), &mut rand::thread_rng()).unwrap();
    let mut taken = Vec::new();
    loop {
        let Sender(device, pending) = &mut sender;
        let batch = pending.get_or_insert_with(|| device.seal(&[reading("4.9", NOW)])).clone();
        match transport.send(&batch).await {
            Ok(Answer::Receipt(receipt)) => {
                taken.push((receipt.index, batch));
                answers.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Answer::Refusal(refusal)) => panic!("{refusal:?}"),
            Err(error) => {
                assert!(error.is_retryable(), "{error:?}");
                return (sender, taken);
            }
        }
        *pending = None;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_again_and_again_loses_nothing_and_counts_nothing_twice() {
    let kills = std::env::var("DEPIN_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut senders: Vec<_> = devices().into_iter().map(|device| Sender(device, None)).collect();
    let mut acknowledged = HashMap::new();
    for round in 0..kills {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "storm::victim", "--nocapture", "--test-threads=1"]);
        command.env(FILE, &path);
        let mut child = spawn(command, folder.path());
        let mut lines = lines(&mut child);
        let url = lines.find_map(|line| line.split_once("url ").map(|(_, url)| url.to_owned()));
        let url = url.expect("the victim serves");
        let answers = Arc::new(AtomicUsize::new(0));
        let tasks = senders
            .drain(..)
            .map(|sender| tokio::spawn(send(url.clone(), sender, Arc::clone(&answers))));
        let tasks: Vec<_> = tasks.collect();
        // Now and then it dies before it has answered anybody, else at some moment after some answers.
        let random = RandomState::new().hash_one(round);
        let (after, pause) = (random as usize % 24, Duration::from_micros(random / 24 % 20_000));
        while answers.load(Ordering::Relaxed) < after
            && tasks.iter().any(|task| !task.is_finished())
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(pause).await;
        child.kill().unwrap();
        assert_eq!(
            child.wait().unwrap().signal(),
            Some(9),
            "it was killed and did not end by itself"
        );
        for task in tasks {
            let (sender, taken) = task.await.unwrap();
            senders.push(sender);
            for (index, batch) in taken {
                let before = acknowledged.insert(index, batch.hash());
                assert_eq!(before, None, "index {index} was given to two batches");
            }
        }
    }
    let log = RedbLog::open(&path).unwrap();
    let batches = nothing_is_lost(&log, &acknowledged, true).await;
    chains_are_whole(&batches);
    // What was stored without an answer is at most one batch of each device.
    assert!(batches.len() - acknowledged.len() <= senders.len());
    println!("{kills} kills, {} acknowledged", acknowledged.len());
    assert!(acknowledged.len() > kills, "the server was not under load");
}
