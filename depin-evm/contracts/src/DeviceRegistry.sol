// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IERC6551Registry} from "erc6551/interfaces/IERC6551Registry.sol";
import {ActionLib, DocumentUpdate, OwnershipTransfer, Registration, Revocation, Rotation} from "./registry/Actions.sol";
import {Delegations} from "./registry/Delegations.sol";
import {Details, DetailsLib, KeyLib, Signature} from "./registry/Details.sol";
import {DeviceTokens, Record, Status} from "./registry/DeviceTokens.sol";

/// @title The devices of a network
/// @notice Every device is an ERC-721 token whose id is the device's address, the last 20 bytes of keccak256(X || Y) of
/// its first public key, so its DID is did:io:0x<address>, and stays it when the key changes. Who owns the token owns
/// the device.
///
/// Who has to agree to what: the registrar admits a device after it appraised the evidence of its hardware; the device
/// signs its own registration and every change of its document; the next key, committed to beforehand, signs the
/// rotation to itself, so a stolen live key can not take a device over; the owner moves the token, by himself or by a
/// signature. An owner is named by the device and the registrar and does not sign: owning a token brings no duty, and
/// he can pass it on or revoke it.
///
/// @dev Storage is two words per device: `record(device)`, and `commitment`, which commits to everything else (keys,
/// nullifier, document, evidence). That is kept in the event log. To read it: take `changedBlock` from the record and
/// the last `DeviceRegistered`, `DocumentUpdated` or `KeyRotated` event of the device in that block; `verifyDetails`
/// proves on chain that a copy from anywhere is the right one, should a node have dropped its logs. (Where block.number
/// does not number the blocks of eth_getLogs, as on Arbitrum, search without the hint.)
///
/// What is signed is in registry/Actions.sol, in the EIP-712 domain ("DeviceRegistry", "1", chain, this contract).
contract DeviceRegistry is Delegations, AccessControl {
    using ActionLib for DocumentUpdate;
    using ActionLib for Rotation;
    using ActionLib for OwnershipTransfer;
    using ActionLib for Revocation;
    using DetailsLib for Details;

    /// @notice Who may admit, suspend, resume and revoke devices.
    bytes32 public constant REGISTRAR_ROLE = keccak256("REGISTRAR_ROLE");

    /// @notice A device was admitted, to the owner whom the `Transfer` before it names. Its details have version 0.
    event DeviceRegistered(address indexed device, Details details);
    /// @notice A device changed its document; `details` is everything that is valid from now on, `previousBlock` is
    /// where its details were logged before.
    event DocumentUpdated(address indexed device, Details details, uint256 version, uint256 previousBlock);
    /// @notice A device changed its key. Its document derives from the new key until it sets another.
    event KeyRotated(address indexed device, Details details, uint256 version, uint256 previousBlock);

    /// @notice The public key is not the one the device's address was made from.
    error KeyMismatch(address device);
    /// @notice The device did not commit to this key, or to none.
    error NotTheNextKey(address device);
    /// @notice A device can not commit to the key that it has: whoever stole that could rotate, and keep the device.
    error NextKeyIsLiveKey(address device);
    /// @notice As many signatures as devices are needed.
    error LengthMismatch(uint256 devices, uint256 signatures);
    /// @notice Only the owner or a registrar may revoke a device.
    error NotOwnerOrRegistrar(address device, address caller);

    /// @notice Creates a registry without devices.
    /// @dev Checks: there is code at the ERC-6551 registry and at the account implementation (`NotAContract`).
    /// @param name_ Name of the collection of device tokens.
    /// @param symbol_ Ticker of the collection.
    /// @param admin Who grants and withdraws roles. Gets no right to register by itself.
    constructor(
        string memory name_,
        string memory symbol_,
        address admin,
        IERC6551Registry accountRegistry_,
        address accountImplementation_
    ) ERC721(name_, symbol_) EIP712("DeviceRegistry", "1") DeviceTokens(accountRegistry_, accountImplementation_) {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @notice Admits a device, gives its token to the owner and creates its account.
    /// @dev Checks: the caller holds `REGISTRAR_ROLE` (`AccessControlUnauthorizedAccount`); the deadline is not over
    /// (`SignatureExpired`); the nonce is 0 (`InvalidNonce`); the address is that of the public key (`KeyMismatch`);
    /// the device is new (`AlreadyRegistered`), and its hardware too (`HardwareAlreadyRegistered`); the key signed the
    /// registration (`InvalidDeviceSignature`); the next key is another one (`NextKeyIsLiveKey`); the URI is short
    /// enough (`DocumentURITooLong`) and ASCII (`DocumentURINotASCII`); the owner is not zero
    /// (`ERC721InvalidReceiver`), not the device's own account nor its key's (`OwnershipCycle`).
    function register(Registration calldata registration, Signature calldata deviceSignature)
        external
        onlyRole(REGISTRAR_ROLE)
    {
        _checkDeadline(registration.deadline);
        require(registration.nonce == 0, InvalidNonce(registration.device, 0));
        Details calldata details = registration.details;
        address device = KeyLib.addressOf(details.publicKeyX, details.publicKeyY);
        require(device == registration.device, KeyMismatch(registration.device));
        _count(registration.owner, 1);
        _admit(device, registration.owner, details, registration.deadline, deviceSignature);
        createAccount(device);
    }

    /// @notice Admits many devices of one owner in one transaction, all or none. Each signed a `Registration` of
    /// itself with this owner and deadline, and nonce 0. Their accounts have an address at once, and code when
    /// somebody calls `createAccount`.
    /// @dev Checks: there are as many signatures as devices (`LengthMismatch`), and for each those of `register`.
    function registerBatch(
        address owner,
        Details[] calldata devices,
        Signature[] calldata deviceSignatures,
        uint256 deadline
    ) external onlyRole(REGISTRAR_ROLE) {
        require(devices.length == deviceSignatures.length, LengthMismatch(devices.length, deviceSignatures.length));
        _checkDeadline(deadline);
        _count(owner, devices.length);
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40)
        }
        for (uint256 i = 0; i < devices.length; ++i) {
            Details calldata details = devices[i];
            address device = KeyLib.addressOf(details.publicKeyX, details.publicKeyY);
            _admit(device, owner, details, deadline, deviceSignatures[i]);
            // Nothing of one device is needed for the next, and growing memory would cost more with each.
            assembly ("memory-safe") {
                mstore(0x40, free)
            }
        }
    }

    /// @notice Replaces the document of a device. Anybody may send what the device signed.
    /// @dev Checks: the device is registered (`UnknownDevice`) and active (`InvalidStatus`); the deadline is not over
    /// (`SignatureExpired`); `current` are its details in the version `update.nonce` (`DetailsMismatch`); its key
    /// signed the update (`InvalidDeviceSignature`); the URI is short enough (`DocumentURITooLong`) and ASCII
    /// (`DocumentURINotASCII`).
    /// @param current The details that are valid before this update, as its last event carries them.
    function updateDocument(
        DocumentUpdate calldata update,
        Details calldata current,
        Signature calldata deviceSignature
    ) external {
        address device = update.device;
        Status status = _load(device).status;
        require(status == Status.Active, InvalidStatus(device, status));
        _checkDeadline(update.deadline);
        DetailsLib.checkURI(bytes(update.documentURI));
        _checkDetails(device, update.nonce, current);
        Details memory next = current;
        _checkDevice(device, next, update.hash(), deviceSignature);
        next.documentHash = update.documentHash;
        next.documentURI = update.documentURI;
        uint256 version = update.nonce + 1;
        emit DocumentUpdated(device, next, version, _change(device, version, next));
    }

    /// @notice Gives a device the next key that it committed to. Anybody may send what the new key signed; the old one
    /// has no say. Whatever the old key or anybody else signed for the device before is void.
    ///
    /// Selling a device does not change its keys: the seller keeps the next key, and may rotate the device that he
    /// sold. A buyer has it rotated to a key that only he holds, committing to another of his, before he pays or
    /// relies on it; and looks what the device's account approved, since allowances of tokens outlive a sale.
    /// @dev Checks: the device is registered (`UnknownDevice`) and not revoked (`InvalidStatus`; a suspended one may
    /// rotate, which is how a theft ends); the deadline is not over (`SignatureExpired`); the nonce is its generation
    /// (`InvalidNonce`); `current` are its details (`DetailsMismatch`); they commit to the new key (`NotTheNextKey`),
    /// which commits to another one (`NextKeyIsLiveKey`), is not the owner's (`OwnershipCycle`) and signed the rotation
    /// (`InvalidDeviceSignature`).
    /// @param version Of the current details. It is not signed, nor are they: whoever stole the live key can change the
    /// document and so make a sent rotation fail, but it can be sent again with what is current then.
    function rotate(Rotation calldata rotation, uint256 version, Details calldata current, Signature calldata signature)
        external
    {
        address device = rotation.device;
        Record storage stored = _checkControl(device, rotation.nonce, rotation.deadline);
        require(stored.status != Status.Revoked, InvalidStatus(device, Status.Revoked));
        _checkDetails(device, version, current);
        bytes32 committed = KeyLib.commitment(rotation.algorithm, rotation.publicKeyX, rotation.publicKeyY);
        require(committed == current.nextKeyHash, NotTheNextKey(device));
        require(committed != rotation.nextKeyHash, NextKeyIsLiveKey(device));
        require(KeyLib.addressOf(rotation.publicKeyX, rotation.publicKeyY) != stored.owner, OwnershipCycle(device));
        Details memory next = Details({
            algorithm: rotation.algorithm,
            publicKeyX: rotation.publicKeyX,
            publicKeyY: rotation.publicKeyY,
            nextKeyHash: rotation.nextKeyHash,
            nullifier: current.nullifier,
            documentHash: 0,
            evidenceHash: current.evidenceHash,
            documentURI: ""
        });
        _checkDevice(device, next, rotation.hash(), signature);
        ++stored.generation;
        emit KeyRotated(device, next, version + 1, _change(device, version + 1, next));
    }

    /// @notice Passes a device on as its owner signed. Anybody may send it.
    /// @dev Checks: the device is registered (`UnknownDevice`); the deadline is not over (`SignatureExpired`); the
    /// nonce is its generation (`InvalidNonce`); `from` signed, by key or by ERC-1271 (`InvalidSignature`), and owns
    /// the device (`ERC721IncorrectOwner`); `to` is not zero (`ERC721InvalidReceiver`), not the device's own account
    /// nor its key's (`OwnershipCycle`).
    function transferWithSignature(OwnershipTransfer calldata transfer, bytes calldata ownerSignature) external {
        _checkControl(transfer.device, transfer.nonce, transfer.deadline);
        _checkSigner(transfer.from, _hashTypedDataV4(transfer.hash()), ownerSignature);
        _transfer(transfer.from, transfer.to, _tokenId(transfer.device));
    }

    /// @notice Takes an active device out of service until it is resumed.
    /// @dev Checks: the caller holds `REGISTRAR_ROLE` (`AccessControlUnauthorizedAccount`); the device is registered
    /// (`UnknownDevice`) and active (`InvalidStatus`).
    function suspend(address device) external onlyRole(REGISTRAR_ROLE) {
        _changeStatus(device, Status.Active, Status.Suspended);
    }

    /// @notice Puts a suspended device back into service.
    /// @dev Checks: the caller holds `REGISTRAR_ROLE` (`AccessControlUnauthorizedAccount`); the device is registered
    /// (`UnknownDevice`) and suspended (`InvalidStatus`).
    function resume(address device) external onlyRole(REGISTRAR_ROLE) {
        _changeStatus(device, Status.Suspended, Status.Active);
    }

    /// @notice Takes a device out of service for ever. Its token and account stay with the owner.
    /// @dev Checks: the device is registered (`UnknownDevice`); the caller owns it or holds `REGISTRAR_ROLE`
    /// (`NotOwnerOrRegistrar`); it is not revoked already (`InvalidStatus`).
    function revoke(address device) external {
        bool allowed = msg.sender == _load(device).owner || hasRole(REGISTRAR_ROLE, msg.sender);
        require(allowed, NotOwnerOrRegistrar(device, msg.sender));
        _revoke(device);
    }

    /// @notice The same as its owner signed. Anybody may send it.
    /// @dev Checks: the device is registered (`UnknownDevice`); the deadline is not over (`SignatureExpired`); the
    /// nonce is its generation (`InvalidNonce`); its owner signed, by key or by ERC-1271 (`InvalidSignature`); it is
    /// not revoked already (`InvalidStatus`).
    function revokeWithSignature(Revocation calldata revocation, bytes calldata ownerSignature) external {
        Record storage stored = _checkControl(revocation.device, revocation.nonce, revocation.deadline);
        _checkSigner(stored.owner, _hashTypedDataV4(revocation.hash()), ownerSignature);
        _revoke(revocation.device);
    }

    /// @notice The DID of an address, in lower case. Says nothing about whether it is registered.
    function did(address device) external pure returns (string memory) {
        return string.concat("did:io:", Strings.toHexString(device));
    }

    /// @notice ERC-165.
    function supportsInterface(bytes4 id) public view override(ERC721, AccessControl) returns (bool) {
        return super.supportsInterface(id);
    }

    function _admit(
        address device,
        address owner,
        Details calldata details,
        uint256 deadline,
        Signature calldata signature
    ) private {
        require(details.nextKeyHash != details.liveKey(), NextKeyIsLiveKey(device));
        bytes32 detailsHash = details.hash();
        bytes32 digest = _hashTypedDataV4(ActionLib.hashRegistration(device, owner, detailsHash, deadline));
        bool signed =
            KeyLib.signed(details.algorithm, details.publicKeyX, details.publicKeyY, digest, signature.r, signature.vs);
        require(signed, InvalidDeviceSignature(device));
        _create(device, owner, details.nullifier, detailsHash);
        emit DeviceRegistered(device, details);
    }

    function _revoke(address device) private {
        Status status = _load(device).status;
        _changeStatus(device, status == Status.Suspended ? Status.Suspended : Status.Active, Status.Revoked);
    }

    /// @dev The key in `details` signed the struct.
    function _checkDevice(address device, Details memory details, bytes32 structHash, Signature calldata signature)
        private
        view
    {
        bytes32 digest = _hashTypedDataV4(structHash);
        bool signed =
            KeyLib.signed(details.algorithm, details.publicKeyX, details.publicKeyY, digest, signature.r, signature.vs);
        require(signed, InvalidDeviceSignature(device));
    }
}
