// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {EpochRoots, PendingRoot, RootRules, TokenSource} from "../src/rewards/EpochRoots.sol";
import {Test} from "./Base.sol";
import {RewardTree} from "./RewardTree.sol";

/// @dev A distributor with a window, whose roots are disputed, decided, left to lapse and activated in any order, by an
/// arbiter who is often away. One account earns everything.
contract Court is Test {
    uint128 public constant BOND = 1_000;
    uint40 private constant WINDOW = 1 days;
    address public constant EARNER = address(0xEA12);
    address private constant WATCHER = address(0x3A7C);

    NetworkToken public token;
    RewardDistributor public distributor;
    /// What active epochs grant, and what was burned of bonds.
    uint256 public active;
    uint256 public burned;
    /// The bond of the open dispute.
    uint256 public atStake;
    uint256 public lapses;
    uint256 public minted = 1e9;

    uint64 private nextEpoch;
    uint256 private waiting;
    uint256 private since;

    constructor() {
        vm.warp(1_800_000_000);
        token = new NetworkToken("Weather", "WTR", 1e24, address(this));
        distributor =
            new RewardDistributor(token, TokenSource(address(token)), RootRules(WINDOW, BOND, 0, 0), address(this));
        token.grantRole(token.MINTER_ROLE(), address(distributor));
        token.grantRole(token.MINTER_ROLE(), address(this));
        distributor.grantRole(distributor.PUBLISHER_ROLE(), address(this));
        distributor.grantRole(distributor.ARBITER_ROLE(), address(this));
        distributor.grantRole(distributor.GUARDIAN_ROLE(), address(this));
        token.mint(WATCHER, minted);
        vm.prank(WATCHER);
        token.approve(address(distributor), type(uint256).max);
    }

    function pass(uint256 elapsed) external {
        vm.warp(block.timestamp + elapsed % (2 * WINDOW));
    }

    function publish(uint256 earned, uint256 skip) external {
        PendingRoot memory before = distributor.pendingEpoch();
        uint256 total = (due(before) ? waiting : active) + bound(earned, 0, 1e6);
        uint64 epoch = (due(before) ? before.epoch + 1 : nextEpoch) + uint64(skip % 3);
        try distributor.publish(epoch, rootOf(total), total, 0) {
            vm.assertTrue(before.activatesAt == 0 || block.timestamp >= before.activatesAt, "no root is replaced");
            finish(before);
            (waiting, since) = (total, block.timestamp);
        } catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(EpochRoots.EpochStillPending.selector, EpochRoots.IsPaused.selector));
            vm.assertTrue(before.activatesAt > block.timestamp || distributor.paused(), "only a root or a pause blocks");
            vm.assertTrue(before.activatesAt <= since + 5 * WINDOW, "and no root for ever");
        }
    }

    function dispute(bool other) external {
        PendingRoot memory pending = distributor.pendingEpoch();
        uint256 bond = distributor.disputeBond();
        vm.prank(WATCHER);
        try distributor.dispute(pending.epoch, other ? bytes32(uint256(7)) : rootOf(waiting), waiting) {
            vm.assertTrue(!other && !pending.disputed && block.timestamp < pending.activatesAt, "in time and once");
            atStake = bond;
        } catch (bytes memory reason) {
            // The watcher can not always pay bonds that doubled.
            onlyFor(
                reason,
                abi.encodePacked(
                    EpochRoots.NotPending.selector,
                    EpochRoots.NotDisputable.selector,
                    IERC20Errors.ERC20InsufficientBalance.selector
                )
            );
        }
    }

    function decide(bool rejected, bool other, uint256 mood) external {
        // The arbiter is away more often than not.
        if (mood % 4 != 0) return;
        PendingRoot memory pending = distributor.pendingEpoch();
        // What he did not see has another root, or another total.
        bytes32 root = other && mood % 8 == 0 ? bytes32(uint256(7)) : rootOf(waiting);
        uint256 total = other && mood % 8 != 0 ? waiting + 1 : waiting;
        try distributor.resolve(pending.epoch, root, total, rejected) {
            vm.assertTrue(!other && (pending.disputed || rejected), "he saw what he decides");
            vm.assertTrue(pending.activatesAt != 0, "there was something to decide");
            if (!rejected) burned += atStake;
            (atStake, lapses) = (0, 0);
        } catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(EpochRoots.NotDisputed.selector, EpochRoots.NotPending.selector));
        }
    }

    function lapse() external {
        PendingRoot memory pending = distributor.pendingEpoch();
        try distributor.lapse() {
            vm.assertTrue(pending.disputed && block.timestamp >= pending.activatesAt, "in time");
            (atStake, lapses) = (0, lapses + 1);
        } catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(EpochRoots.DisputeOpen.selector));
        }
    }

    function activate(bool stranger) external {
        PendingRoot memory pending = distributor.pendingEpoch();
        if (stranger) vm.prank(WATCHER);
        try distributor.activate() {
            vm.assertTrue(due(pending), "after its window and undisputed");
            finish(pending);
        } catch (bytes memory reason) {
            onlyFor(
                reason,
                abi.encodePacked(
                    EpochRoots.NothingPending.selector,
                    EpochRoots.EpochStillPending.selector,
                    EpochRoots.IsPaused.selector
                )
            );
        }
    }

    function claim() external {
        try distributor.claim(EARNER, active, new bytes32[](0)) {}
        catch (bytes memory reason) {
            onlyFor(
                reason,
                abi.encodePacked(RewardDistributor.NoRootServes.selector, RewardDistributor.NothingToClaim.selector)
            );
        }
        if (waiting == active) return;
        bytes memory call = abi.encodeCall(RewardDistributor.claim, (EARNER, waiting, new bytes32[](0)));
        (bool paid,) = attempt(
            address(this),
            address(distributor),
            call,
            abi.encodePacked(RewardDistributor.NoRootServes.selector, RewardDistributor.InvalidProof.selector)
        );
        vm.assertTrue(!paid, "before it is active nobody is paid");
    }

    function pause(bool on) external {
        bytes memory call = on ? abi.encodeCall(EpochRoots.pause, ()) : abi.encodeCall(EpochRoots.unpause, ());
        bytes4 already = on ? EpochRoots.IsPaused.selector : EpochRoots.NotPaused.selector;
        attempt(address(this), address(distributor), call, abi.encodePacked(already));
    }

    function due(PendingRoot memory pending) private view returns (bool) {
        return pending.activatesAt != 0 && !pending.disputed && block.timestamp >= pending.activatesAt;
    }

    /// @dev The root that was pending before this call is active, or its dispute lapsed.
    function finish(PendingRoot memory pending) private {
        if (pending.activatesAt == 0) return;
        if (pending.disputed) {
            (atStake, lapses) = (0, lapses + 1);
        } else {
            (active, nextEpoch, lapses) = (waiting, pending.epoch + 1, 0);
        }
    }

    function rootOf(uint256 cumulative) private pure returns (bytes32) {
        return RewardTree.leafHash(RewardTree.Leaf(EARNER, cumulative));
    }
}

contract DisputesInvariants is Test {
    Court private court;
    RewardDistributor private distributor;
    NetworkToken private token;

    function setUp() public {
        court = new Court();
        distributor = court.distributor();
        token = court.token();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(court);
    }

    /// @dev One campaign for all of them, as in `ServicesInvariants`.
    function invariant_disputes_move_bonds_only_and_rejected_roots_never_count() public view {
        vm.assertEq(distributor.cumulativeTotal(), court.active(), "only active epochs count");
        uint256 paid = distributor.claimed(court.EARNER());
        vm.assertEq(token.balanceOf(court.EARNER()), paid, "paid");
        vm.assertEq(token.balanceOf(address(distributor)), court.active() - paid, "the rest is there");
        vm.assertEq(token.balanceOf(address(distributor.bonds())), court.atStake(), "the vault holds the open bond");
        vm.assertEq(token.totalSupply(), court.minted() + court.active() - court.burned(), "issued and burned");
        vm.assertEq(distributor.disputeBond(), uint256(court.BOND()) << court.lapses(), "doubled by each lapse");
    }
}
