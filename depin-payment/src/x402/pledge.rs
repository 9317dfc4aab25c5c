//! A payment of one of the schemes that a till settles, each by a transaction of its own.

use depin_core::{Address, Amount, B256, Error, Result, Timestamp, U256};
use serde::{Deserialize, Serialize};

use super::{
    exact::{self, ExactPayment, ExactTerms},
    message::PaymentPayload,
    refusal::Refusal,
    upto::{self, UptoPayment, UptoTerms},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pledge {
    Exact(ExactPayment),
    Upto(UptoPayment),
}

/// What a pledge has to be for.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) exact: ExactTerms,
    pub(super) upto: UptoTerms,
}

/// The JSON form of either; their fields tell them apart.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Wire {
    Exact(exact::Wire),
    Upto(upto::Wire),
}

impl Pledge {
    /// Parses the payment that a client brings, and refuses one for another offer than that of its scheme.
    pub(super) fn parse(payload: &PaymentPayload, terms: &Terms) -> Result<Self> {
        let accepted = &payload.accepted;
        if accepted.scheme == UptoTerms::SCHEME && terms.upto.is_accepted(accepted) {
            return UptoPayment::parse(payload).map(Self::Upto);
        }
        if ExactTerms::parse(accepted).is_ok_and(|accepted| accepted == terms.exact) {
            return ExactPayment::parse(payload).map(Self::Exact);
        }
        Err(Refusal::Offer.into())
    }

    pub(super) fn from_wire(wire: &Wire) -> Result<Self> {
        match wire {
            Wire::Exact(wire) => ExactPayment::from_wire(wire).map(Self::Exact),
            Wire::Upto(wire) => UptoPayment::from_wire(wire).map(Self::Upto),
        }
    }

    pub(super) fn to_wire(&self) -> Wire {
        match self {
            Self::Exact(payment) => Wire::Exact(payment.to_wire()),
            Self::Upto(payment) => Wire::Upto(payment.to_wire()),
        }
    }

    pub(super) const fn payer(&self) -> Address {
        match self {
            Self::Exact(payment) => payment.authorization().from,
            Self::Upto(payment) => payment.payer(),
        }
    }

    /// Whether it uses up what its payer lets Permit2 move.
    pub(super) const fn is_by_permit2(&self) -> bool {
        matches!(self, Self::Upto(_))
    }

    /// Most that it can move.
    pub(super) const fn most(&self) -> Amount {
        match self {
            Self::Exact(payment) => payment.authorization().value,
            Self::Upto(payment) => payment.most(),
        }
    }

    /// From when on no block takes it, in seconds, give or take one.
    pub(super) const fn ends(&self) -> U256 {
        match self {
            Self::Exact(payment) => payment.authorization().valid_before,
            Self::Upto(payment) => payment.deadline(),
        }
    }

    pub(super) fn id(&self, terms: &Terms) -> B256 {
        match self {
            Self::Exact(payment) => payment.id(&terms.exact),
            Self::Upto(payment) => payment.id(terms.upto.chain),
        }
    }

    pub(super) fn check(&self, terms: &Terms, now: Timestamp) -> Result<(), Refusal> {
        match self {
            Self::Exact(payment) => payment.check(&terms.exact, now),
            Self::Upto(payment) => payment.check(&terms.upto, now),
        }
    }

    /// Whether both move the same money: no chain lets both happen, whichever windows they have.
    pub(super) fn moves_as(&self, other: &Self, terms: &Terms) -> bool {
        match (self, other) {
            (Self::Exact(ours), Self::Exact(theirs)) => ours.moves_as(theirs, &terms.exact),
            (Self::Upto(ours), Self::Upto(theirs)) => ours.moves_as(theirs, terms.upto.chain),
            _ => false,
        }
    }

    /// A refusal in the words of the scheme.
    pub(super) fn refuse(&self, refusal: Refusal) -> Error {
        match self {
            Self::Exact(_) => refusal.into(),
            Self::Upto(_) => refusal.into_upto_error(),
        }
    }
}
