// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IERC6551Account} from "erc6551/interfaces/IERC6551Account.sol";
import {NetworkToken} from "./NetworkToken.sol";
import {Signers} from "./Signers.sol";
import {EpochRoots, RootRules, TokenSource} from "./rewards/EpochRoots.sol";
import {ProofPath} from "./rewards/ProofPath.sol";

/// @title Rewards of a network, paid by proof
/// @notice Each epoch publishes the root of a tree that holds, for every account, what it earned since the beginning.
/// A claim pays the difference to what the account was paid before, so one claim serves any number of epochs.
/// @dev The tree is OpenZeppelin's StandardMerkleTree over ["address", "uint256"]:
/// leaf = keccak256(keccak256(abi.encode(account, cumulative))), inner nodes hash their sorted children. Only the root
/// of the latest active epoch serves. A claim by signature needs no nonce: the amount is cumulative, so once it was
/// paid the same signature pays nothing.
contract RewardDistributor is EpochRoots, EIP712 {
    /// @notice Type of what an account signs so that somebody else can send its claim.
    bytes32 public constant CLAIM_TYPEHASH =
        keccak256("Claim(address account,uint256 cumulative,address to,uint256 deadline)");

    /// @notice One payment of `claimMany`.
    struct Claim {
        address account;
        uint256 cumulative;
        bytes32[] proof;
    }

    /// @dev The root that serves claims; a copy, so that claims, which are many, read one word.
    bytes32 private _servingRoot;
    mapping(address account => uint256 amount) private _claimed;

    /// @notice `account` was paid `amount` and has now received `cumulative` in total.
    event Claimed(address indexed account, uint256 amount, uint256 cumulative);
    /// @notice `account` had the `amount` of the claim before this event paid to `to`.
    event ClaimedTo(address indexed account, address indexed to, uint256 amount);

    /// @notice The sum of all rewards can not fall.
    error CumulativeTotalFell(uint256 cumulativeTotal, uint256 published);
    /// @notice The proof does not lead from this account and amount to the root that serves.
    error InvalidProof(address account, uint256 cumulative);
    /// @notice No epoch is active yet, or claims are paused.
    error NoRootServes();
    /// @notice The account was paid this much already.
    error NothingToClaim(address account, uint256 claimed);
    /// @notice Only the account, or who commands it as ERC-6551 says, chooses another recipient.
    error NotCommander(address account, address caller);
    /// @notice The signature is not the account's over this claim.
    error InvalidSignature(address account);
    /// @notice The signature was valid until `deadline`.
    error SignatureExpired(uint256 deadline);

    /// @notice Creates a distributor without epochs. `source_` must let it mint before an epoch becomes active.
    /// @dev Checks: a limit has its period, and bond and window come together (`InvalidRules`).
    /// @param token_ The token that is paid.
    /// @param source_ Who issues it: the token (grant `MINTER_ROLE`) or the emission controller (grant `EMITTER_ROLE`).
    /// @param rules Dispute window, bond and limit.
    /// @param admin Who grants and withdraws roles and ends a pause. Gets no right to publish by itself.
    constructor(NetworkToken token_, TokenSource source_, RootRules memory rules, address admin)
        EpochRoots(token_, source_, rules, admin)
        EIP712("RewardDistributor", "1")
    {}

    /// @notice Pays `account` what it earned and has not received. Anybody may call; only `account` is paid.
    /// @dev Checks: a root serves (`NoRootServes`) and the proof leads to it (`InvalidProof`); `cumulative` exceeds
    /// what was paid before (`NothingToClaim`); `account` is neither this contract nor the token nor
    /// zero (`InvalidRecipient`); this contract holds the difference (`ERC20InsufficientBalance`), which
    /// is always so when the leaves of the tree sum up to the published total.
    /// @return amount What was paid now.
    function claim(address account, uint256 cumulative, bytes32[] calldata proof) external returns (uint256 amount) {
        require(!_loses(account), InvalidRecipient(account));
        amount = _claim(_servingRoot, account, account, cumulative, proof);
        // Not a require: that would read the storage again for an error which is rarely needed.
        if (amount == 0) revert NothingToClaim(account, _claimed[account]);
    }

    /// @notice Pays many accounts at once. One that was paid already is skipped, so that nobody can spoil the call by
    /// claiming for one of them first; and so is one at which tokens would be lost, which nobody could be paid for else.
    /// @dev Checks: a root serves (`NoRootServes`) and every proof leads to it (`InvalidProof`, nobody is paid); this
    /// contract holds the amounts (`ERC20InsufficientBalance`).
    /// @return total Sum of what was paid now; zero when all were paid before.
    function claimMany(Claim[] calldata claims) external returns (uint256 total) {
        bytes32 root = _servingRoot;
        for (uint256 i = 0; i < claims.length; ++i) {
            address account = claims[i].account;
            if (_loses(account)) continue;
            total += _claim(root, account, account, claims[i].cumulative, claims[i].proof);
        }
    }

    /// @notice Pays what `account` earned to `to`: for the owner of a device, whose account earns. Where somebody calls
    /// `claim` first, this one finds `NothingToClaim` and the money is in `account`: another one can decide when it is
    /// paid, never that it goes to anybody but the account or whom it names.
    /// @dev Checks: the caller is `account`, or `account` is an ERC-6551 account that he commands (`NotCommander`);
    /// and those of `claim`, where it is `to` that is neither this contract nor the token nor zero (`InvalidRecipient`).
    /// @return amount What was paid now.
    function claimTo(address account, uint256 cumulative, bytes32[] calldata proof, address to)
        external
        returns (uint256 amount)
    {
        require(msg.sender == account || _commands(msg.sender, account), NotCommander(account, msg.sender));
        amount = _claimTo(account, to, cumulative, proof);
    }

    /// @notice As `claimTo`, by a signature that `account` gave; whoever sends it pays the gas, also for a call that
    /// comes after a `claim` and finds `NothingToClaim`.
    /// @dev Checks: the deadline has not passed (`SignatureExpired`); `account`, a key or by ERC-1271 a contract,
    /// signed the EIP-712 struct `Claim` with these arguments in the domain ("RewardDistributor", "1", chain, this
    /// contract) (`InvalidSignature`); and those of `claimTo` but for the caller, so a second use finds `NothingToClaim`.
    /// @return amount What was paid now.
    function claimBySignature(
        address account,
        uint256 cumulative,
        bytes32[] calldata proof,
        address to,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 amount) {
        require(block.timestamp <= deadline, SignatureExpired(deadline));
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(CLAIM_TYPEHASH, account, cumulative, to, deadline)));
        require(Signers.signed(account, digest, signature), InvalidSignature(account));
        amount = _claimTo(account, to, cumulative, proof);
    }

    /// @notice What `account` has been paid since the beginning.
    function claimed(address account) external view returns (uint256) {
        return _claimed[account];
    }

    function _serve(bytes32 root) internal override {
        _servingRoot = root;
    }

    /// @dev Each tree holds everything earned so far.
    function _totalWith(uint256 amount, uint256 published) internal pure override returns (uint256) {
        require(amount >= published, CumulativeTotalFell(amount, published));
        return amount;
    }

    function _claimTo(address account, address to, uint256 cumulative, bytes32[] calldata proof)
        private
        returns (uint256 amount)
    {
        require(!_loses(to), InvalidRecipient(to));
        amount = _claim(_servingRoot, account, to, cumulative, proof);
        if (amount == 0) revert NothingToClaim(account, _claimed[account]);
        emit ClaimedTo(account, to, amount);
    }

    /// @dev Effects before the token's call; zero means that there was nothing to pay. No proof leads to the root zero,
    /// which serves before the first epoch and during a pause. The token is our own, which reverts when it can not pay.
    function _claim(bytes32 root, address account, address to, uint256 cumulative, bytes32[] calldata proof)
        private
        returns (uint256 amount)
    {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(account, cumulative))));
        if (ProofPath.root(proof, leaf) != root) {
            require(root != 0, NoRootServes());
            revert InvalidProof(account, cumulative);
        }
        uint256 before = _claimed[account];
        if (cumulative <= before) return 0;

        amount = cumulative - before;
        _claimed[account] = cumulative;
        emit Claimed(account, amount, cumulative);
        token.transfer(to, amount);
    }

    /// @dev An account without code, or one that is no ERC-6551 account, is commanded by nobody.
    function _commands(address caller, address account) private view returns (bool) {
        if (account.code.length == 0) return false;
        try IERC6551Account(payable(account)).isValidSigner(caller, "") returns (bytes4 magic) {
            return magic == IERC6551Account.isValidSigner.selector;
        } catch {
            return false;
        }
    }
}
