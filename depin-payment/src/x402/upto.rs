//! The scheme `upto` on EVM chains: a signature over at most so much, of which the payee takes what was used.
//!
//! The payer has to have [approved](approve_permit2) Uniswap's Permit2 once; the signature lets a proxy of the x402
//! Foundation, and through it only the facilitator that it names, move up to the amount to the payee, once. Here
//! is what both ends compute: terms, signature, its checks, and the call that settles. Requests that cost little
//! each are better paid with vouchers, which need no transaction per request.

use std::time::Duration;

use depin_core::{
    Address, Amount, B256, Bytes, ChainId, Error, ErrorKind, Result, Signer, Timestamp, U256,
    address as fixed, keccak256,
};
use depin_evm::{
    Chain,
    alloy::{rpc::types::TransactionRequest, sol_types::SolCall},
    bindings::NetworkToken,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    exact::{
        MARGIN, SLACK, TokenDomain, address, chain_of, decimal, malformed, network_of, signature,
        signature_text, unsupported,
    },
    message::{PaymentPayload, PaymentRequired, PaymentRequirements},
    refusal::Refusal,
};
use crate::typed::{hash_words, recover, sign};

/// Permit2, where it is on every chain.
pub const PERMIT2: Address = fixed!("000000000022D473030F116dDEE9F6B43aC78BA3");

/// The proxy that spends for the scheme `upto`, where it is on every chain.
pub const UPTO_PROXY: Address = fixed!("4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");

/// What an offer of scheme `upto` on an EVM chain asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UptoTerms {
    /// The chain on which it is paid.
    pub chain: ChainId,
    /// The token's contract.
    pub asset: Address,
    /// Who is paid.
    pub pay_to: Address,
    /// Most that may be taken, in the token's smallest unit.
    pub most: Amount,
    /// How long the payment may take.
    pub timeout: Duration,
    /// The only account that can settle, and so choose the amount.
    pub facilitator: Address,
    /// The EIP-712 domain of the token, if the offer tells it. Nothing here needs it; other clients may.
    pub domain: Option<TokenDomain>,
}

impl UptoTerms {
    /// The scheme's name.
    pub const SCHEME: &str = "upto";

    /// Parses what an offer asks for.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for another scheme or network, [`ErrorKind::Malformed`] when a field does not
    /// follow its format.
    pub fn parse(offer: &PaymentRequirements) -> Result<Self> {
        if offer.scheme != Self::SCHEME {
            return Err(unsupported("scheme", &offer.scheme));
        }
        let facilitator = offer.extra("facilitatorAddress");
        let domain = offer.extra("name").zip(offer.extra("version"));
        Ok(Self {
            chain: chain_of(&offer.network)?,
            asset: address("asset", &offer.asset)?,
            pay_to: address("payTo", &offer.pay_to)?,
            most: decimal("amount", &offer.amount).map(Amount::units)?,
            timeout: Duration::from_secs(offer.max_timeout_seconds),
            facilitator: address("facilitatorAddress", facilitator.unwrap_or_default())?,
            domain: domain
                .map(|(name, version)| TokenDomain { name: name.into(), version: version.into() }),
        })
    }

    /// The offer that asks for this.
    pub fn to_requirements(&self) -> PaymentRequirements {
        let mut extra = vec![
            ("assetTransferMethod", "permit2".to_owned()),
            ("facilitatorAddress", self.facilitator.to_string()),
        ];
        if let Some(TokenDomain { name, version }) = &self.domain {
            extra.extend([("name", name.clone()), ("version", version.clone())]);
        }
        let extra = extra.into_iter().map(|(name, text)| (name.to_owned(), Value::String(text)));
        PaymentRequirements {
            scheme: Self::SCHEME.to_owned(),
            network: network_of(self.chain),
            amount: self.most.to_units().to_string(),
            asset: self.asset.to_string(),
            pay_to: self.pay_to.to_string(),
            max_timeout_seconds: self.timeout.as_secs(),
            extra: Some(extra.collect()),
        }
    }

