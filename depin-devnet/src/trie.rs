//! A persistent Merkle-Patricia trie (Ethereum yellow paper, appendix D).
//!
//! Nodes are immutable and shared. A change copies only the path it walks, so every block keeps its
//! own state for the price of its differences; history, snapshots and reorgs are clones of a root.
//! A node remembers its encoding, so a root costs only the hashes of what changed since the last one.
//! Keys are 32-byte hashes (a "secure" trie): all of one length, so branches never hold values.

use std::sync::{Arc, OnceLock};

use alloy::{
    consensus::constants::EMPTY_ROOT_HASH,
    primitives::{B256, Bytes, keccak256},
    rlp::{BufMut, Encodable, Header},
};

/// What a leaf holds: anything with an RLP form and cheap to clone.
pub(crate) trait Value: Clone {
    /// RLP of the value as the trie commits to it.
    fn rlp(&self) -> Vec<u8>;
}

/// A map from 32-byte keys to values with a Merkle root; cloning is one reference count.
#[derive(Debug)]
pub(crate) struct Trie<V>(Link<V>);

type Link<V> = Option<Arc<Node<V>>>;

/// A node at a fixed depth. Leaves and extensions keep whole keys: the depth says where they start.
#[derive(Debug)]
struct Node<V> {
    kind: Kind<V>,
    /// How the parent refers to this node: its RLP when under 32 bytes, else its hash.
    reference: OnceLock<Vec<u8>>,
}

#[derive(Debug)]
enum Kind<V> {
    Leaf {
        key: B256,
        value: V,
    },
    /// Shares the nibbles of `key` up to `end` with everything below.
    Extension {
        key: B256,
        end: usize,
        child: Arc<Node<V>>,
    },
    Branch(Box<[Link<V>; 16]>),
}

impl<V> Clone for Trie<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self(None)
    }
}

impl<V: Value> Trie<V> {
    /// The value under a key.
    pub(crate) fn value(&self, key: &B256) -> Option<&V> {
        let (mut node, mut depth) = (self.0.as_deref()?, 0);
        loop {
            match &node.kind {
                Kind::Leaf { key: own, value } => return (own == key).then_some(value),
                Kind::Extension { key: own, end, child } => {
                    if shared_nibbles(own, key) < *end {
                        return None;
                    }
                    (node, depth) = (child, *end);
                }
                Kind::Branch(children) => {
                    (node, depth) = (children[nibble(key, depth)].as_deref()?, depth + 1);
                }
            }
        }
    }

    /// Puts a value under a key.
    pub(crate) fn insert(&mut self, key: B256, value: V) {
        self.0 = Some(insert(self.0.as_ref(), 0, key, value));
    }

    /// Takes a key away; absent keys are fine.
    pub(crate) fn remove(&mut self, key: &B256) {
        if self.value(key).is_some() {
            self.0 = self.0.as_ref().and_then(|root| remove(root, 0, key));
        }
    }

    /// The Merkle root.
    pub(crate) fn root(&self) -> B256 {
        self.0.as_ref().map_or(EMPTY_ROOT_HASH, |root| {
            let reference = root.reference(0);
            // A root is always hashed, also when it is short enough to be embedded.
            match reference.split_first() {
                Some((0xa0, hash)) if hash.len() == 32 => B256::from_slice(hash),
                _ => keccak256(reference),
            }
        })
    }

    /// Nodes from the root towards the key, as `eth_getProof` returns them (EIP-1186).
    pub(crate) fn proof(&self, key: &B256) -> Vec<Bytes> {
        let (mut next, mut depth, mut nodes) = (self.0.as_deref(), 0, Vec::new());
        while let Some(node) = next {
            let encoded = node.encode(depth);
            // Nodes under 32 bytes are part of their parent and have no entry of their own.
            if depth == 0 || encoded.len() >= 32 {
                nodes.push(encoded.into());
            }
            (next, depth) = match &node.kind {
                Kind::Leaf { .. } => (None, depth),
                Kind::Extension { key: own, end, child } => {
                    ((shared_nibbles(own, key) >= *end).then_some(&**child), *end)
                }
                Kind::Branch(children) => (children[nibble(key, depth)].as_deref(), depth + 1),
            };
        }
        nodes
    }

    /// What is different in `newer`: keys with their new value, or `None` for those taken away.
    /// Shared subtrees are skipped, so the cost is that of the difference.
    pub(crate) fn changes(&self, newer: &Self) -> Vec<(B256, Option<V>)> {
        let mut found = Vec::new();
        changes(self.0.as_ref(), newer.0.as_ref(), &mut found);
        found
    }
}

impl<V: Value> Node<V> {
    fn new(kind: Kind<V>) -> Arc<Self> {
        Arc::new(Self { kind, reference: OnceLock::new() })
    }

    fn reference(&self, depth: usize) -> &[u8] {
        self.reference.get_or_init(|| {
            let encoded = self.encode(depth);
            if encoded.len() < 32 {
                return encoded;
            }
            let mut reference = Vec::with_capacity(33);
            keccak256(&encoded).encode(&mut reference);
            reference
        })
    }

