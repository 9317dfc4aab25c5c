// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {NetworkToken} from "../src/NetworkToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {EpochRoots, RootRules, TokenSource} from "../src/rewards/EpochRoots.sol";
import {Test} from "./Base.sol";
import {RewardTree} from "./RewardTree.sol";

/// @dev Publishes and claims in any order, from real trees, and tries what must not work in between.
contract Treasury is Test {
    using RewardTree for bytes32[];
    using RewardTree for RewardTree.Leaf[];

    uint256 public constant ACCOUNTS = 7;
    uint256 private constant CAP = 10_000;

    NetworkToken public token;
    RewardDistributor public distributor;
    uint256 public emitted;
    uint64[] public epochs;
    mapping(uint64 epoch => bytes32 root) public roots;
    mapping(uint256 account => uint256 amount) public paid;

    RewardTree.Leaf[] private leaves;
    RewardTree.Leaf[] private published;
    bytes32[] private nodes;

    constructor() {
        token = new NetworkToken("Weather", "WTR", CAP, address(this));
        distributor = new RewardDistributor(token, TokenSource(address(token)), RootRules(0, 0, 0, 0), address(this));
        token.grantRole(token.MINTER_ROLE(), address(distributor));
        distributor.grantRole(distributor.PUBLISHER_ROLE(), address(this));
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            leaves.push(RewardTree.Leaf(accountAt(i), 0));
        }
    }

    function accountAt(uint256 i) public pure returns (address) {
        return address(uint160(0xACC000 + i));
    }

    function epochCount() external view returns (uint256) {
        return epochs.length;
    }

    function earnAndPublish(uint256 seed) external {
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            uint256 earned = bound(uint256(keccak256(abi.encode(seed, i))), 0, (CAP - emitted) / 10);
            leaves[i].cumulative += earned;
            emitted += earned;
        }
        uint64 epoch = epochs.length == 0 ? uint64(seed % 3) : epochs[epochs.length - 1] + 1 + uint64(seed % 3);
        nodes = leaves.build();
        delete published;
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            published.push(leaves[i]);
        }
        distributor.publish(epoch, nodes[0], emitted, bytes32(seed));
        epochs.push(epoch);
        roots[epoch] = nodes[0];
    }

    function claim(uint256 seed) external {
        if (epochs.length == 0) return;
        uint256 i = seed % ACCOUNTS;
        RewardTree.Leaf memory leaf = published[i];
        bytes32[] memory proof = nodes.proof(leaf);
        if (leaf.cumulative > paid[i]) {
            uint256 amount = distributor.claim(leaf.account, leaf.cumulative, proof);
            vm.assertEq(amount, leaf.cumulative - paid[i], "the difference");
            paid[i] = leaf.cumulative;
        }
        vm.expectRevert(
            abi.encodeWithSelector(RewardDistributor.NothingToClaim.selector, leaf.account, leaf.cumulative)
        );
        distributor.claim(leaf.account, leaf.cumulative, proof);
    }

    function claimMany(uint256 mask) external {
        if (epochs.length == 0) return;
        RewardDistributor.Claim[] memory claims = new RewardDistributor.Claim[](ACCOUNTS);
        uint256 expected = 0;
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            // Some appear twice: the second time pays nothing.
            uint256 who = mask >> i & 1 == 1 ? i : 0;
            RewardTree.Leaf memory leaf = published[who];
            claims[i] = RewardDistributor.Claim(leaf.account, leaf.cumulative, nodes.proof(leaf));
            expected += leaf.cumulative - paid[who];
            paid[who] = leaf.cumulative;
        }
        vm.assertEq(distributor.claimMany(claims), expected, "paid now");
    }

    function claimTooMuch(uint256 seed, uint256 more) external {
        if (epochs.length == 0) return;
        RewardTree.Leaf memory leaf = published[seed % ACCOUNTS];
        bytes32[] memory proof = nodes.proof(leaf);
        uint256 wanted = bound(more, leaf.cumulative + 1, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidProof.selector, leaf.account, wanted));
        distributor.claim(leaf.account, wanted, proof);
    }

    function rewriteHistory(uint256 seed) external {
        if (epochs.length == 0) return;
        uint64 latest = epochs[epochs.length - 1];
        uint64 epoch = uint64(seed % (uint256(latest) + 1));
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.EpochNotAfterLatest.selector, epoch, latest));
        distributor.publish(epoch, bytes32(uint256(1)), emitted, 0);
    }
}

contract RewardDistributorInvariants is Test {
    Treasury private treasury;
    RewardDistributor private distributor;
    NetworkToken private token;

    function setUp() public {
        treasury = new Treasury();
        distributor = treasury.distributor();
        token = treasury.token();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(treasury);
    }

    function invariant_paid_and_unclaimed_are_what_was_emitted_and_issued() public view {
        uint256 paid = 0;
        for (uint256 i = 0; i < treasury.ACCOUNTS(); ++i) {
            paid += token.balanceOf(treasury.accountAt(i));
        }
        uint256 unclaimed = token.balanceOf(address(distributor));
        vm.assertEq(paid + unclaimed, treasury.emitted(), "emitted");
        vm.assertEq(distributor.cumulativeTotal(), treasury.emitted(), "published");
        vm.assertEq(token.totalSupply(), treasury.emitted(), "issued");
    }

    function invariant_everybody_got_what_the_books_say() public view {
        for (uint256 i = 0; i < treasury.ACCOUNTS(); ++i) {
            address account = treasury.accountAt(i);
            vm.assertEq(distributor.claimed(account), treasury.paid(i), "claimed");
            vm.assertEq(token.balanceOf(account), treasury.paid(i), "balance");
        }
    }

    function invariant_published_roots_stay() public view {
        uint256 count = treasury.epochCount();
        vm.assertEq(distributor.epochCount(), count, "count");
        for (uint256 i = 0; i < count; ++i) {
            uint64 epoch = treasury.epochs(i);
            vm.assertEq(distributor.epochRoot(epoch), treasury.roots(epoch), "root");
        }
    }
}
