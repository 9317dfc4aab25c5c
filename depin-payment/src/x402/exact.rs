//! The scheme `exact` on EVM chains: one transfer that the payer signed and the payee sends (ERC-3009).
//!
//! The token moves exactly what the message says to whom it says, so whoever sends it can neither raise nor
//! redirect it. What can be known without the chain is checked here; the chain is asked by the [`Till`](super::Till).

use std::time::Duration;

use depin_core::{
    Address, Amount, B256, ChainId, Error, ErrorKind, Result, Signer, Timestamp, U256, keccak256,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    message::{PaymentPayload, PaymentRequired, PaymentRequirements},
    refusal::Refusal,
};
use crate::typed::{Domain, hash_words, recover, sign};

/// What an offer of scheme `exact` on an EVM chain asks for.
///
/// ```
/// use depin_payment::x402::{ExactTerms, PaymentRequired};
///
/// let text = br#"{"x402Version":2,"resource":{"url":"https://api.example/data"},"accepts":[{"scheme":"exact",
///     "network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e",
///     "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,
///     "extra":{"name":"USDC","version":"2"}}]}"#;
/// let terms = ExactTerms::parse(&PaymentRequired::from_json(text)?.accepts[0])?;
/// assert_eq!(terms.chain.value(), 84532);
/// assert_eq!(terms.amount, 10_000.into());
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExactTerms {
    /// The chain on which it is paid.
    pub chain: ChainId,
    /// The token's contract.
    pub asset: Address,
    /// Who is paid.
    pub pay_to: Address,
    /// How much, in the token's smallest unit.
    pub amount: Amount,
    /// How long the payment may take.
    pub timeout: Duration,
    /// The EIP-712 domain of the token.
    pub domain: TokenDomain,
}

/// Name and version in a token's EIP-712 domain, without which nobody can sign for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenDomain {
    /// The name, often the token's own.
    pub name: String,
    /// The version, often `1` or `2`.
    pub version: String,
}

impl ExactTerms {
    /// The scheme's name.
    pub const SCHEME: &str = "exact";

    /// Asks for so much of a token, in its smallest unit, within a minute. A [`Till`](super::Till) knows the terms of
    /// its own token.
    pub const fn new(
        chain: ChainId,
        asset: Address,
        pay_to: Address,
        amount: Amount,
        domain: TokenDomain,
    ) -> Self {
        Self { chain, asset, pay_to, amount, timeout: Duration::from_secs(60), domain }
    }

    /// How long the payment may take; parts of a second are dropped.
    #[must_use]
    pub const fn within(mut self, timeout: Duration) -> Self {
        self.timeout = Duration::from_secs(timeout.as_secs());
        self
    }

    /// Parses what an offer asks for.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for another scheme, network or way to transfer, [`ErrorKind::Malformed`] when
    /// a field does not follow its format.
    pub fn parse(offer: &PaymentRequirements) -> Result<Self> {
        if offer.scheme != Self::SCHEME {
            return Err(unsupported("scheme", &offer.scheme));
        }
        if let Some(method) = offer.extra("assetTransferMethod").filter(|m| *m != "eip3009") {
            return Err(unsupported("assetTransferMethod", method));
        }
        let named = |name| {
            offer.extra(name).map(str::to_owned).ok_or_else(|| malformed("extra", "no such text"))
        };
        Ok(Self {
            chain: chain_of(&offer.network)?,
            asset: address("asset", &offer.asset)?,
            pay_to: address("payTo", &offer.pay_to)?,
            amount: decimal("amount", &offer.amount).map(Amount::units)?,
            timeout: Duration::from_secs(offer.max_timeout_seconds),
            domain: TokenDomain { name: named("name")?, version: named("version")? },
        })
    }

    /// The offer that asks for this.
    pub fn to_requirements(&self) -> PaymentRequirements {
        let text = |value: &str| Value::String(value.to_owned());
        let extra = Map::from_iter([
            ("name".to_owned(), text(&self.domain.name)),
            ("version".to_owned(), text(&self.domain.version)),
        ]);
        PaymentRequirements {
            scheme: Self::SCHEME.to_owned(),
            network: network_of(self.chain),
            amount: self.amount.to_units().to_string(),
            asset: self.asset.to_string(),
            pay_to: self.pay_to.to_string(),
            max_timeout_seconds: self.timeout.as_secs(),
            extra: Some(extra),
        }
    }
}

/// The transfer that a payer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Authorization {
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// How much, in the token's smallest unit.
    pub value: Amount,
    /// The last second, since the Unix epoch, at which it is not valid yet.
    pub valid_after: U256,
    /// The first second, since the Unix epoch, at which it is not valid any more.
    pub valid_before: U256,
    /// What the payer uses once.
    pub nonce: B256,
}

