//! Tests of `depin-identity` from outside.

mod documents;
#[cfg(feature = "evm")]
mod evm;
mod methods;
mod vectors;
