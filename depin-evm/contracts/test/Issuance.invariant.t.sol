// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {BandRules, CreditMinter} from "../src/CreditMinter.sol";
import {EmissionController} from "../src/EmissionController.sol";
import {Decay, Row, Schedule, Target} from "../src/emission/Curves.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {StakeManager, StakeRules} from "../src/StakeManager.sol";
import {Test} from "./Base.sol";
import {Oracle} from "./CreditMinter.t.sol";

/// @dev Issues by curve and by band, burns, stakes and slashes in any order, through any time.
contract Mint is Test {
    address private constant DEVICE = address(0xDE71CE);
    address public constant TREASURY = address(0x7EA);
    uint128 public constant CAP = 1e24;

    NetworkToken public token = new NetworkToken("Weather", "WTR", 1e27, address(this));
    EmissionController public emission;
    CreditMinter public credits;
    StakeManager public stakes;
    uint128 public constant ALLOWANCE = 1e18;
    uint16 public constant SMOOTHING = 7;

    uint256 public byBand;
    uint256 public burned;
    uint256 public begun = 1_800_000_000;
    /// @dev The band again, a period at a time.
    uint256 private period;
    uint256 private held;
    uint256 private burnedNow;
    uint256 private mintedNow;
    Oracle private oracle = new Oracle();
    bytes32[] private evidence;

    constructor() {
        vm.warp(begun);
        emission = new EmissionController(
            token,
            Schedule(uint64(begun), 1 days, CAP),
            Decay(1e22, 10, 9, 10),
            new Row[](0),
            Target(0, 0, false),
            address(this)
        );
        credits = new CreditMinter(token, oracle, BandRules(100_000, 60, 1 days, SMOOTHING, ALLOWANCE), address(this));
        stakes = new StakeManager(token, StakeRules(7 days, 1 days, 1e22, 7 days, TREASURY), address(this));
        token.grantRole(token.MINTER_ROLE(), address(emission));
        token.grantRole(token.MINTER_ROLE(), address(credits));
        emission.grantRole(emission.EMITTER_ROLE(), address(this));
        credits.grantRole(credits.EMITTER_ROLE(), address(this));
        stakes.grantRole(stakes.SLASHER_ROLE(), address(this));
        stakes.grantRole(stakes.JUDGE_ROLE(), address(this));
        token.approve(address(credits), type(uint256).max);
        token.approve(address(stakes), type(uint256).max);
    }

    function stake() external view returns (StakeManager.Stake memory) {
        return stakes.stakeOf(address(this), DEVICE);
    }

    function pass(uint256 elapsed) external {
        vm.warp(block.timestamp + elapsed % 3 days);
        for (; period < (block.timestamp - begun) / 1 days; ++period) {
            held = held - held / SMOOTHING + burnedNow;
            (burnedNow, mintedNow) = (0, 0);
        }
    }

    /// @notice What this period may issue by band, and what it has issued.
    function band() public view returns (uint256 most, uint256 minted) {
        return (held / SMOOTHING + ALLOWANCE, mintedNow);
    }

    function emitByCurve(uint256 amount) external {
        emission.mint(address(this), bound(amount, 0, emission.mintable()));
    }

    function emitByBand(uint256 amount) external {
        (uint256 most, uint256 minted) = band();
        amount = bound(amount, 0, 2 * (most - minted) + 1);
        try credits.mint(address(this), amount) {
            byBand += amount;
            mintedNow += amount;
        } catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(CreditMinter.MintAboveBand.selector));
            vm.assertTrue(minted + amount > most, "refused within the band");
        }
    }

    function buy(uint256 amount, uint256 price) external {
        oracle.set(int64(int256(bound(price, 1, 1e12))), 0, -8, uint64(block.timestamp));
        amount = bound(amount, 0, token.balanceOf(address(this)));
        try credits.buy(address(this), amount, 0) {
            burned += amount;
            burnedNow += amount;
        } catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(CreditMinter.TooFewCredits.selector));
        }
    }

    function bond(uint256 amount) external {
        amount = bound(amount, 0, token.balanceOf(address(this)));
        try stakes.bond(DEVICE, amount) {}
        catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(StakeManager.NothingBonded.selector));
        }
    }

    function unbond(uint128 amount, bool take) external {
        try stakes.unbond(DEVICE, amount % (this.stake().bonded + 1)) {}
        catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(StakeManager.StakeTooSmall.selector, StakeManager.QueueFull.selector));
        }
        if (!take) return;
        try stakes.withdraw(DEVICE) {}
        catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(StakeManager.NothingReady.selector));
        }
    }

    function slash(uint128 amount) external {
        bytes32 hash = keccak256(abi.encode(evidence.length));
        try stakes.slash(address(this), DEVICE, amount % 1e22, hash) {
            evidence.push(hash);
        } catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(StakeManager.StakeTooSmall.selector));
        }
    }

    function decide(uint256 which, bool appeal) external {
        if (evidence.length == 0) return;
        bytes32 hash = evidence[which % evidence.length];
        if (appeal) {
            try stakes.withdrawSlash(hash, address(this), DEVICE) {}
            catch (bytes memory reason) {
                onlyFor(reason, abi.encodePacked(StakeManager.UnknownSlash.selector));
            }
        }
        try stakes.executeSlash(hash, address(this), DEVICE) {}
        catch (bytes memory reason) {
            onlyFor(
                reason,
                abi.encodePacked(
                    StakeManager.UnknownSlash.selector,
                    StakeManager.AppealLasts.selector,
                    RateLimiter.RateLimitExceeded.selector
                )
            );
        }
    }
}

contract IssuanceInvariants is Test {
    Mint private mint;

    function setUp() public {
        mint = new Mint();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(mint);
    }

    /// @dev One campaign for all of them: forge plays the same calls anew for every function that it finds.
    function invariant_what_is_issued_and_staked_agrees() public view {
        nothing_is_minted_beyond_the_curve_and_the_cap();
        nothing_is_minted_beyond_burns_and_allowance();
        the_supply_is_what_was_minted_less_what_was_burned();
        the_stakes_are_there_and_what_is_held_is_backed();
    }

    function nothing_is_minted_beyond_the_curve_and_the_cap() private view {
        EmissionController emission = mint.emission();
        vm.assertTrue(emission.minted() <= emission.granted(), "curve");
        vm.assertTrue(emission.granted() <= mint.CAP(), "cap");
    }

    function nothing_is_minted_beyond_burns_and_allowance() private view {
        uint256 periods = (block.timestamp - mint.begun()) / 1 days + 1;
        vm.assertTrue(mint.byBand() <= mint.burned() + periods * mint.ALLOWANCE(), "band");
        (uint256 most, uint256 minted) = mint.band();
        vm.assertTrue(minted <= most, "band of a period");
        vm.assertEq(mint.credits().mintable(), most - minted, "what the band leaves");
    }

    function the_supply_is_what_was_minted_less_what_was_burned() private view {
        uint256 issued = mint.emission().minted() + mint.byBand();
        vm.assertEq(mint.token().totalSupply(), issued - mint.burned(), "supply");
    }

    function the_stakes_are_there_and_what_is_held_is_backed() private view {
        StakeManager.Stake memory s = mint.stake();
        uint256 all = uint256(s.bonded) + s.leaving;
        vm.assertEq(mint.token().balanceOf(address(mint.stakes())), all, "held");
        vm.assertTrue(s.held <= all, "a slash can be paid");
    }
}
