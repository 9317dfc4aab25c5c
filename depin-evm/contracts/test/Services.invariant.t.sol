// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PaymentChannel} from "../src/PaymentChannel.sol";
import {PaymentStream} from "../src/PaymentStream.sol";
import {Test} from "./Base.sol";
import {PlainToken} from "./Tokens.sol";

/// @dev One payer and three payees who use channels and streams in any order, through any time.
contract Market is Test {
    uint256 public constant PAYEES = 3;
    uint256 private constant PAYER_KEY = 0xAA;

    PlainToken public token = new PlainToken();
    PaymentChannel public channel = new PaymentChannel();
    PaymentStream public streams = new PaymentStream();
    address public payer = vm.addr(PAYER_KEY);

    uint256 public channelIn;
    uint256 public channelOut;
    mapping(uint256 payee => mapping(uint256 lane => uint256)) public highest;
    mapping(uint256 payee => uint256) public streamed;
    mapping(uint256 payee => uint256) public streamStart;

    constructor() {
        vm.warp(1_800_000_000);
        token.mint(payer, 1e30);
        vm.startPrank(payer);
        token.approve(address(channel), type(uint256).max);
        token.approve(address(streams), type(uint256).max);
        vm.stopPrank();
    }

    function payeeAt(uint256 i) public pure returns (address) {
        return address(uint160(0xBEE000 + i));
    }

    function terms(uint256 i) public view returns (PaymentChannel.Terms memory) {
        return PaymentChannel.Terms(payer, payeeAt(i), address(token), payer, 1 hours, bytes32(i));
    }

    function pass(uint256 elapsed) external {
        vm.warp(block.timestamp + elapsed % 2 hours);
    }

    function fillChannel(uint256 who, uint256 amount) external {
        amount = bound(amount, 1, 1e6);
        vm.prank(payer);
        try channel.deposit(terms(who % PAYEES), amount) {
            channelIn += amount;
        } catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(PaymentChannel.ChannelClosing.selector));
        }
    }

    function settleChannel(uint256 who, uint256 lane, uint256 cumulative) external {
        (who, lane, cumulative) = (who % PAYEES, lane % 3, cumulative % 1e6);
        if (cumulative > highest[who][lane]) highest[who][lane] = cumulative;
        PaymentChannel.Terms memory t = terms(who);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, channel.digestOf(channel.idOf(t), lane, cumulative));
        try channel.settle(t, lane, cumulative, packed(v, r, s)) returns (uint256 amount) {
            channelOut += amount;
        } catch (bytes memory reason) {
            onlyFor(
                reason,
                abi.encodePacked(PaymentChannel.ChannelNotOpen.selector, PaymentChannel.NothingToSettle.selector)
            );
        }
    }

    function closeChannel(uint256 who, bool asPayee) external {
        PaymentChannel.Terms memory t = terms(who % PAYEES);
        vm.prank(payer);
        try channel.requestClose(t) {}
        catch (bytes memory reason) {
            onlyFor(
                reason, abi.encodePacked(PaymentChannel.ChannelNotOpen.selector, PaymentChannel.ChannelClosing.selector)
            );
        }
        // Rarely at once: closed channels stay closed.
        if (asPayee && who % 7 == 0) vm.prank(t.payee);
        try channel.close(t) returns (uint256 refund) {
            channelOut += refund;
        } catch (bytes memory reason) {
            onlyFor(
                reason, abi.encodePacked(PaymentChannel.ChannelNotOpen.selector, PaymentChannel.CloseTooEarly.selector)
            );
        }
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
        } catch (bytes memory reason) {
            onlyFor(reason, abi.encodePacked(PaymentStream.StreamExists.selector, PaymentStream.InArrears.selector));
        }
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
}

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
}
