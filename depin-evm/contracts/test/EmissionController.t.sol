// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {EmissionController} from "../src/EmissionController.sol";
import {Cursor, Curves, Decay, Row, Schedule, Target} from "../src/emission/Curves.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {RootRules} from "../src/rewards/EpochRoots.sol";
import {Test} from "./Base.sol";

contract EmissionControllerTest is Test {
    uint64 private constant START = 1_800_000_000;
    uint64 private constant DAY = 1 days;
    uint128 private constant CAP = 1e27;
    address private constant BOB = address(0xB0B);

    NetworkToken private token;
    Row[] private noRows;
    Decay private noDecay;
    Target private noTarget;

    function setUp() public {
        vm.warp(START - 1);
        token = new NetworkToken("Weather", "WTR", 1e30, address(this));
    }

    function testFuzz_a_decay_allows_what_the_plain_sum_says(
        uint128 initial,
        uint64 interval,
        uint128 num,
        uint128 den,
        uint256 periods
    ) public {
        Decay memory d = decay(initial, interval, num, den);
        EmissionController c = controller(d, CAP);
        periods = bound(periods, 0, 400);
        vm.warp(START + periods * DAY);
        vm.assertEq(c.granted(), least(plainDecay(d, 0, periods), CAP), "granted");
        vm.assertEq(c.completed(), periods, "completed");
    }

    function testFuzz_it_does_not_matter_in_how_many_steps(uint128 initial, uint64 interval, uint128 num, uint256 seed)
        public
    {
        Decay memory d = decay(initial, interval, num, 1_000);
        EmissionController once = controller(d, CAP);
        EmissionController often = controller(d, CAP);
        vm.warp(START + 300 * DAY);
        uint64 next = 0;
        while (next < 300) {
            seed = uint256(keccak256(abi.encode(seed)));
            next = uint64(bound(seed, next, 300));
            often.advance(next);
        }
        vm.assertEq(often.granted(), once.granted(), "granted");
    }

    function testFuzz_never_above_the_cap_over_a_century(uint128 initial, uint64 interval, uint128 num, uint128 cap)
        public
    {
        cap = uint128(bound(cap, 1, type(uint128).max));
        EmissionController c = controller(Decay(initial, uint64(bound(interval, 30, 3_650)), num % 1001, 1_000), cap);
        uint256 total = 0;
        for (uint256 decade = 0; decade <= 10; ++decade) {
            vm.warp(START + decade * 3_652 * DAY);
            uint256 available = c.mintable();
            if (available > 1e29) available = 1e29;
            if (total + available > 1e30) break;
            c.mint(BOB, available);
            total += available;
            vm.assertTrue(c.granted() <= cap && c.minted() == total && total <= c.granted(), "within the cap");
        }
        vm.assertEq(token.totalSupply(), total, "issued");
    }

    function test_halving_and_forty_years_of_dimo() public {
        EmissionController halving = controller(Decay(1_001, 4, 1, 2), CAP);
        vm.warp(START + 12 * DAY);
        vm.assertEq(halving.granted(), 4 * (1_001 + 500 + 250), "halving floors");

        EmissionController dimo = controller(Decay(1_105_000e18, 52, 85, 100), type(uint128).max);
        uint256 sum = 0;
        uint256 limit = 1_105_000e18;
        for (uint256 year = 0; year < 40; ++year) {
            sum += 52 * limit;
            // The week of the last year in the published vectors.
            if (year == 39) vm.assertEq(limit, 1_952_991_624_858_864_979_946, "year 39");
            limit = limit * 85 / 100;
        }
        vm.warp(START + 40 * 52 * DAY);
        vm.assertEq(dimo.granted(), sum, "40 years");
    }

    function testFuzz_the_last_era_of_a_decay_is_the_last(uint64 interval, uint256 ahead, uint64 beyond) public pure {
        interval = uint64(bound(interval, 1, type(uint64).max >> 22));
        uint64 last = interval << 20;
        Decay memory d = Decay(1e30, interval, 999, 1_000);
        // As after all eras but some: the amount of that era is in the cursor.
        uint64 eras = uint64(bound(ahead, 1, 50));
        Cursor memory cursor = Cursor(last - eras * interval, 0, 1e30);
        uint256 sum = Curves.decaySum(d, cursor, last + bound64(beyond, 0, type(uint64).max - last));
        (uint256 expected, uint256 amount) = (0, 1e30);
        for (uint256 era = 0; era < eras; ++era) {
            expected += amount * interval;
            amount = amount * 999 / 1_000;
        }
        vm.assertEq(sum, expected, "up to the last era");
        vm.assertEq(cursor.amount, 0, "and nothing after it");
        d.num = d.den;
        cursor = Cursor(last, 0, 7);
        vm.assertEq(Curves.decaySum(d, cursor, last + 3), 21, "a flat curve goes on");
    }

    function bound64(uint64 x, uint64 low, uint64 high) private pure returns (uint64) {
        return uint64(bound(x, low, high));
    }

    function test_exponential_decay_stays_close_to_its_limit() public {
        // Half of what is left in 1,461 days: 2^64 * 2^(-1/1461), floored.
        EmissionController c = controller(Decay(1e24, 1, 18_437_994_398_145_588_903, 1 << 64), type(uint128).max);
        vm.warp(START + 1_461 * DAY);
        uint256 half = c.granted();
        vm.warp(START + 2 * 1_461 * DAY);
        uint256 threeQuarters = c.granted();
        vm.assertTrue((threeQuarters - half) * 2 > half * 999 / 1_000, "half as much in the second time");
        vm.assertTrue((threeQuarters - half) * 2 < half * 1_001 / 1_000, "and not more");
    }

    function testFuzz_a_table_allows_what_its_rows_say(uint256 seed, uint256 count, uint256 periods) public {
        Row[] memory rows = new Row[](bound(count, 1, 12));
        for (uint256 i = 0; i < rows.length; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint64 from = i == 0 ? 0 : rows[i - 1].from + 1 + uint64(seed % 20);
            rows[i] = Row(from, uint128(seed >> 128));
        }
        periods = bound(periods, 0, 300);
        EmissionController c = deploy(Schedule(START, DAY, type(uint128).max), noDecay, rows, noTarget);
        uint256 expected = 0;
        uint256 row = 0;
        for (uint256 i = 0; i < periods; ++i) {
            if (row + 1 < rows.length && rows[row + 1].from == i) ++row;
            expected += rows[row].amount;
        }
        vm.warp(START + periods / 2 * DAY);
        c.advance(uint64(periods / 2));
        vm.warp(START + periods * DAY);
        vm.assertEq(c.granted(), least(expected, type(uint128).max), "granted");
    }

    function testFuzz_reports_scale_the_curve_between_floor_and_full(
        uint128 input,
        uint128 target,
        uint16 floorBps,
        bool falling,
        uint64 period
    ) public {
        target = uint128(bound(target, 1, type(uint128).max));
        floorBps = uint16(bound(floorBps, 0, 10_000));
        period = uint64(bound(period, 0, 50));
        Decay memory d = Decay(999_983, 7, 9, 10);
        EmissionController c = deploy(Schedule(START, DAY, CAP), d, noRows, Target(target, floorBps, falling));
        vm.warp(START + 51 * DAY);
        c.report(period, input);

        uint256 m = least(input, target);
        uint256 bps = floorBps + (10_000 - uint256(floorBps)) * (falling ? target - m : m) / target;
        uint256 expected = plainDecay(d, 0, period) * floorBps / 10_000;
        uint256 own = plainDecay(d, period, period + 1);
        vm.assertEq(c.granted(), expected + own * bps / 10_000, "granted");
        vm.assertTrue(bps >= floorBps && bps <= 10_000, "between floor and full");
        vm.expectRevert(abi.encodeWithSelector(EmissionController.PeriodOutOfOrder.selector, period, period + 1, 51));
        c.report(period, input);
    }

    function test_a_period_that_is_not_over_is_neither_reported_nor_advanced() public {
        EmissionController c = deploy(Schedule(START, DAY, CAP), Decay(10, 1, 1, 1), noRows, Target(5, 0, false));
        vm.warp(START + DAY - 1);
        vm.expectRevert(abi.encodeWithSelector(EmissionController.PeriodOutOfOrder.selector, 0, 0, 0));
        c.report(0, 5);
        vm.expectRevert(EmissionController.OnlyByReport.selector);
        c.advance(0);
        EmissionController plain = controller(Decay(10, 1, 1, 1), CAP);
        vm.expectRevert(abi.encodeWithSelector(EmissionController.PeriodOutOfOrder.selector, 1, 0, 0));
        plain.advance(1);
        vm.expectRevert(EmissionController.NotTargeted.selector);
        plain.report(0, 5);
    }

    function testFuzz_nobody_mints_more_than_the_curve_allows(uint256 first, uint256 more) public {
        EmissionController c = controller(Decay(1_000, 1, 1, 1), CAP);
        vm.warp(START + 10 * DAY);
        first = bound(first, 0, 10_000);
        c.mint(BOB, first);
        uint256 left = 10_000 - first;
        more = bound(more, left + 1, type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(EmissionController.EmissionAboveCurve.selector, more, left));
        c.mint(BOB, more);
        vm.prank(BOB);
        token.burn(first);
        vm.expectRevert(abi.encodeWithSelector(EmissionController.EmissionAboveCurve.selector, more, left));
        c.mint(BOB, more);
    }

    function testFuzz_only_emitters_mint_and_only_reporters_report(address caller) public {
        vm.assume(caller != address(this));
        EmissionController c = controller(Decay(1_000, 1, 1, 1), CAP);
        bytes32 role = c.EMITTER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        c.mint(BOB, 0);
        role = c.REPORTER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        c.report(0, 0);
    }

    function test_the_distributor_publishes_within_the_curve() public {
        EmissionController c = controller(Decay(1_000, 1, 1, 1), CAP);
        RewardDistributor d = new RewardDistributor(token, c, RootRules(0, 0, 0, 0), address(this));
        c.grantRole(c.EMITTER_ROLE(), address(d));
        d.grantRole(d.PUBLISHER_ROLE(), address(this));
        vm.warp(START + 2 * DAY);
        d.publish(0, keccak256("root"), 2_000, 0);
        vm.expectRevert(abi.encodeWithSelector(EmissionController.EmissionAboveCurve.selector, 1, 0));
        d.publish(1, keccak256("root"), 2_001, 0);
        vm.assertEq(token.balanceOf(address(d)), 2_000, "issued");
    }

    function test_schedules_that_can_not_work_are_refused() public {
        Decay memory flat = Decay(1, 1, 1, 1);
        refused(Schedule(START, 0, CAP), flat);
        refused(Schedule(START, DAY, 0), flat);
        refused(Schedule(START, DAY, CAP), Decay(1, 0, 1, 1));
        refused(Schedule(START, DAY, CAP), Decay(1, 1, 2, 1));
        refused(Schedule(START, DAY, CAP), Decay(1, 1, 0, 0));
        refused(Schedule(START, DAY, CAP), Decay(1, 1, 1, (1 << 64) + 1));
        Row[] memory rows = new Row[](2);
        (rows[0], rows[1]) = (Row(0, 1), Row(0, 2));
        vm.expectRevert(EmissionController.InvalidTable.selector);
        new EmissionController(token, Schedule(START, DAY, CAP), noDecay, rows, noTarget, address(this));
        rows[0].from = 1;
        vm.expectRevert(EmissionController.InvalidTable.selector);
        new EmissionController(token, Schedule(START, DAY, CAP), noDecay, rows, noTarget, address(this));
        vm.expectRevert(EmissionController.InvalidTarget.selector);
        new EmissionController(token, Schedule(START, DAY, CAP), flat, noRows, Target(1, 10_001, false), address(this));
    }

    function refused(Schedule memory schedule, Decay memory d) private {
        vm.expectRevert(EmissionController.InvalidSchedule.selector);
        new EmissionController(token, schedule, d, noRows, noTarget, address(this));
    }

    function decay(uint128 initial, uint64 interval, uint128 num, uint128 den) private pure returns (Decay memory) {
        den = uint128(bound(den, 1, 1 << 64));
        return Decay(initial, uint64(bound(interval, 1, 100)), uint128(bound(num, 0, den)), den);
    }

    function controller(Decay memory d, uint128 cap) private returns (EmissionController) {
        return deploy(Schedule(START, DAY, cap), d, noRows, noTarget);
    }

    function deploy(Schedule memory schedule, Decay memory d, Row[] memory rows, Target memory target)
        private
        returns (EmissionController made)
    {
        made = new EmissionController(token, schedule, d, rows, target, address(this));
        token.grantRole(token.MINTER_ROLE(), address(made));
        made.grantRole(made.EMITTER_ROLE(), address(this));
        made.grantRole(made.REPORTER_ROLE(), address(this));
    }

    /// @dev Period by period, as the definition says.
    function plainDecay(Decay memory d, uint256 from, uint256 end) private pure returns (uint256 sum) {
        uint256 amount = d.initial;
        for (uint256 i = 0; i < end; ++i) {
            if (i != 0 && i % d.interval == 0) amount = amount * d.num / d.den;
            if (i >= from) sum += amount;
        }
    }

    function least(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
