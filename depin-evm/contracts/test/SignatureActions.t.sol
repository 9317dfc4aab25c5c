// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {
    Delegation,
    DelegationRevocation,
    DocumentUpdate,
    OwnershipTransfer,
    Registration,
    Revocation,
    Rotation
} from "../src/registry/Actions.sol";
import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {Details, Signature} from "../src/registry/Details.sol";
import {Fleet} from "./Fleet.sol";

/// @dev An owner by ERC-1271 whose signatures are those of a key.
contract KeyOwner {
    address private immutable signer;

    constructor(address signer_) {
        signer = signer_;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        bool valid = ECDSA.recoverCalldata(digest, signature) == signer;
        return valid ? this.isValidSignature.selector : bytes4(0);
    }
}

/// @dev No signature made for one action is accepted by another. To make it as easy as can be for an attacker, one key
/// is everything: live key, committed next key, owner of the device, and who delegates.
contract SignatureActionsTest is Fleet {
    uint256 private constant KEY = 0xD1CE;
    uint256 private constant FRESH = 0xF2E54;
    uint256 private constant ACTIONS = 7;

    Details private details;
    address private device;
    address private owner;

    function setUp() public {
        deployRegistry();
        // Neither may the owner be the address of the device's key, so he is a contract that accepts its signatures,
        owner = address(new KeyOwner(vm.addr(KEY)));
        Registration memory r = secp256k1Device(FRESH);
        r.owner = owner;
        r.details.nextKeyHash = nextKeyHash(KEY);
        Signature memory consent = signShort(FRESH, digestOf(r));
        vm.prank(REGISTRAR);
        registry.register(r, consent);
        Rotation memory rotation = rotationTo(r.device, KEY, keccak256("another"), 0);
        registry.rotate(rotation, 0, r.details, signShort(KEY, digestOf(rotation)));
        (device, details) = (r.device, rotated(r.details, rotation));
        // nor may a device commit to its live key, so that is written to where its commitment is stored.
        bytes32 stored = registry.commitment(device, details.nullifier);
        details.nextKeyHash = nextKeyHash(KEY);
        for (uint256 slot = 0; slot < 32; ++slot) {
            bytes32 place = keccak256(abi.encode(details.nullifier, slot));
            if (vm.load(address(registry), place) != stored) continue;
            vm.store(address(registry), place, commitmentOf(device, 1, details));
        }
        vm.assertTrue(registry.verifyDetails(device, 1, details), "one key is everything");
    }

    function testFuzz_no_signature_of_one_action_is_accepted_by_another(
        uint256 signed,
        uint256 used,
        bytes32 word,
        uint64 number
    ) public {
        signed = bound(signed, 0, ACTIONS - 1);
        used = bound(used, 0, ACTIONS - 1);
        (bytes32 digest,) = action(signed, word, number, Signature(0, 0), "");
        (bytes memory long, Signature memory short) = (sign(KEY, digest), signShort(KEY, digest));
        (, bytes memory call) = action(used, word, number, short, long);
        vm.prank(REGISTRAR);
        (bool done,) = address(registry).call(call);
        vm.assertTrue(done == (signed == used), "accepted by its own action and by no other");
    }

    function test_every_pair_of_actions() public {
        for (uint256 signed = 0; signed < ACTIONS; ++signed) {
            for (uint256 used = 0; used < ACTIONS; ++used) {
                uint256 snapshot = vm.snapshotState();
                testFuzz_no_signature_of_one_action_is_accepted_by_another(signed, used, keccak256("word"), 7);
                vm.revertToState(snapshot);
            }
        }
    }

    /// @dev The digest of an action with the given arguments, and the call that uses a signature for it.
    function action(uint256 which, bytes32 word, uint64 number, Signature memory short, bytes memory long)
        private
        returns (bytes32 digest, bytes memory call)
    {
        uint256 deadline = block.timestamp + number;
        if (which == 0) {
            Registration memory r = secp256k1Device(KEY);
            (r.owner, r.deadline, r.details.documentHash) = (OWNER, deadline, word);
            digest = digestOf(r);
            call = abi.encodeCall(DeviceRegistry.register, (r, short));
        } else if (which == 1) {
            DocumentUpdate memory u = DocumentUpdate(device, word, "", 1, deadline);
            digest = digestOf(u);
            call = abi.encodeCall(DeviceRegistry.updateDocument, (u, details, short));
        } else if (which == 2) {
            Rotation memory r = rotationTo(device, KEY, word, 1);
            r.deadline = deadline;
            digest = digestOf(r);
            call = abi.encodeCall(DeviceRegistry.rotate, (r, 1, details, short));
        } else if (which == 3) {
            OwnershipTransfer memory t = OwnershipTransfer(device, owner, OWNER, 1, deadline);
            digest = digestOf(t);
            call = abi.encodeCall(DeviceRegistry.transferWithSignature, (t, long));
        } else if (which == 4) {
            Revocation memory r = Revocation(device, 1, deadline);
            digest = digestOf(r);
            call = abi.encodeCall(DeviceRegistry.revokeWithSignature, (r, long));
        } else if (which == 5) {
            // By the device's key, or by the owner's.
            bool byDevice = number % 2 == 0;
            DelegationRevocation memory r = DelegationRevocation(device, byDevice ? device : owner, word, 1, deadline);
            digest = digestOf(r);
            bytes memory signature = byDevice ? abi.encode(short) : long;
            call = abi.encodeWithSelector(registry.revokeDelegationWithSignature.selector, r, 1, details, signature);
        } else {
            Delegation[] memory chain = new Delegation[](1);
            bytes[] memory signatures = new bytes[](1);
            chain[0] = Delegation(device, owner, STRANGER, number, 0, type(uint64).max, 0, 1);
            signatures[0] = long;
            digest = digestOf(chain[0]);
            call = abi.encodeWithSelector(registry.verifyDelegation.selector, chain, signatures, 1, details);
        }
    }
}

