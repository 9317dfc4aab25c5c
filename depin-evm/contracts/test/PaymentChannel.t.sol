// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {PaymentChannel} from "../src/PaymentChannel.sol";
import {Signers} from "../src/Signers.sol";
import {Registration} from "../src/registry/Actions.sol";
import {Fleet} from "./Fleet.sol";
import {FeeToken, HookToken, LyingToken, PlainToken, SilentToken} from "./Tokens.sol";

/// @dev Signers by ERC-1271 that harm: 0 burns all gas, 1 answers without end, 2 reverts, 4 says no. 3 says yes, slowly.
contract Spoiler {
    uint256 private immutable kind;

    constructor(uint256 kind_) {
        kind = kind_;
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        uint256 kind_ = kind;
        if (kind_ == 0) while (true) {}
        if (kind_ == 1) {
            assembly {
                return(0, 300000)
            }
        }
        require(kind_ != 2, "no");
        uint256 before = gasleft();
        while (kind_ == 3 && before - gasleft() < 500_000) {}
        return kind_ == 3 ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}

contract PaymentChannelTest is Fleet {
    uint256 private constant PAYER_KEY = 0xAA;
    uint256 private constant DEPOSIT = 1_000;
    address private constant PAYEE = address(0xBEE);
    uint32 private constant CHALLENGE = 12 hours;

    PaymentChannel private channel;
    PlainToken private token;
    address private payer;

    function setUp() public {
        deployRegistry();
        channel = new PaymentChannel();
        token = new PlainToken();
        payer = vm.addr(PAYER_KEY);
        token.mint(payer, 1e30);
        vm.prank(payer);
        token.approve(address(channel), type(uint256).max);
    }

    function test_the_type_and_digest_are_those_of_the_vectors() public {
        vm.assertEq(
            channel.VOUCHER_TYPEHASH(), 0x5e172d4a19b08b5b7f0354399a080f05a28476f34f987f7cd87e69a4065d4ec0, "type"
        );
        address there = 0xC4df070Bf9CDd8C9e7b7c49c86cC76D9d661df50;
        vm.etch(there, address(channel).code);
        vm.chainId(1);
        bytes32 id = 0x3402cf039889c6f7df6db7b366baad86fcd40c78f6ccdd595d8ee5d308d5d899;
        bytes32 digest = PaymentChannel(there).digestOf(id, 0, 1001);
        vm.assertEq(digest, 0x3408f5338add07e4a6b771b041ff46616c318178becf2ca2a2803fa27ddb69c5, "digest");
    }

    function testFuzz_vouchers_pay_the_difference_and_the_rest_goes_back(uint256 first, uint256 second) public {
        first = bound(first, 1, DEPOSIT - 1);
        second = bound(second, first + 1, DEPOSIT);
        PaymentChannel.Terms memory terms = opened();
        vm.assertEq(settle(terms, 0, first), first, "first");
        vm.assertEq(settle(terms, 0, second), second - first, "second");
        vm.prank(PAYEE);
        vm.assertEq(channel.close(terms), DEPOSIT - second, "refund");
        vm.assertEq(token.balanceOf(PAYEE), second, "payee");
        vm.assertEq(token.balanceOf(address(channel)), 0, "nothing is left");
    }

    function testFuzz_an_amount_that_does_not_rise_pays_nothing(uint256 first, uint256 second) public {
        first = bound(first, 1, DEPOSIT);
        second = bound(second, 0, first);
        PaymentChannel.Terms memory terms = opened();
        settle(terms, 0, first);
        bytes memory signature = voucher(terms, 0, second);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.NothingToSettle.selector, channel.idOf(terms), first));
        channel.settle(terms, 0, second, signature);
    }

    function testFuzz_lanes_count_apart_and_share_the_deposit(uint256 a, uint256 b, uint256 c, uint256 lane) public {
        lane = bound(lane, 1, type(uint256).max);
        (a, b, c) = (bound(a, 1, 300), bound(b, 1, 300), bound(c, 1, 300));
        PaymentChannel.Terms memory terms = opened();
        vm.assertEq(settle(terms, 0, a), a, "lane 0");
        vm.assertEq(settle(terms, lane, b), b, "other lane");
        vm.assertEq(settle(terms, 0, a + c), c, "lane 0 again");
        bytes32 id = channel.idOf(terms);
        vm.assertEq(channel.settledOf(id, 0), a + c, "settled in lane 0");
        vm.assertEq(channel.settledOf(id, lane), b, "settled in the lane");
        (uint256 available,,) = channel.fundsOf(id);
        vm.assertEq(available, DEPOSIT - a - b - c, "available");
    }

    function testFuzz_a_voucher_of_one_lane_is_none_of_another(uint256 lane, uint256 other) public {
        vm.assume(lane != other);
        PaymentChannel.Terms memory terms = opened();
        bytes memory signature = voucher(terms, lane, 10);
        bytes32 id = channel.laneId(channel.idOf(terms), other);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.InvalidVoucher.selector, id, 10));
        channel.settle(terms, other, 10, signature);
    }

    function testFuzz_more_than_the_deposit_is_paid_after_a_top_up(uint256 wanted) public {
        wanted = bound(wanted, DEPOSIT + 1, 1e30);
        PaymentChannel.Terms memory terms = opened();
        vm.assertEq(settle(terms, 0, wanted), DEPOSIT, "what is there");
        bytes memory signature = voucher(terms, 0, wanted);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.NothingToSettle.selector, channel.idOf(terms), DEPOSIT));
        channel.settle(terms, 0, wanted, signature);
        vm.prank(payer);
        channel.deposit(terms, 1e30 - DEPOSIT);
        vm.assertEq(settle(terms, 0, wanted), wanted - DEPOSIT, "the rest");
    }

    function test_a_voucher_of_the_largest_amount_pays_what_is_there_and_no_more() public {
        PaymentChannel.Terms memory terms = opened();
        uint256 most = type(uint256).max;
        vm.assertEq(settle(terms, 0, most), DEPOSIT, "what is there");
        bytes memory signature = voucher(terms, 0, most);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.NothingToSettle.selector, channel.idOf(terms), DEPOSIT));
        channel.settle(terms, 0, most, signature);
        vm.prank(payer);
        channel.deposit(terms, 5);
        vm.assertEq(settle(terms, 0, most), 5, "the rest");
        vm.assertEq(token.balanceOf(terms.payee), DEPOSIT + 5, "once");
    }

    function test_a_voucher_binds_channel_contract_and_chain() public {
        PaymentChannel.Terms memory terms = opened();
        bytes memory signature = voucher(terms, 0, 10);
        bytes memory refusal =
            abi.encodeWithSelector(PaymentChannel.InvalidVoucher.selector, channel.idOf(terms), uint256(11));
        vm.expectRevert(refusal);
        channel.settle(terms, 0, 11, signature);

        PaymentChannel.Terms memory other = terms;
        other.salt = keccak256("other");
        vm.prank(payer);
        bytes32 id = channel.deposit(other, 5);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.InvalidVoucher.selector, id, 10));
        channel.settle(other, 0, 10, signature);

        terms = termsWith(payer, address(token));
        vm.chainId(4689);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.InvalidVoucher.selector, channel.idOf(terms), 10));
        channel.settle(terms, 0, 10, signature);
        PaymentChannel there = new PaymentChannel();
        vm.startPrank(payer);
        token.approve(address(there), 5);
        there.deposit(terms, 5);
        vm.expectPartialRevert(PaymentChannel.InvalidVoucher.selector);
        there.settle(terms, 0, 10, signature);
    }

    function testFuzz_only_the_signer_signs(uint256 seed) public {
        uint256 key = keyFrom(seed);
        vm.assume(vm.addr(key) != payer);
        PaymentChannel.Terms memory terms = opened();
        bytes memory signature = sign(key, channel.digestOf(channel.idOf(terms), 0, 10));
        vm.expectPartialRevert(PaymentChannel.InvalidVoucher.selector);
        channel.settle(terms, 0, 10, signature);
    }

    function test_malleated_short_and_long_signatures_are_refused() public {
        PaymentChannel.Terms memory terms = opened();
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(PAYER_KEY, channel.digestOf(channel.idOf(terms), 0, 10));
        bytes[4] memory bad = [
            packed(v == 27 ? 28 : 27, r, bytes32(SECP256K1_N - uint256(s))),
            abi.encodePacked(r, s),
            abi.encodePacked(r, s, v, v),
            bytes("")
        ];
        for (uint256 i = 0; i < bad.length; ++i) {
            vm.expectPartialRevert(PaymentChannel.InvalidVoucher.selector);
            channel.settle(terms, 0, 10, bad[i]);
        }
    }

    function test_a_contract_pays_by_erc1271() public {
        Registration memory r = enroll(1);
        address account = registry.accountOf(r.device);
        PaymentChannel.Terms memory terms = termsWith(account, address(token));
        vm.prank(payer);
        bytes32 id = channel.deposit(terms, DEPOSIT);
        bytes32 message = keccak256(abi.encode(keccak256("AccountMessage(bytes32 hash)"), channel.digestOf(id, 0, 10)));
        bytes memory signature = sign(FLEET_OWNER_KEY, typedDigest("DeviceAccount", account, message));
        vm.assertEq(channel.settle(terms, 0, 10, signature), 10, "paid");
    }

    function test_the_payee_has_the_challenge_to_settle() public {
        PaymentChannel.Terms memory terms = opened();
        bytes32 id = channel.idOf(terms);
        bytes memory last = voucher(terms, 0, 700);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.CloseTooEarly.selector, id, 0));
        vm.prank(payer);
        channel.close(terms);
        vm.prank(payer);
        channel.requestClose(terms);
        uint256 closesAt = block.timestamp + CHALLENGE;
        vm.warp(closesAt - 1);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.CloseTooEarly.selector, id, closesAt));
        vm.prank(payer);
        channel.close(terms);
        channel.settle(terms, 0, 700, last);
        vm.warp(closesAt);
        vm.prank(STRANGER);
        vm.assertEq(channel.close(terms), 300, "refund");
        vm.assertEq(token.balanceOf(payer), 1e30 - 700, "payer");
    }

    function test_a_closed_channel_stays_closed() public {
        PaymentChannel.Terms memory terms = opened();
        bytes32 id = channel.idOf(terms);
        bytes memory signature = voucher(terms, 0, 700);
        vm.prank(PAYEE);
        channel.close(terms);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.ChannelNotOpen.selector, id));
        channel.settle(terms, 0, 700, signature);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.ChannelNotOpen.selector, id));
        channel.close(terms);
        vm.startPrank(payer);
        vm.expectPartialRevert(PaymentChannel.ChannelClosing.selector);
        channel.deposit(terms, 5);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.ChannelNotOpen.selector, id));
        channel.requestClose(terms);
    }

    function test_a_closing_channel_takes_no_deposit_and_only_the_payer_asks() public {
        PaymentChannel.Terms memory terms = opened();
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.NotPayer.selector, STRANGER));
        vm.prank(STRANGER);
        channel.requestClose(terms);
        vm.startPrank(payer);
        channel.requestClose(terms);
        bytes memory refusal = abi.encodeWithSelector(
            PaymentChannel.ChannelClosing.selector, channel.idOf(terms), block.timestamp + CHALLENGE
        );
        vm.expectRevert(refusal);
        channel.deposit(terms, 5);
        vm.expectRevert(refusal);
        channel.requestClose(terms);
    }

    function test_what_was_never_opened_does_nothing() public {
        PaymentChannel.Terms memory terms = termsWith(payer, address(token));
        bytes memory signature = voucher(terms, 0, 10);
        bytes memory refusal = abi.encodeWithSelector(PaymentChannel.ChannelNotOpen.selector, channel.idOf(terms));
        vm.expectRevert(refusal);
        channel.settle(terms, 0, 10, signature);
        vm.expectRevert(refusal);
        vm.prank(PAYEE);
        channel.close(terms);
        vm.expectRevert(PaymentChannel.NothingDeposited.selector);
        channel.deposit(terms, 0);
        terms.challenge = 1 hours - 1;
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.ChallengeTooShort.selector, 1 hours - 1, 1 hours));
        channel.deposit(terms, 10);
    }

    function test_many_settle_and_the_settled_are_skipped() public {
        PaymentChannel.Terms memory terms = opened();
        PaymentChannel.Settlement[] memory many = new PaymentChannel.Settlement[](3);
        for (uint256 lane = 0; lane < 3; ++lane) {
            many[lane] = PaymentChannel.Settlement(terms, lane, 10 * (lane + 1), voucher(terms, lane, 10 * (lane + 1)));
        }
        channel.settle(terms, 1, 20, many[1].signature);
        uint256[] memory amounts = channel.settleMany(many);
        vm.assertEq(amounts[0], 10, "lane 0");
        vm.assertEq(amounts[1], 0, "settled before");
        vm.assertEq(amounts[2], 30, "lane 2");
        vm.assertEq(token.balanceOf(PAYEE), 60, "payee");
    }

    function test_a_bad_entry_does_not_spoil_the_others() public {
        PaymentChannel.Terms memory terms = opened();
        PaymentChannel.Terms memory closed = termsWith(payer, address(token));
        closed.salt = keccak256("closed");
        vm.prank(payer);
        channel.deposit(closed, DEPOSIT);
        PaymentChannel.Terms memory unknown = termsWith(payer, address(token));
        unknown.salt = keccak256("unknown");
        PaymentChannel.Settlement[] memory many = new PaymentChannel.Settlement[](4);
        many[0] = PaymentChannel.Settlement(closed, 0, 10, voucher(closed, 0, 10));
        many[1] = PaymentChannel.Settlement(unknown, 0, 10, voucher(unknown, 0, 10));
        many[2] = PaymentChannel.Settlement(terms, 0, 11, voucher(terms, 0, 10));
        many[3] = PaymentChannel.Settlement(terms, 1, 20, voucher(terms, 1, 20));
        vm.prank(PAYEE);
        channel.close(closed);
        uint256[] memory amounts = channel.settleMany(many);
        vm.assertEq(amounts[0] + amounts[1] + amounts[2], 0, "skipped");
        vm.assertEq(amounts[3], 20, "paid");
        vm.assertEq(token.balanceOf(PAYEE), 20, "payee");
    }

    function test_a_signer_that_burns_gas_spoils_only_its_own_voucher() public {
        PaymentChannel.Terms memory good = opened();
        PaymentChannel.Settlement[] memory many = new PaymentChannel.Settlement[](4);
        for (uint256 i = 0; i < 3; ++i) {
            PaymentChannel.Terms memory bad = termsWith(address(new Spoiler(i)), address(token));
            vm.prank(payer);
            channel.deposit(bad, DEPOSIT);
            many[i] = PaymentChannel.Settlement(bad, 0, 10, "");
        }
        many[3] = PaymentChannel.Settlement(good, 0, 20, voucher(good, 0, 20));
        uint256[] memory amounts = channel.settleMany{gas: 3_000_000}(many);
        vm.assertEq(amounts[0] + amounts[1] + amounts[2], 0, "skipped");
        vm.assertEq(amounts[3], 20, "paid");
    }

    function test_too_little_gas_never_makes_a_voucher_count_as_unsigned() public {
        Spoiler slow = new Spoiler(3);
        PaymentChannel.Terms memory terms = termsWith(address(slow), address(token));
        vm.prank(payer);
        channel.deposit(terms, DEPOSIT);
        PaymentChannel.Settlement[] memory many = new PaymentChannel.Settlement[](1);
        many[0] = PaymentChannel.Settlement(terms, 0, 10, "");
        for (uint256 gas_ = 50_000; gas_ < 1_000_000; gas_ += 50_000) {
            uint256 state = vm.snapshotState();
            try channel.settleMany{gas: gas_}(many) returns (uint256[] memory amounts) {
                vm.assertEq(amounts[0], 10, "paid");
            } catch {}
            vm.revertToState(state);
        }
        vm.expectPartialRevert(Signers.TooLittleGas.selector);
        channel.settleMany{gas: 600_000}(many);
        vm.assertEq(channel.settleMany{gas: 1_000_000}(many)[0], 10, "paid");
    }

    function test_a_key_that_delegated_to_code_still_signs() public {
        PaymentChannel.Terms memory terms = opened();
        vm.etch(payer, address(new Spoiler(4)).code);
        vm.assertEq(settle(terms, 0, 10), 10, "one");
        PaymentChannel.Settlement[] memory many = new PaymentChannel.Settlement[](1);
        many[0] = PaymentChannel.Settlement(terms, 0, 30, voucher(terms, 0, 30));
        vm.assertEq(channel.settleMany(many)[0], 20, "many");
    }

    function test_a_lane_that_drains_a_channel_leaves_it_open() public {
        PaymentChannel.Terms memory terms = opened();
        vm.assertEq(settle(terms, 1, DEPOSIT + 5), DEPOSIT, "all");
        bytes memory signature = voucher(terms, 0, 7);
        vm.expectRevert(abi.encodeWithSelector(PaymentChannel.NothingToSettle.selector, channel.idOf(terms), 0));
        channel.settle(terms, 0, 7, signature);
        vm.startPrank(payer);
        channel.deposit(terms, 3);
        channel.requestClose(terms);
        vm.stopPrank();
        vm.assertEq(settle(terms, 0, 7), 3, "after a top-up");
        vm.prank(PAYEE);
        vm.assertEq(channel.close(terms), 0, "closed");
    }

    function test_a_token_with_a_fee_counts_as_what_arrived() public {
        FeeToken fee = new FeeToken();
        PaymentChannel.Terms memory terms = fund(address(fee));
        (uint256 available,,) = channel.fundsOf(channel.idOf(terms));
        vm.assertEq(available, 900, "arrived");
        vm.assertEq(settle(terms, 0, 1_000), 900, "never more than that");
        vm.assertEq(fee.balanceOf(address(channel)), 0, "nothing of others was touched");
    }

    function test_a_token_that_answers_nothing_works() public {
        PaymentChannel.Terms memory terms = fund(address(new SilentToken()));
        vm.assertEq(settle(terms, 0, 600), 600, "paid");
        vm.prank(PAYEE);
        vm.assertEq(channel.close(terms), 400, "refund");
    }

    function test_tokens_that_lie_or_are_not_there_open_nothing() public {
        PaymentChannel.Terms memory terms = termsWith(payer, address(new LyingToken(true)));
        vm.expectRevert(PaymentChannel.NothingDeposited.selector);
        channel.deposit(terms, 10);
        terms.token = address(new LyingToken(false));
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, terms.token));
        channel.deposit(terms, 10);
        terms.token = STRANGER;
        vm.expectRevert();
        channel.deposit(terms, 10);
    }

    function test_a_token_with_hooks_does_not_enter_again() public {
        HookToken hook = new HookToken();
        PaymentChannel.Terms memory terms = fund(address(hook));
        bytes memory first = voucher(terms, 0, 10);
        bytes memory second = voucher(terms, 0, 20);
        hook.arm(address(channel), abi.encodeCall(channel.settle, (terms, 0, 20, second)));
        vm.assertEq(channel.settle(terms, 0, 10, first), 10, "paid");
        vm.assertTrue(!hook.reentered(), "the second call was refused");
        vm.assertEq(
            bytes32(hook.refusal()),
            bytes32(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector),
            "by the guard"
        );
        hook.arm(address(channel), abi.encodeCall(channel.deposit, (terms, 1)));
        vm.prank(payer);
        channel.deposit(terms, 100);
        vm.assertTrue(!hook.reentered(), "a deposit is not counted twice");
    }

    function opened() private returns (PaymentChannel.Terms memory terms) {
        terms = termsWith(payer, address(token));
        vm.prank(payer);
        channel.deposit(terms, DEPOSIT);
    }

    function fund(address other) private returns (PaymentChannel.Terms memory terms) {
        terms = termsWith(payer, other);
        PlainToken(other).mint(payer, 2 * DEPOSIT);
        vm.startPrank(payer);
        (bool approved,) = other.call(abi.encodeCall(IERC20.approve, (address(channel), type(uint256).max)));
        approved;
        channel.deposit(terms, DEPOSIT);
        vm.stopPrank();
    }

    function termsWith(address signer, address token_) private view returns (PaymentChannel.Terms memory) {
        return PaymentChannel.Terms(payer, PAYEE, token_, signer, CHALLENGE, keccak256("salt"));
    }

    function settle(PaymentChannel.Terms memory terms, uint256 lane, uint256 cumulative) private returns (uint256) {
        bytes memory signature = voucher(terms, lane, cumulative);
        vm.prank(STRANGER);
        return channel.settle(terms, lane, cumulative, signature);
    }

    /// @dev Signed by the payer; written out so that the contract is not checked against its own code.
    function voucher(PaymentChannel.Terms memory terms, uint256 lane, uint256 cumulative)
        private
        view
        returns (bytes memory)
    {
        bytes32 id =
            keccak256(abi.encode(terms.payer, terms.payee, terms.token, terms.signer, terms.challenge, terms.salt));
        if (lane != 0) id = keccak256(abi.encode(id, lane));
        bytes32 typeHash = keccak256("Voucher(bytes32 channelId,uint256 cumulativeAmount)");
        bytes32 structHash = keccak256(abi.encode(typeHash, id, cumulative));
        return sign(PAYER_KEY, typedDigest("DepinChannel", address(channel), structHash));
    }
}
