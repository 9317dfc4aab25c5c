//! The reward tree: OpenZeppelin's StandardMerkleTree over `["address", "uint256"]`, bit for bit.
//!
//! A leaf is `keccak256(keccak256(abi.encode(account, cumulative)))`; hashed twice, so that no inner node
//! can pass for a leaf. Leaves are sorted by hash and laid out backwards at the end of a complete binary
//! tree in one array, where node `i` has the children `2i + 1` and `2i + 2` and hashes them in sorted
//! order. Contracts check proofs with OpenZeppelin's `MerkleProof`; JavaScript builds the same root with
//! `@openzeppelin/merkle-tree`. A tree of n accounts costs 3n - 1 hashes, on as many threads as the
//! machine runs at once, and 124 bytes per account. [`file`](mod@file) keeps it on disk and proves from there;
//! [`indexed`] is the variant for distributors that count claims in a bitmap.

pub mod file;
pub mod indexed;
mod nodes;

use alloy_primitives::{KECCAK256_EMPTY, keccak256_uncached};
pub use depin_core::reward::Claim;
use depin_core::{Address, Amount, B256, Error, ErrorKind, Result};

use self::nodes::{Nodes, pair};
use crate::threads;

/// Longest proof that [`verify`] looks at: twice what a tree over [`RewardTree::MAX_LEN`] accounts needs.
const MAX_PROOF: usize = 64;

/// A tree over accounts and their cumulative amounts.
///
/// ```
/// use depin_core::{Address, Amount};
/// use depin_payment::{RewardTree, tree};
///
/// let (ann, bob) = (Address::repeat_byte(0xaa), Address::repeat_byte(0xbb));
/// let rewards = RewardTree::build(vec![(ann, Amount::tokens(3)), (bob, Amount::tokens(4))])?;
/// let claim = rewards.claim(bob).expect("bob earned something");
/// assert!(tree::verify(rewards.root(), &claim));
///
/// let greedy = tree::Claim { cumulative: Amount::tokens(5), ..claim };
/// assert!(!tree::verify(rewards.root(), &greedy));
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewardTree {
    /// By account, without repetition.
    rows: Vec<(Address, Amount)>,
    nodes: Nodes,
}

impl RewardTree {
    /// Most accounts in a tree.
    pub const MAX_LEN: usize = 1 << 31;

    /// Builds the tree. The order of `rows` does not matter.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when an account appears twice, [`ErrorKind::Limit`] past
    /// [`MAX_LEN`](Self::MAX_LEN) accounts, [`ErrorKind::Rejected`] for the zero address: no token pays it, so its
    /// claim would take all that are sent in one transaction with it down.
    pub fn build(mut rows: Vec<(Address, Amount)>) -> Result<Self> {
        if rows.len() > Self::MAX_LEN {
            return Err(Error::new(ErrorKind::Limit, "more accounts than a reward tree holds")
                .with("accounts", rows.len()));
        }
        threads::sort(&mut rows, |a, b| a.0.cmp(&b.0));
        // Sorted, so it could only be the first.
        if rows.first().is_some_and(|(account, _)| account.is_zero()) {
            return Err(nobody());
        }
        if let Some([(account, _), _]) = rows.array_windows().find(|[a, b]| a.0 == b.0) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "an account is listed twice; sum its amounts first",
            )
            .with("account", account));
        }
        let nodes = Nodes::build(&rows, |(account, amount)| leaf(*account, *amount));
        Ok(Self { rows, nodes })
    }

    /// The root. An empty tree has the hash of no bytes, which no leaf or node can have, so that an epoch
    /// in which nobody has earned anything yet can be published like any other.
    pub fn root(&self) -> B256 {
        self.nodes.root().unwrap_or(KECCAK256_EMPTY)
    }

    /// Number of accounts.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The accounts with what they have earned, by account.
    pub fn rows(&self) -> &[(Address, Amount)] {
        &self.rows
    }

    /// Whether nobody earned anything.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What an account has earned, if it is in the tree.
    pub fn amount(&self, account: Address) -> Option<Amount> {
        self.rows.get(self.row(account)?).map(|(_, amount)| *amount)
    }

    /// The proof of an account, if it is in the tree.
    pub fn proof(&self, account: Address) -> Option<Vec<B256>> {
        self.nodes.path(self.row(account)?)
    }

    /// What an account presents to be paid, if it is in the tree.
    pub fn claim(&self, account: Address) -> Option<Claim> {
        self.claim_of(self.row(account)?)
    }

    /// The claims of all accounts, by account; each proof is made when it is asked for.
    pub fn claims(&self) -> impl Iterator<Item = Claim> {
        (0..self.len()).filter_map(|row| self.claim_of(row))
    }

    /// The nodes in the order of the JavaScript library's dump: the root first, the leaves last.
    pub fn nodes(&self) -> &[B256] {
        self.nodes.as_slice()
    }

    fn row(&self, account: Address) -> Option<usize> {
        self.rows.binary_search_by_key(&account, |(account, _)| *account).ok()
    }

    fn claim_of(&self, row: usize) -> Option<Claim> {
        let (account, cumulative) = *self.rows.get(row)?;
        Some(Claim { account, cumulative, proof: self.nodes.path(row)? })
    }
}

/// What a tree answers to the zero address.
pub(crate) fn nobody() -> Error {
    let text = "nobody can be paid at the zero address; leave it out, or name who is paid";
    Error::new(ErrorKind::Rejected, text).with("account", Address::ZERO)
}

/// The leaf of an account: `keccak256(keccak256(abi.encode(account, cumulative)))`.
pub fn leaf(account: Address, cumulative: Amount) -> B256 {
    let mut encoded = [0; 64];
    let (_, account_word) = encoded.split_at_mut(12);
    account_word[..20].copy_from_slice(account.as_slice());
    encoded[32..].copy_from_slice(&cumulative.to_units().to_be_bytes::<32>());
    keccak256_uncached(keccak256_uncached(encoded))
}

/// Whether a claim leads to `root`, as OpenZeppelin's `MerkleProof` decides it.
///
/// The root of an empty tree admits nothing, and neither does a proof of more than 64 nodes.
pub fn verify(root: B256, claim: &Claim) -> bool {
    leads_to(root, leaf(claim.account, claim.cumulative), &claim.proof)
}

fn leads_to(root: B256, leaf: B256, proof: &[B256]) -> bool {
    proof.len() <= MAX_PROOF
        && root != B256::ZERO
        && proof.iter().fold(leaf, |node, sibling| pair(&node, sibling)) == root
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn vectors() -> Option<serde_json::Value> {
        let path = depin_testkit::vectors::find(
            env!("CARGO_MANIFEST_DIR"),
            "payment/oz_standard_tree.json",
        )?;
        Some(serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
    }

    fn hashes(value: &serde_json::Value) -> Vec<B256> {
        serde_json::from_value::<Vec<String>>(value.clone())
            .unwrap()
            .iter()
            .map(|text| text.parse().unwrap())
            .collect()
    }

    #[test]
    fn bare_leaves_give_the_root_and_proof_of_the_javascript_simple_tree() {
        let Some(vectors) = vectors() else { return };
        let simple = &vectors["simple"];
        let nodes = Nodes::build(&hashes(&simple["leaves"]), |leaf| *leaf);
        assert_eq!(nodes.root().unwrap().to_string(), simple["root"].as_str().unwrap());
        assert_eq!(nodes.path(3).unwrap(), hashes(&simple["proof3"]));
    }
}
