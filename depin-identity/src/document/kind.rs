//! The types of verification methods that the SDK knows, and how each writes what it verifies with.

use depin_core::Algorithm;

/// A type of verification methods.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// The member that a key is written in.
    pub(super) key_member: &'static str,
    /// Whether a key may stand in no other member.
    pub(super) only: bool,
    /// The one algorithm of its keys, if it has one.
    pub(super) algorithm: Option<Algorithm>,
    /// The JSON-LD context that defines it.
    pub(super) context: &'static str,
}

/// The kind of a name, or nothing for a kind that the SDK does not know.
pub(super) fn named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

pub(super) const JWK: &str = "publicKeyJwk";
pub(super) const MULTIBASE: &str = "publicKeyMultibase";
pub(super) const BASE58: &str = "publicKeyBase58";
pub(super) const HEX: &str = "publicKeyHex";
pub(super) const ACCOUNT: &str = "blockchainAccountId";

/// Every member that holds what a method verifies with. A method has one of them.
pub(super) const MEMBERS: [&str; 8] =
    [MULTIBASE, JWK, BASE58, HEX, ACCOUNT, "publicKeyPem", "publicKeyBase64", "ethereumAddress"];

const KINDS: [Kind; 7] = [
    Kind {
        name: "Multikey",
        key_member: MULTIBASE,
        only: true,
        algorithm: None,
        context: "https://w3id.org/security/multikey/v1",
    },
    Kind {
        name: "JsonWebKey",
        key_member: JWK,
        only: true,
        algorithm: None,
        context: "https://w3id.org/security/jwk/v1",
    },
    Kind {
        name: "JsonWebKey2020",
        key_member: JWK,
        only: true,
        algorithm: None,
        context: "https://w3id.org/security/suites/jws-2020/v1",
    },
    Kind {
        name: "Ed25519VerificationKey2018",
        key_member: BASE58,
        only: false,
        algorithm: Some(Algorithm::EdDsa),
        context: "https://w3id.org/security/suites/ed25519-2018/v1",
    },
    Kind {
        name: "Ed25519VerificationKey2020",
        key_member: MULTIBASE,
        only: false,
        algorithm: Some(Algorithm::EdDsa),
        context: "https://w3id.org/security/suites/ed25519-2020/v1",
    },
    Kind {
        name: "EcdsaSecp256k1VerificationKey2019",
        key_member: JWK,
        only: false,
        algorithm: Some(Algorithm::Es256k),
        context: "https://w3id.org/security/suites/secp256k1-2019/v1",
    },
    Kind {
        name: "EcdsaSecp256k1RecoveryMethod2020",
        key_member: JWK,
        only: false,
        algorithm: Some(Algorithm::Es256k),
        context: "https://w3id.org/security/suites/secp256k1recovery-2020/v2",
    },
];
