// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ERC6551AccountLib} from "erc6551/lib/ERC6551AccountLib.sol";
import {IERC6551Registry} from "erc6551/interfaces/IERC6551Registry.sol";

/// @title The devices of a network
/// @notice Every device is an ERC-721 token whose id is the device's address, the last 20 bytes of
/// keccak256(X || Y) of its public key, so its DID is did:io:0x<address>. Who owns the token owns the device.
///
/// Who has to agree to what: the registrar admits a device after it appraised the evidence of its hardware; the device
/// signs its own registration and every change of its document; the owner moves the token. An owner is named by the
/// device and the registrar and does not sign: owning a token brings no duty, and he can pass it on or revoke it.
///
/// @dev Storage is two words per device. The first says who owns it and in which state it is; the second,
/// `detailsHash`, commits to everything else (key, document, evidence), which is kept in the event log. To read it:
/// take `changedBlock` from `record(device)` and the last `DeviceRegistered` or `DocumentUpdated` event of the device
/// in that block; `verifyDetails` proves on chain that a copy from anywhere is the right one, should a node have
/// dropped its logs. (Where block.number does not number the blocks of eth_getLogs, as on Arbitrum, search without
/// the hint.) Owners are stored here and not in OpenZeppelin's own mapping because that would cost a third word.
///
/// Every signature is EIP-712 in the domain ("DeviceRegistry", "1", chain, this contract), of one type per action, and
/// binds every argument, the device's nonce and a deadline.
contract DeviceRegistry is ERC721, EIP712, AccessControl {
    /// @notice State of a device.
    enum Status {
        None,
        Active,
        Suspended,
        Revoked
    }

    /// @notice What kind of key the device has.
    enum KeyAlgorithm {
        Secp256k1,
        P256
    }

    /// @notice What `detailsHash` commits to; hashed as the EIP-712 struct of the same name.
    struct Details {
        KeyAlgorithm algorithm;
        bytes32 publicKeyX;
        bytes32 publicKeyY;
        bytes32 documentHash;
        string documentURI;
        bytes32 evidenceHash;
    }

    /// @notice What a device signs to be registered.
    struct Registration {
        address device;
        address owner;
        Details details;
        uint256 nonce;
        uint256 deadline;
    }

    /// @notice What a device signs to change its document.
    struct DocumentUpdate {
        address device;
        bytes32 documentHash;
        string documentURI;
        uint256 nonce;
        uint256 deadline;
    }

    /// @notice What is stored of a device. `nonce` is the one the next signature has to carry, `registeredAt` is in
    /// seconds since the Unix epoch, `changedBlock` is where the details were logged last.
    struct Record {
        address owner;
        Status status;
        uint24 nonce;
        uint32 registeredAt;
        uint32 changedBlock;
        bytes32 detailsHash;
    }

    /// @notice Who may admit, suspend, resume and revoke devices.
    bytes32 public constant REGISTRAR_ROLE = keccak256("REGISTRAR_ROLE");

    /// @notice Longest accepted document URI, in bytes.
    uint256 public constant MAX_URI_BYTES = 1024;

    /// @notice EIP-712 type of `Details`.
    bytes32 public constant DETAILS_TYPEHASH = keccak256(
        "Details(uint8 algorithm,bytes32 publicKeyX,bytes32 publicKeyY,bytes32 documentHash,string documentURI,bytes32 evidenceHash)"
    );

    /// @notice EIP-712 type of `Registration`.
    bytes32 public constant REGISTRATION_TYPEHASH = keccak256(
        "Registration(address device,address owner,Details details,uint256 nonce,uint256 deadline)"
        "Details(uint8 algorithm,bytes32 publicKeyX,bytes32 publicKeyY,bytes32 documentHash,string documentURI,bytes32 evidenceHash)"
    );

    /// @notice EIP-712 type of `DocumentUpdate`.
    bytes32 public constant DOCUMENT_UPDATE_TYPEHASH = keccak256(
        "DocumentUpdate(address device,bytes32 documentHash,string documentURI,uint256 nonce,uint256 deadline)"
    );

    /// @notice The ERC-6551 registry that creates device accounts.
    IERC6551Registry public immutable accountRegistry;

    /// @notice The contract that every device account is a clone of.
    address public immutable accountImplementation;

    /// @notice How many devices were registered, whatever their state is now.
    uint256 public deviceCount;

    mapping(uint256 tokenId => Record) private _records;
    mapping(address owner => uint256) private _balances;

    /// @notice A device was admitted.
    event DeviceRegistered(address indexed device, address indexed owner, Details details);
    /// @notice A device changed its document; `details` is everything that is valid from now on, `previousBlock` is
    /// where its details were logged before.
    event DocumentUpdated(address indexed device, Details details, uint256 previousBlock);
    /// @notice A device was suspended, resumed or revoked.
    event StatusChanged(address indexed device, Status status);

    /// @notice There is no such device.
    error UnknownDevice(address device);
    /// @notice The device exists. Registration happens once, even when the device was revoked since.
    error AlreadyRegistered(address device);
    /// @notice The deadline of the signature is over.
    error SignatureExpired(uint256 deadline);
    /// @notice The signature carries another nonce than the device's next one.
    error InvalidNonce(address device, uint256 expected);
    /// @notice The public key is not the one the device's address was made from.
    error KeyMismatch(address device);
    /// @notice The device's key did not sign this.
    error InvalidDeviceSignature(address device);
    /// @notice These are not the current details of the device; read them from its last event.
    error DetailsMismatch(address device);
    /// @notice The device's state does not permit this.
    error InvalidStatus(address device, Status status);
    /// @notice Only the owner or a registrar may revoke a device.
    error NotOwnerOrRegistrar(address device, address caller);
    /// @notice A device can not be owned by its own account: nobody could command either of them.
    error OwnershipCycle(address device);
    /// @notice As many signatures as registrations are needed.
    error LengthMismatch(uint256 registrations, uint256 signatures);
    /// @notice The document URI is longer than `MAX_URI_BYTES`.
    error DocumentURITooLong(uint256 length);
    /// @notice There is no contract at the address.
    error NotAContract(address candidate);

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
    ) ERC721(name_, symbol_) EIP712("DeviceRegistry", "1") {
        require(address(accountRegistry_).code.length != 0, NotAContract(address(accountRegistry_)));
        require(accountImplementation_.code.length != 0, NotAContract(accountImplementation_));
        accountRegistry = accountRegistry_;
        accountImplementation = accountImplementation_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @notice Admits a device, gives its token to the owner and creates its account.
    /// @dev Checks: the caller holds `REGISTRAR_ROLE` (`AccessControlUnauthorizedAccount`); the device is new
    /// (`AlreadyRegistered`); the deadline is not over (`SignatureExpired`); the nonce is 0 (`InvalidNonce`); the
    /// address is that of the public key (`KeyMismatch`); the key signed the registration (`InvalidDeviceSignature`:
    /// secp256k1 as 65 bytes r || s || v, P-256 as 64 bytes r || s over the digest, both with low s); the URI is short
    /// enough (`DocumentURITooLong`); the owner is not zero (`ERC721InvalidReceiver`) nor the device's own account
    /// (`OwnershipCycle`).
    function register(Registration calldata registration, bytes calldata deviceSignature)
        external
        onlyRole(REGISTRAR_ROLE)
    {
        _register(registration, deviceSignature);
        _createAccount(registration.device);
    }

    /// @notice Admits many devices in one transaction, all or none. Their accounts have an address at once, and code
    /// when somebody calls `createAccount`.
    /// @dev Checks: there are as many signatures as registrations (`LengthMismatch`), and for each those of `register`.
    function registerBatch(Registration[] calldata registrations, bytes[] calldata deviceSignatures)
        external
        onlyRole(REGISTRAR_ROLE)
    {
        require(
            registrations.length == deviceSignatures.length,
            LengthMismatch(registrations.length, deviceSignatures.length)
        );
        for (uint256 i = 0; i < registrations.length; ++i) {
            _register(registrations[i], deviceSignatures[i]);
        }
    }

    /// @notice Creates the account of a device, or does nothing when it exists. Anybody may pay for it.
    /// @dev Checks: the device is registered (`UnknownDevice`).
    function createAccount(address device) external returns (address) {
        _load(device);
        return _createAccount(device);
    }

    /// @notice Replaces the document of a device. Anybody may send what the device signed.
    /// @dev Checks: the device is registered (`UnknownDevice`) and active (`InvalidStatus`); the deadline is not over
    /// (`SignatureExpired`); the nonce is the next one (`InvalidNonce`); `current` are its details
    /// (`DetailsMismatch`); its key signed the update (`InvalidDeviceSignature`); the URI is short enough
    /// (`DocumentURITooLong`).
    /// @param current The details that are valid before this update, as its last event carries them.
    function updateDocument(DocumentUpdate calldata update, Details calldata current, bytes calldata deviceSignature)
        external
    {
        Record storage stored = _load(update.device);
        require(stored.status == Status.Active, InvalidStatus(update.device, stored.status));
        require(stored.detailsHash == _hashDetails(current), DetailsMismatch(update.device));
        _checkFreshness(stored, update.device, update.nonce, update.deadline);
        _checkSignature(update.device, current, _hashUpdate(update), deviceSignature);

        Details memory next = current;
        next.documentHash = update.documentHash;
        next.documentURI = update.documentURI;
        uint256 previousBlock = stored.changedBlock;
        ++stored.nonce;
        stored.changedBlock = SafeCast.toUint32(block.number);
        stored.detailsHash = _hashDetails(next);
        emit DocumentUpdated(update.device, next, previousBlock);
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
        Record storage stored = _load(device);
        require(
            msg.sender == stored.owner || hasRole(REGISTRAR_ROLE, msg.sender), NotOwnerOrRegistrar(device, msg.sender)
        );
        _changeStatus(device, stored.status == Status.Suspended ? Status.Suspended : Status.Active, Status.Revoked);
    }

    /// @notice What is stored of a device; all zero, with status `None`, when it is not registered.
    function record(address device) external view returns (Record memory) {
        return _records[_tokenId(device)];
    }

    /// @notice Whether `details` are the current details of a registered device.
    function verifyDetails(address device, Details calldata details) external view returns (bool) {
        bytes32 stored = _records[_tokenId(device)].detailsHash;
        return stored != 0 && stored == _hashDetails(details);
    }

    /// @notice Whether a device is registered and neither suspended nor revoked.
    function isActive(address device) external view returns (bool) {
        return _records[_tokenId(device)].status == Status.Active;
    }

    /// @notice The DID of an address, in lower case. Says nothing about whether it is registered.
    function did(address device) external pure returns (string memory) {
        return string.concat("did:io:", Strings.toHexString(device));
    }

    /// @notice The ERC-6551 account of a device (salt 0), whether or not it has code yet.
    function accountOf(address device) public view returns (address) {
        return ERC6551AccountLib.computeAddress(
            address(accountRegistry), accountImplementation, 0, block.chainid, address(this), _tokenId(device)
        );
    }

    /// @notice How many device tokens `owner` holds.
    /// @dev Checks: `owner` is not zero (`ERC721InvalidOwner`).
    function balanceOf(address owner) public view override returns (uint256) {
        require(owner != address(0), ERC721InvalidOwner(owner));
        return _balances[owner];
    }

    /// @notice ERC-165.
    function supportsInterface(bytes4 id) public view override(ERC721, AccessControl) returns (bool) {
        return super.supportsInterface(id);
    }

    /// @dev Minting calls nobody: a plain mint, because a receiver contract must not be able to refuse a batch.
    function _register(Registration calldata registration, bytes calldata signature) private {
        address device = registration.device;
        Record storage stored = _records[_tokenId(device)];
        require(stored.status == Status.None, AlreadyRegistered(device));
        Details memory details = registration.details;
        bytes32 detailsHash = _hashDetails(details);
        _checkFreshness(stored, device, registration.nonce, registration.deadline);
        _checkSignature(device, details, _hashRegistration(registration, detailsHash), signature);

        ++deviceCount;
        uint32 registeredAt = SafeCast.toUint32(block.timestamp);
        uint32 changedBlock = SafeCast.toUint32(block.number);
        stored.status = Status.Active;
        stored.nonce = 1;
        stored.registeredAt = registeredAt;
        stored.changedBlock = changedBlock;
        stored.detailsHash = detailsHash;
        _mint(registration.owner, _tokenId(device));
        emit DeviceRegistered(device, registration.owner, details);
    }

    function _createAccount(address device) private returns (address) {
        return accountRegistry.createAccount(accountImplementation, 0, block.chainid, address(this), _tokenId(device));
    }

    function _changeStatus(address device, Status from, Status to) private {
        Record storage stored = _load(device);
        require(stored.status == from, InvalidStatus(device, stored.status));
        stored.status = to;
        emit StatusChanged(device, to);
    }

    function _checkFreshness(Record storage stored, address device, uint256 nonce, uint256 deadline) private view {
        require(block.timestamp <= deadline, SignatureExpired(deadline));
        uint256 expected = stored.nonce;
        require(nonce == expected, InvalidNonce(device, expected));
    }

    function _checkSignature(address device, Details memory details, bytes32 structHash, bytes calldata signature)
        private
        view
    {
        bytes32 x = details.publicKeyX;
        bytes32 y = details.publicKeyY;
        require(address(uint160(uint256(keccak256(abi.encode(x, y))))) == device, KeyMismatch(device));
        bytes32 digest = _hashTypedDataV4(structHash);
        bool valid;
        if (details.algorithm == KeyAlgorithm.P256) {
            valid =
                signature.length == 64 && P256.verify(digest, bytes32(signature[:32]), bytes32(signature[32:]), x, y);
        } else {
            (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(digest, signature);
            valid = failure == ECDSA.RecoverError.NoError && signer == device;
        }
        require(valid, InvalidDeviceSignature(device));
    }

    function _load(address device) private view returns (Record storage stored) {
        stored = _records[_tokenId(device)];
        require(stored.status != Status.None, UnknownDevice(device));
    }

    function _tokenId(address device) private pure returns (uint256) {
        return uint256(uint160(device));
    }

    function _hashDetails(Details memory details) private pure returns (bytes32) {
        uint256 length = bytes(details.documentURI).length;
        require(length <= MAX_URI_BYTES, DocumentURITooLong(length));
        return keccak256(
            abi.encode(
                DETAILS_TYPEHASH,
                details.algorithm,
                details.publicKeyX,
                details.publicKeyY,
                details.documentHash,
                keccak256(bytes(details.documentURI)),
                details.evidenceHash
            )
        );
    }

    function _hashRegistration(Registration calldata registration, bytes32 detailsHash) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                REGISTRATION_TYPEHASH,
                registration.device,
                registration.owner,
                detailsHash,
                registration.nonce,
                registration.deadline
            )
        );
    }

    function _hashUpdate(DocumentUpdate calldata update) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                DOCUMENT_UPDATE_TYPEHASH,
                update.device,
                update.documentHash,
                keccak256(bytes(update.documentURI)),
                update.nonce,
                update.deadline
            )
        );
    }

    /// @dev OpenZeppelin's, on our own storage word, and without a way to make a device its own owner. Tokens are
    /// never burned, so `to` is never zero (the public functions of ERC721 refuse it).
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        Record storage stored = _records[tokenId];
        from = stored.owner;
        if (auth != address(0)) _checkAuthorized(from, auth, tokenId);
        address device = address(uint160(tokenId));
        require(to != accountOf(device), OwnershipCycle(device));

        if (from != address(0)) {
            _approve(address(0), tokenId, address(0), false);
            --_balances[from];
        }
        ++_balances[to];
        stored.owner = to;
        emit Transfer(from, to, tokenId);
    }

    function _ownerOf(uint256 tokenId) internal view override returns (address) {
        return _records[tokenId].owner;
    }
}
