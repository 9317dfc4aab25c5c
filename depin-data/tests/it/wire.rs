//! Requests and answers through a broker: one encoding each, and no way to forge an answer.

use std::sync::Arc;

use depin_core::{
    Algorithm, B256, NetworkId, Sequence, SignedBatch, Signer, SoftwareKey,
    envelope::{Envelope, Purpose},
    log::ChainTip,
    transport::{Answer, Refusal, RefusalCode, Standing},
};
use depin_data::{
    batch::claimed_signer,
    log::MemoryLog,
    receipt::{HeadSigner, ReceiptVerifier},
    wire::{
        MAX_ANSWER, MAX_QUESTION, MAX_REQUEST, Nonce, Question, Reply, WireError, decode_request,
        device_tag, encode_answer, encode_request, encode_standing, question,
    },
};
use proptest::prelude::*;

use crate::support::{Device, Net, network};

const NONCE: Nonce = Nonce::from_bytes([7; 16]);

fn log_of(seed: u8, network: &NetworkId) -> (HeadSigner, ReceiptVerifier) {
    let key = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [seed; 32]));
    let receipts = ReceiptVerifier::new(network, key.public_key());
    (HeadSigner::new(network, key, "did:example:log".parse().unwrap()), receipts)
}

fn refusal(batch: &SignedBatch, detail: &str) -> Answer {
    let device = Some("did:example:a".parse().unwrap());
    let (code, detail) = (RefusalCode::ClockAhead, detail.into());
    Answer::Refusal(Refusal { code, detail, batch: batch.hash(), device })
}

#[test]
fn a_refusal_counts_for_one_request_of_one_network_by_one_key() {
    let (log, receipts) = log_of(1, &network());
    let batch = SignedBatch::new(b"batch".as_slice());
    let answer = refusal(&batch, "set the clock");
    let bytes = encode_answer(&answer, &NONCE, &log).unwrap();
    let parse = |bytes: &[u8]| Reply::parse(bytes, &network()).map(|reply| reply.batch());
    assert_eq!(parse(&bytes), Ok(batch.hash()));
    let open = |bytes: &[u8], batch: &SignedBatch, nonce: &Nonce| {
        Reply::parse(bytes, &network()).unwrap().open(&receipts, batch, nonce)
    };
    assert_eq!(open(&bytes, &batch, &NONCE), Ok(answer.clone()));

    let later = Nonce::from_bytes([8; 16]);
    assert_eq!(open(&bytes, &batch, &later), Err(WireError::Other("request")));
    let other = SignedBatch::new(b"other".as_slice());
    assert_eq!(open(&bytes, &other, &NONCE), Err(WireError::Other("batch")));
    let (thief, _) = log_of(2, &network());
    let forged = encode_answer(&answer, &NONCE, &thief).unwrap();
    assert!(matches!(open(&forged, &batch, &NONCE), Err(WireError::Refusal(_))));
    let mut flipped = bytes;
    *flipped.last_mut().unwrap() ^= 1;
    assert!(matches!(open(&flipped, &batch, &NONCE), Err(WireError::Refusal(_))));

    let (elsewhere, _) = log_of(1, &NetworkId::parse("drive").unwrap());
    let foreign = encode_answer(&answer, &NONCE, &elsewhere).unwrap();
    assert!(matches!(parse(&foreign), Err(WireError::Refusal(_))));
}

