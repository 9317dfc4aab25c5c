// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ServiceEscrow} from "../src/ServiceEscrow.sol";
import {Account, Rail, RailValidator} from "../src/services/Rails.sol";
import {Test} from "./Base.sol";
import {HookToken, LyingToken, SilentToken} from "./Tokens.sol";

/// @dev Agrees with all that is due, and calls somebody while it judges. It is party to rails, so that nothing but the
/// guard stands in its way.
contract EnteringValidator is RailValidator {
    address private target;
    bytes private data;
    uint256 public entered;
    bytes public refusal;

    function arm(address target_, bytes calldata data_) external {
        (target, data, entered, refusal) = (target_, data_, 0, "");
    }

    function call(address to, bytes calldata data_) external returns (bytes memory answer) {
        bool done;
        (done, answer) = to.call(data_);
        require(done, "refused");
    }

    function validate(uint256, uint256 rate, uint256 from, uint256 until) external returns (uint256, uint256) {
        if (target != address(0)) {
            address once = target;
            target = address(0);
            bool done;
            (done, refusal) = once.call(data);
            if (done) ++entered;
        }
        return (rate * (until - from), until);
    }
}

/// @dev Every function that moves something, called from within every other that calls a token or a validator.
contract ServiceEscrowReentryTest is Test {
    address private constant ANN = address(0xA11);
    uint256 private constant CALLS = 8;

    ServiceEscrow private escrow;
    HookToken private token;
    EnteringValidator private validator;
    /// The validator is operator and payer of this rail, and its judge.
    uint256 private rail;
    /// As `rail`, terminated, and its end has passed.
    uint256 private ended;

    function setUp() public {
        vm.warp(1_800_000_000);
        escrow = new ServiceEscrow();
        token = new HookToken();
        validator = new EnteringValidator();
        token.mint(address(this), 1e18);
        token.mint(address(validator), 1e18);
        token.approve(address(escrow), type(uint256).max);
        escrow.deposit(address(token), address(this), 1e6);
        escrow.deposit(address(token), address(token), 1e6);
        as_validator(abi.encodeCall(token.approve, (address(escrow), type(uint256).max)), address(token));
        as_validator(abi.encodeCall(escrow.deposit, (address(token), address(validator), 1e6)), address(escrow));
        as_validator(
            abi.encodeCall(escrow.allowOperator, (address(token), address(validator), 1e4, 1e6, 1e3)), address(escrow)
        );
        rail = abi.decode(as_validator(opening(), address(escrow)), (uint256));
        ended = abi.decode(as_validator(opening(), address(escrow)), (uint256));
        as_validator(abi.encodeCall(escrow.terminate, (ended)), address(escrow));
        vm.warp(block.timestamp + 200);
    }

    function test_a_token_with_hooks_enters_nothing_again() public {
        for (uint256 i = 0; i < CALLS; ++i) {
            uint256 before = token.balanceOf(address(escrow));
            token.arm(address(escrow), inner(i));
            escrow.deposit(address(token), ANN, 10);
            vm.assertTrue(!token.reentered(), "deposit was entered again");
            guarded(token.refusal());
            token.arm(address(escrow), inner(i));
            escrow.withdraw(address(token), 5);
            vm.assertTrue(!token.reentered(), "withdraw was entered again");
            guarded(token.refusal());
            vm.assertEq(token.balanceOf(address(escrow)), before + 5, "what was paid in and out, once");
            vm.assertEq(escrow.accountOf(address(token), ANN).funds, 10 * (i + 1), "counted once");
            vm.assertEq(escrow.accountOf(address(token), address(this)).funds, 1e6 - 5 * (i + 1), "taken once");
        }
    }

    /// @dev The hook pays in during a deposit: without the guard both would count what the inner one brought.
    function test_a_deposit_within_a_deposit_does_not_count_twice() public {
        token.mint(address(token), 1e6);
        vm.prank(address(token));
        token.approve(address(escrow), type(uint256).max);
        uint256 before = token.balanceOf(address(escrow));
        token.arm(address(escrow), abi.encodeCall(escrow.deposit, (address(token), ANN, 1e6)));
        escrow.deposit(address(token), ANN, 10);
        uint256 arrived = token.balanceOf(address(escrow)) - before;
        vm.assertEq(escrow.accountOf(address(token), ANN).funds, arrived, "funds are what is there");
    }

    function test_a_validator_enters_nothing_while_a_rail_is_settled() public {
        for (uint256 i = 0; i < CALLS; ++i) {
            vm.warp(block.timestamp + 10);
            uint256 before = escrow.accountOf(address(token), ANN).funds;
            uint256 due = 10 * (block.timestamp - escrow.railOf(rail).paidUpTo);
            validator.arm(address(escrow), inner(i));
            vm.assertEq(escrow.settle(rail, block.timestamp), due, "what is due");
            refused();
            vm.assertEq(escrow.accountOf(address(token), ANN).funds, before + due, "credited once");
        }
        books_agree();
    }

    function test_a_validator_enters_nothing_while_a_rate_changes() public {
        for (uint256 i = 0; i < CALLS; ++i) {
            // The first change lets the rate before wait for the validator; the second one asks him.
            vm.warp(block.timestamp + 10);
            as_validator(abi.encodeCall(escrow.changeRail, (rail, uint128(11 + 2 * i), 50)), address(escrow));
            vm.warp(block.timestamp + 10);
            validator.arm(address(escrow), inner(i));
            as_validator(abi.encodeCall(escrow.changeRail, (rail, uint128(12 + 2 * i), 50)), address(escrow));
            refused();
            vm.assertEq(escrow.railOf(rail).rate, 12 + 2 * i, "the rate that was asked for");
            // What the first change left is judged now.
            escrow.settle(rail, block.timestamp);
        }
        books_agree();
    }

    function test_a_token_that_answers_nothing_works() public {
        SilentToken silent = new SilentToken();
        silent.mint(address(this), 100);
        escrow.deposit(address(silent), ANN, 100);
        vm.prank(ANN);
        escrow.withdraw(address(silent), 100);
        vm.assertEq(silent.balanceOf(ANN), 100, "paid");
    }

    function test_tokens_that_lie_or_are_not_there_fill_no_account() public {
        address lying = address(new LyingToken(true));
        vm.expectRevert(ServiceEscrow.NothingDeposited.selector);
        escrow.deposit(lying, ANN, 100);
        lying = address(new LyingToken(false));
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, lying));
        escrow.deposit(lying, ANN, 100);
        vm.assertEq(escrow.accountOf(lying, ANN).funds, 0, "nothing arrived");
        vm.expectRevert();
        escrow.deposit(address(0xDEAD), ANN, 100);
    }

    /// @dev A token may begin to lie when somebody has funds: then nothing leaves the books.
    function test_a_withdrawal_that_the_token_refuses_changes_nothing() public {
        SilentToken silent = new SilentToken();
        silent.mint(address(this), 100);
        escrow.deposit(address(silent), address(this), 100);
        vm.etch(address(silent), address(new LyingToken(false)).code);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(silent)));
        escrow.withdraw(address(silent), 100);
        vm.assertEq(escrow.accountOf(address(silent), address(this)).funds, 100, "still there");
    }

    function inner(uint256 i) private view returns (bytes memory) {
        if (i == 0) return abi.encodeCall(escrow.settle, (rail, block.timestamp));
        if (i == 1) return abi.encodeCall(escrow.changeRail, (rail, 5, 50));
        if (i == 2) return abi.encodeCall(escrow.withdraw, (address(token), 1));
        if (i == 3) return abi.encodeCall(escrow.deposit, (address(token), ANN, 1));
        if (i == 4) return abi.encodeCall(escrow.payFixed, (rail, 1));
        if (i == 5) return abi.encodeCall(escrow.terminate, (rail));
        if (i == 6) return abi.encodeCall(escrow.settleWithoutValidator, (ended));
        return opening();
    }

    function opening() private view returns (bytes memory) {
        return abi.encodeCall(
            escrow.openRail, (address(token), address(validator), ANN, RailValidator(validator), 10, 100, 50)
        );
    }

    function as_validator(bytes memory data, address to) private returns (bytes memory) {
        return validator.call(to, data);
    }

    function refused() private view {
        vm.assertEq(validator.entered(), 0, "nothing was entered");
        guarded(validator.refusal());
    }

    function guarded(bytes memory refusal) private pure {
        bytes32 expected = ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector;
        vm.assertEq(bytes32(bytes4(refusal)), expected, "by the guard, not by something else");
    }

    /// @dev All funds are there, and the validator's account holds no more lock than its rails need.
    function books_agree() private view {
        uint256 funds = escrow.accountOf(address(token), ANN).funds;
        funds += escrow.accountOf(address(token), address(validator)).funds;
        funds += escrow.accountOf(address(token), address(this)).funds;
        funds += escrow.accountOf(address(token), address(token)).funds;
        vm.assertEq(token.balanceOf(address(escrow)), funds, "funds");
        Account memory payer = escrow.accountOf(address(token), address(validator));
        Rail memory r = escrow.railOf(rail);
        Rail memory e = escrow.railOf(ended);
        uint256 locked = r.rate * (uint256(payer.paidUpTo) + r.lockupPeriod - r.paidUpTo) + r.lockupFixed;
        locked += e.rate * (e.endsAt - e.paidUpTo) + e.lockupFixed;
        vm.assertEq(payer.locked, locked, "locked");
    }
}
