// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

/// @title A collection of device tokens as ioID's projects have it, for tests of the Rust adapter
contract DeviceNftStandIn is ERC721("Devices", "DEV"), Ownable(msg.sender) {
    uint256 public total;
    mapping(address minter => uint256) public minterAllowance;

    event MinterConfigured(address indexed minter, uint256 minterAllowedAmount);

    function configureMinter(address minter, uint256 amount) external onlyOwner {
        minterAllowance[minter] = amount;
        emit MinterConfigured(minter, amount);
    }

    function mint(address to) external returns (uint256 token) {
        require(minterAllowance[msg.sender] > 0, "exceeds minterAllowance");
        --minterAllowance[msg.sender];
        token = ++total;
        _mint(to, token);
    }
}
