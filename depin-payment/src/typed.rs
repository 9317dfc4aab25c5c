//! EIP-712: what wallets and contracts agree to sign and verify.
//!
//! A digest covers the type of the message, its fields, and a [`Domain`]: which contract on which chain it is
//! meant for. So a signature for one contract, chain or kind of message is worth nothing to another. Signatures
//! are the 65 bytes `r || s || v` of Solidity, with low `s`, so that one message has one signature per nonce.

use alloy_primitives::{Signature as Recoverable, keccak256};
use depin_core::{Address, Algorithm, B256, ChainId, Error, ErrorKind, Result, Signer};

/// The contract on the chain that a signature is for.
///
/// ```
/// use depin_core::{Address, Algorithm, B256, ChainId, Signer, SoftwareKey};
/// use depin_payment::typed::{Domain, recover, sign};
///
/// let domain = Domain::new("Greeter", "1", ChainId::new(4690), Address::repeat_byte(7));
/// let digest = domain.digest(B256::repeat_byte(1));
/// let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
/// let signature = sign(&key, digest)?;
/// assert_eq!(Some(recover(digest, &signature)?), key.public_key().to_address());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    chain: ChainId,
    contract: Address,
    separator: B256,
}

impl Domain {
    /// The domain of a contract that calls itself by this name and version.
    pub fn new(name: &str, version: &str, chain: ChainId, contract: Address) -> Self {
        let typehash = keccak256(
            "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
        );
        let chain_word = B256::left_padding_from(&chain.value().to_be_bytes());
        let separator = hash_words([
            typehash,
            keccak256(name),
            keccak256(version),
            chain_word,
            contract.into_word(),
        ]);
        Self { chain, contract, separator }
    }

    /// The chain.
    pub const fn chain(&self) -> ChainId {
        self.chain
    }

    /// The contract.
    pub const fn contract(&self) -> Address {
        self.contract
    }

    /// The hash of the domain.
    pub const fn separator(&self) -> B256 {
        self.separator
    }

    /// What is signed for a message with this struct hash.
    pub fn digest(&self, struct_hash: B256) -> B256 {
        let mut bytes = [0; 66];
        let (prefix, words) = bytes.split_at_mut(2);
        prefix.copy_from_slice(&[0x19, 0x01]);
        let (separator, message) = words.split_at_mut(32);
        separator.copy_from_slice(self.separator.as_slice());
        message.copy_from_slice(struct_hash.as_slice());
        keccak256(bytes)
    }
}

/// The hash of words one after another: `keccak256(abi.encode(...))` of values of fixed size.
pub(crate) fn hash_words<const N: usize>(words: [B256; N]) -> B256 {
    keccak256(words.map(|word| word.0).as_flattened())
}

/// Signs a digest as contracts verify it.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for keys that are not of secp256k1, and what the signer answers.
pub fn sign(signer: &dyn Signer, digest: B256) -> Result<[u8; 65]> {
    let unsupported = || {
        let text = "only secp256k1 keys sign for contracts; use one as the channel's signer";
        Error::new(ErrorKind::Unsupported, text)
    };
    if signer.public_key().algorithm() != Algorithm::Es256k {
        return Err(unsupported());
    }
    let address = signer.public_key().to_address().ok_or_else(unsupported)?;
    let signature = signer.sign_prehash(&digest.0)?;
    [false, true]
        .into_iter()
        .map(|parity| Recoverable::from_bytes_and_parity(signature.as_bytes(), parity).as_bytes())
        .find(|candidate| recover(digest, candidate).is_ok_and(|found| found == address))
        .ok_or_else(|| {
            let text = "the signer made a signature that its own key did not make";
            Error::new(ErrorKind::Rejected, text).with("address", address)
        })
}

/// Who signed a digest: some address for nearly every signature, so compare it.
///
/// # Errors
/// [`ErrorKind::Rejected`] for signatures that are not 65 bytes long, end in another byte than 27 or 28, have a
/// high `s`, or are those of no key.
pub fn recover(digest: B256, signature: &[u8]) -> Result<Address> {
    let rejected = |text: &'static str| Error::new(ErrorKind::Rejected, text);
    let bytes: &[u8; 65] = signature
        .try_into()
        .map_err(|_| rejected("a signature for a contract has 65 bytes: r, s and v"))?;
    let [rs @ .., v] = bytes;
    let parity = match v {
        27 => false,
        28 => true,
        _ => return Err(rejected("the last byte of the signature is neither 27 nor 28")),
    };
    let signature = Recoverable::from_bytes_and_parity(rs, parity);
    if signature.normalize_s().is_some() {
        return Err(rejected("the signature has a high s; normalise it before sending"));
    }
    let none = |error| rejected("the signature is that of no key").source(error);
    signature.recover_address_from_prehash(&digest).map_err(none)
}
