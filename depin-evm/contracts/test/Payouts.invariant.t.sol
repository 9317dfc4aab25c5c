// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {BitmapDistributor} from "../src/BitmapDistributor.sol";
import {Disperse} from "../src/Disperse.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {EpochRoots, RootRules, TokenSource} from "../src/rewards/EpochRoots.sol";
import {Test} from "./Base.sol";
import {FeeToken, PlainToken} from "./Tokens.sol";

/// @dev A bitmap distributor with a limit on the emission; four leaves an epoch, whose indices lie in two words.
contract Payday is Test {
    uint128 public constant LIMIT = 1_000;
    uint48 public constant PERIOD = 1 days;
    uint256 public constant LEAVES = 4;

    NetworkToken public token;
    BitmapDistributor public distributor;
    uint256 public begun = 1_800_000_000;
    uint256 public emitted;
    uint64 public epochs;
    mapping(uint64 epoch => mapping(uint256 leaf => uint256)) private amounts;
    mapping(uint64 epoch => mapping(uint256 leaf => bool)) public paid;
    mapping(address account => uint256) public received;

    constructor() {
        vm.warp(begun);
        token = new NetworkToken("Weather", "WTR", 1e24, address(this));
        RootRules memory rules = RootRules(0, 0, LIMIT, PERIOD);
        distributor = new BitmapDistributor(token, TokenSource(address(token)), rules, address(this));
        token.grantRole(token.MINTER_ROLE(), address(distributor));
        distributor.grantRole(distributor.PUBLISHER_ROLE(), address(this));
    }

    function accountAt(uint256 leaf) public pure returns (address) {
        // Two leaves of an epoch are one account's.
        return address(uint160(0xB17000 + leaf % 3));
    }

    function indexAt(uint256 leaf) public pure returns (uint256) {
        return leaf * 100;
    }

    function pass(uint256 elapsed) external {
        vm.warp(block.timestamp + elapsed % PERIOD);
    }

    function publish(uint256 seed, bool huge) external {
        uint256 sum = 0;
        for (uint256 i = 0; i < LEAVES; ++i) {
            amounts[epochs][i] = uint256(keccak256(abi.encode(seed, i))) % (huge ? 600 : 60);
            sum += amounts[epochs][i];
        }
        (bytes32 root,) = walk(epochs, 0);
        bytes memory call = abi.encodeCall(EpochRoots.publish, (epochs, root, sum, 0));
        bytes4 refusal = sum > LIMIT ? EpochRoots.EmissionAboveLimit.selector : RateLimiter.RateLimitExceeded.selector;
        (bool done,) = attempt(address(this), address(distributor), call, abi.encodePacked(refusal));
        vm.assertTrue(!done || sum <= LIMIT, "never beyond the limit at once");
        if (!done) return;
        emitted += sum;
        ++epochs;
    }

    function claim(uint64 epoch, uint256 leaf) external {
        if (epochs == 0) return;
        (epoch, leaf) = (epoch % epochs, leaf % LEAVES);
        BitmapDistributor.Claim memory c = claimOf(epoch, leaf);
        bytes memory call = abi.encodeCall(BitmapDistributor.claim, (epoch, c.index, c.account, c.amount, c.proof));
        bytes memory expected = abi.encodePacked(BitmapDistributor.AlreadyClaimed.selector);
        (bool done,) = attempt(address(this), address(distributor), call, expected);
        vm.assertTrue(done != paid[epoch][leaf], "once, and the first time");
        if (done) book(epoch, leaf);
    }

    /// @dev Leaves of two epochs, some of them twice.
    function claimMany(uint64 one, uint64 other, uint256 mask) external {
        if (epochs == 0) return;
        BitmapDistributor.Claim[] memory claims = new BitmapDistributor.Claim[](LEAVES);
        uint256 expected = 0;
        for (uint256 i = 0; i < LEAVES; ++i) {
            uint64 epoch = (mask >> i & 1 == 0 ? one : other) % epochs;
            uint256 leaf = (mask >> 8 * (i + 1)) % LEAVES;
            claims[i] = claimOf(epoch, leaf);
            if (paid[epoch][leaf]) continue;
            expected += claims[i].amount;
            book(epoch, leaf);
        }
        vm.assertEq(distributor.claimMany(claims), expected, "paid now");
    }

    /// @dev A proof that holds, for more, for somebody else, for another index or another epoch.
    function claimAnother(uint64 epoch, uint256 leaf, uint256 kind) external {
        if (epochs == 0) return;
        (epoch, leaf) = (epoch % epochs, leaf % LEAVES);
        BitmapDistributor.Claim memory c = claimOf(epoch, leaf);
        if (kind % 4 == 0) c.amount += 1;
        else if (kind % 4 == 1) c.account = address(0xBAD);
        else if (kind % 4 == 2) c.index += 256;
        else c.epoch = epochs + 1;
        bytes4 refusal = kind % 4 == 3 ? EpochRoots.UnknownEpoch.selector : BitmapDistributor.InvalidProof.selector;
        bytes memory call = abi.encodeCall(BitmapDistributor.claim, (c.epoch, c.index, c.account, c.amount, c.proof));
        (bool done,) = attempt(address(this), address(distributor), call, abi.encodePacked(refusal));
        vm.assertTrue(!done, "not what was granted");
    }

    function book(uint64 epoch, uint256 leaf) private {
        paid[epoch][leaf] = true;
        received[accountAt(leaf)] += amounts[epoch][leaf];
    }

    function claimOf(uint64 epoch, uint256 leaf) private view returns (BitmapDistributor.Claim memory) {
        (, bytes32[] memory proof) = walk(epoch, leaf);
        return BitmapDistributor.Claim(epoch, indexAt(leaf), accountAt(leaf), amounts[epoch][leaf], proof);
    }

    /// @dev The root of an epoch, and the proof of one of its leaves.
    function walk(uint64 epoch, uint256 leaf) private view returns (bytes32 root, bytes32[] memory proof) {
        bytes32[] memory hashes = new bytes32[](LEAVES);
        for (uint256 i = 0; i < LEAVES; ++i) {
            hashes[i] = keccak256(bytes.concat(keccak256(abi.encode(indexAt(i), accountAt(i), amounts[epoch][i]))));
        }
        (bytes32 left, bytes32 right) = (pair(hashes[0], hashes[1]), pair(hashes[2], hashes[3]));
        proof = new bytes32[](2);
        (proof[0], proof[1]) = (hashes[leaf ^ 1], leaf < 2 ? right : left);
        root = pair(left, right);
    }

    function pair(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
    }
}

