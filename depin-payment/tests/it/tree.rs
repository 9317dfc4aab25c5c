//! The reward tree beside the JavaScript library, and under attack.

use depin_core::{Address, Amount, B256, ErrorKind, U256};
use depin_payment::{
    RewardTree,
    tree::{
        self, Claim,
        indexed::{Encoding, IndexedTree},
    },
};
use proptest::{collection::btree_map, prelude::*};

use super::account;

/// Row `i` of the known answers.
fn row(i: u64) -> (Address, Amount) {
    let amount = U256::from(i) * U256::from(10u64.pow(15)) + U256::from(1);
    (account(i), Amount::units(amount))
}

fn build(count: u64) -> RewardTree {
    RewardTree::build((0..count).map(row).collect()).unwrap()
}

fn hashes(value: &serde_json::Value) -> Vec<B256> {
    super::texts(value).map(|text| text.parse().unwrap()).collect()
}

#[test]
fn roots_proofs_and_dumps_equal_those_of_the_javascript_library() {
    let Some(vectors) = super::vectors("oz_standard_tree.json") else { return };
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let count = case["n"].as_u64().unwrap();
        let tree = build(count);
        assert_eq!(tree.root().to_string(), case["root"].as_str().unwrap(), "{count} rows");
        for proof in case["proofs"].as_array().unwrap() {
            let index = proof["index"].as_u64().unwrap();
            assert_eq!(
                tree.proof(account(index)).unwrap(),
                hashes(&proof["proof"]),
                "{count} rows"
            );
        }
        if let Some(dump) = case.get("dump").filter(|dump| !dump.is_null()) {
            assert_eq!(tree.nodes(), hashes(&dump["tree"]), "{count} rows");
        }
    }
}

#[test]
fn the_root_over_100_000_rows_is_known() {
    let known = "0x5e4865502005fe8199ace9028645ab63a43b1be81f24f25a2637facf0ec555e1";
    let tree = build(100_000);
    assert_eq!(tree.root().to_string(), known);
    assert_eq!(tree.proof(account(77_777)).unwrap().len(), 17);
}

#[test]
fn numbered_rows_give_the_root_and_proof_of_the_javascript_library() {
    let Some(vectors) = super::vectors("oz_standard_tree.json") else { return };
    let known = &vectors["indexed"];
    let rows = (0..known["n"].as_u64().unwrap()).map(row).collect();
    let tree = IndexedTree::build(rows, Encoding::Standard).unwrap();
    assert_eq!(tree.root().to_string(), known["root"].as_str().unwrap());
    assert_eq!(tree.claim(7).unwrap().proof, hashes(&known["proof7"]));
    assert!(tree.claim(64).is_none());
}

#[test]
fn a_packed_row_is_hashed_once_over_its_84_bytes() {
    let (account, amount) = row(3);
    let units = amount.to_units().to_be_bytes::<32>();
    let packed = [&U256::from(9).to_be_bytes::<32>()[..], account.as_slice(), &units].concat();
    assert_eq!(packed.len(), 84);
    assert_eq!(Encoding::Packed.leaf(9, account, amount), depin_core::keccak256(packed));
}

#[test]
fn a_claim_for_another_row_or_encoding_does_not_hold() {
    for encoding in [Encoding::Standard, Encoding::Packed] {
        // The same account and amount twice: only the index differs.
        let tree = IndexedTree::build(vec![row(1), row(1), row(2)], encoding).unwrap();
        let claim = tree.claim(0).unwrap();
        assert!(tree::indexed::verify(tree.root(), encoding, &claim));
        let other = tree::indexed::IndexedClaim { index: 1, ..claim.clone() };
        assert!(!tree::indexed::verify(tree.root(), encoding, &other));
        let [standard, packed] = [Encoding::Standard, Encoding::Packed]
            .map(|encoding| tree::indexed::verify(tree.root(), encoding, &claim));
        assert_ne!(standard, packed);
    }
}