    fn encode(&self, depth: usize) -> Vec<u8> {
        let mut payload = Vec::with_capacity(128);
        match &self.kind {
            Kind::Leaf { key, value } => {
                compact_path(key, depth, 64, true).as_slice().encode(&mut payload);
                value.rlp().as_slice().encode(&mut payload);
            }
            Kind::Extension { key, end, child } => {
                compact_path(key, depth, *end, false).as_slice().encode(&mut payload);
                payload.put_slice(child.reference(*end));
            }
            Kind::Branch(children) => {
                for child in children.iter() {
                    match child {
                        Some(child) => payload.put_slice(child.reference(depth + 1)),
                        None => payload.put_u8(EMPTY_STRING),
                    }
                }
                payload.put_u8(EMPTY_STRING);
            }
        }
        let mut encoded = Vec::with_capacity(payload.len() + 4);
        Header { list: true, payload_length: payload.len() }.encode(&mut encoded);
        encoded.extend_from_slice(&payload);
        encoded
    }
}

fn insert<V: Value>(
    link: Option<&Arc<Node<V>>>,
    depth: usize,
    key: B256,
    value: V,
) -> Arc<Node<V>> {
    let Some(node) = link else { return Node::new(Kind::Leaf { key, value }) };
    match &node.kind {
        Kind::Leaf { key: own, .. } if *own == key => Node::new(Kind::Leaf { key, value }),
        Kind::Leaf { key: own, value: old } => {
            let fork = shared_nibbles(own, &key);
            let old = Node::new(Kind::Leaf { key: *own, value: old.clone() });
            split(depth, fork, (own, old), (key, value))
        }
        Kind::Extension { key: own, end, child } => {
            let fork = shared_nibbles(own, &key);
            if fork >= *end {
                let child = insert(Some(child), *end, key, value);
                return Node::new(Kind::Extension { key, end: *end, child });
            }
            let rest = if fork + 1 == *end {
                Arc::clone(child)
            } else {
                Node::new(Kind::Extension { key: *own, end: *end, child: Arc::clone(child) })
            };
            split(depth, fork, (own, rest), (key, value))
        }
        Kind::Branch(children) => {
            let mut children = children.clone();
            let slot = &mut children[nibble(&key, depth)];
            *slot = Some(insert(slot.as_ref(), depth + 1, key, value));
            Node::new(Kind::Branch(children))
        }
    }
}

/// A branch at `fork` over an existing subtree and one new leaf, reached from `depth`.
fn split<V: Value>(
    depth: usize,
    fork: usize,
    (own, rest): (&B256, Arc<Node<V>>),
    (key, value): (B256, V),
) -> Arc<Node<V>> {
    let mut children: Box<[Link<V>; 16]> = Box::default();
    children[nibble(own, fork)] = Some(rest);
    children[nibble(&key, fork)] = Some(Node::new(Kind::Leaf { key, value }));
    let branch = Node::new(Kind::Branch(children));
    if fork == depth {
        branch
    } else {
        Node::new(Kind::Extension { key, end: fork, child: branch })
    }
}

/// Removes a key that is known to be present.
fn remove<V: Value>(node: &Arc<Node<V>>, depth: usize, key: &B256) -> Link<V> {
    match &node.kind {
        Kind::Leaf { .. } => None,
        Kind::Extension { end, child, .. } => {
            remove(child, *end, key).map(|child| lift(&child, depth, *end, key))
        }
        Kind::Branch(children) => {
            let mut children = children.clone();
            let index = nibble(key, depth);
            children[index] = children[index].as_ref().and_then(|c| remove(c, depth + 1, key));
            let mut left = children.iter().enumerate().filter_map(|(i, c)| Some((i, c.as_ref()?)));
            match (left.next(), left.next()) {
                (Some((only, child)), None) => {
                    Some(lift(child, depth, depth + 1, &with_nibble(key, depth, only)))
                }
                (None, _) => None,
                _ => Some(Node::new(Kind::Branch(children))),
            }
        }
    }
}

/// The node that stands at `depth` for a subtree that lives at `below`; `path` leads to it.
fn lift<V: Value>(child: &Arc<Node<V>>, depth: usize, below: usize, path: &B256) -> Arc<Node<V>> {
    match &child.kind {
        Kind::Leaf { key, value } => Node::new(Kind::Leaf { key: *key, value: value.clone() }),
        Kind::Extension { key, end, child } => {
            Node::new(Kind::Extension { key: *key, end: *end, child: Arc::clone(child) })
        }
        Kind::Branch(_) if depth == below => Arc::clone(child),
        Kind::Branch(_) => {
            Node::new(Kind::Extension { key: *path, end: below, child: Arc::clone(child) })
        }
    }
}

