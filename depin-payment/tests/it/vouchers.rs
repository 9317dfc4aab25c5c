//! Vouchers against published digests and signatures, and as bytes.

use depin_core::{
    Address, Algorithm, Amount, B256, Bytes, ChainId, ErrorKind, Signer, SoftwareKey, U256,
    keccak256,
};
use depin_payment::{
    channel::{SignedVoucher, Terms, Voucher, domain},
    spend::Spend,
    typed::{Domain, recover, sign},
};
use depin_testkit::{conformance::Suite, rails::with_high_s};
use proptest::prelude::*;
use serde_json::Value;

use super::vectors;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().expect("a text")
}

fn word(value: &Value, key: &str) -> B256 {
    text(value, key).parse().expect("a word")
}

fn domain_of(value: &Value) -> Domain {
    let domain = &value["domain"];
    let chain = ChainId::new(domain["chainId"].as_u64().expect("a number"));
    let contract = text(domain, "verifyingContract").parse().expect("an address");
    Domain::new(text(domain, "name"), text(domain, "version"), chain, contract)
}

#[test]
fn digests_and_signatures_are_those_of_ethers() {
    let mut suite = Suite::new("EIP-712 vouchers");
    let known = vectors("eip712.json").unwrap_or_default();
    for case in known["vouchers"].as_array().into_iter().flatten() {
        let domain = domain_of(case);
        let cumulative: U256 = text(case, "cumulativeAmount").parse().expect("a number");
        let voucher =
            Voucher { lane_id: word(case, "channelId"), cumulative: Amount::units(cumulative) };
        let digest = voucher.digest(&domain);
        let key = SoftwareKey::from_bytes(Algorithm::Es256k, &word(case, "privateKey").0).unwrap();
        let signer: Address = text(case, "signer").parse().expect("an address");
        let v = u8::try_from(case["v"].as_u64().expect("a number")).expect("a byte");
        let signature = [word(case, "r").as_slice(), word(case, "s").as_slice(), &[v]].concat();
        suite.case("separator", domain.separator() == word(case, "domainSeparator"));
        suite.case("digest", digest == word(case, "digest"));
        suite.case("signer", recover(digest, &signature).is_ok_and(|found| found == signer));
        let ours = voucher.sign(&domain, &key).unwrap();
        suite.case("signature", ours.as_slice() == signature);
    }
    let example = &known["x402_spec_example"];
    if example.is_object() {
        let domain = domain_of(example);
        suite.case("domain of a token", domain.separator() == word(example, "domainSeparator"));
        let digest = domain.digest(word(example, "structHash"));
        suite.case("digest of a token", digest == word(example, "digest"));
        let signature: Bytes = text(example, "signature").parse().expect("bytes");
        let from: Address = text(example, "recovered").parse().expect("an address");
        suite.case("signer of x402", recover(digest, &signature).is_ok_and(|a| a == from));
        suite.case("typehash", Voucher::TYPEHASH == word(&known["typehashes"], "Voucher"));
    }
    suite.finish();
}

#[test]
fn type_hashes_are_those_of_the_types() {
    let voucher = keccak256("Voucher(bytes32 channelId,uint256 cumulativeAmount)");
    assert_eq!(Voucher::TYPEHASH, voucher);
    let spend = keccak256(
        "Spend(bytes32 charge,address payee,address token,uint256 amount,uint256 rail,uint256 number)",
    );
    assert_eq!(Spend::TYPEHASH, spend);
}

fn key() -> SoftwareKey {
    SoftwareKey::from_seed(Algorithm::Es256k, [7; 32])
}

fn signed(lane: u64, cumulative: Amount) -> (SignedVoucher, Domain) {
    let signer = key().public_key().to_address().expect("an address");
    let terms = Terms {
        payer: Address::repeat_byte(1),
        payee: Address::repeat_byte(2),
        token: Address::repeat_byte(3),
        signer,
        challenge: 3_600,
        salt: B256::repeat_byte(9),
    };
    let domain = domain(ChainId::new(4690), Address::repeat_byte(4));
    (SignedVoucher::sign(&domain, terms, lane, cumulative, &key()).unwrap(), domain)
}

