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
    mapping(address recipient => uint256 amount) public received;

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
        return vm.addr(0xACC000 + i);
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
            book(i, leaf.account);
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
            expected += book(who, leaf.account);
        }
        vm.assertEq(distributor.claimMany(claims), expected, "paid now");
    }

    /// @dev The account names whom it has paid: another account, or somebody without rewards.
    function claimTo(uint256 seed, uint256 to) external {
        if (epochs.length == 0) return;
        uint256 i = seed % ACCOUNTS;
        (RewardTree.Leaf memory leaf, address recipient) = (published[i], recipientAt(to));
        bytes memory call =
            abi.encodeCall(RewardDistributor.claimTo, (leaf.account, leaf.cumulative, nodes.proof(leaf), recipient));
        bytes memory expected = abi.encodePacked(RewardDistributor.NotCommander.selector);
        (bool done,) = attempt(accountAt((i + 1) % ACCOUNTS), address(distributor), call, expected);
        vm.assertTrue(!done, "nobody else names the recipient");
        expected = abi.encodePacked(RewardDistributor.NothingToClaim.selector);
        (done,) = attempt(leaf.account, address(distributor), call, expected);
        vm.assertTrue(done == (leaf.cumulative > paid[i]), "all that is not paid");
        if (done) book(i, recipient);
    }

    /// @dev Whoever sends it: once with another's signature, then with the account's, then with that again.
    function claimBySignature(uint256 seed, uint256 to) external {
        if (epochs.length == 0) return;
        uint256 i = seed % ACCOUNTS;
        address recipient = recipientAt(to);
        bytes memory expected = abi.encodePacked(RewardDistributor.InvalidSignature.selector);
        bytes memory call = signedClaim(i, (i + 1) % ACCOUNTS, recipient);
        (bool done,) = attempt(recipient, address(distributor), call, expected);
        vm.assertTrue(!done, "another's signature");
        call = signedClaim(i, i, recipient);
        expected = abi.encodePacked(RewardDistributor.NothingToClaim.selector);
        (done,) = attempt(recipient, address(distributor), call, expected);
        vm.assertTrue(done == (published[i].cumulative > paid[i]), "all that is not paid");
        if (done) book(i, recipient);
        (done,) = attempt(recipient, address(distributor), call, expected);
        vm.assertTrue(!done, "a signature pays once");
    }

    function signedClaim(uint256 i, uint256 signer, address to) private view returns (bytes memory) {
        RewardTree.Leaf memory leaf = published[i];
        bytes32 hash = keccak256(
            abi.encode(
                keccak256("Claim(address account,uint256 cumulative,address to,uint256 deadline)"),
                leaf.account,
                leaf.cumulative,
                to,
                type(uint256).max
            )
        );
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(0xACC000 + signer, typedDigest("RewardDistributor", address(distributor), hash));
        return abi.encodeCall(
            RewardDistributor.claimBySignature,
            (leaf.account, leaf.cumulative, nodes.proof(leaf), to, type(uint256).max, packed(v, r, s))
        );
    }

    /// @dev One more than the accounts.
    function recipientAt(uint256 i) public pure returns (address) {
        i %= ACCOUNTS + 1;
        return i == ACCOUNTS ? address(0x0BA6) : accountAt(i);
    }

    function book(uint256 i, address recipient) private returns (uint256 amount) {
        amount = published[i].cumulative - paid[i];
        paid[i] += amount;
        received[recipient] += amount;
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
        for (uint256 i = 0; i <= treasury.ACCOUNTS(); ++i) {
            paid += token.balanceOf(treasury.recipientAt(i));
        }
        uint256 unclaimed = token.balanceOf(address(distributor));
        vm.assertEq(paid + unclaimed, treasury.emitted(), "emitted");
        vm.assertEq(distributor.cumulativeTotal(), treasury.emitted(), "published");
        vm.assertEq(token.totalSupply(), treasury.emitted(), "issued");
    }

    function invariant_everybody_got_what_the_books_say() public view {
        for (uint256 i = 0; i < treasury.ACCOUNTS(); ++i) {
            vm.assertEq(distributor.claimed(treasury.accountAt(i)), treasury.paid(i), "claimed");
        }
        for (uint256 i = 0; i <= treasury.ACCOUNTS(); ++i) {
            address recipient = treasury.recipientAt(i);
            vm.assertEq(token.balanceOf(recipient), treasury.received(recipient), "balance");
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
