//! Tests of `depin-identity` from outside.

mod documents;
mod methods;
mod vectors;
