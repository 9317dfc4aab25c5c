//! Who used a nonce, by the body of the block in which it was used.
//!
//! Chains put transactions of kinds of their own into blocks (deposits of OP stacks, retries of Arbitrum), and alloy's
//! types refuse a whole body for one of them, though it is another account's, or the very one that is looked for. So
//! only what says whose a transaction is and what it does is read, and of no other account.

use alloy::{
    consensus::TxEnvelope,
    primitives::{Address, B256, Bytes, TxKind, U64, U256},
    rpc::types::Transaction,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::Variant;

/// A block as a node tells of it with all its transactions.
#[derive(Deserialize)]
pub(super) struct Body<'a> {
    pub(super) hash: B256,
    #[serde(rename = "parentHash")]
    pub(super) parent: B256,
    #[serde(borrow)]
    transactions: Vec<&'a RawValue>,
}

impl<'a> Body<'a> {
    /// Nothing for what is no block, or larger than one.
    pub(super) fn parse(told: &'a RawValue) -> Option<Self> {
        let told = Some(told.get()).filter(|told| told.len() <= MAX_BODY)?;
        serde_json::from_str(told).ok()
    }

    /// What an account does in the block; nothing for what cannot be read.
    pub(super) fn acts_of(&self, account: Address) -> impl Iterator<Item = Option<Act>> {
        let own = self.transactions.iter().filter(move |told| {
            serde_json::from_str::<Sent>(told.get()).is_ok_and(|sent| sent.from == account)
        });
        own.map(|told| serde_json::from_str(told.get()).ok())
    }

    /// The transaction by which an account used a nonce, if it is clear which one did: one of ours if it is there, else one
    /// that was signed, else the only one. Chains give numbers of their own to what they execute themselves in the name
    /// of an account, and those may be the nonce of a transaction in the same block.
    pub(super) fn used_by(
        &self,
        account: Address,
        nonce: u64,
        is_ours: impl Fn(B256) -> bool,
    ) -> Option<Used<'a>> {
        let mut found: Vec<_> =
            self.transactions.iter().filter_map(|told| Used::told(told, account, nonce)).collect();
        if let Some(ours) = found.iter().position(|used| is_ours(used.hash)) {
            return Some(found.swap_remove(ours));
        }
        if found.iter().any(|used| !used.is_chains) {
            found.retain(|used| !used.is_chains);
        }
        let only = found.pop();
        only.filter(|_| found.is_empty())
    }
}

/// The transaction that used a nonce.
pub(super) struct Used<'a> {
    pub(super) hash: B256,
    account: Address,
    /// Whether the chain executes its kind without a signature.
    is_chains: bool,
    told: &'a str,
}

impl<'a> Used<'a> {
    fn told(told: &'a RawValue, account: Address, nonce: u64) -> Option<Self> {
        let origin: Origin<'_> = serde_json::from_str(told.get()).ok()?;
        let is_it = origin.from == account && origin.nonce.to::<u64>() == nonce;
        let is_chains = origin.kind.is_some_and(|kind| {
            CHAINS.iter().any(|known| kind.get().trim_matches('"').eq_ignore_ascii_case(known))
        });
        is_it.then_some(Self { hash: origin.hash, account, is_chains, told: told.get() })
    }

    /// What it does, if the node tells.
    pub(super) fn act(&self) -> Option<Act> {
        serde_json::from_str(self.told).ok()
    }

    /// Its signed bytes, if they are of a kind that is known here and the account's key signed them.
    pub(super) fn signed(&self) -> Option<Variant> {
        let told: Transaction = serde_json::from_str(self.told).ok()?;
        let envelope: TxEnvelope = told.inner.into_inner();
        let signed = Variant::of(&envelope, false);
        let signature = envelope.signature();
        let signer = signature.recover_address_from_prehash(&envelope.signature_hash()).ok()?;
        (signer == self.account && signed.hash == self.hash).then_some(signed)
    }
}

#[derive(Deserialize)]
struct Origin<'a> {
    hash: B256,
    from: Address,
    nonce: U64,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Sent {
    from: Address,
}

/// What a transaction does.
#[derive(Deserialize)]
pub(super) struct Act {
    to: Option<Address>,
    pub(super) value: U256,
    pub(super) input: Bytes,
}

impl Act {
    pub(super) fn to(&self) -> TxKind {
        self.to.map_or(TxKind::Create, TxKind::Call)
    }
}

/// More than any chain's block as JSON, in bytes.
const MAX_BODY: usize = 1 << 28;
/// What Arbitrum (deposits, messages, retries, its own), OP stacks (deposits) and zkSync (upgrades, priority operations)
/// execute without a signature of the account.
const CHAINS: [&str; 9] = ["0x64", "0x65", "0x66", "0x68", "0x69", "0x6a", "0x7e", "0xfe", "0xff"];
