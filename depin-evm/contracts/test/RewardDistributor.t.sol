// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {EpochRoots, RootRules, TokenSource} from "../src/rewards/EpochRoots.sol";
import {Test} from "./Base.sol";
import {RewardTree} from "./RewardTree.sol";

contract RewardDistributorTest is Test {
    using RewardTree for bytes32[];
    using RewardTree for RewardTree.Leaf[];

    uint256 private constant CAP = 1_000_000e18;
    bytes32 private constant LOG_ROOT = keccak256("log");
    address private constant ALICE = address(0xA11CE);
    address private constant BOB = address(0xB0B);
    address private constant STRANGER = address(0x5EED);

    NetworkToken private token;
    RewardDistributor private distributor;

    function setUp() public {
        token = new NetworkToken("Weather", "WTR", CAP, address(this));
        distributor = new RewardDistributor(token, TokenSource(address(token)), RootRules(0, 0, 0, 0), address(this));
        token.grantRole(token.MINTER_ROLE(), address(distributor));
        distributor.grantRole(distributor.PUBLISHER_ROLE(), address(this));
    }

    function test_the_test_tree_has_the_root_of_the_javascript_library() public pure {
        // The example in the README of @openzeppelin/merkle-tree.
        RewardTree.Leaf[] memory leaves = new RewardTree.Leaf[](2);
        leaves[0] = RewardTree.Leaf(0x1111111111111111111111111111111111111111, 5e18);
        leaves[1] = RewardTree.Leaf(0x2222222222222222222222222222222222222222, 25e17);
        vm.assertEq(leaves.build()[0], 0xd4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77, "root");
    }

    function testFuzz_everybody_is_paid_exactly_once(uint256 seed, uint256 count) public {
        RewardTree.Leaf[] memory leaves = someLeaves(seed, bound(count, 1, 40));
        bytes32[] memory nodes = leaves.build();
        uint256 total = sum(leaves);
        vm.expectEmit(address(distributor));
        emit EpochRoots.EpochPublished(7, nodes[0], LOG_ROOT, total, total);
        distributor.publish(7, nodes[0], total, LOG_ROOT);
        vm.assertEq(token.balanceOf(address(distributor)), total, "emission is issued at publication");

        for (uint256 i = 0; i < leaves.length; ++i) {
            (address account, uint256 cumulative) = (leaves[i].account, leaves[i].cumulative);
            bytes32[] memory proof = nodes.proof(leaves[i]);
            vm.expectEmit(address(distributor));
            emit RewardDistributor.Claimed(account, cumulative, cumulative);
            vm.prank(STRANGER);
            vm.assertEq(distributor.claim(account, cumulative, proof), cumulative, "amount");
            vm.assertEq(token.balanceOf(account), cumulative, "balance");
            vm.assertEq(distributor.claimed(account), cumulative, "claimed");
            vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingToClaim.selector, account, cumulative));
            distributor.claim(account, cumulative, proof);
        }
        vm.assertEq(token.balanceOf(address(distributor)), 0, "nothing is left");
    }

    function testFuzz_a_later_claim_pays_the_difference(uint256 first, uint256 second) public {
        first = bound(first, 1, CAP / 2);
        second = bound(second, first + 1, CAP);
        publishSingle(0, ALICE, first);
        distributor.claim(ALICE, first, new bytes32[](0));
        publishSingle(1, ALICE, second);
        vm.assertEq(distributor.claim(ALICE, second, new bytes32[](0)), second - first, "difference");
        vm.assertEq(token.balanceOf(ALICE), second, "balance");
        vm.assertEq(distributor.cumulativeTotal(), second, "total");
    }

    function test_one_claim_serves_many_epochs() public {
        for (uint64 epoch = 0; epoch < 5; ++epoch) {
            publishSingle(epoch, ALICE, 100 * (epoch + 1));
        }
        vm.assertEq(distributor.claim(ALICE, 500, new bytes32[](0)), 500, "amount");
    }

    function test_epochs_are_kept_for_audits() public {
        publishSingle(0, ALICE, 1);
        publishSingle(3, ALICE, 2);
        vm.assertEq(distributor.epochRoot(0), rootOf(ALICE, 1), "first root");
        vm.assertEq(distributor.epochRoot(3), rootOf(ALICE, 2), "second root");
        vm.assertEq(distributor.latestEpoch(), 3, "latest");
        vm.assertEq(distributor.epochCount(), 2, "count");
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.UnknownEpoch.selector, 2));
        distributor.epochRoot(2);
    }

    function test_before_the_first_epoch_there_is_nothing() public {
        vm.assertEq(distributor.epochCount(), 0, "count");
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.UnknownEpoch.selector, 0));
        distributor.latestEpoch();
        vm.expectRevert(RewardDistributor.NoRootServes.selector);
        distributor.claim(ALICE, 1, new bytes32[](0));
    }

    function testFuzz_only_publishers_publish(address caller) public {
        vm.assume(caller != address(this));
        bytes32 role = distributor.PUBLISHER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        distributor.publish(0, LOG_ROOT, 1, LOG_ROOT);
    }

    function testFuzz_a_published_root_is_never_replaced(uint64 published, uint64 next) public {
        published = uint64(bound(published, 0, distributor.MOST_SKIPPED()));
        next = uint64(bound(next, 0, published));
        publishSingle(published, ALICE, 1);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.EpochNotAfterLatest.selector, next, published));
        distributor.publish(next, rootOf(ALICE, 2), 2, LOG_ROOT);
    }

    function testFuzz_the_total_never_falls(uint256 total, uint256 less) public {
        total = bound(total, 1, CAP);
        less = bound(less, 0, total - 1);
        publishSingle(0, ALICE, total);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.CumulativeTotalFell.selector, less, total));
        distributor.publish(1, rootOf(ALICE, less), less, LOG_ROOT);
    }

    function test_an_epoch_without_emission_is_published() public {
        publishSingle(0, ALICE, 5);
        publishSingle(1, ALICE, 5);
        vm.assertEq(token.totalSupply(), 5, "supply");
    }

    function test_an_empty_root_is_refused() public {
        vm.expectRevert(EpochRoots.ZeroRoot.selector);
        distributor.publish(0, 0, 1, LOG_ROOT);
    }

    function testFuzz_emission_above_the_cap_stops_the_publication(uint256 total) public {
        total = bound(total, CAP + 1, type(uint128).max);
        vm.expectRevert(abi.encodeWithSelector(ERC20Capped.ERC20ExceededCap.selector, total, CAP));
        distributor.publish(0, LOG_ROOT, total, LOG_ROOT);
    }

    function testFuzz_a_total_above_128_bits_is_refused(uint256 total) public {
        total = bound(total, uint256(type(uint128).max) + 1, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 128, total));
        distributor.publish(0, LOG_ROOT, total, LOG_ROOT);
    }

    function test_without_the_right_to_issue_nothing_is_published() public {
        token.revokeRole(token.MINTER_ROLE(), address(distributor));
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        distributor.publish(0, LOG_ROOT, 1, LOG_ROOT);
    }

    function testFuzz_a_changed_claim_is_refused(uint256 seed, uint256 which, uint256 other) public {
        RewardTree.Leaf[] memory leaves = someLeaves(seed, 9);
        bytes32[] memory nodes = leaves.build();
        distributor.publish(0, nodes[0], sum(leaves), LOG_ROOT);
        RewardTree.Leaf memory leaf = leaves[which % leaves.length];
        bytes32[] memory proof = nodes.proof(leaf);
        vm.assume(other != leaf.cumulative);

        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidProof.selector, leaf.account, other));
        distributor.claim(leaf.account, other, proof);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidProof.selector, STRANGER, leaf.cumulative));
        distributor.claim(STRANGER, leaf.cumulative, proof);
        proof[other % proof.length] ^= bytes32(uint256(1));
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidProof.selector, leaf.account, leaf.cumulative));
        distributor.claim(leaf.account, leaf.cumulative, proof);
    }

    function test_a_proof_for_an_older_root_is_refused() public {
        publishSingle(0, ALICE, 10);
        publishSingle(1, ALICE, 20);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidProof.selector, ALICE, 10));
        distributor.claim(ALICE, 10, new bytes32[](0));
    }

    function test_a_reward_that_fell_pays_nothing_and_takes_nothing() public {
        publishSingle(0, ALICE, 10);
        distributor.claim(ALICE, 10, new bytes32[](0));
        distributor.publish(1, rootOf(ALICE, 4), 10, LOG_ROOT);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingToClaim.selector, ALICE, 10));
        distributor.claim(ALICE, 4, new bytes32[](0));
        vm.assertEq(distributor.claimed(ALICE), 10, "claimed");
    }

    function testFuzz_a_wrong_root_never_pays_more_than_was_emitted(uint256 emitted, uint256 promised) public {
        emitted = bound(emitted, 0, CAP);
        promised = bound(promised, emitted + 1, type(uint256).max);
        distributor.publish(0, rootOf(ALICE, promised), emitted, LOG_ROOT);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, address(distributor), emitted, promised
            )
        );
        distributor.claim(ALICE, promised, new bytes32[](0));
        vm.assertEq(distributor.claimed(ALICE), 0, "claimed");
    }

    function testFuzz_many_are_paid_and_the_paid_are_skipped(uint256 seed, uint256 count, uint256 early) public {
        RewardTree.Leaf[] memory leaves = someLeaves(seed, bound(count, 1, 20));
        bytes32[] memory nodes = leaves.build();
        uint256 total = sum(leaves);
        distributor.publish(0, nodes[0], total, LOG_ROOT);
        RewardTree.Leaf memory first = leaves[early % leaves.length];
        distributor.claim(first.account, first.cumulative, nodes.proof(first));

        RewardDistributor.Claim[] memory claims = new RewardDistributor.Claim[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            claims[i] = RewardDistributor.Claim(leaves[i].account, leaves[i].cumulative, nodes.proof(leaves[i]));
        }
        vm.assertEq(distributor.claimMany(claims), total - first.cumulative, "paid by the first call");
        vm.assertEq(distributor.claimMany(claims), 0, "paid by the second call");
        vm.assertEq(token.balanceOf(address(distributor)), 0, "nothing is left");
    }

    function test_one_wrong_proof_stops_all_of_many() public {
        publishSingle(0, ALICE, 10);
        RewardDistributor.Claim[] memory claims = new RewardDistributor.Claim[](2);
        claims[0] = RewardDistributor.Claim(ALICE, 10, new bytes32[](0));
        claims[1] = RewardDistributor.Claim(BOB, 10, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidProof.selector, BOB, 10));
        distributor.claimMany(claims);
        vm.assertEq(token.balanceOf(ALICE), 0, "nobody was paid");
    }

    function publishSingle(uint64 epoch, address account, uint256 cumulative) private {
        distributor.publish(epoch, rootOf(account, cumulative), cumulative, LOG_ROOT);
    }

    function rootOf(address account, uint256 cumulative) private pure returns (bytes32) {
        return RewardTree.leafHash(RewardTree.Leaf(account, cumulative));
    }

    function someLeaves(uint256 seed, uint256 count) private pure returns (RewardTree.Leaf[] memory leaves) {
        leaves = new RewardTree.Leaf[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 random = uint256(keccak256(abi.encode(seed, i)));
            leaves[i] = RewardTree.Leaf(address(uint160(random)), bound(random, 1, CAP / count));
        }
    }

    function sum(RewardTree.Leaf[] memory leaves) private pure returns (uint256 total) {
        for (uint256 i = 0; i < leaves.length; ++i) {
            total += leaves[i].cumulative;
        }
    }
}
