//! Tests of `depin-identity` from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "credentials")]
mod credentials;
mod data_integrity;
mod documents;
mod ethr;
#[cfg(feature = "evm")]
mod evm;
#[cfg(feature = "ioconnect-legacy")]
mod ioconnect;
#[cfg(feature = "evm")]
mod ioid;
mod json;
mod jws;
#[cfg(feature = "keystore")]
mod keystore;
mod methods;
#[cfg(feature = "pem")]
mod pem;
mod pkh;
mod vectors;
mod verify_all;
