// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {DeviceAccount} from "../src/DeviceAccount.sol";
import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {DocumentUpdate, OwnershipTransfer, Registration, Revocation, Rotation} from "../src/registry/Actions.sol";
import {Delegations} from "../src/registry/Delegations.sol";
import {Details, KeyAlgorithm, Signature} from "../src/registry/Details.sol";
import {DeviceTokens, Record, Status} from "../src/registry/DeviceTokens.sol";
import {Fleet} from "./Fleet.sol";

/// @dev Who controls a device: rotation to the committed key, and what owners sign.
contract DeviceControlTest is Fleet {
    uint256 private constant KEY = 0xD1CE;
    uint256 private constant NEXT = 0x0E77;
    uint256 private constant AFTER = 0xAF7E2;
    bytes32 private following;

    function setUp() public {
        deployRegistry();
        following = nextKeyHash(AFTER);
    }

    // ---- rotation

    function testFuzz_a_device_rotates_to_the_committed_key(address sender) public {
        Registration memory r = enrollWithNext(KEY, NEXT);
        Rotation memory rotation = rotationTo(r.device, NEXT, following, 0);
        Details memory next = rotated(r.details, rotation);
        vm.roll(2_000);
        Signature memory signature = signShort(NEXT, digestOf(rotation));
        vm.expectEmit(address(registry));
        emit DeviceRegistry.KeyRotated(r.device, next, 1, 1_000);
        vm.prank(sender);
        registry.rotate(rotation, 0, r.details, signature);

        vm.assertTrue(registry.verifyDetails(r.device, 1, next), "details");
        Record memory stored = registry.record(r.device);
        vm.assertEq(stored.generation, 1, "generation");
        vm.assertEq(stored.owner, OWNER, "owner");
        vm.assertEq(stored.changedBlock, 2_000, "changed block");
        vm.assertEq(registry.ownerOf(uint160(r.device)), OWNER, "the id stays");
    }

    function test_the_new_key_signs_and_rotates_on() public {
        Registration memory r = enrollWithNext(KEY, NEXT);
        Details memory current = rotateTo(r.device, r.details, NEXT, following, 0, 0);
        DocumentUpdate memory u = updateOf(r.device, 1);
        Signature memory old = signShort(KEY, digestOf(u));
        vm.expectRevert(abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, r.device));
        registry.updateDocument(u, current, old);
        registry.updateDocument(u, current, signShort(NEXT, digestOf(u)));
        (current.documentHash, current.documentURI) = (u.documentHash, u.documentURI);
        current = rotateTo(r.device, current, AFTER, 0, 1, 2);
        vm.assertEq(current.documentHash, 0, "the document names the old key, so it ends");
        vm.assertEq(registry.record(r.device).generation, 2, "generation");
    }

    function testFuzz_a_device_changes_its_curve(uint256 seed) public {
        uint256 p256 = bound(seed, 1, P256_N - 1);
        (uint256 x, uint256 y) = vm.publicKeyP256(p256);
        Registration memory r = secp256k1Device(KEY);
        r.details.nextKeyHash = keccak256(abi.encode(1, x, y));
        register(r, KEY);
        Rotation memory rotation = Rotation(r.device, KeyAlgorithm.P256, bytes32(x), bytes32(y), following, 0, DEADLINE);
        registry.rotate(rotation, 0, r.details, signP256(p256, digestOf(rotation)));
        Details memory current = rotated(r.details, rotation);
        DocumentUpdate memory u = updateOf(r.device, 1);
        registry.updateDocument(u, current, signP256(p256, digestOf(u)));
    }

    function test_a_suspended_device_rotates_and_a_revoked_one_does_not() public {
        Registration memory r = enrollWithNext(KEY, NEXT);
        vm.prank(REGISTRAR);
        registry.suspend(r.device);
        Details memory current = rotateTo(r.device, r.details, NEXT, following, 0, 0);
        vm.assertTrue(!registry.isActive(r.device), "still suspended");
        vm.prank(REGISTRAR);
        registry.revoke(r.device);
        Rotation memory rotation = rotationTo(r.device, AFTER, 0, 1);
        Signature memory signature = signShort(AFTER, digestOf(rotation));
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.InvalidStatus.selector, r.device, Status.Revoked));
        registry.rotate(rotation, 1, current, signature);
    }

    function testFuzz_only_the_committed_key_takes_over(uint256 seed) public {
        uint256 key = keyFrom(seed);
        vm.assume(key != NEXT);
        Registration memory r = enrollWithNext(KEY, NEXT);
        Rotation memory rotation = rotationTo(r.device, key, following, 0);
        bytes memory refusal = abi.encodeWithSelector(DeviceRegistry.NotTheNextKey.selector, r.device);
        refuseRotation(rotation, 0, r.details, signShort(key, digestOf(rotation)), refusal);
        rotation = rotationTo(r.device, NEXT, following, 0);
        refusal = abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, r.device);
        refuseRotation(rotation, 0, r.details, signShort(key, digestOf(rotation)), refusal);
    }

    function test_a_device_that_committed_to_nothing_never_rotates() public {
        Registration memory r = secp256k1Device(KEY);
        r.details.nextKeyHash = 0;
        register(r, KEY);
        Rotation memory rotation = rotationTo(r.device, NEXT, following, 0);
        bytes memory refusal = abi.encodeWithSelector(DeviceRegistry.NotTheNextKey.selector, r.device);
        refuseRotation(rotation, 0, r.details, signShort(NEXT, digestOf(rotation)), refusal);
    }

    function test_a_device_does_not_commit_to_the_key_that_it_rotates_to() public {
        Registration memory r = enrollWithNext(KEY, NEXT);
        Rotation memory rotation = rotationTo(r.device, NEXT, nextKeyHash(NEXT), 0);
        bytes memory refusal = abi.encodeWithSelector(DeviceRegistry.NextKeyIsLiveKey.selector, r.device);
        refuseRotation(rotation, 0, r.details, signShort(NEXT, digestOf(rotation)), refusal);
    }

    function test_the_owners_key_does_not_become_the_devices() public {
        Registration memory r = secp256k1Device(KEY);
        (r.owner, r.details.nextKeyHash) = (vm.addr(NEXT), nextKeyHash(NEXT));
        register(r, KEY);
        Rotation memory rotation = rotationTo(r.device, NEXT, following, 0);
        bytes memory refusal = abi.encodeWithSelector(DeviceTokens.OwnershipCycle.selector, r.device);
        refuseRotation(rotation, 0, r.details, signShort(NEXT, digestOf(rotation)), refusal);
    }

    function testFuzz_a_rotation_binds_every_argument(uint256 which) public {
        Registration memory r = enrollWithNext(KEY, NEXT);
        Rotation memory rotation = rotationTo(r.device, NEXT, following, 0);
        Signature memory signature = signShort(NEXT, digestOf(rotation));
        bytes memory refusal = abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, r.device);
        uint256 version = 0;
        which = bound(which, 0, 9);
        if (which == 0) rotation.nextKeyHash = keccak256("other");
        if (which == 1) rotation.deadline -= 1;
        if (which == 2) vm.chainId(4689);
        if (which == 3) {
            rotation.nonce = 1;
            refusal = abi.encodeWithSelector(Delegations.InvalidNonce.selector, r.device, 0);
        }
        if (which == 4) {
            vm.warp(rotation.deadline + 1);
            refusal = abi.encodeWithSelector(Delegations.SignatureExpired.selector, rotation.deadline);
        }
        if (which == 5) {
            rotation.algorithm = KeyAlgorithm.P256;
            refusal = abi.encodeWithSelector(DeviceRegistry.NotTheNextKey.selector, r.device);
        }
        if (which == 6) {
            version = 1;
            refusal = abi.encodeWithSelector(DeviceTokens.DetailsMismatch.selector, r.device);
        }
        if (which == 7) {
            r.details.nextKeyHash = keccak256("a thief's");
            refusal = abi.encodeWithSelector(DeviceTokens.DetailsMismatch.selector, r.device);
        }
        if (which == 8) {
            rotation.device = STRANGER;
            refusal = abi.encodeWithSelector(DeviceTokens.UnknownDevice.selector, STRANGER);
        }
        if (which == 9) {
            // The device of another, which commits to the same next key.
            rotation.device = enrollWithNext(AFTER, NEXT).device;
            refusal = abi.encodeWithSelector(DeviceTokens.DetailsMismatch.selector, rotation.device);
        }
        refuseRotation(rotation, version, r.details, signature, refusal);
    }

    function test_the_high_s_twin_of_a_rotation_is_refused() public {
        Registration memory r = enrollWithNext(KEY, NEXT);
        Rotation memory rotation = rotationTo(r.device, NEXT, following, 0);
        (uint8 v, bytes32 rr, bytes32 s) = vm.sign(NEXT, digestOf(rotation));
        uint256 high = SECP256K1_N - uint256(s);
        bytes memory refusal = abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, r.device);
        refuseRotation(rotation, 0, r.details, Signature(rr, bytes32(high)), refusal);
        refuseRotation(rotation, 0, r.details, Signature(rr, bytes32(high | uint256(28 - v) << 255)), refusal);
    }

    /// @dev A thief with the live key can change the document before the rotation is mined, but the same signature of
    /// the next key still ends it.
    function test_changing_the_document_does_not_void_a_rotation() public {
        Registration memory r = enrollWithNext(KEY, NEXT);
        Rotation memory rotation = rotationTo(r.device, NEXT, following, 0);
        Signature memory signature = signShort(NEXT, digestOf(rotation));
        Details memory current = r.details;
        for (uint256 version = 0; version < 3; ++version) {
            DocumentUpdate memory u = updateOf(r.device, version);
            registry.updateDocument(u, current, signShort(KEY, digestOf(u)));
            (current.documentHash, current.documentURI) = (u.documentHash, u.documentURI);
        }
        registry.rotate(rotation, 3, current, signature);
        vm.assertEq(registry.record(r.device).generation, 1, "rotated");
    }

    // ---- what owners sign

    function testFuzz_a_device_is_passed_on_by_signature(address to, address sender) public {
        address device = enroll(KEY).device;
        vm.assume(to != address(0) && to != device && to != registry.accountOf(device));
        OwnershipTransfer memory t = OwnershipTransfer(device, OWNER, to, 0, DEADLINE);
        bytes memory signature = sign(FLEET_OWNER_KEY, digestOf(t));
        vm.expectEmit(address(registry));
        emit IERC721.Transfer(OWNER, to, uint160(device));
        vm.prank(sender);
        registry.transferWithSignature(t, signature);
        vm.assertEq(registry.ownerOf(uint160(device)), to, "owner");
        vm.assertEq(registry.record(device).generation, 1, "generation");
        vm.expectRevert(abi.encodeWithSelector(Delegations.InvalidNonce.selector, device, 1));
        registry.transferWithSignature(t, signature);
    }

    function testFuzz_a_signed_transfer_binds_every_argument(uint256 which) public {
        address device = enroll(KEY).device;
        OwnershipTransfer memory t = OwnershipTransfer(device, OWNER, STRANGER, 0, DEADLINE);
        bytes memory signature = sign(FLEET_OWNER_KEY, digestOf(t));
        bytes memory refusal = abi.encodeWithSelector(Delegations.InvalidSignature.selector, OWNER);
        which = bound(which, 0, 7);
        if (which == 0) t.to = ADMIN;
        if (which == 1) t.deadline -= 1;
        if (which == 2) vm.chainId(4689);
        if (which == 3) t.device = enroll(NEXT).device;
        if (which == 4) {
            t.nonce = 1;
            refusal = abi.encodeWithSelector(Delegations.InvalidNonce.selector, device, 0);
        }
        if (which == 5) {
            vm.warp(t.deadline + 1);
            refusal = abi.encodeWithSelector(Delegations.SignatureExpired.selector, t.deadline);
        }
        if (which == 6) {
            // Somebody signs away what is not his.
            t.from = vm.addr(NEXT);
            signature = sign(NEXT, digestOf(t));
            refusal =
                abi.encodeWithSelector(IERC721Errors.ERC721IncorrectOwner.selector, t.from, uint160(device), OWNER);
        }
        if (which == 7) {
            (uint8 v, bytes32 rr, bytes32 s) = vm.sign(FLEET_OWNER_KEY, digestOf(t));
            signature = packed(v == 27 ? 28 : 27, rr, bytes32(SECP256K1_N - uint256(s)));
        }
        vm.expectRevert(refusal);
        registry.transferWithSignature(t, signature);
    }

    /// @dev An owner who gave his device away and got it back is not bound by what he signed before.
    function test_a_signed_transfer_ends_with_the_ownership_that_made_it() public {
        address device = enroll(KEY).device;
        OwnershipTransfer memory t = OwnershipTransfer(device, OWNER, STRANGER, 0, DEADLINE);
        bytes memory signature = sign(FLEET_OWNER_KEY, digestOf(t));
        vm.prank(OWNER);
        registry.transferFrom(OWNER, ADMIN, uint160(device));
        vm.prank(ADMIN);
        registry.transferFrom(ADMIN, OWNER, uint160(device));
        vm.expectRevert(abi.encodeWithSelector(Delegations.InvalidNonce.selector, device, 2));
        registry.transferWithSignature(t, signature);
    }

    function test_a_contract_owner_signs_by_erc_1271() public {
        address outer = enroll(KEY).device;
        address account = registry.accountOf(outer);
        address device = enroll(NEXT).device;
        vm.prank(OWNER);
        registry.transferFrom(OWNER, account, uint160(device));
        OwnershipTransfer memory t = OwnershipTransfer(device, account, STRANGER, 1, DEADLINE);
        bytes32 wrapped = keccak256(abi.encode(keccak256("AccountMessage(bytes32 hash)"), digestOf(t)));
        bytes memory signature = sign(FLEET_OWNER_KEY, typedDigest("DeviceAccount", account, wrapped));
        registry.transferWithSignature(t, signature);
        vm.assertEq(registry.ownerOf(uint160(device)), STRANGER, "owner");
        vm.assertTrue(DeviceAccount(payable(account)).owner() == OWNER, "the account's owner");
    }

    function testFuzz_an_owner_revokes_by_signature(uint256 which) public {
        address device = enroll(KEY).device;
        Revocation memory r = Revocation(device, 0, DEADLINE);
        bytes memory signature = sign(FLEET_OWNER_KEY, digestOf(r));
        which = bound(which, 0, 5);
        bytes memory refusal = abi.encodeWithSelector(Delegations.InvalidSignature.selector, OWNER);
        if (which == 0) {
            registry.revokeWithSignature(r, signature);
            vm.assertEq(uint256(registry.record(device).status), uint256(Status.Revoked), "revoked");
            refusal = abi.encodeWithSelector(DeviceTokens.InvalidStatus.selector, device, Status.Revoked);
        }
        if (which == 1) r.deadline -= 1;
        if (which == 2) r.device = enroll(NEXT).device;
        if (which == 3) vm.chainId(4689);
        if (which == 4) signature = sign(KEY, digestOf(r));
        if (which == 5) {
            r.nonce = 1;
            refusal = abi.encodeWithSelector(Delegations.InvalidNonce.selector, device, 0);
        }
        vm.expectRevert(refusal);
        registry.revokeWithSignature(r, signature);
    }

    // ---- helpers

    function register(Registration memory r, uint256 key) private {
        Signature memory signature = signShort(key, digestOf(r));
        vm.prank(REGISTRAR);
        registry.register(r, signature);
    }

    function rotateTo(
        address device,
        Details memory current,
        uint256 key,
        bytes32 next,
        uint256 generation,
        uint256 version
    ) private returns (Details memory) {
        Rotation memory rotation = rotationTo(device, key, next, generation);
        registry.rotate(rotation, version, current, signShort(key, digestOf(rotation)));
        return rotated(current, rotation);
    }

    function refuseRotation(
        Rotation memory rotation,
        uint256 version,
        Details memory current,
        Signature memory signature,
        bytes memory refusal
    ) private {
        vm.expectRevert(refusal);
        registry.rotate(rotation, version, current, signature);
    }
}
