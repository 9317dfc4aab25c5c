// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {RateLimiter} from "@openzeppelin/contracts/utils/RateLimiter.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Pulls} from "./services/Pulls.sol";

/// @notice How stakes are held. All of it is fixed at deployment.
/// @param unbonding Seconds between the wish to leave and the payment; slashes reach what is leaving.
/// @param appeal Seconds between a slash and its execution, in which it can be withdrawn; less than `unbonding`.
/// @param cap Largest sum of slashes executed per `window`, refilled evenly. 0: no slash is possible.
/// @param window Seconds in which the cap refills.
/// @param treasury Who gets what is slashed; an address that nobody has burns it.
struct StakeRules {
    uint48 unbonding;
    uint48 appeal;
    uint128 cap;
    uint48 window;
    address treasury;
}

/// @title Stakes that answer for devices, and their slashing
/// @notice Anybody stakes for a device, an operator or himself: `subject` is the address that answers. A slasher takes
/// from a stake with the hash of the evidence, once from each stake; the slash is executed after the time for an appeal,
/// and until then the judge can withdraw it. The cap bounds what is executed, not what is held: withdrawn slashes cost
/// nothing of it, and a slasher who holds without reason takes nothing.
/// @dev What is slashed but not executed stays staked and can not leave. What leaves waits in a queue of at most 16
/// parts per stake, and is slashed after the bonded part, newest first. Tokens as for `PaymentChannel`.
contract StakeManager is AccessControl, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using RateLimiter for RateLimiter.RefillingBucket;

    /// @notice Who slashes.
    bytes32 public constant SLASHER_ROLE = keccak256("SLASHER_ROLE");
    /// @notice Who withdraws a slash on appeal.
    bytes32 public constant JUDGE_ROLE = keccak256("JUDGE_ROLE");
    /// @notice Most parts of a stake that leave at the same time.
    uint256 public constant MOST_LEAVING = 16;

    /// @notice A stake: what is bonded, what is leaving, and what is slashed but not executed.
    struct Stake {
        uint128 bonded;
        uint128 leaving;
        uint128 held;
        uint64 first;
    }

    /// @notice Part of a stake that leaves.
    struct Part {
        uint128 amount;
        uint64 readyAt;
    }

    /// @notice A slash that waits. `amount` is zero when there is none.
    struct Slash {
        address owner;
        address subject;
        uint128 amount;
        uint64 executableAt;
    }

    /// @notice The token that is staked.
    IERC20 public immutable token;
    /// @notice Seconds between the wish to leave and the payment.
    uint48 public immutable unbonding;
    /// @notice Seconds between a slash and its execution.
    uint48 public immutable appeal;
    /// @notice Who gets what is slashed.
    address public immutable treasury;
    /// @notice Largest slash.
    uint128 public immutable cap;

    mapping(address owner => mapping(address subject => Stake)) private _stakes;
    mapping(address owner => mapping(address subject => Part[])) private _parts;
    mapping(bytes32 slashId => Slash) private _slashes;
    mapping(bytes32 slashId => bool) private _used;
    RateLimiter.RefillingBucket private _limit;

    /// @notice `amount` of `owner` answers for `subject` too.
    event Bonded(address indexed owner, address indexed subject, uint256 amount);
    /// @notice `amount` leaves and can be taken at `readyAt`.
    event Unbonding(address indexed owner, address indexed subject, uint256 amount, uint256 readyAt);
    /// @notice The owner took `amount`.
    event Withdrawn(address indexed owner, address indexed subject, uint256 amount);
    /// @notice `amount` is held for the slash that `evidence`, a hash, proves.
    event Slashed(
        bytes32 indexed evidence, address indexed owner, address indexed subject, uint256 amount, uint256 executableAt
    );
    /// @notice The judge withdrew the slash.
    event SlashWithdrawn(bytes32 indexed evidence, address indexed owner, address indexed subject);
    /// @notice The slash was executed: the treasury got `amount`.
    event SlashExecuted(bytes32 indexed evidence, address indexed owner, address indexed subject, uint256 amount);

    /// @notice The time for an appeal must be shorter than unbonding; there is a treasury and a window.
    error InvalidRules();
    /// @notice Nothing of the token arrived.
    error NothingBonded();
    /// @notice Only this much is there and not held.
    error StakeTooSmall(uint256 wanted, uint256 available);
    /// @notice Sixteen parts leave already; take those that are ready.
    error QueueFull();
    /// @notice Nothing is ready to be taken.
    error NothingReady();
    /// @notice This hash was used against this stake before. Only the hash is compared: whoever slashes names a fault by a
    /// hash that is the same for every proof of it.
    error EvidenceUsed(bytes32 evidence);
    /// @notice A slash names its evidence.
    error NoEvidence();
    /// @notice No window admits that much at once.
    error SlashAboveCap(uint256 amount, uint256 cap);
    /// @notice There is no such slash, or it was executed or withdrawn.
    error UnknownSlash(bytes32 evidence);
    /// @notice The time for an appeal lasts until `executableAt`.
    error AppealLasts(bytes32 evidence, uint256 executableAt);

    /// @notice Creates a manager without stakes.
    /// @dev Checks: the appeal is shorter than unbonding, the treasury is not zero, and a cap has its window
    /// (`InvalidRules`).
    constructor(IERC20 token_, StakeRules memory rules, address admin) {
        require(rules.appeal < rules.unbonding && rules.treasury != address(0), InvalidRules());
        require(rules.cap == 0 || rules.window != 0, InvalidRules());
        (token, unbonding, appeal, treasury) = (token_, rules.unbonding, rules.appeal, rules.treasury);
        cap = rules.cap;
        _limit.updateSettings(rules.window, rules.cap);
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @notice Bonds what arrives of `amount`, from the caller's allowance, for `subject`.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); something arrives
    /// (`NothingBonded`; `SafeERC20FailedOperation`); it fits 128 bits (`SafeCastOverflowedUintDowncast`).
    function bond(address subject, uint256 amount) external nonReentrant {
        amount = Pulls.pull(token, msg.sender, amount);
        require(amount != 0, NothingBonded());
        Stake storage stake = _stakes[msg.sender][subject];
        // Both together, so that no sum of them overflows.
        stake.bonded = SafeCast.toUint128(uint256(stake.bonded) + stake.leaving + amount) - stake.leaving;
        emit Bonded(msg.sender, subject, amount);
    }

    /// @notice Queues `amount` to leave.
    /// @dev Checks: that much is bonded and not held by a slash (`StakeTooSmall`); fewer than 16 parts leave
    /// (`QueueFull`).
    function unbond(address subject, uint128 amount) external {
        Stake storage stake = _stakes[msg.sender][subject];
        Part[] storage parts = _parts[msg.sender][subject];
        uint256 available = Math.saturatingSub(stake.bonded, stake.held);
        require(amount != 0 && amount <= available, StakeTooSmall(amount, available));
        require(parts.length - stake.first < MOST_LEAVING, QueueFull());
        stake.bonded -= amount;
        stake.leaving += amount;
        uint64 readyAt = uint64(block.timestamp) + unbonding;
        parts.push(Part(amount, readyAt));
        emit Unbonding(msg.sender, subject, amount, readyAt);
    }

    /// @notice Pays the caller the parts whose time has come, oldest first, as far as slashes leave: one that is larger
    /// than what is free stays in the queue, and keeps none behind it waiting.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); something is ready and not
    /// held (`NothingReady`).
    /// @return amount What was paid.
    function withdraw(address subject) external nonReentrant returns (uint256 amount) {
        Stake storage stake = _stakes[msg.sender][subject];
        amount = _dequeue(stake, _parts[msg.sender][subject]);
        require(amount != 0, NothingReady());
        stake.leaving -= uint128(amount);
        emit Withdrawn(msg.sender, subject, amount);
        token.safeTransfer(msg.sender, amount);
    }

    /// @notice Holds `amount` of a stake for a slash, which `evidence`, a hash of what proves the fault, names. The same
    /// evidence serves against every stake of the subject.
    /// @dev Checks: the caller holds `SLASHER_ROLE` (`AccessControlUnauthorizedAccount`); the evidence is named
    /// (`NoEvidence`) and new for this stake (`EvidenceUsed`); the stake, leaving or not, has that much that is not held
    /// (`StakeTooSmall`); a window admits it (`SlashAboveCap`).
    function slash(address owner, address subject, uint128 amount, bytes32 evidence) external onlyRole(SLASHER_ROLE) {
        require(evidence != 0, NoEvidence());
        bytes32 id = slashId(evidence, owner, subject);
        require(!_used[id], EvidenceUsed(evidence));
        Stake storage stake = _stakes[owner][subject];
        uint256 available = uint256(stake.bonded) + stake.leaving - stake.held;
        require(amount != 0 && amount <= available, StakeTooSmall(amount, available));
        require(amount <= cap, SlashAboveCap(amount, cap));
        _used[id] = true;
        stake.held += amount;
        uint64 executableAt = uint64(block.timestamp) + appeal;
        _slashes[id] = Slash(owner, subject, amount, executableAt);
        emit Slashed(evidence, owner, subject, amount, executableAt);
    }

    /// @notice Withdraws a slash on appeal. Its evidence stays used.
    /// @dev Checks: the caller holds `JUDGE_ROLE` (`AccessControlUnauthorizedAccount`); the slash waits
    /// (`UnknownSlash`).
    function withdrawSlash(bytes32 evidence, address owner, address subject) external onlyRole(JUDGE_ROLE) {
        Slash memory s = _take(evidence, owner, subject);
        _stakes[owner][subject].held -= s.amount;
        emit SlashWithdrawn(evidence, owner, subject);
    }

    /// @notice Executes a slash after the time for an appeal. Anybody may call.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); the slash waits
    /// (`UnknownSlash`) and its time has come (`AppealLasts`); the cap of the window admits it (`RateLimitExceeded`; it
    /// stays held, try again later).
    function executeSlash(bytes32 evidence, address owner, address subject) external nonReentrant {
        Slash memory s = _take(evidence, owner, subject);
        require(block.timestamp >= s.executableAt, AppealLasts(evidence, s.executableAt));
        _limit.consume(0, s.amount);
        Stake storage stake = _stakes[s.owner][s.subject];
        stake.held -= s.amount;
        uint128 fromBonded = s.amount < stake.bonded ? s.amount : stake.bonded;
        stake.bonded -= fromBonded;
        _cut(stake, _parts[s.owner][s.subject], s.amount - fromBonded);
        emit SlashExecuted(evidence, owner, subject, s.amount);
        token.safeTransfer(treasury, s.amount);
    }

    /// @notice A stake.
    function stakeOf(address owner, address subject) external view returns (Stake memory) {
        return _stakes[owner][subject];
    }

    /// @notice The slash of this stake that waits under this evidence; empty when there is none.
    function slashOf(bytes32 evidence, address owner, address subject) external view returns (Slash memory) {
        return _slashes[slashId(evidence, owner, subject)];
    }

    /// @notice The key under which a slash is stored.
    function slashId(bytes32 evidence, address owner, address subject) public pure returns (bytes32) {
        return keccak256(abi.encode(evidence, owner, subject));
    }

    /// @dev Takes the parts that are ready and free out of the queue. Those that stay move up to the parts that are not
    /// ready, in their order, so that the queue has no holes.
    function _dequeue(Stake storage stake, Part[] storage parts) private returns (uint256 amount) {
        uint256 free = uint256(stake.bonded) + stake.leaving - stake.held;
        (uint64 first, uint256 ready) = (stake.first, stake.first);
        Part[] memory stay = new Part[](MOST_LEAVING);
        uint256 staying = 0;
        for (; ready < parts.length && parts[ready].readyAt <= block.timestamp; ++ready) {
            Part memory part = parts[ready];
            if (amount + part.amount > free) stay[staying++] = part;
            else amount += part.amount;
        }
        if (amount == 0) return 0;
        for (uint256 i = 0; i < staying; ++i) {
            parts[ready - staying + i] = stay[i];
        }
        stake.first = first + uint64(ready - first - staying);
    }

    function _take(bytes32 evidence, address owner, address subject) private returns (Slash memory s) {
        bytes32 id = slashId(evidence, owner, subject);
        s = _slashes[id];
        require(s.amount != 0, UnknownSlash(evidence));
        delete _slashes[id];
    }

    /// @dev Takes `amount` off the parts that leave, newest first: those had the longest to come.
    function _cut(Stake storage stake, Part[] storage parts, uint128 amount) private {
        stake.leaving -= amount;
        while (amount != 0) {
            Part storage last = parts[parts.length - 1];
            uint128 taken = amount < last.amount ? amount : last.amount;
            amount -= taken;
            last.amount -= taken;
            if (last.amount == 0) parts.pop();
        }
    }
}
