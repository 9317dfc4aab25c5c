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
    /// It is valid for longer than the payee wants to remember it.
    TooLong,
    /// It begins later.
    NotYetValid,
    /// Another account is to settle it than the payee's.
    Facilitator,
    /// The payer has too little.
    Funds,
    /// The payer did not let Permit2 move that much of the token.
    Allowance,
    /// The payer used or cancelled the authorization.
    Used,
    /// The token refuses the transfer for another reason.
    Transfer,
    /// The payment was made for another request, or for one that is forgotten.
    Spent,
    /// Another payment has its name: a request is paid once, and a charge too.
    Named,
    /// The payer's money is spoken for by requests that are being worked on. Repeat this one in a moment.
    Busy,
}

impl Refusal {
    /// The code that x402 gives it in the scheme `upto`.
    pub const fn upto_code(self) -> &'static str {
        match self {
            Self::Signature => "invalid_permit2_signature",
            Self::Amount => "permit2_amount_mismatch",
            Self::Recipient => "invalid_permit2_recipient_mismatch",
            Self::Expired => "permit2_deadline_expired",
            Self::NotYetValid => "permit2_not_yet_valid",
            Self::Facilitator => "upto_facilitator_mismatch",
            Self::Funds => "permit2_insufficient_balance",
            Self::Allowance => "permit2_allowance_required",
            Self::Used => "permit2_invalid_nonce",
            Self::Transfer => "permit2_simulation_failed",
            Self::TooLong => "invalid_upto_evm_payload_deadline",
            Self::Offer | Self::Spent | Self::Named | Self::Busy => self.code(),
        }
    }

    /// The code that x402 gives it in the scheme `exact`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Offer => "invalid_payment_requirements",
            Self::Signature => "invalid_exact_evm_payload_signature",
            Self::Amount => "invalid_exact_evm_payload_authorization_value_mismatch",
            Self::Recipient => "invalid_exact_evm_payload_recipient_mismatch",
            Self::Expired | Self::TooLong => "invalid_exact_evm_payload_authorization_valid_before",
            Self::NotYetValid => "invalid_exact_evm_payload_authorization_valid_after",
            Self::Facilitator => "upto_facilitator_mismatch",
            Self::Funds => "insufficient_funds",
            Self::Allowance => "permit2_allowance_required",
            Self::Used => "invalid_exact_evm_nonce_already_used",
            Self::Transfer => "invalid_transaction_state",
            Self::Spent => "payment_already_spent",
            Self::Named => "payment_identifier_conflict",
            Self::Busy => "payer_funds_in_use",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Offer => "the payment is not for this offer; ask for the price and pay that",
            Self::Signature => "the payer did not sign this payment for this token and chain",
            Self::Amount => "the payment is not exactly what the offer asks for",
            Self::Recipient => "the payment goes to another account than the offer says",
            Self::Expired => "the payment's time is over; sign a new one",
            Self::TooLong => {
                "the payment is valid for much longer than the offer says; sign for that time"
            }
            Self::NotYetValid => "the payment is not valid yet; check both clocks",
            Self::Facilitator => {
                "the payment names another account to settle it; ask for the price"
            }
            Self::Funds => "the payer has too little of the token; fill up the account",
            Self::Allowance => "the payer has to approve Permit2 for that much of the token first",
            Self::Used => "the payment was used or cancelled before; sign a new one",
            Self::Transfer => "the token refuses the transfer",
            Self::Spent => {
                "the payment was made for another request, now or long ago; sign a new one"
            }
            Self::Named => "another payment was made under this name; repeat that one",
            Self::Busy => {
                "other requests of this payer are being worked on and may need its money; repeat \
                 this one in a moment"
            }
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

impl Refusal {
    pub(super) fn into_upto_error(self) -> Error {
        self.into_error(self.upto_code())
    }

    fn into_error(self, code: &'static str) -> Error {
        let kind = match self {
            Self::Spent | Self::Named => ErrorKind::Conflict,
            Self::Busy => ErrorKind::Unavailable,
            _ => ErrorKind::Rejected,
        };
        let error = Error::new(kind, self.text()).with("reason", code).source(self);
        if self == Self::Busy { error.retry_in(MOMENT) } else { error }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.into_error(refusal.code())
    }
}

const MOMENT: std::time::Duration = std::time::Duration::from_secs(1);
