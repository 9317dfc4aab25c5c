// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Pays many at once, and each batch once
/// @notice A sender who does not know whether his batch arrived sends it again: the key makes the second one fail.
/// @dev Stateless but for the keys: tokens go from the sender through here to the recipients and never rest. A token
/// that takes a fee brings less than the recipients get, so its batches fail.
contract Disperse {
    using SafeERC20 for IERC20;

    /// @dev What was paid under a key of a sender: the hash of the data of the call.
    mapping(address sender => mapping(bytes32 key => bytes32 batch)) private _batches;

    /// @notice The batch `key` of `sender` was paid: `count` recipients, `total` of `token`.
    event Dispersed(
        address indexed sender, bytes32 indexed key, address indexed token, bytes32 batch, uint256 count, uint256 total
    );

    /// @notice This batch was paid already; nobody was paid again.
    error AlreadyPaid(address sender, bytes32 key);
    /// @notice Another batch was paid under this key; take another key.
    error KeyReused(address sender, bytes32 key, bytes32 batch);
    /// @notice Each recipient has one amount, and there is at least one.
    error LengthMismatch(uint256 recipients, uint256 amounts);

    /// @notice Pays `amounts[i]` of `token` to `recipients[i]`, from the caller's allowance, all or nobody.
    /// @dev Checks: there are recipients, each with an amount (`LengthMismatch`); the caller did not use `key` before
    /// (`AlreadyPaid`, or `KeyReused` when that was for something else); the caller allowed and has the sum (the
    /// token's errors, `SafeERC20FailedOperation`). The key is used up before the token is called, so a token that
    /// calls back can not have the batch paid twice.
    /// @param key Any word that names the batch, for instance its hash and the number of the run.
    function disperse(bytes32 key, IERC20 token, address[] calldata recipients, uint256[] calldata amounts) external {
        require(
            recipients.length == amounts.length && amounts.length != 0,
            LengthMismatch(recipients.length, amounts.length)
        );
        bytes32 batch = keccak256(msg.data);
        bytes32 paid = _batches[msg.sender][key];
        require(paid != batch, AlreadyPaid(msg.sender, key));
        require(paid == 0, KeyReused(msg.sender, key, paid));
        _batches[msg.sender][key] = batch;

        uint256 total = 0;
        for (uint256 i = 0; i < amounts.length; ++i) {
            total += amounts[i];
        }
        emit Dispersed(msg.sender, key, address(token), batch, amounts.length, total);
        // First here: transfers from one's own balance check no allowance, 700 gas each.
        token.safeTransferFrom(msg.sender, address(this), total);
        for (uint256 i = 0; i < amounts.length; ++i) {
            token.safeTransfer(recipients[i], amounts[i]);
        }
    }

    /// @notice What `sender` paid under `key`: the hash of the data of his call; zero for nothing.
    function paidBatch(address sender, bytes32 key) external view returns (bytes32) {
        return _batches[sender][key];
    }
}
