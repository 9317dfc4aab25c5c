// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Curves, Cursor, Decay, Row, Schedule, Target} from "./emission/Curves.sol";
import {NetworkToken} from "./NetworkToken.sol";
import {TokenSource} from "./rewards/EpochRoots.sol";

/// @title Issues a network's token along a curve
/// @notice Give it the token's `MINTER_ROLE`, and nobody else: what others mint is beside the curve. Whoever has
/// `EMITTER_ROLE`, usually the reward distributor, mints what the curve allows and was not minted through here: that
/// never exceeds the curve, nor the cap, whatever is burned meanwhile. A network that burns and mints gives the role to a
/// `CreditMinter` in its place.
/// @dev Only whole periods that are over count. The curve is a decay or a table, fixed at deployment; with a target,
/// each period counts once its input is reported, and periods that the reporter skipped count with the floor. The
/// integers are in `emission/Curves.sol`: granted(n) = min(cap, sum of a(i) for i < n), where with a target
/// granted += floor(sum of skipped a(i) * floorBps / 10,000) and then += floor(a(period) * bps / 10,000).
contract EmissionController is AccessControl, TokenSource {
    using Curves for Decay;
    using Curves for Row[];
    using Curves for Target;

    /// @notice Who may mint what is allowed.
    bytes32 public constant EMITTER_ROLE = keccak256("EMITTER_ROLE");
    /// @notice Who reports the stake or the revenue of a period.
    bytes32 public constant REPORTER_ROLE = keccak256("REPORTER_ROLE");
    /// @notice Most rows of a table.
    uint256 public constant MOST_ROWS = 256;

    /// @notice The token that is issued.
    NetworkToken public immutable token;

    Schedule private _schedule;
    Decay private _decay;
    Row[] private _rows;
    Target private _target;
    Cursor private _cursor;
    uint128 private _granted;
    uint128 private _minted;

    /// @notice `amount` was issued to `to`; `minted` is all so far.
    event Minted(address indexed to, uint256 amount, uint256 minted);
    /// @notice The input of `period` was reported; `granted` is all that may be minted up to it.
    event Reported(uint64 indexed period, uint256 input, uint256 granted);

    /// @notice A period or an interval without length, no cap, a factor above 1, a denominator of 0 or above 2^64.
    error InvalidSchedule();
    /// @notice A table has 1 to 256 rows in rising order, the first from period 0, and no decay beside it.
    error InvalidTable();
    /// @notice The floor is at most 10,000 basis points.
    error InvalidTarget();
    /// @notice The curve allows only `mintable` now.
    error EmissionAboveCurve(uint256 amount, uint256 mintable);
    /// @notice This controller follows its curve without reports.
    error NotTargeted();
    /// @notice This controller grants by reports only.
    error OnlyByReport();
    /// @notice Periods are taken in order, each once, when they are over: from `next` to below `completed`.
    error PeriodOutOfOrder(uint64 period, uint64 next, uint64 completed);

    /// @notice Creates a controller; grant it the token's `MINTER_ROLE`.
    /// @dev Checks: schedule and decay have no zero lengths, the cap is not zero and the factor at most 1
    /// (`InvalidSchedule`); the rows, if there are any, rise from 0 and the decay is empty (`InvalidTable`); the floor
    /// is at most 10,000 (`InvalidTarget`).
    /// @param schedule_ When periods are, and the cap.
    /// @param decay_ The curve, when `rows_` is empty.
    /// @param rows_ The curve as a table.
    /// @param target_ How reports scale the curve; all zero for no reports.
    /// @param admin Who grants and withdraws roles. Gets no right to mint by itself.
    constructor(
        NetworkToken token_,
        Schedule memory schedule_,
        Decay memory decay_,
        Row[] memory rows_,
        Target memory target_,
        address admin
    ) {
        require(schedule_.period != 0 && schedule_.cap != 0, InvalidSchedule());
        require(target_.floorBps <= Curves.BPS, InvalidTarget());
        if (rows_.length == 0) {
            require(decay_.interval != 0 && decay_.num <= decay_.den, InvalidSchedule());
            require(decay_.den != 0 && decay_.den <= 1 << 64, InvalidSchedule());
        } else {
            require(rows_.length <= MOST_ROWS && rows_[0].from == 0 && decay_.initial == 0, InvalidTable());
        }
        for (uint256 i = 0; i < rows_.length; ++i) {
            require(i == 0 || rows_[i].from > rows_[i - 1].from, InvalidTable());
            _rows.push(rows_[i]);
        }
        token = token_;
        (_schedule, _decay, _target) = (schedule_, decay_, target_);
        _cursor.amount = decay_.initial;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @notice Issues `amount` to `to`.
    /// @dev Checks: the caller holds `EMITTER_ROLE` (`AccessControlUnauthorizedAccount`); the curve allows it
    /// (`EmissionAboveCurve`); the token's cap does too (`ERC20ExceededCap`) and `to` is not zero
    /// (`ERC20InvalidReceiver`).
    function mint(address to, uint256 amount) external onlyRole(EMITTER_ROLE) {
        if (_target.target == 0) _advance(completed());
        uint256 available = _granted - _minted;
        require(amount <= available, EmissionAboveCurve(amount, available));
        _minted += uint128(amount);
        emit Minted(to, amount, _minted);
        token.mint(to, amount);
    }

    /// @notice Reports the input of a period, in units of the target, and grants what the period allows. Periods before
    /// it that were not reported are granted with the floor.
    /// @dev Checks: the caller holds `REPORTER_ROLE` (`AccessControlUnauthorizedAccount`); there is a target
    /// (`NotTargeted`); the period is over and later than every reported one (`PeriodOutOfOrder`).
    function report(uint64 period, uint128 input) external onlyRole(REPORTER_ROLE) {
        Target memory target_ = _target;
        require(target_.target != 0, NotTargeted());
        Cursor memory cursor = _cursor;
        require(period >= cursor.next && period < completed(), PeriodOutOfOrder(period, cursor.next, completed()));
        uint256 granted_ = _granted + _sum(cursor, period) * target_.floorBps / Curves.BPS;
        granted_ += _sum(cursor, period + 1) * target_.share(input) / Curves.BPS;
        _store(cursor, granted_);
        emit Reported(period, input, _granted);
    }

    /// @notice Takes the sum of the curve up to `period`, for a controller that rested for so many eras that minting
    /// would need too much gas at once. Changes nothing else. Anybody may call.
    /// @dev Checks: there is no target (`OnlyByReport`); the periods are over (`PeriodOutOfOrder`).
    function advance(uint64 period) external {
        require(_target.target == 0, OnlyByReport());
        uint64 next = _cursor.next;
        require(period >= next && period <= completed(), PeriodOutOfOrder(period, next, completed()));
        _advance(period);
    }

    /// @notice What may be minted now.
    function mintable() external view returns (uint256) {
        return granted() - _minted;
    }

    /// @notice What was minted so far.
    function minted() external view returns (uint256) {
        return _minted;
    }

    /// @notice When periods are, and the cap.
    function schedule() external view returns (Schedule memory) {
        return _schedule;
    }

    /// @notice The curve: a decay, or the rows of a table.
    function curve() external view returns (Decay memory, Row[] memory) {
        return (_decay, _rows);
    }

    /// @notice How reports scale the curve.
    function target() external view returns (Target memory) {
        return _target;
    }

    /// @notice All that the curve has allowed until now, minted or not.
    function granted() public view returns (uint256) {
        if (_target.target != 0) return _granted;
        return _capped(_granted + _sum(_cursor, completed()));
    }

    /// @notice How many periods are over.
    function completed() public view returns (uint64) {
        (uint64 start, uint64 period) = (_schedule.start, _schedule.period);
        return block.timestamp < start ? 0 : uint64((block.timestamp - start) / period);
    }

    function _advance(uint64 end) private {
        Cursor memory cursor = _cursor;
        if (end == cursor.next) return;
        uint256 granted_ = _granted + _sum(cursor, end);
        _store(cursor, granted_);
    }

    function _store(Cursor memory cursor, uint256 granted_) private {
        _cursor = cursor;
        _granted = uint128(_capped(granted_));
    }

    /// @dev Sum of the curve from the cursor to `end`; moves the cursor.
    function _sum(Cursor memory cursor, uint64 end) private view returns (uint256) {
        return _rows.length == 0 ? _decay.decaySum(cursor, end) : _rows.tableSum(cursor, end);
    }

    function _capped(uint256 amount) private view returns (uint256) {
        return amount < _schedule.cap ? amount : _schedule.cap;
    }
}
