//! Signatures in the form contracts check: `r || s || v`.

use alloy::primitives::{Address, B256, Signature as Recoverable};
use depin_core::{Error, ErrorKind, Result, Signature};

/// Adds the recovery byte (27 or 28) with which `ecrecover` finds `address`.
///
/// The signers of [`depin_core`] give 64 bytes, and Solidity's `ECDSA.recover` wants 65.
///
/// ```
/// use depin_core::{Algorithm, Signer, SoftwareKey};
///
/// let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
/// let address = key.public_key().to_address().unwrap();
/// let digest = depin_core::keccak256(b"registration");
/// let signature = depin_evm::recoverable(&key.sign_prehash(&digest.0)?, digest, address)?;
/// assert!(matches!(signature[64], 27 | 28));
/// # Ok::<(), depin_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Rejected`] when the key of `address` did not make the signature over `digest`, or not
/// with low `s`.
pub fn recoverable(signature: &Signature, digest: B256, address: Address) -> Result<[u8; 65]> {
    let matching = [false, true]
        .into_iter()
        .map(|parity| Recoverable::from_bytes_and_parity(signature.as_bytes(), parity));
    matching
        .filter(|candidate| candidate.normalize_s().is_none())
        .find(|candidate| {
            candidate.recover_address_from_prehash(&digest).is_ok_and(|a| a == address)
        })
        .map(|found| found.as_bytes())
        .ok_or_else(|| {
            Error::new(ErrorKind::Rejected, "the signature is not from the key of this address")
                .with("address", address)
        })
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{U256, uint};
    use depin_core::{Algorithm, Signer, SoftwareKey};

    use super::*;

    #[test]
    fn signatures_of_others_and_high_s_are_refused() {
        let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
        let address = key.public_key().to_address().unwrap();
        let digest = B256::repeat_byte(5);
        let signature = key.sign_prehash(&digest.0).unwrap();
        let good = recoverable(&signature, digest, address).unwrap();

        assert!(recoverable(&signature, digest, Address::repeat_byte(1)).is_err());
        assert!(recoverable(&signature, B256::ZERO, address).is_err());
        assert!(recoverable(&Signature::from_bytes([0; 64]), digest, address).is_err());
        let low = Recoverable::from_raw_array(&good).unwrap();
        let high = Recoverable::new(low.r(), ORDER - low.s(), !low.v());
        let high: [u8; 64] = high.as_bytes()[..64].try_into().unwrap();
        let error = recoverable(&Signature::from_bytes(high), digest, address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
    }

    /// Order of secp256k1's group.
    const ORDER: U256 =
        uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
}
