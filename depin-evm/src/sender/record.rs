//! What is kept of one nonce.
//!
//! A nonce is used once on chain, but more than one signed transaction may have been offered for it:
//! the first, the same at higher fees, an empty one that fills the nonce. All of them are remembered,
//! because any of them can be the one that is mined.

use alloy::{
    consensus::{Transaction, TxEnvelope},
    eips::eip2718::{Decodable2718, Encodable2718},
    network::NetworkTransactionBuilder,
    network::TxSignerSync,
    primitives::{B256, Bytes, TxKind, U256, keccak256},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
};
use depin_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{mined::Mined, void::Void};

/// Everything ever signed for one nonce.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) nonce: u64,
    /// The caller's name for the intent.
    pub(crate) key: Option<String>,
    first: Variant,
    later: Vec<Variant>,
    /// Why the nonce is only filled: the node did not take the transaction for good, or it is void. Then the newest
    /// variant is a filler.
    pub(crate) refused: Option<String>,
    /// Whether the node refused the transaction when it was sent first, so that nobody has its bytes.
    #[serde(default)]
    pub(crate) unsent: bool,
    /// Set when it was reported to have no effect.
    #[serde(default)]
    pub(crate) void: Option<Void>,
    /// Set when it was reported to have succeeded.
    #[serde(default)]
    pub(crate) done: Option<Mined>,
}

/// One signed transaction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Variant {
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    /// Whether it only fills the nonce.
    pub(crate) filler: bool,
}

impl Record {
    pub(crate) const fn new(nonce: u64, key: Option<String>, first: Variant) -> Self {
        let later = Vec::new();
        Self { nonce, key, first, later, refused: None, unsent: false, void: None, done: None }
    }

    /// What only fills a nonce that no intent has.
    pub(crate) fn filling(nonce: u64, filler: Variant) -> Self {
        let refused = Some("it only fills a nonce that nothing used".to_owned());
        Self { refused, ..Self::new(nonce, None, filler) }
    }

    pub(crate) fn add(&mut self, variant: Variant) {
        self.later.push(variant);
    }

    /// Takes back a variant that was signed for it and forgotten. Fillers stay the newest.
    pub(crate) fn recall(&mut self, variant: Variant) {
        let fillers = self.later.iter().rev().take_while(|later| later.filler).count();
        self.later.insert(self.later.len().saturating_sub(fillers), variant);
    }

    /// Takes down that it had no effect; whether that is news.
    pub(crate) fn spend(&mut self, void: Void) -> bool {
        self.void.replace(void) != Some(void)
    }

    pub(crate) fn newest(&self) -> &Variant {
        self.later.last().unwrap_or(&self.first)
    }

    /// All variants, newest first.
    pub(crate) fn variants(&self) -> impl Iterator<Item = &Variant> {
        self.later.iter().rev().chain([&self.first])
    }

    /// The variants worth sending, newest first: only fillers once the transaction was refused or void.
    pub(crate) fn offered(&self) -> impl Iterator<Item = &Variant> {
        let fill = self.is_given_up();
        self.variants().filter(move |variant| variant.filler || !fill)
    }

    /// Whether nothing but fillers is offered.
    pub(crate) const fn is_given_up(&self) -> bool {
        self.refused.is_some() || self.void.is_some()
    }

    /// Whether its nonce is to be filled and nothing is signed for that yet.
    pub(crate) fn lacks_filler(&self) -> bool {
        self.void.is_some() && self.refused.is_none()
    }

    /// The first attempt as a request.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the stored bytes are damaged.
    pub(crate) fn original(&self) -> Result<TransactionRequest> {
        self.first.request()
    }

    /// The last block that is known to have used its nonce.
    pub(super) const fn mined(&self) -> Option<Mined> {
        match (self.done, self.void) {
            (Some(mined), _)
            | (None, Some(Void::OursIn(mined) | Void::Theirs { taken: Some(mined) })) => {
                Some(mined)
            }
            _ => None,
        }
    }

    /// Whether the first attempt does what `tx` asks for.
    pub(crate) fn does(&self, tx: &TransactionRequest) -> Result<bool> {
        let input = tx.input.input().map(AsRef::as_ref).unwrap_or_default();
        self.calls(tx.to.unwrap_or(TxKind::Create), tx.value.unwrap_or(U256::ZERO), input)
    }

    /// Whether the first attempt brings a recipient this value and input.
    pub(crate) fn calls(&self, to: TxKind, value: U256, input: &[u8]) -> Result<bool> {
        let first = self.first.envelope()?;
        Ok(first.kind() == to && first.value() == value && first.input().as_ref() == input)
    }

    pub(crate) fn has(&self, transaction: B256) -> bool {
        self.variants().any(|variant| variant.hash == transaction)
    }
}

impl Variant {
    /// Signs `tx`, which has everything but its nonce.
    pub(crate) fn sign(
        signer: &PrivateKeySigner,
        mut tx: TransactionRequest,
        nonce: u64,
        filler: bool,
    ) -> Result<Self> {
        tx.nonce = Some(nonce);
        let mut unsigned = tx.build_unsigned().map_err(|error| {
            Error::new(ErrorKind::Config, "the transaction request is incomplete")
                .with("reason", &error.error)
        })?;
        let signature = signer.sign_transaction_sync(&mut unsigned).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the key did not sign").source(error)
        })?;
        let envelope = TxEnvelope::from(unsigned.into_envelope(signature));
        Ok(Self::of(&envelope, filler))
    }

    /// Hashes the bytes: a node may tell of another hash.
    pub(crate) fn of(envelope: &TxEnvelope, filler: bool) -> Self {
        let raw = Bytes::from(envelope.encoded_2718());
        Self { hash: keccak256(&raw), raw, filler }
    }

    /// The request that signs to this variant, nonce included.
    pub(crate) fn request(&self) -> Result<TransactionRequest> {
        self.envelope().map(TransactionRequest::from_transaction)
    }

    fn envelope(&self) -> Result<TxEnvelope> {
        TxEnvelope::decode_2718_exact(&self.raw).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "a stored transaction is damaged")
                .with("transaction", self.hash)
                .source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_before_proofs_were_kept_has_none() {
        let old = r#"{"nonce":7,"key":"rent","first":{"hash":"0x0101010101010101010101010101010101010101010101010101010101010101",
            "raw":"0x02","filler":false},"later":[],"refused":null,"unsent":false,"void":{"Theirs":{"height":9}}}"#;
        let record: Record = serde_json::from_str(old).unwrap();
        assert_eq!((record.done, record.void), (None, Some(Void::Theirs { taken: None })));
        let reverted = old.replace(r#"{"Theirs":{"height":9}}"#, r#""Ours""#);
        let record: Record = serde_json::from_str(&reverted).unwrap();
        assert_eq!(record.void, Some(Void::Ours));
    }
}
