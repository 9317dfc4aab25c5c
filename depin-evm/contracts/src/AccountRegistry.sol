// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// The reference ERC-6551 registry, compiled here so that a fresh chain can have one. On public chains use the one at
// 0x000000006551c19487814612e58FE06813775758.
import {ERC6551Registry} from "erc6551/ERC6551Registry.sol";
