#![no_main]
//! Messages of x402, as JSON and as headers, can be read again when they are written.

use depin_payment::x402::{
    ExactPayment, ExactTerms, PaymentPayload, PaymentRequired, SettleResponse, UptoPayment,
    UptoTerms,
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(required) = PaymentRequired::from_json(bytes) {
        PaymentRequired::from_header(&required.to_header()).expect("it is ours");
        for offer in &required.accepts {
            if let Ok(terms) = UptoTerms::parse(offer) {
                assert_eq!(UptoTerms::parse(&terms.to_requirements()).expect("it is ours"), terms);
            }
            if let Ok(terms) = ExactTerms::parse(offer) {
                assert_eq!(ExactTerms::parse(&terms.to_requirements()).expect("it is ours"), terms);
            }
        }
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
