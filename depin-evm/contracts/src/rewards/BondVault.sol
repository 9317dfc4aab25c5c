// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {NetworkToken} from "../NetworkToken.sol";

/// @title Bonds of disputes, apart from the rewards
/// @dev One distributor makes it and commands it. At most one dispute is open, so what lies here is its bond, and
/// whatever somebody sent here by mistake goes the same way.
contract BondVault {
    NetworkToken private immutable token;
    address private immutable distributor = msg.sender;

    /// @notice Only the distributor decides.
    error NotDistributor(address caller);

    constructor(NetworkToken token_) {
        token = token_;
    }

    /// @notice Gives the bond to `to`, or burns it where that is zero.
    /// @dev Checks: the caller is the distributor (`NotDistributor`).
    function release(address to) external {
        require(msg.sender == distributor, NotDistributor(msg.sender));
        uint256 amount = token.balanceOf(address(this));
        if (to == address(0)) token.burn(amount);
        else token.transfer(to, amount);
    }
}
