// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC6551Registry} from "erc6551/ERC6551Registry.sol";
import {IERC6551Registry} from "erc6551/interfaces/IERC6551Registry.sol";
import {DeviceAccount} from "../src/DeviceAccount.sol";
import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {Test, Vm} from "./Base.sol";

/// @dev A registry and devices that sign. The EIP-712 types are written out here once more on purpose.
abstract contract Fleet is Test {
    string internal constant URI = "ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    bytes32 internal constant DETAILS = keccak256(
        "Details(uint8 algorithm,bytes32 publicKeyX,bytes32 publicKeyY,bytes32 documentHash,string documentURI,bytes32 evidenceHash)"
    );
    bytes32 internal constant REGISTRATION = keccak256(
        "Registration(address device,address owner,Details details,uint256 nonce,uint256 deadline)Details(uint8 algorithm,bytes32 publicKeyX,bytes32 publicKeyY,bytes32 documentHash,string documentURI,bytes32 evidenceHash)"
    );
    bytes32 internal constant DOCUMENT_UPDATE = keccak256(
        "DocumentUpdate(address device,bytes32 documentHash,string documentURI,uint256 nonce,uint256 deadline)"
    );
    address internal constant ADMIN = address(0xAD);
    address internal constant REGISTRAR = address(0x5E6);
    address internal constant OWNER = address(0x0123);
    address internal constant STRANGER = address(0x5EED);

    ERC6551Registry internal accountRegistry;
    DeviceAccount internal accountImplementation;
    DeviceRegistry internal registry;

    function deployRegistry() internal {
        vm.warp(1_800_000_000);
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

    function secp256k1Device(uint256 key) internal returns (DeviceRegistry.Registration memory) {
        Vm.Wallet memory wallet = vm.createWallet(key);
        return
            registrationOf(
                DeviceRegistry.KeyAlgorithm.Secp256k1, bytes32(wallet.publicKeyX), bytes32(wallet.publicKeyY)
            );
    }

    function p256Device(uint256 key) internal pure returns (DeviceRegistry.Registration memory) {
        (uint256 x, uint256 y) = vm.publicKeyP256(key);
        return registrationOf(DeviceRegistry.KeyAlgorithm.P256, bytes32(x), bytes32(y));
    }

    function registrationOf(DeviceRegistry.KeyAlgorithm algorithm, bytes32 x, bytes32 y)
        private
        pure
        returns (DeviceRegistry.Registration memory)
    {
        return DeviceRegistry.Registration({
            device: address(uint160(uint256(keccak256(abi.encodePacked(x, y))))),
            owner: OWNER,
            details: DeviceRegistry.Details({
                algorithm: algorithm,
                publicKeyX: x,
                publicKeyY: y,
                documentHash: keccak256("document"),
                documentURI: URI,
                evidenceHash: keccak256("evidence")
            }),
            nonce: 0,
            deadline: 1_900_000_000
        });
    }

    function updateOf(address device, uint256 nonce) internal pure returns (DeviceRegistry.DocumentUpdate memory) {
        return DeviceRegistry.DocumentUpdate({
            device: device,
            documentHash: keccak256(abi.encode("document", nonce)),
            documentURI: "ipfs://next",
            nonce: nonce,
            deadline: 1_900_000_000
        });
    }

    function detailsHash(DeviceRegistry.Details memory details) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                DETAILS,
                details.algorithm,
                details.publicKeyX,
                details.publicKeyY,
                details.documentHash,
                keccak256(bytes(details.documentURI)),
                details.evidenceHash
            )
        );
    }

    function digestOf(DeviceRegistry.Registration memory r) internal view returns (bytes32) {
        bytes32 structHash =
            keccak256(abi.encode(REGISTRATION, r.device, r.owner, detailsHash(r.details), r.nonce, r.deadline));
        return typedDigest("DeviceRegistry", address(registry), structHash);
    }

    function digestOf(DeviceRegistry.DocumentUpdate memory u) internal view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(DOCUMENT_UPDATE, u.device, u.documentHash, keccak256(bytes(u.documentURI)), u.nonce, u.deadline)
        );
        return typedDigest("DeviceRegistry", address(registry), structHash);
    }

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return packed(v, r, s);
    }

    /// @dev With the low s that the registry wants.
    function signP256(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 s) = vm.signP256(key, digest);
        if (uint256(s) > P256_N / 2) s = bytes32(P256_N - uint256(s));
        return abi.encodePacked(r, s);
    }

    /// @dev Registers the device of `key` with the standard details.
    function enroll(uint256 key) internal returns (DeviceRegistry.Registration memory r) {
        r = secp256k1Device(key);
        bytes memory signature = sign(key, digestOf(r));
        vm.prank(REGISTRAR);
        registry.register(r, signature);
    }
}
