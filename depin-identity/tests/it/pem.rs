//! Keys in PEM, against what OpenSSL 3 wrote.

use depin_core::{Algorithm, ErrorKind, Signer, SoftwareKey};
use depin_identity::keys::pem;
use proptest::prelude::*;

/// Made with OpenSSL 3.0: private key, public key, public key with a compressed point.
const OPENSSL: [(Algorithm, [&str; 3]); 2] = [
    (
        Algorithm::Es256k,
        [
            concat!(
                "-----BEGIN PRIVATE KEY-----\n",
                "MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQghVJDXj2wMO5H7Svlk9S1\n",
                "tG6EWw3y5dGPBfnFMACc4bGhRANCAARA2ycorUgx3y7OLF9eMe3XIfaQurnQWzc/\n",
                "qPdAwa9E8tKNkG3uznKj4tX1tjpqMPzSWPJJ+7O7NTVvtbKBT9kX\n",
                "-----END PRIVATE KEY-----\n",
            ),
            concat!(
                "-----BEGIN PUBLIC KEY-----\n",
                "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEQNsnKK1IMd8uzixfXjHt1yH2kLq50Fs3\n",
                "P6j3QMGvRPLSjZBt7s5yo+LV9bY6ajD80ljySfuzuzU1b7WygU/ZFw==\n",
                "-----END PUBLIC KEY-----\n",
            ),
            concat!(
                "-----BEGIN PUBLIC KEY-----\n",
                "MDYwEAYHKoZIzj0CAQYFK4EEAAoDIgADQNsnKK1IMd8uzixfXjHt1yH2kLq50Fs3\n",
                "P6j3QMGvRPI=\n",
                "-----END PUBLIC KEY-----\n",
            ),
        ],
    ),
    (
        Algorithm::Es256,
        [
            concat!(
                "-----BEGIN PRIVATE KEY-----\n",
                "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBbceC3QljrfIbaq9\n",
                "gh0QTD7vAycefrX5WlUkUIV3EwyhRANCAAS6qQDQi/P88wZHejIqDmRGiwUMoMon\n",
                "7Q8JxYLKUEjatN6XLqpg9yuwlDQqux3TVPdIFlCDRq6yE4FoeeVYjPIl\n",
                "-----END PRIVATE KEY-----\n",
            ),
            concat!(
                "-----BEGIN PUBLIC KEY-----\n",
                "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEuqkA0Ivz/PMGR3oyKg5kRosFDKDK\n",
                "J+0PCcWCylBI2rTely6qYPcrsJQ0Krsd01T3SBZQg0aushOBaHnlWIzyJQ==\n",
                "-----END PUBLIC KEY-----\n",
            ),
            concat!(
                "-----BEGIN PUBLIC KEY-----\n",
                "MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADuqkA0Ivz/PMGR3oyKg5kRosFDKDK\n",
                "J+0PCcWCylBI2rQ=\n",
                "-----END PUBLIC KEY-----\n",
            ),
        ],
    ),
];

#[test]
fn keys_of_openssl_are_read_and_written() {
    for (algorithm, [private, public, compressed]) in OPENSSL {
        let (read, secret) = pem::private_key_from_pem(private).unwrap();
        assert_eq!(read, algorithm);
        let key = SoftwareKey::from_bytes(algorithm, &secret).unwrap();
        assert_eq!(pem::public_key_to_pem(key.public_key()), public);
        for text in [public, compressed] {
            assert_eq!(pem::public_key_from_pem(text).unwrap(), *key.public_key());
        }
    }
}

#[test]
fn keys_of_other_kinds_are_named_unsupported() {
    // X25519, made with OpenSSL 3.0.
    let agreement = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VuAyEAlApQkAAI4oXl6jeEOXGfF/0nnRUIWmBzO6nnvdHll2Y=\n\
        -----END PUBLIC KEY-----\n";
    let error = pem::public_key_from_pem(agreement).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[test]
fn a_private_key_is_no_public_key_and_the_other_way_round() {
    let (_, [private, public, _]) = OPENSSL[0];
    assert_eq!(pem::public_key_from_pem(private).unwrap_err().kind(), ErrorKind::Malformed);
    assert!(pem::private_key_from_pem(public).is_err());
}

#[test]
fn truncated_and_huge_texts_are_refused() {
    for (_, texts) in OPENSSL {
        for text in texts {
            let end = text.trim_end().len();
            for length in 0..end {
                assert!(pem::public_key_from_pem(&text[..length]).is_err());
                assert!(pem::private_key_from_pem(&text[..length]).is_err());
            }
        }
    }
    let huge = "A".repeat(10_000_000);
    assert_eq!(pem::public_key_from_pem(&huge).unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(pem::private_key_from_pem(&huge).unwrap_err().kind(), ErrorKind::Limit);
}

proptest! {
    #[test]
    fn every_public_key_round_trips(seed: [u8; 32], which in 0..3_usize) {
        let key = SoftwareKey::from_seed(Algorithm::ALL[which], seed);
        let text = pem::public_key_to_pem(key.public_key());
        prop_assert_eq!(&pem::public_key_from_pem(&text).unwrap(), key.public_key());
    }

    #[test]
    fn a_changed_character_never_panics(at in 0..300_usize, with in any::<char>(), which in 0..6_usize) {
        let text = OPENSSL[which / 3].1[which % 3];
        let changed: String =
            text.chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect();
        let _ = pem::public_key_from_pem(&changed);
        let _ = pem::private_key_from_pem(&changed);
    }
}
