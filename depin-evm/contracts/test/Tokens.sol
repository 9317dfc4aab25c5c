// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
// Tests take all tokens from here.
import {FeeToken} from "./FeeToken.sol";

/// @dev An ERC-20 that anybody may mint, for tests.
contract PlainToken is ERC20 {
    constructor() ERC20("Plain", "PLN") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @dev Returns nothing where ERC-20 wants a truth value, as some large tokens do.
contract SilentToken {
    mapping(address account => uint256) public balanceOf;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @dev Says that it paid, or that it did not, and moves nothing.
contract LyingToken {
    bool private immutable answer;

    constructor(bool answer_) {
        answer = answer_;
    }

    function balanceOf(address) external pure returns (uint256) {
        return 1e18;
    }

    function transfer(address, uint256) external view returns (bool) {
        return answer;
    }

    function transferFrom(address, address, uint256) external view returns (bool) {
        return answer;
    }
}

/// @dev Calls somebody during every transfer, as tokens with hooks do, and notes whether the call went through.
contract HookToken is ERC20 {
    address private target;
    bytes private data;
    bool public reentered;
    bytes public refusal;

    constructor() ERC20("Hook", "HOOK") {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function arm(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (target == address(0)) return;
        address once = target;
        target = address(0);
        (reentered, refusal) = once.call(data);
    }
}