    /// Whether a client accepted this. It need not repeat who settles, which its signature names.
    pub(super) fn is_accepted(&self, accepted: &PaymentRequirements) -> bool {
        let same = |text: &str, expected| address("", text).is_ok_and(|found| found == expected);
        let facilitator = accepted.extra("facilitatorAddress");
        accepted.scheme == Self::SCHEME
            && chain_of(&accepted.network).is_ok_and(|chain| chain == self.chain)
            && accepted.amount == self.most.to_units().to_string()
            && same(&accepted.asset, self.asset)
            && same(&accepted.pay_to, self.pay_to)
            && facilitator.is_none_or(|text| same(text, self.facilitator))
    }

    /// Signs for what an offer asks for, valid until `expires`. `nonce` is used once: draw it at random.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the key is not on secp256k1.
    pub fn sign(&self, key: &dyn Signer, expires: Timestamp, nonce: U256) -> Result<UptoPayment> {
        let from = key.public_key().to_address().ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, "upto is paid with a key on secp256k1 (ES256K)")
        })?;
        let mut payment = UptoPayment {
            from,
            token: self.asset,
            most: self.most,
            nonce,
            deadline: U256::from(expires.secs()),
            to: self.pay_to,
            facilitator: self.facilitator,
            valid_after: U256::ZERO,
            signature: [0; 65],
        };
        payment.signature = sign(key, payment.digest(self.chain))?;
        Ok(payment)
    }
}

/// Lets Permit2 move up to `most` of `token` from the account of `chain`, which has to happen once before that account
/// can pay with the scheme `upto`. Each payment uses that much of it up, and most tokens take [`Amount::MAX`] for no
/// limit. Nothing is sent when that much is allowed already. Permit2 moves nothing without a signature of the payer.
///
/// # Errors
/// As [`Chain::send`].
pub async fn approve_permit2(chain: &Chain, token: Address, most: Amount) -> Result<()> {
    let token = NetworkToken::new(token, chain.provider());
    let allowed = chain.read(&token.allowance(chain.account(), PERMIT2)).await?;
    if allowed >= most.to_units() {
        return Ok(());
    }
    // Some tokens let an allowance change only to zero and from zero.
    for value in [U256::ZERO, most.to_units()].into_iter().skip(usize::from(allowed.is_zero())) {
        chain.send(token.approve(PERMIT2, value).into_transaction_request()).await?;
    }
    Ok(())
}

/// A signature over at most so much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UptoPayment {
    from: Address,
    token: Address,
    most: Amount,
    nonce: U256,
    deadline: U256,
    to: Address,
    facilitator: Address,
    valid_after: U256,
    signature: [u8; 65],
}

impl UptoPayment {
    /// Parses the payload of a scheme `upto` on an EVM chain.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when it is none, [`ErrorKind::Unsupported`] when another contract is to spend.
    pub fn parse(payload: &PaymentPayload) -> Result<Self> {
        let wire = Wire::deserialize(&payload.payload);
        Self::from_wire(&wire.map_err(|error| malformed("payload", &error.to_string()))?)
    }

    pub(super) fn from_wire(wire: &Wire) -> Result<Self> {
        let permit = &wire.permit2_authorization;
        if address("spender", &permit.spender)? != UPTO_PROXY {
            return Err(unsupported("spender", &permit.spender));
        }
        Ok(Self {
            from: address("from", &permit.from)?,
            token: address("token", &permit.permitted.token)?,
            most: decimal("amount", &permit.permitted.amount).map(Amount::units)?,
            nonce: decimal("nonce", &permit.nonce)?,
            deadline: decimal("deadline", &permit.deadline)?,
            to: address("to", &permit.witness.to)?,
            facilitator: address("facilitator", &permit.witness.facilitator)?,
            valid_after: decimal("validAfter", &permit.witness.valid_after)?,
            signature: signature(&wire.signature)?,
        })
    }

    /// The message that hands the payment over, for the offer at `choice` of what the server asked for.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such offer.
    pub fn to_message(&self, required: &PaymentRequired, choice: usize) -> Result<PaymentPayload> {
        required.paid(choice, self.to_payload())
    }

