//! The door: which signed transactions may wait for a block.

use alloy::{
    consensus::{Transaction, TxEnvelope, transaction::Recovered},
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, Signature, U256},
};
use k256::{
    AffinePoint, FieldBytes, NonZeroScalar, ProjectivePoint, PublicKey, Scalar,
    elliptic_curve::{
        PrimeField,
        ops::{Invert, LinearCombination, Reduce},
        point::DecompressPoint,
        sec1::ToEncodedPoint,
    },
};

use crate::{
    block::Block,
    error::Error,
    execute::{insufficient_funds, intrinsic_gas},
    wallet::Signed,
};

/// Decodes a signed transaction and finds its sender.
///
/// # Errors
/// For trailing bytes, damaged encodings, unsupported types and signatures without a signer.
pub(crate) fn decode(bytes: &[u8], signed: &Signed) -> Result<Recovered<TxEnvelope>, Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::rejected(format!(
            "oversized data: transaction size {}, limit {MAX_BYTES}",
            bytes.len()
        )));
    }
    let mut rest = bytes;
    let tx = TxEnvelope::decode_2718(&mut rest).map_err(|reason| {
        Error::invalid(format!("failed to decode signed transaction: {reason}"))
    })?;
    if !rest.is_empty() {
        return Err(Error::invalid("failed to decode signed transaction: trailing bytes"));
    }
    if tx.is_eip4844() || tx.is_eip7702() {
        return Err(Error::rejected(format!(
            "transaction type not supported: {} is not part of this chain's fork",
            tx.tx_type()
        )));
    }
    let sender =
        signed.take(tx.tx_hash()).or_else(|| recover(tx.signature(), &tx.signature_hash()));
    let sender = sender.ok_or_else(|| {
        Error::rejected("invalid sender: the signature has no signer or a high s")
    })?;
    Ok(Recovered::new_unchecked(tx, sender))
}

/// Checks everything that needs no execution, with the texts nodes use.
pub(crate) fn check(
    tx: &Recovered<TxEnvelope>,
    latest: &Block,
    chain_id: u64,
    base_fee: Option<u64>,
) -> Result<(), Error> {
    check_chain_id(tx, chain_id)?;
    if tx.gas_limit() > latest.header.gas_limit {
        return Err(Error::rejected("exceeds block gas limit"));
    }
    check_nonce(tx.nonce(), latest.state.nonce(&tx.signer()))?;
    check_fees(tx, base_fee)?;
    check_size(tx)?;
    let gas = U256::from(tx.gas_limit()).saturating_mul(U256::from(tx.max_fee_per_gas()));
    let (have, want) = (latest.state.balance(&tx.signer()), gas.saturating_add(tx.value()));
    if have < want { Err(insufficient_funds(have, want)) } else { Ok(()) }
}

fn check_chain_id(tx: &TxEnvelope, chain_id: u64) -> Result<(), Error> {
    match tx.chain_id() {
        Some(have) if have != chain_id => Err(Error::rejected(format!(
            "invalid chain id for signer: have {have} want {chain_id}"
        ))),
        None if !tx.is_legacy() => Err(Error::rejected("transaction without chain id")),
        _ => Ok(()),
    }
}

fn check_nonce(nonce: u64, next: u64) -> Result<(), Error> {
    if nonce < next {
        return Err(Error::rejected(format!("nonce too low: next nonce {next}, tx nonce {nonce}")));
    }
    if nonce == u64::MAX { Err(Error::rejected("nonce has max value")) } else { Ok(()) }
}

/// Checks that the gas pays for the transaction's bytes, and that code to run once fits (EIP-3860).
fn check_size(tx: &Recovered<TxEnvelope>) -> Result<(), Error> {
    let needed = intrinsic_gas(tx);
    if tx.gas_limit() < needed {
        return Err(Error::rejected(format!(
            "intrinsic gas too low: gas {}, minimum needed {needed}",
            tx.gas_limit()
        )));
    }
    if tx.is_create() && tx.input().len() > MAX_INIT_CODE {
        return Err(Error::rejected(format!(
            "max initcode size exceeded: code size {}, limit {MAX_INIT_CODE}",
            tx.input().len()
        )));
    }
    Ok(())
}

fn check_fees(tx: &Recovered<TxEnvelope>, base_fee: Option<u64>) -> Result<(), Error> {
    let (cap, tip) = (tx.max_fee_per_gas(), tx.max_priority_fee_per_gas());
    if tip.is_some_and(|tip| tip > cap) {
        return Err(Error::rejected(format!(
            "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: {}, maxFeePerGas: {cap}",
            tip.unwrap_or_default()
        )));
    }
    match base_fee {
        Some(base_fee) if cap < u128::from(base_fee) => Err(Error::rejected(format!(
            "transaction underpriced: max fee per gas less than block base fee: maxFeePerGas: {cap}, baseFee: {base_fee}"
        ))),
        _ => Ok(()),
    }
}

/// Who signed a hash (SEC 1, section 4.1.6). Every point found this way satisfies the signature's
/// equation, so there is no second check as in general-purpose libraries: half the time.
fn recover(signature: &Signature, hash: &B256) -> Option<Address> {
    // A high s is the same signature written differently (EIP-2); the chain must not see two.
    if signature.normalize_s().is_some() {
        return None;
    }
    let scalar = |number: U256| {
        let bytes = FieldBytes::from(number.to_be_bytes::<32>());
        Option::<NonZeroScalar>::from(NonZeroScalar::from_repr(bytes))
    };
    let (r, s) = (scalar(signature.r())?, scalar(signature.s())?);
    let point = AffinePoint::decompress(&r.to_repr(), u8::from(signature.v()).into());
    let point = ProjectivePoint::from(Option::<AffinePoint>::from(point)?);
    let z = <Scalar as Reduce<k256::U256>>::reduce_bytes(&FieldBytes::from(hash.0));
    let inverse = *r.invert_vartime();
    let key = ProjectivePoint::lincomb(
        &ProjectivePoint::GENERATOR,
        &-(inverse * z),
        &point,
        &(inverse * *s),
    );
    let key = PublicKey::from_affine(key.to_affine()).ok()?;
    let encoded = key.to_encoded_point(false);
    Some(Address::from_raw_public_key(encoded.as_bytes().get(1..)?))
}

/// Largest accepted encoding of a transaction, as on public nodes.
pub(crate) const MAX_BYTES: usize = 128 * 1024;

/// EIP-3860.
const MAX_INIT_CODE: usize = 49_152;

#[cfg(test)]
mod tests {
    use alloy::{primitives::keccak256, signers::SignerSync};

    use super::*;

    #[test]
    fn the_signer_is_the_one_alloy_finds() {
        for index in 0..100_u16 {
            let signer = crate::accounts::signer(index % 12);
            let hash = keccak256(index.to_be_bytes());
            let signature = signer.sign_hash_sync(&hash).unwrap();
            assert_eq!(recover(&signature, &hash), Some(signer.address()));
            // Signatures nobody made: the same answer as alloy's, whatever it is.
            let forged = Signature::new(signature.r(), U256::from(index), signature.v());
            assert_eq!(recover(&forged, &hash), forged.recover_address_from_prehash(&hash).ok());
            let forged = Signature::new(U256::from(index), signature.s(), signature.v());
            assert_eq!(recover(&forged, &hash), forged.recover_address_from_prehash(&hash).ok());
        }
    }
}
