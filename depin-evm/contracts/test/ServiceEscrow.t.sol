// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ServiceEscrow} from "../src/ServiceEscrow.sol";
import {Account, Allowance, RailValidator} from "../src/services/Rails.sol";
import {Test} from "./Base.sol";
import {FeeToken, PlainToken} from "./Tokens.sol";

/// @dev Gives what the test tells it, or reverts.
contract Judge is RailValidator {
    bool private answers = true;
    uint256 private percent = 100;
    uint256 private until = type(uint256).max;
    uint256 private extra;

    function rule(bool answers_, uint256 percent_, uint256 until_, uint256 extra_) external {
        (answers, percent, until, extra) = (answers_, percent_, until_, extra_);
    }

    function validate(uint256, uint256 rate, uint256 from, uint256 wanted)
        external
        view
        returns (uint256 amount, uint256 agreed)
    {
        require(answers, "silent");
        agreed = until < wanted ? until : wanted;
        amount = rate * (agreed - from) * percent / 100 + extra;
    }
}

/// @dev Judges windows that are over, and any part of them.
contract WholeWindows is RailValidator {
    uint256 private immutable start = block.timestamp;
    uint256 private immutable length;

    constructor(uint256 length_) {
        length = length_;
    }

    function validate(uint256, uint256 rate, uint256 from, uint256 until)
        external
        view
        returns (uint256 amount, uint256 agreed)
    {
        uint256 over = block.timestamp - (block.timestamp - start) % length;
        agreed = until < over ? until : over;
        if (agreed < from) agreed = from;
        amount = rate * (agreed - from);
    }
}