    /// Who pays.
    pub const fn payer(&self) -> Address {
        self.from
    }

    /// `r || s || v`.
    pub const fn signature(&self) -> &[u8; 65] {
        &self.signature
    }

    /// Most that may be taken.
    pub const fn most(&self) -> Amount {
        self.most
    }

    /// What the payer uses once, with Permit2.
    pub const fn nonce(&self) -> U256 {
        self.nonce
    }

    /// The last second, since the Unix epoch, at which it is valid.
    pub const fn deadline(&self) -> U256 {
        self.deadline
    }

    /// Identifies the payment: no two payments that a chain lets happen have the same.
    pub fn id(&self, chain: ChainId) -> B256 {
        let chain = B256::left_padding_from(&chain.value().to_be_bytes());
        let scheme = keccak256("depin/x402-upto");
        hash_words([scheme, chain, self.from.into_word(), self.nonce.into()])
    }

    /// Checks all that needs no chain: signature, amount, token, payee, facilitator and time. It may be valid for ten
    /// minutes longer than the terms say, for clocks that differ: until it ends the payee has to remember it.
    ///
    /// # Errors
    /// The [`Refusal`], as [`ErrorKind::Rejected`].
    pub fn check(&self, terms: &UptoTerms, now: Timestamp) -> Result<(), Refusal> {
        if !self.is_signed(terms.chain) {
            return Err(Refusal::Signature);
        }
        if self.most != terms.most {
            return Err(Refusal::Amount);
        }
        if self.to != terms.pay_to {
            return Err(Refusal::Recipient);
        }
        if self.token != terms.asset {
            return Err(Refusal::Offer);
        }
        if self.facilitator != terms.facilitator {
            return Err(Refusal::Facilitator);
        }
        if self.deadline > U256::from(now.plus(terms.timeout).plus(SLACK).secs()) {
            return Err(Refusal::TooLong);
        }
        let now = now.secs();
        if self.deadline <= U256::from(now.saturating_add(MARGIN)) {
            return Err(Refusal::Expired);
        }
        if self.valid_after > U256::from(now) {
            return Err(Refusal::NotYetValid);
        }
        Ok(())
    }

    /// The call of [`UPTO_PROXY`] by which the facilitator takes `amount`.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when that is more than the payer signed for.
    pub fn settlement(&self, amount: Amount) -> Result<Bytes> {
        if amount > self.most {
            let text = "more is to be settled than the payer signed for; settle at most that";
            let error = Error::new(ErrorKind::Limit, text).with("amount", amount.to_units());
            return Err(error.with("signed", self.most.to_units()));
        }
        let call = proxy::settleCall {
            permit: proxy::PermitTransferFrom {
                permitted: proxy::TokenPermissions {
                    token: self.token,
                    amount: self.most.to_units(),
                },
                nonce: self.nonce,
                deadline: self.deadline,
            },
            amount: amount.to_units(),
            owner: self.from,
            witness: proxy::Witness {
                to: self.to,
                facilitator: self.facilitator,
                validAfter: self.valid_after,
            },
            signature: self.signature.to_vec().into(),
        };
        Ok(call.abi_encode().into())
    }

    /// What the facilitator sends to take `amount`.
    pub(super) fn transaction(&self, amount: Amount) -> Result<TransactionRequest> {
        let call = self.settlement(amount)?;
        Ok(TransactionRequest::default().to(UPTO_PROXY).input(call.into()))
    }

    /// What a transaction to [`UPTO_PROXY`] takes: whose, under which nonce, and how much.
    pub(super) fn taken_by(input: &[u8]) -> Option<(Address, U256, Amount)> {
        let call = proxy::settleCall::abi_decode(input).ok()?;
        Some((call.owner, call.permit.nonce, Amount::units(call.amount)))
    }

