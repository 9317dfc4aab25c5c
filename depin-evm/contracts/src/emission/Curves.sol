// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice When periods are: period i lasts from start + i * period to start + (i + 1) * period, in seconds.
/// @param start Unix time at which period 0 begins.
/// @param period Length of a period.
/// @param cap Largest sum that the controller ever mints.
struct Schedule {
    uint64 start;
    uint64 period;
    uint128 cap;
}

/// @notice Emission that falls by a factor. Era e has `interval` periods, each of which allows A_e, where A_0 = initial
/// and A_(e+1) = floor(A_e * num / den). Unless num == den, era 2^20 and those after it allow nothing, so that nobody who
/// computes the sum has to follow more: with eras of an hour that is after 119 years. Halving is 1/2, a flat emission 1/1; exponential decay by a rate r per era has
/// den = 2^64 and num = floor(exp(-r) * 2^64).
struct Decay {
    uint128 initial;
    uint64 interval;
    uint128 num;
    uint128 den;
}

/// @notice One row of a table: from period `from` on each period allows `amount`, until the next row.
struct Row {
    uint64 from;
    uint128 amount;
}

/// @notice How a reported input scales the curve; a target of 0 leaves it alone. With m = min(input, target) and
/// x = m, or target - m when `falling`, a period allows floor(a * bps / 10,000) of its a, where
/// bps = floorBps + floor((10,000 - floorBps) * x / target). Revenue rises to its target, stake falls.
struct Target {
    uint128 target;
    uint16 floorBps;
    bool falling;
}

/// @notice Where a sum stopped: the next period, and the curve's amount there (for a decay) or row (for a table).
struct Cursor {
    uint64 next;
    uint64 row;
    uint128 amount;
}

/// @title Emission curves in integers
/// @dev Every division floors, every sum is exact: at most 2^64 periods of less than 2^128. So other implementations
/// get the same to the last unit, and it does not matter in how many steps a sum is taken.
library Curves {
    uint256 internal constant BPS = 10_000;
    uint256 internal constant MOST_ERAS = 2 ** 20;

    /// @dev Sum of the curve from the cursor up to, without, `end`; moves the cursor to `end`. One step per era.
    function decaySum(Decay memory d, Cursor memory cursor, uint64 end) internal pure returns (uint256 sum) {
        uint256 from = cursor.next;
        uint256 amount = cursor.amount;
        cursor.next = end;
        if (d.num == d.den) return amount * (end - from);
        uint256 last = MOST_ERAS * d.interval;
        if (last > end) last = end;
        while (from < last && amount != 0) {
            uint256 eraEnd = (from / d.interval + 1) * d.interval;
            uint256 stop = eraEnd < last ? eraEnd : last;
            sum += amount * (stop - from);
            // Fits: amount < 2^128, num <= den <= 2^64.
            if (stop == eraEnd) amount = amount * d.num / d.den;
            from = stop;
        }
        cursor.amount = uint128(end < MOST_ERAS * d.interval ? amount : 0);
    }

    /// @dev As `decaySum`, one step per row.
    function tableSum(Row[] storage rows, Cursor memory cursor, uint64 end) internal view returns (uint256 sum) {
        uint256 from = cursor.next;
        uint256 count = rows.length;
        cursor.next = end;
        while (from < end) {
            uint256 rowEnd = cursor.row + 1 < count ? rows[cursor.row + 1].from : end;
            uint256 stop = rowEnd < end ? rowEnd : end;
            sum += rows[cursor.row].amount * (stop - from);
            if (stop == rowEnd && cursor.row + 1 < count) ++cursor.row;
            from = stop;
        }
    }

    /// @dev The share of its curve, in basis points, that a period with this input allows.
    function share(Target memory t, uint128 input) internal pure returns (uint256) {
        uint256 m = input < t.target ? input : t.target;
        uint256 x = t.falling ? t.target - m : m;
        return t.floorBps + (BPS - t.floorBps) * x / t.target;
    }
}
