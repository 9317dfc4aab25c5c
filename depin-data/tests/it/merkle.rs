//! Trees against the known answers of transparency-dev/merkle, and against the definition.

use std::{fs, path::Path};

use depin_core::{B256, keccak256};
use depin_data::merkle::{
    Accumulator, MerkleError, Tree, leaf_hash, node_hash, root, verify_consistency,
    verify_inclusion,
};
use proptest::prelude::*;
use serde_json::Value;

/// The known answers take roots as any bytes and compare them; ours are 32 bytes. Others are mapped to
/// 32 bytes one to one, which keeps equality.
fn hash_of(base64: &Value) -> B256 {
    let bytes = decode_base64(base64.as_str().unwrap_or_default());
    B256::try_from(bytes.as_slice()).unwrap_or_else(|_| keccak256(&bytes))
}

fn decode_base64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> = text.bytes().filter(|c| *c != b'=').map(|c| value(c).into()).collect();
    let chunk = |four: &[u32]| {
        let bits = four.iter().fold(0, |bits, digit| bits << 6 | digit) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(chunk).collect()
}

fn cases(folder: &Path, run: &mut impl FnMut(&Value) -> bool) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.fold(0, |seen, path| {
        if path.is_dir() {
            return seen + cases(&path, run);
        }
        let case: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let fails = case["wantErr"].as_bool().unwrap();
        assert_eq!(run(&case), !fails, "{}", path.display());
        seen + 1
    })
}

fn path_of(case: &Value) -> Vec<B256> {
    case["proof"].as_array().into_iter().flatten().map(hash_of).collect()
}

#[test]
fn known_inclusion_paths_hold_and_corrupted_ones_do_not() {
    let Some(folder) =
        depin_testkit::vectors::find(env!("CARGO_MANIFEST_DIR"), "data/merkle/testdata/inclusion")
    else {
        return;
    };
    let seen = cases(&folder, &mut |case| {
        let (index, size) = (case["leafIdx"].as_u64().unwrap(), case["treeSize"].as_u64().unwrap());
        let leaf = decode_base64(case["leafHash"].as_str().unwrap());
        let Ok(leaf) = B256::try_from(leaf.as_slice()) else { return false };
        verify_inclusion(&leaf, index, size, &path_of(case), &hash_of(&case["root"])).is_ok()
    });
    assert!(seen > 50, "only {seen} cases");
}

#[test]
fn known_consistency_paths_hold_and_corrupted_ones_do_not() {
    let Some(folder) = depin_testkit::vectors::find(
        env!("CARGO_MANIFEST_DIR"),
        "data/merkle/testdata/consistency",
    ) else {
        return;
    };
    let seen = cases(&folder, &mut |case| {
        let (old, new) = (case["size1"].as_u64().unwrap(), case["size2"].as_u64().unwrap());
        let roots = (hash_of(&case["root1"]), hash_of(&case["root2"]));
        verify_consistency(old, &roots.0, new, &roots.1, &path_of(case)).is_ok()
    });
    assert!(seen > 50, "only {seen} cases");
}

fn leaves(count: u64) -> Vec<B256> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

#[test]
fn the_empty_tree_has_the_hash_of_nothing() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(root([]), empty.parse::<B256>().unwrap());
}

#[test]
fn a_leaf_never_passes_for_a_node() {
    let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
    let forged = [a.as_slice(), b.as_slice()].concat();
    assert_ne!(leaf_hash(&forged), node_hash(&a, &b));
}

#[test]
fn every_path_of_every_small_tree_verifies_and_only_in_its_place() {
    let leaves = leaves(40);
    let tree: Tree = leaves.iter().copied().collect();
    for size in 1..=40u64 {
        let root = tree.root(size).unwrap();
        for index in 0..size {
            let path = tree.inclusion(index, size).unwrap();
            let leaf = &leaves[index as usize];
            assert_eq!(verify_inclusion(leaf, index, size, &path, &root), Ok(()));
            let neighbour = (index + 1) % size;
            if neighbour != index {
                assert!(verify_inclusion(leaf, neighbour, size, &path, &root).is_err());
            }
            if let Some((_, shorter)) = path.split_last() {
                assert!(verify_inclusion(leaf, index, size, shorter, &root).is_err());
            }
        }
        for old in 1..=size {
            let (path, old_root) = (tree.consistency(old, size).unwrap(), tree.root(old).unwrap());
            assert_eq!(verify_consistency(old, &old_root, size, &root, &path), Ok(()));
            let other = tree.root(old - 1).unwrap();
            assert!(verify_consistency(old, &other, size, &root, &path).is_err());
        }
    }
    assert_eq!(tree.root(41), None);
    assert_eq!(tree.inclusion(3, 3), None);
    assert_eq!(tree.consistency(3, 41), None);
    assert_eq!(tree.consistency(0, 3), Some(Vec::new()));
}

#[test]
fn endless_paths_end_early() {
    let path = vec![B256::ZERO; 1_000_000];
    let hash = B256::ZERO;
    assert_eq!(verify_inclusion(&hash, 0, 2, &path, &hash), Err(MerkleError::Length));
    assert_eq!(verify_inclusion(&hash, 0, u64::MAX, &path, &hash), Err(MerkleError::Length));
    let consistency = verify_consistency(3, &hash, u64::MAX, &hash, &path);
    assert_eq!(consistency, Err(MerkleError::Length));
}

proptest! {
    #[test]
    fn stream_and_tree_agree(count in 0u64..300) {
        let mut stream = Accumulator::new();
        leaves(count).into_iter().for_each(|leaf| stream.push(leaf));
        let tree: Tree = leaves(count).into_iter().collect();
        prop_assert_eq!(Some(stream.root()), tree.root(count));
        prop_assert_eq!(stream.size(), count);
    }

    #[test]
    fn random_paths_never_verify_and_never_panic(
        index: u64, size: u64, old: u64, hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let path: Vec<_> = hashes.into_iter().map(B256::new).collect();
        let hash = B256::repeat_byte(1);
        prop_assert!(verify_inclusion(&hash, index, size, &path, &B256::ZERO).is_err());
        prop_assert!(verify_consistency(old, &hash, size, &B256::ZERO, &path).is_err());
    }
}
