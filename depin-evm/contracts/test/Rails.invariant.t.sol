// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ServiceEscrow} from "../src/ServiceEscrow.sol";
import {Account, Allowance, Rail, RailValidator} from "../src/services/Rails.sol";
import {Test} from "./Base.sol";
import {FeeToken, PlainToken} from "./Tokens.sol";

/// @dev A validator who lowers, holds back, is silent, or asks for too much, as the mood is.
contract Mood is RailValidator {
    uint256 private seed;

    error Silent();

    function swing(uint256 seed_) external {
        seed = seed_;
    }

    function validate(uint256, uint256 rate, uint256 from, uint256 until) external view returns (uint256, uint256) {
        require(seed % 7 != 3, Silent());
        uint256 agreed = from + (until - from) * (seed >> 8 & 0xFF) / 0xFF;
        uint256 amount = rate * (agreed - from) * (seed >> 16 & 0xFF) / 0xFF;
        return seed % 11 == 5 ? (amount + rate * (until - from) + 1, agreed) : (amount, agreed);
    }
}

/// @dev Three people, each of whom pays the others, and sometimes himself, in two tokens, of which one takes a fee.
contract Square is Test {
    uint256 public constant PEOPLE = 3;
    uint256 public constant TOKENS = 2;

    ServiceEscrow public escrow = new ServiceEscrow();
    Mood private mood = new Mood();
    address[2] private tokens;
    uint256[] public rails;

    constructor() {
        vm.warp(1_800_000_000);
        (PlainToken plain, FeeToken fee) = (new PlainToken(), new FeeToken());
        tokens = [address(plain), address(fee)];
        for (uint256 i = 0; i < PEOPLE; ++i) {
            plain.mint(personAt(i), 1e30);
            fee.mint(personAt(i), 1e30);
            for (uint256 t = 0; t < TOKENS; ++t) {
                vm.startPrank(personAt(i));
                IERC20(tokens[t]).approve(address(escrow), type(uint256).max);
                escrow.allowOperator(tokens[t], address(this), uint128(300 + 100 * i), 1e6, 1_000);
                vm.stopPrank();
            }
        }
    }

    function personAt(uint256 i) public pure returns (address) {
        return address(uint160(0x9E0000 + i));
    }

    function tokenAt(uint256 t) public view returns (address) {
        return tokens[t % TOKENS];
    }

    function railCount() external view returns (uint256) {
        return rails.length;
    }

    function pass(uint256 elapsed) external {
        vm.warp(block.timestamp + elapsed % 2 hours);
    }

    function swing(uint256 seed) external {
        mood.swing(seed);
    }

    /// @dev Anybody fills anybody's account.
    function fill(uint256 who, uint256 owner, uint256 t, uint256 amount) external {
        (IERC20 token, address account) = (IERC20(tokenAt(t)), personAt(owner % PEOPLE));
        uint256 before = token.balanceOf(address(escrow));
        uint256 funds = escrow.accountOf(address(token), account).funds;
        vm.prank(personAt(who % PEOPLE));
        escrow.deposit(address(token), account, bound(amount, 1, 1e6));
        uint256 arrived = token.balanceOf(address(escrow)) - before;
        vm.assertEq(escrow.accountOf(address(token), account).funds - funds, arrived, "what arrived counts");
    }

    function openRail(uint256 who, uint256 rate, uint256 period, uint256 lockupFixed) external {
        bytes memory call = abi.encodeCall(
            ServiceEscrow.openRail,
            (
                tokenAt(who),
                personAt((who >> 8) % PEOPLE),
                personAt((who >> 16) % PEOPLE),
                (who >> 24) % 2 == 0 ? RailValidator(address(0)) : mood,
                uint128(rate % 200),
                uint64(period % 1_000),
                uint128(lockupFixed % 1e4)
            )
        );
        (bool done, bytes memory answer) = attempt(address(this), address(escrow), call, refusalsOfASet());
        if (done) rails.push(abi.decode(answer, (uint256)));
    }

    function changeRail(uint256 which, uint256 rate, uint256 lockupFixed) external {
        if (rails.length == 0) return;
        uint256 rail = rails[which % rails.length];
        bytes memory call =
            abi.encodeCall(ServiceEscrow.changeRail, (rail, uint128(rate % 200), uint128(lockupFixed % 1e4)));
        bytes memory expected = abi.encodePacked(
            refusalsOfASet(),
            refusalsOfASettlement(),
            ServiceEscrow.RailEnds.selector,
            ServiceEscrow.RailNotSettled.selector
        );
        attempt(address(this), address(escrow), call, expected);
    }

    function payFixed(uint256 which, uint256 amount) external {
        if (rails.length == 0) return;
        bytes memory call = abi.encodeCall(ServiceEscrow.payFixed, (rails[which % rails.length], uint128(amount % 1e3)));
        bytes memory expected =
            abi.encodePacked(ServiceEscrow.UnknownRail.selector, ServiceEscrow.FundsTooSmall.selector);
        attempt(address(this), address(escrow), call, expected);
    }

    function settle(uint256 which, uint256 until) external {
        if (rails.length == 0) return;
        until = bound(until, block.timestamp - 1_000, block.timestamp + 1_000);
        bytes memory call = abi.encodeCall(ServiceEscrow.settle, (rails[which % rails.length], until));
        attempt(address(this), address(escrow), call, refusalsOfASettlement());
    }

    function settleWithoutValidator(uint256 which, uint256 who) external {
        if (rails.length == 0) return;
        bytes memory call = abi.encodeCall(ServiceEscrow.settleWithoutValidator, (rails[which % rails.length]));
        attempt(personAt(who % PEOPLE), address(escrow), call, refusalsOfAnEnd());
    }

    function terminate(uint256 which, uint256 who) external {
        if (rails.length == 0) return;
        bytes memory call = abi.encodeCall(ServiceEscrow.terminate, (rails[which % rails.length]));
        address caller = who % 4 == 3 ? address(this) : personAt(who % 4);
        bytes memory expected = abi.encodePacked(refusalsOfAnEnd(), ServiceEscrow.InArrears.selector);
        attempt(caller, address(escrow), call, expected);
    }

    function withdraw(uint256 who, uint256 t, uint256 amount) external {
        address owner = personAt(who % PEOPLE);
        amount = bound(amount, 0, escrow.accountOf(tokenAt(t), owner).funds);
        bytes memory call = abi.encodeCall(ServiceEscrow.withdraw, (tokenAt(t), amount));
        attempt(owner, address(escrow), call, abi.encodePacked(ServiceEscrow.FundsTooSmall.selector));
    }

    function refusalsOfASet() private pure returns (bytes memory) {
        return abi.encodePacked(
            ServiceEscrow.InArrears.selector,
            ServiceEscrow.AllowanceExceeded.selector,
            ServiceEscrow.FundsTooSmall.selector
        );
    }

    function refusalsOfASettlement() private pure returns (bytes memory) {
        return abi.encodePacked(
            ServiceEscrow.UnknownRail.selector, ServiceEscrow.ValidatorOverreached.selector, Mood.Silent.selector
        );
    }

    function refusalsOfAnEnd() private pure returns (bytes memory) {
        return abi.encodePacked(
            ServiceEscrow.UnknownRail.selector, ServiceEscrow.NotAllowed.selector, ServiceEscrow.RailEnds.selector
        );
    }
}

