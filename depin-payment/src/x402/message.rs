//! What x402 parties tell each other: version 2 of the protocol, as JSON.
//!
//! The structs are the wire: they hold texts, because an offer for another kind of network is no error, only one
//! that this side does not take. What a scheme makes of them is parsed once, where it is used. Fields that the
//! specification does not know are skipped.

use depin_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{header, identifier, refusal::Refusal};

/// The version of the protocol that this crate speaks.
pub const VERSION: u64 = 2;

/// Most ways to pay that one offer may list.
pub const MAX_ACCEPTS: usize = 32;

/// What a server answers to a request that has to be paid for.
///
/// ```
/// use depin_payment::x402::PaymentRequired;
///
/// let text = br#"{"x402Version":2,"resource":{"url":"https://api.example/data"},"accepts":[{"scheme":"exact",
///     "network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e",
///     "payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60}]}"#;
/// let required = PaymentRequired::from_json(text)?;
/// assert_eq!(required.accepts[0].amount, "10000");
/// assert_eq!(PaymentRequired::from_header(&required.to_header())?, required);
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PaymentRequired {
    /// [`VERSION`].
    #[serde(rename = "x402Version")]
    pub version: u64,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the payment is for.
    pub resource: ResourceInfo,
    /// The ways to pay, of which one is chosen.
    pub accepts: Vec<PaymentRequirements>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extensions: Option<Map<String, Value>>,
}

/// What is sold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ResourceInfo {
    /// Its address.
    pub url: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The MIME type of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
}

/// One way to pay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PaymentRequirements {
    /// The scheme, such as `exact`.
    pub scheme: String,
    /// The network in CAIP-2, such as `eip155:84532`.
    pub network: String,
    /// How much, in the token's smallest unit, as decimal digits.
    pub amount: String,
    /// The token's contract.
    pub asset: String,
    /// Who is paid.
    pub pay_to: String,
    /// How long a payment may take, in seconds.
    pub max_timeout_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extra: Option<Map<String, Value>>,
}

impl PaymentRequirements {
    /// A text that the scheme adds, such as the `name` in the token's EIP-712 domain.
    pub fn extra(&self, name: &str) -> Option<&str> {
        self.extra.as_ref()?.get(name)?.as_str()
    }
}

/// What a client hands over with its request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct PaymentPayload {
    /// [`VERSION`].
    #[serde(rename = "x402Version")]
    pub version: u64,
    /// What the payment is for, as the server named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceInfo>,
    /// The way to pay that was chosen.
    pub accepted: PaymentRequirements,
    pub(crate) payload: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) extensions: Option<Map<String, Value>>,
}

/// What became of a payment.
///
/// The protocol has two outcomes; the third, that a transaction is sent and not known to be mined, is told as a
/// failure whose reason is [`PENDING`](Self::PENDING).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SettleResponse {
    /// Whether the money moved.
    pub success: bool,
    /// Why it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// The hash of the transaction; empty when there is none.
    #[serde(default)]
    pub transaction: String,
    /// The network in CAIP-2.
    pub network: String,
    /// How much moved, where the scheme leaves it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
}

impl SettleResponse {
    /// The reason of a settlement that is not known yet: ask again with the same payment, never with another.
    pub const PENDING: &str = "settlement_pending";

    /// Whether it is not known yet.
    pub fn is_pending(&self) -> bool {
        !self.success && self.error_reason.as_deref() == Some(Self::PENDING)
    }

    /// Whether the payment was spent on another request.
    pub(super) fn is_spent(&self) -> bool {
        !self.success && self.error_reason.as_deref() == Some(Refusal::Spent.code())
    }
}

/// The header that carries a [`PaymentRequired`].
pub const PAYMENT_REQUIRED: &str = "payment-required";
/// The header that carries a [`PaymentPayload`].
pub const PAYMENT_SIGNATURE: &str = "payment-signature";
/// The header that carries a [`SettleResponse`].
pub const PAYMENT_RESPONSE: &str = "payment-response";

/// Parsing and writing, alike for all messages.
macro_rules! message {
    ($type:ty, $name:literal) => {
        impl $type {
            /// Parses JSON of at most 64 KiB.
            ///
            /// # Errors
            /// [`ErrorKind::Limit`] when it is longer, [`ErrorKind::Malformed`] when it is not this message or
            /// a field is there twice, [`ErrorKind::Unsupported`] for another version of the protocol.
            pub fn from_json(bytes: &[u8]) -> Result<Self> {
                let message: Self = parse(bytes, $name)?;
                message.check()?;
                Ok(message)
            }

            /// Parses the value of a header: base64 of JSON.
            ///
            /// # Errors
            /// As [`from_json`](Self::from_json), and [`ErrorKind::Malformed`] when it is no base64.
            pub fn from_header(value: &str) -> Result<Self> {
                Self::from_json(&header::decode(value)?)
            }

            /// The JSON.
            pub fn to_json(&self) -> Vec<u8> {
                serde_json::to_vec(self)
                    .expect("invariant: texts, numbers and maps with text keys are JSON")
            }

            /// The value of a header: base64 of the JSON.
            pub fn to_header(&self) -> String {
                header::encode(&self.to_json())
            }
        }
    };
}

