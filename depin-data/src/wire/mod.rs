//! What a device and ingest say to each other through a broker or a proxy, which neither has to trust.
//!
//! | message | bytes |
//! |---|---|
//! | request | `[nonce (16 bytes), signed batch or question (bytes)]` |
//! | question | COSE_Sign1 of the device's key with purpose `("standing-question", 1)` over `{1: nonce}` |
//! | receipt | as [`receipt`] writes it |
//! | refusal | COSE_Sign1 of the log's key with purpose `("refusal", 1)` over `{1: nonce, 2: batch hash, 3: code, 4: detail, 5: device or null}` |
//! | standing | COSE_Sign1 of the log's key with purpose `("standing", 1)` over `{1: nonce, 2: hash of the question, 3: [sequence, batch hash] or null}` |
//!
//! All are deterministic CBOR. A receipt proves itself. A refusal lets a device give up a batch, and a standing
//! says which number it signs next, so they are signed as well, and cover the nonce of the very request that
//! they answer: whoever sits on the broker can neither invent one nor keep an old one for later. What does not
//! verify is no answer, and the batch stays where it is. [HTTP](crate::http) carries the same.
//!
//! A question has no time: a device that has lost its memory has often lost its clock with it, and the nonce is
//! what makes an answer fresh. It travels as a batch does, on the same topic, behind those sent before it.

#[cfg(any(feature = "http", feature = "mqtt", feature = "nats"))]
mod nonces;
mod refusal;
mod standing;

use alloc::{boxed::Box, string::String, vec::Vec};

use depin_core::{
    B256, Did, Error, ErrorKind, NetworkId, Result, SignedBatch,
    cbor::{self, CborError, Decoder, Encoder},
    envelope::EnvelopeError,
    log::ChainTip,
    transport::{Answer, Receipt, Standing},
};
use sha2::{Digest, Sha256};

use self::{refusal::SignedRefusal, standing::SignedTip};
use crate::{
    batch,
    receipt::{self, HeadSigner, ReceiptError, ReceiptVerifier},
};

