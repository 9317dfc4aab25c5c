// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Pulls} from "./services/Pulls.sol";
import {Account, Allowance, Rail, RailValidator} from "./services/Rails.sol";

/// @title Escrow for services that run on: rails with a rate, a guarantee and a validator
/// @notice A payer deposits and lets operators open rails out of its account, within allowances. A rail pays its payee
/// `rate` per second. Its guarantee, rate * lockupPeriod + lockupFixed, is locked from the beginning: when the payer
/// runs dry or leaves, the payee is still paid for that long after the last second that was covered.
/// @dev An account is paid up to `paidUpTo`. Where it runs dry all its rails stop at the same second, so each payee
/// bears the same part of the shortfall. There is no queue of rates: a rail has one rate and at most one before it, which
/// its validator has not judged to the end, so every settlement costs the same and can be asked up to any time. Payees are credited in their account
/// here and withdraw, so no payee can block another, nor the payer. Tokens as for `PaymentChannel`.
///
/// Rates are whole units a second, so nothing is ever rounded. Of a token with 18 decimals that is any rate: one unit a
/// second is 0.00000000003 tokens a year. Of one with 6 decimals it is 2.6 tokens a month, and rates are multiples of
/// that: what costs less, or must be met closer, is paid by `payFixed` from a rail with rate 0 (say, once a month), or
/// by the vouchers of a `PaymentChannel`, both to the unit.
///
/// For every account: locked <= funds, and locked is the sum over its rails of what `_due` says and `lockupFixed`.
contract ServiceEscrow is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice Longest lockup period in seconds, 35,000 years: so that the end of a rail always fits its 64 bits.
    uint64 public constant LONGEST_LOCKUP = 2 ** 40;

    mapping(address token => mapping(address owner => Account)) private _accounts;
    mapping(address token => mapping(address payer => mapping(address operator => Allowance))) private _allowances;
    Rail[] private _rails;

    /// @notice `amount` arrived in the account of `owner`.
    event Deposited(address indexed token, address indexed owner, uint256 amount);
    /// @notice `amount` left the account of `owner`.
    event Withdrawn(address indexed token, address indexed owner, uint256 amount);
    /// @notice The payer lets the operator open rails within these bounds.
    event OperatorAllowed(address indexed token, address indexed payer, address indexed operator, Allowance allowance);
    /// @notice A rail was opened, or changed by its operator.
    event RailSet(uint256 indexed railId, address indexed payer, address indexed payee, Rail rail);
    /// @notice The payee was credited `amount` of the `due` for the seconds before `paidUpTo`; the payer keeps the rest.
    event RailSettled(uint256 indexed railId, uint256 amount, uint256 due, uint256 paidUpTo);
    /// @notice The operator paid `amount` out of the fixed lockup.
    event FixedPaid(uint256 indexed railId, uint256 amount);
    /// @notice The rail ends at `endsAt`, when its guarantee is used up.
    event RailTerminated(uint256 indexed railId, address indexed by, uint256 endsAt);
    /// @notice The rail is settled to its end; what was left of its lockup is free.
    event RailClosed(uint256 indexed railId);

    /// @notice Nothing of the token arrived.
    error NothingDeposited();
    /// @notice Only this much is neither locked nor owed.
    error FundsTooSmall(uint256 wanted, uint256 available);
    /// @notice The payer is in arrears since `paidUpTo`; deposit first.
    error InArrears(uint256 paidUpTo);
    /// @notice The payer did not allow the operator that much.
    error AllowanceExceeded(uint256 rate, uint256 lockup, uint256 lockupPeriod);
    /// @notice No lockup period is longer than `LONGEST_LOCKUP`.
    error LockupTooLong(uint256 lockupPeriod);
    /// @notice There is no such rail, or it is closed.
    error UnknownRail(uint256 railId);
    /// @notice The caller has no such right on this rail.
    error NotAllowed(uint256 railId, address caller);
    /// @notice The rail ends and can not be changed nor terminated again.
    error RailEnds(uint256 railId, uint256 endsAt);
    /// @notice The validator has not judged the rate before the present one; the rate can not change again before.
    error RailNotSettled(uint256 railId, uint256 paidUpTo);
    /// @notice A validator may only lower what is due, and the time up to which it is.
    error ValidatorOverreached(uint256 railId, uint256 amount, uint256 until);

    /// @notice Fills the account of `owner` from the caller's allowance.
    /// @dev Checks: no call of a token or validator comes back here (`ReentrancyGuardReentrantCall`); something arrived
    /// (`NothingDeposited`; `SafeERC20FailedOperation`); the sum fits 128 bits (`SafeCastOverflowedUintDowncast`).
    function deposit(address token, address owner, uint256 amount) external nonReentrant {
        amount = Pulls.pull(IERC20(token), msg.sender, amount);
        require(amount != 0, NothingDeposited());
        Account storage account = _advance(token, owner);
        account.funds = SafeCast.toUint128(account.funds + amount);
        _advance(token, owner);
        emit Deposited(token, owner, amount);
    }

    /// @notice Takes out what is neither locked nor owed.
    /// @dev Checks: no call of a token or validator comes back here (`ReentrancyGuardReentrantCall`); there is that
    /// much (`FundsTooSmall`).
    function withdraw(address token, uint256 amount) external nonReentrant {
        Account storage account = _advance(token, msg.sender);
        uint256 available = account.funds - account.locked;
        require(amount <= available, FundsTooSmall(amount, available));
        account.funds -= uint128(amount);
        emit Withdrawn(token, msg.sender, amount);
        IERC20(token).safeTransfer(msg.sender, amount);
    }

    /// @notice Bounds what `operator` may open out of the caller's account: all rates together, all lockups together,
    /// and the longest lockup period. Rails that exist go on when this is lowered.
    /// @dev Checks: none; the allowance is the caller's own, and any bounds are his to give.
    function allowOperator(address token, address operator, uint128 rate, uint128 lockup, uint64 lockupPeriod)
        external
    {
        Allowance storage allowance = _allowances[token][msg.sender][operator];
        (allowance.rate, allowance.lockup, allowance.lockupPeriod) = (rate, lockup, lockupPeriod);
        emit OperatorAllowed(token, msg.sender, operator, allowance);
    }

    /// @notice Opens a rail; the caller is its operator. A zero validator lowers nothing.
    /// @dev Checks: no call of a token or validator comes back here (`ReentrancyGuardReentrantCall`); the lockup period
    /// is at most `LONGEST_LOCKUP` (`LockupTooLong`); the payer is not in arrears (`InArrears`), allowed the caller
    /// that much (`AllowanceExceeded`) and has the guarantee (`FundsTooSmall`); all rates together, what is locked for
    /// them, and what the operator uses of his allowance fit 128 bits (`SafeCastOverflowedUintDowncast`).
    /// @return railId The number of the rail.
    function openRail(
        address token,
        address payer,
        address payee,
        RailValidator validator,
        uint128 rate,
        uint64 lockupPeriod,
        uint128 lockupFixed
    ) external nonReentrant returns (uint256 railId) {
        require(lockupPeriod <= LONGEST_LOCKUP, LockupTooLong(lockupPeriod));
        railId = _rails.length;
        Rail storage rail = _rails.push();
        (rail.token, rail.payer, rail.payee) = (token, payer, payee);
        (rail.operator, rail.validator, rail.lockupPeriod) = (msg.sender, validator, lockupPeriod);
        rail.paidUpTo = uint64(block.timestamp);
        _set(railId, rate, lockupFixed);
    }

    /// @notice Changes rate and fixed lockup of a rail from now on. The seconds before keep their rate, settled or not.
    /// @dev Checks: no call of a token or validator comes back here (`ReentrancyGuardReentrantCall`); the caller is the
    /// operator (`NotAllowed`); the rail is there (`UnknownRail`) and does not end (`RailEnds`); the rate is the same,
    /// or the validator has judged the rate before this one to its end (`RailNotSettled`): one change never waits for
    /// him, a second one does; and those of `settle` where the rate before is settled by this, and of `openRail`, 128
    /// bits included.
    function changeRail(uint256 railId, uint128 rate, uint128 lockupFixed) external nonReentrant {
        Rail storage rail = _open(railId);
        require(msg.sender == rail.operator, NotAllowed(railId, msg.sender));
        require(rail.endsAt == 0, RailEnds(railId, rail.endsAt));
        if (rate != rail.rate) _endRate(railId, rail);
        _set(railId, rate, lockupFixed);
    }

    /// @notice Credits the payee `amount` out of the fixed lockup, for something that is paid once.
    /// @dev Checks: no call of a token or validator comes back here (`ReentrancyGuardReentrantCall`); the caller is the
    /// operator (`NotAllowed`); the rail is there (`UnknownRail`); the fixed lockup holds it (`FundsTooSmall`); the
    /// payee's funds fit 128 bits with it (`SafeCastOverflowedUintDowncast`).
    function payFixed(uint256 railId, uint128 amount) external nonReentrant {
        Rail storage rail = _open(railId);
        require(msg.sender == rail.operator, NotAllowed(railId, msg.sender));
        require(amount <= rail.lockupFixed, FundsTooSmall(amount, rail.lockupFixed));
        rail.lockupFixed -= amount;
        // What is paid is taken off the allowance for good: else the operator could lock and pay again and again.
        _allowances[rail.token][rail.payer][rail.operator].spend(amount);
        _move(rail, amount, amount);
        emit FixedPaid(railId, amount);
    }

    /// @notice Credits the payee what is due up to `until`, or up to where the payer is covered, the rail ends or the
    /// validator agrees, whichever is first. Anybody may call. Closes a rail that is settled to its end.
    /// @dev Checks: no call of a token or validator comes back here (`ReentrancyGuardReentrantCall`); the rail is there
    /// (`UnknownRail`); the validator only lowers (`ValidatorOverreached`, and his own errors); the payee's funds fit
    /// 128 bits with it (`SafeCastOverflowedUintDowncast`).
    /// @return amount What the payee was credited now.
    function settle(uint256 railId, uint256 until) external nonReentrant returns (uint256 amount) {
        return _settle(railId, _open(railId), until, true);
    }

    /// @notice Settles a rail to its end without its validator, in full: the payer's way out when the validator does
    /// not answer.
    /// @dev Checks: no call of a token or validator comes back here (`ReentrancyGuardReentrantCall`); the rail is there
    /// (`UnknownRail`); the caller is the payer (`NotAllowed`); the rail was terminated and its end has passed
    /// (`RailEnds`); the payee's funds fit 128 bits with it (`SafeCastOverflowedUintDowncast`).
    /// @return amount What the payee was credited now.
    function settleWithoutValidator(uint256 railId) external nonReentrant returns (uint256 amount) {
        Rail storage rail = _open(railId);
        require(msg.sender == rail.payer, NotAllowed(railId, msg.sender));
        require(rail.endsAt != 0 && block.timestamp >= rail.endsAt, RailEnds(railId, rail.endsAt));
        return _settle(railId, rail, rail.endsAt, false);
    }

    /// @notice Ends a rail: it pays on for its lockup period after the last second that is covered.
    /// @dev Checks: no call of a token or validator comes back here (`ReentrancyGuardReentrantCall`); the rail is there
    /// (`UnknownRail`) and does not end (`RailEnds`); the caller is operator, payee or payer (`NotAllowed`), and as
    /// payer not in arrears (`InArrears`).
    function terminate(uint256 railId) external nonReentrant {
        Rail storage rail = _open(railId);
        require(rail.endsAt == 0, RailEnds(railId, rail.endsAt));
        Account storage account = _advance(rail.token, rail.payer);
        bool isPayer = msg.sender == rail.payer;
        require(isPayer || msg.sender == rail.operator || msg.sender == rail.payee, NotAllowed(railId, msg.sender));
        require(!isPayer || account.paidUpTo == block.timestamp, InArrears(account.paidUpTo));
        rail.endsAt = account.paidUpTo + rail.lockupPeriod;
        // A rail without a rate owes nothing for the time before, whenever it was settled last.
        if (rail.rate == 0 && !rail.owesRateBefore()) rail.paidUpTo = account.paidUpTo;
        account.rate -= rail.rate;
        emit RailTerminated(railId, msg.sender, rail.endsAt);
    }

    /// @notice An account as of the last call that touched it.
    function accountOf(address token, address owner) external view returns (Account memory) {
        return _accounts[token][owner];
    }

    /// @notice What a payer allows an operator, and how much of it is used.
    function allowanceOf(address token, address payer, address operator) external view returns (Allowance memory) {
        return _allowances[token][payer][operator];
    }

    /// @notice A rail; its operator is zero when it is closed.
    /// @dev Checks: there was such a rail (`UnknownRail`).
    function railOf(uint256 railId) external view returns (Rail memory) {
        require(railId < _rails.length, UnknownRail(railId));
        return _rails[railId];
    }

    function _open(uint256 railId) private view returns (Rail storage rail) {
        require(railId < _rails.length && _rails[railId].operator != address(0), UnknownRail(railId));
        return _rails[railId];
    }

    /// @dev What was due at the rate so far stays due at it.
    function _endRate(uint256 railId, Rail storage rail) private {
        if (address(rail.validator) == address(0) || rail.owesRateBefore()) {
            _settle(railId, rail, block.timestamp, true);
        }
        require(!rail.owesRateBefore(), RailNotSettled(railId, rail.paidUpTo));
        if (rail.rate == 0) rail.paidUpTo = uint64(block.timestamp);
        if (rail.paidUpTo == block.timestamp) return;
        (rail.rateBefore, rail.changedAt) = (rail.rate, uint64(block.timestamp));
    }

    /// @dev The rate so far has ended or stays. Takes the old guarantee out of the books and the new one in.
    function _set(uint256 railId, uint128 rate, uint128 lockupFixed) private {
        Rail storage rail = _rails[railId];
        Account storage account = _advance(rail.token, rail.payer);
        require(account.paidUpTo == block.timestamp, InArrears(account.paidUpTo));
        Allowance storage allowance = _allowances[rail.token][rail.payer][rail.operator];
        (uint256 rateBefore, uint256 before) = (rail.rate, rail.guarantee());
        // Less is always allowed, also after the payer lowered the allowance: but not less that is judged by the
        // validator for more that is paid without it.
        bool less = (before != 0 || rateBefore != 0) && rate <= rateBefore && lockupFixed <= rail.lockupFixed;
        account.rate -= rail.rate;
        allowance.rateUsed -= rail.rate;
        (rail.rate, rail.lockupFixed) = (rate, lockupFixed);
        uint256 guarantee = rail.guarantee();
        uint256 available = account.funds - account.locked + before;
        require(guarantee <= available, FundsTooSmall(guarantee, available));
        account.locked = uint128(account.locked - before + guarantee);
        account.rate = SafeCast.toUint128(uint256(account.rate) + rate);
        allowance.rateUsed = SafeCast.toUint128(uint256(allowance.rateUsed) + rate);
        allowance.lockupUsed = SafeCast.toUint128(allowance.lockupUsed - before + guarantee);
        require(less || allowance.covers(rail.lockupPeriod), AllowanceExceeded(rate, guarantee, rail.lockupPeriod));
        emit RailSet(railId, rail.payer, rail.payee, rail);
    }

    function _settle(uint256 railId, Rail storage rail, uint256 until, bool validated)
        private
        returns (uint256 amount)
    {
        uint256 covered = rail.endsAt == 0 ? _advance(rail.token, rail.payer).paidUpTo : rail.endsAt;
        if (until > covered) until = covered;
        if (until > block.timestamp) until = block.timestamp;
        if (rail.owesRateBefore()) {
            amount = _pay(railId, rail, rail.rateBefore, until < rail.changedAt ? until : rail.changedAt, validated);
        }
        if (!rail.owesRateBefore()) amount += _pay(railId, rail, rail.rate, until, validated);
        if (rail.endsAt != 0 && rail.paidUpTo >= rail.endsAt) _close(railId, rail);
    }

    function _pay(uint256 railId, Rail storage rail, uint256 rate, uint256 until, bool validated)
        private
        returns (uint256 amount)
    {
        if (until <= rail.paidUpTo) return 0;
        uint256 due;
        (amount, due, until) = _due(railId, rail, rate, until, validated);
        rail.paidUpTo = uint64(until);
        _move(rail, amount, due);
        emit RailSettled(railId, amount, due, until);
    }

    /// @dev What the payee gets, what is due, and up to when.
    function _due(uint256 railId, Rail storage rail, uint256 rate, uint256 until, bool validated)
        private
        returns (uint256 amount, uint256 due, uint256)
    {
        uint64 from = rail.paidUpTo;
        due = rate * (until - from);
        if (!validated || due == 0 || address(rail.validator) == address(0)) return (due, due, until);
        uint256 agreed;
        (amount, agreed) = rail.validator.validate(railId, rate, from, until);
        require(agreed >= from && agreed <= until, ValidatorOverreached(railId, amount, agreed));
        due = rate * (agreed - from);
        require(amount <= due, ValidatorOverreached(railId, amount, agreed));
        return (amount, due, agreed);
    }

    /// @dev Credits `amount` of the `locked` to the payee; the rest of it is free again.
    function _move(Rail storage rail, uint256 amount, uint256 locked) private {
        Account storage payer = _accounts[rail.token][rail.payer];
        // Fit: at most what is locked, which is at most the funds.
        payer.locked -= uint128(locked);
        payer.funds -= uint128(amount);
        Account storage payee = _accounts[rail.token][rail.payee];
        payee.funds = SafeCast.toUint128(payee.funds + amount);
    }

    /// @dev Frees the fixed lockup, and gives the operator back what the rail used of its allowance.
    function _close(uint256 railId, Rail storage rail) private {
        _accounts[rail.token][rail.payer].locked -= rail.lockupFixed;
        Allowance storage allowance = _allowances[rail.token][rail.payer][rail.operator];
        // The rate too only now: a rail that ends is still paid.
        allowance.rateUsed -= rail.rate;
        allowance.lockupUsed -= uint128(rail.guarantee());
        delete _rails[railId];
        emit RailClosed(railId);
    }

    /// @dev Locks what the rails used since, for as many seconds as the account covers.
    function _advance(address token, address owner) private returns (Account storage account) {
        account = _accounts[token][owner];
        uint256 elapsed = block.timestamp - account.paidUpTo;
        if (account.rate != 0) {
            uint256 covered = (account.funds - account.locked) / account.rate;
            if (covered < elapsed) elapsed = covered;
            account.locked += uint128(elapsed * account.rate);
        }
        account.paidUpTo += uint64(elapsed);
    }
}