impl Authorization {
    /// What `terms` ask for, paid by `from`, valid from before now until `expires`.
    pub fn new(terms: &ExactTerms, from: Address, expires: Timestamp, nonce: B256) -> Self {
        Self {
            from,
            to: terms.pay_to,
            value: terms.amount,
            valid_after: U256::ZERO,
            valid_before: U256::from(expires.secs()),
            nonce,
        }
    }

    /// The digest of the EIP-712 message `TransferWithAuthorization` for a token on a chain.
    pub fn digest(&self, domain: &TokenDomain, chain: ChainId, asset: Address) -> B256 {
        let message = hash_words([
            keccak256(TRANSFER),
            self.from.into_word(),
            self.to.into_word(),
            self.value.to_units().into(),
            self.valid_after.into(),
            self.valid_before.into(),
            self.nonce,
        ]);
        Domain::new(&domain.name, &domain.version, chain, asset).digest(message)
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the key is not the payer's, [`ErrorKind::Unsupported`] when it cannot sign
    /// digests.
    pub fn sign(self, terms: &ExactTerms, key: &dyn Signer) -> Result<ExactPayment> {
        let digest = self.digest(&terms.domain, terms.chain, terms.asset);
        if key.public_key().to_address() != Some(self.from) {
            let text = "the key is not that of the account that pays";
            return Err(Error::new(ErrorKind::Rejected, text).with("payer", self.from));
        }
        let signature = sign(key, digest)?;
        Ok(ExactPayment { authorization: self, signature })
    }
}

/// A signed transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactPayment {
    authorization: Authorization,
    signature: [u8; 65],
}

impl ExactPayment {
    /// Parses the payload of a scheme `exact` on an EVM chain.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when it is none; other ways to sign than 65 bytes of ECDSA are none.
    pub fn parse(payload: &PaymentPayload) -> Result<Self> {
        let wire: Wire = Wire::deserialize(&payload.payload)
            .map_err(|error| malformed("payload", &error.to_string()))?;
        Self::from_wire(&wire)
    }

    /// What was signed.
    pub const fn authorization(&self) -> &Authorization {
        &self.authorization
    }

    /// `r || s || v`.
    pub const fn signature(&self) -> &[u8; 65] {
        &self.signature
    }

    /// Identifies the payment: no two payments that a chain lets happen have the same.
    pub fn id(&self, terms: &ExactTerms) -> B256 {
        let Authorization { from, nonce, .. } = &self.authorization;
        let chain: B256 = U256::from(terms.chain.value()).into();
        hash_words([chain, terms.asset.into_word(), from.into_word(), *nonce])
    }

    /// Checks all that needs no chain: signature, amount, recipient and time. It may be valid for ten minutes longer
    /// than the terms say, for clocks that differ: what is not settled has to be remembered for as long.
    ///
    /// # Errors
    /// The [`Refusal`], as [`ErrorKind::Rejected`].
    pub fn check(&self, terms: &ExactTerms, now: Timestamp) -> Result<(), Refusal> {
        let Authorization { from, to, value, valid_after, valid_before, .. } = &self.authorization;
        if self.signer(terms) != Some(*from) {
            return Err(Refusal::Signature);
        }
        if *value != terms.amount {
            return Err(Refusal::Amount);
        }
        if *to != terms.pay_to {
            return Err(Refusal::Recipient);
        }
        if *valid_before > U256::from(now.plus(terms.timeout).plus(SLACK).secs()) {
            return Err(Refusal::TooLong);
        }
        let now = now.secs();
        if *valid_before <= U256::from(now.saturating_add(MARGIN)) {
            return Err(Refusal::Expired);
        }
        if *valid_after >= U256::from(now) {
            return Err(Refusal::NotYetValid);
        }
        Ok(())
    }

    /// Whether both move the same money: no chain lets both happen, whichever windows they have.
    pub(super) fn moves_as(&self, other: &Self, terms: &ExactTerms) -> bool {
        let (ours, theirs) = (&self.authorization, &other.authorization);
        let same = (ours.from, ours.to, ours.value, ours.nonce)
            == (theirs.from, theirs.to, theirs.value, theirs.nonce);
        same && (self == other || other.signer(terms) == Some(theirs.from))
    }

