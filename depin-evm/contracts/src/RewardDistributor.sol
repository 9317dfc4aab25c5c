// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {NetworkToken} from "./NetworkToken.sol";

/// @title Rewards of a network, paid by proof
/// @notice Each epoch publishes the root of a tree that holds, for every account, what it earned since the beginning.
/// A claim pays the difference to what the account was paid before, so one claim serves any number of epochs.
/// @dev The tree is OpenZeppelin's StandardMerkleTree over ["address", "uint256"]:
/// leaf = keccak256(keccak256(abi.encode(account, cumulative))), inner nodes hash their sorted children.
///
/// The emission of an epoch is issued to this contract when the root is published, not when somebody claims. So a cap
/// that is too small stops the publication and never a claim, every published reward is backed by tokens that exist,
/// and a wrong root can never pay out more than was emitted. Nothing but a claim moves tokens out, hence at all times
/// paid + balance == cumulativeTotal == issued (tokens that somebody sends here by mistake come on top).
contract RewardDistributor is AccessControl {
    /// @notice Who may publish epochs.
    bytes32 public constant PUBLISHER_ROLE = keccak256("PUBLISHER_ROLE");

    /// @notice One payment of `claimMany`.
    struct Claim {
        address account;
        uint256 cumulative;
        bytes32[] proof;
    }

    /// @dev One storage word, because every publication reads and writes all of it.
    struct Progress {
        uint64 latestEpoch;
        uint64 epochCount;
        uint128 cumulativeTotal;
    }

    /// @notice The token that is paid.
    NetworkToken public immutable token;

    Progress private _progress;
    /// @dev The root that serves claims; a copy, so that claims, which are many, read one word and not two.
    bytes32 private _latestRoot;
    mapping(uint64 epoch => bytes32 root) private _roots;
    mapping(address account => uint256 amount) private _claimed;

    /// @notice An epoch was published. `emission` was issued to this contract, `cumulativeTotal` is all emission so far,
    /// `logRoot` commits to the signed batches from which anybody can recompute `root`.
    event EpochPublished(
        uint64 indexed epoch, bytes32 root, bytes32 logRoot, uint256 emission, uint256 cumulativeTotal
    );

    /// @notice `account` was paid `amount` and has now received `cumulative` in total.
    event Claimed(address indexed account, uint256 amount, uint256 cumulative);

    /// @notice Epochs are published in rising order and never twice.
    error EpochNotAfterLatest(uint64 epoch, uint64 latestEpoch);
    /// @notice A tree without leaves has no root; publish the first epoch in which somebody earned.
    error ZeroRoot();
    /// @notice The sum of all rewards can not fall.
    error CumulativeTotalFell(uint256 cumulativeTotal, uint256 published);
    /// @notice The proof does not lead from this account and amount to the latest root.
    error InvalidProof(address account, uint256 cumulative);
    /// @notice The account was paid this much already.
    error NothingToClaim(address account, uint256 claimed);
    /// @notice No root was published for this epoch.
    error UnknownEpoch(uint64 epoch);

    /// @notice Creates a distributor without epochs. It must be granted the token's `MINTER_ROLE` before it publishes.
    /// @param token_ The token that is paid.
    /// @param admin Who grants and withdraws roles. Gets no right to publish by itself.
    constructor(NetworkToken token_, address admin) {
        token = token_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @notice Publishes the rewards of `epoch` and issues their emission to this contract.
    /// @dev Checks: the caller holds `PUBLISHER_ROLE` (`AccessControlUnauthorizedAccount`); `root` is not zero
    /// (`ZeroRoot`); `epoch` is later than every published one (`EpochNotAfterLatest`), so no root is ever replaced;
    /// `total` does not fall (`CumulativeTotalFell`) and fits 128 bits (`SafeCastOverflowedUintDowncast`);
    /// the token's cap admits the emission (`ERC20ExceededCap`).
    /// @param epoch Number of the epoch; numbers may be skipped.
    /// @param root Root of the tree of cumulative rewards.
    /// @param total Sum of all leaves, in the smallest unit of the token.
    /// @param logRoot Commitment to the batches the rewards were computed from; only recorded in the event.
    function publish(uint64 epoch, bytes32 root, uint256 total, bytes32 logRoot) external onlyRole(PUBLISHER_ROLE) {
        Progress memory progress = _progress;
        require(root != 0, ZeroRoot());
        require(
            progress.epochCount == 0 || epoch > progress.latestEpoch, EpochNotAfterLatest(epoch, progress.latestEpoch)
        );
        require(total >= progress.cumulativeTotal, CumulativeTotalFell(total, progress.cumulativeTotal));

        uint256 emission = total - progress.cumulativeTotal;
        _roots[epoch] = root;
        _latestRoot = root;
        _progress = Progress({
            latestEpoch: epoch, epochCount: progress.epochCount + 1, cumulativeTotal: SafeCast.toUint128(total)
        });
        emit EpochPublished(epoch, root, logRoot, emission, total);
        if (emission != 0) token.mint(address(this), emission);
    }

    /// @notice Pays `account` what it earned and has not received. Anybody may call; only `account` is paid.
    /// @dev Checks: the proof leads to the latest root (`InvalidProof`); `cumulative` exceeds what was paid before
    /// (`NothingToClaim`); this contract holds the difference (`ERC20InsufficientBalance`), which is always so when
    /// the leaves of the tree sum up to the published total.
    /// @return amount What was paid now.
    function claim(address account, uint256 cumulative, bytes32[] calldata proof) external returns (uint256 amount) {
        amount = _claim(_latestRoot, account, cumulative, proof);
        // Not a require: that would read the storage again for an error which is rarely needed.
        if (amount == 0) revert NothingToClaim(account, _claimed[account]);
    }

    /// @notice Pays many accounts at once. One that was paid already is skipped, so that nobody can spoil the call by
    /// claiming for one of them first.
    /// @dev Checks: every proof leads to the latest root (`InvalidProof`, nobody is paid); this contract holds the
    /// amounts (`ERC20InsufficientBalance`).
    /// @return total Sum of what was paid now; zero when all were paid before.
    function claimMany(Claim[] calldata claims) external returns (uint256 total) {
        bytes32 root = _latestRoot;
        for (uint256 i = 0; i < claims.length; ++i) {
            total += _claim(root, claims[i].account, claims[i].cumulative, claims[i].proof);
        }
    }

    /// @notice What `account` has been paid since the beginning.
    function claimed(address account) external view returns (uint256) {
        return _claimed[account];
    }

    /// @notice The root that was published for `epoch`, for audits.
    /// @dev Checks: the epoch was published (`UnknownEpoch`).
    function epochRoot(uint64 epoch) external view returns (bytes32 root) {
        root = _roots[epoch];
        require(root != 0, UnknownEpoch(epoch));
    }

    /// @notice The epoch whose root serves claims now.
    /// @dev Checks: an epoch was published (`UnknownEpoch(0)`).
    function latestEpoch() external view returns (uint64) {
        require(_progress.epochCount != 0, UnknownEpoch(0));
        return _progress.latestEpoch;
    }

    /// @notice How many epochs were published.
    function epochCount() external view returns (uint64) {
        return _progress.epochCount;
    }

    /// @notice Sum of all rewards published so far, which is also what was issued for them.
    function cumulativeTotal() external view returns (uint256) {
        return _progress.cumulativeTotal;
    }

    /// @dev Effects before the token's call; zero means that there was nothing to pay. Before the first publication
    /// the root is zero, to which no proof leads. The token is our own, which reverts when it can not pay.
    function _claim(bytes32 root, address account, uint256 cumulative, bytes32[] calldata proof)
        private
        returns (uint256 amount)
    {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(account, cumulative))));
        require(MerkleProof.verifyCalldata(proof, root, leaf), InvalidProof(account, cumulative));
        uint256 before = _claimed[account];
        if (cumulative <= before) return 0;

        amount = cumulative - before;
        _claimed[account] = cumulative;
        emit Claimed(account, amount, cumulative);
        token.transfer(account, amount);
    }
}
