//! Orders to pay a claim elsewhere, which whoever pays the gas can send.
//!
//! Anybody may claim for an account, and the account is paid. To have another address paid, the account signs an
//! EIP-712 [`ClaimOrder`] for one distributor on one chain; a relayer sends it and cannot change anything in it. No
//! nonce is needed: amounts are cumulative, so an order that was carried out pays nothing any more. What is here needs
//! no chain; the contract `RewardDistributor` computes the same.

use depin_core::{
    Address, Amount, B256, Bytes, ChainId, Error, ErrorKind, Result, Signer, Timestamp, U256, b256,
};

use crate::typed::{Domain, hash_words, recover, sign};

/// The domain of the distributor contract at `contract`.
pub fn domain(chain: ChainId, contract: Address) -> Domain {
    Domain::new("RewardDistributor", "1", chain, contract)
}

/// What an account signs to have all that it has earned up to an amount paid to another address.
///
/// ```
/// use depin_core::{Address, Algorithm, Amount, ChainId, Signer, SoftwareKey, Timestamp};
/// use depin_payment::order::{self, ClaimOrder};
///
/// let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
/// let order = ClaimOrder {
///     account: key.public_key().to_address().expect("a secp256k1 key has an address"),
///     cumulative: Amount::tokens(5),
///     to: Address::repeat_byte(2),
///     deadline: Timestamp::from_secs(1_800_000_000),
/// };
/// let domain = order::domain(ChainId::new(4690), Address::repeat_byte(4));
/// let signed = order.sign(&domain, &key)?;
/// signed.verify(&domain)?;
///
/// let elsewhere = order::domain(ChainId::new(4689), Address::repeat_byte(4));
/// assert!(signed.verify(&elsewhere).is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimOrder {
    /// Who earned: a key, or the ERC-6551 account of a device.
    pub account: Address,
    /// What the account has earned since the beginning, as its leaf in the reward tree says.
    pub cumulative: Amount,
    /// Who is paid.
    pub to: Address,
    /// Until when the order holds. Whole seconds count.
    pub deadline: Timestamp,
}

impl ClaimOrder {
    /// `keccak256("Claim(address account,uint256 cumulative,address to,uint256 deadline)")`.
    pub const TYPEHASH: B256 =
        b256!("fbecdc75137e4e0c04eca205e24cdb780c1cb41a1976fde5396c313de521d2d4");

    /// The EIP-712 digest.
    pub fn digest(&self, domain: &Domain) -> B256 {
        domain.digest(hash_words([
            Self::TYPEHASH,
            self.account.into_word(),
            self.cumulative.to_units().into(),
            self.to.into_word(),
            U256::from(self.deadline.secs()).into(),
        ]))
    }

    /// Signs with the account's own key.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the key is not the account's, or when `to` is zero or the distributor itself, where
    /// nobody could ever use the tokens; else as [`typed::sign`](sign).
    pub fn sign(self, domain: &Domain, signer: &dyn Signer) -> Result<SignedOrder> {
        check_recipient(self.to, domain.contract())?;
        if signer.public_key().to_address() != Some(self.account) {
            let text = "the key is not that of the account; owners of a device sign as owners";
            return Err(Error::new(ErrorKind::Config, text).with("account", self.account));
        }
        let signature = sign(signer, self.digest(domain))?.into();
        Ok(SignedOrder { order: self, signature })
    }

    /// Signs for the ERC-6551 account of a device with the key of the device's owner. The account has to have code
    /// when the order is carried out, or nobody can ask it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `to` is zero or the distributor itself, else as [`typed::sign`](sign). Whether the
    /// key is the owner's only the chain knows.
    pub fn sign_as_owner(self, domain: &Domain, owner: &dyn Signer) -> Result<SignedOrder> {
        check_recipient(self.to, domain.contract())?;
        let signature = sign(owner, account_message(domain, self.account, self.digest(domain)))?;
        Ok(SignedOrder { order: self, signature: signature.into() })
    }
}

/// An order with the signature by which the distributor carries it out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedOrder {
    /// What was signed.
    pub order: ClaimOrder,
    /// 65 bytes of a key, or what a contract as account wants to see.
    pub signature: Bytes,
}

impl SignedOrder {
    /// Verifies the signature of the account's own key. A contract, like the account of a device, can only be asked
    /// on its chain.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the account did not sign this order for this contract on this chain.
    pub fn verify(&self, domain: &Domain) -> Result<()> {
        let account = self.order.account;
        if recover(self.order.digest(domain), &self.signature)? == account {
            return Ok(());
        }
        let text = "the order is not signed by the account for this distributor and chain";
        Err(Error::new(ErrorKind::Rejected, text).with("account", account))
    }
}

/// Where tokens would be lost for ever nobody means to be paid.
pub(crate) fn check_recipient(to: Address, distributor: Address) -> Result<()> {
    if to != Address::ZERO && to != distributor {
        return Ok(());
    }
    let text = "nobody can use what is paid to the zero address or the distributor; name another";
    Err(Error::new(ErrorKind::Config, text).with("to", to))
}

/// What the owner of a `DeviceAccount` signs so that the account counts as the signer of a digest.
fn account_message(domain: &Domain, account: Address, digest: B256) -> B256 {
    let own = Domain::new("DeviceAccount", "1", domain.chain(), account);
    own.digest(hash_words([ACCOUNT_MESSAGE_TYPEHASH, digest]))
}

/// `keccak256("AccountMessage(bytes32 hash)")`.
const ACCOUNT_MESSAGE_TYPEHASH: B256 =
    b256!("53fcaa16e47bfe821d908f02fb6f87b231d1b28e4a1be513d8bff33e80d11d46");

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    #[test]
    fn the_type_hashes_are_those_of_the_types() {
        let order = "Claim(address account,uint256 cumulative,address to,uint256 deadline)";
        assert_eq!(ClaimOrder::TYPEHASH, keccak256(order));
        assert_eq!(ACCOUNT_MESSAGE_TYPEHASH, keccak256("AccountMessage(bytes32 hash)"));
    }
}
