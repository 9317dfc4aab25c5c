// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC6551Account} from "erc6551/interfaces/IERC6551Account.sol";
import {DeviceAccount} from "../src/DeviceAccount.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {Fleet} from "./Fleet.sol";

/// @dev A contract for accounts to call.
contract Target {
    error Refused(uint256 value);

    function echo(uint256 value) external payable returns (uint256, address, uint256) {
        return (value, msg.sender, msg.value);
    }

    function refuse(uint256 value) external pure {
        revert Refused(value);
    }
}

contract DeviceAccountTest is Fleet {
    bytes4 private constant INVALID = 0xffffffff;
    uint256 private constant OWNER_KEY = 0x0DE;

    address private device;
    address private owner;
    DeviceAccount private account;
    Target private target;

    function setUp() public {
        deployRegistry();
        target = new Target();
        owner = vm.addr(OWNER_KEY);
        device = enroll(0xD1CE).device;
        vm.prank(OWNER);
        registry.transferFrom(OWNER, owner, uint160(device));
        account = DeviceAccount(payable(registry.accountOf(device)));
    }

    function test_it_belongs_to_the_device() public view {
        (uint256 chainId, address tokenContract, uint256 tokenId) = account.token();
        vm.assertEq(chainId, block.chainid, "chain");
        vm.assertEq(tokenContract, address(registry), "token contract");
        vm.assertEq(tokenId, uint160(device), "token id");
        vm.assertEq(account.owner(), owner, "owner");
    }

    function testFuzz_the_owner_calls_in_its_name(uint256 value, uint96 coins) public {
        vm.deal(address(account), coins);
        vm.prank(owner);
        bytes memory answer = account.execute(address(target), coins, abi.encodeCall(Target.echo, (value)), 0);
        (uint256 echoed, address sender, uint256 received) = abi.decode(answer, (uint256, address, uint256));
        vm.assertEq(echoed, value, "answer");
        vm.assertEq(sender, address(account), "caller");
        vm.assertEq(received, coins, "coins");
        vm.assertEq(account.state(), 1, "state counts calls");
    }

    function testFuzz_coins_that_it_holds_are_the_owners_to_spend(uint96 coins, uint96 held) public {
        held = coins > held ? coins : held;
        address payee = address(0xB0B);
        vm.deal(address(account), held);
        vm.prank(owner);
        account.execute(payee, coins, "", 0);
        vm.assertEq(payee.balance, coins, "paid");
        vm.assertEq(address(account).balance, held - coins, "left");
    }

    function test_data_for_nobody_is_refused() public {
        vm.expectRevert(abi.encodeWithSignature("AddressEmptyCode(address)", address(0xB0B)));
        vm.prank(owner);
        account.execute(address(0xB0B), 0, hex"12345678", 0);
    }

    function testFuzz_it_passes_on_the_error_of_the_called(uint256 value) public {
        vm.expectRevert(abi.encodeWithSelector(Target.Refused.selector, value));
        vm.prank(owner);
        account.execute(address(target), 0, abi.encodeCall(Target.refuse, (value)), 0);
        vm.assertEq(account.state(), 0, "state");
    }

    function testFuzz_nobody_else_commands_it(address caller) public {
        vm.assume(caller != owner);
        vm.expectRevert(abi.encodeWithSelector(DeviceAccount.NotOwner.selector, caller));
        vm.prank(caller);
        account.execute(address(target), 0, "", 0);
        vm.assertEq(bytes32(account.isValidSigner(caller, "")), bytes32(0), "signer");
    }

    function testFuzz_only_plain_calls_are_executed(uint8 operation) public {
        vm.assume(operation != 0);
        vm.expectRevert(abi.encodeWithSelector(DeviceAccount.UnsupportedOperation.selector, operation));
        vm.prank(owner);
        account.execute(address(target), 0, "", operation);
    }

    function test_it_changes_hands_with_the_device() public {
        vm.prank(owner);
        registry.transferFrom(owner, STRANGER, uint160(device));
        vm.assertEq(account.owner(), STRANGER, "owner");
        vm.expectRevert(abi.encodeWithSelector(DeviceAccount.NotOwner.selector, owner));
        vm.prank(owner);
        account.execute(address(target), 0, "", 0);
        vm.assertEq(
            bytes32(account.isValidSigner(STRANGER, "")), bytes32(IERC6551Account.isValidSigner.selector), "signer"
        );
    }

    function test_rewards_that_it_holds_are_the_owners_to_spend() public {
        NetworkToken token = new NetworkToken("Weather", "WTR", 100, address(this));
        token.grantRole(token.MINTER_ROLE(), address(this));
        token.mint(address(account), 100);
        vm.prank(owner);
        account.execute(address(token), 0, abi.encodeCall(token.transfer, (STRANGER, 60)), 0);
        vm.assertEq(token.balanceOf(STRANGER), 60, "spent");
        vm.assertEq(token.balanceOf(address(account)), 40, "kept");
    }

    function testFuzz_the_owners_signature_counts(bytes32 hash) public view {
        bytes memory signature = sign(OWNER_KEY, messageDigest(address(account), hash));
        vm.assertEq(
            bytes32(account.isValidSignature(hash, signature)), bytes32(IERC1271.isValidSignature.selector), "valid"
        );
    }

    function testFuzz_a_signature_for_anything_else_does_not(bytes32 hash, bytes32 other, uint256 key) public {
        vm.assume(hash != other && keyFrom(key) != OWNER_KEY);
        address second = enroll(0xD1CE2).device;
        refused(hash, sign(OWNER_KEY, hash));
        refused(hash, sign(OWNER_KEY, messageDigest(address(account), other)));
        refused(hash, sign(OWNER_KEY, messageDigest(registry.accountOf(second), hash)));
        refused(hash, sign(keyFrom(key), messageDigest(address(account), hash)));
        refused(hash, "");
    }

    function test_a_device_can_own_a_device_that_signs_through_it() public {
        address gateway = enroll(0xD1CE3).device;
        DeviceAccount outer = DeviceAccount(payable(registry.accountOf(gateway)));
        vm.prank(OWNER);
        registry.transferFrom(OWNER, owner, uint160(gateway));
        vm.prank(owner);
        registry.safeTransferFrom(owner, address(outer), uint160(device));
        vm.assertEq(account.owner(), address(outer), "owner");

        bytes32 inner = messageDigest(address(account), "hash");
        bytes memory signature = sign(OWNER_KEY, messageDigest(address(outer), inner));
        vm.assertEq(
            bytes32(account.isValidSignature("hash", signature)),
            bytes32(IERC1271.isValidSignature.selector),
            "valid through the outer account"
        );
    }

    function test_its_own_device_token_is_refused() public {
        vm.expectRevert(DeviceAccount.OwnershipCycle.selector);
        vm.prank(address(registry));
        account.onERC721Received(owner, owner, uint160(device), "");
        vm.assertEq(
            bytes32(account.onERC721Received(owner, owner, uint160(device), "")),
            bytes32(account.onERC721Received.selector),
            "the same id of another collection"
        );
    }

    function test_an_account_of_another_chain_has_no_owner() public {
        vm.chainId(block.chainid + 1);
        vm.assertEq(account.owner(), address(0), "owner");
        vm.expectRevert(abi.encodeWithSelector(DeviceAccount.NotOwner.selector, address(0)));
        vm.prank(address(0));
        account.execute(address(target), 0, "", 0);
        refused("hash", sign(OWNER_KEY, messageDigest(address(account), "hash")));
    }

    function test_the_implementation_itself_obeys_nobody() public {
        vm.expectRevert();
        accountImplementation.execute(address(target), 0, "", 0);
    }

    function test_it_says_what_it_supports() public view {
        vm.assertTrue(account.supportsInterface(0x01ffc9a7), "ERC-165");
        vm.assertTrue(account.supportsInterface(0x6faff5f1), "ERC-6551 account");
        vm.assertTrue(account.supportsInterface(0x51945447), "ERC-6551 executable");
        vm.assertTrue(account.supportsInterface(0x1626ba7e), "ERC-1271");
        vm.assertTrue(account.supportsInterface(0x150b7a02), "ERC-721 receiver");
        vm.assertTrue(account.supportsInterface(0x4e2312e0), "ERC-1155 receiver");
        vm.assertTrue(!account.supportsInterface(0xffffffff), "the invalid id");
    }

    function refused(bytes32 hash, bytes memory signature) private view {
        vm.assertEq(bytes32(account.isValidSignature(hash, signature)), bytes32(INVALID), "refused");
    }

    function messageDigest(address of_, bytes32 hash) private view returns (bytes32) {
        return typedDigest("DeviceAccount", of_, keccak256(abi.encode(keccak256("AccountMessage(bytes32 hash)"), hash)));
    }
}
