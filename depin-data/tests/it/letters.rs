//! Dead letters: listed by what they are, explained, and judged again after a fix, counted once.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use depin_core::{
    Algorithm, B256, ErrorKind, Sequence, SignedBatch, Timestamp,
    cbor::CborError,
    registry::{DeviceRegistry, DeviceStatus},
    transport::{Answer, RefusalCode},
};
use depin_data::{
    batch::MAX_BYTES,
    ingest::{Letters, Standing},
    log::{MemoryLog, RedbLog},
};

use crate::support::{Device, NOW, Net, network, reading};

async fn size(net: &Net) -> u64 {
    net.ingest.log().head().await.unwrap().size
}

#[tokio::test]
async fn letters_are_found_by_code_device_and_time_a_page_at_a_time() {
    let net = Net::over(Arc::new(RedbLog::open_in_memory().unwrap()));
    let device = net.enrol("a");
    for n in 0..20u8 {
        net.refused(&[n]).await;
        net.refused(device.seal_at(u64::from(n) + 1, B256::ZERO, &[reading("1", NOW)]).as_bytes())
            .await;
        net.clock.advance(Duration::from_secs(1));
    }
    let found = async |which: Letters, from: u64, limit: usize| {
        let page = net.ingest.dead_letters(&which, from, limit).await.unwrap();
        let positions: Vec<_> = page.letters.iter().map(|letter| letter.position).collect();
        (positions, page.next)
    };
    let all = Letters::default;
    assert_eq!(found(all(), 0, 3).await, (vec![0, 1, 2], Some(3)));
    assert_eq!(found(all(), 38, 3).await, (vec![38, 39], None));
    assert_eq!(found(all(), 1000, 3).await, (vec![], None));
    let malformed = all().code(RefusalCode::Malformed);
    assert_eq!(found(malformed.clone(), 5, 2).await, (vec![6, 8], Some(9)));
    assert_eq!(found(all().device(device.did.clone()), 0, 2).await, (vec![1, 3], Some(4)));
    let second = |n| NOW.plus(Duration::from_secs(n));
    assert_eq!(found(malformed.received(second(3)..=second(4)), 0, 9).await, (vec![6, 8], None));
    assert_eq!(found(all(), 0, 100).await.0.len(), 40);
}

