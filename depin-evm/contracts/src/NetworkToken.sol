// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @title The token of one network
/// @notice A capped ERC-20 with 18 decimals that only holders of `MINTER_ROLE` can issue. Holders can burn, approve by
/// signature (ERC-2612) and pay by signature (ERC-3009, random 32-byte nonces, which is what x402 uses).
/// @dev The cap bounds the supply that exists, not the supply ever issued: what is burned can be issued again.
/// The EIP-712 domain is (name of the token, "1", chain, this contract) for both kinds of signature.
contract NetworkToken is ERC20Capped, ERC20Burnable, ERC20Permit, ERC3009, AccessControl {
    /// @notice Who may issue tokens. In a running network the emission controller holds it (or the reward distributor,
    /// where there is no controller), the credit minter where credits are sold, and nobody else should.
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");

    /// @notice Creates the token without any supply.
    /// @dev Checks: the cap is not zero (`ERC20InvalidCap`).
    /// @param name_ Name shown to people and part of the EIP-712 domain, at most 31 bytes.
    /// @param symbol_ Ticker shown to people.
    /// @param cap_ Largest supply that can exist at any time, in the smallest unit.
    /// @param admin Who grants and withdraws roles. Gets no right to issue tokens by itself.
    constructor(string memory name_, string memory symbol_, uint256 cap_, address admin)
        ERC20(name_, symbol_)
        ERC20Capped(cap_)
        ERC20Permit(name_)
    {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @notice Issues `amount` to `to`.
    /// @dev Checks: the caller holds `MINTER_ROLE` (`AccessControlUnauthorizedAccount`); `to` is not zero
    /// (`ERC20InvalidReceiver`); the supply stays within the cap (`ERC20ExceededCap`).
    function mint(address to, uint256 amount) external onlyRole(MINTER_ROLE) {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Capped) {
        super._update(from, to, value);
    }
}
