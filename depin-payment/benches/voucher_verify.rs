//! A voucher verified in full, from its bytes on, beside nothing but the recovery of its signer.
//!
//! In full: read, hash channel, lane and EIP-712 message, recover, compare the signer, and admit it into the lane.
//! Both run on one thread with the same library, in turns, so that a busy machine slows both. Fails below the limit.

use std::{collections::HashMap, hint::black_box, process::ExitCode, time::Duration};

use alloy_primitives::Signature;
use depin_core::{Address, Algorithm, Amount, B256, Bytes, ChainId, Signer, SoftwareKey};
use depin_payment::{
    channel::{Lane, SignedVoucher, Terms, domain},
    typed::Domain,
};
use depin_testkit::bench::{Row, best_of};

const VOUCHERS: u64 = 1_000;
const ROUNDS: usize = 15;
const LIMIT: f64 = 0.90;

fn main() -> ExitCode {
    let domain = domain(ChainId::new(4_690), Address::repeat_byte(4));
    let vouchers: Vec<_> = (1..=VOUCHERS).map(|n| voucher(&domain, n)).collect();
    let digests: Vec<_> = vouchers.iter().map(|bytes| bare(&domain, bytes)).collect();
    let (mut full, mut recovery) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        full = full.min(best_of(1, || accept(&domain, &vouchers)));
        recovery = recovery.min(best_of(1, || recover_all(&digests)));
    }
    let rate = |time: Duration| VOUCHERS as f64 / time.as_secs_f64();
    let ratio = rate(full) / rate(recovery);
    let against = format!("bare recovery, {:.0}/s; limit of {LIMIT}", rate(recovery));
    Row::new("voucher_verify", rate(full), "vouchers/s", against, ratio).report();
    if ratio >= LIMIT { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// As a payee without a disk: everything but the durable write.
fn accept(domain: &Domain, vouchers: &[Bytes]) {
    let mut lanes = HashMap::<B256, Lane>::new();
    for bytes in vouchers {
        let voucher = SignedVoucher::decode(bytes).expect("a voucher");
        voucher.verify(domain).expect("it holds");
        let lane = lanes.entry(voucher.terms.lane_id(voucher.lane)).or_default();
        black_box(lane.admit(voucher.cumulative, Amount::from(7)).expect("it pays"));
    }
}

/// Nothing but what the library of curves does, with signatures that are read already.
fn recover_all(digests: &[(B256, Signature)]) {
    for (digest, signature) in digests {
        black_box(signature.recover_address_from_prehash(digest).expect("a signature"));
    }
}

fn voucher(domain: &Domain, n: u64) -> Bytes {
    let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
    let signer = key.public_key().to_address().expect("an address");
    let [payee, token] = [2, 3].map(Address::repeat_byte);
    let terms = Terms { payer: signer, payee, token, signer, challenge: 3_600, salt: B256::ZERO };
    // The costliest case: a lane beside the first, whose id is hashed too.
    SignedVoucher::sign(domain, terms, 1, Amount::from(n * 7), &key).expect("signed").encode()
}

fn bare(domain: &Domain, bytes: &Bytes) -> (B256, Signature) {
    let voucher = SignedVoucher::decode(bytes).expect("a voucher");
    let signature = Signature::from_raw(&voucher.signature).expect("a signature");
    (voucher.digest(domain), signature)
}