contract RailsInvariants is Test {
    Square private square;
    ServiceEscrow private escrow;

    function setUp() public {
        square = new Square();
        escrow = square.escrow();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(square);
    }

    function invariant_the_escrow_holds_the_funds_of_all_accounts() public view {
        for (uint256 t = 0; t < square.TOKENS(); ++t) {
            address token = square.tokenAt(t);
            uint256 funds = 0;
            for (uint256 i = 0; i < square.PEOPLE(); ++i) {
                funds += escrow.accountOf(token, square.personAt(i)).funds;
            }
            vm.assertEq(IERC20(token).balanceOf(address(escrow)), funds, "held");
        }
    }

    /// @dev One campaign for both: forge plays the same calls anew for every function that it finds.
    function invariant_every_lock_rate_and_allowance_is_that_of_the_rails() public view {
        uint256 count = square.railCount();
        Rail[] memory rails = new Rail[](count);
        for (uint256 i = 0; i < count; ++i) {
            rails[i] = escrow.railOf(square.rails(i));
        }
        for (uint256 t = 0; t < square.TOKENS(); ++t) {
            for (uint256 i = 0; i < square.PEOPLE(); ++i) {
                locked_is_what_the_rails_are_owed_and_guaranteed(rails, square.tokenAt(t), square.personAt(i));
                the_operator_uses_what_his_open_rails_use(rails, square.tokenAt(t), square.personAt(i));
            }
        }
    }

    function locked_is_what_the_rails_are_owed_and_guaranteed(Rail[] memory rails, address token, address payer)
        private
        view
    {
        Account memory a = escrow.accountOf(token, payer);
        (uint256 locked, uint256 rate) = (0, 0);
        for (uint256 i = 0; i < rails.length; ++i) {
            Rail memory r = rails[i];
            // A rail that is closed is empty.
            if (r.payer != payer || r.token != token) continue;
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

    function the_operator_uses_what_his_open_rails_use(Rail[] memory rails, address token, address payer) private view {
        Allowance memory used = escrow.allowanceOf(token, payer, address(square));
        (uint256 rate, uint256 lockup) = (0, 0);
        for (uint256 i = 0; i < rails.length; ++i) {
            Rail memory r = rails[i];
            if (r.payer != payer || r.token != token) continue;
            rate += r.rate;
            lockup += uint256(r.rate) * r.lockupPeriod + r.lockupFixed;
        }
        vm.assertEq(used.rateUsed, rate, "rate");
        vm.assertEq(used.lockupUsed, lockup, "lockup");
        vm.assertTrue(used.rateUsed <= used.rate && used.lockupUsed <= used.lockup, "within what was allowed");
    }
}
