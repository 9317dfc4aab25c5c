// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC6551Registry} from "erc6551/ERC6551Registry.sol";
import {IERC6551Registry} from "erc6551/interfaces/IERC6551Registry.sol";
import {DeviceAccount} from "../src/DeviceAccount.sol";
import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {
    Delegation,
    DelegationRevocation,
    DocumentUpdate,
    OwnershipTransfer,
    Registration,
    Revocation,
    Rotation
} from "../src/registry/Actions.sol";
import {Details, KeyAlgorithm, Signature} from "../src/registry/Details.sol";
import {Test, Vm} from "./Base.sol";

/// @dev A registry and devices that sign. The EIP-712 types are written out here once more on purpose.
abstract contract Fleet is Test {
    string internal constant URI = "ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    bytes32 internal constant DETAILS = keccak256(
        "Details(uint8 algorithm,bytes32 publicKeyX,bytes32 publicKeyY,bytes32 nextKeyHash,bytes32 nullifier,bytes32 documentHash,bytes32 evidenceHash,string documentURI)"
    );
    bytes32 internal constant REGISTRATION = keccak256(
        "Registration(address device,address owner,Details details,uint256 nonce,uint256 deadline)Details(uint8 algorithm,bytes32 publicKeyX,bytes32 publicKeyY,bytes32 nextKeyHash,bytes32 nullifier,bytes32 documentHash,bytes32 evidenceHash,string documentURI)"
    );
    bytes32 internal constant DOCUMENT_UPDATE = keccak256(
        "DocumentUpdate(address device,bytes32 documentHash,string documentURI,uint256 nonce,uint256 deadline)"
    );
    bytes32 internal constant ROTATION = keccak256(
        "Rotation(address device,uint8 algorithm,bytes32 publicKeyX,bytes32 publicKeyY,bytes32 nextKeyHash,uint256 nonce,uint256 deadline)"
    );
    bytes32 internal constant OWNERSHIP_TRANSFER =
        keccak256("OwnershipTransfer(address device,address from,address to,uint256 nonce,uint256 deadline)");
    bytes32 internal constant REVOCATION = keccak256("Revocation(address device,uint256 nonce,uint256 deadline)");
    bytes32 internal constant DELEGATION = keccak256(
        "Delegation(address device,address issuer,address subject,uint64 scopes,uint64 notBefore,uint64 expiry,bytes32 parent,uint256 nonce)"
    );
    bytes32 internal constant DELEGATION_REVOCATION = keccak256(
        "DelegationRevocation(address device,address revoker,bytes32 delegation,uint256 nonce,uint256 deadline)"
    );
    uint256 internal constant DEADLINE = 1_900_000_000;
    uint256 internal constant FLEET_OWNER_KEY = 0x0123;
    address internal constant ADMIN = address(0xAD);
    address internal constant REGISTRAR = address(0x5E6);
    address internal constant STRANGER = address(0x5EED);

    ERC6551Registry internal accountRegistry;
    DeviceAccount internal accountImplementation;
    DeviceRegistry internal registry;
    address internal OWNER;

    function deployRegistry() internal {
        vm.warp(1_800_000_000);
        OWNER = vm.addr(FLEET_OWNER_KEY);
        vm.roll(1_000);
        accountRegistry = new ERC6551Registry();
        accountImplementation = new DeviceAccount();
        registry = new DeviceRegistry(
            "Stations", "STN", ADMIN, IERC6551Registry(address(accountRegistry)), address(accountImplementation)
        );
        bytes32 role = registry.REGISTRAR_ROLE();
        vm.prank(ADMIN);
        registry.grantRole(role, REGISTRAR);
    }

    function secp256k1Device(uint256 key) internal returns (Registration memory) {
        Vm.Wallet memory wallet = vm.createWallet(key);
        return registrationOf(KeyAlgorithm.Secp256k1, bytes32(wallet.publicKeyX), bytes32(wallet.publicKeyY));
    }

    function p256Device(uint256 key) internal view returns (Registration memory) {
        (uint256 x, uint256 y) = vm.publicKeyP256(key);
        return registrationOf(KeyAlgorithm.P256, bytes32(x), bytes32(y));
    }

    function registrationOf(KeyAlgorithm algorithm, bytes32 x, bytes32 y) private view returns (Registration memory) {
        return Registration({
            device: address(uint160(uint256(keccak256(abi.encodePacked(x, y))))),
            owner: OWNER,
            details: Details({
                algorithm: algorithm,
                publicKeyX: x,
                publicKeyY: y,
                nextKeyHash: keccak256(abi.encode("next", x)),
                nullifier: keccak256(abi.encode("nullifier", x)),
                documentHash: keccak256("document"),
                evidenceHash: keccak256("evidence"),
                documentURI: URI
            }),
            nonce: 0,
            deadline: DEADLINE
        });
    }

    function updateOf(address device, uint256 nonce) internal pure returns (DocumentUpdate memory) {
        return DocumentUpdate({
            device: device,
            documentHash: keccak256(abi.encode("document", nonce)),
            documentURI: "ipfs://next",
            nonce: nonce,
            deadline: DEADLINE
        });
    }

    function detailsHash(Details memory details) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                DETAILS,
                details.algorithm,
                details.publicKeyX,
                details.publicKeyY,
                details.nextKeyHash,
                details.nullifier,
                details.documentHash,
                details.evidenceHash,
                keccak256(bytes(details.documentURI))
            )
        );
    }

    function digestOf(Registration memory r) internal view returns (bytes32) {
        bytes32 structHash =
            keccak256(abi.encode(REGISTRATION, r.device, r.owner, detailsHash(r.details), r.nonce, r.deadline));
        return typedDigest("DeviceRegistry", address(registry), structHash);
    }

    function digestOf(DocumentUpdate memory u) internal view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(DOCUMENT_UPDATE, u.device, u.documentHash, keccak256(bytes(u.documentURI)), u.nonce, u.deadline)
        );
        return typedDigest("DeviceRegistry", address(registry), structHash);
    }

    function digestOf(Rotation memory r) internal view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(ROTATION, r.device, r.algorithm, r.publicKeyX, r.publicKeyY, r.nextKeyHash, r.nonce, r.deadline)
        );
        return typedDigest("DeviceRegistry", address(registry), structHash);
    }

    function digestOf(OwnershipTransfer memory t) internal view returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(OWNERSHIP_TRANSFER, t.device, t.from, t.to, t.nonce, t.deadline));
        return typedDigest("DeviceRegistry", address(registry), structHash);
    }

    function digestOf(Revocation memory r) internal view returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(REVOCATION, r.device, r.nonce, r.deadline));
        return typedDigest("DeviceRegistry", address(registry), structHash);
    }

    function hashOf(Delegation memory d) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(DELEGATION, d.device, d.issuer, d.subject, d.scopes, d.notBefore, d.expiry, d.parent, d.nonce)
        );
    }

    function digestOf(Delegation memory d) internal view returns (bytes32) {
        return typedDigest("DeviceRegistry", address(registry), hashOf(d));
    }

    function digestOf(DelegationRevocation memory r) internal view returns (bytes32) {
        bytes32 structHash =
            keccak256(abi.encode(DELEGATION_REVOCATION, r.device, r.revoker, r.delegation, r.nonce, r.deadline));
        return typedDigest("DeviceRegistry", address(registry), structHash);
    }

    /// @dev As devices sign: r, and s with the parity in its highest bit.
    function signShort(uint256 key, bytes32 digest) internal pure returns (Signature memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return Signature(r, bytes32(uint256(s) | uint256(v - 27) << 255));
    }

    /// @dev As accounts sign: 65 bytes.
    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return packed(v, r, s);
    }

    /// @dev With the low s that the registry wants.
    function signP256(uint256 key, bytes32 digest) internal pure returns (Signature memory) {
        (bytes32 r, bytes32 s) = vm.signP256(key, digest);
        if (uint256(s) > P256_N / 2) s = bytes32(P256_N - uint256(s));
        return Signature(r, s);
    }

    function deviceOf(Details memory details) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(details.publicKeyX, details.publicKeyY)))));
    }

    function commitmentOf(address device, uint256 version, Details memory details) internal pure returns (bytes32) {
        return keccak256(abi.encode(device, version, detailsHash(details)));
    }

    /// @dev The hash a device stores of the key it will rotate to.
    function nextKeyHash(uint256 key) internal returns (bytes32) {
        Vm.Wallet memory wallet = vm.createWallet(key);
        return keccak256(abi.encode(0, wallet.publicKeyX, wallet.publicKeyY));
    }

    function rotationTo(address device, uint256 key, bytes32 following, uint256 generation)
        internal
        returns (Rotation memory)
    {
        Vm.Wallet memory wallet = vm.createWallet(key);
        return Rotation({
            device: device,
            algorithm: KeyAlgorithm.Secp256k1,
            publicKeyX: bytes32(wallet.publicKeyX),
            publicKeyY: bytes32(wallet.publicKeyY),
            nextKeyHash: following,
            nonce: generation,
            deadline: DEADLINE
        });
    }

    /// @dev The details that a rotation leaves.
    function rotated(Details memory before, Rotation memory r) internal pure returns (Details memory) {
        return Details({
            algorithm: r.algorithm,
            publicKeyX: r.publicKeyX,
            publicKeyY: r.publicKeyY,
            nextKeyHash: r.nextKeyHash,
            nullifier: before.nullifier,
            documentHash: 0,
            evidenceHash: before.evidenceHash,
            documentURI: ""
        });
    }

    /// @dev Registers the device of `key` with the standard details.
    function enroll(uint256 key) internal returns (Registration memory r) {
        r = secp256k1Device(key);
        Signature memory signature = signShort(key, digestOf(r));
        vm.prank(REGISTRAR);
        registry.register(r, signature);
    }

    /// @dev Registers the device of `key`, which commits to the key `next`.
    function enrollWithNext(uint256 key, uint256 next) internal returns (Registration memory r) {
        r = secp256k1Device(key);
        r.details.nextKeyHash = nextKeyHash(next);
        Signature memory signature = signShort(key, digestOf(r));
        vm.prank(REGISTRAR);
        registry.register(r, signature);
    }
}