#[test]
fn a_standing_counts_for_one_question_of_one_device_on_one_network_by_one_key() {
    let (log, receipts) = log_of(1, &network());
    let (device, twin) = (Device::new("a", Algorithm::EdDsa), Device::new("b", Algorithm::EdDsa));
    let ask = |device: &Device, nonce| question(&*device.key, &device.did, &network(), nonce);
    let asked = ask(&device, &NONCE).unwrap();
    let tip = ChainTip { sequence: Sequence::new(41), hash: B256::repeat_byte(9) };
    let standing = Standing::Tip(Some(tip));
    let sign = |log: &HeadSigner, about: &SignedBatch, nonce: &Nonce| {
        encode_standing(&standing, about.hash(), nonce, log).unwrap()
    };
    let open = |bytes: &[u8]| {
        let reply = Reply::parse(bytes, &network())?;
        reply.open_standing(&receipts, &asked, &NONCE)
    };
    let good = sign(&log, &asked, &NONCE);
    assert_eq!(open(&good), Ok(standing.clone()));

    let later = Nonce::from_bytes([8; 16]);
    assert_eq!(open(&sign(&log, &asked, &later)), Err(WireError::Other("request")));
    // The question before, with a nonce that came back; and that of a twin.
    let before = ask(&device, &later).unwrap();
    assert_eq!(open(&sign(&log, &before, &NONCE)), Err(WireError::Other("batch")));
    let of_twin = ask(&twin, &NONCE).unwrap();
    assert_eq!(open(&sign(&log, &of_twin, &NONCE)), Err(WireError::Other("batch")));
    let (thief, _) = log_of(2, &network());
    assert!(matches!(open(&sign(&thief, &asked, &NONCE)), Err(WireError::Standing(_))));
    let (elsewhere, _) = log_of(1, &NetworkId::parse("drive").unwrap());
    assert!(matches!(open(&sign(&elsewhere, &asked, &NONCE)), Err(WireError::Refusal(_))));
    for at in 0..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        assert!(open(&flipped).is_err(), "byte {at}");
    }
    // Neither counts for the other: what is said to a batch, and what is said to a question.
    let reply = Reply::parse(&good, &network()).unwrap();
    let kind = Err(WireError::Other("kind of request"));
    assert_eq!(reply.open(&receipts, &asked, &NONCE), kind);
    // A refusal is an answer to both.
    let refused = encode_answer(&refusal(&asked, "suspended"), &NONCE, &log).unwrap();
    assert!(matches!(open(&refused), Ok(Standing::Refusal(_))));
}

#[test]
fn a_question_is_signed_by_the_device_for_one_network_and_is_never_a_batch() {
    let (device, twin) = (Device::new("a", Algorithm::Es256), Device::new("b", Algorithm::Es256));
    let asked = question(&*device.key, &device.did, &network(), &NONCE).unwrap();
    let parsed = Question::parse(asked.as_bytes(), &network()).unwrap();
    assert_eq!((parsed.device(), parsed.nonce()), (&device.did, &NONCE));
    assert_eq!(parsed.verify(&device.key()), Ok(()));
    assert!(matches!(parsed.verify(&twin.key()), Err(WireError::Question(_))));
    let elsewhere = NetworkId::parse("drive").unwrap();
    let foreign = Question::parse(asked.as_bytes(), &elsewhere);
    assert!(matches!(foreign, Err(WireError::Question(_))));
    assert!(claimed_signer(asked.as_bytes(), &network()).is_err());
    let batch = Device::new("a", Algorithm::Es256).measure();
    assert!(Question::parse(batch.as_bytes(), &network()).is_err());

    let long = format!("did:example:{}", "a".repeat(500)).parse().unwrap();
    let network = NetworkId::parse(&"n".repeat(NetworkId::MAX_LEN)).unwrap();
    let longest = question(&*device.key, &long, &network, &NONCE).unwrap();
    assert!(
        longest.as_bytes().len() <= MAX_QUESTION
            && Question::parse(longest.as_bytes(), &network).is_ok()
    );
}

#[test]
fn nothing_else_that_the_log_signs_is_a_refusal() {
    let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
    let did = "did:example:log".parse().unwrap();
    let seal =
        |purpose, payload: &[u8]| Envelope::seal(&key, &did, &network(), purpose, payload).unwrap();
    let nonsense = seal(Purpose::new("refusal", 1), &[0xa0]);
    let nowhere = seal(Purpose::new("standing", 1), &[0xa0]);
    let head = seal(Purpose::new("tree-head", 1), &[0xa0]);
    for bytes in [head, nonsense, nowhere, vec![], vec![0xa6; 9]] {
        assert!(Reply::parse(&bytes, &network()).is_err());
    }
}

#[tokio::test]
async fn a_receipt_passes_through_and_proves_its_batch_only() {
    let net = Net::over(Arc::new(MemoryLog::new()));
    let mut device = net.enrol("a");
    let (batch, next) = (device.measure(), device.measure());
    let receipt = net.taken(&batch).await;
    let answer = Answer::Receipt(receipt);
    let bytes = encode_answer(&answer, &NONCE, net.ingest.signer()).unwrap();
    let reply = Reply::parse(&bytes, &network()).unwrap();
    assert_eq!(reply.batch(), batch.hash());
    assert!(matches!(reply.clone().open(&net.receipts, &next, &NONCE), Err(WireError::Receipt(_))));
    // It is no secret and never old: whoever repeats it does no harm.
    assert_eq!(reply.open(&net.receipts, &batch, &Nonce::default()), Ok(answer));
}

