// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PaymentChannel} from "../src/PaymentChannel.sol";
import {PaymentStream} from "../src/PaymentStream.sol";
import {ServiceEscrow} from "../src/ServiceEscrow.sol";
import {Account, Allowance, Rail, RailValidator} from "../src/services/Rails.sol";
import {Test} from "./Base.sol";
import {PlainToken} from "./Tokens.sol";

/// @dev A validator who lowers, holds back, is silent, or asks for too much, as the mood is.
contract Mood is RailValidator {
    uint256 private seed;

    function swing(uint256 seed_) external {
        seed = seed_;
    }

    function validate(uint256, uint256 rate, uint256 from, uint256 until) external view returns (uint256, uint256) {
        require(seed % 7 != 3, "silent");
        uint256 agreed = from + (until - from) * (seed >> 8 & 0xFF) / 0xFF;
        uint256 amount = rate * (agreed - from) * (seed >> 16 & 0xFF) / 0xFF;
        return seed % 11 == 5 ? (amount + rate * (until - from) + 1, agreed) : (amount, agreed);
    }
}

/// @dev One payer and three payees who use channels, streams and rails in any order, through any time.
contract Market is Test {
    uint256 public constant PAYEES = 3;
    uint256 private constant PAYER_KEY = 0xAA;

    PlainToken public token = new PlainToken();
    PaymentChannel public channel = new PaymentChannel();
    PaymentStream public streams = new PaymentStream();
    ServiceEscrow public escrow = new ServiceEscrow();
    address public payer = vm.addr(PAYER_KEY);

    uint256 public channelIn;
    uint256 public channelOut;
    mapping(uint256 payee => mapping(uint256 lane => uint256)) public highest;
    mapping(uint256 payee => uint256) public streamed;
    mapping(uint256 payee => uint256) public streamStart;
    uint256[] public rails;
    Mood public mood = new Mood();

    constructor() {
        vm.warp(1_800_000_000);
        token.mint(payer, 1e30);
        vm.startPrank(payer);
        token.approve(address(channel), type(uint256).max);
        token.approve(address(streams), type(uint256).max);
        token.approve(address(escrow), type(uint256).max);
        escrow.allowOperator(address(token), address(this), 500, 1e6, 1_000);
        vm.stopPrank();
    }

    function payeeAt(uint256 i) public pure returns (address) {
        return address(uint160(0xBEE000 + i));
    }

    function terms(uint256 i) public view returns (PaymentChannel.Terms memory) {
        return PaymentChannel.Terms(payer, payeeAt(i), address(token), payer, 1 hours, bytes32(i));
    }

    function railCount() external view returns (uint256) {
        return rails.length;
    }

    function pass(uint256 elapsed) external {
        vm.warp(block.timestamp + elapsed % 2 hours);
    }

    function fillChannel(uint256 who, uint256 amount) external {
        amount = bound(amount, 1, 1e6);
        vm.prank(payer);
        try channel.deposit(terms(who % PAYEES), amount) {
            channelIn += amount;
        } catch {}
    }

    function settleChannel(uint256 who, uint256 lane, uint256 cumulative) external {
        (who, lane, cumulative) = (who % PAYEES, lane % 3, cumulative % 1e6);
        if (cumulative > highest[who][lane]) highest[who][lane] = cumulative;
        PaymentChannel.Terms memory t = terms(who);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, channel.digestOf(channel.idOf(t), lane, cumulative));
        try channel.settle(t, lane, cumulative, packed(v, r, s)) returns (uint256 amount) {
            channelOut += amount;
        } catch {}
    }

    function closeChannel(uint256 who, bool asPayee) external {
        PaymentChannel.Terms memory t = terms(who % PAYEES);
        vm.prank(payer);
        try channel.requestClose(t) {} catch {}
        // Rarely at once: closed channels stay closed.
        if (asPayee && who % 7 == 0) vm.prank(t.payee);
        try channel.close(t) returns (uint256 refund) {
            channelOut += refund;
        } catch {}
    }

    function fillPurse(uint256 amount) external {
        vm.prank(payer);
        streams.deposit(payer, address(token), bound(amount, 1, 1e5));
    }

    function startStream(uint256 who, uint256 rate) external {
        who %= PAYEES;
        vm.prank(payer);
        try streams.start(payeeAt(who), address(token), uint128(bound(rate, 1, 50))) {
            streamStart[who] = block.timestamp;
        } catch {}
    }

    function settleStream(uint256 who, bool stop) external {
        who %= PAYEES;
        (, uint256 rate) = streams.owed(payer, payeeAt(who), address(token));
        if (rate == 0) return;
        vm.prank(payer);
        uint256 amount = stop
            ? streams.stop(payer, payeeAt(who), address(token))
            : streams.settle(payer, payeeAt(who), address(token));
        streamed[who] += amount;
        vm.assertTrue(amount <= rate * (block.timestamp - streamStart[who]), "no second is paid twice");
        if (!stop) vm.assertEq(streams.settle(payer, payeeAt(who), address(token)), 0, "settled");
    }

    function emptyPurse(uint256 amount) external {
        uint256 free = streams.purseOf(payer, address(token)).balance;
        vm.prank(payer);
        streams.withdraw(address(token), bound(amount, 0, free));
    }

    function fillAccount(uint256 amount) external {
        vm.prank(payer);
        escrow.deposit(address(token), payer, bound(amount, 1, 1e6));
    }

    /// @dev The validator of some rails judges otherwise from now on.
    function swing(uint256 seed) external {
        mood.swing(seed);
    }

    function openRail(uint256 who, uint256 rate, uint256 period, uint256 lockupFixed) external {
        (rate, period, lockupFixed) = (rate % 200, period % 1_000, lockupFixed % 1e4);
        try escrow.openRail(
            address(token),
            payer,
            payeeAt(who % PAYEES),
            who % 2 == 0 ? RailValidator(address(0)) : mood,
            uint128(rate),
            uint64(period),
            uint128(lockupFixed)
        ) returns (
            uint256 rail
        ) {
            rails.push(rail);
        } catch {}
    }

    function changeRail(uint256 which, uint256 rate, uint256 lockupFixed, bool pay) external {
        if (rails.length == 0) return;
        uint256 rail = rails[which % rails.length];
        if (pay) {
            try escrow.payFixed(rail, uint128(lockupFixed % 1e3)) {} catch {}
        } else {
            try escrow.changeRail(rail, uint128(rate % 200), uint128(lockupFixed % 1e4)) {} catch {}
        }
    }

    function settleRail(uint256 which, uint256 until, bool end) external {
        if (rails.length == 0) return;
        uint256 rail = rails[which % rails.length];
        if (end) try escrow.terminate(rail) {} catch {}
        if (until % 5 == 0) {
            vm.prank(payer);
            try escrow.settleWithoutValidator(rail) {} catch {}
        }
        try escrow.settle(rail, bound(until, block.timestamp - 1_000, block.timestamp + 1_000)) {} catch {}
    }

    function emptyAccount(uint256 who, uint256 amount) external {
        address owner = who % 4 == 3 ? payer : payeeAt(who % 4);
        Account memory a = escrow.accountOf(address(token), owner);
        vm.prank(owner);
        try escrow.withdraw(address(token), bound(amount, 0, a.funds)) {} catch {}
    }
}

