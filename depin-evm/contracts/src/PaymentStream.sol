// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Pulls} from "./services/Pulls.sol";

/// @title Streams: so much per second, for any number of payees out of one purse
/// @notice A payer has one purse per token. What all its streams take per second is one number, so a settlement costs
/// the same for one stream and for a million.
/// @dev A purse is paid up to `paidUpTo`. Where it runs dry, all its streams stop at the same second, so no payee is
/// served before another; after a deposit they go on from there, and the seconds in between are owed. What is not in
/// the purse is not guaranteed: for a guarantee take a rail of `ServiceEscrow`.
///
/// At all times balance + the sum of rate * (purse.paidUpTo - stream.paidUpTo) of its streams is what the contract
/// holds for the purse, and credits of streams that ended come on top. Rates are
/// whole units a second, so nothing is rounded; for tokens with few decimals see `ServiceEscrow`. Tokens as for
/// `PaymentChannel`.
contract PaymentStream is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev Two storage words.
    struct Purse {
        uint128 balance;
        uint128 rate;
        uint64 paidUpTo;
    }

    /// @dev One storage word; the rate is zero when there is no stream.
    struct Stream {
        uint128 rate;
        uint64 paidUpTo;
    }

    mapping(address payer => mapping(address token => Purse)) private _purses;
    mapping(bytes32 streamId => Stream) private _streams;
    mapping(address payee => mapping(address token => uint256 amount)) private _credits;

    /// @notice `amount` arrived in the purse.
    event Deposited(address indexed payer, address indexed token, uint256 amount);
    /// @notice The payer took `amount` back.
    event Withdrawn(address indexed payer, address indexed token, uint256 amount);
    /// @notice The payee is owed `rate` per second from now on.
    event Started(address indexed payer, address indexed payee, address indexed token, uint256 rate);
    /// @notice The payee was paid `amount` for the seconds before `paidUpTo`.
    event Paid(address indexed payer, address indexed payee, address indexed token, uint256 amount, uint256 paidUpTo);
    /// @notice The stream ended at `until`, and the payee was credited `amount`.
    event Stopped(address indexed payer, address indexed payee, address indexed token, uint256 amount, uint256 until);
    /// @notice The payee got the `amount` of its credits.
    event Collected(address indexed payee, address indexed token, uint256 amount);

    /// @notice Nothing of the token arrived.
    error NothingDeposited();
    /// @notice The purse owes since `paidUpTo`; deposit first.
    error InArrears(uint256 paidUpTo);
    /// @notice A stream has a rate.
    error ZeroRate();
    /// @notice There is one stream per payer, payee and token; stop it first.
    error StreamExists(address payer, address payee, address token);
    /// @notice There is no such stream.
    error UnknownStream(address payer, address payee, address token);
    /// @notice The purse holds less that is not owed.
    error PurseTooSmall(uint256 wanted, uint256 balance);
    /// @notice Only the payer and the payee stop a stream.
    error NotParty(address caller);

    /// @notice Fills the purse of `payer` from the caller's allowance.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); something arrived
    /// (`NothingDeposited`; `SafeERC20FailedOperation`); the sum fits 128 bits (`SafeCastOverflowedUintDowncast`).
    function deposit(address payer, address token, uint256 amount) external nonReentrant {
        amount = Pulls.pull(IERC20(token), msg.sender, amount);
        require(amount != 0, NothingDeposited());
        Purse memory purse = _advanced(payer, token);
        purse.balance = SafeCast.toUint128(purse.balance + amount);
        _store(payer, token, _advance(purse));
        emit Deposited(payer, token, amount);
    }

    /// @notice Takes back what no stream has used yet.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); the purse holds it after
    /// paying up to now (`PurseTooSmall`).
    function withdraw(address token, uint256 amount) external nonReentrant {
        Purse memory purse = _advanced(msg.sender, token);
        require(amount <= purse.balance, PurseTooSmall(amount, purse.balance));
        purse.balance -= uint128(amount);
        _store(msg.sender, token, purse);
        emit Withdrawn(msg.sender, token, amount);
        IERC20(token).safeTransfer(msg.sender, amount);
    }

    /// @notice Starts to pay `rate` per second to `payee`, out of the caller's purse.
    /// @dev Checks: the rate is not zero (`ZeroRate`); there is no such stream (`StreamExists`); the purse owes nothing
    /// (`InArrears`); all rates together fit 128 bits (`SafeCastOverflowedUintDowncast`).
    function start(address payee, address token, uint128 rate) external {
        require(rate != 0, ZeroRate());
        Stream storage stream = _streams[idOf(msg.sender, payee, token)];
        require(stream.rate == 0, StreamExists(msg.sender, payee, token));
        Purse memory purse = _advanced(msg.sender, token);
        require(purse.paidUpTo == block.timestamp, InArrears(purse.paidUpTo));
        purse.rate = SafeCast.toUint128(uint256(purse.rate) + rate);
        _store(msg.sender, token, purse);
        (stream.rate, stream.paidUpTo) = (rate, purse.paidUpTo);
        emit Started(msg.sender, payee, token, rate);
    }

    /// @notice Pays the payee all that the purse covers. Anybody may call, and again: then it pays nothing more.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); there is such a stream
    /// (`UnknownStream`).
    /// @return amount What was paid now.
    function settle(address payer, address payee, address token) external nonReentrant returns (uint256 amount) {
        Purse memory purse = _advanced(payer, token);
        _store(payer, token, purse);
        amount = _pay(payer, payee, token, purse.paidUpTo);
    }

    /// @notice Ends the stream and credits what the purse covers to the payee, for `collect`: so a payee that can not
    /// receive does not keep the stream running. The seconds that a dry purse owes are forgiven.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); the caller is the payer or the
    /// payee (`NotParty`); there is such a stream (`UnknownStream`).
    /// @return amount What was credited now.
    function stop(address payer, address payee, address token) external nonReentrant returns (uint256 amount) {
        require(msg.sender == payer || msg.sender == payee, NotParty(msg.sender));
        Purse memory purse = _advanced(payer, token);
        bytes32 id = idOf(payer, payee, token);
        Stream memory stream = _streams[id];
        require(stream.rate != 0, UnknownStream(payer, payee, token));
        purse.rate -= stream.rate;
        _store(payer, token, purse);
        delete _streams[id];
        amount = uint256(stream.rate) * (purse.paidUpTo - stream.paidUpTo);
        _credits[payee][token] += amount;
        emit Stopped(payer, payee, token, amount, purse.paidUpTo);
    }

    /// @notice Pays the payee what streams that ended left it. Anybody may call, and again: then it pays nothing more.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); the token pays (its own
    /// errors, `SafeERC20FailedOperation`). Needs no right: only the payee is paid.
    /// @return amount What was paid now.
    function collect(address payee, address token) external nonReentrant returns (uint256 amount) {
        amount = _credits[payee][token];
        if (amount == 0) return 0;
        delete _credits[payee][token];
        emit Collected(payee, token, amount);
        IERC20(token).safeTransfer(payee, amount);
    }

    /// @notice What `collect` would pay.
    function creditsOf(address payee, address token) external view returns (uint256) {
        return _credits[payee][token];
    }

    /// @notice A purse as of now: what is not owed, the rate of all streams, and up to when they are covered.
    function purseOf(address payer, address token) external view returns (Purse memory) {
        return _advanced(payer, token);
    }

    /// @notice What `settle` would pay now, and the rate.
    function owed(address payer, address payee, address token) external view returns (uint256 amount, uint256 rate) {
        Stream memory stream = _streams[idOf(payer, payee, token)];
        if (stream.rate == 0) return (0, 0);
        return (uint256(stream.rate) * (_advanced(payer, token).paidUpTo - stream.paidUpTo), stream.rate);
    }

    /// @notice The key under which a stream is stored.
    function idOf(address payer, address payee, address token) public pure returns (bytes32) {
        return keccak256(abi.encode(payer, payee, token));
    }

    /// @dev Effects before the token's call.
    function _pay(address payer, address payee, address token, uint64 until) private returns (uint256 amount) {
        Stream storage stream = _streams[idOf(payer, payee, token)];
        uint128 rate = stream.rate;
        require(rate != 0, UnknownStream(payer, payee, token));
        amount = uint256(rate) * (until - stream.paidUpTo);
        if (amount == 0) return 0;
        stream.paidUpTo = until;
        emit Paid(payer, payee, token, amount, until);
        IERC20(token).safeTransfer(payee, amount);
    }

    function _advanced(address payer, address token) private view returns (Purse memory) {
        return _advance(_purses[payer][token]);
    }

    /// @dev Pays for as many seconds as the purse covers.
    function _advance(Purse memory purse) private view returns (Purse memory) {
        if (purse.rate == 0) {
            purse.paidUpTo = uint64(block.timestamp);
            return purse;
        }
        uint256 elapsed = block.timestamp - purse.paidUpTo;
        uint256 covered = purse.balance / purse.rate;
        if (covered > elapsed) covered = elapsed;
        purse.balance -= uint128(covered * purse.rate);
        purse.paidUpTo += uint64(covered);
        return purse;
    }

    function _store(address payer, address token, Purse memory purse) private {
        _purses[payer][token] = purse;
    }
}
