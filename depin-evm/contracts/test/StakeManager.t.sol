// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {StakeManager, StakeRules} from "../src/StakeManager.sol";
import {Test} from "./Base.sol";
import {FeeToken, HookToken, PlainToken} from "./Tokens.sol";

contract StakeManagerTest is Test {
    address private constant DEVICE = address(0xDE71CE);
    address private constant TREASURY = address(0x7EA);
    uint48 private constant UNBONDING = 21 days;
    uint48 private constant APPEAL = 3 days;
    uint128 private constant CAP = 1_000;
    bytes32 private constant FORK = keccak256("two histories of one device");

    StakeManager private stakes;
    PlainToken private token;

    function setUp() public {
        vm.warp(1_800_000_000);
        token = new PlainToken();
        stakes = deploy(IERC20(address(token)));
        token.mint(address(this), 1e30);
        token.approve(address(stakes), type(uint256).max);
    }

    function testFuzz_a_stake_leaves_after_unbonding_and_not_before(uint128 amount, uint256 early) public {
        amount = uint128(bound(amount, 1, 1e30));
        stakes.bond(DEVICE, amount);
        stakes.unbond(DEVICE, amount);
        uint256 readyAt = block.timestamp + UNBONDING;
        vm.warp(bound(early, block.timestamp, readyAt - 1));
        vm.expectRevert(StakeManager.NothingReady.selector);
        stakes.withdraw(DEVICE);
        vm.warp(readyAt);
        vm.assertEq(stakes.withdraw(DEVICE), amount, "all");
        vm.assertEq(token.balanceOf(address(this)), 1e30, "back");
        vm.expectRevert(StakeManager.NothingReady.selector);
        stakes.withdraw(DEVICE);
    }

    function testFuzz_nobody_unbonds_more_than_is_bonded_and_free(uint128 held, uint128 wanted) public {
        stakes.bond(DEVICE, 1_000);
        held = uint128(bound(held, 1, CAP));
        stakes.slash(address(this), DEVICE, held, FORK);
        wanted = uint128(bound(wanted, 1_000 - held + 1, type(uint128).max));
        vm.expectRevert(abi.encodeWithSelector(StakeManager.StakeTooSmall.selector, wanted, 1_000 - held));
        stakes.unbond(DEVICE, wanted);
    }

    function testFuzz_a_slash_reaches_what_is_leaving(uint128 left, uint128 amount, uint256 parts) public {
        stakes.bond(DEVICE, 1_000);
        parts = bound(parts, 1, 16);
        left = uint128(bound(left, 1, 1_000 / parts));
        for (uint256 i = 0; i < parts; ++i) {
            stakes.unbond(DEVICE, left);
        }
        amount = uint128(bound(amount, 1, CAP));
        vm.warp(block.timestamp + UNBONDING - 1);
        stakes.slash(address(this), DEVICE, amount, FORK);
        vm.warp(block.timestamp + APPEAL);
        stakes.executeSlash(FORK, address(this), DEVICE);
        vm.assertEq(token.balanceOf(TREASURY), amount, "slashed");
        StakeManager.Stake memory s = stakes.stakeOf(address(this), DEVICE);
        vm.assertEq(uint256(s.bonded) + s.leaving, 1_000 - amount, "the rest stays");
        if (s.leaving != 0) vm.assertEq(stakes.withdraw(DEVICE), s.leaving, "and leaves");
        vm.assertEq(token.balanceOf(address(stakes)), s.bonded, "books");
    }

    function test_what_is_held_does_not_leave() public {
        stakes.bond(DEVICE, 1_000);
        stakes.unbond(DEVICE, 400);
        stakes.unbond(DEVICE, 600);
        vm.warp(block.timestamp + UNBONDING - 1);
        stakes.slash(address(this), DEVICE, 500, FORK);
        vm.warp(block.timestamp + 1);
        vm.assertEq(stakes.withdraw(DEVICE), 400, "only the part that is free");
        vm.expectRevert(StakeManager.NothingReady.selector);
        stakes.withdraw(DEVICE);
        stakes.withdrawSlash(FORK, address(this), DEVICE);
        vm.assertEq(stakes.withdraw(DEVICE), 600, "after the appeal");
    }

    function test_a_large_part_that_is_held_keeps_no_small_one_waiting() public {
        stakes.bond(DEVICE, 1_000);
        stakes.unbond(DEVICE, 700);
        stakes.unbond(DEVICE, 100);
        stakes.unbond(DEVICE, 150);
        vm.warp(block.timestamp + 1);
        stakes.unbond(DEVICE, 50);
        vm.warp(block.timestamp + UNBONDING - 2);
        stakes.slash(address(this), DEVICE, 500, FORK);
        vm.warp(block.timestamp + 1);
        vm.assertEq(stakes.withdraw(DEVICE), 250, "those that are free");
        vm.expectRevert(StakeManager.NothingReady.selector);
        stakes.withdraw(DEVICE);
        vm.warp(block.timestamp + 1);
        vm.assertEq(stakes.withdraw(DEVICE), 50, "what is ready later");
        // No hole of the queue is counted: one part waits, so fifteen more fit.
        stakes.withdrawSlash(FORK, address(this), DEVICE);
        stakes.bond(DEVICE, 16);
        for (uint256 i = 0; i < 15; ++i) {
            stakes.unbond(DEVICE, 1);
        }
        vm.expectRevert(StakeManager.QueueFull.selector);
        stakes.unbond(DEVICE, 1);
        vm.assertEq(stakes.withdraw(DEVICE), 700, "after the appeal");
    }

    /// Whatever is held, every part is paid once in the end.
    function testFuzz_parts_are_paid_once_in_any_order(uint128[16] memory amounts, uint128 held, uint256 gap) public {
        uint256 total = 0;
        gap = bound(gap, 0, UNBONDING / 16);
        for (uint256 i = 0; i < 16; ++i) {
            amounts[i] = uint128(bound(amounts[i], 1, 1e6));
            total += amounts[i];
        }
        stakes.bond(DEVICE, total);
        for (uint256 i = 0; i < 16; ++i) {
            stakes.unbond(DEVICE, amounts[i]);
            vm.warp(block.timestamp + gap);
        }
        held = uint128(bound(held, 1, total < CAP ? total : CAP));
        stakes.slash(address(this), DEVICE, held, FORK);
        vm.warp(block.timestamp + UNBONDING);
        uint256 paid = 0;
        try stakes.withdraw(DEVICE) returns (uint256 amount) {
            paid = amount;
        } catch {}
        vm.assertTrue(paid <= total - held, "what is held stays");
        vm.assertEq(stakes.stakeOf(address(this), DEVICE).leaving, total - paid, "books");
        stakes.withdrawSlash(FORK, address(this), DEVICE);
        if (paid < total) paid += stakes.withdraw(DEVICE);
        vm.assertEq(paid, total, "all");
        vm.assertEq(stakes.stakeOf(address(this), DEVICE).leaving, 0, "nothing leaves any more");
        vm.assertEq(token.balanceOf(address(stakes)), 0, "nothing is left");
    }

    function test_what_stays_in_the_queue_is_slashed_newest_first() public {
        stakes.bond(DEVICE, 1_000);
        stakes.unbond(DEVICE, 600);
        stakes.unbond(DEVICE, 100);
        stakes.unbond(DEVICE, 300);
        vm.warp(block.timestamp + UNBONDING - 1);
        stakes.slash(address(this), DEVICE, 850, FORK);
        vm.warp(block.timestamp + 1);
        vm.assertEq(stakes.withdraw(DEVICE), 100, "the one that is free");
        vm.warp(block.timestamp + APPEAL);
        stakes.executeSlash(FORK, address(this), DEVICE);
        vm.assertEq(stakes.withdraw(DEVICE), 50, "what the slash left of the oldest");
        vm.assertEq(token.balanceOf(address(stakes)), 0, "books");
    }

    function test_an_appeal_has_its_time_and_the_evidence_serves_once() public {
        stakes.bond(DEVICE, 1_000);
        stakes.slash(address(this), DEVICE, 500, FORK);
        uint256 executableAt = block.timestamp + APPEAL;
        vm.warp(executableAt - 1);
        vm.expectRevert(abi.encodeWithSelector(StakeManager.AppealLasts.selector, FORK, executableAt));
        stakes.executeSlash(FORK, address(this), DEVICE);
        stakes.withdrawSlash(FORK, address(this), DEVICE);
        vm.warp(executableAt);
        vm.expectRevert(abi.encodeWithSelector(StakeManager.UnknownSlash.selector, FORK));
        stakes.executeSlash(FORK, address(this), DEVICE);
        vm.expectRevert(abi.encodeWithSelector(StakeManager.EvidenceUsed.selector, FORK));
        stakes.slash(address(this), DEVICE, 500, FORK);
        vm.expectRevert(StakeManager.NoEvidence.selector);
        stakes.slash(address(this), DEVICE, 500, 0);
    }

    function testFuzz_executed_slashes_keep_within_the_cap_of_the_window(uint128 amount) public {
        stakes.bond(DEVICE, 1e20);
        amount = uint128(bound(amount, 1, CAP));
        bytes32 other = keccak256("other");
        vm.expectRevert(abi.encodeWithSelector(StakeManager.SlashAboveCap.selector, CAP + 1, CAP));
        stakes.slash(address(this), DEVICE, CAP + 1, other);
        stakes.slash(address(this), DEVICE, amount, FORK);
        stakes.slash(address(this), DEVICE, CAP - amount + 1, other);
        vm.warp(block.timestamp + APPEAL);
        stakes.executeSlash(FORK, address(this), DEVICE);
        vm.expectRevert(RateLimiter.RateLimitExceeded.selector);
        stakes.executeSlash(other, address(this), DEVICE);
        vm.assertEq(stakes.stakeOf(address(this), DEVICE).held, CAP - amount + 1, "it stays held");
        vm.warp(block.timestamp + 30 days);
        stakes.executeSlash(other, address(this), DEVICE);
    }

    function test_one_evidence_reaches_every_staker_of_the_device() public {
        address accomplice = address(0xACC);
        stakes.bond(DEVICE, 100);
        token.mint(accomplice, 100);
        vm.startPrank(accomplice);
        token.approve(address(stakes), 100);
        stakes.bond(DEVICE, 100);
        vm.stopPrank();
        stakes.slash(address(this), DEVICE, 100, FORK);
        stakes.slash(accomplice, DEVICE, 100, FORK);
        vm.expectRevert(abi.encodeWithSelector(StakeManager.EvidenceUsed.selector, FORK));
        stakes.slash(accomplice, DEVICE, 1, FORK);
        vm.warp(block.timestamp + APPEAL);
        stakes.executeSlash(FORK, address(this), DEVICE);
        stakes.executeSlash(FORK, accomplice, DEVICE);
        vm.assertEq(token.balanceOf(TREASURY), 200, "both");
    }

    function test_withdrawn_slashes_use_up_nothing_of_the_cap() public {
        stakes.bond(DEVICE, 10 * CAP);
        for (uint256 i = 1; i < 9; ++i) {
            stakes.slash(address(this), DEVICE, CAP, bytes32(i));
            stakes.withdrawSlash(bytes32(i), address(this), DEVICE);
        }
        stakes.slash(address(this), DEVICE, CAP, FORK);
        vm.warp(block.timestamp + APPEAL);
        stakes.executeSlash(FORK, address(this), DEVICE);
        vm.assertEq(token.balanceOf(TREASURY), CAP, "slashed");
    }

    function testFuzz_more_than_the_stake_is_not_slashed(uint128 amount) public {
        stakes.bond(DEVICE, 100);
        amount = uint128(bound(amount, 101, type(uint128).max));
        vm.expectRevert(abi.encodeWithSelector(StakeManager.StakeTooSmall.selector, amount, 100));
        stakes.slash(address(this), DEVICE, amount, FORK);
        vm.expectRevert(abi.encodeWithSelector(StakeManager.StakeTooSmall.selector, 1, 0));
        stakes.slash(address(this), address(this), 1, FORK);
    }

    function testFuzz_only_slashers_slash_and_only_judges_withdraw(address caller) public {
        vm.assume(caller != address(this));
        stakes.bond(DEVICE, 100);
        stakes.slash(address(this), DEVICE, 1, FORK);
        bytes32 role = stakes.JUDGE_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        stakes.withdrawSlash(FORK, address(this), DEVICE);
        role = stakes.SLASHER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        stakes.slash(address(this), DEVICE, 1, keccak256("other"));
    }

    function test_the_queue_is_bounded() public {
        stakes.bond(DEVICE, 100);
        for (uint256 i = 0; i < 16; ++i) {
            stakes.unbond(DEVICE, 1);
        }
        vm.expectRevert(StakeManager.QueueFull.selector);
        stakes.unbond(DEVICE, 1);
        vm.warp(block.timestamp + UNBONDING);
        vm.assertEq(stakes.withdraw(DEVICE), 16, "ready");
        stakes.unbond(DEVICE, 1);
    }

    function test_odd_tokens_count_as_what_arrived_and_do_not_enter_again() public {
        FeeToken fee = new FeeToken();
        StakeManager other = deploy(IERC20(address(fee)));
        fee.mint(address(this), 100);
        fee.approve(address(other), 100);
        other.bond(DEVICE, 100);
        vm.assertEq(other.stakeOf(address(this), DEVICE).bonded, 90, "arrived");
        vm.expectRevert(StakeManager.NothingBonded.selector);
        other.bond(DEVICE, 0);

        HookToken hook = new HookToken();
        other = deploy(IERC20(address(hook)));
        hook.mint(address(this), 100);
        hook.approve(address(other), 100);
        hook.arm(address(other), abi.encodeCall(other.bond, (DEVICE, 10)));
        other.bond(DEVICE, 50);
        vm.assertTrue(!hook.reentered(), "refused");
    }

    function test_rules_that_can_not_work_are_refused() public {
        vm.expectRevert(StakeManager.InvalidRules.selector);
        new StakeManager(token, StakeRules(APPEAL, APPEAL, CAP, 1, TREASURY), address(this));
        vm.expectRevert(StakeManager.InvalidRules.selector);
        new StakeManager(token, StakeRules(UNBONDING, APPEAL, CAP, 0, TREASURY), address(this));
        vm.expectRevert(StakeManager.InvalidRules.selector);
        new StakeManager(token, StakeRules(UNBONDING, APPEAL, CAP, 1, address(0)), address(this));
    }

    function deploy(IERC20 staked) private returns (StakeManager made) {
        made = new StakeManager(staked, StakeRules(UNBONDING, APPEAL, CAP, 30 days, TREASURY), address(this));
        made.grantRole(made.SLASHER_ROLE(), address(this));
        made.grantRole(made.JUDGE_ROLE(), address(this));
    }
}