#[test]
fn long_words_are_cut_and_long_messages_refused() {
    let (log, receipts) = log_of(1, &network());
    let batch = SignedBatch::new(b"batch".as_slice());
    let bytes = encode_answer(&refusal(&batch, &"ä".repeat(5000)), &NONCE, &log).unwrap();
    assert!(bytes.len() <= MAX_ANSWER);
    let reply = Reply::parse(&bytes, &network()).unwrap();
    let Ok(Answer::Refusal(cut)) = reply.open(&receipts, &batch, &NONCE) else { panic!("opens") };
    assert_eq!(cut.detail, "ä".repeat(512));

    let fits = SignedBatch::new(vec![1; MAX_REQUEST - 23]);
    let request = encode_request(&NONCE, &fits).unwrap();
    assert_eq!(request.len(), MAX_REQUEST);
    assert_eq!(decode_request(&request), Ok((NONCE, fits.as_bytes())));
    let large = SignedBatch::new(vec![1; MAX_REQUEST]);
    assert!(encode_request(&NONCE, &large).is_err());
    assert!(decode_request(&vec![0x82; MAX_REQUEST + 1]).is_err());
    assert!(Reply::parse(&vec![0xa6; MAX_ANSWER + 1], &network()).is_err());
}

#[test]
fn the_tag_of_a_device_means_nothing_to_a_broker() {
    // SHA-256 of "depin-tag-v1", a zero byte and the DID.
    let did = Device::new("a", Algorithm::EdDsa).did;
    assert_eq!(device_tag(&did), "329d8316dfa646a31a2a93421a8adbcc");
    let other = "did:web:example.com:a%2F%23".parse().unwrap();
    assert!(device_tag(&other).chars().all(|c| c.is_ascii_hexdigit() && !c.is_uppercase()));
    assert_ne!(device_tag(&did), device_tag(&other));
}

proptest! {
    #[test]
    fn random_bytes_are_no_message(bytes: Vec<u8>) {
        let _ = decode_request(&bytes);
        let _ = Reply::parse(&bytes, &network());
        let _ = Question::parse(&bytes, &network());
    }

    #[test]
    fn questions_and_standings_have_one_encoding_and_no_shorter_one(
        nonce: [u8; 16], hash: [u8; 32], sequence: u64, blank: bool,
    ) {
        let (log, receipts) = log_of(1, &network());
        let (device, nonce) = (Device::new("a", Algorithm::EdDsa), Nonce::from_bytes(nonce));
        let asked = question(&*device.key, &device.did, &network(), &nonce).unwrap();
        let parsed = Question::parse(asked.as_bytes(), &network()).unwrap();
        prop_assert_eq!(parsed.nonce(), &nonce);
        let tip = ChainTip { sequence: Sequence::new(sequence), hash: B256::from(hash) };
        let standing = Standing::Tip((!blank).then_some(tip));
        let bytes = encode_standing(&standing, asked.hash(), &nonce, &log).unwrap();
        let reply = Reply::parse(&bytes, &network()).unwrap();
        prop_assert_eq!(reply.open_standing(&receipts, &asked, &nonce), Ok(standing));
        for length in 0..asked.as_bytes().len() {
            prop_assert!(Question::parse(&asked.as_bytes()[..length], &network()).is_err());
        }
        for length in 0..bytes.len() {
            prop_assert!(Reply::parse(&bytes[..length], &network()).is_err());
        }
    }

    #[test]
    fn requests_have_one_encoding_and_no_shorter_one(nonce: [u8; 16], batch: Vec<u8>) {
        let (nonce, batch) = (Nonce::from_bytes(nonce), SignedBatch::new(batch));
        let bytes = encode_request(&nonce, &batch).unwrap();
        prop_assert_eq!(decode_request(&bytes), Ok((nonce, batch.as_bytes())));
        for length in 0..bytes.len() {
            prop_assert!(decode_request(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn refusals_have_one_encoding_and_no_shorter_one(
        nonce: [u8; 16], hash: [u8; 32], code in 0..RefusalCode::ALL.len(), detail in ".{0,40}",
    ) {
        let (log, _) = log_of(1, &network());
        let nonce = Nonce::from_bytes(nonce);
        let batch = B256::from(hash);
        let refusal = Refusal { code: RefusalCode::ALL[code], detail, batch, device: None };
        let bytes = encode_answer(&Answer::Refusal(refusal), &nonce, &log).unwrap();
        prop_assert_eq!(Reply::parse(&bytes, &network()).map(|reply| reply.batch()), Ok(batch));
        for length in 0..bytes.len() {
            prop_assert!(Reply::parse(&bytes[..length], &network()).is_err());
        }
    }
}
