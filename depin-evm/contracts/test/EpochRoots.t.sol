// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {BondVault} from "../src/rewards/BondVault.sol";
import {EpochRoots, RootRules, TokenSource} from "../src/rewards/EpochRoots.sol";
import {Test} from "./Base.sol";
import {RewardTree} from "./RewardTree.sol";

/// @dev Window, dispute, bond, pause and limit.
contract EpochRootsTest is Test {
    uint128 private constant BOND = 50;
    uint128 private constant LIMIT = 1_000;
    uint40 private constant WINDOW = 1 days;
    address private constant ALICE = address(0xA11CE);
    address private constant WATCHER = address(0x3A7C);
    address private constant STRANGER = address(0x5EED);
    bytes32 private constant LOG = keccak256("log");

    NetworkToken private token;
    RewardDistributor private distributor;

    function setUp() public {
        vm.warp(1_800_000_000);
        token = new NetworkToken("Weather", "WTR", 1e24, address(this));
        distributor = deploy(RootRules(WINDOW, BOND, LIMIT, 1 days));
        token.grantRole(token.MINTER_ROLE(), address(this));
        token.mint(WATCHER, BOND);
        vm.prank(WATCHER);
        token.approve(address(distributor), BOND);
    }

    function test_a_root_pays_nothing_before_its_window_is_over() public {
        publish(0, 100);
        vm.assertEq(token.balanceOf(address(distributor)), 0, "nothing is issued before");
        vm.assertEq(distributor.epochCount(), 0, "nothing is active");
        vm.expectRevert(RewardDistributor.NoRootServes.selector);
        distributor.claim(ALICE, 100, new bytes32[](0));
        vm.warp(block.timestamp + WINDOW - 1);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.EpochStillPending.selector, 0, block.timestamp + 1));
        distributor.activate();

        vm.warp(block.timestamp + 1);
        vm.prank(STRANGER);
        distributor.activate();
        vm.assertEq(distributor.claim(ALICE, 100, new bytes32[](0)), 100, "paid");
        vm.expectRevert(EpochRoots.NothingPending.selector);
        distributor.activate();
    }

    function test_the_earlier_root_serves_during_the_window() public {
        publish(0, 100);
        pass();
        distributor.activate();
        publish(1, 200);
        vm.assertEq(distributor.claim(ALICE, 100, new bytes32[](0)), 100, "by the earlier root");
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidProof.selector, ALICE, 200));
        distributor.claim(ALICE, 200, new bytes32[](0));
    }

    function testFuzz_a_pending_root_is_never_replaced(uint64 epoch, bytes32 root, uint256 wait) public {
        vm.assume(root != 0);
        publish(3, 100);
        uint256 activatesAt = block.timestamp + WINDOW;
        vm.warp(block.timestamp + bound(wait, 0, WINDOW - 1));
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.EpochStillPending.selector, 3, activatesAt));
        distributor.publish(epoch, root, 200, LOG);
        dispute(3, 100);
        uint256 lapsesAt = block.timestamp + 4 * WINDOW;
        vm.warp(lapsesAt - 1);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.EpochStillPending.selector, 3, lapsesAt));
        distributor.publish(epoch, root, 200, LOG);
        vm.assertEq(distributor.epochRoot(3), rootOf(100), "the root stayed");
    }

    function test_publishing_activates_the_epoch_before() public {
        publish(0, 100);
        pass();
        publish(1, 150);
        vm.assertEq(distributor.latestEpoch(), 0, "latest");
        vm.assertEq(distributor.cumulativeTotal(), 100, "total");
        vm.assertEq(distributor.pendingEpoch().epoch, 1, "pending");
    }

    function test_a_rejected_root_never_existed_for_the_token() public {
        publish(0, 100);
        dispute(0, 100);
        vm.assertEq(token.balanceOf(WATCHER), 0, "the bond is down");
        vm.warp(block.timestamp + 30 days);
        vm.expectPartialRevert(EpochRoots.EpochStillPending.selector);
        distributor.activate();
        distributor.resolve(0, rootOf(100), 100, true);

        vm.assertEq(token.balanceOf(WATCHER), BOND, "the bond came back");
        vm.assertEq(token.totalSupply(), BOND, "nothing was issued");
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.UnknownEpoch.selector, 0));
        distributor.epochRoot(0);
        publish(0, 70);
        pass();
        distributor.activate();
        vm.assertEq(distributor.claim(ALICE, 70, new bytes32[](0)), 70, "the corrected root pays");
    }

    function test_a_wrong_dispute_costs_the_bond_and_no_second_one_follows() public {
        publish(0, 100);
        dispute(0, 100);
        distributor.resolve(0, rootOf(100), 100, false);
        vm.assertEq(token.totalSupply(), 0, "the bond is burned");
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotDisputable.selector, 0));
        vm.prank(WATCHER);
        distributor.dispute(0, rootOf(100), 100);
        distributor.activate();
        vm.assertEq(distributor.claim(ALICE, 100, new bytes32[](0)), 100, "paid");
    }

    function test_a_dispute_that_nobody_decides_lapses_and_costs_nobody_anything() public {
        publish(0, 100);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.DisputeOpen.selector, 0));
        distributor.lapse();
        dispute(0, 100);
        uint256 lapsesAt = block.timestamp + 4 * WINDOW;
        vm.assertEq(distributor.pendingEpoch().activatesAt, lapsesAt, "everybody sees until when");
        vm.warp(lapsesAt - 1);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.DisputeOpen.selector, lapsesAt));
        distributor.lapse();
        vm.warp(lapsesAt);
        vm.expectEmit(address(distributor));
        emit EpochRoots.DisputeResolved(0, true);
        vm.prank(STRANGER);
        distributor.lapse();

        vm.assertEq(token.balanceOf(WATCHER), BOND, "the bond came back");
        vm.assertEq(token.totalSupply(), BOND, "nothing was issued");
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.UnknownEpoch.selector, 0));
        distributor.epochRoot(0);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.DisputeOpen.selector, 0));
        distributor.lapse();
    }

    function test_publications_go_on_after_a_dispute_without_an_arbiter() public {
        distributor.revokeRole(distributor.ARBITER_ROLE(), address(this));
        publish(0, 100);
        dispute(0, 100);
        vm.warp(block.timestamp + 4 * WINDOW);
        publish(0, 130);
        vm.assertEq(token.balanceOf(WATCHER), BOND, "the bond came back");
        pass();
        distributor.activate();
        vm.assertEq(distributor.claim(ALICE, 130, new bytes32[](0)), 130, "nobody lost what he earned");
    }

    function test_who_disputes_his_own_wrong_root_gains_nothing_by_waiting() public {
        token.mint(address(this), BOND);
        token.approve(address(distributor), BOND);
        publish(0, 1_000);
        distributor.dispute(0, rootOf(1_000), 1_000);
        vm.warp(block.timestamp + 4 * WINDOW);
        vm.expectPartialRevert(EpochRoots.EpochStillPending.selector);
        distributor.activate();
        distributor.lapse();
        vm.expectRevert(EpochRoots.NothingPending.selector);
        distributor.activate();
        vm.assertEq(token.totalSupply(), 2 * BOND, "nothing was issued");
    }

    function test_who_disputes_without_reason_soon_lacks_the_tokens() public {
        token.mint(WATCHER, 6 * BOND);
        vm.prank(WATCHER);
        token.approve(address(distributor), type(uint256).max);
        for (uint256 round = 0; round < 3; ++round) {
            publish(0, 100);
            vm.assertEq(distributor.disputeBond(), uint256(BOND) << round, "doubled");
            dispute(0, 100);
            vm.warp(block.timestamp + 4 * WINDOW);
        }
        publish(0, 100);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        vm.prank(WATCHER);
        distributor.dispute(0, rootOf(100), 100);
        pass();
        distributor.activate();
        vm.assertEq(distributor.disputeBond(), BOND, "an activation ends the count");
    }

    function testFuzz_a_decision_ends_the_count_of_disputes_that_lapsed(bool rejected, uint256 late) public {
        publish(0, 100);
        dispute(0, 100);
        vm.warp(block.timestamp + 4 * WINDOW);
        publish(0, 100);
        token.mint(WATCHER, 2 * BOND);
        vm.prank(WATCHER);
        token.approve(address(distributor), 2 * BOND);
        dispute(0, 100);
        // Late too, as long as nobody made it lapse.
        vm.warp(block.timestamp + bound(late, 0, 30 * WINDOW));
        distributor.resolve(0, rootOf(100), 100, rejected);
        vm.assertEq(distributor.disputeBond(), BOND, "the arbiter is back");
        vm.assertEq(token.balanceOf(WATCHER), rejected ? 3 * BOND : BOND, "the bond of this dispute");
    }

    function testFuzz_no_number_of_an_epoch_uses_up_those_after_it(uint64 epoch) public {
        distributor = deploy(RootRules(0, 0, 0, 0));
        uint64 furthest = distributor.MOST_SKIPPED();
        epoch = uint64(bound(epoch, uint256(furthest) + 1, type(uint64).max));
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.EpochTooFar.selector, epoch, furthest));
        distributor.publish(epoch, LOG, 100, LOG);
        publish(furthest, 100);
        vm.expectRevert(
            abi.encodeWithSelector(EpochRoots.EpochTooFar.selector, type(uint64).max, uint256(furthest) * 2)
        );
        distributor.publish(type(uint64).max, LOG, 100, LOG);
        publish(furthest + 1, 120);
    }

    function test_a_dispute_names_what_is_pending() public {
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotPending.selector, 0, bytes32(0), 0));
        distributor.dispute(0, 0, 0);
        publish(0, 100);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotPending.selector, 0, LOG, 100));
        distributor.dispute(0, LOG, 100);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotPending.selector, 1, rootOf(100), 100));
        distributor.dispute(1, rootOf(100), 100);
    }

    function test_a_dispute_needs_the_bond_and_comes_in_time_and_once() public {
        publish(0, 100);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        vm.prank(STRANGER);
        distributor.dispute(0, rootOf(100), 100);
        uint256 state = vm.snapshotState();
        dispute(0, 100);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotDisputable.selector, 0));
        distributor.dispute(0, rootOf(100), 100);
        vm.revertToState(state);
        pass();
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotDisputable.selector, 0));
        distributor.dispute(0, rootOf(100), 100);
    }

    /// The arbiter's transaction about a root hangs until another one waits under the same number.
    function testFuzz_a_decision_that_arrives_late_says_nothing_about_another_root(bool rejected, bool again) public {
        publish(0, 100);
        dispute(0, 100);
        vm.warp(block.timestamp + 4 * WINDOW);
        publish(0, 900);
        if (again) {
            token.mint(WATCHER, 2 * BOND);
            vm.prank(WATCHER);
            token.approve(address(distributor), 2 * BOND);
            dispute(0, 900);
        }
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotPending.selector, 0, rootOf(100), 100));
        distributor.resolve(0, rootOf(100), 100, rejected);
        vm.assertEq(distributor.pendingEpoch().activatesAt != 0 ? 1 : 0, 1, "it still waits");
        distributor.resolve(0, rootOf(900), 900, true);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotPending.selector, 0, bytes32(0), 0));
        distributor.resolve(0, 0, 0, rejected);
    }

    /// The root that he looked at comes again, with an emission that he never saw.
    function testFuzz_a_decision_that_arrives_late_says_nothing_about_another_total(
        bool rejected,
        bool again,
        uint256 total
    ) public {
        total = bound(total, 0, 1_000);
        vm.assume(total != 100);
        publish(0, 100);
        dispute(0, 100);
        vm.warp(block.timestamp + 4 * WINDOW);
        distributor.publish(0, rootOf(100), total, LOG);
        token.mint(WATCHER, 2 * BOND);
        vm.prank(WATCHER);
        token.approve(address(distributor), 2 * BOND);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotPending.selector, 0, rootOf(100), 100));
        vm.prank(WATCHER);
        distributor.dispute(0, rootOf(100), 100);
        if (again) {
            vm.prank(WATCHER);
            distributor.dispute(0, rootOf(100), total);
        }
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotPending.selector, 0, rootOf(100), 100));
        distributor.resolve(0, rootOf(100), 100, rejected);
        vm.assertEq(distributor.pendingEpoch().total, total, "it still waits");
        distributor.resolve(0, rootOf(100), total, true);
    }

    function test_a_root_whose_emission_can_not_be_issued_blocks_nothing() public {
        token.revokeRole(token.MINTER_ROLE(), address(distributor));
        publish(0, 100);
        pass();
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        distributor.activate();
        distributor.resolve(0, rootOf(100), 100, true);
        token.grantRole(token.MINTER_ROLE(), address(distributor));
        publish(0, 70);
        pass();
        distributor.activate();
        vm.assertEq(distributor.claim(ALICE, 70, new bytes32[](0)), 70, "the next one works");
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotPending.selector, 0, rootOf(70), 70));
        distributor.resolve(0, rootOf(70), 70, true);
    }

    function test_a_root_rejected_during_a_pause_never_pays() public {
        publish(0, 100);
        distributor.pause();
        pass();
        vm.expectRevert(EpochRoots.IsPaused.selector);
        vm.prank(STRANGER);
        distributor.activate();
        distributor.resolve(0, rootOf(100), 100, true);
        distributor.unpause();
        vm.expectRevert(EpochRoots.NothingPending.selector);
        distributor.activate();
        vm.expectRevert(RewardDistributor.NoRootServes.selector);
        distributor.claim(ALICE, 100, new bytes32[](0));
        vm.assertEq(token.totalSupply(), BOND, "nothing was issued");
    }

    function test_a_bad_root_that_is_active_is_corrected_before_claims_go_on() public {
        publish(0, 100);
        pass();
        distributor.activate();
        distributor.pause();
        distributor.publish(1, keccak256("corrected"), 100, LOG);
        pass();
        distributor.activate();
        vm.assertTrue(distributor.paused(), "still paused");
        vm.expectRevert(RewardDistributor.NoRootServes.selector);
        distributor.claim(ALICE, 100, new bytes32[](0));
        distributor.unpause();
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidProof.selector, ALICE, 100));
        distributor.claim(ALICE, 100, new bytes32[](0));
    }

    function test_a_root_that_grants_too_much_does_not_pay_out_a_bond() public {
        distributor.publish(0, rootOf(100 + BOND), 100, LOG);
        pass();
        distributor.activate();
        publish(1, 200);
        dispute(1, 200);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        distributor.claim(ALICE, 100 + BOND, new bytes32[](0));
        BondVault bonds = distributor.bonds();
        vm.expectRevert(abi.encodeWithSelector(BondVault.NotDistributor.selector, address(this)));
        bonds.release(ALICE);
        distributor.resolve(1, rootOf(200), 200, true);
        vm.assertEq(token.balanceOf(WATCHER), BOND, "the bond came back");
    }

    function testFuzz_only_the_arbiter_decides_what_is_disputed(address caller, bool rejected) public {
        vm.assume(caller != address(this));
        publish(0, 100);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotDisputed.selector, 0));
        distributor.resolve(0, rootOf(100), 100, false);
        refused(caller, distributor.ARBITER_ROLE());
        distributor.resolve(0, rootOf(100), 100, true);
        dispute(0, 100);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.NotPending.selector, 1, rootOf(100), 100));
        distributor.resolve(1, rootOf(100), 100, rejected);
        refused(caller, distributor.ARBITER_ROLE());
        distributor.resolve(0, rootOf(100), 100, rejected);
    }

    function test_a_pause_stops_claims_and_activations() public {
        publish(0, 100);
        pass();
        distributor.activate();
        publish(1, 200);
        pass();
        distributor.pause();
        vm.assertTrue(distributor.paused(), "paused");
        vm.expectRevert(RewardDistributor.NoRootServes.selector);
        distributor.claim(ALICE, 100, new bytes32[](0));
        vm.expectRevert(EpochRoots.IsPaused.selector);
        vm.prank(STRANGER);
        distributor.activate();
        vm.expectRevert(EpochRoots.IsPaused.selector);
        distributor.pause();

        distributor.unpause();
        vm.assertEq(distributor.claim(ALICE, 100, new bytes32[](0)), 100, "the same root serves again");
        distributor.activate();
        vm.assertEq(distributor.claim(ALICE, 200, new bytes32[](0)), 100, "the next one too");
        vm.expectRevert(EpochRoots.NotPaused.selector);
        distributor.unpause();
    }

    function test_a_pause_before_the_first_epoch_ends() public {
        distributor.pause();
        distributor.unpause();
        vm.expectRevert(RewardDistributor.NoRootServes.selector);
        distributor.claim(ALICE, 0, new bytes32[](0));
    }

    function testFuzz_guardians_stop_and_only_the_admin_starts(address caller) public {
        vm.assume(caller != address(this));
        refused(caller, distributor.GUARDIAN_ROLE());
        distributor.pause();
        distributor.grantRole(distributor.GUARDIAN_ROLE(), caller);
        vm.prank(caller);
        distributor.pause();
        refused(caller, bytes32(0));
        distributor.unpause();
    }

    function testFuzz_an_emission_above_the_limit_is_not_published(uint256 total) public {
        total = bound(total, uint256(LIMIT) + 1, type(uint128).max);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.EmissionAboveLimit.selector, total, LIMIT));
        distributor.publish(0, LOG, total, LOG);
    }

    function test_a_stolen_publisher_key_emits_at_most_the_limit() public {
        distributor = deploy(RootRules(0, 0, LIMIT, 1 days));
        publish(0, LIMIT);
        vm.expectRevert(RateLimiter.RateLimitExceeded.selector);
        distributor.publish(1, LOG, LIMIT + 1, LOG);
        vm.warp(block.timestamp + 12 hours);
        publish(1, LIMIT + LIMIT / 2);
        vm.expectRevert(RateLimiter.RateLimitExceeded.selector);
        distributor.publish(2, LOG, LIMIT + LIMIT / 2 + 1, LOG);
    }

    function test_rules_that_can_not_work_are_refused() public {
        vm.expectRevert(EpochRoots.InvalidRules.selector);
        new RewardDistributor(token, TokenSource(address(token)), RootRules(0, 0, 1, 0), address(this));
        vm.expectRevert(EpochRoots.InvalidRules.selector);
        new RewardDistributor(token, TokenSource(address(token)), RootRules(0, 1, 0, 0), address(this));
        vm.expectRevert(EpochRoots.InvalidRules.selector);
        new RewardDistributor(token, TokenSource(address(token)), RootRules(1, 0, 0, 0), address(this));
    }

    function deploy(RootRules memory rules) private returns (RewardDistributor made) {
        made = new RewardDistributor(token, TokenSource(address(token)), rules, address(this));
        token.grantRole(token.MINTER_ROLE(), address(made));
        made.grantRole(made.PUBLISHER_ROLE(), address(this));
        made.grantRole(made.ARBITER_ROLE(), address(this));
        made.grantRole(made.GUARDIAN_ROLE(), address(this));
    }

    function publish(uint64 epoch, uint256 cumulative) private {
        distributor.publish(epoch, rootOf(cumulative), cumulative, LOG);
    }

    function dispute(uint64 epoch, uint256 cumulative) private {
        vm.expectEmit(address(distributor));
        emit EpochRoots.EpochDisputed(epoch, rootOf(cumulative), WATCHER);
        vm.prank(WATCHER);
        distributor.dispute(epoch, rootOf(cumulative), cumulative);
    }

    function pass() private {
        vm.warp(block.timestamp + WINDOW);
    }

    /// @dev The next call, of `caller`, lacks the role.
    function refused(address caller, bytes32 role) private {
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
    }

    function rootOf(uint256 cumulative) private pure returns (bytes32) {
        return RewardTree.leafHash(RewardTree.Leaf(ALICE, cumulative));
    }
}