message!(PaymentRequired, "PaymentRequired");
message!(PaymentPayload, "PaymentPayload");
message!(SettleResponse, "SettleResponse");

impl ResourceInfo {
    /// What is sold at this address.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

impl PaymentRequired {
    /// Asks for a payment in one of these ways, and offers [identifiers](PaymentPayload::identified): for servers that
    /// have a way of their own to HTTP, or none. Others lay a [`Price`](super::Price) around a route.
    ///
    /// ```
    /// use depin_core::{Address, Algorithm, Amount, B256, ChainId, Signer, SoftwareKey, Timestamp};
    /// use depin_payment::x402::{Authorization, ExactPayment, ExactTerms, PaymentPayload, PaymentRequired, ResourceInfo,
    ///     TokenDomain};
    ///
    /// let domain = TokenDomain { name: "USDC".into(), version: "2".into() };
    /// let [token, payee] = [1, 2].map(Address::repeat_byte);
    /// let terms = ExactTerms::new(ChainId::new(84_532), token, payee, Amount::from(10_000), domain);
    /// let resource = ResourceInfo::at("mqtt://broker.example/readings");
    /// let required = PaymentRequired::new(resource, vec![terms.to_requirements()])?;
    /// assert!(PaymentRequired::new(ResourceInfo::default(), Vec::new()).is_err());
    ///
    /// // The client chooses, signs, names its payment so that it can ask again, and hands it over as JSON.
    /// let key = SoftwareKey::from_seed(Algorithm::Es256k, [7; 32]);
    /// let payer = key.public_key().to_address().unwrap();
    /// let offered = ExactTerms::parse(&required.accepts[0])?;
    /// let until = Timestamp::from_secs(1_700_000_060);
    /// let payment = Authorization::new(&offered, payer, until, B256::repeat_byte(3)).sign(&offered, &key)?;
    /// let message = payment.to_message(&required, 0)?.identified(&[9; 16]);
    ///
    /// let received = PaymentPayload::from_json(&message.to_json())?;
    /// assert!(received.identifier()?.is_some());
    /// let now = Timestamp::from_secs(1_700_000_000);
    /// assert!(ExactPayment::parse(&received)?.check(&terms, now).is_ok());
    /// # Ok::<(), depin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] for no way at all, or more than [`MAX_ACCEPTS`].
    pub fn new(resource: ResourceInfo, accepts: Vec<PaymentRequirements>) -> Result<Self> {
        let required = Self::asking(resource, accepts);
        required.check().map(|()| required)
    }

    /// As [`new`](Self::new), of ways that are few enough.
    pub(super) fn asking(resource: ResourceInfo, accepts: Vec<PaymentRequirements>) -> Self {
        let extensions = Some(identifier::offered());
        Self { version: VERSION, error: None, resource, accepts, extensions }
    }

    /// Says why it asks, for people.
    #[must_use]
    pub fn because(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self
    }

    /// The message that hands a payment over, for the offer at `choice`.
    pub(super) fn paid(
        &self,
        choice: usize,
        payload: Map<String, Value>,
    ) -> Result<PaymentPayload> {
        let accepted = self.accepts.get(choice).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the server made fewer offers than that")
        })?;
        Ok(PaymentPayload {
            version: VERSION,
            resource: Some(self.resource.clone()),
            accepted,
            payload,
            extensions: self.extensions.clone(),
        })
    }

    fn check(&self) -> Result<()> {
        version(self.version)?;
        if self.accepts.is_empty() || self.accepts.len() > MAX_ACCEPTS {
            let text = "an offer lists 1 to 32 ways to pay; the server must list fewer, or one";
            return Err(Error::new(ErrorKind::Limit, text).with("listed", self.accepts.len()));
        }
        Ok(())
    }
}

impl PaymentPayload {
    fn check(&self) -> Result<()> {
        version(self.version)
    }
}

impl SettleResponse {
    const fn check(&self) -> Result<()> {
        Ok(())
    }
}

fn version(found: u64) -> Result<()> {
    if found == VERSION {
        return Ok(());
    }
    let text = "the message is of another version of x402; both sides must speak version 2";
    Err(Error::new(ErrorKind::Unsupported, text).with("version", found))
}

fn parse<T: DeserializeOwned>(bytes: &[u8], name: &'static str) -> Result<T> {
    if bytes.len() > header::MAX_JSON {
        let text = "an x402 message is at most 64 KiB of JSON";
        return Err(Error::new(ErrorKind::Limit, text).with("bytes", bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let text = "the JSON is not the x402 message that is expected here";
        Error::new(ErrorKind::Malformed, text).with("message", name).with("cause", error)
    })
}
