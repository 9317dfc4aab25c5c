// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Deposits as they arrive
library Pulls {
    using SafeERC20 for IERC20;

    /// @dev Takes `amount` from `from` and says what arrived: less where the token takes a fee, nothing where it lies.
    /// Reverts when the transfer does, or when there is no contract. Callers guard against re-entrance, in which
    /// somebody else's deposit would be counted here too.
    function pull(IERC20 token, address from, uint256 amount) internal returns (uint256 arrived) {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(from, address(this), amount);
        arrived = token.balanceOf(address(this)) - before;
    }
}
