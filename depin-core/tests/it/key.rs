//! Keys that are none, and the multikeys of the did:key specification.

use depin_core::{Algorithm, PublicKey, key::KeyError};

#[test]
fn points_off_the_curve_are_refused() {
    for algorithm in [Algorithm::Es256k, Algorithm::Es256] {
        for bytes in [&[0; 33][..], &[0xff; 33], &[4; 65], &[2; 32], &[0], &[]] {
            assert_eq!(PublicKey::from_bytes(algorithm, bytes), Err(KeyError::Key));
        }
    }
    assert_eq!(PublicKey::from_bytes(Algorithm::EdDsa, &[2; 33]), Err(KeyError::Key));
}

#[test]
fn multikeys_of_the_specification_round_trip() {
    // did:key v0.7, the examples of sections 9.1 (Ed25519), 9.3 (secp256k1) and 9.4 (P-256).
    for (algorithm, text) in [
        (Algorithm::EdDsa, "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"),
        (Algorithm::Es256k, "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"),
        (Algorithm::Es256, "zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169"),
    ] {
        let key = PublicKey::from_multikey(text).unwrap();
        assert_eq!((key.algorithm(), key.to_multikey().as_str()), (algorithm, text));
    }
}

#[test]
fn other_bases_codecs_and_lengths_are_no_multikeys() {
    for bad in [
        "",
        "z",
        "z6",
        "m6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
        "z0OIl",
        "z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc",
    ] {
        assert_eq!(PublicKey::from_multikey(bad), Err(KeyError::Multikey), "{bad}");
    }
    let long = format!("z{}", "1".repeat(10_000));
    assert_eq!(PublicKey::from_multikey(&long), Err(KeyError::Multikey));
}
