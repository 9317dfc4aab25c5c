// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Disperse} from "../src/Disperse.sol";
import {Test} from "./Base.sol";
import {FeeToken, HookToken, LyingToken, PlainToken, SilentToken} from "./Tokens.sol";

contract DisperseTest is Test {
    bytes32 private constant KEY = keccak256("run 7, batch 3");

    Disperse private disperse;
    PlainToken private token;

    function setUp() public {
        disperse = new Disperse();
        token = new PlainToken();
        token.mint(address(this), 1e30);
        token.approve(address(disperse), type(uint256).max);
    }

    function testFuzz_a_batch_sent_again_pays_nobody_twice(uint256 seed, uint256 count) public {
        (address[] memory to, uint256[] memory amounts) = batch(seed, bound(count, 1, 40));
        disperse.disperse(KEY, token, to, amounts);
        vm.expectRevert(abi.encodeWithSelector(Disperse.AlreadyPaid.selector, address(this), KEY));
        disperse.disperse(KEY, token, to, amounts);
        for (uint256 i = 0; i < to.length; ++i) {
            vm.assertEq(token.balanceOf(to[i]), amounts[i], "paid once");
        }
        vm.assertEq(token.balanceOf(address(disperse)), 0, "nothing rests here");
        vm.assertEq(
            disperse.paidBatch(address(this), KEY),
            keccak256(abi.encodeCall(disperse.disperse, (KEY, token, to, amounts))),
            "batch"
        );
    }

    function testFuzz_a_key_serves_one_batch_of_one_sender(uint256 seed, address other) public {
        vm.assume(other != address(this) && other != address(0));
        (address[] memory to, uint256[] memory amounts) = batch(seed, 3);
        disperse.disperse(KEY, token, to, amounts);
        amounts[2] += 1;
        vm.expectRevert(
            abi.encodeWithSelector(
                Disperse.KeyReused.selector, address(this), KEY, disperse.paidBatch(address(this), KEY)
            )
        );
        disperse.disperse(KEY, token, to, amounts);
        // Somebody else's key is his own: nobody can use mine up.
        token.mint(other, 1e30);
        vm.prank(other);
        token.approve(address(disperse), type(uint256).max);
        vm.prank(other);
        disperse.disperse(KEY, token, to, amounts);
    }

    function test_all_are_paid_or_nobody() public {
        (address[] memory to, uint256[] memory amounts) = batch(1, 3);
        amounts[2] = 1e31;
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        disperse.disperse(KEY, token, to, amounts);
        vm.assertEq(token.balanceOf(to[0]), 0, "nobody");
        amounts[2] = 5;
        disperse.disperse(KEY, token, to, amounts);
        vm.assertEq(token.balanceOf(to[2]), 5, "the key was not used up");
    }

    function testFuzz_lists_of_different_length_are_refused(uint256 recipients, uint256 amounts) public {
        (recipients, amounts) = (bound(recipients, 0, 20), bound(amounts, 0, 20));
        vm.assume(recipients != amounts || amounts == 0);
        vm.expectRevert(abi.encodeWithSelector(Disperse.LengthMismatch.selector, recipients, amounts));
        disperse.disperse(KEY, token, new address[](recipients), new uint256[](amounts));
    }

    function test_without_an_allowance_nobody_is_paid() public {
        (address[] memory to, uint256[] memory amounts) = batch(1, 2);
        token.approve(address(disperse), 0);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        disperse.disperse(KEY, token, to, amounts);
    }

    function test_odd_tokens_pay_or_are_refused() public {
        (address[] memory to, uint256[] memory amounts) = batch(1, 2);
        SilentToken silent = new SilentToken();
        silent.mint(address(this), 1e30);
        disperse.disperse(KEY, IERC20(address(silent)), to, amounts);
        vm.assertEq(silent.balanceOf(to[1]), amounts[1], "paid");
        FeeToken fee = new FeeToken();
        fee.mint(address(this), 1e30);
        fee.approve(address(disperse), type(uint256).max);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        disperse.disperse(keccak256("other"), fee, to, amounts);
        IERC20 lying = IERC20(address(new LyingToken(false)));
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, lying));
        disperse.disperse(keccak256("other"), lying, to, amounts);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(0xE0A)));
        disperse.disperse(keccak256("other"), IERC20(address(0xE0A)), to, amounts);
    }

    /// As the documentation says: whoever pays reads the events.
    function test_a_fee_on_what_leaves_shows_in_the_events_only() public {
        (address[] memory to, uint256[] memory amounts) = batch(1, 1);
        FeeToken fee = new FeeToken();
        fee.mint(address(this), 1e30);
        fee.approve(address(disperse), type(uint256).max);
        fee.exempt(address(this));
        uint256 whole = amounts[0] - amounts[0] / 10;
        vm.expectEmit(address(fee));
        emit IERC20.Transfer(address(disperse), to[0], whole);
        disperse.disperse(KEY, fee, to, amounts);
        vm.assertEq(fee.balanceOf(to[0]), whole, "less than was to be paid");
    }

    function test_a_token_that_calls_back_is_not_paid_for_twice() public {
        HookToken hook = new HookToken();
        hook.mint(address(this), 1e30);
        hook.approve(address(disperse), type(uint256).max);
        (address[] memory to, uint256[] memory amounts) = batch(1, 2);
        hook.arm(address(this), abi.encodeCall(this.again, (IERC20(address(hook)), to, amounts)));
        disperse.disperse(KEY, hook, to, amounts);
        vm.assertTrue(!hook.reentered(), "refused");
        vm.assertEq(hook.balanceOf(to[0]), amounts[0], "once");
    }

    function again(IERC20 hook, address[] calldata to, uint256[] calldata amounts) external {
        disperse.disperse(KEY, hook, to, amounts);
    }

    function batch(uint256 seed, uint256 count) private pure returns (address[] memory to, uint256[] memory amounts) {
        (to, amounts) = (new address[](count), new uint256[](count));
        for (uint256 i = 0; i < count; ++i) {
            uint256 random = uint256(keccak256(abi.encode(seed, i)));
            (to[i], amounts[i]) = (address(uint160(random)), random >> 170);
        }
    }
}