fn changes<V: Value>(
    old: Option<&Arc<Node<V>>>,
    new: Option<&Arc<Node<V>>>,
    found: &mut Vec<(B256, Option<V>)>,
) {
    if same(old, new) {
        return;
    }
    if let (Some(Kind::Branch(old)), Some(Kind::Branch(new))) =
        (old.map(|n| &n.kind), new.map(|n| &n.kind))
    {
        for (old, new) in old.iter().zip(new.iter()) {
            changes(old.as_ref(), new.as_ref(), found);
        }
        return;
    }
    let mut kept = std::collections::BTreeSet::new();
    leaves(new, &mut |key, value| {
        kept.insert(*key);
        found.push((*key, Some(value.clone())));
    });
    leaves(old, &mut |key, _| {
        if !kept.contains(key) {
            found.push((*key, None));
        }
    });
}

fn leaves<'a, V>(link: Option<&'a Arc<Node<V>>>, visit: &mut impl FnMut(&'a B256, &'a V)) {
    match link.map(|node| &node.kind) {
        None => {}
        Some(Kind::Leaf { key, value }) => visit(key, value),
        Some(Kind::Extension { child, .. }) => leaves(Some(child), visit),
        Some(Kind::Branch(children)) => {
            children.iter().for_each(|child| leaves(child.as_ref(), visit));
        }
    }
}

fn same<V>(a: Option<&Arc<Node<V>>>, b: Option<&Arc<Node<V>>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

/// Nibble `index` (0..64) of a key.
fn nibble(key: &B256, index: usize) -> usize {
    let byte = key[index / 2];
    usize::from(if index.is_multiple_of(2) { byte >> 4 } else { byte & 0x0f })
}

fn with_nibble(key: &B256, index: usize, value: usize) -> B256 {
    let (mut key, value) = (*key, (value & 0x0f) as u8);
    let byte = &mut key[index / 2];
    *byte = if index.is_multiple_of(2) {
        (value << 4) | (*byte & 0x0f)
    } else {
        (*byte & 0xf0) | value
    };
    key
}

/// How many leading nibbles two keys share.
fn shared_nibbles(a: &B256, b: &B256) -> usize {
    match a.iter().zip(b.iter()).position(|(a, b)| a != b) {
        None => 64,
        Some(at) => at * 2 + usize::from(a[at] >> 4 == b[at] >> 4),
    }
}

/// Hex-prefix encoding of the nibbles `start..end` (yellow paper, appendix C).
fn compact_path(key: &B256, start: usize, end: usize, leaf: bool) -> Vec<u8> {
    let odd = (end - start) % 2 == 1;
    let flag = if leaf { 0x20 } else { 0 };
    let mut path = Vec::with_capacity((end - start) / 2 + 1);
    path.push(if odd { flag | 0x10 | nibble(key, start) as u8 } else { flag });
    let mut at = start + usize::from(odd);
    while at < end {
        path.push(((nibble(key, at) << 4) | nibble(key, at + 1)) as u8);
        at += 2;
    }
    path
}

const EMPTY_STRING: u8 = 0x80;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy_trie::{HashBuilder, Nibbles, proof::verify_proof};
    use proptest::prelude::*;

    use super::*;

    impl Value for u64 {
        fn rlp(&self) -> Vec<u8> {
            alloy::rlp::encode(self)
        }
    }

    fn reference_root(map: &BTreeMap<B256, u64>) -> B256 {
        let mut builder = HashBuilder::default();
        for (key, value) in map {
            builder.add_leaf(Nibbles::unpack(key), &value.rlp());
        }
        builder.root()
    }

    /// Keys that share long prefixes, so that extensions split and merge.
    fn key(seed: u16) -> B256 {
        let mut key = B256::ZERO;
        key[0] = (seed >> 12) as u8;
        key[7] = (seed >> 8) as u8 & 0x0f;
        key[31] = seed as u8;
        key
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_history_has_the_root_of_its_content(ops in prop::collection::vec((any::<u16>(), any::<Option<u64>>()), 0..60)) {
            let (mut trie, mut map) = (Trie::default(), BTreeMap::new());
            for (seed, value) in ops {
                let key = key(seed & 0x3133);
                let before = trie.clone();
                match value {
                    Some(value) => { trie.insert(key, value); map.insert(key, value); }
                    None => { trie.remove(&key); map.remove(&key); }
                }
                prop_assert_eq!(trie.root(), reference_root(&map));
                prop_assert_eq!(trie.value(&key), map.get(&key));
                let mut replayed = before.clone();
                for (key, value) in before.changes(&trie) {
                    match value { Some(value) => replayed.insert(key, value), None => replayed.remove(&key) }
                }
                prop_assert_eq!(replayed.root(), trie.root());
            }
            for seed in (0..=0x3133u16).step_by(0x101) {
                let key = key(seed & 0x3133);
                let proof = trie.proof(&key);
                if !map.is_empty() {
                    verify_proof(trie.root(), Nibbles::unpack(key), map.get(&key).map(Value::rlp), &proof).unwrap();
                }
            }
        }
    }

    #[test]
    fn an_old_root_survives_changes() {
        let mut trie = Trie::default();
        (0..50).for_each(|n| trie.insert(keccak256([n]), u64::from(n)));
        let (old, root) = (trie.clone(), trie.root());
        (0..50).for_each(|n| trie.remove(&keccak256([n])));
        assert_eq!(trie.root(), EMPTY_ROOT_HASH);
        assert_eq!(old.root(), root);
    }
}
