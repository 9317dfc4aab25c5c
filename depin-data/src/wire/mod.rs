//! What a device and ingest say to each other through a broker or a proxy, which neither has to trust.
//!
//! | message | bytes |
//! |---|---|
//! | request | `[nonce (16 bytes), signed batch (bytes)]` |
//! | receipt | as [`receipt`] writes it |
//! | refusal | COSE_Sign1 of the log's key with purpose `("refusal", 1)` over `{1: nonce, 2: batch hash, 3: code, 4: detail, 5: device or null}` |
//!
//! All are deterministic CBOR. A receipt proves itself. A refusal lets a device give up a batch, so it is
//! signed as well, and covers the nonce of the very request that it answers: whoever sits on the broker can
//! neither invent one nor keep an old one for later. What does not verify is no answer, and the batch
//! stays where it is. [HTTP](crate::http) carries the same refusal beside its words.

#[cfg(any(feature = "http", feature = "mqtt", feature = "nats"))]
mod nonces;
mod refusal;

use alloc::{boxed::Box, string::String, vec::Vec};

use depin_core::{
    B256, Did, Error, ErrorKind, NetworkId, Result, SignedBatch,
    cbor::{self, CborError, Decoder, Encoder},
    envelope::EnvelopeError,
    transport::{Answer, Receipt},
};
use sha2::{Digest, Sha256};

use self::refusal::SignedRefusal;
use crate::{
    batch,
    receipt::{self, HeadSigner, ReceiptError, ReceiptVerifier},
};

#[cfg(any(feature = "http", feature = "mqtt", feature = "nats"))]
pub(crate) use nonces::Nonces;
pub use refusal::PURPOSE as REFUSAL_PURPOSE;

/// Most bytes of a request: a batch that is somewhat too large still arrives, and is told so.
pub const MAX_REQUEST: usize = batch::MAX_BYTES + 1024;
/// Most bytes of an answer.
pub const MAX_ANSWER: usize = receipt::MAX_BYTES;

