// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Delegation, DelegationRevocation, Registration, Rotation} from "../src/registry/Actions.sol";
import {DelegationFault, Delegations} from "../src/registry/Delegations.sol";
import {Details, Signature} from "../src/registry/Details.sol";
import {DeviceTokens, Status} from "../src/registry/DeviceTokens.sol";
import {Fleet} from "./Fleet.sol";

/// @dev Owner, device, operator, and the operator's helper.
contract DelegationsTest is Fleet {
    uint256 private constant KEY = 0xD1CE;
    uint256 private constant NEXT = 0x0E77;
    uint256 private constant OPERATOR = 0x09E2;
    uint256 private constant HELPER = 0x4E19E2;
    uint64 private constant DELEGATE = 1 << 4;
    uint64 private constant OPERATE = 1 << 3;
    uint64 private constant CLAIM = 1 << 2;

    Details private details;
    address private device;

    function setUp() public {
        deployRegistry();
        Registration memory r = enrollWithNext(KEY, NEXT);
        (details, device) = (r.details, r.device);
    }

    function test_a_chain_from_owner_to_device_to_operator_holds() public view {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        (address subject, uint64 scopes) = registry.verifyDelegation(chain, signatures, 0, details);
        vm.assertEq(subject, vm.addr(HELPER), "subject");
        vm.assertEq(scopes, OPERATE, "scopes");
    }

    function test_an_owner_delegates_to_an_operator_without_the_device() public view {
        (Delegation[] memory chain, bytes[] memory signatures) = links(1);
        chain[0] = link(OWNER, vm.addr(OPERATOR), OPERATE, 0);
        signatures[0] = sign(FLEET_OWNER_KEY, digestOf(chain[0]));
        Details memory none;
        (address subject,) = registry.verifyDelegation(chain, signatures, 7, none);
        vm.assertEq(subject, vm.addr(OPERATOR), "the details are not needed");
    }

    function test_a_p256_device_delegates() public {
        Registration memory r = p256Device(KEY);
        Signature memory consent = signP256(KEY, digestOf(r));
        vm.prank(REGISTRAR);
        registry.register(r, consent);
        (details, device) = (r.details, r.device);
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        Signature memory signature = signP256(KEY, digestOf(chain[1]));
        signatures[1] = abi.encode(signature);
        (address subject,) = registry.verifyDelegation(chain, signatures, 0, details);
        vm.assertEq(subject, vm.addr(HELPER), "subject");
    }

    function testFuzz_rights_only_shrink(uint64 first, uint64 second, uint64 third) public {
        (Delegation[] memory chain, bytes[] memory signatures) = links(3);
        chain[0] = link(OWNER, device, first, 0);
        chain[1] = link(device, vm.addr(OPERATOR), second, hashOf(chain[0]));
        chain[2] = link(vm.addr(OPERATOR), vm.addr(HELPER), third, hashOf(chain[1]));
        resign(chain, signatures);
        bool holds = false;
        if (first & DELEGATE == 0) expect(1, DelegationFault.MayNotDelegate);
        else if (second & ~first != 0) expect(1, DelegationFault.Attenuation);
        else if (second & DELEGATE == 0) expect(2, DelegationFault.MayNotDelegate);
        else if (third & ~second != 0) expect(2, DelegationFault.Attenuation);
        else holds = true;
        (, uint64 scopes) = registry.verifyDelegation(chain, signatures, 0, details);
        vm.assertEq(scopes, holds ? third : 0, "scopes");
    }

    function testFuzz_a_part_of_what_one_may_pass_on_holds(uint64 first, uint64 second, uint64 third) public {
        first |= DELEGATE;
        second = second & first | DELEGATE;
        testFuzz_rights_only_shrink(first, second, third & second);
    }

    function testFuzz_time_only_shrinks(uint64 from, uint64 until) public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        (chain[2].notBefore, chain[2].expiry) = (from, until);
        resign(chain, signatures);
        bool within = from >= chain[1].notBefore && until <= chain[1].expiry;
        if (!within) expect(2, DelegationFault.Attenuation);
        else if (block.timestamp < from || block.timestamp >= until) expect(2, DelegationFault.Time);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    function test_a_delegation_counts_from_its_first_second_until_before_its_last() public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        vm.warp(chain[0].notBefore);
        registry.verifyDelegation(chain, signatures, 0, details);
        vm.warp(chain[0].notBefore - 1);
        expect(0, DelegationFault.Time);
        registry.verifyDelegation(chain, signatures, 0, details);
        vm.warp(chain[0].expiry - 1);
        registry.verifyDelegation(chain, signatures, 0, details);
        vm.warp(chain[0].expiry);
        expect(0, DelegationFault.Time);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    function testFuzz_every_link_is_bound_to_the_one_before(uint256 which, uint256 place) public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        place = bound(place, 0, 2);
        which = bound(which, 0, 3);
        DelegationFault fault;
        if (which == 0) (chain[place].parent, fault) = (keccak256("other"), DelegationFault.Parent);
        if (which == 1) (chain[place].issuer, fault) = (STRANGER, DelegationFault.Issuer);
        if (which == 2) (chain[place].nonce, fault) = (1, DelegationFault.Device);
        if (which == 3) {
            place = bound(place, 1, 2);
            (chain[place].device, fault) = (STRANGER, DelegationFault.Device);
        }
        expect(place, fault);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    function testFuzz_every_link_is_signed_by_its_issuer(uint256 place, uint256 seed) public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        place = bound(place, 0, 2);
        uint256 thief = keyFrom(seed);
        vm.assume(thief != KEY && thief != FLEET_OWNER_KEY && thief != OPERATOR);
        signatures[place] =
            place == 1 ? abi.encode(signShort(thief, digestOf(chain[place]))) : sign(thief, digestOf(chain[place]));
        expect(place, DelegationFault.Signature);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    function testFuzz_signatures_of_any_shape_are_refused(bytes memory signature, uint256 place) public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        place = bound(place, 0, 2);
        signatures[place] = signature;
        expect(place, DelegationFault.Signature);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    function test_a_chain_has_one_to_eight_links_and_as_many_signatures() public {
        (Delegation[] memory chain, bytes[] memory signatures) = links(0);
        expect(0, DelegationFault.Length);
        registry.verifyDelegation(chain, signatures, 0, details);
        (chain, signatures) = links(9);
        expect(0, DelegationFault.Length);
        registry.verifyDelegation(chain, signatures, 0, details);
        (chain,) = three();
        expect(0, DelegationFault.Length);
        registry.verifyDelegation(chain, new bytes[](2), 0, details);
    }

    function test_it_holds_on_one_chain_and_contract_only() public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        vm.chainId(4689);
        expect(0, DelegationFault.Signature);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    // ---- the end of a delegation

    function test_selling_the_device_ends_what_was_delegated_for_ever() public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        vm.prank(OWNER);
        registry.transferFrom(OWNER, STRANGER, uint160(device));
        expect(0, DelegationFault.Device);
        registry.verifyDelegation(chain, signatures, 0, details);
        vm.prank(STRANGER);
        registry.transferFrom(STRANGER, OWNER, uint160(device));
        expect(0, DelegationFault.Device);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    function test_a_rotation_ends_what_was_delegated() public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        Rotation memory rotation = rotationTo(device, NEXT, 0, 0);
        registry.rotate(rotation, 0, details, signShort(NEXT, digestOf(rotation)));
        Details memory current = rotated(details, rotation);
        expect(0, DelegationFault.Device);
        registry.verifyDelegation(chain, signatures, 1, current);

        // The old key signs for the new generation, in vain; the new one does.
        for (uint256 i = 0; i < 3; ++i) {
            chain[i].nonce = 1;
        }
        resign(chain, signatures);
        expect(1, DelegationFault.Signature);
        registry.verifyDelegation(chain, signatures, 1, current);
        signatures[1] = abi.encode(signShort(NEXT, digestOf(chain[1])));
        registry.verifyDelegation(chain, signatures, 1, current);
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.DetailsMismatch.selector, device));
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    function test_a_suspended_device_delegates_nothing_until_it_is_resumed() public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        vm.prank(REGISTRAR);
        registry.suspend(device);
        vm.expectRevert(abi.encodeWithSelector(DeviceTokens.InvalidStatus.selector, device, Status.Suspended));
        registry.verifyDelegation(chain, signatures, 0, details);
        vm.prank(REGISTRAR);
        registry.resume(device);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    function testFuzz_issuer_and_owner_take_back(uint256 place, bool byOwner) public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        place = bound(place, 0, 2);
        if (place == 1) byOwner = true;
        vm.expectEmit(address(registry));
        emit Delegations.DelegationRevoked(byOwner ? OWNER : chain[place].issuer, hashOf(chain[place]));
        vm.prank(byOwner ? OWNER : chain[place].issuer);
        registry.revokeDelegation(hashOf(chain[place]));
        expect(place, DelegationFault.Revoked);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    /// @dev The device's address is the account of its first key. Whoever steals that key must not be able to take
    /// back what the device delegates with its next one.
    function testFuzz_nobody_else_takes_back(address other) public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        vm.assume(other != OWNER && other != vm.addr(OPERATOR));
        vm.startPrank(other);
        for (uint256 i = 0; i < 3; ++i) {
            registry.revokeDelegation(hashOf(chain[i]));
        }
        vm.stopPrank();
        vm.prank(device);
        registry.revokeDelegation(hashOf(chain[1]));
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    function testFuzz_a_signed_revocation_binds_every_argument(uint256 which) public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        DelegationRevocation memory r = DelegationRevocation(device, device, hashOf(chain[1]), 0, DEADLINE);
        bytes memory signature = abi.encode(signShort(KEY, digestOf(r)));
        bytes memory refusal = abi.encodeWithSelector(Delegations.InvalidDeviceSignature.selector, device);
        which = bound(which, 0, 6);
        if (which == 0) r.delegation = hashOf(chain[2]);
        if (which == 1) r.deadline -= 1;
        if (which == 2) vm.chainId(4689);
        if (which == 3) {
            r.nonce = 1;
            refusal = abi.encodeWithSelector(Delegations.InvalidNonce.selector, device, 0);
        }
        if (which == 4) {
            vm.warp(r.deadline + 1);
            refusal = abi.encodeWithSelector(Delegations.SignatureExpired.selector, r.deadline);
        }
        if (which == 5) {
            r.revoker = OWNER;
            refusal = abi.encodeWithSelector(Delegations.InvalidSignature.selector, OWNER);
        }
        if (which == 6) signature = sign(KEY, digestOf(r));
        vm.expectRevert(refusal);
        registry.revokeDelegationWithSignature(r, 0, details, signature);
        if (which < 6) return;
        registry.revokeDelegationWithSignature(r, 0, details, abi.encode(signShort(KEY, digestOf(r))));
        expect(1, DelegationFault.Revoked);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    function test_an_owner_takes_back_by_signature() public {
        (Delegation[] memory chain, bytes[] memory signatures) = three();
        DelegationRevocation memory r = DelegationRevocation(device, OWNER, hashOf(chain[2]), 0, DEADLINE);
        Details memory none;
        registry.revokeDelegationWithSignature(r, 0, none, sign(FLEET_OWNER_KEY, digestOf(r)));
        expect(2, DelegationFault.Revoked);
        registry.verifyDelegation(chain, signatures, 0, details);
    }

    // ---- helpers

    function expect(uint256 index, DelegationFault fault) private {
        vm.expectRevert(abi.encodeWithSelector(Delegations.InvalidDelegation.selector, index, fault));
    }

    function links(uint256 count) private pure returns (Delegation[] memory, bytes[] memory) {
        return (new Delegation[](count), new bytes[](count));
    }

    function link(address issuer, address subject, uint64 scopes, bytes32 parent)
        private
        view
        returns (Delegation memory)
    {
        return Delegation(device, issuer, subject, scopes, 1_799_999_000, 1_800_001_000, parent, 0);
    }

    function three() private view returns (Delegation[] memory chain, bytes[] memory signatures) {
        (chain, signatures) = links(3);
        chain[0] = link(OWNER, device, OPERATE | CLAIM | DELEGATE, 0);
        chain[1] = link(device, vm.addr(OPERATOR), OPERATE | DELEGATE, hashOf(chain[0]));
        chain[2] = link(vm.addr(OPERATOR), vm.addr(HELPER), OPERATE, hashOf(chain[1]));
        resign(chain, signatures);
    }

    /// @dev Signs again what was changed, with each parent as it is now.
    function resign(Delegation[] memory chain, bytes[] memory signatures) private view {
        chain[1].parent = hashOf(chain[0]);
        chain[2].parent = hashOf(chain[1]);
        signatures[0] = sign(FLEET_OWNER_KEY, digestOf(chain[0]));
        signatures[1] = abi.encode(signShort(KEY, digestOf(chain[1])));
        signatures[2] = sign(OPERATOR, digestOf(chain[2]));
    }
}