#[test]
fn a_voucher_holds_only_for_its_channel_lane_amount_chain_and_contract() {
    let (voucher, here) = signed(3, 50.into());
    voucher.verify(&here).unwrap();
    let elsewhere = [
        domain(ChainId::new(4689), here.contract()),
        domain(here.chain(), Address::repeat_byte(5)),
        Domain::new("DepinStream", "1", here.chain(), here.contract()),
        Domain::new("DepinChannel", "2", here.chain(), here.contract()),
    ];
    for other in elsewhere {
        assert_eq!(voucher.verify(&other).unwrap_err().kind(), ErrorKind::Rejected);
    }
    let other_terms = Terms { salt: B256::ZERO, ..voucher.terms };
    let forged = [
        SignedVoucher { cumulative: 51.into(), ..voucher.clone() },
        SignedVoucher { cumulative: 49.into(), ..voucher.clone() },
        SignedVoucher { lane: 0, ..voucher.clone() },
        SignedVoucher { lane: 4, ..voucher.clone() },
        SignedVoucher { terms: other_terms, ..voucher },
    ];
    for forged in forged {
        assert_eq!(forged.verify(&here).unwrap_err().kind(), ErrorKind::Rejected);
    }
}

#[test]
fn malleable_and_misshapen_signatures_are_refused() {
    let digest = B256::repeat_byte(5);
    let good = sign(&key(), digest).unwrap();
    let signer = recover(digest, &good).unwrap();
    let high = with_high_s(&good);
    assert!(recover(digest, &high).unwrap_err().to_string().contains("high s"));
    for v in [0, 1, 26, 29, 255] {
        let mut odd = good;
        odd[64] = v;
        assert!(recover(digest, &odd).is_err(), "v of {v}");
    }
    let mut flipped = good;
    flipped[64] = 55 - flipped[64];
    assert!(recover(digest, &flipped).map_or(true, |found| found != signer));
    for bad in [&good[..64], &[good.as_slice(), &[0]].concat(), &[], &[0; 65], &[0xff; 65]] {
        assert!(recover(digest, bad).is_err());
    }
    // The compact form of EIP-2098 is another signature of the same message.
    let mut compact = good[..64].to_vec();
    compact[32] |= (good[64] - 27) << 7;
    assert!(recover(digest, &compact).is_err());
}

#[test]
fn keys_of_other_curves_do_not_sign_for_contracts() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let key = SoftwareKey::from_seed(algorithm, [7; 32]);
        assert_eq!(sign(&key, B256::ZERO).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn a_cut_voucher_is_no_voucher() {
    let (voucher, here) = signed(0, 50.into());
    let bytes = voucher.encode();
    assert_eq!(SignedVoucher::decode(&bytes).unwrap(), voucher);
    for len in 0..bytes.len() {
        let cut = SignedVoucher::decode(&bytes[..len]);
        assert!(cut.and_then(|cut| cut.verify(&here)).is_err(), "{len} bytes");
    }
    let grown = [bytes.as_ref(), &[0]].concat();
    assert!(SignedVoucher::decode(&grown).unwrap().verify(&here).is_err());
    let long = SignedVoucher { signature: vec![1; 4_097].into(), ..voucher };
    assert_eq!(SignedVoucher::decode(&long.encode()).unwrap_err().kind(), ErrorKind::Limit);
}

proptest! {
    #[test]
    fn every_voucher_survives_its_bytes(
        words: [[u8; 20]; 4], challenge: u32, salt: [u8; 32], lane: u64, limbs: [u64; 4],
        signature in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let [payer, payee, token, signer] = words.map(Address::new);
        let terms = Terms { payer, payee, token, signer, challenge, salt: B256::new(salt) };
        let cumulative = Amount::units(U256::from_limbs(limbs));
        let voucher = SignedVoucher { terms, lane, cumulative, signature: signature.into() };
        prop_assert_eq!(SignedVoucher::decode(&voucher.encode()).unwrap(), voucher);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(voucher) = SignedVoucher::decode(&bytes) {
            prop_assert_eq!(voucher.encode(), Bytes::from(bytes));
            let _ = voucher.verify(&domain(ChainId::new(1), Address::ZERO));
        }
    }
}
