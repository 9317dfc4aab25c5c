//! What strangers send is parsed within bounds.

use depin_core::ErrorKind;
use depin_payment::x402::{
    ExactPayment, ExactTerms, PaymentPayload, PaymentRequired, SettleResponse,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn offer() -> Value {
    json!({
        "scheme": "exact", "network": "eip155:84532", "amount": "10000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "maxTimeoutSeconds": 60,
        "extra": { "name": "USDC", "version": "2" },
    })
}

fn payload() -> Value {
    json!({
        "x402Version": 2, "accepted": offer(),
        "payload": {
            "signature": format!("0x{}", "11".repeat(65)),
            "authorization": {
                "from": format!("0x{}", "22".repeat(20)), "to": format!("0x{}", "33".repeat(20)),
                "value": "10000", "validAfter": "0", "validBefore": "1740672154",
                "nonce": format!("0x{}", "44".repeat(32)),
            },
        },
    })
}

fn read(payload: &Value) -> Result<ExactPayment, depin_core::Error> {
    ExactPayment::parse(&PaymentPayload::from_json(payload.to_string().as_bytes())?)
}

#[test]
fn unknown_fields_are_skipped_and_nulls_are_nothing() {
    let mut message = payload();
    message["news"] = json!({ "a": 1 });
    message["accepted"]["news"] = json!([1]);
    message["payload"]["authorization"]["news"] = json!(1);
    message["extensions"] = Value::Null;
    message["resource"] = Value::Null;
    read(&message).unwrap();
}

#[test]
fn the_version_must_be_two() {
    for version in [json!(1), json!(3)] {
        let mut message = payload();
        message["x402Version"] = version;
        assert_eq!(read(&message).unwrap_err().kind(), ErrorKind::Unsupported);
    }
    let mut message = payload();
    message["x402Version"] = json!("2");
    assert_eq!(read(&message).unwrap_err().kind(), ErrorKind::Malformed);
}

#[test]
fn numbers_and_hex_have_one_form() {
    for (field, bad) in [
        ("value", "010000"),
        ("value", "+1"),
        ("value", "1e4"),
        ("value", "0x10"),
        ("value", ""),
        ("value", "1".repeat(79).as_str()),
        ("validBefore", "-1"),
        ("from", "2222222222222222222222222222222222222222"),
        ("from", "0x22"),
        ("to", "0xg333333333333333333333333333333333333333"),
        ("nonce", "0x44"),
    ] {
        let mut message = payload();
        message["payload"]["authorization"][field] = json!(bad);
        assert_eq!(read(&message).unwrap_err().kind(), ErrorKind::Malformed, "{field} {bad}");
    }
    for (field, bad) in [("network", "eip155:01"), ("amount", "1.5"), ("asset", "USDC")] {
        let mut offer = offer();
        offer[field] = json!(bad);
        let offer = serde_json::from_value(offer).unwrap();
        assert_eq!(ExactTerms::parse(&offer).unwrap_err().kind(), ErrorKind::Malformed, "{field}");
    }
    for (field, other) in [("network", "solana:x"), ("scheme", "upto")] {
        let mut offer = offer();
        offer[field] = json!(other);
        let offer = serde_json::from_value(offer).unwrap();
        assert_eq!(ExactTerms::parse(&offer).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn a_field_that_is_there_twice_is_refused() {
    let text = payload().to_string().replacen(
        r#""x402Version":2"#,
        r#""x402Version":2,"x402Version":2"#,
        1,
    );
    let error = PaymentPayload::from_json(text.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

#[test]
fn size_depth_and_count_are_bounded() {
    let mut message = payload();
    message["payload"]["padding"] = json!("x".repeat(64 * 1024));
    let error = PaymentPayload::from_json(message.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    let deep = format!(r#"{{"x402Version":2,"payload":{}"#, r#"{"a":"#.repeat(10_000));
    let error = PaymentPayload::from_json(deep.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
    for count in [0, 33] {
        let required = json!({
            "x402Version": 2, "resource": { "url": "/" }, "accepts": vec![offer(); count],
        });
        let error = PaymentRequired::from_json(required.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{count}");
    }
}

#[test]
fn every_cut_of_a_message_is_refused() {
    let header = PaymentPayload::from_json(payload().to_string().as_bytes()).unwrap().to_header();
    for end in 0..header.len() - 4 {
        assert!(PaymentPayload::from_header(&header[..end]).is_err(), "{end}");
    }
}

#[test]
fn the_third_state_of_a_settlement_has_a_name() {
    let text = br#"{"success":false,"errorReason":"settlement_pending","transaction":"","network":"eip155:1"}"#;
    assert!(SettleResponse::from_json(text).unwrap().is_pending());
    let text = br#"{"success":true,"transaction":"0x1","network":"eip155:1"}"#;
    assert!(!SettleResponse::from_json(text).unwrap().is_pending());
}

proptest! {
    #[test]
    fn no_bytes_make_parsing_panic(bytes: Vec<u8>) {
        let _ = PaymentPayload::from_json(&bytes);
        let _ = PaymentRequired::from_json(&bytes);
        let _ = SettleResponse::from_json(&bytes);
    }

    #[test]
    fn no_field_makes_parsing_panic(text in "\\PC{0,90}", field in 0..7_usize) {
        let mut message = payload();
        let names = ["from", "to", "value", "validAfter", "validBefore", "nonce"];
        match names.get(field) {
            Some(name) => message["payload"]["authorization"][name] = json!(text),
            None => message["payload"]["signature"] = json!(text),
        }
        let _ = read(&message);
    }
}
