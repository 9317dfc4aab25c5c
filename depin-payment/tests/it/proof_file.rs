//! Reward trees in files, whole and damaged.

use depin_core::{Address, Amount, B256, ErrorKind, keccak256};
use depin_payment::{
    RewardTree,
    tree::{
        self,
        file::{Check, ProofFile},
    },
};
use proptest::prelude::*;

use super::account;

const DOMAIN: B256 = B256::repeat_byte(0xd0);

fn build(count: u64) -> RewardTree {
    RewardTree::build((0..count).map(|i| (account(i), Amount::from(i + 1))).collect()).unwrap()
}

fn bytes(tree: &RewardTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    tree.write(DOMAIN, &mut bytes).unwrap();
    bytes
}

fn opened(bytes: Vec<u8>, check: Check) -> Result<ProofFile, ErrorKind> {
    ProofFile::from_bytes(bytes, check).map_err(|error| error.kind())
}

#[test]
fn a_file_proves_what_its_tree_proves() {
    let folder = tempfile::tempdir().unwrap();
    // Around the sizes of blocks of rows and of the levels that are kept in memory.
    for count in [0, 1, 2, 3, 127, 128, 129, 257, 5_000] {
        let tree = build(count);
        let path = folder.path().join(format!("{count}.proofs"));
        ProofFile::create(&path, &tree, DOMAIN).unwrap();
        let file = ProofFile::open(&path, Check::Full).unwrap();
        assert_eq!((file.root(), file.domain()), (tree.root(), DOMAIN));
        assert_eq!((file.len(), file.is_empty()), (tree.len(), tree.is_empty()));
        for (row, claim) in tree.claims().enumerate() {
            assert_eq!(file.claim(claim.account).unwrap().as_ref(), Some(&claim));
            assert_eq!(file.claim_at(row).unwrap(), Some(claim));
        }
        assert_eq!(file.claim(account(count)).unwrap(), None);
        assert_eq!(file.claim(Address::ZERO).unwrap(), None);
        assert_eq!(file.claim(Address::repeat_byte(0xff)).unwrap(), None);
        assert_eq!(file.claim_at(tree.len()).unwrap(), None);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 9, "nothing else is left behind");
}

#[test]
fn threads_share_one_file() {
    let file = opened(bytes(&build(1_000)), Check::Quick).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let file = &file;
            scope.spawn(move || {
                for i in (thread..1_000).step_by(4) {
                    assert!(file.claim(account(i)).unwrap().is_some());
                }
            });
        }
    });
}

#[test]
fn a_missing_file_is_not_found() {
    let error = ProofFile::open(std::path::Path::new("/nowhere/at/all"), Check::Quick).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_file_cut_anywhere_or_with_more_behind_it_is_refused() {
    let whole = bytes(&build(5));
    for length in 0..whole.len() {
        let kind = opened(whole[..length].to_vec(), Check::Quick).unwrap_err();
        let expected = if length < 8 { ErrorKind::Malformed } else { ErrorKind::Corrupt };
        assert_eq!(kind, expected, "{length} bytes");
    }
    let longer = [&whole[..], &[0]].concat();
    assert_eq!(opened(longer, Check::Quick).unwrap_err(), ErrorKind::Corrupt);
}

#[test]
fn any_changed_byte_is_seen_by_the_full_check_and_never_gives_a_wrong_claim() {
    let tree = build(7);
    let whole = bytes(&tree);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        assert!(opened(damaged.clone(), Check::Full).is_err(), "byte {at}");
        let Ok(file) = opened(damaged, Check::Quick) else { continue };
        for row in 0..7 {
            if let Ok(Some(claim)) = file.claim_at(row) {
                assert!(tree::verify(tree.root(), &claim), "byte {at}");
            }
        }
    }
}

#[test]
fn a_header_that_promises_too_much_is_refused_before_anything_is_read() {
    let whole = bytes(&build(3));
    for count in [2, 4, 1 << 31, (1 << 31) + 1, u64::MAX] {
        let mut lying = whole.clone();
        lying[16..24].copy_from_slice(&count.to_be_bytes());
        let hash = keccak256(&lying[..96]);
        lying[96..128].copy_from_slice(hash.as_slice());
        assert_eq!(opened(lying, Check::Quick).unwrap_err(), ErrorKind::Corrupt, "{count} rows");
    }
}

#[test]
fn another_version_or_encoding_is_unsupported() {
    for at in [11, 15] {
        let mut newer = bytes(&build(3));
        newer[at] = 9;
        assert_eq!(opened(newer, Check::Quick).unwrap_err(), ErrorKind::Unsupported);
    }
}

#[test]
fn a_row_that_points_past_the_tree_is_corrupt() {
    let mut damaged = bytes(&build(1));
    damaged[128 + 20..128 + 24].copy_from_slice(&u32::MAX.to_be_bytes());
    let file = opened(damaged, Check::Quick).unwrap();
    assert_eq!(file.claim(account(0)).unwrap_err().kind(), ErrorKind::Corrupt);
}

proptest! {
    #[test]
    fn random_bytes_behind_a_true_header_never_panic(count in 0u64..9, noise in prop::collection::vec(any::<u8>(), 1_200)) {
        let mut damaged = bytes(&build(count));
        let body = damaged.len() - 128;
        damaged[128..].copy_from_slice(&noise[..body]);
        if let Ok(file) = opened(damaged, Check::Quick) {
            for row in 0..10 {
                let _ = file.claim_at(row);
                let _ = file.claim(account(row as u64));
            }
        }
    }
}

#[test]
fn of_two_who_write_at_once_each_file_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proofs");
    let trees = [build(3_000), build(2_900)];
    for _ in 0..10 {
        std::thread::scope(|scope| {
            let write = |tree| {
                let path = &path;
                scope.spawn(move || ProofFile::create(path, tree, B256::ZERO))
            };
            let writing = trees.each_ref().map(write);
            writing.into_iter().for_each(|written| written.join().unwrap().unwrap());
        });
        let root = ProofFile::open(&path, Check::Full).unwrap().root();
        assert!(trees.iter().any(|tree| tree.root() == root));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}
