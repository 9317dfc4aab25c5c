//! Whoever computes the equation of ECDSA, the verdict is that of the pure Rust crates.

use depin_core::{Algorithm, PublicKey, Signature, Signer, SoftwareKey, key::KeyError};
use k256::ecdsa::signature::Verifier as _;
use proptest::prelude::*;

/// The verdict of the crates under the rule on `s`, from their own words.
fn of_the_crates(
    algorithm: Algorithm,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), KeyError> {
    macro_rules! verdict {
        ($krate:ident) => {{
            let key =
                $krate::ecdsa::VerifyingKey::from_sec1_bytes(key).map_err(|_| KeyError::Key)?;
            let signature =
                $krate::ecdsa::Signature::from_slice(signature).map_err(|_| KeyError::Signature)?;
            if signature.normalize_s().is_some() {
                return Err(KeyError::HighS);
            }
            key.verify(message, &signature).map_err(|_| KeyError::Signature)
        }};
    }
    match algorithm {
        Algorithm::Es256k => verdict!(k256),
        _ => verdict!(p256),
    }
}

fn ours(
    algorithm: Algorithm,
    key: &[u8],
    message: &[u8],
    signature: [u8; 64],
) -> Result<(), KeyError> {
    PublicKey::from_bytes(algorithm, key)?.verify(message, &Signature::from_bytes(signature))
}

proptest! {
    #[test]
    fn verdicts_are_those_of_the_pure_crates(
        p256: bool,
        compressed: bool,
        seed in 1..u8::MAX,
        message: Vec<u8>,
        in_key in prop::option::weighted(0.3, (0..65_usize, 1..=u8::MAX)),
        in_signature in prop::collection::vec((0..64_usize, any::<u8>()), 0..2),
        half in prop::option::weighted(0.3, (any::<bool>(), prop_oneof![Just(0_u8), Just(0xff)])),
        change_message in prop::bool::weighted(0.2),
    ) {
        let algorithm = if p256 { Algorithm::Es256 } else { Algorithm::Es256k };
        let signer = SoftwareKey::from_seed(algorithm, [seed; 32]);
        let mut signature = *signer.sign(&message).unwrap().as_bytes();
        let public = signer.public_key();
        let mut key = if compressed {
            public.to_bytes()
        } else {
            [&[4][..], &public.to_uncompressed().unwrap()].concat()
        };
        if let Some(byte) = in_key.and_then(|(at, _)| key.get_mut(at)) {
            *byte ^= in_key.unwrap().1;
        }
        for (at, byte) in in_signature {
            signature[at] = byte;
        }
        if let Some((first, byte)) = half {
            signature[if first { 0..32 } else { 32..64 }].fill(byte);
        }
        let mut message = message;
        if change_message {
            message.push(0);
        }
        let expected = of_the_crates(algorithm, &key, &message, &signature);
        prop_assert_eq!(ours(algorithm, &key, &message, signature), expected);
    }
}
