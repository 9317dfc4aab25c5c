// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Signers} from "../Signers.sol";
import {ActionLib, Delegation, DelegationRevocation} from "./Actions.sol";
import {Details, KeyLib} from "./Details.sol";
import {DeviceTokens, Record, Status} from "./DeviceTokens.sol";

/// @notice What is wrong with one delegation of a chain.
enum DelegationFault {
    /// The chain has no or too many delegations, or not as many signatures.
    Length,
    /// It is for another device or another generation of it.
    Device,
    /// It is not issued by the owner (the first) or by who holds the one before.
    Issuer,
    /// It does not name the one before as its parent.
    Parent,
    /// The one before does not give the right to pass rights on (`DELEGATE`).
    MayNotDelegate,
    /// It gives more than the one before, or at other times.
    Attenuation,
    /// It is not valid yet, or no longer.
    Time,
    /// Its issuer did not sign it.
    Signature,
    /// Its issuer or the owner took it back.
    Revoked
}

/// @title Who may act for a device
/// @notice An owner delegates to his device or to an operator, and whoever holds a delegation passes on at most what
/// he has. Nothing is stored when delegating; the chain of signed delegations is shown when it is used.
/// @dev Everything ends when the device is sold, rotates (another generation) or is not active.
abstract contract Delegations is DeviceTokens, EIP712 {
    using ActionLib for Delegation;
    using ActionLib for DelegationRevocation;

    /// @dev What the subject of a delegation holds, and for which device.
    struct Held {
        address device;
        address owner;
        uint256 generation;
        address subject;
        uint64 scopes;
        uint64 notBefore;
        uint64 expiry;
        bytes32 delegation;
    }

    /// @notice The scope that allows its holder to pass on what he has. The other bits are the network's to define.
    uint64 public constant DELEGATE = 1 << 4;

    /// @notice Longest accepted chain.
    uint256 public constant MAX_DELEGATIONS = 8;

    /// @notice Whether an address took back a delegation, which counts when it is its issuer or the owner.
    mapping(address revoker => mapping(bytes32 delegation => bool)) public delegationRevoked;

    /// @dev Those that devices took back with their keys: kept apart, because the address of a device is also the
    /// account of its first key, which may have been stolen since.
    mapping(address device => mapping(bytes32 delegation => bool)) private _revokedByDevice;

    /// @notice A delegation was taken back.
    event DelegationRevoked(address indexed revoker, bytes32 indexed delegation);

    /// @notice One delegation of the chain, by its index, does not hold.
    error InvalidDelegation(uint256 index, DelegationFault fault);
    /// @notice The deadline of the signature is over.
    error SignatureExpired(uint256 deadline);
    /// @notice The signature carries another nonce than the current one.
    error InvalidNonce(address device, uint256 expected);
    /// @notice The device's key did not sign this.
    error InvalidDeviceSignature(address device);
    /// @notice `signer` did not sign this.
    error InvalidSignature(address signer);

    /// @notice Takes back a delegation that the caller issued, or that anybody issued for a device of his.
    /// @dev Checks: none; it counts where the caller is the issuer or the owner of the device, and for ever.
    /// @param delegation Its EIP-712 struct hash.
    function revokeDelegation(bytes32 delegation) external {
        delegationRevoked[msg.sender][delegation] = true;
        emit DelegationRevoked(msg.sender, delegation);
    }

    /// @notice The same for an issuer, an owner or a device that signs and does not send.
    /// @dev Checks: the device is registered (`UnknownDevice`); the deadline is not over (`SignatureExpired`); the
    /// nonce is the device's generation (`InvalidNonce`); where the device itself revokes, `current` are its details
    /// (`DetailsMismatch`) and its key signed (`InvalidDeviceSignature`, 64 bytes r || vs), otherwise the revoker did
    /// (`InvalidSignature`; contracts by ERC-1271).
    /// @param version Of the details; not looked at, as they, when the revoker is not the device.
    function revokeDelegationWithSignature(
        DelegationRevocation calldata revocation,
        uint256 version,
        Details calldata current,
        bytes calldata signature
    ) external {
        address device = revocation.device;
        _checkControl(device, revocation.nonce, revocation.deadline);
        bytes32 digest = _hashTypedDataV4(revocation.hash());
        if (revocation.revoker == device) {
            _checkDetails(device, version, current);
            require(_deviceSigned(current, digest, signature), InvalidDeviceSignature(device));
            _revokedByDevice[device][revocation.delegation] = true;
        } else {
            _checkSigner(revocation.revoker, digest, signature);
            delegationRevoked[revocation.revoker][revocation.delegation] = true;
        }
        emit DelegationRevoked(revocation.revoker, revocation.delegation);
    }

    /// @notice What the last subject of a chain of delegations may do for a device, now. That he is who asks is for the
    /// caller to check: of an account by its signature or as `msg.sender`, of the device as subject only by a
    /// signature of its current key. The device's address is the account of its first key, which may have been stolen
    /// and replaced since, so a transaction from there proves nothing.
    /// @dev Reverts unless the device is registered (`UnknownDevice`) and active (`InvalidStatus`), `current` are its
    /// details where it issued one of the delegations (`DetailsMismatch`), and everything holds that `DelegationFault` lists
    /// (`InvalidDelegation`): the owner issued the first, each other one is issued by the subject of the one before,
    /// names it as parent, was given `DELEGATE`, and gives a subset of its scopes for a part of its time.
    /// @param signatures Of each by its issuer: 64 bytes r || vs where that is the device, otherwise as
    /// `Signers` takes them (65 bytes of a key, anything of an ERC-1271 contract).
    /// @param version Of the details; not looked at, as they, when the device issued none.
    /// @return subject Who may act: the subject of the last delegation.
    /// @return scopes What he may do, as the network defines its bits.
    function verifyDelegation(
        Delegation[] calldata chain,
        bytes[] calldata signatures,
        uint256 version,
        Details calldata current
    ) external view returns (address subject, uint64 scopes) {
        bool counted =
            chain.length != 0 && chain.length <= MAX_DELEGATIONS && chain.length == signatures.length;
        require(counted, InvalidDelegation(0, DelegationFault.Length));
        address device = chain[0].device;
        Record memory stored = _load(device);
        require(stored.status == Status.Active, InvalidStatus(device, stored.status));
        // Before the first delegation the owner holds everything, for ever.
        Held memory held = Held(device, stored.owner, stored.generation, stored.owner, ~uint64(0), 0, ~uint64(0), 0);
        bool checked = false;
        for (uint256 i = 0; i < chain.length; ++i) {
            if (chain[i].issuer == device && !checked) {
                _checkDetails(device, version, current);
                checked = true;
            }
            _follow(held, chain[i], signatures[i], current, i);
        }
        return (held.subject, held.scopes);
    }

    /// @dev Checks the delegation at `index` and makes `held` what its subject holds.
    function _follow(
        Held memory held,
        Delegation calldata next,
        bytes calldata signature,
        Details calldata current,
        uint256 index
    ) private view {
        _require(next.device == held.device && next.nonce == held.generation, index, DelegationFault.Device);
        _require(next.issuer == held.subject, index, DelegationFault.Issuer);
        _require(next.parent == held.delegation, index, DelegationFault.Parent);
        _require(held.scopes & DELEGATE != 0, index, DelegationFault.MayNotDelegate);
        bool within = next.notBefore >= held.notBefore && next.expiry <= held.expiry;
        _require(within && next.scopes & ~held.scopes == 0, index, DelegationFault.Attenuation);
        _require(next.notBefore <= block.timestamp && block.timestamp < next.expiry, index, DelegationFault.Time);
        bytes32 delegation = next.hash();
        _require(!_isRevoked(held, next.issuer, delegation), index, DelegationFault.Revoked);
        bytes32 digest = _hashTypedDataV4(delegation);
        bool signed = next.issuer == held.device
            ? _deviceSigned(current, digest, signature)
            : Signers.signed(next.issuer, digest, signature);
        _require(signed, index, DelegationFault.Signature);
        (held.subject, held.scopes, held.delegation) = (next.subject, next.scopes, delegation);
        (held.notBefore, held.expiry) = (next.notBefore, next.expiry);
    }

    function _isRevoked(Held memory held, address issuer, bytes32 delegation) private view returns (bool) {
        if (delegationRevoked[held.owner][delegation]) return true;
        return issuer == held.device ? _revokedByDevice[issuer][delegation] : delegationRevoked[issuer][delegation];
    }

    /// @dev What whoever controls the device signs: in time, and for this generation of it.
    function _checkControl(address device, uint256 nonce, uint256 deadline)
        internal
        view
        returns (Record storage stored)
    {
        stored = _load(device);
        _checkDeadline(deadline);
        uint256 expected = stored.generation;
        require(nonce == expected, InvalidNonce(device, expected));
    }

    function _checkDeadline(uint256 deadline) internal view {
        require(block.timestamp <= deadline, SignatureExpired(deadline));
    }

    /// @dev Of an account with a key, delegated to code or not, or of a contract by ERC-1271.
    function _checkSigner(address signer, bytes32 digest, bytes calldata signature) internal view {
        require(Signers.signed(signer, digest, signature), InvalidSignature(signer));
    }

    function _deviceSigned(Details calldata current, bytes32 digest, bytes calldata signature)
        private
        view
        returns (bool)
    {
        if (signature.length != 64) return false;
        (bytes32 r, bytes32 vs) = abi.decode(signature, (bytes32, bytes32));
        return KeyLib.signed(current.algorithm, current.publicKeyX, current.publicKeyY, digest, r, vs);
    }

    function _require(bool holds, uint256 index, DelegationFault fault) private pure {
        require(holds, InvalidDelegation(index, fault));
    }
}
