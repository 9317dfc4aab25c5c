//! What distributors refuse, in kinds and remedies.

use depin_core::{B256, Error, ErrorKind, keccak256};
use depin_evm::{
    Revert,
    alloy::sol_types::SolInterface,
    bindings::{
        BitmapDistributor::BitmapDistributorErrors as BitmapRefusal, CreditMinter::MintAboveBand,
        EmissionController::EmissionAboveCurve, NetworkToken::ERC20ExceededCap,
        RewardDistributor::RewardDistributorErrors as Refusal,
    },
};

type Remedy = (ErrorKind, &'static str);

/// Gives a revert of a distributor its kind and remedy; leaves other errors alone.
pub(in crate::evm) fn explain(error: Error) -> Error {
    let Some(revert) = Revert::of(&error) else { return error };
    let Some((kind, text)) = of_issue(revert).or_else(|| of_contract(revert)) else { return error };
    let reason = revert.to_string();
    Error::new(kind, text).with("reason", reason).source(error)
}

/// What the token and its source refuse to issue.
fn of_issue(revert: &Revert) -> Option<Remedy> {
    if revert.decode::<ERC20ExceededCap>().is_some() {
        let text = "the emission passes the token's cap; have the arbiter reject the epoch if it waits, and publish \
                    no more than the cap leaves";
        return Some((ErrorKind::Limit, text));
    }
    if revert.decode::<MintAboveBand>().is_some() {
        let text = "the emission passes what the band of this period leaves; wait for the next period, or have the \
                    arbiter reject the epoch and publish less";
        return Some((ErrorKind::Limit, text));
    }
    revert.decode::<EmissionAboveCurve>().map(|_| {
        let text = "the emission passes what the curve and its cap allow by now; wait, or have \
                    the arbiter reject the epoch and publish less";
        (ErrorKind::Limit, text)
    })
}

fn of_contract(revert: &Revert) -> Option<Remedy> {
    if let Ok(BitmapRefusal::InvalidProof(_)) = BitmapRefusal::abi_decode(revert.data()) {
        let text = "the proof does not lead to the root of the epoch; take it from its tree";
        return Some((ErrorKind::Rejected, text));
    }
    let refusal = Refusal::abi_decode(revert.data()).ok()?;
    of_publication(&refusal).or_else(|| of_watch(&refusal)).or_else(|| of_claim(&refusal))
}

fn of_publication(refusal: &Refusal) -> Option<Remedy> {
    use ErrorKind::{Conflict, Limit, NotFound, Rejected};
    Some(match refusal {
        Refusal::EpochNotAfterLatest(_) => {
            (Conflict, "the epoch, or a later one, was published with other content")
        }
        Refusal::EpochTooFar(_) => (
            Rejected,
            "the number of the epoch is more than 2^40 beyond the latest; choose a nearer one",
        ),
        Refusal::ZeroRoot(_) => {
            (Rejected, "zero is not the root of any tree; take it from a reward tree")
        }
        Refusal::CumulativeTotalFell(_) => (Rejected, "the sum of all rewards cannot fall"),
        Refusal::SafeCastOverflowedUintDowncast(_) => {
            (Limit, "the distributor counts rewards in 128 bits; the sum is larger")
        }
        Refusal::EpochStillPending(_) => {
            (Conflict, "an earlier epoch waits for the end of its dispute window; publish after it")
        }
        Refusal::RateLimitExceeded(_) => (
            Limit,
            "the distributor limits the emission per period; wait until the period leaves as much, or publish less",
        ),
        Refusal::EmissionAboveLimit(_) => (
            Limit,
            "the emission is more than the distributor admits in a whole period; publish it in parts",
        ),
        Refusal::UnknownEpoch(_) => (NotFound, "the epoch was not published"),
        Refusal::AccessControlUnauthorizedAccount(lacking) => (Rejected, lacks(lacking.neededRole)),
        _ => return None,
    })
}

fn of_watch(refusal: &Refusal) -> Option<Remedy> {
    use ErrorKind::{Conflict, NotFound, Rejected};
    Some(match refusal {
        Refusal::IsPaused(_) => (
            Rejected,
            "the guardian paused claims and activations; the arbiter corrects, the admin lets go on",
        ),
        Refusal::NotPaused(_) => (Conflict, "nothing is paused"),
        Refusal::NothingPending(_) => (NotFound, "no epoch waits"),
        Refusal::NotPending(_) => {
            (Conflict, "another root or total waits than was looked at, or none; look again")
        }
        Refusal::NotDisputable(_) => {
            (Conflict, "the dispute window is over, or somebody disputed the epoch already")
        }
        Refusal::NotDisputed(_) => (Conflict, "the epoch is not disputed; nothing to uphold"),
        Refusal::DisputeOpen(_) => {
            (Conflict, "no dispute lapsed; the arbiter has time, or none is open")
        }
        _ => return None,
    })
}

fn of_claim(refusal: &Refusal) -> Option<Remedy> {
    use ErrorKind::Rejected;
    Some(match refusal {
        Refusal::InvalidProof(_) => {
            (Rejected, "the proof does not lead to the latest root; take it from the latest tree")
        }
        Refusal::NoRootServes(_) => {
            (Rejected, "no epoch serves claims: none is active yet, or the guardian paused them")
        }
        Refusal::InvalidRecipient(_) => (
            Rejected,
            "tokens would be lost there; pay another than the distributor, the token or zero",
        ),
        Refusal::NotCommander(_) => {
            (Rejected, "only the account itself, or the owner of its device, names who is paid")
        }
        Refusal::InvalidSignature(_) => {
            (Rejected, "the order is not signed by the account for this distributor and chain")
        }
        Refusal::SignatureExpired(_) => {
            (Rejected, "the deadline of the order is over; have the account sign a new one")
        }
        _ => return None,
    })
}

/// Which role is missing.
fn lacks(role: B256) -> &'static str {
    let names = |name: &str| keccak256(name) == role;
    if names("PUBLISHER_ROLE") {
        "this account may not publish; grant it the publisher role"
    } else if names("ARBITER_ROLE") {
        "this account may not decide; grant it the arbiter role"
    } else if names("GUARDIAN_ROLE") {
        "this account may not pause; grant it the guardian role"
    } else {
        "only the administrator of the distributor may do this"
    }
}
