// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {Test} from "./Base.sol";

contract NetworkTokenTest is Test {
    uint256 private constant CAP = 1_000_000e18;
    address private constant MINTER = address(0xA1);
    address private constant BOB = address(0xB0B);

    NetworkToken private token;

    function setUp() public {
        vm.warp(1_000_000);
        token = new NetworkToken("Weather", "WTR", CAP, address(this));
        token.grantRole(token.MINTER_ROLE(), MINTER);
    }

    function test_names_cap_and_empty_supply() public view {
        vm.assertEq(token.name(), "Weather", "name");
        vm.assertEq(token.symbol(), "WTR", "symbol");
        vm.assertEq(token.decimals(), 18, "decimals");
        vm.assertEq(token.cap(), CAP, "cap");
        vm.assertEq(token.totalSupply(), 0, "supply");
    }

    function test_a_cap_of_zero_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(ERC20Capped.ERC20InvalidCap.selector, 0));
        new NetworkToken("Weather", "WTR", 0, address(this));
    }

    function testFuzz_only_minters_issue(address caller, uint256 amount) public {
        vm.assume(caller != MINTER);
        bytes32 role = token.MINTER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        token.mint(BOB, amount);
    }

    function test_the_admin_does_not_issue() public {
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        token.mint(BOB, 1);
    }

    function testFuzz_issue_up_to_the_cap_and_not_above(uint256 amount, uint256 more) public {
        amount = bound(amount, 0, CAP);
        mint(BOB, amount);
        vm.assertEq(token.balanceOf(BOB), amount, "balance");
        vm.assertEq(token.totalSupply(), amount, "supply");

        more = bound(more, CAP - amount + 1, type(uint256).max - amount);
        vm.expectRevert(abi.encodeWithSelector(ERC20Capped.ERC20ExceededCap.selector, amount + more, CAP));
        mint(BOB, more);
    }

    function test_nobody_issues_to_zero() public {
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        mint(address(0), 1);
    }

    function testFuzz_burned_tokens_can_be_issued_again(uint256 burned) public {
        burned = bound(burned, 1, CAP);
        mint(BOB, CAP);
        vm.prank(BOB);
        token.burn(burned);
        vm.assertEq(token.totalSupply(), CAP - burned, "supply after burning");
        mint(BOB, burned);
        vm.assertEq(token.totalSupply(), CAP, "supply after issuing again");
    }

    function testFuzz_permit_approves_once(uint256 seed, uint256 value) public {
        uint256 key = keyFrom(seed);
        address owner = vm.addr(key);
        bytes32 digest = tokenDigest(
            keccak256(
                abi.encode(
                    keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                    owner,
                    BOB,
                    value,
                    0,
                    block.timestamp
                )
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        token.permit(owner, BOB, value, block.timestamp, v, r, s);
        vm.assertEq(token.allowance(owner, BOB), value, "allowance");

        vm.expectPartialRevert(ERC20Permit.ERC2612InvalidSigner.selector);
        token.permit(owner, BOB, value, block.timestamp, v, r, s);
        vm.warp(block.timestamp + 1);
        vm.expectRevert(abi.encodeWithSelector(ERC20Permit.ERC2612ExpiredSignature.selector, block.timestamp - 1));
        token.permit(owner, BOB, value, block.timestamp - 1, v, r, s);
    }

    function testFuzz_a_signed_transfer_with_a_random_nonce_lands_once(uint256 seed, bytes32 nonce, uint256 value)
        public
    {
        uint256 key = keyFrom(seed);
        address from = vm.addr(key);
        vm.assume(from != BOB);
        value = bound(value, 0, CAP);
        mint(from, value);
        bytes32 digest = transferDigest(from, value, nonce);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);

        token.transferWithAuthorization(from, BOB, value, 0, type(uint256).max, nonce, v, r, s);
        vm.assertEq(token.balanceOf(BOB), value, "paid");
        vm.assertTrue(token.authorizationState(from, nonce), "nonce is used");
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, from, nonce));
        token.transferWithAuthorization(from, BOB, value, 0, type(uint256).max, nonce, v, r, s);
    }

    function testFuzz_a_signed_transfer_binds_its_arguments(uint256 seed, bytes32 nonce, uint256 value) public {
        uint256 key = keyFrom(seed);
        address from = vm.addr(key);
        value = bound(value, 0, CAP - 1);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, transferDigest(from, value, nonce));

        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.transferWithAuthorization(from, BOB, value + 1, 0, type(uint256).max, nonce, v, r, s);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.transferWithAuthorization(from, MINTER, value, 0, type(uint256).max, nonce, v, r, s);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        vm.prank(BOB);
        token.receiveWithAuthorization(from, BOB, value, 0, type(uint256).max, nonce, v, r, s);
        vm.chainId(4689);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        token.transferWithAuthorization(from, BOB, value, 0, type(uint256).max, nonce, v, r, s);
    }

    function mint(address to, uint256 amount) private {
        vm.prank(MINTER);
        token.mint(to, amount);
    }

    function transferDigest(address from, uint256 value, bytes32 nonce) private view returns (bytes32) {
        bytes32 typeHash = keccak256(
            "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        return tokenDigest(keccak256(abi.encode(typeHash, from, BOB, value, 0, type(uint256).max, nonce)));
    }

    function tokenDigest(bytes32 structHash) private view returns (bytes32) {
        return typedDigest("Weather", address(token), structHash);
    }
}
