// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Disperse} from "../src/Disperse.sol";
import {EmissionController} from "../src/EmissionController.sol";
import {Decay, Row, Schedule, Target} from "../src/emission/Curves.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {PaymentChannel} from "../src/PaymentChannel.sol";
import {PaymentStream} from "../src/PaymentStream.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {RootRules, TokenSource} from "../src/rewards/EpochRoots.sol";
import {Test} from "./Base.sol";
import {RewardTree} from "./RewardTree.sol";

/// @dev What whole transactions of payments cost, as `GasTest`, in snapshots/PaymentGas.json.
/// forge-config: default.isolate = true
contract PaymentGasTest is Test {
    address private constant ALICE = address(uint160(uint256(keccak256("alice"))));
    address private constant BOB = address(uint160(uint256(keccak256("bob"))));

    NetworkToken private token;
    EmissionController private emission;
    RewardDistributor private distributor;

    function setUp() public {
        vm.warp(1_800_000_000);
        token = new NetworkToken("Weather", "WTR", 1e30, address(this));
        token.grantRole(token.MINTER_ROLE(), address(this));
        // As a network is deployed: the controller issues, along a decay, and the distributor may have it issue.
        emission = new EmissionController(
            token,
            Schedule(uint64(block.timestamp) - 10 days, 1 days, 1e27),
            Decay(1e20, 30, 9, 10),
            new Row[](0),
            Target(0, 0, false),
            address(this)
        );
        token.grantRole(token.MINTER_ROLE(), address(emission));
        distributor = deploy(emission, RootRules(0, 0, 0, 0));
    }

    function deploy(TokenSource source, RootRules memory rules) private returns (RewardDistributor d) {
        d = new RewardDistributor(token, source, rules, address(this));
        emission.grantRole(emission.EMITTER_ROLE(), address(d));
        d.grantRole(d.PUBLISHER_ROLE(), address(this));
    }

    function test_gas_of_the_token() public {
        token.mint(ALICE, 1e24);
        vm.prank(ALICE);
        token.transfer(BOB, 1e18);
        note("token transfer, new recipient");
        vm.prank(ALICE);
        token.transfer(BOB, 1e18);
        note("token transfer, known recipient");
    }

    /// x402's scheme `exact`: the payer signs, whoever settles sends.
    function test_gas_of_an_x402_settlement() public {
        address payer = vm.addr(7);
        token.mint(payer, 1e24);
        exact(payer, keccak256("nonce 1"));
        note("x402 exact settlement, new recipient", 85_000);
        exact(payer, keccak256("nonce 2"));
        note("x402 exact settlement, known recipient", 85_000);
    }

    function exact(address payer, bytes32 nonce) private {
        bytes32 typeHash = keccak256(
            "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        uint256 validBefore = block.timestamp + 60;
        bytes32 hashed = keccak256(abi.encode(typeHash, payer, BOB, 1e16, 0, validBefore, nonce));
        bytes32 domain = token.DOMAIN_SEPARATOR();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(7, keccak256(abi.encodePacked(hex"1901", domain, hashed)));
        token.transferWithAuthorization(payer, BOB, 1e16, 0, validBefore, nonce, v, r, s);
    }

    function test_gas_of_a_disputable_root() public {
        RewardDistributor slow = deploy(emission, RootRules(1 days, 1e18, 1e24, 1 days));
        slow.publish(0, keccak256("root 0"), 2e18, keccak256("log 0"));
        note("publish with a window, first epoch", 60_000);
        vm.warp(block.timestamp + 1 days);
        slow.activate();
        note("activate, first epoch");
        slow.publish(1, keccak256("root 1"), 6e18, keccak256("log 1"));
        note("publish with a window, later epoch", 60_000);
        vm.warp(block.timestamp + 1 days);
        slow.activate();
        note("activate, later epoch");
        slow.publish(2, keccak256("root 2"), 8e18, keccak256("log 2"));
        vm.warp(block.timestamp + 1 days);
        slow.publish(3, keccak256("root 3"), 9e18, keccak256("log 3"));
        note("publish with a window, activating the epoch before");
    }

    /// @dev For networks without a controller: what the curve costs is the difference.
    function test_gas_of_a_root_without_a_curve() public {
        RewardDistributor plain = deploy(TokenSource(address(token)), RootRules(1 days, 1e18, 1e24, 1 days));
        token.grantRole(token.MINTER_ROLE(), address(plain));
        plain.publish(0, keccak256("root 0"), 2e18, 0);
        vm.warp(block.timestamp + 1 days);
        plain.activate();
        note("activate without a controller, first epoch");
        plain.publish(1, keccak256("root 1"), 6e18, 0);
        vm.warp(block.timestamp + 1 days);
        plain.activate();
        note("activate without a controller, later epoch");
    }

    function test_gas_of_a_channel() public {
        PaymentChannel channel = new PaymentChannel();
        address payer = vm.addr(7);
        PaymentChannel.Terms memory terms =
            PaymentChannel.Terms(payer, BOB, address(token), payer, 12 hours, keccak256("salt"));
        token.mint(payer, 1e24);
        vm.prank(payer);
        token.approve(address(channel), type(uint256).max);
        vm.prank(payer);
        bytes32 id = channel.deposit(terms, 1e21);
        note("channel, open");
        channel.settle(terms, 0, 1e18, signed(7, channel.digestOf(id, 0, 1e18)));
        note("channel, settle to a new payee");
        channel.settle(terms, 0, 3e18, signed(7, channel.digestOf(id, 0, 3e18)));
        note("channel, settle", 58_000);
        channel.settle(terms, 1, 3e18, signed(7, channel.digestOf(id, 1, 3e18)));
        channel.settle(terms, 1, 5e18, signed(7, channel.digestOf(id, 1, 5e18)));
        note("channel, settle another lane");
        vm.prank(BOB);
        channel.close(terms);
        note("channel, close");
    }

    function test_gas_of_a_stream() public {
        PaymentStream streams = new PaymentStream();
        token.mint(address(this), 1e24);
        token.approve(address(streams), type(uint256).max);
        streams.deposit(address(this), address(token), 1e22);
        note("stream, fill the purse");
        streams.start(BOB, address(token), 1e15);
        note("stream, start");
        vm.warp(block.timestamp + 1 days);
        streams.settle(address(this), BOB, address(token));
        vm.warp(block.timestamp + 1 days);
        streams.settle(address(this), BOB, address(token));
        note("stream, settle");
    }

    function test_gas_of_batched_transfers() public {
        Disperse disperse = new Disperse();
        token.mint(address(this), 1e24);
        token.approve(address(disperse), type(uint256).max);
        address[] memory to = new address[](100);
        uint256[] memory amounts = new uint256[](100);
        for (uint256 i = 0; i < to.length; ++i) {
            (to[i], amounts[i]) = (address(uint160(uint256(keccak256(abi.encode(i))))), 1e18 + i);
        }
        disperse.disperse(keccak256("run 1"), token, to, amounts);
        vm.assertLe(vm.lastCallGas().gasTotalUsed, 100 * 27_000, "limit of a batched transfer, new");
        vm.snapshotValue("PaymentGas", "batched transfer, each of 100 new", vm.lastCallGas().gasTotalUsed / 100);
        disperse.disperse(keccak256("run 2"), token, to, amounts);
        vm.assertLe(vm.lastCallGas().gasTotalUsed, 100 * 9_700, "limit of a batched transfer, known");
        vm.snapshotValue("PaymentGas", "batched transfer, each of 100 known", vm.lastCallGas().gasTotalUsed / 100);
    }

    function test_gas_of_rewards() public {
        (bytes32 root, bytes32[] memory proof) = deepTree(ALICE, 1e18);
        distributor.publish(0, root, 2e18, keccak256("log 0"));
        note("publish, first epoch");
        distributor.claim(ALICE, 1e18, proof);
        note("claim, first, depth 20", 97_000);
        (root, proof) = deepTree(ALICE, 3e18);
        distributor.publish(1, root, 6e18, keccak256("log 1"));
        note("publish, later epoch");
        distributor.claim(ALICE, 3e18, proof);
        note("claim, later, depth 20", 62_000);
    }

    /// @dev A root and proof as in a tree of a million leaves; the siblings are any hashes.
    function deepTree(address account, uint256 cumulative) private pure returns (bytes32 root, bytes32[] memory proof) {
        proof = new bytes32[](20);
        root = RewardTree.leafHash(RewardTree.Leaf(account, cumulative));
        for (uint256 i = 0; i < proof.length; ++i) {
            bytes32 sibling = keccak256(abi.encode(cumulative, i));
            proof[i] = sibling;
            root = root < sibling ? keccak256(abi.encode(root, sibling)) : keccak256(abi.encode(sibling, root));
        }
    }

    function signed(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return packed(v, r, s);
    }

    /// @dev As the one below, for what a network may rely on: a change that makes it dearer than `limit` fails.
    function note(string memory what, uint256 limit) private {
        vm.assertLe(vm.lastCallGas().gasTotalUsed, limit, what);
        note(what);
    }

    function note(string memory what) private {
        vm.snapshotValue("PaymentGas", what, vm.lastCallGas().gasTotalUsed);
    }
}
