//! The reward tree: OpenZeppelin's StandardMerkleTree over `["address", "uint256"]`, bit for bit.
//!
//! A leaf is `keccak256(keccak256(abi.encode(account, cumulative)))`; hashed twice, so that no inner node
//! can pass for a leaf. Leaves are sorted by hash and laid out backwards at the end of a complete binary
//! tree in one array, where node `i` has the children `2i + 1` and `2i + 2` and hashes them in sorted
//! order. Contracts check proofs with OpenZeppelin's `MerkleProof`; JavaScript builds the same root with
//! `@openzeppelin/merkle-tree`. A tree of n accounts costs 3n - 1 hashes and 124 bytes per account.

use alloy_primitives::{KECCAK256_EMPTY, keccak256_uncached};
use depin_core::{Address, Amount, B256, Error, ErrorKind, Result};

/// Longest proof that [`verify`] looks at: twice what a tree over [`RewardTree::MAX_LEN`] accounts needs.
const MAX_PROOF: usize = 64;

/// What an account presents to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The account.
    pub account: Address,
    /// What it has earned since the beginning.
    pub cumulative: Amount,
    /// The path from its leaf to the root; empty when it is alone in the tree.
    pub proof: Vec<B256>,
}

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
    /// Where the leaf of each row lies in `nodes`.
    positions: Vec<u32>,
    nodes: Vec<B256>,
}

impl RewardTree {
    /// Most accounts in a tree.
    pub const MAX_LEN: usize = 1 << 31;

    /// Builds the tree. The order of `rows` does not matter.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when an account appears twice, [`ErrorKind::Limit`] past
    /// [`MAX_LEN`](Self::MAX_LEN) accounts.
    pub fn build(mut rows: Vec<(Address, Amount)>) -> Result<Self> {
        if rows.len() > Self::MAX_LEN {
            return Err(Error::new(ErrorKind::Limit, "more accounts than a reward tree holds")
                .with("accounts", rows.len()));
        }
        rows.sort_unstable_by_key(|(account, _)| *account);
        if let Some([(account, _), _]) = rows.array_windows().find(|[a, b]| a.0 == b.0) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "an account is listed twice; sum its amounts first",
            )
            .with("account", account));
        }
        let leaves: Vec<B256> =
            rows.iter().map(|(account, amount)| leaf(*account, *amount)).collect();
        let (nodes, positions) = layout(&leaves);
        Ok(Self { rows, positions, nodes })
    }

    /// The root. An empty tree has the hash of no bytes, which no leaf or node can have, so that an epoch
    /// in which nobody has earned anything yet can be published like any other.
    pub fn root(&self) -> B256 {
        self.nodes.first().copied().unwrap_or(KECCAK256_EMPTY)
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
        self.path(self.row(account)?)
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
        &self.nodes
    }

    fn row(&self, account: Address) -> Option<usize> {
        self.rows.binary_search_by_key(&account, |(account, _)| *account).ok()
    }

    fn claim_of(&self, row: usize) -> Option<Claim> {
        let (account, cumulative) = *self.rows.get(row)?;
        Some(Claim { account, cumulative, proof: self.path(row)? })
    }

    /// Siblings from the leaf of a row up to the root.
    fn path(&self, row: usize) -> Option<Vec<B256>> {
        let mut at = usize::try_from(*self.positions.get(row)?).ok()?;
        let mut path = Vec::with_capacity(32);
        while at > 0 {
            let sibling = if at % 2 == 1 { at + 1 } else { at - 1 };
            path.push(*self.nodes.get(sibling)?);
            at = (at - 1) / 2;
        }
        Some(path)
    }
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
    let leaf = leaf(claim.account, claim.cumulative);
    let reached = claim.proof.iter().fold(leaf, |node, sibling| pair(&node, sibling));
    claim.proof.len() <= MAX_PROOF && root != B256::ZERO && reached == root
}

/// The parent of two nodes, which does not know left from right.
fn pair(a: &B256, b: &B256) -> B256 {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut both = [0; 64];
    both[..32].copy_from_slice(low.as_slice());
    both[32..].copy_from_slice(high.as_slice());
    keccak256_uncached(both)
}

/// The node array over `leaves`, and where each leaf went.
fn layout(leaves: &[B256]) -> (Vec<B256>, Vec<u32>) {
    let mut order: Vec<(u64, u32)> =
        leaves.iter().zip(0..).map(|(leaf, index)| (prefix(leaf), index)).collect();
    // Eight bytes decide almost always, and sorting pairs of words moves a third of the memory.
    let full = |index: u32| usize::try_from(index).ok().and_then(|index| leaves.get(index));
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| full(a.1).cmp(&full(b.1))));

    let size = (2 * leaves.len()).saturating_sub(1);
    let mut nodes = vec![B256::ZERO; size];
    let mut positions = vec![0; leaves.len()];
    // The smallest leaf lies last.
    for ((_, index), at) in order.iter().zip((0..size).rev()) {
        let index = usize::try_from(*index).unwrap_or(usize::MAX);
        if let (Some(leaf), Some(position), Ok(place)) =
            (leaves.get(index), positions.get_mut(index), u32::try_from(at))
        {
            nodes[at] = *leaf;
            *position = place;
        }
    }
    // Both children of one of the first n - 1 nodes lie among the 2n - 1.
    for at in (0..leaves.len().saturating_sub(1)).rev() {
        nodes[at] = pair(&nodes[2 * at + 1], &nodes[2 * at + 2]);
    }
    (nodes, positions)
}

/// The first eight bytes as a number, which orders as the bytes do.
fn prefix(leaf: &B256) -> u64 {
    leaf.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
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
        let (nodes, positions) = layout(&hashes(&simple["leaves"]));
        assert_eq!(nodes[0].to_string(), simple["root"].as_str().unwrap());
        let tree = RewardTree { rows: Vec::new(), positions, nodes };
        assert_eq!(tree.path(3).unwrap(), hashes(&simple["proof3"]));
    }
}
