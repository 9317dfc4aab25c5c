#![no_main]
//! Messages of x402, as JSON and as headers, can be read again when they are written.

use depin_payment::x402::{
    ExactPayment, PaymentPayload, PaymentRequired, SettleResponse, UptoPayment,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(required) = PaymentRequired::from_json(bytes) {
        PaymentRequired::from_header(&required.to_header()).expect("it is ours");
    }
    if let Ok(settled) = SettleResponse::from_json(bytes) {
        SettleResponse::from_header(&settled.to_header()).expect("it is ours");
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let payload = PaymentPayload::from_json(bytes).or_else(|_| PaymentPayload::from_header(text));
    if let Ok(payload) = payload {
        let _ = ExactPayment::parse(&payload);
        let _ = UptoPayment::parse(&payload);
        PaymentPayload::from_header(&payload.to_header()).expect("it is ours");
    }
});
