// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev Burns a tenth of every transfer, but of those by senders who are exempt.
contract FeeToken is ERC20 {
    mapping(address sender => bool) private _exempt;

    constructor() ERC20("Fee", "FEE") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function exempt(address sender) external {
        _exempt[sender] = true;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (from == address(0) || to == address(0) || _exempt[from]) return super._update(from, to, amount);
        super._update(from, address(0), amount / 10);
        super._update(from, to, amount - amount / 10);
    }
}
