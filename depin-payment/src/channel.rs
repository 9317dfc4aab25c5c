//! Voucher channels: any number of payments, one settlement.
//!
//! A payer deposits once under [`Terms`] into the contract `PaymentChannel`. For every piece of service he signs a
//! [`Voucher`] for all that a lane of the channel has cost so far, so the newest replaces those before, and the
//! payee settles it whenever he likes. What is here needs no chain: ids, digests, signatures and the bytes in
//! which a voucher travels. The contract computes the same.

mod lane;
mod signed;

use depin_core::{Address, Amount, B256, ChainId, Result, Signer, U256, b256};

pub use lane::Lane;
pub use signed::SignedVoucher;

use crate::typed::{Domain, hash_words, sign};

/// The domain of the channel contract at `contract`.
pub fn domain(chain: ChainId, contract: Address) -> Domain {
    Domain::new("DepinChannel", "1", chain, contract)
}

/// What a channel is about. Its hash is the channel's id, so nothing of it ever changes.
///
/// ```
/// use depin_core::{Address, Algorithm, Amount, B256, ChainId, Signer, SoftwareKey};
/// use depin_payment::channel::{self, SignedVoucher, Terms};
///
/// let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
/// let payer = key.public_key().to_address().expect("a secp256k1 key has an address");
/// let terms = Terms {
///     payer,
///     payee: Address::repeat_byte(2),
///     token: Address::repeat_byte(3),
///     signer: payer,
///     challenge: 3_600,
///     salt: B256::ZERO,
/// };
/// let domain = channel::domain(ChainId::new(4690), Address::repeat_byte(4));
/// let voucher = SignedVoucher::sign(&domain, terms, 0, Amount::from(5), &key)?;
/// voucher.verify(&domain)?;
///
/// let elsewhere = channel::domain(ChainId::new(4689), Address::repeat_byte(4));
/// assert!(voucher.verify(&elsewhere).is_err());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// Whose deposit it is.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// In which ERC-20.
    pub token: Address,
    /// Who signs the vouchers: the payer, or a key or contract that he names.
    pub signer: Address,
    /// Seconds that the payee has to settle once the payer asks to close.
    pub challenge: u32,
    /// Tells channels of the same parties apart.
    pub salt: B256,
}

impl Terms {
    /// The id of the channel.
    pub fn id(&self) -> B256 {
        hash_words([
            self.payer.into_word(),
            self.payee.into_word(),
            self.token.into_word(),
            self.signer.into_word(),
            word(u64::from(self.challenge)),
            self.salt,
        ])
    }

    /// What vouchers of a lane name. Lanes are paid one beside the other, for example one per device.
    pub fn lane_id(&self, lane: u64) -> B256 {
        match lane {
            0 => self.id(),
            lane => hash_words([self.id(), word(lane)]),
        }
    }
}

/// What the signer of a channel signs: the lane has cost this much since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Voucher {
    /// [`Terms::lane_id`] of the lane; the contract's type calls it `channelId`.
    pub lane_id: B256,
    /// Everything the lane has cost.
    pub cumulative: Amount,
}

impl Voucher {
    /// `keccak256("Voucher(bytes32 channelId,uint256 cumulativeAmount)")`.
    pub const TYPEHASH: B256 =
        b256!("5e172d4a19b08b5b7f0354399a080f05a28476f34f987f7cd87e69a4065d4ec0");

    /// The EIP-712 digest.
    pub fn digest(&self, domain: &Domain) -> B256 {
        let cumulative: U256 = self.cumulative.to_units();
        domain.digest(hash_words([Self::TYPEHASH, self.lane_id, cumulative.into()]))
    }

    /// Signs.
    ///
    /// # Errors
    /// As [`typed::sign`](sign).
    pub fn sign(&self, domain: &Domain, signer: &dyn Signer) -> Result<[u8; 65]> {
        sign(signer, self.digest(domain))
    }
}

fn word(number: u64) -> B256 {
    B256::left_padding_from(&number.to_be_bytes())
}
