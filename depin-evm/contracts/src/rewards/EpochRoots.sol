// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {NetworkToken} from "../NetworkToken.sol";
import {BondVault} from "./BondVault.sol";

/// @notice Where the emission comes from: the token itself, or the emission controller that bounds it by a curve.
interface TokenSource {
    /// @notice Issues `amount` to `to` or reverts.
    function mint(address to, uint256 amount) external;
}

/// @notice How roots become valid. All of it is fixed at deployment.
/// @param window Seconds between publication and activation in which a root can be disputed. 0: roots are active at
/// once and nobody can dispute.
/// @param bond What who disputes puts down, in the network's token. Returned when he is right, burned when not. Not 0
/// where there is a window: disputes for free would stop every epoch. Who has no token yet, as in the first epoch, tells
/// the arbiter, who rejects without a dispute.
/// @param limit Largest emission of `limitPeriod` seconds, refilled evenly; a full bucket after a quiet period admits
/// at most twice that within one. 0: no limit.
/// @param limitPeriod Seconds in which the limit refills.
struct RootRules {
    uint40 window;
    uint128 bond;
    uint128 limit;
    uint48 limitPeriod;
}

/// @notice The root that waits: its epoch, from when on it can be activated (0: nothing is pending), whether it is
/// disputed, the total with it, and how many disputes before it lapsed in a row. During a dispute `activatesAt` is when
/// the dispute lapses.
/// @dev One storage word. Never zero, which would make the next publication dearer.
struct PendingRoot {
    uint64 epoch;
    uint40 activatesAt;
    bool disputed;
    uint128 total;
    uint8 lapsed;
}

