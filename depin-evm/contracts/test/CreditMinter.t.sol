// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {BandRules, CreditMinter, PriceSource} from "../src/CreditMinter.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {Test} from "./Base.sol";

contract Oracle is PriceSource {
    int64 private price;
    uint64 private conf;
    int32 private expo;
    uint64 private publishTime;

    function set(int64 price_, uint64 conf_, int32 expo_, uint64 publishTime_) external {
        (price, conf, expo, publishTime) = (price_, conf_, expo_, publishTime_);
    }

    function latestPrice() external view returns (int64, uint64, int32, uint64) {
        return (price, conf, expo, publishTime);
    }
}

contract CreditMinterTest is Test {
    address private constant BOB = address(0xB0B);
    uint128 private constant ALLOWANCE = 1_000;

    NetworkToken private token;
    Oracle private oracle;
    CreditMinter private minter;

    function setUp() public {
        vm.warp(1_800_000_000);
        token = new NetworkToken("Weather", "WTR", type(uint128).max, address(this));
        oracle = new Oracle();
        minter = new CreditMinter(token, oracle, BandRules(100_000, 60, 1 days, 7, ALLOWANCE), address(this));
        token.grantRole(token.MINTER_ROLE(), address(minter));
        token.grantRole(token.MINTER_ROLE(), address(this));
        minter.grantRole(minter.EMITTER_ROLE(), address(this));
        minter.grantRole(minter.SPENDER_ROLE(), address(this));
        token.mint(address(this), 1e36);
        token.approve(address(minter), type(uint256).max);
        quoted(5e8, 0);
    }

    function test_a_token_of_five_buys_half_a_million_credits() public {
        vm.assertEq(minter.buy(BOB, 1e18, 500_000), 500_000, "credits");
        vm.assertEq(minter.creditsOf(BOB), 500_000, "of bob");
        vm.assertEq(token.totalSupply(), 1e36 - 1e18, "burned");
        minter.spend(BOB, 200_000);
        vm.assertEq(minter.creditsOf(BOB), 300_000, "spent");
        vm.expectRevert(abi.encodeWithSelector(CreditMinter.CreditsTooFew.selector, BOB, 300_000, 300_001));
        minter.spend(BOB, 300_001);
    }

    function testFuzz_an_uncertain_price_gives_fewer_credits(uint256 tokens, int64 price, uint64 conf, int32 expo)
        public
    {
        tokens = bound(tokens, 0, 1e36);
        price = int64(int256(bound(uint64(price), 1, uint64(type(int64).max))));
        expo = -int32(int256(bound(uint32(expo), 0, 18)));
        conf = uint64(bound(conf, 0, (uint64(price) - 1) / 2));
        oracle.set(price, conf, expo, uint64(block.timestamp));
        uint256 low = uint64(price) - 2 * uint256(conf);
        vm.assertEq(minter.quote(tokens), tokens * low * 100_000 / 10 ** (18 + uint32(-expo)), "credits");
    }

    function testFuzz_a_price_of_nothing_is_refused(int64 price, uint64 conf) public {
        conf = uint64(bound(conf, 0, type(uint64).max));
        vm.assume(int256(price) <= 2 * int256(uint256(conf)));
        oracle.set(price, conf, -8, uint64(block.timestamp));
        vm.expectRevert(abi.encodeWithSelector(CreditMinter.PriceUnusable.selector, price, conf, int32(-8)));
        minter.buy(BOB, 1e18, 0);
    }

    function testFuzz_an_odd_exponent_is_refused(int32 expo) public {
        vm.assume(expo > 0 || expo < -18);
        oracle.set(1, 0, expo, uint64(block.timestamp));
        vm.expectRevert(abi.encodeWithSelector(CreditMinter.PriceUnusable.selector, int64(1), uint64(0), expo));
        minter.quote(1e18);
    }

    function testFuzz_a_stale_or_future_price_is_refused(uint64 publishTime) public {
        vm.assume(uint256(publishTime) + 60 < block.timestamp || publishTime > block.timestamp + 60);
        oracle.set(5e8, 0, -8, publishTime);
        vm.expectRevert(abi.encodeWithSelector(CreditMinter.PriceStale.selector, publishTime, 60));
        minter.quote(1e18);
    }

    function test_a_price_that_moved_buys_nothing() public {
        quoted(4e8, 0);
        vm.expectRevert(abi.encodeWithSelector(CreditMinter.TooFewCredits.selector, 400_000, 500_000));
        minter.buy(BOB, 1e18, 500_000);
        vm.expectRevert(abi.encodeWithSelector(CreditMinter.TooFewCredits.selector, 0, 0));
        minter.buy(BOB, 1, 0);
        token.approve(address(minter), 0);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        minter.buy(BOB, 1e18, 0);
    }

    function testFuzz_mints_stay_below_burns_plus_allowance(uint256 seed) public {
        uint256 burned = 0;
        uint256 minted = 0;
        uint256 begun = block.timestamp;
        for (uint256 i = 0; i < 40; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 tokens = bound(seed, 1e15, 1e25);
            if (seed % 3 == 0) {
                quoted(5e8, 0);
                minter.buy(BOB, tokens, 0);
                burned += tokens;
            }
            uint256 left = minter.mintable();
            vm.expectRevert(abi.encodeWithSelector(CreditMinter.MintAboveBand.selector, left + 1, left));
            minter.mint(BOB, left + 1);
            minter.mint(BOB, left);
            minted += left;
            uint256 periods = (block.timestamp - begun) / 1 days + 1;
            vm.assertTrue(minted <= burned + ALLOWANCE * periods, "within the band");
            vm.warp(block.timestamp + seed % 3 days);
        }
    }

    /// @dev The band leaves 2^128 here: its amount must not count as 0 in what the period minted.
    function testFuzz_a_mint_beyond_128_bits_is_refused_and_counts(uint256 amount) public {
        token = new NetworkToken("Weather", "WTR", type(uint256).max, address(this));
        BandRules memory rules = BandRules(100_000, 60, 1 days, 1, type(uint128).max);
        minter = new CreditMinter(token, oracle, rules, address(this));
        token.grantRole(token.MINTER_ROLE(), address(minter));
        token.grantRole(token.MINTER_ROLE(), address(this));
        minter.grantRole(minter.EMITTER_ROLE(), address(this));
        token.mint(address(this), 1e30);
        token.approve(address(minter), 1e30);
        quoted(5e8, 0);
        minter.buy(BOB, 1e30, 0);
        vm.warp(block.timestamp + 1 days);
        uint256 left = minter.mintable();
        vm.assertEq(left, uint256(type(uint128).max) + 1e30, "more than 128 bits");
        amount = bound(amount, uint256(type(uint128).max) + 1, left);
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 128, amount));
        minter.mint(BOB, amount);
        minter.mint(BOB, type(uint128).max);
        vm.assertEq(minter.mintable(), 1e30, "what was minted counts");
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 128, 2 ** 128));
        minter.mint(BOB, 1);
    }

    /// @dev The values of `SmoothedBurn` in depin-payment, whose tests have them too.
    function test_remainders_are_carried_as_elsewhere() public {
        minter = new CreditMinter(token, oracle, BandRules(type(uint64).max, 60, 1 days, 4, 0), address(this));
        token.grantRole(token.MINTER_ROLE(), address(minter));
        token.approve(address(minter), 100);
        minter.buy(BOB, 100, 0);
        vm.assertEq(minter.mintable(), 0, "nothing yet");
        uint8[12] memory released = [25, 18, 14, 10, 8, 6, 4, 3, 3, 2, 1, 1];
        for (uint256 i = 0; i < released.length; ++i) {
            vm.warp(block.timestamp + 1 days);
            vm.assertEq(minter.mintable(), released[i], "released");
        }
    }

    function test_a_rest_too_long_for_one_call_is_made_up_in_several() public {
        minter = new CreditMinter(token, oracle, BandRules(100_000, 60, 1, 65_535, ALLOWANCE), address(this));
        token.approve(address(minter), type(uint256).max);
        minter.buy(BOB, 1e36, 0);
        vm.warp(block.timestamp + 40_000);
        uint256 state = vm.snapshotState();
        minter.advance(type(uint64).max);
        uint128 held = minter.current().held;
        vm.revertToState(state);
        for (uint256 i = 0; i < 4; ++i) {
            vm.prank(BOB);
            minter.advance(10_000);
        }
        vm.assertEq(minter.current().held, held, "the same in parts");
        vm.assertEq(minter.current().period, 40_000, "now");
    }

    function test_a_long_rest_forgets_the_burns_and_ends() public {
        minter.buy(BOB, 1e36, 0);
        vm.warp(block.timestamp + 1 days);
        vm.assertEq(minter.mintable(), uint256(1e36) / 7 + ALLOWANCE, "the first day after");
        vm.warp(block.timestamp + 36_500 days);
        vm.assertEq(minter.mintable(), ALLOWANCE, "a century later");
    }

    function testFuzz_roles_are_needed(address caller) public {
        vm.assume(caller != address(this));
        bytes32 role = minter.EMITTER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        minter.mint(caller, 1);
        role = minter.SPENDER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, caller, role));
        vm.prank(caller);
        minter.spend(BOB, 1);
    }

    function test_rules_that_can_not_work_are_refused() public {
        BandRules[3] memory bad =
            [BandRules(0, 60, 1 days, 7, 0), BandRules(1, 60, 0, 7, 0), BandRules(1, 60, 1 days, 0, 0)];
        for (uint256 i = 0; i < bad.length; ++i) {
            vm.expectRevert(CreditMinter.InvalidRules.selector);
            new CreditMinter(token, oracle, bad[i], address(this));
        }
    }

    function quoted(int64 price, uint64 conf) private {
        oracle.set(price, conf, -8, uint64(block.timestamp));
    }
}
