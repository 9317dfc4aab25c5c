// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IERC6551Registry} from "erc6551/interfaces/IERC6551Registry.sol";
import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {DocumentUpdate, Registration} from "../src/registry/Actions.sol";
import {Delegations} from "../src/registry/Delegations.sol";
import {Details, DocumentURINotASCII, DocumentURITooLong, KeyAlgorithm, Signature} from "../src/registry/Details.sol";
import {DeviceTokens, Record, Status} from "../src/registry/DeviceTokens.sol";
import {Fleet} from "./Fleet.sol";

contract DeviceRegistryTest is Fleet {
    uint256 private constant KEY = 0xD1CE;

    function setUp() public {
        deployRegistry();
    }

    // ---- registration

    function testFuzz_a_device_registers_with_its_account(uint256 seed, address owner) public {
        uint256 key = keyFrom(seed);
        Registration memory r = secp256k1Device(key);
        vm.assume(owner != address(0) && owner != r.device && owner != registry.accountOf(r.device));
        r.owner = owner;
        Signature memory signature = signShort(key, digestOf(r));

        vm.expectEmit(address(registry));
        emit DeviceRegistry.DeviceRegistered(r.device, r.details);
        vm.prank(REGISTRAR);
        registry.register(r, signature);

        vm.assertEq(r.device, vm.addr(key), "the device is its key's address");
        Record memory stored = registry.record(r.device);
        vm.assertEq(stored.owner, owner, "owner");
        vm.assertEq(uint256(stored.status), uint256(Status.Active), "status");
        vm.assertEq(stored.generation, 0, "generation");
        vm.assertEq(stored.registeredAt, block.timestamp, "registered at");
        vm.assertEq(stored.changedBlock, block.number, "changed block");
        bytes32 committed = registry.commitment(r.device, r.details.nullifier);
        vm.assertEq(committed, commitmentOf(r.device, 0, r.details), "commitment");
        vm.assertTrue(registry.verifyDetails(r.device, 0, r.details), "details verify");
        vm.assertTrue(registry.isActive(r.device), "active");
        vm.assertEq(registry.ownerOf(uint160(r.device)), owner, "token owner");
        vm.assertEq(registry.balanceOf(owner), 1, "balance");
        vm.assertEq(registry.deviceCount(), 1, "count");
        vm.assertTrue(registry.accountOf(r.device).code.length != 0, "account exists");
    }

    function testFuzz_a_p256_device_registers(uint256 seed) public {
        uint256 key = bound(seed, 1, P256_N - 1);
        Registration memory r = p256Device(key);
        register(r, signP256(key, digestOf(r)));
        vm.assertTrue(registry.isActive(r.device), "active");

        DocumentUpdate memory u = updateOf(r.device, 0);
        registry.updateDocument(u, r.details, signP256(key, digestOf(u)));
        r.details.documentHash = u.documentHash;
        r.details.documentURI = u.documentURI;
        vm.assertTrue(registry.verifyDetails(r.device, 1, r.details), "next details");
    }

    function testFuzz_only_registrars_register(address caller) public {
        vm.assume(caller != REGISTRAR);
        Registration memory r = secp256k1Device(KEY);
        Signature memory signature = signShort(KEY, digestOf(r));
        bytes memory refusal = abi.encodeWithSelector(
            IAccessControl.AccessControlUnauthorizedAccount.selector, caller, registry.REGISTRAR_ROLE()
        );
        vm.startPrank(caller);
        vm.expectRevert(refusal);
        registry.register(r, signature);
        vm.expectRevert(refusal);
        registry.registerBatch(OWNER, new Details[](0), new Signature[](0), DEADLINE);
        vm.stopPrank();
    }

    function test_a_device_registers_once_even_after_revocation() public {
        Registration memory r = enroll(KEY);
        Signature memory signature = signShort(KEY, digestOf(r));
        bytes memory refusal = abi.encodeWithSelector(DeviceTokens.AlreadyRegistered.selector, r.device);
        refuse(r, signature, refusal);
        vm.prank(OWNER);
        registry.revoke(r.device);
        refuse(r, signature, refusal);
    }

    function testFuzz_a_late_registration_is_refused(uint256 late) public {
        Registration memory r = secp256k1Device(KEY);
        r.deadline = block.timestamp;
        Signature memory signature = signShort(KEY, digestOf(r));
        vm.warp(bound(late, block.timestamp + 1, type(uint32).max));
        refuse(r, signature, abi.encodeWithSelector(Delegations.SignatureExpired.selector, r.deadline));
    }

    function test_the_second_of_the_deadline_is_in_time() public {
        Registration memory r = secp256k1Device(KEY);
        r.deadline = block.timestamp;
        register(r, signShort(KEY, digestOf(r)));
    }

    function testFuzz_a_registration_carries_nonce_zero(uint256 nonce) public {
        vm.assume(nonce != 0);
        Registration memory r = secp256k1Device(KEY);
        r.nonce = nonce;
        refuse(r, signShort(KEY, digestOf(r)), abi.encodeWithSelector(Delegations.InvalidNonce.selector, r.device, 0));
    }

    function testFuzz_another_address_than_the_keys_is_refused(address device) public {
        Registration memory r = secp256k1Device(KEY);
        vm.assume(device != r.device);
        r.device = device;
        refuse(r, signShort(KEY, digestOf(r)), abi.encodeWithSelector(DeviceRegistry.KeyMismatch.selector, device));
    }

    function testFuzz_the_signature_binds_every_argument(uint256 which) public {
        Registration memory r = secp256k1Device(KEY);
        Signature memory signature = signShort(KEY, digestOf(r));
        bytes memory refusal = abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, r.device);
        which = bound(which, 0, 9);
        if (which == 8) r.details.nextKeyHash = keccak256("other");
        if (which == 9) r.details.nullifier = keccak256("other");
        if (which == 0) r.owner = STRANGER;
        if (which == 1) r.details.documentHash = keccak256("other");
        if (which == 2) r.details.documentURI = "ipfs://other";
        if (which == 3) r.details.evidenceHash = keccak256("other");
        if (which == 4) r.deadline += 1;
        if (which == 5) r.details.algorithm = KeyAlgorithm.P256;
        if (which == 6) vm.chainId(4689);
        if (which == 7) {
            // The same registration signed for another contract.
            registry = new DeviceRegistry(
                "Other", "OTH", ADMIN, IERC6551Registry(address(accountRegistry)), address(accountImplementation)
            );
            bytes32 role = registry.REGISTRAR_ROLE();
            vm.prank(ADMIN);
            registry.grantRole(role, REGISTRAR);
        }
        refuse(r, signature, refusal);
    }

    function testFuzz_another_keys_signature_is_refused(uint256 seed) public {
        uint256 other = keyFrom(seed);
        vm.assume(other != KEY);
        Registration memory r = secp256k1Device(KEY);
        refuseSignature(r, signShort(other, digestOf(r)));
    }

    function testFuzz_the_high_s_twin_is_refused(uint256 seed) public {
        uint256 key = keyFrom(seed);
        Registration memory r = secp256k1Device(key);
        (uint8 v, bytes32 rr, bytes32 s) = vm.sign(key, digestOf(r));
        // The parity turns with s; a high s may itself reach the bit that carries the parity.
        uint256 high = SECP256K1_N - uint256(s);
        refuseSignature(r, Signature(rr, bytes32(high)));
        refuseSignature(r, Signature(rr, bytes32(high | 1 << 255)));
        refuseSignature(r, Signature(rr, bytes32(uint256(s) | uint256(28 - v) << 255)));
    }

    function testFuzz_the_high_s_twin_of_p256_is_refused(uint256 seed) public {
        uint256 key = bound(seed, 1, P256_N - 1);
        Registration memory r = p256Device(key);
        Signature memory low = signP256(key, digestOf(r));
        refuseSignature(r, Signature(low.r, bytes32(P256_N - uint256(low.vs))));
    }

    function testFuzz_other_signatures_are_refused(Signature memory signature, bool p256) public {
        refuseSignature(p256 ? p256Device(KEY) : secp256k1Device(KEY), signature);
    }

    function test_zero_r_and_zero_s_are_refused() public {
        Registration memory r = secp256k1Device(KEY);
        refuseSignature(r, Signature(0, bytes32(uint256(1))));
        refuseSignature(r, Signature(bytes32(uint256(1)), 0));
        refuseSignature(p256Device(KEY), Signature(0, 0));
    }

    /// @dev An algorithm that the contract does not know must not slip past the hash, which copies calldata.
    function test_an_unknown_algorithm_is_refused() public {
        Registration memory r = secp256k1Device(KEY);
        bytes memory call = abi.encodeCall(registry.register, (r, signShort(KEY, digestOf(r))));
        // Selector, offset, signature; the registration: device, owner, offset, nonce, deadline; its details.
        uint256 place = 4 + 32 + 64 + 5 * 32 + 31;
        call[place] = 0x02;
        vm.prank(REGISTRAR);
        (bool done,) = address(registry).call(call);
        vm.assertTrue(!done, "refused");
        call[place] = 0x00;
        vm.prank(REGISTRAR);
        (done,) = address(registry).call(call);
        vm.assertTrue(done, "it was the place of the algorithm");
    }

    function testFuzz_a_point_off_the_curve_is_refused(uint256 x, uint256 y) public {
        Registration memory r = p256Device(KEY);
        r.details.publicKeyX = bytes32(x);
        r.details.publicKeyY = bytes32(y);
        r.device = address(uint160(uint256(keccak256(abi.encode(x, y)))));
        refuseSignature(r, signP256(KEY, digestOf(r)));
    }

    function test_no_owner_and_the_own_account_as_owner_are_refused() public {
        Registration memory r = secp256k1Device(KEY);
        r.owner = address(0);
        refuse(
            r,
            signShort(KEY, digestOf(r)),
            abi.encodeWithSelector(IERC721Errors.ERC721InvalidReceiver.selector, address(0))
        );
        r.owner = r.device;
        refuse(r, signShort(KEY, digestOf(r)), abi.encodeWithSelector(DeviceTokens.OwnershipCycle.selector, r.device));
        r.owner = registry.accountOf(r.device);
        refuse(r, signShort(KEY, digestOf(r)), abi.encodeWithSelector(DeviceTokens.OwnershipCycle.selector, r.device));
    }

    function test_a_uri_is_bounded() public {
        Registration memory r = secp256k1Device(KEY);
        r.details.documentURI = string(new bytes(1025));
        refuse(r, signShort(KEY, digestOf(r)), abi.encodeWithSelector(DocumentURITooLong.selector, 1025));
        r.details.documentURI = string(new bytes(1024));
        register(r, signShort(KEY, digestOf(r)));

        DocumentUpdate memory u = updateOf(r.device, 0);
        u.documentURI = string(new bytes(1025));
        Signature memory signature = signShort(KEY, digestOf(u));
        vm.expectRevert(abi.encodeWithSelector(DocumentURITooLong.selector, 1025));
        registry.updateDocument(u, r.details, signature);
    }

    function testFuzz_a_uri_is_ascii(uint256 length, uint256 place, uint8 other) public {
        bytes memory uri = new bytes(bound(length, 1, 1024));
        for (uint256 i = 0; i < uri.length; ++i) {
            uri[i] = 0x7f;
        }
        (Details[] memory devices, Signature[] memory signatures) = (new Details[](1), new Signature[](1));
        Registration memory r = secp256k1Device(KEY);
        Registration memory good = secp256k1Device(KEY);
        good.details.documentURI = string(bytes.concat(uri));
        DocumentUpdate memory u = updateOf(r.device, 0);
        uri[bound(place, 0, uri.length - 1)] = bytes1(other | 0x80);
        (r.details.documentURI, u.documentURI) = (string(uri), string(uri));
        bytes memory refusal = abi.encodeWithSelector(DocumentURINotASCII.selector);

        refuse(r, signShort(KEY, digestOf(r)), refusal);
        (devices[0], signatures[0]) = (r.details, signShort(KEY, digestOf(r)));
        vm.expectRevert(refusal);
        vm.prank(REGISTRAR);
        registry.registerBatch(OWNER, devices, signatures, DEADLINE);
        register(good, signShort(KEY, digestOf(good)));
        Signature memory signature = signShort(KEY, digestOf(u));
        vm.expectRevert(refusal);
        registry.updateDocument(u, good.details, signature);
    }

    /// @dev What lies behind the URI in calldata is the next argument and may have any bytes.
    function test_a_uri_ends_where_it_says() public {
        Registration memory r = secp256k1Device(KEY);
        r.details.documentURI = "a";
        bytes memory call = abi.encodeCall(registry.register, (r, signShort(KEY, digestOf(r))));
        for (uint256 i = call.length - 31; i < call.length; ++i) {
            call[i] = 0xff;
        }
        vm.prank(REGISTRAR);
        (bool done,) = address(registry).call(call);
        vm.assertTrue(done, "dirty padding");
    }

    function test_a_device_does_not_commit_to_the_key_that_it_has() public {
        Registration memory r = secp256k1Device(KEY);
        r.details.nextKeyHash = nextKeyHash(KEY);
        bytes memory refusal = abi.encodeWithSelector(DeviceRegistry.NextKeyIsLiveKey.selector, r.device);
        refuse(r, signShort(KEY, digestOf(r)), refusal);
        (Details[] memory devices, Signature[] memory signatures) = (new Details[](1), new Signature[](1));
        (devices[0], signatures[0]) = (r.details, signShort(KEY, digestOf(r)));
        vm.expectRevert(refusal);
        vm.prank(REGISTRAR);
        registry.registerBatch(OWNER, devices, signatures, DEADLINE);

        r = p256Device(KEY);
        r.details.nextKeyHash = keccak256(abi.encode(1, r.details.publicKeyX, r.details.publicKeyY));
        refusal = abi.encodeWithSelector(DeviceRegistry.NextKeyIsLiveKey.selector, r.device);
        refuse(r, signP256(KEY, digestOf(r)), refusal);
    }

    function testFuzz_one_hardware_has_one_identity(uint256 seed, bytes32 nullifier) public {
        vm.assume(nullifier != 0);
        uint256 key = keyFrom(seed);
        vm.assume(key != KEY);
        Registration memory first = secp256k1Device(KEY);
        first.details.nullifier = nullifier;
        register(first, signShort(KEY, digestOf(first)));
        Registration memory twin = secp256k1Device(key);
        twin.details.nullifier = nullifier;
        Signature memory signature = signShort(key, digestOf(twin));
        bytes memory refusal = abi.encodeWithSelector(DeviceTokens.HardwareAlreadyRegistered.selector, nullifier);
        refuse(twin, signature, refusal);
        vm.prank(OWNER);
        registry.revoke(first.device);
        refuse(twin, signature, refusal);
        vm.assertTrue(registry.verifyDetails(first.device, 0, first.details), "the first stays");
    }

    function test_hardware_without_a_nullifier_may_come_again() public {
        for (uint256 key = KEY; key < KEY + 2; ++key) {
            Registration memory r = secp256k1Device(key);
            r.details.nullifier = 0;
            register(r, signShort(key, digestOf(r)));
            vm.assertTrue(registry.verifyDetails(r.device, 0, r.details), "details");
        }
    }

    /// @dev Details lie where their nullifier says, so they have to bind whose they are.
    function testFuzz_nobody_passes_with_the_details_of_another(uint256 seed) public {
        uint256 key = keyFrom(seed);
        vm.assume(key != KEY);
        Registration memory victim = enroll(KEY);
        Registration memory thief = enroll(key);
        vm.assertTrue(!registry.verifyDetails(thief.device, 0, victim.details), "details of the victim");
        DocumentUpdate memory u = updateOf(thief.device, 0);
        Signature memory signature = signShort(KEY, digestOf(u));
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.DetailsMismatch.selector, thief.device));
        registry.updateDocument(u, victim.details, signature);
        // Nor does a nullifier that spells the victim's address reach what is stored under the address.
        Details memory spelled = victim.details;
        spelled.nullifier = bytes32(uint256(uint160(victim.device)));
        vm.assertTrue(!registry.verifyDetails(victim.device, 0, spelled), "spelled");
        spelled.nullifier = 0;
        vm.assertTrue(!registry.verifyDetails(victim.device, 0, spelled), "none");
    }

    // ---- batches

    function testFuzz_a_batch_registers_all(uint256 seed, uint256 size) public {
        size = bound(size, 0, 12);
        (Details[] memory devices, Signature[] memory signatures) = batch(seed, size);
        vm.prank(REGISTRAR);
        registry.registerBatch(OWNER, devices, signatures, DEADLINE);
        vm.assertEq(registry.deviceCount(), size, "count");
        vm.assertEq(registry.balanceOf(OWNER), size, "balance");
        for (uint256 i = 0; i < size; ++i) {
            address device = deviceOf(devices[i]);
            vm.assertTrue(registry.verifyDetails(device, 0, devices[i]), "details");
            vm.assertEq(registry.ownerOf(uint160(device)), OWNER, "owner");
            vm.assertEq(registry.accountOf(device).code.length, 0, "no account yet");
        }
    }

    function test_a_batch_logs_what_single_registrations_do() public {
        (Details[] memory devices, Signature[] memory signatures) = batch(1, 3);
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectEmit(address(registry));
            emit IERC721.Transfer(address(0), OWNER, uint160(deviceOf(devices[i])));
            vm.expectEmit(address(registry));
            emit DeviceRegistry.DeviceRegistered(deviceOf(devices[i]), devices[i]);
        }
        vm.prank(REGISTRAR);
        registry.registerBatch(OWNER, devices, signatures, DEADLINE);
    }

    function testFuzz_one_wrong_signature_stops_the_batch(uint256 seed, uint256 wrong) public {
        (Details[] memory devices, Signature[] memory signatures) = batch(seed, 5);
        wrong = bound(wrong, 0, 4);
        signatures[wrong] = signatures[(wrong + 1) % 5];
        bytes memory refusal =
            abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, deviceOf(devices[wrong]));
        refuseBatch(OWNER, devices, signatures, DEADLINE, refusal);
        vm.assertEq(registry.deviceCount(), 0, "count");
    }

    function testFuzz_a_batch_binds_owner_and_deadline(address owner, uint256 deadline) public {
        (Details[] memory devices, Signature[] memory signatures) = batch(1, 1);
        address device = deviceOf(devices[0]);
        vm.assume(owner != OWNER && owner != address(0) && owner != device && owner != registry.accountOf(device));
        deadline = bound(deadline, block.timestamp, DEADLINE - 1);
        bytes memory refusal = abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, device);
        refuseBatch(owner, devices, signatures, DEADLINE, refusal);
        refuseBatch(OWNER, devices, signatures, deadline, refusal);
        deadline = block.timestamp - 1;
        refusal = abi.encodeWithSelector(Delegations.SignatureExpired.selector, deadline);
        refuseBatch(OWNER, devices, signatures, deadline, refusal);
        refusal = abi.encodeWithSelector(IERC721Errors.ERC721InvalidReceiver.selector, address(0));
        refuseBatch(address(0), devices, signatures, DEADLINE, refusal);
    }

    function test_a_batch_needs_one_signature_each() public {
        (Details[] memory devices,) = batch(1, 3);
        bytes memory refusal = abi.encodeWithSelector(DeviceRegistry.LengthMismatch.selector, 3, 2);
        refuseBatch(OWNER, devices, new Signature[](2), DEADLINE, refusal);
    }

    function test_the_same_device_or_hardware_twice_stops_the_batch() public {
        (Details[] memory devices, Signature[] memory signatures) = batch(1, 2);
        bytes32 nullifier = devices[1].nullifier;
        (Details memory other, Signature memory signature) = (devices[1], signatures[1]);
        (devices[1], signatures[1]) = (devices[0], signatures[0]);
        bytes memory refusal = abi.encodeWithSelector(DeviceTokens.AlreadyRegistered.selector, deviceOf(devices[0]));
        refuseBatch(OWNER, devices, signatures, DEADLINE, refusal);

        Registration memory twin = secp256k1Device(KEY);
        twin.details.nullifier = nullifier;
        (devices[0], signatures[0]) = (other, signature);
        (devices[1], signatures[1]) = (twin.details, signShort(KEY, digestOf(twin)));
        refusal = abi.encodeWithSelector(DeviceTokens.HardwareAlreadyRegistered.selector, nullifier);
        refuseBatch(OWNER, devices, signatures, DEADLINE, refusal);
    }

    function test_anybody_creates_a_missing_account_once() public {
        (Details[] memory devices, Signature[] memory signatures) = batch(1, 1);
        vm.prank(REGISTRAR);
        registry.registerBatch(OWNER, devices, signatures, DEADLINE);
        address device = deviceOf(devices[0]);
        vm.prank(STRANGER);
        vm.assertEq(registry.createAccount(device), registry.accountOf(device), "address");
        vm.assertTrue(registry.accountOf(device).code.length != 0, "account exists");
        vm.assertEq(registry.createAccount(device), registry.accountOf(device), "again");
        refuseUnknown(abi.encodeCall(registry.createAccount, (STRANGER)));
    }

    // ---- documents

    function testFuzz_a_device_changes_its_document(bytes32 documentHash, string memory uri) public {
        vm.assume(bytes(uri).length <= 1024);
        for (uint256 i = 0; i < bytes(uri).length; ++i) {
            bytes(uri)[i] &= 0x7f;
        }
        Registration memory r = enroll(KEY);
        DocumentUpdate memory u = updateOf(r.device, 0);
        u.documentHash = documentHash;
        u.documentURI = uri;
        Signature memory signature = signShort(KEY, digestOf(u));
        Details memory next = secp256k1Device(KEY).details;
        next.documentHash = documentHash;
        next.documentURI = uri;

        vm.roll(2_000);
        vm.expectEmit(address(registry));
        emit DeviceRegistry.DocumentUpdated(r.device, next, 1, 1_000);
        vm.prank(STRANGER);
        registry.updateDocument(u, r.details, signature);
        vm.assertTrue(registry.verifyDetails(r.device, 1, next), "next details");
        vm.assertEq(registry.record(r.device).changedBlock, 2_000, "changed block");
        vm.assertEq(registry.record(r.device).generation, 0, "generation");
        vm.assertEq(registry.record(r.device).registeredAt, block.timestamp, "registered at");
    }

    function testFuzz_an_update_is_refused_with(uint256 which) public {
        Registration memory r = enroll(KEY);
        DocumentUpdate memory u = updateOf(r.device, 0);
        Signature memory signature = signShort(KEY, digestOf(u));
        bytes memory refusal = abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, r.device);
        which = bound(which, 0, 6);
        if (which == 0) u.documentHash = keccak256("other");
        if (which == 1) u.documentURI = "other";
        if (which == 2) u.deadline -= 1;
        if (which == 3) {
            u.nonce = 1;
            signature = signShort(KEY, digestOf(u));
            refusal = abi.encodeWithSelector(DeviceTokens.DetailsMismatch.selector, r.device);
        }
        if (which == 4) {
            vm.warp(u.deadline + 1);
            refusal = abi.encodeWithSelector(Delegations.SignatureExpired.selector, u.deadline);
        }
        if (which == 5) {
            r.details.evidenceHash = keccak256("better evidence");
            refusal = abi.encodeWithSelector(DeviceTokens.DetailsMismatch.selector, r.device);
        }
        if (which == 6) vm.chainId(4689);
        vm.expectRevert(refusal);
        registry.updateDocument(u, r.details, signature);
    }

    function test_an_update_is_not_accepted_twice() public {
        Registration memory r = enroll(KEY);
        DocumentUpdate memory u = updateOf(r.device, 0);
        Signature memory signature = signShort(KEY, digestOf(u));
        registry.updateDocument(u, r.details, signature);
        r.details.documentHash = u.documentHash;
        r.details.documentURI = u.documentURI;
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.DetailsMismatch.selector, r.device));
        registry.updateDocument(u, r.details, signature);
        u.nonce = 1;
        vm.expectRevert(abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, r.device));
        registry.updateDocument(u, r.details, signature);
    }

    function test_only_active_devices_change_their_document() public {
        Registration memory r = enroll(KEY);
        DocumentUpdate memory u = updateOf(r.device, 0);
        Signature memory signature = signShort(KEY, digestOf(u));
        vm.prank(REGISTRAR);
        registry.suspend(r.device);
        expectStatus(r.device, Status.Suspended);
        registry.updateDocument(u, r.details, signature);
        vm.prank(REGISTRAR);
        registry.revoke(r.device);
        expectStatus(r.device, Status.Revoked);
        registry.updateDocument(u, r.details, signature);

        u.device = STRANGER;
        refuseUnknown(abi.encodeCall(registry.updateDocument, (u, r.details, signature)));
    }

    // ---- status

    function test_suspend_resume_revoke() public {
        address device = enroll(KEY).device;
        vm.expectEmit(address(registry));
        emit DeviceTokens.StatusChanged(device, Status.Suspended);
        vm.prank(REGISTRAR);
        registry.suspend(device);
        vm.assertTrue(!registry.isActive(device), "suspended");
        vm.expectEmit(address(registry));
        emit DeviceTokens.StatusChanged(device, Status.Active);
        vm.prank(REGISTRAR);
        registry.resume(device);
        vm.assertTrue(registry.isActive(device), "resumed");
        vm.expectEmit(address(registry));
        emit DeviceTokens.StatusChanged(device, Status.Revoked);
        vm.prank(OWNER);
        registry.revoke(device);
        vm.assertTrue(!registry.isActive(device), "revoked");
        vm.assertEq(registry.ownerOf(uint160(device)), OWNER, "the token stays");
    }

    function test_status_changes_need_the_right_state() public {
        address device = enroll(KEY).device;
        vm.startPrank(REGISTRAR);
        expectStatus(device, Status.Active);
        registry.resume(device);
        registry.suspend(device);
        expectStatus(device, Status.Suspended);
        registry.suspend(device);
        registry.revoke(device);
        expectStatus(device, Status.Revoked);
        registry.suspend(device);
        expectStatus(device, Status.Revoked);
        registry.resume(device);
        expectStatus(device, Status.Revoked);
        registry.revoke(device);
        vm.stopPrank();
    }

    function test_status_changes_need_a_device() public {
        vm.startPrank(REGISTRAR);
        refuseUnknown(abi.encodeCall(registry.suspend, (STRANGER)));
        refuseUnknown(abi.encodeCall(registry.resume, (STRANGER)));
        refuseUnknown(abi.encodeCall(registry.revoke, (STRANGER)));
        vm.stopPrank();
    }

    function testFuzz_status_changes_need_the_right_caller(address caller) public {
        vm.assume(caller != REGISTRAR && caller != OWNER);
        address device = enroll(KEY).device;
        bytes memory refusal = abi.encodeWithSelector(
            IAccessControl.AccessControlUnauthorizedAccount.selector, caller, registry.REGISTRAR_ROLE()
        );
        vm.startPrank(caller);
        vm.expectRevert(refusal);
        registry.suspend(device);
        vm.expectRevert(refusal);
        registry.resume(device);
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.NotOwnerOrRegistrar.selector, device, caller));
        registry.revoke(device);
        vm.stopPrank();

        vm.prank(OWNER);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        registry.suspend(device);
    }

    // ---- ownership

    function testFuzz_the_owner_moves_the_token(address to) public {
        address device = enroll(KEY).device;
        vm.assume(to != address(0) && to != device && to != registry.accountOf(device) && to != OWNER);
        uint256 tokenId = uint160(device);
        vm.prank(OWNER);
        registry.approve(STRANGER, tokenId);
        vm.expectEmit(address(registry));
        emit IERC721.Transfer(OWNER, to, tokenId);
        vm.prank(OWNER);
        registry.transferFrom(OWNER, to, tokenId);

        vm.assertEq(registry.record(device).owner, to, "owner");
        vm.assertEq(registry.balanceOf(OWNER), 0, "balance of the old owner");
        vm.assertEq(registry.balanceOf(to), 1, "balance of the new owner");
        vm.assertEq(registry.getApproved(tokenId), address(0), "approval is gone");
        vm.expectRevert(abi.encodeWithSelector(DeviceRegistry.NotOwnerOrRegistrar.selector, device, OWNER));
        vm.prank(OWNER);
        registry.revoke(device);
    }

    function testFuzz_nobody_else_moves_the_token(address caller) public {
        vm.assume(caller != OWNER && caller != address(0));
        uint256 tokenId = uint160(enroll(KEY).device);
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721InsufficientApproval.selector, caller, tokenId));
        vm.prank(caller);
        registry.transferFrom(OWNER, caller, tokenId);
    }

    function test_an_approved_operator_moves_the_token_once() public {
        uint256 tokenId = uint160(enroll(KEY).device);
        vm.prank(OWNER);
        registry.approve(STRANGER, tokenId);
        vm.prank(STRANGER);
        registry.transferFrom(OWNER, ADMIN, tokenId);
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721InsufficientApproval.selector, STRANGER, tokenId));
        vm.prank(STRANGER);
        registry.transferFrom(ADMIN, STRANGER, tokenId);
    }

    function test_a_transfer_to_oneself_changes_nothing() public {
        address device = enroll(KEY).device;
        vm.prank(OWNER);
        registry.transferFrom(OWNER, OWNER, uint160(device));
        vm.assertEq(registry.balanceOf(OWNER), 1, "balance");
        vm.assertEq(registry.record(device).owner, OWNER, "owner");
    }

    function test_a_token_never_goes_to_zero_nor_to_its_own_account() public {
        address device = enroll(KEY).device;
        address account = registry.accountOf(device);
        vm.startPrank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721InvalidReceiver.selector, address(0)));
        registry.transferFrom(OWNER, address(0), uint160(device));
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.OwnershipCycle.selector, device));
        registry.transferFrom(OWNER, account, uint160(device));
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.OwnershipCycle.selector, device));
        registry.transferFrom(OWNER, device, uint160(device));
        vm.stopPrank();
    }

    /// @dev Token ids are 256 bits, devices 160: an id with higher bits set must not stand for a device.
    function testFuzz_a_longer_token_id_is_no_device(uint256 high) public {
        address device = enroll(KEY).device;
        uint256 tokenId = uint256(uint160(device)) | bound(high, 1, type(uint96).max) << 160;
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, tokenId));
        registry.ownerOf(tokenId);
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, tokenId));
        vm.prank(OWNER);
        registry.transferFrom(OWNER, STRANGER, tokenId);
    }

    function test_the_zero_address_has_no_balance() public {
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721InvalidOwner.selector, address(0)));
        registry.balanceOf(address(0));
    }

    // ---- views and construction

    function test_an_unknown_device_is_empty() public view {
        Details memory none;
        vm.assertEq(uint256(registry.record(STRANGER).status), uint256(Status.None), "status");
        vm.assertTrue(!registry.isActive(STRANGER), "active");
        vm.assertTrue(!registry.verifyDetails(STRANGER, 0, none), "details");
    }

    function test_the_did_is_lower_case() public view {
        vm.assertEq(
            registry.did(0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed),
            "did:io:0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "did"
        );
    }

    function testFuzz_the_account_is_where_the_6551_registry_puts_it(address device) public view {
        vm.assertEq(
            registry.accountOf(device),
            accountRegistry.account(
                address(accountImplementation), 0, block.chainid, address(registry), uint160(device)
            ),
            "account"
        );
    }

    function test_the_types_are_those_that_wallets_hash() public pure {
        // The same struct hashed by alloy's sol!: P-256, all words zero, "ipfs://x".
        Details memory details;
        details.algorithm = KeyAlgorithm.P256;
        details.documentURI = "ipfs://x";
        vm.assertEq(
            detailsHash(details), 0xe181d0bbe28a3a066da6a8debc92a694b7ba7fb35588993f365b03d42eeb7db9, "known answer"
        );
    }

    function test_it_says_what_it_supports() public view {
        vm.assertTrue(registry.supportsInterface(0x80ac58cd), "ERC-721");
        vm.assertTrue(registry.supportsInterface(0x5b5e139f), "ERC-721 metadata");
        vm.assertTrue(registry.supportsInterface(0x7965db0b), "access control");
        vm.assertTrue(!registry.supportsInterface(0xffffffff), "the invalid id");
    }

    function test_a_registry_needs_contracts_for_accounts() public {
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.NotAContract.selector, STRANGER));
        new DeviceRegistry("S", "S", ADMIN, IERC6551Registry(STRANGER), address(accountImplementation));
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.NotAContract.selector, STRANGER));
        new DeviceRegistry("S", "S", ADMIN, IERC6551Registry(address(accountRegistry)), STRANGER);
    }

    // ---- helpers

    function register(Registration memory r, Signature memory signature) private {
        vm.prank(REGISTRAR);
        registry.register(r, signature);
    }

    function refuse(Registration memory r, Signature memory signature, bytes memory refusal) private {
        vm.prank(REGISTRAR);
        vm.expectRevert(refusal);
        registry.register(r, signature);
    }

    function refuseSignature(Registration memory r, Signature memory signature) private {
        refuse(r, signature, abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, r.device));
    }

    function expectStatus(address device, Status status) private {
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.InvalidStatus.selector, device, status));
    }

    function refuseUnknown(bytes memory call) private {
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.UnknownDevice.selector, STRANGER));
        (bool reverted,) = address(registry).call(call);
        vm.assertTrue(reverted, "the expected revert");
    }

    function refuseBatch(
        address owner,
        Details[] memory devices,
        Signature[] memory signatures,
        uint256 deadline,
        bytes memory refusal
    ) private {
        vm.prank(REGISTRAR);
        vm.expectRevert(refusal);
        registry.registerBatch(owner, devices, signatures, deadline);
    }

    function batch(uint256 seed, uint256 size)
        private
        returns (Details[] memory devices, Signature[] memory signatures)
    {
        devices = new Details[](size);
        signatures = new Signature[](size);
        for (uint256 i = 0; i < size; ++i) {
            uint256 key = keyFrom(uint256(keccak256(abi.encode(seed, i))));
            Registration memory r = secp256k1Device(key);
            (devices[i], signatures[i]) = (r.details, signShort(key, digestOf(r)));
        }
    }
}