/// Says which request an answer belongs to: 16 bytes that nobody can foresee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// From fresh random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Why bytes are no message, or an answer counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Not deterministic CBOR.
    #[error("not deterministic cbor: {0}")]
    Encoding(#[from] CborError),
    /// Too long, or not the shape of the message.
    #[error("not the format of a {0}")]
    Format(&'static str),
    /// The refusal is not signed by the log for this network.
    #[error("the refusal: {0}")]
    Refusal(#[from] EnvelopeError),
    /// The receipt proves nothing.
    #[error("the receipt: {0}")]
    Receipt(#[from] ReceiptError),
    /// The answer is for another batch, or for another request with the same batch.
    #[error("the answer is for another {0}")]
    Other(&'static str),
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        let kind = match &error {
            WireError::Encoding(_) | WireError::Format(_) => ErrorKind::Malformed,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, alloc::format!("{error}")).source(error)
    }
}

/// The name of a device in topics: 32 hex digits of a hash of its DID, which may hold characters that
/// mean something to a broker.
///
/// ```
/// use depin_core::Did;
/// use depin_data::wire::device_tag;
///
/// let tag = device_tag(&Did::parse("did:web:example.com:devices:%2B")?);
/// assert_eq!(tag.len(), 32);
/// assert!(tag.bytes().all(|b| b.is_ascii_hexdigit()));
/// # Ok::<(), depin_data::Error>(())
/// ```
pub fn device_tag(did: &Did) -> String {
    use core::fmt::Write as _;
    let hash = Sha256::new_with_prefix(b"depin-tag-v1\0").chain_update(did.as_str()).finalize();
    hash.iter().take(16).fold(String::with_capacity(32), |mut tag, byte| {
        // Writing to a string cannot fail.
        let _ = write!(tag, "{byte:02x}");
        tag
    })
}

/// The bytes of a request.
///
/// # Errors
/// [`ErrorKind::Limit`] when they are more than [`MAX_REQUEST`].
///
/// ```
/// use depin_core::SignedBatch;
/// use depin_data::wire::{Nonce, decode_request, encode_request};
///
/// let (nonce, batch) = (Nonce::from_bytes([7; 16]), SignedBatch::new(b"signed bytes".as_slice()));
/// let bytes = encode_request(&nonce, &batch)?;
/// assert_eq!(decode_request(&bytes)?, (nonce, batch.as_bytes()));
/// # Ok::<(), depin_data::Error>(())
/// ```
pub fn encode_request(nonce: &Nonce, batch: &SignedBatch) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(batch.as_bytes().len().saturating_add(32));
    let written = Encoder::new(&mut bytes)
        .array(2)
        .and_then(|e| e.bytes(&nonce.0)?.bytes(batch.as_bytes()))
        .is_ok();
    if !written || bytes.len() > MAX_REQUEST {
        let why = "the batch is larger than any batch may be; sign fewer readings at a time";
        return Err(Error::new(ErrorKind::Limit, why).with("bytes", batch.as_bytes().len()));
    }
    Ok(bytes)
}

/// The nonce and the batch of a request.
///
/// # Errors
/// [`WireError::Encoding`] or [`WireError::Format`].
pub fn decode_request(bytes: &[u8]) -> Result<(Nonce, &[u8]), WireError> {
    const WHAT: WireError = WireError::Format("request");
    if bytes.len() > MAX_REQUEST {
        return Err(WHAT);
    }
    cbor::check(bytes)?;
    let mut d = Decoder::new(bytes);
    match (d.array(), d.bytes(), d.bytes()) {
        (Ok(Some(2)), Ok(nonce), Ok(batch)) => {
            let nonce = nonce.try_into().map_err(|_| WHAT)?;
            Ok((Nonce(nonce), batch))
        }
        _ => Err(WHAT),
    }
}

/// The bytes of the answer to the request with `nonce`.
///
/// # Errors
/// [`ErrorKind::Limit`] when they would be more than [`MAX_ANSWER`], or whatever the signer objects to.
pub fn encode_answer(answer: &Answer, nonce: &Nonce, log: &HeadSigner) -> Result<Vec<u8>> {
    match answer {
        Answer::Receipt(receipt) => receipt::encode(receipt),
        Answer::Refusal(refusal) => refusal::sign(refusal, nonce, log),
    }
}

/// An answer that nobody has verified yet.
///
/// ```
/// use std::sync::Arc;
/// use depin_core::{Algorithm, NetworkId, SignedBatch, Signer, SoftwareKey, transport::{Answer, Refusal, RefusalCode}};
/// use depin_data::{receipt::{HeadSigner, ReceiptVerifier}, wire::{Nonce, Reply, encode_answer}};
///
/// let network = NetworkId::parse("climate")?;
/// let key = Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]));
/// let receipts = ReceiptVerifier::new(&network, key.public_key());
/// let log = HeadSigner::new(&network, key, "did:example:log".parse()?);
///
/// let (batch, nonce) = (SignedBatch::new(b"bytes".as_slice()), Nonce::from_bytes([7; 16]));
/// let refusal = Refusal { code: RefusalCode::Malformed, detail: "no cbor".into(), batch: batch.hash(), device: None };
/// let answer = Answer::Refusal(refusal);
/// let bytes = encode_answer(&answer, &nonce, &log)?;
///
/// let reply = Reply::parse(&bytes, &network)?;
/// assert_eq!(reply.batch(), batch.hash());
/// assert!(reply.clone().open(&receipts, &batch, &Nonce::default()).is_err());
/// assert_eq!(reply.open(&receipts, &batch, &nonce)?, answer);
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reply<'a>(Kind<'a>);

#[derive(Clone, Debug)]
enum Kind<'a> {
    Receipt(Receipt),
    Refusal(Box<SignedRefusal<'a>>),
}

impl<'a> Reply<'a> {
    /// Reads an answer of `network`, bounded in size and time.
    ///
    /// # Errors
    /// Names the first rule that is broken.
    pub fn parse(bytes: &'a [u8], network: &NetworkId) -> Result<Self, WireError> {
        /// How a map of six begins.
        const RECEIPT: u8 = 0xa6;
        if bytes.len() > MAX_ANSWER {
            return Err(WireError::Format("answer"));
        }
        if bytes.first() == Some(&RECEIPT) {
            return Ok(Self(Kind::Receipt(receipt::decode(bytes)?)));
        }
        SignedRefusal::parse(bytes, network).map(|refusal| Self(Kind::Refusal(Box::new(refusal))))
    }

    /// The hash of the batch that it says it is about.
    pub fn batch(&self) -> B256 {
        match &self.0 {
            Kind::Receipt(receipt) => receipt.batch,
            Kind::Refusal(signed) => signed.refusal.batch,
        }
    }

    /// Verifies that the log has given this answer to `batch`, and to the request with `nonce` where that
    /// matters.
    ///
    /// # Errors
    /// [`WireError::Receipt`], [`WireError::Refusal`] or [`WireError::Other`].
    pub fn open(
        self,
        receipts: &ReceiptVerifier,
        batch: &SignedBatch,
        nonce: &Nonce,
    ) -> Result<Answer, WireError> {
        match self.0 {
            Kind::Receipt(receipt) => {
                receipts.verify(&receipt, batch)?;
                Ok(Answer::Receipt(receipt))
            }
            Kind::Refusal(signed) if signed.nonce != *nonce => Err(WireError::Other("request")),
            Kind::Refusal(signed) if signed.refusal.batch != batch.hash() => {
                Err(WireError::Other("batch"))
            }
            Kind::Refusal(signed) => {
                signed.envelope.open(receipts.key())?;
                Ok(Answer::Refusal(signed.refusal))
            }
        }
    }
}
