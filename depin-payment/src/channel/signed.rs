//! A voucher as it travels: with its terms, so that who receives it needs nothing else.

use depin_core::{Address, Amount, B256, Bytes, Error, ErrorKind, Result, Signer, U256};

use super::{Terms, Voucher};
use crate::typed::{Domain, recover, sign};

/// A signed voucher with the terms of its channel.
///
/// In bytes: version 1, payer, payee, token, signer (20 each), challenge (4), salt (32), lane (8), cumulative amount
/// (32), and the signature to the end; numbers are big endian.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedVoucher {
    /// The channel.
    pub terms: Terms,
    /// The lane, 0 where there is one only.
    pub lane: u64,
    /// Everything the lane has cost.
    pub cumulative: Amount,
    /// 65 bytes of a key, or what a contract as signer wants to see.
    pub signature: Bytes,
}

impl SignedVoucher {
    /// Longest signature in bytes.
    pub const MAX_SIGNATURE: usize = 4_096;

    /// Signs a voucher with the key that the terms name as signer.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the terms name another signer, else as [`typed::sign`](sign).
    pub fn sign(
        domain: &Domain,
        terms: Terms,
        lane: u64,
        cumulative: Amount,
        signer: &dyn Signer,
    ) -> Result<Self> {
        if signer.public_key().to_address() != Some(terms.signer) {
            let text = "the key is not the signer that the channel's terms name";
            return Err(Error::new(ErrorKind::Config, text).with("signer", terms.signer));
        }
        let mut signed = Self { terms, lane, cumulative, signature: Bytes::new() };
        signed.signature = sign(signer, signed.digest(domain))?.into();
        Ok(signed)
    }

    /// What was signed.
    pub fn voucher(&self) -> Voucher {
        Voucher { lane_id: self.terms.lane_id(self.lane), cumulative: self.cumulative }
    }

    /// The EIP-712 digest.
    pub fn digest(&self, domain: &Domain) -> B256 {
        self.voucher().digest(domain)
    }

    /// Verifies the signature of a key. A contract as signer can only be asked on its chain.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the signer of the terms did not sign this voucher for this contract.
    pub fn verify(&self, domain: &Domain) -> Result<()> {
        let signer = recover(self.digest(domain), &self.signature)?;
        if signer == self.terms.signer {
            return Ok(());
        }
        let text = "the voucher is not signed by the channel's signer for this contract and chain";
        Err(Error::new(ErrorKind::Rejected, text).with("signer", self.terms.signer))
    }

    /// The bytes.
    pub fn encode(&self) -> Bytes {
        let Terms { payer, payee, token, signer, challenge, salt } = &self.terms;
        let mut bytes = Vec::with_capacity(FIXED.saturating_add(self.signature.len()));
        bytes.push(VERSION);
        for address in [payer, payee, token, signer] {
            bytes.extend_from_slice(address.as_slice());
        }
        bytes.extend_from_slice(&challenge.to_be_bytes());
        bytes.extend_from_slice(salt.as_slice());
        bytes.extend_from_slice(&self.lane.to_be_bytes());
        bytes.extend_from_slice(&self.cumulative.to_units().to_be_bytes::<32>());
        bytes.extend_from_slice(&self.signature);
        bytes.into()
    }

    /// Reads the bytes; verifies nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when they are another format, too short, or without a signature;
    /// [`ErrorKind::Limit`] for a signature past [`MAX_SIGNATURE`](Self::MAX_SIGNATURE).
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let voucher = Fields(bytes).voucher().ok_or_else(|| {
            let text = "the bytes are not a signed voucher of version 1";
            Error::new(ErrorKind::Malformed, text).with("bytes", bytes.len())
        })?;
        if voucher.signature.len() > Self::MAX_SIGNATURE {
            let text = "the voucher's signature is longer than 4096 bytes";
            return Err(Error::new(ErrorKind::Limit, text).with("bytes", bytes.len()));
        }
        Ok(voucher)
    }
}

/// Bytes that are read from the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn voucher(mut self) -> Option<SignedVoucher> {
        if self.take()? != [VERSION] {
            return None;
        }
        let terms = Terms {
            payer: Address::new(self.take()?),
            payee: Address::new(self.take()?),
            token: Address::new(self.take()?),
            signer: Address::new(self.take()?),
            challenge: u32::from_be_bytes(self.take()?),
            salt: B256::new(self.take()?),
        };
        let lane = u64::from_be_bytes(self.take()?);
        let cumulative = Amount::units(U256::from_be_bytes(self.take::<32>()?));
        let signature = Bytes::copy_from_slice(self.0);
        (!signature.is_empty()).then_some(SignedVoucher { terms, lane, cumulative, signature })
    }
}

const VERSION: u8 = 1;
const FIXED: usize = 1 + 4 * 20 + 4 + 32 + 8 + 32;