/// @dev A thief with the live key and everything that was ever sent: whatever he does, in whatever order, the device
/// keeps its owner and its committed next key, and that key still ends the theft.
contract StolenKeyTest is Fleet {
    uint256 private constant LIVE = 0xD1CE;
    uint256 private constant NEXT = 0x0E77;
    uint256 private constant THIEF = 0x7415EF;
    uint256 private constant MOVES = 9;

    Details private details;
    address private device;
    uint256 private version;

    function setUp() public {
        deployRegistry();
        Registration memory r = enrollWithNext(LIVE, NEXT);
        (device, details) = (r.device, r.details);
    }

    /// @dev All sequences of four moves that are accepted, as a walk over a tree.
    function test_no_four_moves_with_the_live_key_change_control() public {
        explore(4);
    }

    function explore(uint256 depth) private {
        control();
        if (depth == 0) return;
        for (uint256 which = 0; which < MOVES; ++which) {
            uint256 snapshot = vm.snapshotState();
            (Details memory before, uint256 versionBefore) = (details, version);
            // A move that was refused leads nowhere new.
            if (move(which)) explore(depth - 1);
            vm.revertToState(snapshot);
            (details, version) = (before, versionBefore);
        }
    }

    function control() private {
        vm.assertEq(registry.ownerOf(uint160(device)), OWNER, "the owner stays");
        vm.assertEq(registry.record(device).generation, 0, "nothing changed control");
        vm.assertEq(details.nextKeyHash, nextKeyHash(NEXT), "the commitment stays");
        vm.assertTrue(registry.verifyDetails(device, version, details), "these are the details");
        uint256 snapshot = vm.snapshotState();
        Rotation memory rotation = rotationTo(device, NEXT, 0, 0);
        registry.rotate(rotation, version, details, signShort(NEXT, digestOf(rotation)));
        vm.assertEq(registry.record(device).generation, 1, "the next key takes over");
        vm.revertToState(snapshot);
    }

    /// @dev What the thief tries, with fresh nonces. Whether it was accepted.
    function move(uint256 which) private returns (bool done) {
        address thief = vm.addr(THIEF);
        vm.startPrank(device);
        if (which == 0) {
            DocumentUpdate memory u = updateOf(device, version);
            (done,) = address(registry)
                .call(abi.encodeCall(DeviceRegistry.updateDocument, (u, details, signShort(LIVE, digestOf(u)))));
            vm.assertTrue(done, "the document is the live key's");
            (details.documentHash, details.documentURI) = (u.documentHash, u.documentURI);
            ++version;
        } else if (which < 3) {
            Rotation memory r = rotationTo(device, which == 1 ? THIEF : NEXT, nextKeyHash(THIEF), 0);
            Signature memory signature = signShort(which == 1 ? THIEF : LIVE, digestOf(r));
            (done,) = address(registry).call(abi.encodeCall(DeviceRegistry.rotate, (r, version, details, signature)));
            vm.assertTrue(!done, "no rotation");
        } else if (which == 3) {
            OwnershipTransfer memory t = OwnershipTransfer(device, OWNER, thief, 0, DEADLINE);
            (done,) = address(registry)
                .call(abi.encodeCall(DeviceRegistry.transferWithSignature, (t, sign(LIVE, digestOf(t)))));
            vm.assertTrue(!done, "no sale");
        } else if (which == 4) {
            (done,) = address(registry)
                .call(abi.encodeWithSignature("transferFrom(address,address,uint256)", OWNER, thief, uint160(device)));
            vm.assertTrue(!done, "no transfer");
        } else if (which == 5) {
            Revocation memory r = Revocation(device, 0, DEADLINE);
            (done,) = address(registry)
                .call(abi.encodeCall(DeviceRegistry.revokeWithSignature, (r, sign(LIVE, digestOf(r)))));
            vm.assertTrue(!done, "no end");
        } else if (which == 6) {
            (done,) = address(registry).call(abi.encodeCall(DeviceRegistry.revoke, (device)));
            vm.assertTrue(!done, "no end");
        } else if (which == 7) {
            // Taking back delegations of the device is the live key's.
            DelegationRevocation memory r = DelegationRevocation(device, device, keccak256("delegation"), 0, DEADLINE);
            bytes memory signature = abi.encode(signShort(LIVE, digestOf(r)));
            (done,) = address(registry)
                .call(
                    abi.encodeWithSelector(
                        registry.revokeDelegationWithSignature.selector, r, version, details, signature
                    )
                );
        } else {
            (done,) = address(registry).call(abi.encodeCall(registry.revokeDelegation, (keccak256("delegation"))));
        }
        vm.stopPrank();
    }
}
