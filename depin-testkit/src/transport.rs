//! Conformance of [`Transport`].

use std::time::Duration;

use depin_core::{
    Algorithm, Did, ErrorKind, SignedBatch, Signer, SoftwareKey,
    log::ChainTip,
    transport::{Answer, RefusalCode, Standing, Transport},
};

/// Longest that a call may take in the suite: far above any timeout that makes sense.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the clauses that show while ingest answers.
///
/// `fresh` makes a batch of `device` that the ingest behind the transport takes, a new one each time. The batches
/// made must be a chain from its first on, and the key of `signer` that of the device.
///
/// # Panics
/// When a clause does not hold.
pub async fn conforms(
    transport: &dyn Transport,
    device: &Did,
    signer: &dyn Signer,
    mut fresh: impl FnMut() -> SignedBatch,
) {
    assert_eq!(tip(transport, device, signer).await, None, "clause 5: nothing was sent");
    let (first, second) = (fresh(), fresh());
    for batch in [&first, &second] {
        let Answer::Receipt(receipt) = send(transport, batch).await else {
            panic!("clause 1: a good batch arrives unchanged and is taken");
        };
        assert_eq!(
            receipt.batch,
            batch.hash(),
            "clause 2: the answer is for the batch that was sent"
        );
        assert!(receipt.index < receipt.tree_size, "clause 2: the receipt is that of ingest");
    }
    let Answer::Receipt(again) = send(transport, &first).await else {
        panic!("clause 3: sending again is safe");
    };
    assert_eq!(again.batch, first.hash(), "clause 3: and brings the same batch's receipt");

    for damage in damaged(&second) {
        let Answer::Refusal(refusal) = send(transport, &damage).await else {
            panic!("clause 1: damaged bytes arrive as they are, and are refused");
        };
        assert_eq!(refusal.batch, damage.hash(), "clause 1: the bytes arrived unchanged");
    }
    tells_where_a_chain_stands(transport, device, signer, &second).await;
}

/// Clause 5, after `last` was stored.
async fn tells_where_a_chain_stands(
    transport: &dyn Transport,
    device: &Did,
    signer: &dyn Signer,
    last: &SignedBatch,
) {
    let told = tip(transport, device, signer).await;
    assert_eq!(told.map(|tip| tip.hash), Some(last.hash()), "clause 5: all that was stored counts");
    assert_eq!(told.map(|tip| tip.sequence.value()), Some(1), "clause 5: and is counted");
    let stranger = SoftwareKey::from_seed(Algorithm::EdDsa, [0xee; 32]);
    match standing(transport, device, &stranger).await {
        Standing::Refusal(refusal) => assert_eq!(refusal.code, RefusalCode::BadSignature),
        tip => panic!("clause 5: a stranger was told {tip:?}"),
    }
}

async fn tip(transport: &dyn Transport, device: &Did, signer: &dyn Signer) -> Option<ChainTip> {
    match standing(transport, device, signer).await {
        Standing::Tip(tip) => tip,
        Standing::Refusal(refusal) => panic!("clause 5: the device was refused: {refusal:?}"),
    }
}

async fn standing(transport: &dyn Transport, device: &Did, signer: &dyn Signer) -> Standing {
    let standing = tokio::time::timeout(PATIENCE, transport.standing(device, signer)).await;
    standing.expect("clause 4: the call ends in bounded time").expect("ingest answers")
}

/// Clauses 2 to 5 when nobody answers what a device asks: an error that says "unknown", in bounded time.
///
/// # Panics
/// When a clause does not hold.
pub async fn tells_nothing_without_ingest(
    transport: &dyn Transport,
    device: &Did,
    signer: &dyn Signer,
) {
    let standing = tokio::time::timeout(PATIENCE, transport.standing(device, signer)).await;
    let standing = standing.expect("clause 4: the call ends in bounded time");
    let error = standing.expect_err("clauses 2 and 5: no answer is never an answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "clause 3: the device asks again");
}

/// Clauses 2 to 4 when nobody answers: an error that says "unknown", in bounded time.
///
/// # Panics
/// When a clause does not hold.
pub async fn fails_without_ingest(transport: &dyn Transport, batch: &SignedBatch) {
    let answer = tokio::time::timeout(PATIENCE, transport.send(batch)).await;
    let answer = answer.expect("clause 4: the call ends in bounded time");
    let error = answer.expect_err("clause 2: no answer is never an answer");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "clause 3: the batch is kept and sent again");
}

async fn send(transport: &dyn Transport, batch: &SignedBatch) -> Answer {
    let answer = tokio::time::timeout(PATIENCE, transport.send(batch)).await;
    answer.expect("clause 4: the call ends in bounded time").expect("ingest answers")
}

/// One bit flipped at the end, half of the batch, and nothing.
fn damaged(batch: &SignedBatch) -> [SignedBatch; 3] {
    let bytes = batch.as_bytes();
    let mut flipped = bytes.to_vec();
    flipped.last_mut().into_iter().for_each(|last| *last ^= 1);
    [flipped, bytes[..bytes.len() / 2].to_vec(), Vec::new()].map(SignedBatch::new)
}
