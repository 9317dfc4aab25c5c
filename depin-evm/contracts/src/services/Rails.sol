// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice Funds of an owner. `locked` of them is owed or guaranteed; `rate` is what all rails take per second, covered
/// up to `paidUpTo`.
struct Account {
    uint128 funds;
    uint128 locked;
    uint128 rate;
    uint64 paidUpTo;
}

/// @notice What a payer lets an operator use, and what is used.
struct Allowance {
    uint128 rate;
    uint128 rateUsed;
    uint128 lockup;
    uint128 lockupUsed;
    uint64 lockupPeriod;
}

/// @notice A rail. `endsAt` is zero until it is terminated, `paidUpTo` how far it is settled. Where that is before
/// `changedAt`, the seconds in between are due at `rateBefore`, since the validator has not judged them yet.
struct Rail {
    address token;
    address payer;
    address payee;
    address operator;
    RailValidator validator;
    uint64 lockupPeriod;
    uint128 rate;
    uint128 lockupFixed;
    uint64 paidUpTo;
    uint64 endsAt;
    uint64 changedAt;
    uint128 rateBefore;
}

/// @notice Judges whether a service was rendered. Who judges whole windows looks at the clock: of a window that is over
/// he judges any part, because a rail can end or change its rate in the middle of one, and `until` is never beyond that.
interface RailValidator {
    /// @notice What the payee gets for the seconds from `from` on up to `agreed`, where from <= agreed <= until and
    /// amount <= rate * (agreed - from). What it takes off stays the payer's.
    function validate(uint256 railId, uint256 rate, uint256 from, uint256 until)
        external
        returns (uint256 amount, uint256 agreed);
}

using Rails for Rail global;
using Rails for Allowance global;

/// @dev Arithmetic of the structs above.
library Rails {
    /// @dev Whether seconds at the rate before are not settled.
    function owesRateBefore(Rail storage rail) internal view returns (bool) {
        return rail.paidUpTo < rail.changedAt;
    }

    /// @dev What is locked for a rail that is settled: its rate for the lockup period, and the fixed part.
    function guarantee(Rail storage rail) internal view returns (uint256) {
        return uint256(rail.rate) * rail.lockupPeriod + rail.lockupFixed;
    }

    /// @dev Takes `amount` of the lockup off what is used and off what is allowed.
    function spend(Allowance storage a, uint128 amount) internal {
        a.lockupUsed -= amount;
        a.lockup = a.lockup > amount ? a.lockup - amount : 0;
    }

    /// @dev Whether what is used, and this period, is within what is allowed.
    function covers(Allowance storage a, uint64 lockupPeriod) internal view returns (bool) {
        return a.rateUsed <= a.rate && a.lockupUsed <= a.lockup && lockupPeriod <= a.lockupPeriod;
    }
}
