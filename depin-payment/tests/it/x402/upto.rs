//! Signatures over at most so much, against one of the reference implementation.

use depin_core::{B256, ErrorKind, Timestamp, U256};
use depin_payment::x402::{PaymentPayload, PaymentRequired, Refusal, UptoPayment, UptoTerms};
use serde_json::{Value, json};

use super::{account_of, payer, units};

fn printed() -> Value {
    let answer: Value = serde_json::from_str(include_str!("../../x402/upto.json")).unwrap();
    json!({
        "x402Version": 2, "accepted": answer["accepted"], "payload": answer["payload"],
        "calldata": answer["calldata"],
    })
}

fn parse(message: &Value) -> (UptoTerms, UptoPayment) {
    let payload = PaymentPayload::from_json(message.to_string().as_bytes()).unwrap();
    (UptoTerms::parse(&payload.accepted).unwrap(), UptoPayment::parse(&payload).unwrap())
}

fn permit(message: &Value) -> (Timestamp, U256) {
    let permit = &message["payload"]["permit2Authorization"];
    let number = |name: &str| permit[name].as_str().unwrap().parse::<U256>().unwrap();
    (Timestamp::from_secs(u64::try_from(number("deadline")).unwrap()), number("nonce"))
}

#[test]
fn the_reference_implementation_signs_and_settles_as_we_do() {
    let message = printed();
    let (terms, theirs) = parse(&message);
    let (deadline, nonce) = permit(&message);
    theirs.check(&terms, deadline.minus(std::time::Duration::from_secs(60))).unwrap();
    assert_eq!(theirs.payer(), account_of(&payer()));
    assert_eq!(terms.sign(&*payer(), deadline, nonce).unwrap(), theirs);
    let call = theirs.settlement(units(2_350_000)).unwrap().to_string();
    assert_eq!(call, message["calldata"].as_str().unwrap());
    assert_eq!(theirs.settlement(units(5_000_001)).unwrap_err().kind(), ErrorKind::Limit);
    theirs.settlement(units(5_000_000)).unwrap();
}

#[test]
fn a_payment_survives_its_message() {
    let (terms, payment) = parse(&printed());
    let required = json!({
        "x402Version": 2, "resource": { "url": "/" }, "accepts": [printed()["accepted"]],
    });
    let required = PaymentRequired::from_json(required.to_string().as_bytes()).unwrap();
    let message = payment.to_message(&required, 0).unwrap();
    let read = PaymentPayload::from_header(&message.to_header()).unwrap();
    assert_eq!(UptoPayment::parse(&read).unwrap(), payment);
    assert_eq!(UptoTerms::parse(&read.accepted).unwrap(), terms);
    assert_eq!(payment.to_message(&required, 1).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn nothing_of_the_permit_can_be_changed() {
    let message = printed();
    let (terms, _) = parse(&message);
    let then = permit(&message).0.minus(std::time::Duration::from_secs(60));
    let other = "0x1111111111111111111111111111111111111111";
    for (path, value) in [
        ("from", other),
        ("permitted/token", other),
        ("permitted/amount", "5000001"),
        ("nonce", "1"),
        ("deadline", "99999999999"),
        ("witness/to", other),
        ("witness/facilitator", other),
        ("witness/validAfter", "1"),
    ] {
        let mut changed = message.clone();
        let path = format!("/payload/permit2Authorization/{path}");
        *changed.pointer_mut(&path).unwrap() = json!(value);
        assert_eq!(parse(&changed).1.check(&terms, then), Err(Refusal::Signature), "{path}");
    }
    let mut elsewhere = message.clone();
    elsewhere["accepted"]["network"] = json!("eip155:1");
    let (elsewhere, payment) = parse(&elsewhere);
    assert_eq!(payment.check(&elsewhere, then), Err(Refusal::Signature), "another chain");
    let mut spender = message;
    *spender.pointer_mut("/payload/permit2Authorization/spender").unwrap() = json!(other);
    let payload = PaymentPayload::from_json(spender.to_string().as_bytes()).unwrap();
    assert_eq!(UptoPayment::parse(&payload).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn the_permit_has_to_be_for_the_offer_and_in_time() {
    let message = printed();
    let (terms, payment) = parse(&message);
    let (deadline, _) = permit(&message);
    let then = deadline.minus(std::time::Duration::from_secs(60));
    let other = depin_core::Address::repeat_byte(9);
    let changed = |change: fn(&mut UptoTerms, depin_core::Address)| {
        let mut terms = terms.clone();
        change(&mut terms, other);
        payment.check(&terms, then)
    };
    assert_eq!(changed(|terms, _| terms.most = units(4_999_999)), Err(Refusal::Amount));
    assert_eq!(changed(|terms, other| terms.pay_to = other), Err(Refusal::Recipient));
    assert_eq!(changed(|terms, other| terms.asset = other), Err(Refusal::Offer));
    assert_eq!(changed(|terms, other| terms.facilitator = other), Err(Refusal::Facilitator));
    assert_eq!(payment.check(&terms, deadline), Err(Refusal::Expired));
    let nonce = U256::from_be_bytes(B256::repeat_byte(1).0);
    assert!(terms.sign(&*payer(), deadline, nonce).unwrap().check(&terms, then).is_ok());
}
