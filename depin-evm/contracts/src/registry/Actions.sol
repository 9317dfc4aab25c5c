// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Details, KeyAlgorithm} from "./Details.sol";

// What devices, owners and their delegates sign: one EIP-712 type per action. Each binds every argument, a nonce and a
// deadline in seconds since the Unix epoch, and through its domain the chain and the contract. The nonce is the version
// of the details where the device's live key signs, and the generation of the device where control is at stake: so
// whoever holds only the live key cannot use up the nonce of a rotation or a sale.

/// @notice A device asks to be registered. `nonce` is 0: its details have version 0, and there is no second time.
struct Registration {
    address device;
    address owner;
    Details details;
    uint256 nonce;
    uint256 deadline;
}

/// @notice A device changes its document. `nonce` is the version of the details that it changes.
struct DocumentUpdate {
    address device;
    bytes32 documentHash;
    string documentURI;
    uint256 nonce;
    uint256 deadline;
}

/// @notice A device's committed next key takes over, and commits to the one after it. Signed by the new key. `nonce`
/// is the generation of the device.
struct Rotation {
    address device;
    KeyAlgorithm algorithm;
    bytes32 publicKeyX;
    bytes32 publicKeyY;
    bytes32 nextKeyHash;
    uint256 nonce;
    uint256 deadline;
}

/// @notice An owner passes a device on. `nonce` is the generation of the device.
struct OwnershipTransfer {
    address device;
    address from;
    address to;
    uint256 nonce;
    uint256 deadline;
}

/// @notice An owner takes a device out of service for ever. `nonce` is the generation of the device.
struct Revocation {
    address device;
    uint256 nonce;
    uint256 deadline;
}

/// @notice `issuer` lets `subject` act for a device, within scopes and time. `parent` is the EIP-712 struct hash of the
/// delegation that the issuer holds, zero where the owner issues; `nonce` is the generation of the device. Valid from
/// `notBefore` until before `expiry`, in seconds since the Unix epoch.
struct Delegation {
    address device;
    address issuer;
    address subject;
    uint64 scopes;
    uint64 notBefore;
    uint64 expiry;
    bytes32 parent;
    uint256 nonce;
}

/// @notice `issuer`, or the owner in his place, takes back the delegation with this struct hash. `nonce` is the
/// generation of the device.
struct DelegationRevocation {
    address device;
    address revoker;
    bytes32 delegation;
    uint256 nonce;
    uint256 deadline;
}

/// @title EIP-712 struct hashes of the actions
library ActionLib {
    bytes32 internal constant REGISTRATION_TYPEHASH = keccak256(
        "Registration(address device,address owner,Details details,uint256 nonce,uint256 deadline)"
        "Details(uint8 algorithm,bytes32 publicKeyX,bytes32 publicKeyY,bytes32 nextKeyHash,bytes32 nullifier,bytes32 documentHash,bytes32 evidenceHash,string documentURI)"
    );
    bytes32 internal constant DOCUMENT_UPDATE_TYPEHASH = keccak256(
        "DocumentUpdate(address device,bytes32 documentHash,string documentURI,uint256 nonce,uint256 deadline)"
    );
    bytes32 internal constant ROTATION_TYPEHASH = keccak256(
        "Rotation(address device,uint8 algorithm,bytes32 publicKeyX,bytes32 publicKeyY,bytes32 nextKeyHash,uint256 nonce,uint256 deadline)"
    );
    bytes32 internal constant OWNERSHIP_TRANSFER_TYPEHASH =
        keccak256("OwnershipTransfer(address device,address from,address to,uint256 nonce,uint256 deadline)");
    bytes32 internal constant REVOCATION_TYPEHASH =
        keccak256("Revocation(address device,uint256 nonce,uint256 deadline)");
    bytes32 internal constant DELEGATION_TYPEHASH = keccak256(
        "Delegation(address device,address issuer,address subject,uint64 scopes,uint64 notBefore,uint64 expiry,bytes32 parent,uint256 nonce)"
    );
    bytes32 internal constant DELEGATION_REVOCATION_TYPEHASH = keccak256(
        "DelegationRevocation(address device,address revoker,bytes32 delegation,uint256 nonce,uint256 deadline)"
    );

    /// @dev Takes the hash of the details, which the caller needs too.
    function hashRegistration(address device, address owner, bytes32 detailsHash, uint256 deadline)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(REGISTRATION_TYPEHASH, device, owner, detailsHash, 0, deadline));
    }

    function hash(DocumentUpdate calldata u) internal pure returns (bytes32) {
        bytes32 uri = keccak256(bytes(u.documentURI));
        return keccak256(abi.encode(DOCUMENT_UPDATE_TYPEHASH, u.device, u.documentHash, uri, u.nonce, u.deadline));
    }

    // The other types have no dynamic member, so their ABI encoding is what EIP-712 hashes.

    function hash(Rotation calldata rotation) internal pure returns (bytes32) {
        return keccak256(abi.encode(ROTATION_TYPEHASH, rotation));
    }

    function hash(OwnershipTransfer calldata transfer) internal pure returns (bytes32) {
        return keccak256(abi.encode(OWNERSHIP_TRANSFER_TYPEHASH, transfer));
    }

    function hash(Revocation calldata revocation) internal pure returns (bytes32) {
        return keccak256(abi.encode(REVOCATION_TYPEHASH, revocation));
    }

    function hash(Delegation calldata delegation) internal pure returns (bytes32) {
        return keccak256(abi.encode(DELEGATION_TYPEHASH, delegation));
    }

    function hash(DelegationRevocation calldata revocation) internal pure returns (bytes32) {
        return keccak256(abi.encode(DELEGATION_REVOCATION_TYPEHASH, revocation));
    }
}
