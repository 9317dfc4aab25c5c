//! From the contract's errors to kinds that callers branch on, with the remedy.

use depin_core::{Address, Did, Error, ErrorKind, registry::DeviceStatus};
use depin_evm::{
    Revert,
    alloy::sol_types::SolInterface,
    bindings::DeviceRegistry::{DeviceRegistryErrors as Refusal, InvalidDelegation, InvalidStatus},
};

use super::read::status;

/// Gives a revert of the registry its kind and remedy; leaves other errors alone.
pub(super) fn explain(error: Error) -> Error {
    use ErrorKind::{Conflict, Limit, Malformed, NotFound, Rejected};
    let refusal = Revert::of(&error).and_then(|revert| Refusal::abi_decode(revert.data()).ok());
    let Some(refusal) = refusal else { return error };
    let (kind, text) = match refusal {
        Refusal::UnknownDevice(_) => {
            (NotFound, "no such device in the registry; register it first")
        }
        Refusal::AlreadyRegistered(_) => {
            (Conflict, "the device is registered already; read its record")
        }
        Refusal::HardwareAlreadyRegistered(_) => {
            (Conflict, "the hardware has an identity in this network already")
        }
        Refusal::InvalidNonce(_) | Refusal::DetailsMismatch(_) => {
            (Conflict, "the device changed meanwhile; read it and try again")
        }
        Refusal::InvalidStatus(_) => {
            (Rejected, "the status of the device does not permit this; see its record")
        }
        Refusal::SignatureExpired(_) => (Rejected, "the signed consent expired; ask again"),
        Refusal::InvalidSignature(_) => (Rejected, "the signature is not the one of its signer"),
        Refusal::NotTheNextKey(_) => {
            (Rejected, "the device did not commit to this key; rotate to the one it named before")
        }
        Refusal::InvalidDelegation(refused) => {
            return invalid_delegation(&refused).source(error);
        }
        Refusal::KeyMismatch(_) | Refusal::InvalidDeviceSignature(_) => {
            (Rejected, "the registry does not accept the device's signature")
        }
        Refusal::AccessControlUnauthorizedAccount(_) | Refusal::NotOwnerOrRegistrar(_) => {
            (Rejected, "this account may not do that; grant it the registrar role")
        }
        Refusal::ERC721IncorrectOwner(_) => {
            (Conflict, "the device changed its owner meanwhile; read it and try again")
        }
        Refusal::OwnershipCycle(_) | Refusal::ERC721InvalidReceiver(_) => {
            (Rejected, "this address cannot own the device; name a person's or a contract's")
        }
        Refusal::DocumentURITooLong(_) => {
            (Limit, "the document uri has more than 1024 bytes; shorten it")
        }
        Refusal::DocumentURINotASCII(_) => (Malformed, URI_NOT_ASCII),
        Refusal::NextKeyIsLiveKey(_) => (Rejected, NEXT_KEY_IS_LIVE),
        _ => return error,
    };
    let reason = Revert::of(&error).map(ToString::to_string).unwrap_or_default();
    Error::new(kind, text).with("reason", reason).source(error)
}

fn invalid_delegation(refused: &InvalidDelegation) -> Error {
    // `DelegationFault` of the contract, in its order.
    let faults = [
        "the chain is empty, too long, or lacks signatures",
        "it is for another device, or from before that changed hands or key",
        "its issuer is not the owner, or not who holds the one before",
        "it does not name the one before as its parent",
        "the one before does not allow to delegate",
        "it gives more, or for longer, than the one before",
        "it does not count yet, or no longer",
        "its issuer did not sign it",
        "its issuer or the owner took it back",
    ];
    let fault =
        faults.get(usize::from(refused.fault)).unwrap_or(&"a fault unknown to this version");
    Error::new(ErrorKind::Rejected, "a delegation of the chain does not hold; ask for another")
        .with("delegation", refused.index)
        .with("fault", fault)
}

pub(super) const URI_NOT_ASCII: &str =
    "the document uri has bytes that are not ASCII; percent-encode them (RFC 3986)";
pub(super) const NEXT_KEY_IS_LIVE: &str =
    "a device cannot commit to the key that it signs with; make another for later";

/// Whether a change of status failed because there was nothing to change.
pub(super) fn is_so_already(error: &Error, wanted: DeviceStatus) -> bool {
    let refusal = Revert::of(error).and_then(|revert| revert.decode::<InvalidStatus>());
    refusal.is_some_and(|refusal| status(refusal.status).is_ok_and(|found| found == wanted))
}

pub(super) fn unknown(device: Address) -> Error {
    Error::new(ErrorKind::NotFound, "no such device in the registry; register it first")
        .with("device", device)
}

/// A DID that cannot be in this registry.
pub(super) fn foreign(did: &Did, cause: Error) -> Error {
    Error::new(ErrorKind::NotFound, "no such device in the registry, which names devices by did:io")
        .with("did", did)
        .source(cause)
}

pub(super) fn unknown_status() -> Error {
    Error::new(ErrorKind::Unsupported, "the registry contract has no such status")
}

pub(super) fn uri_not_ascii(did: &Did) -> Error {
    Error::new(ErrorKind::Malformed, URI_NOT_ASCII).with("did", did)
}

pub(super) fn next_key_is_live(did: &Did) -> Error {
    Error::new(ErrorKind::Rejected, NEXT_KEY_IS_LIVE).with("did", did)
}

pub(super) fn not_the_next_key(did: &Did) -> Error {
    let text = "the device did not commit to this key; rotate to the one it named before";
    Error::new(ErrorKind::Rejected, text).with("did", did)
}
