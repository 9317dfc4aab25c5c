//! Why a payment is not taken, in the words of the protocol.

use depin_core::{Error, ErrorKind};

/// Why a payment is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It is for another offer: scheme, network, token, amount or payee differ.
    Offer,
    /// The payer's key did not make the signature, or not with low `s`.
    Signature,
    /// It is not exactly the amount asked for.
    Amount,
    /// It goes to somebody else.
    Recipient,
    /// It ends before it could be settled.
    Expired,
    /// It begins later.
    NotYetValid,
    /// The payer has too little.
    Funds,
    /// The payer used or cancelled the authorization.
    Used,
    /// The token refuses the transfer for another reason.
    Transfer,
    /// The payment was made for another request.
    Spent,
    /// Another payment has its name: a request is paid once, and a charge too.
    Named,
}

impl Refusal {
    /// The code that x402 gives it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Offer => "invalid_payment_requirements",
            Self::Signature => "invalid_exact_evm_payload_signature",
            Self::Amount => "invalid_exact_evm_payload_authorization_value_mismatch",
            Self::Recipient => "invalid_exact_evm_payload_recipient_mismatch",
            Self::Expired => "invalid_exact_evm_payload_authorization_valid_before",
            Self::NotYetValid => "invalid_exact_evm_payload_authorization_valid_after",
            Self::Funds => "insufficient_funds",
            Self::Used => "invalid_exact_evm_nonce_already_used",
            Self::Transfer => "invalid_transaction_state",
            Self::Spent => "payment_already_spent",
            Self::Named => "payment_identifier_conflict",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Offer => "the payment is not for this offer; ask for the price and pay that",
            Self::Signature => "the payer did not sign this payment for this token and chain",
            Self::Amount => "the payment is not exactly the price",
            Self::Recipient => "the payment goes to another account than the offer says",
            Self::Expired => "the payment's time is over; sign a new one",
            Self::NotYetValid => "the payment is not valid yet; check both clocks",
            Self::Funds => "the payer has too little of the token; fill up the account",
            Self::Used => "the payment was used or cancelled before; sign a new one",
            Self::Transfer => "the token refuses the transfer",
            Self::Spent => "the payment was made for another request; sign a new one",
            Self::Named => "another payment was made under this name; repeat that one",
        }
    }

    /// The refusal behind an error of this module, if there is one.
    pub fn of(error: &Error) -> Option<Self> {
        std::error::Error::source(error)?.downcast_ref().copied()
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Spent | Refusal::Named => ErrorKind::Conflict,
            _ => ErrorKind::Rejected,
        };
        Self::new(kind, refusal.text()).with("reason", refusal.code()).source(refusal)
    }
}
