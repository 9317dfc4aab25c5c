//! What a purse signs when strangers ask for money.

use std::{sync::Arc, time::Duration};

use depin_core::{Address, ChainId, ErrorKind, ManualClock, Timestamp, U256};
use depin_payment::x402::{
    Allowance, ExactPayment, ExactTerms, PaymentRequired, Policy, Purse, Refusal,
};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{PAYEE, payer, units};

const TOKEN: Address = Address::repeat_byte(0x70);
const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn offer(amount: &str) -> Value {
    json!({
        "scheme": "exact", "network": "eip155:4690", "amount": amount, "asset": TOKEN,
        "payTo": PAYEE, "maxTimeoutSeconds": 100_000, "extra": { "name": "T", "version": "1" },
    })
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut offer = offer("10");
    change(&mut offer);
    offer
}

fn required(accepts: &[Value]) -> PaymentRequired {
    let message = json!({ "x402Version": 2, "resource": { "url": "/" }, "accepts": accepts });
    PaymentRequired::from_json(message.to_string().as_bytes()).unwrap()
}

fn policy() -> Policy {
    let chain = ChainId::new(4690);
    Policy::default().allow(Allowance { chain, asset: TOKEN, each: units(10), total: units(25) })
}

fn purse(policy: Policy) -> Purse {
    Purse::new(payer(), policy, Arc::new(ManualClock::at(NOW))).unwrap()
}

fn refusal(purse: &Purse, accepts: &[Value]) -> ErrorKind {
    let rng = &mut StdRng::seed_from_u64(1);
    purse.pay(&required(accepts), rng).unwrap_err().kind()
}

#[test]
fn nothing_is_signed_that_the_policy_does_not_name() {
    assert_eq!(refusal(&purse(Policy::default()), &[offer("10")]), ErrorKind::Rejected);
    let purse = purse(policy().only_to([PAYEE]));
    let other = json!(Address::repeat_byte(9));
    for (accepts, expected) in [
        (with(|offer| offer["asset"] = other.clone()), ErrorKind::Rejected),
        (with(|offer| offer["payTo"] = other.clone()), ErrorKind::Rejected),
        (with(|offer| offer["network"] = json!("eip155:1")), ErrorKind::Rejected),
        (with(|offer| offer["network"] = json!("solana:x")), ErrorKind::Unsupported),
        (with(|offer| offer["scheme"] = json!("upto")), ErrorKind::Unsupported),
        (with(|offer| offer["amount"] = json!("11")), ErrorKind::Limit),
        (with(|offer| offer["amount"] = json!(U256::MAX.to_string())), ErrorKind::Limit),
        (with(|offer| offer["amount"] = json!("-1")), ErrorKind::Malformed),
    ] {
        assert_eq!(refusal(&purse, std::slice::from_ref(&accepts)), expected, "{accepts}");
    }
    assert_eq!(purse.spent(ChainId::new(4690), TOKEN), units(0));
}

#[test]
fn the_first_offer_that_is_allowed_is_paid_and_counted() {
    let (purse, rng) = (purse(policy()), &mut StdRng::seed_from_u64(1));
    let solana = with(|offer| offer["network"] = json!("solana:x"));
    let asked = required(&[solana, offer("11"), offer("9"), offer("1")]);
    for spent in [9, 18] {
        assert_eq!(purse.pay(&asked, rng).unwrap().accepted.amount, "9");
        assert_eq!(purse.spent(ChainId::new(4690), TOKEN), units(spent));
    }
    // Nine more would be too much, one is not.
    assert_eq!(purse.pay(&asked, rng).unwrap().accepted.amount, "1");
    assert_eq!(refusal(&purse, &[offer("9")]), ErrorKind::Limit);
}

#[test]
fn no_signature_is_valid_for_longer_than_the_policy_says_however_long_a_server_asks() {
    let purse = purse(policy().longest(Duration::from_secs(30)));
    let asked = required(&[offer("10")]);
    let first = purse.pay(&asked, &mut StdRng::seed_from_u64(1)).unwrap();
    let second = purse.pay(&asked, &mut StdRng::seed_from_u64(2)).unwrap();
    let terms = ExactTerms::parse(&first.accepted).unwrap();
    let [first, second] = [first, second].map(|payload| ExactPayment::parse(&payload).unwrap());
    assert_ne!(first.authorization().nonce, second.authorization().nonce);
    assert_eq!(first.authorization().valid_before, U256::from(1_000_030));
    assert_eq!(first.check(&terms, NOW), Ok(()));
    assert_eq!(first.check(&terms, NOW.plus(Duration::from_secs(30))), Err(Refusal::Expired));
}
