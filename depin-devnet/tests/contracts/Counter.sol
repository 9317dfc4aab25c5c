// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// A contract with one of everything the tests ask for.
contract Counter {
    uint256 public count;
    mapping(address => uint256) public added;

    event Increased(address indexed by, uint256 amount, uint256 total);

    error TooMuch(uint256 asked, uint256 limit);

    constructor(uint256 start) payable {
        count = start;
    }

    function increase(uint256 amount) external {
        if (amount > 1000) revert TooMuch(amount, 1000);
        require(amount > 0, "amount is zero");
        count += amount;
        added[msg.sender] += amount;
        emit Increased(msg.sender, amount, count);
    }

    function clear() external {
        count = 0;
        delete added[msg.sender];
    }

    /// Creates a small contract at an address that depends on the salt only.
    function spawn(bytes32 salt) external returns (address child) {
        child = address(new Child{salt: salt}());
    }

    /// Needs more gas than it spends, for the inner call may use 63/64 only.
    function nested(uint256 depth) external returns (uint256) {
        if (depth == 0) {
            count += 1;
            return count;
        }
        return this.nested(depth - 1);
    }

    function burn() external view {
        uint256 i;
        while (gasleft() > 0) i++;
    }

    function blockHash(uint256 number) external view returns (bytes32) {
        return blockhash(number);
    }

    function time() external view returns (uint256) {
        return block.timestamp;
    }

    receive() external payable {}
}

contract Child {
    /// Comes and goes within one transaction.
    function leave() external {
        selfdestruct(payable(msg.sender));
    }
}
