//! The scheme `upto` on EVM chains: a signature over at most so much, of which the payee takes what was used.
//!
//! The payer has to have approved Uniswap's Permit2 once; the signature lets a proxy of the x402 Foundation, and
//! through it only the facilitator that it names, move up to the amount to the payee, once. Here is what both
//! ends compute: terms, signature, its checks, and the call that settles. [`Price`](super::Price) does not offer
//! the scheme, and the proxy's own behaviour was not tried against this module: neither contract comes in a
//! package that tests could install. Requests that cost little each are better paid with vouchers, which need no
//! transaction per request.

use std::time::Duration;

use depin_core::{
    Address, Amount, B256, Bytes, ChainId, Error, ErrorKind, Result, Signer, Timestamp, U256,
    address as fixed, keccak256,
};
use depin_evm::alloy::sol_types::SolCall;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    exact::{address, chain_of, decimal, malformed, signature, signature_text, unsupported},
    message::{PaymentPayload, PaymentRequired, PaymentRequirements, VERSION},
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
        Ok(Self {
            chain: chain_of(&offer.network)?,
            asset: address("asset", &offer.asset)?,
            pay_to: address("payTo", &offer.pay_to)?,
            most: decimal("amount", &offer.amount).map(Amount::units)?,
            timeout: Duration::from_secs(offer.max_timeout_seconds),
            facilitator: address("facilitatorAddress", facilitator.unwrap_or_default())?,
        })
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
        let wire = wire.map_err(|error| malformed("payload", &error.to_string()))?;
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
        let accepted = required.accepts.get(choice).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the server made fewer offers than that")
        })?;
        Ok(PaymentPayload {
            version: VERSION,
            resource: Some(required.resource.clone()),
            accepted,
            payload: self.to_payload(),
            extensions: required.extensions.clone(),
        })
    }

    /// Who pays.
    pub const fn payer(&self) -> Address {
        self.from
    }

    /// `r || s || v`.
    pub const fn signature(&self) -> &[u8; 65] {
        &self.signature
    }

    /// Checks all that needs no chain: signature, amount, token, payee, facilitator and time.
    ///
    /// # Errors
    /// The [`Refusal`], as [`ErrorKind::Rejected`].
    pub fn check(&self, terms: &UptoTerms, now: Timestamp) -> Result<(), Refusal> {
        if !recover(self.digest(terms.chain), &self.signature).is_ok_and(|who| who == self.from) {
            return Err(Refusal::Signature);
        }
        if self.most != terms.most {
            return Err(Refusal::Amount);
        }
        if self.to != terms.pay_to {
            return Err(Refusal::Recipient);
        }
        if self.token != terms.asset || self.facilitator != terms.facilitator {
            return Err(Refusal::Offer);
        }
        let now = now.secs();
        if self.deadline <= U256::from(now.saturating_add(super::exact::MARGIN)) {
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

    fn to_payload(&self) -> Map<String, Value> {
        let wire = Wire {
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
        };
        let map = serde_json::to_value(wire).and_then(serde_json::from_value);
        map.expect("invariant: a struct of texts is a JSON object")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    signature: String,
    permit2_authorization: WirePermit,
}

#[derive(Serialize, Deserialize)]
struct WirePermit {
    from: String,
    permitted: WirePermitted,
    spender: String,
    nonce: String,
    deadline: String,
    witness: WireWitness,
}

#[derive(Serialize, Deserialize)]
struct WirePermitted {
    token: String,
    amount: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireWitness {
    to: String,
    facilitator: String,
    valid_after: String,
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