/// forge-config: default.invariant.depth = 100
contract ServicesInvariants is Test {
    Market private market;
    PlainToken private token;

    function setUp() public {
        market = new Market();
        token = market.token();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(market);
    }

    /// @dev One campaign for all of them: forge plays the same calls anew for every function that it finds.
    function invariant_the_books_of_all_services_agree() public view {
        the_channel_holds_what_came_and_did_not_leave();
        no_lane_is_paid_beyond_its_highest_voucher();
        a_purse_and_what_it_owes_is_what_is_held();
        the_rate_of_a_purse_is_that_of_its_streams();
        the_escrow_holds_the_funds_of_all_accounts();
        locked_is_what_the_rails_are_owed_and_guaranteed();
        an_operator_uses_what_his_open_rails_use();
    }

    function the_channel_holds_what_came_and_did_not_leave() private view {
        vm.assertEq(token.balanceOf(address(market.channel())), market.channelIn() - market.channelOut(), "held");
    }

    function no_lane_is_paid_beyond_its_highest_voucher() private view {
        PaymentChannel channel = market.channel();
        uint256 available = 0;
        for (uint256 i = 0; i < market.PAYEES(); ++i) {
            bytes32 id = channel.idOf(market.terms(i));
            for (uint256 lane = 0; lane < 3; ++lane) {
                vm.assertTrue(channel.settledOf(id, lane) <= market.highest(i, lane), "signed for");
            }
            (uint256 left,,) = channel.fundsOf(id);
            available += left;
        }
        vm.assertEq(token.balanceOf(address(channel)), available, "the channels' funds are there");
    }

    function a_purse_and_what_it_owes_is_what_is_held() private view {
        PaymentStream streams = market.streams();
        uint256 books = streams.purseOf(market.payer(), address(token)).balance;
        for (uint256 i = 0; i < market.PAYEES(); ++i) {
            (uint256 owed,) = streams.owed(market.payer(), market.payeeAt(i), address(token));
            books += owed + streams.creditsOf(market.payeeAt(i), address(token));
        }
        vm.assertEq(token.balanceOf(address(streams)), books, "held");
    }

    function the_rate_of_a_purse_is_that_of_its_streams() private view {
        PaymentStream streams = market.streams();
        uint256 rates = 0;
        for (uint256 i = 0; i < market.PAYEES(); ++i) {
            (, uint256 rate) = streams.owed(market.payer(), market.payeeAt(i), address(token));
            rates += rate;
        }
        vm.assertEq(streams.purseOf(market.payer(), address(token)).rate, rates, "rates");
    }

    function the_escrow_holds_the_funds_of_all_accounts() private view {
        ServiceEscrow escrow = market.escrow();
        uint256 funds = escrow.accountOf(address(token), market.payer()).funds;
        for (uint256 i = 0; i < market.PAYEES(); ++i) {
            funds += escrow.accountOf(address(token), market.payeeAt(i)).funds;
        }
        vm.assertEq(token.balanceOf(address(escrow)), funds, "held");
    }

    function locked_is_what_the_rails_are_owed_and_guaranteed() private view {
        ServiceEscrow escrow = market.escrow();
        Account memory a = escrow.accountOf(address(token), market.payer());
        (uint256 locked, uint256 rate) = (0, 0);
        for (uint256 i = 0; i < market.railCount(); ++i) {
            Rail memory r = escrow.railOf(market.rails(i));
            if (r.operator == address(0)) continue;
            uint256 end = r.endsAt == 0 ? uint256(a.paidUpTo) + r.lockupPeriod : r.endsAt;
            uint256 from = r.paidUpTo;
            if (from < r.changedAt) {
                locked += r.rateBefore * (r.changedAt - from);
                from = r.changedAt;
            }
            if (r.rate != 0) locked += r.rate * (end - from);
            locked += r.lockupFixed;
            if (r.endsAt == 0) rate += r.rate;
        }
        vm.assertEq(a.locked, locked, "locked");
        vm.assertEq(a.rate, rate, "rate");
        vm.assertTrue(a.locked <= a.funds, "backed by funds");
    }

    function an_operator_uses_what_his_open_rails_use() private view {
        ServiceEscrow escrow = market.escrow();
        Allowance memory used = escrow.allowanceOf(address(token), market.payer(), address(market));
        (uint256 rate, uint256 lockup) = (0, 0);
        for (uint256 i = 0; i < market.railCount(); ++i) {
            Rail memory r = escrow.railOf(market.rails(i));
            rate += r.rate;
            lockup += uint256(r.rate) * r.lockupPeriod + r.lockupFixed;
        }
        vm.assertEq(used.rateUsed, rate, "rate");
        vm.assertEq(used.lockupUsed, lockup, "lockup");
        vm.assertTrue(used.rateUsed <= used.rate, "within the rate");
    }
}
