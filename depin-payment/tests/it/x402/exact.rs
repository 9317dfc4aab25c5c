//! What a signature over a transfer is worth.

use depin_core::{Amount, B256, ChainId, Timestamp, U256};
use depin_payment::x402::{
    Authorization, ExactPayment, ExactTerms, PaymentPayload, Refusal, TokenDomain,
};
use serde_json::{Value, json};

use crate::vectors;

/// The payment that the specification prints, as a message.
fn printed(case: &Value) -> Value {
    let (domain, authorization) = (&case["domain"], &case["authorization"]);
    json!({
        "x402Version": 2,
        "accepted": {
            "scheme": "exact",
            "network": format!("eip155:{}", domain["chainId"]),
            "amount": authorization["value"],
            "asset": domain["verifyingContract"],
            "payTo": authorization["to"],
            "maxTimeoutSeconds": 60,
            "extra": { "name": domain["name"], "version": domain["version"] },
        },
        "payload": { "signature": case["signature"], "authorization": authorization },
    })
}

fn parse(message: &Value) -> (ExactTerms, ExactPayment) {
    let payload = PaymentPayload::from_json(message.to_string().as_bytes()).unwrap();
    (ExactTerms::parse(&payload.accepted).unwrap(), ExactPayment::parse(&payload).unwrap())
}

/// Within the window of the printed payment.
const THEN: Timestamp = Timestamp::from_secs(1_740_672_100);

#[test]
fn the_payment_that_the_specification_prints_is_valid() {
    let Some(answers) = vectors("eip712.json") else { return };
    let case = &answers["x402_spec_example"];
    let (terms, payment) = parse(&printed(case));
    let digest = payment.authorization().digest(&terms.domain, terms.chain, terms.asset);
    assert_eq!(digest.to_string(), case["digest"].as_str().unwrap());
    payment.check(&terms, THEN).unwrap();
}

#[test]
fn nothing_of_a_signed_payment_can_be_changed() {
    let Some(answers) = vectors("eip712.json") else { return };
    let message = printed(&answers["x402_spec_example"]);
    let other = "0x1111111111111111111111111111111111111111";
    let word = B256::repeat_byte(1).to_string();
    for (field, value) in [
        ("from", other),
        ("to", other),
        ("value", "10001"),
        ("validAfter", "1740672088"),
        ("validBefore", "1740672155"),
        ("nonce", word.as_str()),
    ] {
        let mut changed = message.clone();
        changed["payload"]["authorization"][field] = json!(value);
        let (terms, payment) = parse(&changed);
        assert_eq!(payment.check(&terms, THEN), Err(Refusal::Signature), "{field}");
    }
    for (field, value) in [("network", "eip155:8453"), ("asset", other)] {
        let mut changed = message.clone();
        changed["accepted"][field] = json!(value);
        let (terms, payment) = parse(&changed);
        assert_eq!(payment.check(&terms, THEN), Err(Refusal::Signature), "{field}");
    }
    for (field, value) in [("name", "USD Coin"), ("version", "1")] {
        let mut changed = message.clone();
        changed["accepted"]["extra"][field] = json!(value);
        let (terms, payment) = parse(&changed);
        assert_eq!(payment.check(&terms, THEN), Err(Refusal::Signature), "{field}");
    }
}

#[test]
fn the_other_signature_that_the_curve_allows_is_refused() {
    let Some(answers) = vectors("eip712.json") else { return };
    let mut message = printed(&answers["x402_spec_example"]);
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let order = U256::from_str_radix(order, 16).unwrap();
    let signature = message["payload"]["signature"].as_str().unwrap().to_owned();
    let low = U256::from_str_radix(&signature[66..130], 16).unwrap();
    let parity = if signature.ends_with("1c") { "1b" } else { "1c" };
    let high = format!("{}{:064x}{parity}", &signature[..66], order - low);
    message["payload"]["signature"] = json!(high);
    let (terms, payment) = parse(&message);
    assert_eq!(payment.check(&terms, THEN), Err(Refusal::Signature));
}

#[test]
fn amount_payee_and_time_are_exact() {
    let terms = |amount: u64, payee: u8| {
        let text = json!({
            "scheme": "exact", "network": "eip155:1", "amount": amount.to_string(),
            "asset": format!("0x{}", "aa".repeat(20)), "maxTimeoutSeconds": 60,
            "payTo": format!("0x{}", format!("{payee:02x}").repeat(20)),
            "extra": { "name": "T", "version": "1" },
        });
        ExactTerms::parse(&serde_json::from_value(text).unwrap()).unwrap()
    };
    let asked = terms(10, 1);
    assert_eq!(asked.domain, TokenDomain { name: "T".into(), version: "1".into() });
    assert_eq!(asked.chain, ChainId::new(1));
    let at = Timestamp::from_secs;
    let from = super::account_of(&super::payer());
    let mut authorization = Authorization::new(&asked, from, at(1_000), B256::ZERO);
    authorization.valid_after = U256::from(900);
    let payment = authorization.sign(&asked, &*super::payer()).unwrap();

    assert_eq!(payment.check(&asked, at(950)), Ok(()));
    assert_eq!(payment.check(&terms(9, 1), at(950)), Err(Refusal::Amount));
    assert_eq!(payment.check(&terms(11, 1), at(950)), Err(Refusal::Amount));
    assert_eq!(payment.check(&terms(10, 2), at(950)), Err(Refusal::Recipient));
    assert_eq!(payment.check(&asked, at(900)), Err(Refusal::NotYetValid));
    assert_eq!(payment.check(&asked, at(995)), Err(Refusal::Expired));
    assert_eq!(payment.check(&asked, at(u64::MAX / 1_000)), Err(Refusal::Expired));
    assert_eq!(payment.authorization().value, Amount::from(10));
}
