//! Known answers, properties and conformance.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod balances;
#[cfg(feature = "evm")]
mod bitmap;
mod books;
#[cfg(feature = "evm")]
mod claims;
mod conformance;
#[cfg(feature = "evm")]
mod controller;
mod credits;
mod emission;
#[cfg(feature = "evm")]
mod evm;
#[cfg(feature = "evm")]
mod minter;
#[cfg(feature = "evm")]
mod node;
#[cfg(feature = "evm")]
mod orders;
mod policy;
mod proof_file;
#[cfg(feature = "evm")]
mod rails;
#[cfg(feature = "evm")]
mod reconcile;
mod settlement;
mod shares;
#[cfg(feature = "evm")]
mod stake;
#[cfg(feature = "evm")]
mod token;
mod tokenomics;
#[cfg(feature = "evm")]
mod treasury;
mod tree;
mod vouchers;
#[cfg(feature = "evm")]
mod watchers;
#[cfg(feature = "x402")]
mod x402;

use depin_core::{
    Address, Did, EpochId, Result, Unverified, Verified, Verifier,
    quality::{Contribution, Contributions},
};

/// Believes every contribution, as only tests may.
struct Believe;

impl Verifier<Contributions> for Believe {
    type Output = Contributions;
    type Error = depin_core::Error;

    fn check(&self, candidate: &Contributions) -> Result<Contributions> {
        Ok(candidate.clone())
    }
}

/// Contributions of devices `0..`, each paid to the account of the same number.
fn work(epoch: u64, scores: impl IntoIterator<Item = u64>) -> Verified<Contributions> {
    let entries = scores.into_iter().zip(0..).map(|(score, i)| Contribution {
        device: device(i),
        beneficiary: account(i),
        readings: score,
        score,
    });
    verified(Contributions { epoch: EpochId::new(epoch), entries: entries.collect() })
}

fn verified(work: Contributions) -> Verified<Contributions> {
    Unverified::new(work).verify(&Believe).expect("believed")
}

fn device(i: u64) -> Did {
    Did::parse(&format!("did:example:{i:05}")).expect("valid")
}

/// The account of row `i` in the known answers.
fn account(i: u64) -> Address {
    Address::from_slice(&depin_core::keccak256(i.to_be_bytes())[..20])
}

fn vectors(file: &str) -> Option<serde_json::Value> {
    let path =
        depin_testkit::vectors::find(env!("CARGO_MANIFEST_DIR"), &format!("payment/{file}"))?;
    let bytes = std::fs::read(path).expect("the vectors can be read");
    Some(serde_json::from_slice(&bytes).expect("the vectors are json"))
}

/// Texts of a JSON list.
fn texts(value: &serde_json::Value) -> impl Iterator<Item = &str> {
    value.as_array().expect("a list").iter().map(|item| item.as_str().expect("a text"))
}
