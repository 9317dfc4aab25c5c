// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";
import {NetworkToken} from "./NetworkToken.sol";
import {EpochRoots, RootRules, TokenSource} from "./rewards/EpochRoots.sol";
import {ProofPath} from "./rewards/ProofPath.sol";

/// @title Rewards of a network, one tree and one claim per epoch
/// @notice For one-time payments, and for networks whose trees hold what was earned in the epoch only. Who claims every
/// epoch pays more than with the cumulative `RewardDistributor`; who claims once pays a little less.
/// @dev The tree is OpenZeppelin's StandardMerkleTree over ["uint256", "address", "uint256"]:
/// leaf = keccak256(keccak256(abi.encode(index, account, amount))). Each index of an epoch is paid once; 256 indices
/// share one storage word. All active epochs stay claimable.
contract BitmapDistributor is EpochRoots {
    using BitMaps for BitMaps.BitMap;

    /// @notice One payment of `claimMany`.
    struct Claim {
        uint64 epoch;
        uint256 index;
        address account;
        uint256 amount;
        bytes32[] proof;
    }

    mapping(uint64 epoch => BitMaps.BitMap) private _paid;

    /// @notice `account` was paid `amount` for `epoch`.
    event Claimed(uint64 indexed epoch, uint256 index, address indexed account, uint256 amount);

    /// @notice The proof does not lead from this leaf to the root of the epoch.
    error InvalidProof(uint64 epoch, uint256 index, address account, uint256 amount);
    /// @notice This index of the epoch was paid already.
    error AlreadyClaimed(uint64 epoch, uint256 index);

    /// @notice Creates a distributor without epochs. `source_` must let it mint before an epoch becomes active.
    /// @dev Checks: a limit has its period, and bond and window come together (`InvalidRules`).
    /// @param token_ The token that is paid.
    /// @param source_ Who issues it: the token (grant `MINTER_ROLE`) or the emission controller (grant `EMITTER_ROLE`).
    /// @param rules Dispute window, bond and limit.
    /// @param admin Who grants and withdraws roles and ends a pause. Gets no right to publish by itself.
    constructor(NetworkToken token_, TokenSource source_, RootRules memory rules, address admin)
        EpochRoots(token_, source_, rules, admin)
    {}

    /// @notice Pays `account` what leaf `index` of `epoch` grants. Anybody may call; only `account` is paid.
    /// @dev Checks: nothing is paused (`IsPaused`); the epoch is active (`UnknownEpoch`); the proof leads to its root
    /// (`InvalidProof`); the index was not paid (`AlreadyClaimed`); `account` is neither this contract nor the token
    /// nor zero (`InvalidRecipient`); this contract holds the amount (`ERC20InsufficientBalance`).
    function claim(uint64 epoch, uint256 index, address account, uint256 amount, bytes32[] calldata proof) external {
        require(!_loses(account), InvalidRecipient(account));
        require(_claim(epoch, index, account, amount, proof), AlreadyClaimed(epoch, index));
    }

    /// @notice Pays many leaves at once, of any epochs. One that was paid already is skipped, so that nobody can spoil
    /// the call by claiming one of them first; and so is one for an account at which tokens would be lost.
    /// @dev Checks: as `claim`, without `AlreadyClaimed` and `InvalidRecipient`.
    /// @return total Sum of what was paid now.
    function claimMany(Claim[] calldata claims) external returns (uint256 total) {
        for (uint256 i = 0; i < claims.length; ++i) {
            Claim calldata c = claims[i];
            if (_loses(c.account)) continue;
            if (_claim(c.epoch, c.index, c.account, c.amount, c.proof)) total += c.amount;
        }
    }

    /// @notice Whether leaf `index` of `epoch` was paid.
    function isClaimed(uint64 epoch, uint256 index) external view returns (bool) {
        return _paid[epoch].get(index);
    }

    /// @dev Claims read the roots of their epochs; no copy is kept.
    function _serve(bytes32) internal override {}

    /// @dev Each tree holds one epoch. The contract adds: two publishers who did not see each other emit both sums.
    function _totalWith(uint256 amount, uint256 published) internal pure override returns (uint256) {
        return published + SafeCast.toUint128(amount);
    }

    /// @dev Effects before the token's call. The token is our own, which reverts when it can not pay.
    function _claim(uint64 epoch, uint256 index, address account, uint256 amount, bytes32[] calldata proof)
        private
        returns (bool)
    {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(index, account, amount))));
        require(ProofPath.root(proof, leaf) == _activeRoot(epoch), InvalidProof(epoch, index, account, amount));
        BitMaps.BitMap storage paid = _paid[epoch];
        if (paid.get(index)) return false;

        paid.set(index);
        emit Claimed(epoch, index, account, amount);
        token.transfer(account, amount);
        return true;
    }
}
