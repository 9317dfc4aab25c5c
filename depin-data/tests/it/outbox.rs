//! The device's side: nothing is forgotten before it is proven to be stored.

use std::sync::Arc;

use depin_core::{
    Algorithm, B256, ErrorKind, Sequence, SignedBatch, Signer, Unverified,
    log::ChainTip,
    transport::{Answer, RefusalCode, Transport},
};
use depin_data::{batch::BatchVerifier, log::MemoryLog, outbox::Outbox, transport::InProcess};

use crate::support::{Device, NOW, Net, network, reading};

fn outbox(net: &Net, device: &Device) -> Outbox {
    Outbox::new(&network(), &device.did, net.receipts.clone())
}

fn kept(outbox: &Outbox) -> Vec<SignedBatch> {
    outbox.pending().cloned().collect()
}

#[tokio::test]
async fn a_batch_is_kept_until_its_receipt_holds() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut outbox = outbox(&net, &device);
    let first = outbox.push(&*device.key, &[reading("1", NOW)]).unwrap();
    let second = outbox.push(&*device.key, &[reading("2", NOW)]).unwrap();
    let receipt = net.taken(&first).await;

    let mut forged = receipt.clone();
    forged.root = B256::ZERO;
    assert_eq!(outbox.acknowledge(&forged).unwrap_err().kind(), ErrorKind::Rejected);
    forged.batch = second.hash();
    assert!(outbox.acknowledge(&forged).is_err());
    assert_eq!(outbox.pending().count(), 2);

    outbox.acknowledge(&receipt).unwrap();
    assert_eq!(kept(&outbox), std::slice::from_ref(&second));
    assert_eq!(outbox.acknowledge(&receipt).unwrap_err().kind(), ErrorKind::NotFound);
    outbox.acknowledge(&net.taken(&second).await).unwrap();
    assert_eq!(outbox.pending().count(), 0);
    assert_eq!(outbox.tip(), net.ingest.log().tip(&device.did).await.unwrap());
}

#[tokio::test]
async fn a_full_outbox_says_so_and_keeps_what_it_has() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut outbox = outbox(&net, &device).capacity(2);
    for value in ["1", "2"] {
        outbox.push(&*device.key, &[reading(value, NOW)]).unwrap();
    }
    let error = outbox.push(&*device.key, &[reading("3", NOW)]).unwrap_err();
    assert_eq!((error.kind(), outbox.pending().count()), (ErrorKind::Limit, 2));
    assert_eq!(outbox.tip().unwrap().sequence, Sequence::new(1));
}

#[tokio::test]
async fn a_device_resumes_where_it_was() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut before = outbox(&net, &device);
    for value in ["1", "2", "3"] {
        before.push(&*device.key, &[reading(value, NOW)]).unwrap();
    }
    let pending = kept(&before);
    // The log took two; the receipt of the second was lost on the way.
    net.taken(&pending[0]).await;
    net.taken(&pending[1]).await;
    let tip = net.ingest.log().tip(&device.did).await.unwrap();

    let mut after = outbox(&net, &device);
    after.resume(tip, pending[1..].to_vec()).unwrap();
    after.push(&*device.key, &[reading("4", NOW)]).unwrap();
    let transport = InProcess::new(net.ingest.clone());
    for batch in kept(&after) {
        let Answer::Receipt(receipt) = transport.send(&batch).await.unwrap() else {
            panic!("the chain continues")
        };
        after.acknowledge(&receipt).unwrap();
    }
    assert_eq!(net.ingest.log().head().await.unwrap().size, 4);
}

#[tokio::test]
async fn kept_batches_that_do_not_fit_are_refused() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let (mut device, mut other) = (net.enrol("a"), net.enrol("b"));
    let [first, second, third] = [device.measure(), device.measure(), device.measure()];
    let tip = |sequence, batch: &SignedBatch| {
        Some(depin_core::log::ChainTip { sequence: Sequence::new(sequence), hash: batch.hash() })
    };
    let mut outbox = outbox(&net, &device);
    for (tip, pending) in [
        (None, vec![second.clone()]),
        (None, vec![first.clone(), third.clone()]),
        (tip(0, &first), vec![third.clone()]),
        (tip(0, &second), vec![first.clone()]),
        (tip(0, &first), vec![other.measure()]),
    ] {
        let error = outbox.resume(tip, pending).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    let damaged = SignedBatch::new(first.as_bytes()[1..].to_vec());
    assert_eq!(outbox.resume(None, vec![damaged]).unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!((outbox.tip(), outbox.pending().count()), (None, 0));
    outbox.resume(tip(1, &second), vec![first, second, third.clone()]).unwrap();
    assert_eq!(outbox.tip().unwrap().hash, third.hash());
}

#[tokio::test]
async fn a_batch_refused_for_good_is_given_up_and_the_chain_goes_on() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let device = net.enrol("a");
    let mut outbox = outbox(&net, &device);
    let late = NOW.plus(core::time::Duration::from_secs(2 * 86_400));
    for at in [NOW, late, NOW] {
        outbox.push(&*device.key, &[reading("1", at)]).unwrap();
    }
    let pending = kept(&outbox);
    outbox.acknowledge(&net.taken(&pending[0]).await).unwrap();
    let refusal = net.refused(pending[1].as_bytes()).await;
    assert_eq!(refusal.code, RefusalCode::ClockAhead);

    let lost = outbox.discard(&*device.key, refusal.batch).unwrap();
    assert_eq!(lost, [reading("1", late)]);
    let pending = kept(&outbox);
    assert_eq!(pending.len(), 1);
    outbox.acknowledge(&net.taken(&pending[0]).await).unwrap();
    assert_eq!(outbox.discard(&*device.key, B256::ZERO).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn sealing_is_deterministic_where_the_signature_is() {
    let device = Device::new("a", Algorithm::EdDsa);
    let again = || device.seal_at(0, B256::ZERO, &[reading("1", NOW)]);
    assert_eq!(again(), again());
}

#[tokio::test]
async fn what_waits_is_signed_anew_with_the_next_key_and_nothing_is_lost() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let (device, next) = (net.enrol("a"), Device::new("b", Algorithm::EdDsa).key);
    let mut outbox = outbox(&net, &device);
    let stored = outbox.push(&*device.key, &[reading("1", NOW)]).unwrap();
    outbox.push(&*device.key, &[reading("2", NOW)]).unwrap();
    let tip = ChainTip { sequence: Sequence::new(0), hash: stored.hash() };
    outbox.rekey(&*next, Some(tip)).unwrap();
    let [again] = kept(&outbox).try_into().unwrap();
    let verifier = BatchVerifier::new(&network(), next.public_key());
    let again = Unverified::new(again).verify(&verifier).unwrap();
    assert_eq!((again.sequence.value(), again.previous), (1, stored.hash()));
    assert_eq!(again.readings, [reading("2", NOW)]);

    // A thief with the old key was faster: what waits goes on from his batch.
    let thief = ChainTip { sequence: Sequence::new(1), hash: B256::repeat_byte(7) };
    outbox.rekey(&*next, Some(thief)).unwrap();
    let [again] = kept(&outbox).try_into().unwrap();
    let again = Unverified::new(again).verify(&verifier).unwrap();
    assert_eq!((again.sequence.value(), again.previous), (2, thief.hash));
    assert_eq!(again.readings, [reading("2", NOW)]);
}