#[tokio::test]
async fn what_a_fix_makes_good_is_taken_once_however_often_it_is_replayed() {
    let net = Net::over(Arc::new(RedbLog::open_in_memory().unwrap()));
    let mut device = Device::new("late", Algorithm::EdDsa);
    let batches: Vec<_> = (0..3).map(|_| device.measure()).collect();
    // Refused out of order: replaying puts each device's in order.
    for n in [2, 0, 1] {
        assert_eq!(net.refused(batches[n].as_bytes()).await.code, RefusalCode::NotRegistered);
    }
    let open =
        async || net.ingest.dead_letters(&Letters::default().open(), 0, 9).await.unwrap().letters;
    assert_eq!(open().await.len(), 3);
    let before = net.ingest.replay(0).await.unwrap();
    assert!(
        matches!(before, Answer::Refusal(refusal) if refusal.code == RefusalCode::NotRegistered)
    );
    assert_eq!(open().await.len(), 3, "a replay that is refused is no second letter");

    net.registry.add(&device);
    // The device sends one of them again meanwhile.
    net.taken(&batches[0]).await;
    assert_eq!(open().await.len(), 2);
    for _ in 0..2 {
        let replays = net.ingest.replay_all(&Letters::default(), 0, 9).await.unwrap();
        assert_eq!(replays.next, None);
        for (position, answer) in replays.answers {
            let Answer::Receipt(receipt) = answer else { panic!("{answer:?}") };
            let batch = &batches[[2, 0, 1][position as usize]];
            net.receipts.verify(&receipt, batch).unwrap();
        }
        assert_eq!((size(&net).await, open().await.len()), (3, 0));
    }
    for position in 0..3 {
        assert!(matches!(net.ingest.replay(position).await, Ok(Answer::Receipt(_))));
        let letter = net.ingest.dead_letter(position).await.unwrap();
        assert_eq!(letter.resolved, Some([2, 0, 1][position as usize]));
        assert!(!letter.is_replayable());
    }
    assert_eq!(size(&net).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replay_while_the_device_sends_again_counts_once() {
    let net = Arc::new(Net::over(Arc::new(RedbLog::open_in_memory().unwrap())));
    let mut device = Device::new("late", Algorithm::EdDsa);
    let batch = device.measure();
    net.refused(batch.as_bytes()).await;
    net.registry.add(&device);
    let tasks = (0..40).map(|n| {
        let (net, batch) = (Arc::clone(&net), batch.clone());
        tokio::spawn(async move {
            if n % 2 == 0 {
                net.taken(&batch).await;
            } else {
                assert!(matches!(net.ingest.replay(0).await, Ok(Answer::Receipt(_))));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(size(&net).await, 1);
}

#[tokio::test]
async fn readings_of_a_replay_are_compared_with_the_moment_of_receipt() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = Device::new("late", Algorithm::EdDsa);
    let batch = device.measure();
    net.refused(batch.as_bytes()).await;
    // The fix takes two months; sent anew, the readings would be too old.
    net.clock.advance(Duration::from_secs(60 * 86_400));
    net.registry.add(&device);
    assert_eq!(net.refused(batch.as_bytes()).await.code, RefusalCode::ClockBehind);
    assert!(matches!(net.ingest.replay(0).await, Ok(Answer::Receipt(_))));
    assert_eq!(size(&net).await, 1);
}

#[tokio::test]
async fn what_a_wrong_clock_of_ingest_refused_is_taken_when_it_is_right() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    // The clock of ingest is ten days late.
    let now = NOW.plus(Duration::from_secs(10 * 86_400));
    let batch = device.seal_at(0, B256::ZERO, &[reading("1", now)]);
    assert_eq!(net.refused(batch.as_bytes()).await.code, RefusalCode::ClockAhead);
    let Ok(Answer::Refusal(still)) = net.ingest.replay(0).await else { panic!("taken") };
    assert_eq!(still.code, RefusalCode::ClockAhead, "as long as the clock is wrong");
    net.clock.set(now);
    assert!(matches!(net.ingest.replay(0).await, Ok(Answer::Receipt(_))));
    assert_eq!(size(&net).await, 1);
}

#[tokio::test]
async fn what_was_cut_is_marked_and_never_replayed() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    net.refused(&[0xff; MAX_BYTES + 1]).await;
    let letter = net.ingest.dead_letter(0).await.unwrap();
    assert_eq!(letter.refused.bytes.len(), MAX_BYTES);
    assert!(!letter.is_whole() && !letter.is_replayable());
    assert_eq!(net.ingest.replay(0).await.unwrap_err().kind(), ErrorKind::Rejected);
    assert!(net.ingest.replay_all(&Letters::default(), 0, 9).await.unwrap().answers.is_empty());
    assert_eq!(net.ingest.replay(1).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_letter_is_explained_from_its_bytes_registry_and_log() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = net.enrol("a");
    let first = device.measure();
    net.taken(&first).await;
    let later = NOW.plus(Duration::from_secs(7));
    let fork = device.seal_at(0, B256::ZERO, &[reading("1", NOW), reading("2", later)]);
    net.refused(fork.as_bytes()).await;
    net.registry.set_status(&device.did, DeviceStatus::Suspended).await.unwrap();

    let told = net.ingest.explain(0).await.unwrap();
    assert_eq!(told.explanation, RefusalCode::Fork.explain());
    assert_eq!(
        (told.standing, told.fault),
        (Some(Standing::Registered(DeviceStatus::Suspended)), None)
    );
    assert_eq!((told.held, told.tip.unwrap().hash), (Some(first.hash()), first.hash()));
    let claim = told.claim.unwrap();
    assert_eq!((claim.network, claim.device), (network(), device.did.clone()));
    assert_eq!((claim.sequence, claim.previous, claim.readings), (Sequence::new(0), B256::ZERO, 2));
    assert_eq!((claim.earliest, claim.latest), (Some(NOW), Some(later)));
    assert_eq!(told.letter.refused.against, Some(first.as_bytes().to_vec().into()));
}

#[tokio::test]
async fn a_letter_for_another_network_is_read_all_the_same() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let elsewhere = depin_core::NetworkId::parse("drive").unwrap();
    let sequence = Sequence::new(3);
    let batch = depin_data::batch::seal(
        &*device.key,
        &device.did,
        &elsewhere,
        sequence,
        B256::ZERO,
        &[reading("1", NOW)],
    );
    assert_eq!(net.refused(batch.unwrap().as_bytes()).await.code, RefusalCode::WrongNetwork);
    let claim = net.ingest.explain(0).await.unwrap().claim.unwrap();
    assert_eq!((claim.network, claim.sequence), (elsewhere, sequence));
}

#[tokio::test]
async fn the_first_byte_at_fault_is_named() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = net.enrol("a");
    let batch = device.measure();
    let (good, time) = (batch.as_bytes(), NOW.millis().to_be_bytes());
    let at = good.windows(8).position(|window| window == time).unwrap();
    // A break byte where the base time begins: inside the payload, which is a string of the envelope.
    let mut bad = good.to_vec();
    bad[at - 1] = 0xff;
    assert_eq!(net.refused(&bad).await.code, RefusalCode::BadSignature);
    let fault = net.ingest.explain(0).await.unwrap().fault.unwrap();
    assert_eq!((fault.offset, fault.rule), (at - 1, CborError::Simple));
    for (bytes, offset, rule) in [
        (&b"\x82\x01"[..], 0, CborError::Truncated),
        (b"\x82\x01\x18\x01", 2, CborError::NotShortest),
        (b"\x01\x02", 1, CborError::Trailing),
        (b"\xa2\x02\x00\x01\x00", 3, CborError::KeyOrder),
        (b"\x5f\x41\x00\xff", 0, CborError::Indefinite),
    ] {
        let refusal = net.refused(bytes).await;
        assert_eq!(refusal.code, RefusalCode::Malformed);
        let last = net.ingest.dead_letters(&Letters::default(), 0, 99).await.unwrap().letters.len();
        let told = net.ingest.explain(last as u64 - 1).await.unwrap();
        let fault = told.fault.unwrap();
        assert_eq!((fault.offset, fault.rule), (offset, rule), "{bytes:?}");
        assert_eq!((told.claim, told.standing), (None, None));
    }
}

#[test]
fn every_code_has_a_text_a_meaning_and_a_remedy_of_its_own() {
    let codes = RefusalCode::ALL.map(|code| (code.as_str(), code.explain().meaning));
    let unique: std::collections::HashSet<_> = codes.iter().flat_map(|(a, b)| [a, b]).collect();
    assert_eq!(unique.len(), 2 * codes.len());
    for code in RefusalCode::ALL {
        assert_eq!(RefusalCode::parse(code.as_str()), Some(code));
        assert!(!code.explain().remedy.is_empty());
    }
}

#[tokio::test]
async fn forks_are_kept_with_what_they_contradict() {
    let net = Net::over(Arc::new(RedbLog::open_in_memory().unwrap()));
    let mut device = net.enrol("a");
    let (first, second) = (device.measure(), device.measure());
    net.taken(&first).await;
    let fork = device.seal_at(0, B256::ZERO, &[reading("1", NOW)]);
    let stray = device.seal_at(1, fork.hash(), &[reading("1", NOW)]);
    for batch in [&fork, &stray] {
        assert_eq!(net.refused(batch.as_bytes()).await.code, RefusalCode::Fork);
    }
    net.taken(&second).await;
    net.refused(b"noise").await;
    let verifier = depin_data::evidence::ForkVerifier::new(&network(), &[device.key()]);
    for (position, rival, at) in [(0, &fork, 0), (1, &stray, 0)] {
        let evidence = net.ingest.fork(position).await.unwrap();
        assert_eq!(evidence, depin_data::evidence::Fork::new(first.clone(), rival.clone()));
        let proof = depin_core::Unverified::new(evidence).verify(&verifier).unwrap();
        assert_eq!((proof.device.clone(), proof.position), (device.did.clone(), Sequence::new(at)));
    }
    assert_eq!(net.ingest.fork(2).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(net.ingest.fork(3).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_moments_of_the_log_do_not_run_backwards_for_a_replay() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = Device::new("late", Algorithm::EdDsa);
    let batch: SignedBatch = device.measure();
    net.refused(batch.as_bytes()).await;
    net.clock.advance(Duration::from_secs(100));
    net.registry.add(&device);
    net.ingest.replay(0).await.unwrap();
    let received: Timestamp = net.ingest.log().read(0, 1).await.unwrap()[0].received;
    assert_eq!(received, NOW.plus(Duration::from_secs(100)));
}

#[tokio::test]
async fn letters_are_kept_for_a_while_and_so_many() {
    let net = Net::over(Arc::new(RedbLog::open_in_memory().unwrap()));
    for n in 0..6_u64 {
        net.clock.set(NOW.plus(Duration::from_secs(n)));
        net.refused(format!("noise {n}").as_bytes()).await;
    }
    let kept = async |most, seconds| {
        let since = NOW.plus(Duration::from_secs(seconds));
        net.ingest.forget_dead_letters(most, since).await.unwrap()
    };
    assert_eq!(kept(100, 0).await, 0..6, "all are young and few");
    assert_eq!(kept(100, 2).await, 2..6, "two are too old");
    assert_eq!(kept(3, 0).await, 3..6, "one is too many");
    let page = net.ingest.dead_letters(&Letters::default(), 0, 99).await.unwrap();
    let positions: Vec<_> = page.letters.iter().map(|letter| letter.position).collect();
    assert_eq!(positions, [3, 4, 5], "the others keep their positions");
    let gone = net.ingest.dead_letter(2).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert_eq!(kept(0, 0).await, 6..6);
    net.refused(b"more noise").await;
    assert_eq!(net.ingest.dead_letter(6).await.unwrap().refused.bytes.to_vec(), b"more noise");
}

#[tokio::test]
async fn a_chain_that_was_refused_in_disorder_is_replayed_in_order_across_pages() {
    for (limit, shift) in [(1, 0), (1, 3), (2, 1), (3, 5), (5, 2), (64, 4)] {
        let net = Net::over(Arc::new(RedbLog::open_in_memory().unwrap()));
        let mut devices = ["a", "b"].map(|name| Device::new(name, Algorithm::EdDsa));
        let mut batches: Vec<_> =
            (0..5).flat_map(|_| devices.each_mut().map(Device::measure)).collect();
        batches.reverse();
        batches.rotate_left(shift);
        batches.swap(0, 6);
        for batch in &batches {
            net.refused(batch.as_bytes()).await;
        }
        devices.iter().for_each(|device| net.registry.add(device));
        let (mut next, mut taken) = (Some(0), BTreeSet::new());
        while let Some(from) = next {
            let replays = net.ingest.replay_all(&Letters::default(), from, limit).await.unwrap();
            for (position, answer) in replays.answers {
                assert!(matches!(answer, Answer::Receipt(_)), "{limit} {shift}: {answer:?}");
                assert!(taken.insert(position), "letter {position} was answered twice");
            }
            next = replays.next;
        }
        assert_eq!((taken.len(), size(&net).await), (10, 10));
        assert_eq!(
            net.ingest.log().refusal_range().await.unwrap(),
            0..10,
            "no fork, no new letter"
        );
    }
}
