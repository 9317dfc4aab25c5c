// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {NetworkToken} from "./NetworkToken.sol";
import {TokenSource} from "./rewards/EpochRoots.sol";

/// @notice What one whole token costs in fiat: price * 10^expo, give or take conf * 10^expo, as of `publishTime`. The
/// form of Pyth; other oracles are adapted to it.
interface PriceSource {
    /// @notice The latest price.
    function latestPrice() external view returns (int64 price, uint64 conf, int32 expo, uint64 publishTime);
}

/// @notice The fiat side and the band. All of it is fixed at deployment.
/// @param creditsPerFiat Credits for one unit of fiat, 100,000 for a credit of 0.00001.
/// @param maxAge Seconds that a price may be away from the time of the block.
/// @param period Seconds of a period of the band.
/// @param smoothing Periods over which burns are smoothed.
/// @param allowance What may be minted in a period beside the smoothed burn.
struct BandRules {
    uint64 creditsPerFiat;
    uint32 maxAge;
    uint64 period;
    uint16 smoothing;
    uint128 allowance;
}

/// @title Burn and mint: tokens become credits for the service, and revenue becomes rewards
/// @notice Who uses the network burns tokens for credits, which cost a fixed amount of fiat and can not be sold on. The
/// rewards of a period never exceed the smoothed burn of the periods before, plus an allowance.
/// @dev Credits are floored, at the lower bound of the price, price - 2 * conf: an uncertain price never gives credits
/// away. With h what was burned and not released before a period, and n = smoothing, the period releases floor(h / n),
/// its smoothed burn, and h' = h - floor(h / n) + what it burned: remainders are carried, so all releases never exceed
/// all burns, and at all times minted <= burned + allowance * (periods begun). What a period does not use is lost.
contract CreditMinter is AccessControl, TokenSource {
    /// @notice Who uses credits up, the service.
    bytes32 public constant SPENDER_ROLE = keccak256("SPENDER_ROLE");
    /// @notice Who mints within the band, usually the reward distributor.
    bytes32 public constant EMITTER_ROLE = keccak256("EMITTER_ROLE");

    /// @dev The period, what was burned and not released before it, and what it has burned and minted so far.
    struct Band {
        uint128 held;
        uint128 burned;
        uint128 minted;
        uint64 period;
    }

    /// @notice The token that is burned and minted.
    NetworkToken public immutable token;
    /// @notice Where the price comes from.
    PriceSource public immutable prices;
    /// @notice Time of period 0.
    uint256 public immutable start;

    BandRules private _rules;
    Band private _band;
    mapping(address owner => uint256 amount) private _credits;

    /// @notice `buyer` burned `tokens` and `to` got `credits`.
    event Bought(address indexed buyer, address indexed to, uint256 tokens, uint256 credits);
    /// @notice The service used up `credits`.
    event Spent(address indexed owner, uint256 credits);
    /// @notice `amount` was issued to `to` within the band.
    event Minted(address indexed to, uint256 amount);

    /// @notice A length, a smoothing or a price of zero.
    error InvalidRules();
    /// @notice The price is from another time than now.
    error PriceStale(uint256 publishTime, uint256 maxAge);
    /// @notice The price is not positive, or too uncertain, or in a unit that nobody uses.
    error PriceUnusable(int64 price, uint64 conf, int32 expo);
    /// @notice The price moved; the tokens give only this many credits.
    error TooFewCredits(uint256 credits, uint256 wanted);
    /// @notice There are only this many credits.
    error CreditsTooFew(address owner, uint256 credits, uint256 wanted);
    /// @notice The band of this period leaves only `left`.
    error MintAboveBand(uint256 amount, uint256 left);

    /// @notice Creates a minter; grant it the token's `MINTER_ROLE`.
    /// @dev Checks: period, smoothing and credits per fiat are not zero (`InvalidRules`).
    constructor(NetworkToken token_, PriceSource prices_, BandRules memory rules_, address admin) {
        require(rules_.period != 0 && rules_.smoothing != 0 && rules_.creditsPerFiat != 0, InvalidRules());
        (token, prices, start, _rules) = (token_, prices_, block.timestamp, rules_);
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @notice Burns `tokens` of the caller, from his allowance, and credits `to`.
    /// @dev Checks: those of `quote`; there are at least `wanted` credits, and one (`TooFewCredits`); the caller
    /// allowed and has the tokens (`ERC20InsufficientAllowance`, `ERC20InsufficientBalance`); what the period burned and
    /// what was not released before it fit 128 bits (`SafeCastOverflowedUintDowncast`).
    /// @return credits What `to` got.
    function buy(address to, uint256 tokens, uint256 wanted) external returns (uint256 credits) {
        credits = quote(tokens);
        require(credits != 0 && credits >= wanted, TooFewCredits(credits, wanted));
        _credits[to] += credits;
        Band memory band = current();
        band.burned = SafeCast.toUint128(band.burned + tokens);
        _band = band;
        emit Bought(msg.sender, to, tokens, credits);
        token.burnFrom(msg.sender, tokens);
    }

    /// @notice Uses up credits of `owner`.
    /// @dev Checks: the caller holds `SPENDER_ROLE` (`AccessControlUnauthorizedAccount`); there are that many
    /// (`CreditsTooFew`).
    function spend(address owner, uint256 credits) external onlyRole(SPENDER_ROLE) {
        uint256 there = _credits[owner];
        require(credits <= there, CreditsTooFew(owner, there, credits));
        _credits[owner] = there - credits;
        emit Spent(owner, credits);
    }

    /// @notice Issues `amount` to `to` out of the band.
    /// @dev Checks: the caller holds `EMITTER_ROLE` (`AccessControlUnauthorizedAccount`); the band of this period
    /// leaves it (`MintAboveBand`); what the period minted fits 128 bits (`SafeCastOverflowedUintDowncast`); the token's
    /// cap leaves it too (`ERC20ExceededCap`) and `to` is not zero (`ERC20InvalidReceiver`).
    function mint(address to, uint256 amount) external onlyRole(EMITTER_ROLE) {
        Band memory band = current();
        uint256 left = _left(band);
        require(amount <= left, MintAboveBand(amount, left));
        band.minted = SafeCast.toUint128(band.minted + amount);
        _band = band;
        emit Minted(to, amount);
        token.mint(to, amount);
    }

    /// @notice Brings the band forward by at most `periods`. Anybody may call: after a rest of so many periods that
    /// `buy` and `mint` would need more gas than a block has, some calls of this one make them work again.
    /// @dev Checks: what was burned and not released fits 128 bits (`SafeCastOverflowedUintDowncast`). Needs no role: the
    /// band comes out the same in however many steps.
    function advance(uint64 periods) external {
        _band = _advanced(periods);
    }

    /// @notice Credits of `owner`.
    function creditsOf(address owner) external view returns (uint256) {
        return _credits[owner];
    }

    /// @notice What may still be minted in this period.
    function mintable() external view returns (uint256) {
        return _left(current());
    }

    /// @notice The fiat side and the band.
    function rules() external view returns (BandRules memory) {
        return _rules;
    }

    /// @notice Credits for `tokens` now: floor(tokens * (price - 2 * conf) * 10^expo * creditsPerFiat / 10^18).
    /// @dev Checks: the price is of now (`PriceStale`), positive after 2 * conf are taken off, and its exponent is
    /// between -18 and 0 (`PriceUnusable`).
    function quote(uint256 tokens) public view returns (uint256) {
        (int64 price, uint64 conf, int32 expo, uint64 publishTime) = prices.latestPrice();
        uint256 age = publishTime < block.timestamp ? block.timestamp - publishTime : publishTime - block.timestamp;
        require(age <= _rules.maxAge, PriceStale(publishTime, _rules.maxAge));
        int256 low = int256(price) - 2 * int256(uint256(conf));
        require(low > 0 && expo <= 0 && expo >= -18, PriceUnusable(price, conf, expo));
        return Math.mulDiv(tokens, uint256(low) * _rules.creditsPerFiat, 10 ** (18 + uint256(-int256(expo))));
    }

    /// @notice The band as of now: what was burned and not released, and what this period burned and minted.
    function current() public view returns (Band memory band) {
        return _advanced(type(uint64).max);
    }

    function _advanced(uint64 most) private view returns (Band memory band) {
        band = _band;
        uint64 steps = uint64((block.timestamp - start) / _rules.period) - band.period;
        if (steps > most) steps = most;
        if (steps == 0) return band;
        uint256 n = _rules.smoothing;
        uint256 held = band.held - band.held / n + band.burned;
        // What is less than n releases nothing and stays.
        for (uint256 i = 1; i < steps && held >= n; ++i) {
            held -= held / n;
        }
        return Band(SafeCast.toUint128(held), 0, 0, band.period + steps);
    }

    function _left(Band memory band) private view returns (uint256) {
        return uint256(band.held / _rules.smoothing) + _rules.allowance - band.minted;
    }
}