    /// Whether both move the same money: no chain lets both happen, whichever windows they have.
    pub(super) fn moves_as(&self, other: &Self, chain: ChainId) -> bool {
        let same = |payment: &Self| {
            let Self { from, token, most, nonce, to, facilitator, .. } = payment;
            (*from, *token, *most, *nonce, *to, *facilitator)
        };
        same(self) == same(other) && (self == other || other.is_signed(chain))
    }

    fn is_signed(&self, chain: ChainId) -> bool {
        recover(self.digest(chain), &self.signature).is_ok_and(|signer| signer == self.from)
    }

    pub(super) const fn payee(&self) -> Address {
        self.to
    }

    pub(super) const fn facilitator(&self) -> Address {
        self.facilitator
    }

    /// The EIP-712 digest. Permit2's domain has no version, so it is no [`Domain`](crate::typed::Domain).
    fn digest(&self, chain: ChainId) -> B256 {
        let chain = B256::left_padding_from(&chain.value().to_be_bytes());
        let domain =
            hash_words([keccak256(DOMAIN), keccak256("Permit2"), chain, PERMIT2.into_word()]);
        let permitted =
            hash_words([keccak256(PERMITTED), self.token.into_word(), self.most.to_units().into()]);
        let witness = hash_words([
            keccak256(WITNESS),
            self.to.into_word(),
            self.facilitator.into_word(),
            self.valid_after.into(),
        ]);
        let permit = hash_words([
            keccak256([PERMIT, PERMITTED, WITNESS].concat()),
            permitted,
            UPTO_PROXY.into_word(),
            self.nonce.into(),
            self.deadline.into(),
            witness,
        ]);
        keccak256([&[0x19, 0x01], domain.as_slice(), permit.as_slice()].concat())
    }

    pub(super) fn to_payload(&self) -> Map<String, Value> {
        let map = serde_json::to_value(self.to_wire()).and_then(serde_json::from_value);
        map.expect("invariant: a struct of texts is a JSON object")
    }

    pub(super) fn to_wire(&self) -> Wire {
        Wire {
            signature: signature_text(&self.signature),
            permit2_authorization: WirePermit {
                from: self.from.to_string(),
                permitted: WirePermitted {
                    token: self.token.to_string(),
                    amount: self.most.to_units().to_string(),
                },
                spender: UPTO_PROXY.to_string(),
                nonce: self.nonce.to_string(),
                deadline: self.deadline.to_string(),
                witness: WireWitness {
                    to: self.to.to_string(),
                    facilitator: self.facilitator.to_string(),
                    valid_after: self.valid_after.to_string(),
                },
            },
        }
    }
}