#[test]
fn the_order_of_many_rows_does_not_matter() {
    // Enough for several threads, and an odd last piece.
    let rows: Vec<_> = (0..30_011).map(row).collect();
    let mut sorted = rows.clone();
    sorted.sort_unstable();
    assert_eq!(RewardTree::build(rows).unwrap(), RewardTree::build(sorted).unwrap());
}

#[test]
fn a_single_account_needs_no_proof() {
    let tree = build(1);
    let claim = tree.claim(account(0)).unwrap();
    assert!(claim.proof.is_empty() && tree::verify(tree.root(), &claim));
    assert_eq!(tree.root(), tree::leaf(claim.account, claim.cumulative));
}

#[test]
fn an_empty_tree_has_the_hash_of_no_bytes_and_admits_nothing() {
    let tree = RewardTree::build(Vec::new()).unwrap();
    assert!(tree.is_empty() && tree.root() == alloy_primitives::KECCAK256_EMPTY);
    assert_eq!(tree.claims().count(), 0);
    let (account, cumulative) = row(0);
    assert!(!tree::verify(B256::ZERO, &Claim { account, cumulative, proof: Vec::new() }));
}

#[test]
fn an_account_listed_twice_is_a_conflict() {
    let rows = vec![row(1), row(2), (account(1), Amount::from(5))];
    assert_eq!(RewardTree::build(rows).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn the_zero_address_has_no_leaf() {
    let rows = vec![row(1), (Address::ZERO, Amount::from(5)), row(2)];
    let error = IndexedTree::build(rows.clone(), Encoding::Standard).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let error = RewardTree::build(rows).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("zero address"), "{error}");
}

#[test]
fn a_stranger_has_no_claim() {
    let tree = build(5);
    assert!(tree.claim(account(5)).is_none() && tree.amount(account(5)).is_none());
}

#[test]
fn an_inner_node_cannot_pass_for_an_account() {
    // The root's children, offered as the halves of a leaf.
    let tree = build(8);
    let mut children = [tree.nodes()[1], tree.nodes()[2]];
    children.sort();
    let forged = Claim {
        account: Address::from_slice(&children[0][12..]),
        cumulative: Amount::units(U256::from_be_bytes(children[1].0)),
        proof: Vec::new(),
    };
    assert!(!tree::verify(tree.root(), &forged));
}

#[test]
fn an_endless_proof_is_refused() {
    let (account, cumulative) = row(0);
    let claim = Claim { account, cumulative, proof: vec![B256::ZERO; 65] };
    let root = claim.proof.iter().fold(tree::leaf(account, cumulative), |node, sibling| {
        let mut both = [node, *sibling];
        both.sort();
        depin_core::keccak256(both.concat())
    });
    assert!(!tree::verify(root, &claim));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_proof_holds_and_any_changed_byte_breaks_it(
        rows in btree_map(
            any::<[u8; 20]>().prop_filter("nobody", |account| *account != [0; 20]),
            any::<[u64; 4]>(),
            1..40,
        ),
        at: usize,
        flip in 1u8..,
    ) {
        let rows: Vec<(Address, Amount)> = rows
            .into_iter()
            .map(|(account, limbs)| (account.into(), Amount::units(U256::from_limbs(limbs))))
            .collect();
        let tree = RewardTree::build(rows.clone()).unwrap();
        let reversed = RewardTree::build(rows.into_iter().rev().collect()).unwrap();
        prop_assert_eq!(&reversed, &tree);
        for claim in tree.claims() {
            prop_assert!(tree::verify(tree.root(), &claim));
            prop_assert!(!tree::verify(tree.root(), &changed(&claim, at, flip)));
        }
    }
}

/// The claim with one byte of account, amount and proof changed.
fn changed(claim: &Claim, at: usize, flip: u8) -> Claim {
    let mut bytes = claim.account.to_vec();
    bytes.extend(claim.cumulative.to_units().to_be_bytes::<32>());
    bytes.extend(claim.proof.iter().flatten());
    let at = at % bytes.len();
    bytes[at] ^= flip;
    Claim {
        account: Address::from_slice(&bytes[..20]),
        cumulative: Amount::units(U256::from_be_slice(&bytes[20..52])),
        proof: bytes[52..].chunks(32).map(B256::from_slice).collect(),
    }
}
