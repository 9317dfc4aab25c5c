// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ERC6551AccountLib} from "erc6551/lib/ERC6551AccountLib.sol";
import {IERC6551Registry} from "erc6551/interfaces/IERC6551Registry.sol";
import {Details, DetailsLib} from "./Details.sol";

/// @notice State of a device.
enum Status {
    None,
    Active,
    Suspended,
    Revoked
}

/// @notice What is stored of a device, beside the commitment to its details. `generation` counts changes of
/// control, which are rotations and transfers; `registeredAt` is in seconds since the Unix epoch, `changedBlock`
/// is where the details were logged last.
struct Record {
    address owner;
    Status status;
    uint24 generation;
    uint32 registeredAt;
    uint32 changedBlock;
}

/// @title What is stored of devices, and who owns them
/// @notice Every device is an ERC-721 token with an ERC-6551 account.
/// @dev Two words per device: its record, and a commitment to its details. The commitment lies under the nullifier of
/// the hardware where there is one, so that the word that binds the details also takes the place of that hardware:
/// finding it used costs nothing more. It binds the device, so nobody passes with another's details. Owners are part of
/// the record and not in OpenZeppelin's own mapping because that would cost a third word.
abstract contract DeviceTokens is ERC721 {
    using DetailsLib for Details;

    /// @notice The ERC-6551 registry that creates device accounts.
    IERC6551Registry public immutable accountRegistry;

    /// @notice The contract that every device account is a clone of.
    address public immutable accountImplementation;

    /// @notice How many devices were registered, whatever their state is now.
    uint256 public deviceCount;

    mapping(address device => Record) private _records;
    mapping(bytes32 nullifier => bytes32 commitment) private _ofHardware;
    mapping(address device => bytes32 commitment) private _ofDevice;
    mapping(address owner => uint256) private _balances;

    /// @notice A device was suspended, resumed or revoked.
    event StatusChanged(address indexed device, Status status);

    /// @notice There is no such device.
    error UnknownDevice(address device);
    /// @notice The device exists. Registration happens once, even when the device was revoked since.
    error AlreadyRegistered(address device);
    /// @notice The hardware has an identity in this network, and gets no second one even when that was revoked.
    error HardwareAlreadyRegistered(bytes32 nullifier);
    /// @notice These are not the current details of the device, or not their version; read them from its last event.
    error DetailsMismatch(address device);
    /// @notice The device's state does not permit this.
    error InvalidStatus(address device, Status status);
    /// @notice A device can not be owned by its own account, nor by the address of its own key: nobody could command
    /// the one, and whoever steals the other would own the device.
    error OwnershipCycle(address device);
    /// @notice There is no contract at the address.
    error NotAContract(address candidate);

    constructor(IERC6551Registry accountRegistry_, address accountImplementation_) {
        require(address(accountRegistry_).code.length != 0, NotAContract(address(accountRegistry_)));
        require(accountImplementation_.code.length != 0, NotAContract(accountImplementation_));
        accountRegistry = accountRegistry_;
        accountImplementation = accountImplementation_;
    }

    /// @notice Creates the account of a device, or does nothing when it exists. Anybody may pay for it.
    /// @dev Checks: the device is registered (`UnknownDevice`).
    function createAccount(address device) public returns (address) {
        _load(device);
        return accountRegistry.createAccount(accountImplementation, 0, block.chainid, address(this), _tokenId(device));
    }

    /// @notice What is stored of a device; all zero, with status `None`, when it is not registered.
    function record(address device) external view returns (Record memory) {
        return _records[device];
    }

    /// @notice The stored commitment: keccak256(abi.encode(device, version, EIP-712 struct hash of its details)).
    /// @param nullifier That of the details; with another one the answer is not the device's.
    function commitment(address device, bytes32 nullifier) public view returns (bytes32) {
        return nullifier == 0 ? _ofDevice[device] : _ofHardware[nullifier];
    }

    /// @notice Whether `details`, in this version, are the current ones of a registered device.
    function verifyDetails(address device, uint256 version, Details calldata details) public view returns (bool) {
        return commitment(device, details.nullifier) == DetailsLib.commitment(device, version, details.hash());
    }

    /// @notice Whether a device is registered and neither suspended nor revoked.
    function isActive(address device) external view returns (bool) {
        return _records[device].status == Status.Active;
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

    /// @dev Stores a new device. The caller counts it.
    function _create(address device, address owner, bytes32 nullifier, bytes32 detailsHash) internal {
        Record storage stored = _records[device];
        require(stored.status == Status.None, AlreadyRegistered(device));
        _checkOwner(device, owner);
        bytes32 committed = DetailsLib.commitment(device, 0, detailsHash);
        if (nullifier == 0) {
            _ofDevice[device] = committed;
        } else {
            require(_ofHardware[nullifier] == 0, HardwareAlreadyRegistered(nullifier));
            _ofHardware[nullifier] = committed;
        }
        (uint32 time, uint32 number) = (SafeCast.toUint32(block.timestamp), SafeCast.toUint32(block.number));
        stored.owner = owner;
        stored.status = Status.Active;
        stored.registeredAt = time;
        stored.changedBlock = number;
        emit Transfer(address(0), owner, _tokenId(device));
    }

    /// @dev Counts new devices of one owner. Nobody is called: a receiver contract must not be able to refuse a batch.
    function _count(address owner, uint256 devices) internal {
        require(owner != address(0), ERC721InvalidReceiver(owner));
        deviceCount += devices;
        _balances[owner] += devices;
    }

    /// @dev Replaces the details of a device. The caller checked a URI that is new.
    /// @return previousBlock Where they were logged before.
    function _change(address device, uint256 version, Details memory next) internal returns (uint32 previousBlock) {
        bytes32 committed = DetailsLib.commitment(device, version, next.hashMemory());
        if (next.nullifier == 0) _ofDevice[device] = committed;
        else _ofHardware[next.nullifier] = committed;
        previousBlock = _records[device].changedBlock;
        _records[device].changedBlock = SafeCast.toUint32(block.number);
    }

    function _changeStatus(address device, Status from, Status to) internal {
        Record storage stored = _load(device);
        require(stored.status == from, InvalidStatus(device, stored.status));
        stored.status = to;
        emit StatusChanged(device, to);
    }

    function _load(address device) internal view returns (Record storage stored) {
        stored = _records[device];
        require(stored.status != Status.None, UnknownDevice(device));
    }

    function _checkDetails(address device, uint256 version, Details calldata details) internal view {
        require(verifyDetails(device, version, details), DetailsMismatch(device));
    }

    function _checkOwner(address device, address owner) private view {
        require(owner != device && owner != accountOf(device), OwnershipCycle(device));
    }

    function _tokenId(address device) internal pure returns (uint256) {
        return uint256(uint160(device));
    }

    /// @dev OpenZeppelin's, on our own storage word. Tokens are minted by `_create` and never burned, so neither owner
    /// is zero (the public functions of ERC721 refuse it).
    function _update(address to, uint256 tokenId, address auth) internal override returns (address from) {
        from = _ownerOf(tokenId);
        if (auth != address(0)) _checkAuthorized(from, auth, tokenId);
        address device = address(uint160(tokenId));
        _checkOwner(device, to);
        _approve(address(0), tokenId, address(0), false);
        --_balances[from];
        ++_balances[to];
        Record storage stored = _records[device];
        stored.owner = to;
        ++stored.generation;
        emit Transfer(from, to, tokenId);
    }

    /// @dev An id with more than the 160 bits of an address belongs to nobody.
    function _ownerOf(uint256 tokenId) internal view override returns (address) {
        return tokenId >> 160 == 0 ? _records[address(uint160(tokenId))].owner : address(0);
    }
}