/// The JSON form.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    signature: String,
    permit2_authorization: WirePermit,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WirePermit {
    from: String,
    permitted: WirePermitted,
    spender: String,
    nonce: String,
    deadline: String,
    witness: WireWitness,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WirePermitted {
    token: String,
    amount: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireWitness {
    to: String,
    facilitator: String,
    valid_after: String,
}

/// What is asked of Permit2, and what it and the proxy say when they refuse.
pub(super) mod permit2 {
    use depin_core::{Address, Error, ErrorKind, Result, U256};
    use depin_evm::{
        Chain, Revert,
        alloy::{
            eips::BlockId, providers::Provider, rpc::types::TransactionRequest, sol_types::SolCall,
        },
    };

    use super::{PERMIT2, Refusal};

    depin_evm::alloy::sol! {
        function nonceBitmap(address owner, uint256 word) external view returns (uint256 bitmap);

        error InvalidNonce();
        error SignatureExpired(uint256 deadline);
        error InvalidSigner();
        error InvalidSignature();
        error UnauthorizedFacilitator();
        error PaymentTooEarly();
    }

    /// Whether an owner's nonce is used up at a block. 256 nonces share a word.
    pub(in crate::x402) async fn is_used(
        chain: &Chain,
        owner: Address,
        nonce: U256,
        at: BlockId,
    ) -> Result<bool> {
        let call = nonceBitmapCall { owner, word: nonce >> 8 };
        let call = TransactionRequest::default().to(PERMIT2).input(call.abi_encode().into());
        let answer = chain.ask(chain.provider().call(call).block(at)).await?;
        let bitmap = nonceBitmapCall::abi_decode_returns(&answer).map_err(|error| {
            let text = "the chain does not have Permit2 where every chain should have it";
            Error::new(ErrorKind::NotFound, text).with("contract", PERMIT2).source(error)
        })?;
        Ok(bitmap.bit(usize::from(nonce.byte(0))))
    }

    pub(in crate::x402) fn refusal_of(revert: &Revert) -> Refusal {
        match () {
            () if revert.decode::<InvalidNonce>().is_some() => Refusal::Used,
            () if revert.decode::<SignatureExpired>().is_some() => Refusal::Expired,
            () if revert.decode::<PaymentTooEarly>().is_some() => Refusal::NotYetValid,
            () if revert.decode::<UnauthorizedFacilitator>().is_some() => Refusal::Facilitator,
            () if revert.decode::<InvalidSigner>().is_some() => Refusal::Signature,
            () if revert.decode::<InvalidSignature>().is_some() => Refusal::Signature,
            () => Refusal::Transfer,
        }
    }
}

mod proxy {
    depin_evm::alloy::sol! {
        struct TokenPermissions { address token; uint256 amount; }
        struct PermitTransferFrom { TokenPermissions permitted; uint256 nonce; uint256 deadline; }
        struct Witness { address to; address facilitator; uint256 validAfter; }
        function settle(
            PermitTransferFrom permit,
            uint256 amount,
            address owner,
            Witness witness,
            bytes signature
        ) external;
    }
}

const DOMAIN: &str = "EIP712Domain(string name,uint256 chainId,address verifyingContract)";
const PERMIT: &str = "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)";
const PERMITTED: &str = "TokenPermissions(address token,uint256 amount)";
const WITNESS: &str = "Witness(address to,address facilitator,uint256 validAfter)";

#[cfg(test)]
mod tests {
    use depin_core::{Algorithm, SoftwareKey};
    use proptest::prelude::*;

    use super::*;

    fn payment(most: u64, nonce: [u8; 32], taken: u64) -> (UptoPayment, Bytes) {
        let terms = UptoTerms {
            chain: ChainId::new(1),
            asset: Address::repeat_byte(1),
            pay_to: Address::repeat_byte(2),
            most: most.into(),
            timeout: Duration::from_secs(60),
            facilitator: Address::repeat_byte(3),
            domain: None,
        };
        let key = SoftwareKey::from_seed(Algorithm::Es256k, [1; 32]);
        let nonce = U256::from_be_bytes(nonce);
        let payment = terms.sign(&key, Timestamp::from_secs(60), nonce).unwrap();
        let call = payment.settlement(taken.into()).unwrap();
        (payment, call)
    }

    #[test]
    fn a_settlement_that_is_cut_off_tells_nothing() {
        let (payment, call) = payment(10, [7; 32], 3);
        let whole = UptoPayment::taken_by(&call);
        assert_eq!(whole, Some((payment.payer(), payment.nonce(), 3.into())));
        // The last bytes are padding of the signature.
        for length in 0..call.len() - 31 {
            assert_eq!(UptoPayment::taken_by(&call[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn what_was_sent_tells_what_was_taken(nonce: [u8; 32], taken in 0_u64..=50, more: Vec<u8>) {
            let (payment, call) = payment(50, nonce, taken);
            let told = Some((payment.payer(), U256::from_be_bytes(nonce), taken.into()));
            prop_assert_eq!(UptoPayment::taken_by(&call), told);
            // Some facilitators add bytes of their own at the end.
            let longer = [call.as_ref(), &more].concat();
            prop_assert_eq!(UptoPayment::taken_by(&longer), told);
            let wire = UptoPayment::from_wire(&payment.to_wire()).unwrap();
            prop_assert_eq!(wire, payment);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = UptoPayment::taken_by(&bytes);
            let called = [proxy::settleCall::SELECTOR.as_slice(), &bytes].concat();
            let _ = UptoPayment::taken_by(&called);
        }
    }
}