/// @dev Two senders who send the same few batches again and again, in a token and in one that takes a fee.
contract Payroll is Test {
    uint256 public constant SENDERS = 2;
    uint256 public constant KEYS = 8;
    uint256 public constant PEOPLE = 5;

    Disperse public disperse = new Disperse();
    PlainToken public token = new PlainToken();
    FeeToken private fee = new FeeToken();
    mapping(uint256 sender => mapping(uint256 key => bytes32)) public batches;
    mapping(uint256 sender => uint256) public spent;
    mapping(uint256 person => uint256) public received;

    constructor() {
        for (uint256 i = 0; i < SENDERS; ++i) {
            token.mint(senderAt(i), 1e30);
            fee.mint(senderAt(i), 1e30);
            vm.startPrank(senderAt(i));
            token.approve(address(disperse), type(uint256).max);
            fee.approve(address(disperse), type(uint256).max);
            vm.stopPrank();
        }
    }

    function senderAt(uint256 i) public pure returns (address) {
        return address(uint160(0x5E0000 + i));
    }

    function personAt(uint256 i) public pure returns (address) {
        return address(uint160(0x9A0000 + i));
    }

    function send(uint256 sender, uint256 key, uint256 batch) external {
        (sender, key) = (sender % SENDERS, key % KEYS);
        (bytes memory call, uint256 total, uint256[] memory shares) = callOf(address(token), key, batch % 3);
        bytes32 before = batches[sender][key];
        bytes4 refusal = before == keccak256(call) ? Disperse.AlreadyPaid.selector : Disperse.KeyReused.selector;
        (bool done,) = attempt(senderAt(sender), address(disperse), call, abi.encodePacked(refusal));
        vm.assertTrue(done == (before == 0), "a key serves once");
        if (!done) return;
        batches[sender][key] = keccak256(call);
        spent[sender] += total;
        for (uint256 i = 0; i < PEOPLE; ++i) {
            received[i] += shares[i];
        }
    }

    /// @dev Less arrives than is paid on, so the batch fails as a whole and its key stays free.
    function sendWithFee(uint256 sender, uint256 key, uint256 batch) external {
        (sender, key) = (sender % SENDERS, key % KEYS);
        (bytes memory call,,) = callOf(address(fee), key, batch % 3);
        bytes4 refusal =
            batches[sender][key] == 0 ? IERC20Errors.ERC20InsufficientBalance.selector : Disperse.KeyReused.selector;
        (bool done,) = attempt(senderAt(sender), address(disperse), call, abi.encodePacked(refusal));
        vm.assertTrue(!done, "nobody is paid less than the batch says");
        vm.assertEq(fee.balanceOf(senderAt(sender)), 1e30, "nothing was taken");
    }

    function callOf(address paying, uint256 key, uint256 batch)
        private
        pure
        returns (bytes memory call, uint256 total, uint256[] memory shares)
    {
        address[] memory to = new address[](PEOPLE);
        shares = new uint256[](PEOPLE);
        for (uint256 i = 0; i < PEOPLE; ++i) {
            (to[i], shares[i]) = (personAt(i), 10 + uint256(keccak256(abi.encode(batch, i))) % 1e6);
            total += shares[i];
        }
        call = abi.encodeCall(Disperse.disperse, (bytes32(key), IERC20(paying), to, shares));
    }
}

