// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PaymentStream} from "../src/PaymentStream.sol";
import {Test} from "./Base.sol";
import {FeeToken, HookToken, LyingToken, PlainToken} from "./Tokens.sol";

contract PaymentStreamTest is Test {
    address private constant ANN = address(0xA11);
    address private constant BEN = address(0xBE2);
    address private constant STRANGER = address(0x5EED);

    PaymentStream private streams;
    PlainToken private token;

    function setUp() public {
        vm.warp(1_800_000_000);
        streams = new PaymentStream();
        token = new PlainToken();
        token.mint(address(this), 1e38);
        token.approve(address(streams), type(uint256).max);
    }

    function testFuzz_every_second_pays_the_rate(uint128 rate, uint256 first, uint256 second) public {
        rate = uint128(bound(rate, 1, 1e24));
        (first, second) = (bound(first, 0, 1e6), bound(second, 0, 1e6));
        fill(uint256(rate) * 2e6);
        streams.start(ANN, address(token), rate);
        vm.warp(block.timestamp + first);
        vm.assertEq(settle(ANN), rate * first, "first");
        vm.assertEq(settle(ANN), 0, "not again");
        vm.warp(block.timestamp + second);
        vm.prank(ANN);
        streams.stop(address(this), ANN, address(token));
        streams.collect(ANN, address(token));
        vm.assertEq(token.balanceOf(ANN), rate * (first + second), "all");
        streams.withdraw(address(token), rate * (2e6 - first - second));
        vm.assertEq(token.balanceOf(address(streams)), 0, "the rest came back");
    }

    function testFuzz_a_dry_purse_stops_all_streams_at_the_same_second(uint256 funds, uint128 a, uint128 b) public {
        (a, b) = (uint128(bound(a, 1, 1e9)), uint128(bound(b, 1, 1e9)));
        funds = bound(funds, 1, 1e15);
        fill(funds);
        streams.start(ANN, address(token), a);
        streams.start(BEN, address(token), b);
        vm.warp(block.timestamp + 1e16);
        uint256 covered = funds / (uint256(a) + b);
        vm.assertEq(settle(BEN), b * covered, "ben");
        vm.assertEq(settle(ANN), a * covered, "ann");
        vm.assertTrue(token.balanceOf(address(streams)) < uint256(a) + b, "less than a second is left");

        fill(10 * (uint256(a) + b));
        vm.assertEq(settle(ANN), uint256(a) * 10, "goes on from there");
    }

    function test_a_purse_in_arrears_starts_nothing_and_a_stop_forgives() public {
        fill(100);
        streams.start(ANN, address(token), 10);
        uint256 started = block.timestamp;
        vm.warp(started + 20);
        vm.expectRevert(abi.encodeWithSelector(PaymentStream.InArrears.selector, started + 10));
        streams.start(BEN, address(token), 1);
        vm.assertEq(streams.stop(address(this), ANN, address(token)), 100, "what was covered");
        fill(50);
        vm.assertEq(streams.purseOf(address(this), address(token)).balance, 50, "nothing is owed");
        streams.start(BEN, address(token), 1);
    }

    function testFuzz_only_what_is_not_owed_is_withdrawn(uint256 elapsed, uint256 wanted) public {
        fill(1_000);
        streams.start(ANN, address(token), 10);
        elapsed = bound(elapsed, 0, 100);
        vm.warp(block.timestamp + elapsed);
        uint256 free = 1_000 - 10 * elapsed;
        wanted = bound(wanted, free + 1, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(PaymentStream.PurseTooSmall.selector, wanted, free));
        streams.withdraw(address(token), wanted);
        streams.withdraw(address(token), free);
        vm.assertEq(settle(ANN), 10 * elapsed, "the payee loses nothing");
    }

    function test_the_purses_of_others_are_their_own() public {
        fill(1_000);
        vm.expectRevert(abi.encodeWithSelector(PaymentStream.PurseTooSmall.selector, 1, 0));
        vm.prank(STRANGER);
        streams.withdraw(address(token), 1);
        streams.start(ANN, address(token), 10);
        vm.expectRevert(abi.encodeWithSelector(PaymentStream.NotParty.selector, STRANGER));
        vm.prank(STRANGER);
        streams.stop(address(this), ANN, address(token));
    }

    function test_a_payee_that_can_not_receive_does_not_keep_a_stream_running() public {
        fill(1_000);
        // OpenZeppelin's ERC-20 sends nothing to nobody.
        streams.start(address(0), address(token), 10);
        vm.warp(block.timestamp + 7);
        vm.expectRevert();
        settle(address(0));
        vm.assertEq(streams.stop(address(this), address(0), address(token)), 70, "credited");
        vm.assertEq(streams.creditsOf(address(0), address(token)), 70, "for later");
        vm.expectRevert();
        streams.collect(address(0), address(token));
        streams.withdraw(address(token), 930);
        vm.assertEq(token.balanceOf(address(streams)), 70, "the rest came back");
        vm.assertEq(streams.collect(ANN, address(token)), 0, "nobody else's");
    }

    function test_one_stream_per_payee_with_a_rate() public {
        streams.start(ANN, address(token), 10);
        vm.expectRevert(abi.encodeWithSelector(PaymentStream.StreamExists.selector, address(this), ANN, address(token)));
        streams.start(ANN, address(token), 10);
        vm.expectRevert(PaymentStream.ZeroRate.selector);
        streams.start(BEN, address(token), 0);
        bytes memory unknown =
            abi.encodeWithSelector(PaymentStream.UnknownStream.selector, address(this), BEN, address(token));
        vm.expectRevert(unknown);
        settle(BEN);
        vm.expectRevert(unknown);
        streams.stop(address(this), BEN, address(token));
    }

    function test_what_settle_would_pay_is_known_before() public {
        fill(1_000);
        streams.start(ANN, address(token), 10);
        vm.warp(block.timestamp + 7);
        (uint256 amount, uint256 rate) = streams.owed(address(this), ANN, address(token));
        vm.assertEq(amount, 70, "amount");
        vm.assertEq(rate, 10, "rate");
        vm.assertEq(settle(ANN), 70, "paid");
        (amount, rate) = streams.owed(address(this), BEN, address(token));
        vm.assertEq(amount + rate, 0, "no stream");
    }

    function test_odd_tokens_count_as_what_arrived() public {
        FeeToken fee = new FeeToken();
        fee.mint(address(this), 1_000);
        fee.approve(address(streams), 1_000);
        streams.deposit(address(this), address(fee), 1_000);
        vm.assertEq(streams.purseOf(address(this), address(fee)).balance, 900, "arrived");
        address lying = address(new LyingToken(true));
        vm.expectRevert(PaymentStream.NothingDeposited.selector);
        streams.deposit(address(this), lying, 10);
    }

    function test_a_token_with_hooks_does_not_enter_again() public {
        HookToken hook = new HookToken();
        hook.mint(address(this), 1_000);
        hook.approve(address(streams), type(uint256).max);
        streams.deposit(address(this), address(hook), 500);
        streams.start(ANN, address(hook), 10);
        vm.warp(block.timestamp + 5);
        hook.arm(address(streams), abi.encodeCall(streams.settle, (address(this), ANN, address(hook))));
        vm.assertEq(streams.settle(address(this), ANN, address(hook)), 50, "paid");
        vm.assertTrue(!hook.reentered(), "refused");
    }

    function fill(uint256 amount) private {
        streams.deposit(address(this), address(token), amount);
    }

    function settle(address payee) private returns (uint256) {
        return streams.settle(address(this), payee, address(token));
    }
}
