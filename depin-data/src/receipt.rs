//! Receipts: a batch's place in the log, under a tree head that the log has signed.
//!
//! # The bytes
//!
//! A signed tree head is a COSE_Sign1 as [`depin_core::envelope`] writes it, with purpose
//! `("tree-head", 1)`, over `{1: size, 2: root (32 bytes), 3: ms since the Unix epoch}`. A receipt on
//! the wire is `{1: batch hash, 2: index, 3: tree size, 4: root, 5: [*64 path hash], 6: signed head}`.
//! Both are deterministic CBOR.

use alloc::{format, sync::Arc, vec::Vec};

use depin_core::{
    B256, Did, Error, ErrorKind, NetworkId, PublicKey, Result, SignedBatch, Signer, Timestamp,
    cbor::{self, CborError, Decoder, Encoder},
    envelope::{Envelope, EnvelopeError, Purpose},
    log::TreeHead,
    transport::Receipt,
};

use crate::merkle::{self, MAX_PATH, MerkleError};

/// What the signature of a tree head says it is for.
pub const HEAD_PURPOSE: Purpose = Purpose::new("tree-head", 1);
/// Most bytes of an encoded receipt.
pub const MAX_BYTES: usize = 4096;

/// Why bytes are no receipt, or a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// The signed head is malformed, for something else, or not signed by the log's key.
    #[error("the signed tree head: {0}")]
    Head(#[from] EnvelopeError),
    /// Not deterministic CBOR, or longer than [`MAX_BYTES`].
    #[error("not deterministic cbor: {0}")]
    Encoding(#[from] CborError),
    /// The shape is not that of a receipt or tree head.
    #[error("not the format of a receipt: {0}")]
    Format(&'static str),
    /// The receipt is for another batch, or its size and root are not those that were signed.
    #[error("the receipt contradicts {0}")]
    Contradiction(&'static str),
    /// The path does not lead from the batch, or from the head before, to the root.
    #[error(transparent)]
    Path(#[from] MerkleError),
    /// The log signed more batches before. Both heads together are evidence against it.
    #[error("the log has shrunk from {kept} batches to {shown}; keep both heads as evidence")]
    Shrunk {
        /// Size that it signed before.
        kept: u64,
        /// Size that it signed later.
        shown: u64,
    },
    /// The log signed two roots over the same number of batches. Both heads together are evidence
    /// against it.
    #[error("the log has two roots over {0} batches; keep both heads as evidence")]
    Forked(u64),
}

impl From<ReceiptError> for Error {
    fn from(error: ReceiptError) -> Self {
        let kind = match &error {
            ReceiptError::Encoding(_) | ReceiptError::Format(_) => ErrorKind::Malformed,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, format!("{error}")).source(error)
    }
}

/// A tree head that a log has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// Who signed.
    pub log: Did,
    /// Size and root.
    pub tree: TreeHead,
    /// When it was signed, by the log's clock.
    pub at: Timestamp,
}

/// Signs the tree heads of one log.
#[derive(Clone, Debug)]
pub struct HeadSigner {
    network: NetworkId,
    signer: Arc<dyn Signer>,
    did: Did,
}

impl HeadSigner {
    /// Signs as `did` for `network`.
    pub fn new(network: &NetworkId, signer: Arc<dyn Signer>, did: Did) -> Self {
        Self { network: network.clone(), signer, did }
    }

    /// Signs a tree head.
    ///
    /// # Errors
    /// Whatever the signer objects to.
    pub fn sign(&self, tree: &TreeHead, at: Timestamp) -> Result<Vec<u8>> {
        let mut payload = Vec::with_capacity(64);
        Encoder::new(&mut payload)
            .map(3)
            .and_then(|e| e.u8(1)?.u64(tree.size)?.u8(2)?.bytes(tree.root.as_slice()))
            .and_then(|e| e.u8(3)?.u64(at.millis()))
            .map_err(|_| Error::new(ErrorKind::Limit, "the tree head cannot be encoded"))?;
        self.seal(HEAD_PURPOSE, &payload)
    }

    /// Signs something else that the log says.
    pub(crate) fn seal(&self, purpose: Purpose, payload: &[u8]) -> Result<Vec<u8>> {
        Envelope::seal(&*self.signer, &self.did, &self.network, purpose, payload)
    }
}

/// Checks receipts against the key of the log, so that a device may forget what is safe.
///
/// ```
/// use std::sync::Arc;
/// use depin_core::{Algorithm, NetworkId, SignedBatch, Signer, SoftwareKey, Timestamp, log::TreeHead, transport::Receipt};
/// use depin_data::{merkle, receipt::{HeadSigner, ReceiptVerifier}};
///
/// let network = NetworkId::parse("climate")?;
/// let key = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]));
/// let verifier = ReceiptVerifier::new(&network, key.public_key());
///
/// // A log of one batch: its leaf is the root.
/// let batch = SignedBatch::new(b"signed bytes".as_slice());
/// let tree = TreeHead { size: 1, root: merkle::batch_leaf(&batch) };
/// let head = HeadSigner::new(&network, key, "did:example:log".parse()?).sign(&tree, Timestamp::EPOCH)?;
/// let receipt = Receipt { batch: batch.hash(), index: 0, tree_size: 1, root: tree.root, path: vec![], head: head.into() };
/// assert_eq!(verifier.verify(&receipt, &batch)?.tree, tree);
/// assert!(verifier.verify(&receipt, &SignedBatch::new(b"other".as_slice())).is_err());
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReceiptVerifier {
    network: NetworkId,
    key: PublicKey,
}

impl ReceiptVerifier {
    /// For the log of `network` that signs with `key`.
    pub fn new(network: &NetworkId, key: &PublicKey) -> Self {
        Self { network: network.clone(), key: key.clone() }
    }

    /// The network of the log.
    pub const fn network(&self) -> &NetworkId {
        &self.network
    }

    /// The key that the log signs with.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Verifies a signed tree head by itself.
    ///
    /// # Errors
    /// [`ReceiptError::Head`], [`ReceiptError::Encoding`] or [`ReceiptError::Format`].
    pub fn head(&self, bytes: &[u8]) -> Result<SignedHead, ReceiptError> {
        bounded(bytes)?;
        let envelope = Envelope::parse(bytes, &self.network, HEAD_PURPOSE)?;
        let payload = envelope.open(&self.key)?;
        cbor::check(payload)?;
        let mut d = Decoder::new(payload);
        let mut read = || {
            expect(d.map()?, Some(3))?;
            expect(d.u8()?, 1)?;
            let size = d.u64()?;
            expect(d.u8()?, 2)?;
            let root = hash(&mut d)?;
            expect(d.u8()?, 3)?;
            Ok::<_, cbor::decode::Error>((size, root, d.u64()?))
        };
        let (size, root, at) = read().map_err(|_| ReceiptError::Format("signed tree head"))?;
        let log = envelope.signer().clone();
        Ok(SignedHead { log, tree: TreeHead { size, root }, at: Timestamp::from_millis(at) })
    }

    /// Verifies a head that the log shows to a client who kept an earlier one: signed by the same log,
    /// and over a tree that begins with the one before. `path` is the log's answer for
    /// [`consistency`](depin_core::log::BatchLog::consistency) between the two sizes.
    ///
    /// Heads may arrive out of order: one whose time, by the log's own clock, is before that of the kept
    /// one belongs into the place of `kept`.
    ///
    /// # Errors
    /// [`ReceiptError::Shrunk`] and [`ReceiptError::Forked`] for a log that took something back,
    /// [`ReceiptError::Path`] when the path does not show that it has not, and as [`head`](Self::head).
    ///
    /// ```
    /// use depin_core::{Algorithm, B256, NetworkId, Signer, SoftwareKey, Timestamp, log::TreeHead};
    /// use depin_data::{merkle::{Tree, leaf_hash}, receipt::{HeadSigner, ReceiptError, ReceiptVerifier}};
    ///
    /// let (key, network) = (SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]), NetworkId::parse("climate")?);
    /// let verifier = ReceiptVerifier::new(&network, key.public_key());
    /// let signer = HeadSigner::new(&network, std::sync::Arc::new(key), "did:example:log".parse()?);
    /// let tree: Tree = (0..9u8).map(|i| leaf_hash(&[i])).collect();
    /// let sign = |size, root| signer.sign(&TreeHead { size, root }, Timestamp::from_secs(size));
    ///
    /// let kept = verifier.head(&sign(4, tree.root(4).unwrap())?)?;
    /// let path = tree.consistency(4, 9).unwrap();
    /// let newer = verifier.continued(&kept, &sign(9, tree.root(9).unwrap())?, &path)?;
    /// assert_eq!(newer.tree.size, 9);
    /// let forked = verifier.continued(&kept, &sign(9, B256::ZERO)?, &path);
    /// assert!(matches!(forked, Err(ReceiptError::Path(_))));
    /// # Ok::<(), depin_data::Error>(())
    /// ```
    pub fn continued(
        &self,
        kept: &SignedHead,
        shown: &[u8],
        path: &[B256],
    ) -> Result<SignedHead, ReceiptError> {
        let shown = self.head(shown)?;
        if shown.log != kept.log {
            return Err(ReceiptError::Contradiction("the log that signed before"));
        }
        let (old, new) = (kept.tree, shown.tree);
        if new.size < old.size {
            return Err(ReceiptError::Shrunk { kept: old.size, shown: new.size });
        }
        if new.size == old.size && new.root != old.root {
            return Err(ReceiptError::Forked(new.size));
        }
        // Every tree begins with the empty one.
        if old.size > 0 {
            merkle::verify_consistency(old.size, &old.root, new.size, &new.root, path)?;
        }
        Ok(shown)
    }

    /// Verifies that the log has signed a head over a tree that holds `batch` where the receipt says.
    ///
    /// # Errors
    /// Names the first claim that does not hold.
    pub fn verify(
        &self,
        receipt: &Receipt,
        batch: &SignedBatch,
    ) -> Result<SignedHead, ReceiptError> {
        if receipt.batch != batch.hash() {
            return Err(ReceiptError::Contradiction("the batch"));
        }
        let head = self.head(&receipt.head)?;
        if (head.tree.size, head.tree.root) != (receipt.tree_size, receipt.root) {
            return Err(ReceiptError::Contradiction("the signed tree head"));
        }
        let leaf = merkle::batch_leaf(batch);
        let Receipt { index, tree_size, path, root, .. } = receipt;
        merkle::verify_inclusion(&leaf, *index, *tree_size, path, root)?;
        Ok(head)
    }
}

/// The bytes of a receipt.
///
/// # Errors
/// [`ErrorKind::Limit`] when it has more than [`MAX_BYTES`] or a path of more than 64 hashes.
pub fn encode(receipt: &Receipt) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(256 + 34 * receipt.path.len() + receipt.head.len());
    let written = Encoder::new(&mut bytes)
        .map(6)
        .and_then(|e| e.u8(1)?.bytes(receipt.batch.as_slice())?.u8(2)?.u64(receipt.index))
        .and_then(|e| e.u8(3)?.u64(receipt.tree_size)?.u8(4)?.bytes(receipt.root.as_slice()))
        .and_then(|e| e.u8(5)?.array(receipt.path.len() as u64))
        .and_then(|e| receipt.path.iter().try_fold(e, |e, hash| e.bytes(hash.as_slice())))
        .and_then(|e| e.u8(6)?.bytes(&receipt.head))
        .is_ok();
    if !written || receipt.path.len() > MAX_PATH || bytes.len() > MAX_BYTES {
        return Err(Error::new(ErrorKind::Limit, "the receipt is too large to encode"));
    }
    Ok(bytes)
}

/// Reads a receipt; whether it proves anything is for [`ReceiptVerifier::verify`] to say.
///
/// # Errors
/// [`ReceiptError::Encoding`] or [`ReceiptError::Format`].
pub fn decode(bytes: &[u8]) -> Result<Receipt, ReceiptError> {
    bounded(bytes)?;
    cbor::check(bytes)?;
    let mut d = Decoder::new(bytes);
    let mut read = || {
        expect(d.map()?, Some(6))?;
        expect(d.u8()?, 1)?;
        let batch = hash(&mut d)?;
        expect(d.u8()?, 2)?;
        let index = d.u64()?;
        expect(d.u8()?, 3)?;
        let tree_size = d.u64()?;
        expect(d.u8()?, 4)?;
        let root = hash(&mut d)?;
        expect(d.u8()?, 5)?;
        let count = d.array()?.filter(|count| *count <= MAX_PATH as u64);
        let count = count.ok_or_else(|| cbor::decode::Error::message("path"))?;
        let path = (0..count).map(|_| hash(&mut d)).collect::<Result<_, _>>()?;
        expect(d.u8()?, 6)?;
        let head = d.bytes()?.to_vec().into();
        Ok::<_, cbor::decode::Error>(Receipt { batch, index, tree_size, root, path, head })
    };
    read().map_err(|_| ReceiptError::Format("receipt"))
}

fn bounded(bytes: &[u8]) -> Result<(), ReceiptError> {
    let fits = bytes.len() <= MAX_BYTES;
    fits.then_some(()).ok_or(ReceiptError::Format("more than 4096 bytes"))
}

fn expect<T: PartialEq>(found: T, expected: T) -> Result<(), cbor::decode::Error> {
    if found == expected { Ok(()) } else { Err(cbor::decode::Error::message("unexpected key")) }
}

fn hash(d: &mut Decoder<'_>) -> Result<B256, cbor::decode::Error> {
    B256::try_from(d.bytes()?).map_err(|_| cbor::decode::Error::message("a hash is 32 bytes"))
}
