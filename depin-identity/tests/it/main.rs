//! Tests of `depin-identity` from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod birth;
mod chip;
#[cfg(feature = "credentials")]
mod credentials;
mod data_integrity;
mod delegation;
mod documents;
mod ethr;
#[cfg(feature = "evm")]
mod evm;
#[cfg(feature = "ioconnect-legacy")]
mod ioconnect;
#[cfg(feature = "evm")]
mod ioid;
mod json;
mod jwk;
mod jws;
mod keyring;
#[cfg(feature = "keystore")]
mod keystore;
mod login;
mod methods;
#[cfg(feature = "pem")]
mod pem;
mod pkh;
mod resolution;
mod resolver;
mod sybil;
#[cfg(feature = "http")]
mod universal;
mod vectors;
mod verify_all;
#[cfg(feature = "http")]
mod web;
#[cfg(all(feature = "http", feature = "tls"))]
mod web_tls;
