// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Panic} from "@openzeppelin/contracts/utils/Panic.sol";

/// @title Pays many at once, and each batch once
/// @notice A sender who does not know whether his batch arrived sends it again: the key makes the second one fail.
/// @dev Stateless but for the keys: tokens go from the sender through here to the recipients and never rest. A token
/// that takes a fee brings less than the recipients get, so its batches fail. One that takes it only of what leaves here,
/// because the sender is exempt, is not noticed: to compare balances would cost each recipient a tenth more. Whoever pays
/// with such a token reads its `Transfer` events.
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
    /// token's errors, `SafeERC20FailedOperation`); each amount is below 2^192, more than any token has, so that no sum
    /// overflows (`Panic` 0x11). The key is used up before the token is called, so a token that
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

        uint256 total = _sum(amounts);
        emit Dispersed(msg.sender, key, address(token), batch, amounts.length, total);
        // First here: transfers from one's own balance check no allowance, 700 gas each.
        token.safeTransferFrom(msg.sender, address(this), total);
        uint256 here;
        uint256 toAmount;
        assembly ("memory-safe") {
            here := recipients.offset
            toAmount := sub(amounts.offset, here)
        }
        _transferEach(address(token), here, here + 32 * recipients.length, toAmount);
    }

    /// @notice What `sender` paid under `key`: the hash of the data of his call; zero for nothing.
    function paidBatch(address sender, bytes32 key) external view returns (bytes32) {
        return _batches[sender][key];
    }

    /// @dev Assembly, here and below, with as little as possible in the loops: Solidity's bounds and copies cost 500 gas
    /// more for each recipient. There is at least one.
    function _sum(uint256[] calldata amounts) private pure returns (uint256 total) {
        uint256 bits = 0;
        assembly ("memory-safe") {
            let here := amounts.offset
            let end := add(here, shl(5, amounts.length))
            if and(amounts.length, 1) {
                total := calldataload(here)
                bits := total
                here := add(here, 32)
            }
            for {} lt(here, end) { here := add(here, 64) } {
                let one := calldataload(here)
                let other := calldataload(add(here, 32))
                bits := or(bits, or(one, other))
                total := add(total, add(one, other))
            }
        }
        // No list has 2^64 entries, so a sum of such amounts does not overflow.
        if (bits >> 192 != 0) Panic.panic(Panic.UNDER_OVERFLOW);
    }

    /// @dev `safeTransfer` for each, with the call built in one place: reverts as the token does, and when it answers
    /// anything but true, or nothing without being a contract. Recipients are read from `here` to `end` of the calldata,
    /// amounts so much further on. An address with other bits is for the token to refuse.
    function _transferEach(address token, uint256 here, uint256 end, uint256 toAmount) private {
        bytes4 transfer = IERC20.transfer.selector;
        bool refused = false;
        assembly ("memory-safe") {
            let question := mload(0x40)
            mstore(question, transfer)
            let toPlace := add(question, 4)
            let amountPlace := add(question, 36)
            for {} 1 {} {
                mstore(toPlace, calldataload(here))
                mstore(amountPlace, calldataload(add(here, toAmount)))
                mstore(0, 0)
                let done := call(gas(), token, 0, question, 68, 0, 32)
                if iszero(and(done, eq(mload(0), 1))) {
                    if iszero(done) {
                        returndatacopy(question, 0, returndatasize())
                        revert(question, returndatasize())
                    }
                    refused := or(refused, or(gt(returndatasize(), 0), iszero(extcodesize(token))))
                }
                here := add(here, 32)
                if iszero(lt(here, end)) { break }
            }
        }
        if (refused) revert SafeERC20.SafeERC20FailedOperation(token);
    }
}