/// @title Epochs of rewards: publication, dispute, activation, pause
/// @dev One root at most is pending. It waits for its window, and during a dispute for the arbiter, who may reject it
/// until it is active; the roots before it serve claims all the time. The emission is issued when the root becomes
/// active, so a rejected root never existed for the token. Hence paid + balance == cumulativeTotal == issued at all
/// times (tokens sent here by mistake come on top; bonds lie in a vault), and a wrong root pays no more than emitted.
///
/// Who can hold up whom: a dispute that nobody decides lapses after `DECISION_WINDOWS` windows. The root is gone then, as
/// if rejected, and the bond goes back. Were the root valid instead, a publisher could dispute his own wrong root and
/// wait; were the bond lost, watchers would pay for an arbiter who is away. Nobody loses what he earned: the next root
/// holds it where trees are cumulative, and is published again where each holds one epoch. Where an arbiter decides,
/// every idle dispute costs its bond. Where none does, each dispute that lapsed doubles the next bond, so who disputes without reason soon lacks the tokens; a publisher of
/// wrong roots would need as many windows to outbid his watchers, time in which the admin names another arbiter. The
/// count ends with the next decision or activation.
abstract contract EpochRoots is AccessControl {
    using RateLimiter for RateLimiter.RefillingBucket;

    /// @notice Who may publish epochs.
    bytes32 public constant PUBLISHER_ROLE = keccak256("PUBLISHER_ROLE");
    /// @notice Who may stop claims, and activations by others than the arbiter.
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");
    /// @notice Who decides disputes, rejects roots that are not active yet, and activates corrections during a pause.
    bytes32 public constant ARBITER_ROLE = keccak256("ARBITER_ROLE");

    /// @notice Windows in which the arbiter decides a dispute before it lapses.
    uint40 public constant DECISION_WINDOWS = 4;
    /// @notice How far beyond the latest epoch the next one may be: room for Unix times in seconds as numbers, not in
    /// milliseconds, and too little to use the numbers up, after which nothing could be published any more.
    uint64 public constant MOST_SKIPPED = 2 ** 40;

    /// @dev Of doublings of the bond: beyond them no bond exists anyway.
    uint8 private constant MOST_LAPSED = 128;

    /// @dev One storage word, about active epochs only.
    struct Progress {
        uint64 latestEpoch;
        uint56 epochCount;
        bool paused;
        uint128 total;
    }

    /// @notice The token that is paid.
    NetworkToken public immutable token;
    /// @notice Who issues it for an epoch that becomes active.
    TokenSource public immutable source;
    /// @notice Seconds in which a root can be disputed.
    uint40 public immutable window;
    /// @notice What a dispute costs who loses it; `disputeBond` after disputes that lapsed.
    uint128 public immutable bond;
    /// @notice Largest emission per refill period, zero for none.
    uint128 public immutable limit;
    /// @notice Where bonds lie, so that no root can pay them out.
    BondVault public immutable bonds;

    PendingRoot private _pending;
    Progress private _progress;
    address private _disputer;
    RateLimiter.RefillingBucket private _emissions;
    mapping(uint64 epoch => bytes32 root) private _roots;

    /// @notice An epoch was published and becomes active after the window. `emission` is what it adds,
    /// `cumulativeTotal` all emission with it, `logRoot` commits to the signed batches from which anybody can
    /// recompute `root`.
    event EpochPublished(
        uint64 indexed epoch, bytes32 root, bytes32 logRoot, uint256 emission, uint256 cumulativeTotal
    );
    /// @notice The root of `epoch` serves claims; `emission` was issued to this contract.
    event EpochActivated(uint64 indexed epoch, uint256 emission);
    /// @notice `disputer` put down the bond against the pending root.
    event EpochDisputed(uint64 indexed epoch, bytes32 root, address indexed disputer);
    /// @notice The arbiter decided, or the dispute lapsed. A rejected epoch is gone and can be published again.
    event DisputeResolved(uint64 indexed epoch, bool rejected);
    /// @notice Claims and activations stopped.
    event Paused(address indexed guardian);
    /// @notice Claims and activations go on.
    event Unpaused(address indexed admin);

    /// @notice Epochs are published in rising order and never twice.
    error EpochNotAfterLatest(uint64 epoch, uint64 latestEpoch);
    /// @notice The number of the epoch is too far beyond the latest.
    error EpochTooFar(uint64 epoch, uint256 furthest);
    /// @notice A tree without leaves has no root; publish the first epoch in which somebody earned.
    error ZeroRoot();
    /// @notice The emission would never fit the limit.
    error EmissionAboveLimit(uint256 emission, uint256 limit);
    /// @notice No root was published for this epoch, or it was rejected.
    error UnknownEpoch(uint64 epoch);
    /// @notice The root of this epoch is in its window, or disputed until `activatesAt`; wait.
    error EpochStillPending(uint64 epoch, uint256 activatesAt);
    /// @notice No root waits to become active.
    error NothingPending();
    /// @notice Another root is pending than the one that was named, or with another total, or none is.
    error NotPending(uint64 epoch, bytes32 root, uint256 total);
    /// @notice The window is over, or somebody disputed already.
    error NotDisputable(uint64 epoch);
    /// @notice The root of this epoch is not disputed, so there is nothing to uphold.
    error NotDisputed(uint64 epoch);
    /// @notice The arbiter has until `lapsesAt` (0: there is no dispute).
    error DisputeOpen(uint256 lapsesAt);
    /// @notice The guardian stopped claims and activations. Only the arbiter still activates.
    error IsPaused();
    /// @notice Nothing is paused.
    error NotPaused();
    /// @notice Tokens would be lost there: in the distributor, in the token, at the address zero.
    error InvalidRecipient(address to);
    /// @notice A limit needs a period in which it refills; a bond needs a window and the other way round.
    error InvalidRules();

    constructor(NetworkToken token_, TokenSource source_, RootRules memory rules, address admin) {
        require(rules.limit == 0 || rules.limitPeriod != 0, InvalidRules());
        require((rules.bond == 0) == (rules.window == 0), InvalidRules());
        (token, source, window, bond, limit) = (token_, source_, rules.window, rules.bond, rules.limit);
        bonds = new BondVault(token_);
        // No epoch; a word that is not zero, so that the first publication writes as cheaply as the others.
        _pending.epoch = type(uint64).max;
        if (rules.limit != 0) _emissions.updateSettings(rules.limitPeriod, rules.limit);
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @notice Publishes the rewards of `epoch`. They become active after the window, at once when there is none.
    /// Activates the epoch before it, should nobody have done that, or removes it when its dispute lapsed.
    /// @dev Checks: the caller holds `PUBLISHER_ROLE` (`AccessControlUnauthorizedAccount`); `root` is not zero
    /// (`ZeroRoot`); no other root is in its window or disputed (`EpochStillPending`), so none is ever replaced;
    /// `epoch` is later than every active one (`EpochNotAfterLatest`) and not too far (`EpochTooFar`); the sum of all
    /// rewards does not fall (`CumulativeTotalFell`)
    /// and fits 128 bits (`SafeCastOverflowedUintDowncast`); the emission fits the limit (`EmissionAboveLimit`).
    /// Where it activates an epoch, the checks of `activate` too.
    /// @param epoch Number of the epoch; numbers may be skipped, at most `MOST_SKIPPED` after the latest (or 0).
    /// @param root Root of the tree of rewards.
    /// @param amount What the leaves sum up to, in the smallest unit of the token: everything earned since the beginning
    /// where trees are cumulative, the rewards of this epoch alone where they are not.
    /// @param logRoot Commitment to the batches the rewards were computed from; only recorded in the event.
    function publish(uint64 epoch, bytes32 root, uint256 amount, bytes32 logRoot) external onlyRole(PUBLISHER_ROLE) {
        require(root != 0, ZeroRoot());
        uint8 lapsed = window == 0 ? 0 : _finishEarlier();
        Progress memory progress = _progress;
        require(
            progress.epochCount == 0 || epoch > progress.latestEpoch, EpochNotAfterLatest(epoch, progress.latestEpoch)
        );
        uint256 furthest = uint256(progress.latestEpoch) + MOST_SKIPPED;
        require(epoch <= furthest, EpochTooFar(epoch, furthest));
        uint256 total = _totalWith(amount, progress.total);
        uint256 emission = total - progress.total;
        require(limit == 0 || emission <= limit, EmissionAboveLimit(emission, limit));

        _roots[epoch] = root;
        emit EpochPublished(epoch, root, logRoot, emission, total);
        PendingRoot memory pending =
            PendingRoot(epoch, uint40(block.timestamp) + window, false, SafeCast.toUint128(total), lapsed);
        if (window == 0) _activate(pending, root);
        else _pending = pending;
    }

    /// @notice Makes the pending root serve claims and issues its emission. Anybody may call.
    /// @dev Checks: a root is pending (`NothingPending`), its window is over and it is not disputed
    /// (`EpochStillPending`); nothing is paused or the caller holds `ARBITER_ROLE` (`IsPaused`); the emissions of late leave room (`RateLimitExceeded`;
    /// try again later); the source issues the emission (`ERC20ExceededCap` and the errors of the source).
    function activate() external {
        PendingRoot memory pending = _pending;
        require(pending.activatesAt != 0, NothingPending());
        _activateDue(pending);
    }

    /// @notice Stops the pending root until the arbiter decides or the dispute lapses. Takes `disputeBond` from the
    /// caller's allowance.
    /// @dev Checks: `epoch` with `root` and `total` is pending, so that nobody bonds against what he did not see
    /// (`NotPending`); its window is not over and nobody disputed before (`NotDisputable`); the caller allowed and has
    /// the bond (`ERC20InsufficientAllowance`, `ERC20InsufficientBalance`).
    function dispute(uint64 epoch, bytes32 root, uint256 total) external {
        PendingRoot memory pending = _pending;
        _requirePending(pending, epoch, root, total);
        require(!pending.disputed && block.timestamp < pending.activatesAt, NotDisputable(epoch));
        (_pending.disputed, _pending.activatesAt) = (true, uint40(block.timestamp) + DECISION_WINDOWS * window);
        _disputer = msg.sender;
        emit EpochDisputed(epoch, root, msg.sender);
        token.transferFrom(msg.sender, address(bonds), _bondAfter(pending.lapsed));
    }

    /// @notice Decides about the pending root of `epoch`: rejected, it is gone and the bond goes back; otherwise the
    /// bond is burned and the root can be activated now. To reject needs no dispute, and works after the window and
    /// during a pause too: a root that is bad, or whose emission can not be issued, is always removable. A dispute can be
    /// decided late, until it is made to lapse.
    /// @dev Checks: the caller holds `ARBITER_ROLE` (`AccessControlUnauthorizedAccount`); `epoch` with `root`
    /// and `total` is pending, so that a decision that arrives late never counts for what the arbiter did not see: another
    /// root, or the same one with another emission (`NotPending`); it is disputed unless it is rejected (`NotDisputed`).
    function resolve(uint64 epoch, bytes32 root, uint256 total, bool rejected) external onlyRole(ARBITER_ROLE) {
        PendingRoot memory pending = _pending;
        _requirePending(pending, epoch, root, total);
        bool disputed = pending.disputed;
        require(disputed || rejected, NotDisputed(epoch));
        if (rejected) delete _roots[epoch];
        (pending.disputed, pending.activatesAt) = (false, rejected ? 0 : uint40(block.timestamp));
        pending.lapsed = 0;
        _pending = pending;
        emit DisputeResolved(epoch, rejected);
        if (disputed) bonds.release(rejected ? _disputer : address(0));
    }

    /// @notice Removes the pending root whose dispute nobody decided in time, and gives the bond back. Anybody may call,
    /// also during a pause; `publish` does it too.
    /// @dev Checks: a root is disputed and the time of the arbiter is over (`DisputeOpen`).
    function lapse() external {
        PendingRoot memory pending = _pending;
        require(_hasLapsed(pending), DisputeOpen(pending.disputed ? pending.activatesAt : 0));
        _lapse(pending);
    }

    /// @notice Stops claims, and activations by others than the arbiter.
    /// @dev Checks: the caller holds `GUARDIAN_ROLE` (`AccessControlUnauthorizedAccount`); not paused (`IsPaused`).
    function pause() external onlyRole(GUARDIAN_ROLE) {
        require(!_progress.paused, IsPaused());
        _progress.paused = true;
        emit Paused(msg.sender);
        _serve(0);
    }

    /// @notice Lets claims and activations go on.
    /// @dev Checks: the caller holds `DEFAULT_ADMIN_ROLE` (`AccessControlUnauthorizedAccount`): a guardian whose key
    /// was stolen can stop but not start; it is paused (`NotPaused`).
    function unpause() external onlyRole(DEFAULT_ADMIN_ROLE) {
        require(_progress.paused, NotPaused());
        _progress.paused = false;
        emit Unpaused(msg.sender);
        if (_progress.epochCount != 0) _serve(_roots[_progress.latestEpoch]);
    }

    /// @notice The root that was published for `epoch`, pending or active, for audits.
    /// @dev Checks: the epoch was published and not rejected (`UnknownEpoch`).
    function epochRoot(uint64 epoch) external view returns (bytes32 root) {
        root = _roots[epoch];
        require(root != 0, UnknownEpoch(epoch));
    }

    /// @notice The latest active epoch.
    /// @dev Checks: there is one (`UnknownEpoch(0)`).
    function latestEpoch() external view returns (uint64) {
        require(_progress.epochCount != 0, UnknownEpoch(0));
        return _progress.latestEpoch;
    }

    /// @notice How many epochs became active.
    function epochCount() external view returns (uint64) {
        return _progress.epochCount;
    }

    /// @notice Sum of all rewards of active epochs, which is also what was issued for them.
    function cumulativeTotal() external view returns (uint256) {
        return _progress.total;
    }

    /// @notice Whether the guardian stopped claims and activations.
    function paused() external view returns (bool) {
        return _progress.paused;
    }

    /// @notice What a dispute of the pending root costs, or of the next one: `bond`, doubled for every dispute in a row
    /// that lapsed.
    function disputeBond() external view returns (uint256) {
        return _bondAfter(_pending.lapsed);
    }

    /// @notice The root that waits; nothing where `activatesAt` is zero.
    function pendingEpoch() external view returns (PendingRoot memory) {
        return _pending;
    }

    /// @dev The root that serves claims changed; zero while paused.
    function _serve(bytes32 root) internal virtual;

    /// @dev The sum of all rewards, once a tree whose leaves sum up to `amount` follows those that sum up to `published`.
    /// Not less than `published`.
    function _totalWith(uint256 amount, uint256 published) internal pure virtual returns (uint256);

    /// @dev Whether nobody gets tokens from `to` again.
    function _loses(address to) internal view returns (bool) {
        return to == address(this) || to == address(token) || to == address(0);
    }

    /// @dev The root of an active epoch, for contracts that serve all of them.
    function _activeRoot(uint64 epoch) internal view returns (bytes32 root) {
        Progress memory progress = _progress;
        require(!progress.paused, IsPaused());
        root = _roots[epoch];
        require(root != 0 && progress.epochCount != 0 && epoch <= progress.latestEpoch, UnknownEpoch(epoch));
    }

    /// @dev How many disputes in a row lapsed.
    function _finishEarlier() private returns (uint8) {
        PendingRoot memory pending = _pending;
        if (pending.activatesAt == 0) return pending.lapsed;
        if (_hasLapsed(pending)) return _lapse(pending);
        _activateDue(pending);
        return 0;
    }

    function _requirePending(PendingRoot memory pending, uint64 epoch, bytes32 root, uint256 total) private view {
        require(
            pending.activatesAt != 0 && pending.epoch == epoch && _roots[epoch] == root && pending.total == total,
            NotPending(epoch, root, total)
        );
    }

    function _hasLapsed(PendingRoot memory pending) private view returns (bool) {
        return pending.disputed && block.timestamp >= pending.activatesAt;
    }

    function _lapse(PendingRoot memory pending) private returns (uint8 lapsed) {
        lapsed = pending.lapsed < MOST_LAPSED ? pending.lapsed + 1 : MOST_LAPSED;
        (pending.disputed, pending.activatesAt, pending.lapsed) = (false, 0, lapsed);
        _pending = pending;
        delete _roots[pending.epoch];
        emit DisputeResolved(pending.epoch, true);
        bonds.release(_disputer);
    }

    function _bondAfter(uint8 lapsed) private view returns (uint256) {
        return uint256(bond) << lapsed;
    }

    function _activateDue(PendingRoot memory pending) private {
        require(
            !pending.disputed && block.timestamp >= pending.activatesAt,
            EpochStillPending(pending.epoch, pending.activatesAt)
        );
        (_pending.activatesAt, _pending.lapsed) = (0, 0);
        _activate(pending, _roots[pending.epoch]);
    }

    function _activate(PendingRoot memory pending, bytes32 root) private {
        Progress memory progress = _progress;
        // The correction of a bad root that is active must come before claims go on.
        require(!progress.paused || hasRole(ARBITER_ROLE, msg.sender), IsPaused());
        uint256 emission = pending.total - progress.total;
        _progress = Progress(pending.epoch, progress.epochCount + 1, progress.paused, pending.total);
        _serve(progress.paused ? bytes32(0) : root);
        emit EpochActivated(pending.epoch, emission);
        if (limit != 0) _emissions.consume(0, emission);
        if (emission != 0) source.mint(address(this), emission);
    }
}
