//! What authorises one charge where money flows by time.
//!
//! A stream or an escrow rail pays its payee second by second, whatever is used. With a [`Spend`] the payer says
//! which charge is to be taken out of what has flowed. It moves nothing by itself; the payee counts it.

use depin_core::{Address, Amount, B256, ChainId, Result, Signer, U256, b256, payment::Charge};

use crate::typed::{Domain, hash_words, sign};

/// The domain of spends out of streams of the `PaymentStream` at `contract`.
pub fn stream_domain(chain: ChainId, contract: Address) -> Domain {
    Domain::new("DepinStream", "1", chain, contract)
}

/// The domain of spends out of rails of the `ServiceEscrow` at `contract`.
pub fn escrow_domain(chain: ChainId, contract: Address) -> Domain {
    Domain::new("DepinEscrow", "1", chain, contract)
}

/// What the payer signs for one charge.
///
/// ```
/// use depin_core::{Address, Amount, B256, ChainId};
/// use depin_payment::spend::{Spend, escrow_domain, stream_domain};
///
/// let (chain, contract) = (ChainId::new(4690), Address::repeat_byte(4));
/// let spend = Spend {
///     charge: B256::repeat_byte(1),
///     payee: Address::repeat_byte(2),
///     token: Address::repeat_byte(3),
///     amount: Amount::from(5),
///     rail: 0,
///     number: 1,
/// };
/// assert_ne!(
///     spend.digest(&stream_domain(chain, contract)),
///     spend.digest(&escrow_domain(chain, contract)),
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spend {
    /// The id of the charge.
    pub charge: B256,
    /// Who is paid.
    pub payee: Address,
    /// In which token.
    pub token: Address,
    /// How much.
    pub amount: Amount,
    /// Out of which escrow rail; zero for a stream.
    pub rail: u64,
    /// Which spend of its payer out of this stream or rail it is, counted from 1: a payee forgets what is old, and refuses
    /// what has a number from then.
    pub number: u64,
}

impl Spend {
    /// `keccak256("Spend(bytes32 charge,address payee,address token,uint256 amount,uint256 rail,uint256 number)")`.
    pub const TYPEHASH: B256 =
        b256!("8557935070e86dee02e608b77f667cef05b6a66b6bc4e41213d1f441fac14f95");

    /// What pays a charge in `token` out of an escrow rail, zero for a stream, as the payer's spend of this number.
    pub const fn of(charge: &Charge, token: Address, rail: u64, number: u64) -> Self {
        Self { charge: charge.id, payee: charge.payee, token, amount: charge.amount, rail, number }
    }

    /// The EIP-712 digest.
    pub fn digest(&self, domain: &Domain) -> B256 {
        let amount: U256 = self.amount.to_units();
        domain.digest(hash_words([
            Self::TYPEHASH,
            self.charge,
            self.payee.into_word(),
            self.token.into_word(),
            amount.into(),
            U256::from(self.rail).into(),
            U256::from(self.number).into(),
        ]))
    }

    /// Signs.
    ///
    /// # Errors
    /// As [`typed::sign`](sign).
    pub fn sign(&self, domain: &Domain, signer: &dyn Signer) -> Result<[u8; 65]> {
        sign(signer, self.digest(domain))
    }
}
