//! Changes of an identity as its owner wants them, and what the owner signs for someone else to send.

use alloc::vec::Vec;
use core::time::Duration;

use depin_core::{Address, B256, Bytes, U256, keccak256};

use super::EthrError;

/// A change that an owner wants.
///
/// ```
/// use core::time::Duration;
/// use depin_core::{Address, B256, U256};
/// use depin_identity::methods::ethr::Edit;
///
/// let edit = Edit::set_attribute("did/svc/HubService", b"https://hub.example", Duration::from_secs(3600))?;
/// let registry = Address::repeat_byte(1);
/// let digest = edit.digest(registry, U256::ZERO, Address::repeat_byte(2));
/// assert_ne!(digest, edit.digest(registry, U256::from(1), Address::repeat_byte(2)));
/// # Ok::<(), depin_identity::methods::ethr::EthrError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edit {
    /// Gives the identity to another account. The null address gives it up for good.
    ChangeOwner {
        /// Who gets it.
        owner: Address,
    },
    /// Lets an account speak for the identity.
    AddDelegate {
        /// What it may do: `veriKey` to make statements, `sigAuth` to authenticate too.
        kind: B256,
        /// The account.
        delegate: Address,
        /// For how many seconds from the block on.
        validity: U256,
    },
    /// Takes that back.
    RevokeDelegate {
        /// As it was added.
        kind: B256,
        /// The account.
        delegate: Address,
    },
    /// Publishes a key or a service.
    SetAttribute {
        /// For example `did/pub/Ed25519/veriKey`.
        name: B256,
        /// The bytes of the key, or the text of the endpoint.
        value: Bytes,
        /// For how many seconds from the block on.
        validity: U256,
    },
    /// Takes that back.
    RevokeAttribute {
        /// As it was set.
        name: B256,
        /// As it was set.
        value: Bytes,
    },
}

impl Edit {
    /// [`ChangeOwner`](Self::ChangeOwner).
    pub const fn change_owner(owner: Address) -> Self {
        Self::ChangeOwner { owner }
    }

    /// Gives the DID up for good: nothing brings it back.
    pub const fn deactivate() -> Self {
        Self::ChangeOwner { owner: Address::ZERO }
    }

    /// [`AddDelegate`](Self::AddDelegate), for whole seconds.
    ///
    /// # Errors
    /// [`EthrError::Name`] when `kind` has more than 32 bytes.
    pub fn add_delegate(
        kind: &str,
        delegate: Address,
        validity: Duration,
    ) -> Result<Self, EthrError> {
        Ok(Self::AddDelegate {
            kind: bytes32(kind)?,
            delegate,
            validity: U256::from(validity.as_secs()),
        })
    }

    /// [`RevokeDelegate`](Self::RevokeDelegate).
    ///
    /// # Errors
    /// As [`add_delegate`](Self::add_delegate).
    pub fn revoke_delegate(kind: &str, delegate: Address) -> Result<Self, EthrError> {
        Ok(Self::RevokeDelegate { kind: bytes32(kind)?, delegate })
    }

    /// [`SetAttribute`](Self::SetAttribute), for whole seconds.
    ///
    /// # Errors
    /// [`EthrError::Name`] when `name` has more than 32 bytes.
    pub fn set_attribute(name: &str, value: &[u8], validity: Duration) -> Result<Self, EthrError> {
        Ok(Self::SetAttribute {
            name: bytes32(name)?,
            value: Bytes::copy_from_slice(value),
            validity: U256::from(validity.as_secs()),
        })
    }

    /// [`RevokeAttribute`](Self::RevokeAttribute).
    ///
    /// # Errors
    /// As [`set_attribute`](Self::set_attribute).
    pub fn revoke_attribute(name: &str, value: &[u8]) -> Result<Self, EthrError> {
        Ok(Self::RevokeAttribute { name: bytes32(name)?, value: Bytes::copy_from_slice(value) })
    }

    /// Whether it is one of an attribute, of which old registries count otherwise: see
    /// [`Network::legacy_nonce`](super::Network::legacy_nonce).
    pub const fn is_of_attribute(&self) -> bool {
        matches!(self, Self::SetAttribute { .. } | Self::RevokeAttribute { .. })
    }

    /// What the owner signs, as the registry packs it (ERC-191, version 0): the registry, a nonce, the
    /// identity, the name of the action, and its arguments. Not bound are the chain and a deadline, so a
    /// registry at the same address on another chain takes the same signature.
    pub fn digest(&self, registry: Address, nonce: U256, identity: Address) -> B256 {
        let mut text = Vec::from([0x19, 0x00]);
        text.extend_from_slice(registry.as_slice());
        text.extend_from_slice(&nonce.to_be_bytes::<32>());
        text.extend_from_slice(identity.as_slice());
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| text.extend_from_slice(part));
        match self {
            Self::ChangeOwner { owner } => put(&[b"changeOwner", owner.as_slice()]),
            Self::AddDelegate { kind, delegate, validity } => {
                let validity = validity.to_be_bytes::<32>();
                put(&[b"addDelegate", kind.as_slice(), delegate.as_slice(), &validity]);
            }
            Self::RevokeDelegate { kind, delegate } => {
                put(&[b"revokeDelegate", kind.as_slice(), delegate.as_slice()]);
            }
            Self::SetAttribute { name, value, validity } => {
                put(&[b"setAttribute", name.as_slice(), value, &validity.to_be_bytes::<32>()]);
            }
            Self::RevokeAttribute { name, value } => {
                put(&[b"revokeAttribute", name.as_slice(), value]);
            }
        }
        keccak256(text)
    }
}

/// A name as the registry keeps it: its text, filled up with zeros.
///
/// # Errors
/// [`EthrError::Name`] when it has more than 32 bytes.
pub fn bytes32(name: &str) -> Result<B256, EthrError> {
    let mut bytes = B256::ZERO;
    let place = bytes.get_mut(..name.len()).ok_or(EthrError::Name)?;
    place.copy_from_slice(name.as_bytes());
    Ok(bytes)
}