contract PaydayInvariants is Test {
    Payday private payday;
    BitmapDistributor private distributor;
    NetworkToken private token;

    function setUp() public {
        payday = new Payday();
        (distributor, token) = (payday.distributor(), payday.token());
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(payday);
    }

    function invariant_every_index_of_every_epoch_is_paid_at_most_once() public view {
        for (uint64 epoch = 0; epoch < payday.epochs(); ++epoch) {
            for (uint256 leaf = 0; leaf < payday.LEAVES(); ++leaf) {
                bool paid = distributor.isClaimed(epoch, payday.indexAt(leaf));
                vm.assertTrue(paid == payday.paid(epoch, leaf), "the bitmap is the book");
            }
        }
        for (uint256 i = 0; i < 3; ++i) {
            address account = payday.accountAt(i);
            vm.assertEq(token.balanceOf(account), payday.received(account), "paid once");
        }
    }

    function invariant_no_more_is_paid_than_funded_and_no_more_emitted_than_the_limit() public view {
        uint256 sum = token.balanceOf(address(distributor));
        for (uint256 i = 0; i < 3; ++i) {
            sum += token.balanceOf(payday.accountAt(i));
        }
        uint256 total = distributor.cumulativeTotal();
        vm.assertEq(sum, total, "paid and held");
        vm.assertEq(token.totalSupply(), total, "issued");
        vm.assertEq(payday.emitted(), total, "published");
        uint256 refilled = uint256(payday.LIMIT()) * (block.timestamp - payday.begun()) / payday.PERIOD();
        vm.assertTrue(total <= payday.LIMIT() + refilled, "a full bucket and what ran into it");
    }
}

contract PayrollInvariants is Test {
    Payroll private payroll;

    function setUp() public {
        payroll = new Payroll();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(payroll);
    }

    function invariant_every_batch_is_paid_once_and_nothing_rests() public view {
        (Disperse disperse, PlainToken token) = (payroll.disperse(), payroll.token());
        for (uint256 i = 0; i < payroll.SENDERS(); ++i) {
            address sender = payroll.senderAt(i);
            vm.assertEq(token.balanceOf(sender), 1e30 - payroll.spent(i), "taken once");
            for (uint256 key = 0; key < payroll.KEYS(); ++key) {
                vm.assertEq(disperse.paidBatch(sender, bytes32(key)), payroll.batches(i, key), "under its key");
            }
        }
        for (uint256 i = 0; i < payroll.PEOPLE(); ++i) {
            vm.assertEq(token.balanceOf(payroll.personAt(i)), payroll.received(i), "paid once");
        }
        vm.assertEq(token.balanceOf(address(disperse)), 0, "nothing rests");
    }
}