#[cfg(any(feature = "http", feature = "mqtt", feature = "nats"))]
pub(crate) use nonces::Nonces;
pub use refusal::PURPOSE as REFUSAL_PURPOSE;
pub use standing::{
    MAX_QUESTION, PURPOSE as STANDING_PURPOSE, QUESTION_PURPOSE, Question, question,
};

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
    /// The question is not signed by the device for this network.
    #[error("the question: {0}")]
    Question(#[source] EnvelopeError),
    /// The standing is not signed by the log for this network.
    #[error("the standing: {0}")]
    Standing(#[source] EnvelopeError),
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

/// The bytes of the answer to the question with this hash, asked with `nonce`.
///
/// # Errors
/// Whatever the signer objects to.
///
/// ```
/// use std::sync::Arc;
/// use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey, transport::Standing};
/// use depin_data::{receipt::{HeadSigner, ReceiptVerifier}, wire::{Nonce, Question, Reply, encode_standing, question}};
///
/// let (network, did) = (NetworkId::parse("climate")?, "did:example:station".parse()?);
/// let key = |seed| Arc::new(SoftwareKey::from_seed(Algorithm::EdDsa, [seed; 32]));
/// let (device, log) = (key(1), key(2));
/// let (nonce, receipts) = (Nonce::from_bytes([7; 16]), ReceiptVerifier::new(&network, log.public_key()));
/// let log = HeadSigner::new(&network, log, "did:example:log".parse()?);
///
/// let asked = question(&*device, &did, &network, &nonce)?;
/// Question::parse(asked.as_bytes(), &network)?.verify(device.public_key())?;
/// let never_sent = Standing::Tip(None);
/// let bytes = encode_standing(&never_sent, asked.hash(), &nonce, &log)?;
///
/// let reply = Reply::parse(&bytes, &network)?;
/// assert!(reply.clone().open_standing(&receipts, &asked, &Nonce::default()).is_err());
/// assert_eq!(reply.open_standing(&receipts, &asked, &nonce)?, never_sent);
/// # Ok::<(), depin_data::Error>(())
/// ```
pub fn encode_standing(
    standing: &Standing,
    question: B256,
    nonce: &Nonce,
    log: &HeadSigner,
) -> Result<Vec<u8>> {
    match standing {
        Standing::Tip(tip) => standing::sign(*tip, question, nonce, log),
        Standing::Refusal(refusal) => refusal::sign(refusal, nonce, log),
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
    Tip(Box<SignedTip<'a>>),
}

/// What was verified.
#[derive(Debug)]
pub(crate) enum Said {
    Answer(Answer),
    Tip(Option<ChainTip>),
}

impl Said {
    /// What is said to a batch.
    pub(crate) fn answer(self) -> Result<Answer, WireError> {
        match self {
            Self::Answer(answer) => Ok(answer),
            Self::Tip(_) => Err(WireError::Other("kind of request")),
        }
    }

    /// What is said to a question.
    pub(crate) fn standing(self) -> Result<Standing, WireError> {
        match self {
            Self::Tip(tip) => Ok(Standing::Tip(tip)),
            Self::Answer(Answer::Refusal(refusal)) => Ok(Standing::Refusal(refusal)),
            Self::Answer(Answer::Receipt(_)) => Err(WireError::Other("kind of request")),
        }
    }
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
        let kind = match SignedRefusal::parse(bytes, network) {
            Err(WireError::Refusal(EnvelopeError::Purpose { .. })) => {
                Kind::Tip(Box::new(SignedTip::parse(bytes, network)?))
            }
            refusal => Kind::Refusal(Box::new(refusal?)),
        };
        Ok(Self(kind))
    }

    /// The hash of the batch, or of the question, that it says it is about.
    pub fn batch(&self) -> B256 {
        match &self.0 {
            Kind::Receipt(receipt) => receipt.batch,
            Kind::Refusal(signed) => signed.refusal.batch,
            Kind::Tip(signed) => signed.question,
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
        self.said(receipts, batch, nonce)?.answer()
    }

    /// Verifies that the log has given this answer to the `question` that was asked with `nonce`.
    ///
    /// # Errors
    /// [`WireError::Standing`], [`WireError::Refusal`] or [`WireError::Other`].
    pub fn open_standing(
        self,
        receipts: &ReceiptVerifier,
        question: &SignedBatch,
        nonce: &Nonce,
    ) -> Result<Standing, WireError> {
        self.said(receipts, question, nonce)?.standing()
    }

    /// Verifies that the log has said this to what a device has `sent`.
    pub(crate) fn said(
        self,
        receipts: &ReceiptVerifier,
        sent: &SignedBatch,
        nonce: &Nonce,
    ) -> Result<Said, WireError> {
        let about = self.batch();
        match self.0 {
            Kind::Receipt(receipt) => {
                receipts.verify(&receipt, sent)?;
                Ok(Said::Answer(Answer::Receipt(receipt)))
            }
            Kind::Refusal(signed) => {
                answers(about, signed.nonce, sent, nonce)?;
                signed.envelope.open(receipts.key())?;
                Ok(Said::Answer(Answer::Refusal(signed.refusal)))
            }
            Kind::Tip(signed) => {
                answers(about, signed.nonce, sent, nonce)?;
                signed.envelope.open(receipts.key()).map_err(WireError::Standing)?;
                Ok(Said::Tip(signed.tip))
            }
        }
    }
}

/// Whether it is the answer to this request.
fn answers(about: B256, to: Nonce, sent: &SignedBatch, nonce: &Nonce) -> Result<(), WireError> {
    if to != *nonce {
        return Err(WireError::Other("request"));
    }
    if about != sent.hash() {
        return Err(WireError::Other("batch"));
    }
    Ok(())
}