    /// JSON, for rails that do not speak HTTP.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.to_wire()).expect("invariant: a struct of texts is JSON")
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wire = serde_json::from_slice(bytes);
        Self::from_wire(&wire.map_err(|error| malformed("proof", &error.to_string()))?)
    }

    /// Who signed; nobody when `s` is high, for then anybody could have made a second signature of it.
    fn signer(&self, terms: &ExactTerms) -> Option<Address> {
        let digest = self.authorization.digest(&terms.domain, terms.chain, terms.asset);
        recover(digest, &self.signature).ok()
    }

    /// The message that hands the payment over, for the offer at `choice` of what the server asked for.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such offer.
    pub fn to_message(&self, required: &PaymentRequired, choice: usize) -> Result<PaymentPayload> {
        required.paid(choice, self.to_payload())
    }

    pub(super) fn to_payload(&self) -> Map<String, Value> {
        let value = serde_json::to_value(self.to_wire());
        let map = value.and_then(serde_json::from_value);
        map.expect("invariant: a struct of texts is a JSON object")
    }

    pub(super) fn to_wire(&self) -> Wire {
        let Authorization { from, to, value, valid_after, valid_before, nonce } =
            &self.authorization;
        Wire {
            signature: signature_text(&self.signature),
            authorization: WireAuthorization {
                from: from.to_string(),
                to: to.to_string(),
                value: value.to_units().to_string(),
                valid_after: valid_after.to_string(),
                valid_before: valid_before.to_string(),
                nonce: nonce.to_string(),
            },
        }
    }

    pub(super) fn from_wire(wire: &Wire) -> Result<Self> {
        let given = &wire.authorization;
        let signature = signature(&wire.signature)?;
        let authorization = Authorization {
            from: address("from", &given.from)?,
            to: address("to", &given.to)?,
            value: decimal("value", &given.value).map(Amount::units)?,
            valid_after: decimal("validAfter", &given.valid_after)?,
            valid_before: decimal("validBefore", &given.valid_before)?,
            nonce: B256::new(bytes("nonce", &given.nonce)?),
        };
        Ok(Self { authorization, signature })
    }
}

/// The JSON form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wire {
    signature: String,
    authorization: WireAuthorization,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireAuthorization {
    from: String,
    to: String,
    value: String,
    valid_after: String,
    valid_before: String,
    nonce: String,
}

/// `eip155:1` for Ethereum.
pub(super) fn network_of(chain: ChainId) -> String {
    format!("eip155:{}", chain.value())
}

/// The chain of a CAIP-2 network, if it is an EVM chain.
pub(super) fn chain_of(network: &str) -> Result<ChainId> {
    let id = network.strip_prefix("eip155:").ok_or_else(|| unsupported("network", network))?;
    let id = decimal("network", id)?;
    u64::try_from(id).map(ChainId::new).map_err(|_| unsupported("network", network))
}

/// Decimal digits without sign and leading zeros.
pub(super) fn decimal(field: &'static str, text: &str) -> Result<U256> {
    let digits = !text.is_empty() && text.len() <= 78 && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err(malformed(field, "no decimal number without leading zeros"));
    }
    U256::from_str_radix(text, 10).map_err(|_| malformed(field, "more than 256 bits"))
}

pub(super) fn address(field: &'static str, text: &str) -> Result<Address> {
    bytes::<20>(field, text).map(Address::new)
}

fn bytes<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N]> {
    let wrong = || malformed(field, "not 0x and hexadecimal digits of its length");
    let digits = text.strip_prefix("0x").ok_or_else(wrong)?;
    if digits.len() != N * 2 {
        return Err(wrong());
    }
    alloy_primitives::hex::decode_to_array(digits).map_err(|_| wrong())
}

/// `r || s || v` from its hexadecimal form.
pub(super) fn signature(text: &str) -> Result<[u8; 65]> {
    bytes("signature", text)
}

pub(super) fn signature_text(signature: &[u8; 65]) -> String {
    alloy_primitives::hex::encode_prefixed(signature)
}

pub(super) fn unsupported(field: &'static str, found: &str) -> Error {
    let text = "this way to pay is not taken here; choose exact with ERC-3009 on an EVM chain";
    Error::new(ErrorKind::Unsupported, text).with("field", field).with("found", shorten(found))
}

pub(super) fn malformed(field: &'static str, why: &str) -> Error {
    let text = "a field of an x402 payment does not follow its format";
    Error::new(ErrorKind::Malformed, text).with("field", field).with("cause", shorten(why))
}

fn shorten(text: &str) -> String {
    text.chars().take(128).collect()
}

const TRANSFER: &str = "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)";

/// How much longer than the terms say a payment may be valid.
pub(super) const SLACK: Duration = Duration::from_secs(600);

/// Seconds that have to be left, so that a transaction can be mined in time.
pub(super) const MARGIN: u64 = 6;