contract ServiceEscrowTest is Test {
    address private constant OPERATOR = address(0x0BE8);
    address private constant ANN = address(0xA11);
    address private constant BEN = address(0xBE2);
    address private constant STRANGER = address(0x5EED);
    uint64 private constant PERIOD = 100;
    RailValidator private constant NOBODY = RailValidator(address(0));

    ServiceEscrow private escrow;
    PlainToken private token;
    uint256 private start;

    function setUp() public {
        start = 1_800_000_000;
        vm.warp(start);
        escrow = new ServiceEscrow();
        token = new PlainToken();
        token.mint(address(this), 1e30);
        token.approve(address(escrow), type(uint256).max);
        escrow.allowOperator(address(token), OPERATOR, 1_000, 1e9, 1_000);
    }

    function testFuzz_every_rail_can_be_ended_whatever_lockup_its_payer_allows(uint64 period) public {
        escrow.allowOperator(address(token), OPERATOR, 0, 0, type(uint64).max);
        uint64 longest = escrow.LONGEST_LOCKUP();
        vm.startPrank(OPERATOR);
        period = uint64(bound(period, longest + 1, type(uint64).max));
        vm.expectRevert(abi.encodeWithSelector(ServiceEscrow.LockupTooLong.selector, period));
        escrow.openRail(address(token), address(this), BEN, NOBODY, 0, period, 0);
        uint256 rail = escrow.openRail(address(token), address(this), BEN, NOBODY, 0, longest, 0);
        escrow.terminate(rail);
        vm.assertEq(escrow.railOf(rail).endsAt, start + longest, "it ends");
        vm.stopPrank();
    }

    function testFuzz_a_rail_pays_its_rate(uint128 rate, uint256 first, uint256 second) public {
        rate = uint128(bound(rate, 1, 1_000));
        (first, second) = (bound(first, 0, 1e6), bound(second, 0, 1e6));
        fill(1e12);
        uint256 rail = open(ANN, NOBODY, rate, 0);
        pass(first);
        vm.assertEq(settle(rail), rate * first, "first");
        vm.assertEq(settle(rail), 0, "not again");
        pass(second);
        vm.assertEq(settle(rail), rate * second, "second");
        uint256 all = rate * (first + second);
        vm.prank(ANN);
        escrow.withdraw(address(token), all);
        vm.assertEq(token.balanceOf(ANN), all, "withdrawn");
    }

    function testFuzz_a_settlement_can_be_asked_up_to_any_time(uint256 until) public {
        fill(1e12);
        uint256 rail = open(ANN, NOBODY, 10, 0);
        pass(1_000);
        uint256 expected = until <= start ? 0 : until >= start + 1_000 ? 10_000 : 10 * (until - start);
        vm.assertEq(escrow.settle(rail, until), expected, "clamped");
    }

    function testFuzz_the_guarantee_is_paid_after_the_payer_ran_dry(uint256 funds, uint256 wait) public {
        funds = bound(funds, 10 * PERIOD + 7, 1e6);
        fill(funds);
        uint256 rail = open(ANN, NOBODY, 10, 7);
        uint256 covered = (funds - 10 * PERIOD - 7) / 10;
        pass(covered + bound(wait, 1, 1e6));
        vm.assertEq(settle(rail), 10 * covered, "what was covered");
        vm.prank(ANN);
        escrow.terminate(rail);
        pass(PERIOD);
        vm.assertEq(settle(rail), 10 * PERIOD, "and the guarantee");
        vm.expectRevert(abi.encodeWithSelector(ServiceEscrow.UnknownRail.selector, rail));
        settle(rail);
        uint256 rest = funds - 10 * (covered + PERIOD);
        escrow.withdraw(address(token), rest);
        vm.assertEq(token.balanceOf(address(escrow)), 10 * (covered + PERIOD), "the rest is free");
    }

    function testFuzz_a_shortfall_hits_all_payees_alike(uint256 funds, uint128 a, uint128 b) public {
        (a, b) = (uint128(bound(a, 1, 500)), uint128(bound(b, 1, 500)));
        uint256 guarantee = (uint256(a) + b) * PERIOD;
        funds = bound(funds, guarantee, 1e9);
        fill(funds);
        uint256 ann = open(ANN, NOBODY, a, 0);
        uint256 ben = open(BEN, NOBODY, b, 0);
        pass(1e10);
        uint256 covered = (funds - guarantee) / (uint256(a) + b);
        vm.assertEq(settle(ben), b * covered, "ben");
        vm.assertEq(settle(ann), a * covered, "ann");
    }

    function test_locked_funds_stay() public {
        fill(1_500);
        open(ANN, NOBODY, 10, 300);
        vm.expectRevert(abi.encodeWithSelector(ServiceEscrow.FundsTooSmall.selector, 201, 200));
        escrow.withdraw(address(token), 201);
        pass(5);
        escrow.withdraw(address(token), 150);
        vm.expectRevert(abi.encodeWithSelector(ServiceEscrow.FundsTooSmall.selector, 1_300, 0));
        vm.prank(OPERATOR);
        escrow.openRail(address(token), address(this), ANN, NOBODY, 10, PERIOD, 300);
    }

    function testFuzz_operators_keep_within_their_allowance(uint128 rate, uint64 period, uint128 lockupFixed) public {
        fill(1e20);
        (rate, period) = (uint128(bound(rate, 1, 2_000)), uint64(bound(period, 0, 2_000)));
        lockupFixed = uint128(bound(lockupFixed, 0, 2e9));
        uint256 lockup = uint256(rate) * period + lockupFixed;
        bool within = rate <= 1_000 && period <= 1_000 && lockup <= 1e9;
        if (!within) {
            vm.expectRevert(
                abi.encodeWithSelector(ServiceEscrow.AllowanceExceeded.selector, uint256(rate), lockup, uint256(period))
            );
        }
        vm.prank(OPERATOR);
        escrow.openRail(address(token), address(this), ANN, NOBODY, rate, period, lockupFixed);
        vm.expectPartialRevert(ServiceEscrow.AllowanceExceeded.selector);
        vm.prank(STRANGER);
        escrow.openRail(address(token), address(this), STRANGER, NOBODY, rate, period, lockupFixed);
    }

    function test_an_operator_never_takes_more_than_he_was_allowed() public {
        fill(1e20);
        escrow.allowOperator(address(token), OPERATOR, 10, 2_000, PERIOD);
        uint256 rail = open(ANN, NOBODY, 10, 1_000);
        vm.prank(OPERATOR);
        escrow.payFixed(rail, 1_000);
        // What was paid is off the allowance.
        vm.expectPartialRevert(ServiceEscrow.AllowanceExceeded.selector);
        vm.prank(OPERATOR);
        escrow.changeRail(rail, 10, 1);
        // A rail that ends keeps its rate until it is closed.
        vm.prank(OPERATOR);
        escrow.terminate(rail);
        vm.expectPartialRevert(ServiceEscrow.AllowanceExceeded.selector);
        vm.prank(OPERATOR);
        escrow.openRail(address(token), address(this), ANN, NOBODY, 1, 0, 0);
        pass(PERIOD);
        settle(rail);
        Allowance memory left = escrow.allowanceOf(address(token), address(this), OPERATOR);
        vm.assertEq(left.rateUsed, 0, "no rate leaks");
        vm.assertEq(left.lockupUsed, 0, "no lockup leaks");
        vm.assertEq(left.lockup, 1_000, "what was paid is gone");
    }

    function testFuzz_many_rate_changes_settle_as_cheaply_as_none(uint256 seed) public {
        fill(1e12);
        uint256 rail = open(ANN, NOBODY, 10, 0);
        uint256 due = 0;
        uint256 rate = 10;
        for (uint256 i = 0; i < 20; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 elapsed = seed % 1_000;
            pass(elapsed);
            due += rate * elapsed;
            rate = seed >> 128 & 0xFF;
            vm.prank(OPERATOR);
            escrow.changeRail(rail, uint128(rate), uint128(seed >> 200 & 0xFF));
        }
        pass(9);
        settle(rail);
        vm.assertEq(account(ANN).funds, due + rate * 9, "every second at its rate");
    }

    function test_less_is_allowed_after_the_allowance_was_lowered() public {
        fill(1e12);
        uint256 rail = open(ANN, NOBODY, 10, 50);
        escrow.allowOperator(address(token), OPERATOR, 0, 0, 0);
        vm.prank(OPERATOR);
        escrow.changeRail(rail, 9, 50);
        vm.expectPartialRevert(ServiceEscrow.AllowanceExceeded.selector);
        vm.prank(OPERATOR);
        escrow.changeRail(rail, 10, 0);
    }

    function test_a_revoked_operator_turns_no_judged_rate_into_a_payment() public {
        fill(1e12);
        uint256 rail = open(ANN, new Judge(), 10, 0);
        escrow.allowOperator(address(token), OPERATOR, 0, 0, 0);
        vm.expectPartialRevert(ServiceEscrow.AllowanceExceeded.selector);
        vm.prank(OPERATOR);
        escrow.changeRail(rail, 0, uint128(10 * PERIOD));
    }

    function test_a_rail_without_guarantee_can_be_lowered() public {
        fill(1e12);
        vm.prank(OPERATOR);
        uint256 rail = escrow.openRail(address(token), address(this), ANN, NOBODY, 10, 0, 0);
        escrow.allowOperator(address(token), OPERATOR, 0, 0, 0);
        vm.prank(OPERATOR);
        escrow.changeRail(rail, 9, 0);
        vm.assertEq(escrow.railOf(rail).rate, 9, "lowered");
    }

    function test_a_silent_validator_does_not_hold_the_fixed_lockup() public {
        Judge judge = new Judge();
        fill(1e12);
        uint256 rail = open(ANN, judge, 10, 100);
        judge.rule(false, 0, 0, 0);
        pass(20);
        vm.prank(OPERATOR);
        escrow.changeRail(rail, 10, 70);
        vm.assertEq(escrow.railOf(rail).paidUpTo, start, "not settled");
        vm.assertEq(account(address(this)).locked, 10 * (PERIOD + 20) + 70, "locked");
        judge.rule(true, 100, type(uint256).max, 0);
        vm.assertEq(settle(rail), 200, "and nothing is lost");
    }

    function testFuzz_a_validator_only_lowers(uint256 percent, uint256 agreed, uint256 extra) public {
        Judge judge = new Judge();
        fill(1e12);
        uint256 rail = open(ANN, judge, 10, 0);
        pass(1_000);
        (percent, agreed) = (bound(percent, 0, 100), bound(agreed, 0, 1_000));
        judge.rule(true, percent, start + agreed, 0);
        uint256 free = account(address(this)).funds;
        vm.assertEq(settle(rail), 10 * agreed * percent / 100, "lowered");
        vm.assertEq(account(address(this)).funds, free - 10 * agreed * percent / 100, "the rest stays the payer's");

        judge.rule(true, 100, type(uint256).max, bound(extra, 1, 1e6));
        pass(1);
        vm.expectPartialRevert(ServiceEscrow.ValidatorOverreached.selector);
        settle(rail);
        if (agreed == 0) return;
        judge.rule(true, 0, start + agreed - 1, 0);
        vm.expectRevert();
        settle(rail);
    }

    function test_one_change_of_the_rate_waits_for_no_validator_and_a_second_one_does() public {
        Judge judge = new Judge();
        fill(1e12);
        uint256 rail = open(ANN, judge, 10, 0);
        pass(100);
        judge.rule(false, 0, 0, 0);
        change(rail, 3);
        pass(50);
        judge.rule(true, 100, start + 60, 0);
        vm.expectRevert(abi.encodeWithSelector(ServiceEscrow.RailNotSettled.selector, rail, start + 60));
        change(rail, 5);
        judge.rule(true, 100, type(uint256).max, 0);
        change(rail, 5);
        pass(7);
        settle(rail);
        vm.assertEq(account(ANN).funds, 100 * 10 + 50 * 3 + 7 * 5, "every second at its rate");
    }

    /// A validator of whole windows, and an operator who changes the rate in the middle of them.
    function testFuzz_whole_windows_are_judged_across_a_change(uint256 at, uint128 rate, uint256 asked) public {
        at = bound(at, 1, 999);
        rate = uint128(bound(rate, 0, 500));
        fill(1e12);
        uint256 rail = open(ANN, new WholeWindows(1_000), 10, 0);
        pass(at);
        change(rail, rate);
        vm.assertEq(settle(rail), 0, "the window is not over");
        vm.warp(start + 1_000);
        uint256 until = bound(asked, start, start + 1_000);
        escrow.settle(rail, until);
        settle(rail);
        vm.assertEq(account(ANN).funds, 10 * at + rate * (1_000 - at), "the whole window");
        vm.assertEq(account(address(this)).locked, rate * uint256(PERIOD), "only the guarantee is left");
    }

    function testFuzz_a_rail_that_ends_pays_the_rate_before_too(uint128 rate, bool judged) public {
        Judge judge = new Judge();
        rate = uint128(bound(rate, 0, 500));
        fill(1e12);
        uint256 rail = open(ANN, judge, 10, 300);
        pass(40);
        change(rail, rate, 300);
        judge.rule(judged, 100, type(uint256).max, 0);
        pass(2);
        escrow.terminate(rail);
        pass(PERIOD);
        uint256 due = 40 * 10 + (2 + uint256(PERIOD)) * rate;
        if (judged) settle(rail);
        else escrow.settleWithoutValidator(rail);
        vm.assertEq(account(ANN).funds, due, "all of it");
        vm.assertEq(account(address(this)).locked, 0, "and nothing stays locked");
        vm.assertEq(escrow.railOf(rail).operator, address(0), "closed");
    }

    function test_small_sums_of_a_token_with_few_decimals_are_paid_by_the_month() public {
        fill(10e6);
        // 1.234567 a month of a token with 6 decimals: no whole rate comes near it.
        uint256 rail = open(ANN, NOBODY, 0, 3 * 1_234_567);
        for (uint256 month = 0; month < 3; ++month) {
            pass(30 days);
            vm.prank(OPERATOR);
            escrow.payFixed(rail, 1_234_567);
        }
        vm.assertEq(account(ANN).funds, 3 * 1_234_567, "to the unit");
    }

    function test_a_silent_validator_does_not_hold_the_payer() public {
        Judge judge = new Judge();
        fill(2_000);
        uint256 rail = open(ANN, judge, 10, 300);
        judge.rule(false, 0, 0, 0);
        pass(20);
        vm.expectRevert();
        settle(rail);
        escrow.terminate(rail);
        vm.expectRevert(abi.encodeWithSelector(ServiceEscrow.RailEnds.selector, rail, start + 20 + PERIOD));
        escrow.settleWithoutValidator(rail);
        pass(PERIOD);
        vm.expectRevert(abi.encodeWithSelector(ServiceEscrow.NotAllowed.selector, rail, ANN));
        vm.prank(ANN);
        escrow.settleWithoutValidator(rail);
        vm.assertEq(escrow.settleWithoutValidator(rail), 1_200, "in full");
        escrow.withdraw(address(token), 800);
    }

    function test_who_may_what() public {
        fill(2_000);
        uint256 rail = open(ANN, NOBODY, 10, 300);
        bytes memory refusal = abi.encodeWithSelector(ServiceEscrow.NotAllowed.selector, rail, STRANGER);
        vm.startPrank(STRANGER);
        vm.expectRevert(refusal);
        escrow.changeRail(rail, 0, 0);
        vm.expectRevert(refusal);
        escrow.payFixed(rail, 1);
        vm.expectRevert(refusal);
        escrow.terminate(rail);
        vm.stopPrank();
        pass(100);
        vm.expectRevert(abi.encodeWithSelector(ServiceEscrow.InArrears.selector, start + 70));
        escrow.terminate(rail);
        vm.prank(OPERATOR);
        escrow.terminate(rail);
        vm.expectRevert(abi.encodeWithSelector(ServiceEscrow.RailEnds.selector, rail, start + 170));
        vm.prank(OPERATOR);
        escrow.changeRail(rail, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(ServiceEscrow.UnknownRail.selector, 7));
        escrow.railOf(7);
    }

    function test_a_token_with_a_fee_counts_as_what_arrived() public {
        FeeToken fee = new FeeToken();
        fee.mint(address(this), 100);
        fee.approve(address(escrow), 100);
        escrow.deposit(address(fee), ANN, 100);
        vm.assertEq(escrow.accountOf(address(fee), ANN).funds, 90, "arrived");
        vm.expectRevert(ServiceEscrow.NothingDeposited.selector);
        escrow.deposit(address(token), ANN, 0);
    }

    function fill(uint256 amount) private {
        escrow.deposit(address(token), address(this), amount);
    }

    function open(address payee, RailValidator validator, uint128 rate, uint128 lockupFixed) private returns (uint256) {
        vm.prank(OPERATOR);
        return escrow.openRail(address(token), address(this), payee, validator, rate, PERIOD, lockupFixed);
    }

    function change(uint256 rail, uint128 rate) private {
        change(rail, rate, 0);
    }

    function change(uint256 rail, uint128 rate, uint128 lockupFixed) private {
        vm.prank(OPERATOR);
        escrow.changeRail(rail, rate, lockupFixed);
    }

    function settle(uint256 rail) private returns (uint256) {
        vm.prank(STRANGER);
        return escrow.settle(rail, type(uint256).max);
    }

    function account(address owner) private view returns (Account memory) {
        return escrow.accountOf(address(token), owner);
    }

    function pass(uint256 elapsed) private {
        vm.warp(block.timestamp + elapsed);
    }
}
