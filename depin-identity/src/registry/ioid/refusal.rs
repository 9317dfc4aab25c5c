//! From the contracts' words to kinds that callers branch on, with the remedy.

use depin_core::{Did, Error, ErrorKind};
use depin_evm::{Revert, alloy::sol_types::Revert as Reason};

/// Gives a refusal of the ioID contracts its kind and remedy; leaves other errors alone.
pub(super) fn explain(error: Error) -> Error {
    let reason = Revert::of(&error).and_then(|revert| revert.decode::<Reason>());
    let Some(Reason { reason }) = reason else { return error };
    let known = REFUSALS.iter().find(|(word, ..)| *word == reason);
    let Some((_, kind, text)) = known else { return error };
    Error::new(*kind, *text).with("reason", reason).source(error)
}

/// Whether the contract said `word`.
pub(super) fn says(error: &Error, word: &str) -> bool {
    let reason = Revert::of(error).and_then(|revert| revert.decode::<Reason>());
    reason.is_some_and(|said| said.reason == word)
}

pub(super) fn unknown(did: &Did) -> Error {
    Error::new(ErrorKind::NotFound, "no such device in this project; register it first")
        .with("did", did)
}

pub(super) const EXISTS: &str = "device exists";
pub(super) const MISSING: &str = "device not exists";

const REFUSALS: [(&str, ErrorKind, &str); 12] = [
    (EXISTS, ErrorKind::Conflict, "the device is registered already; read its record"),
    (MISSING, ErrorKind::NotFound, "no such device in ioID; register it first"),
    ("nft already used", ErrorKind::Conflict, "the device token was used before; mint another"),
    (
        "invalid signature",
        ErrorKind::Rejected,
        "ioID does not accept the permit, maybe because another one was used meanwhile; read the device and try again",
    ),
    (
        "insufficient fund",
        ErrorKind::Rejected,
        "the price rose or the project's last slot is gone; try again, or apply for slots",
    ),
    (
        "invalid project",
        ErrorKind::Config,
        "the collection belongs to no project; call IoId::set_device_contract as its owner",
    ),
    (
        "exceeds minterAllowance",
        ErrorKind::Rejected,
        "this account may mint no more device tokens; call IoId::allow_minting as the collection's owner",
    ),
    ("only hardware project", ErrorKind::Unsupported, "only hardware projects apply for slots"),
    ("exist name", ErrorKind::Conflict, "a project has this name already; choose another"),
    ("empty name", ErrorKind::Rejected, "a project needs a name"),
    ("invald project owner", ErrorKind::Rejected, "only the project's owner may do that"),
    (
        "project setted",
        ErrorKind::Conflict,
        "the project has its collection for good; ask ioID's operator to change it",
    ),
];
