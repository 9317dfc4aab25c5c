// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @dev OpenZeppelin's StandardMerkleTree over ["address", "uint256"], small and slow, for tests.
library RewardTree {
    struct Leaf {
        address account;
        uint256 cumulative;
    }

    function leafHash(Leaf memory leaf) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(leaf.account, leaf.cumulative))));
    }

    /// @dev 2n - 1 nodes: the root first, the sorted leaves backwards index the end.
    function build(Leaf[] memory leaves) internal pure returns (bytes32[] memory nodes) {
        uint256 n = leaves.length;
        bytes32[] memory hashes = new bytes32[](n);
        for (uint256 i = 0; i < n; ++i) {
            bytes32 hash = leafHash(leaves[i]);
            uint256 index = i;
            for (; index > 0 && hashes[index - 1] > hash; --index) {
                hashes[index] = hashes[index - 1];
            }
            hashes[index] = hash;
        }
        nodes = new bytes32[](2 * n - 1);
        for (uint256 i = 0; i < n; ++i) {
            nodes[2 * n - 2 - i] = hashes[i];
        }
        for (uint256 i = n - 1; i > 0; --i) {
            (bytes32 a, bytes32 b) = (nodes[2 * i - 1], nodes[2 * i]);
            nodes[i - 1] = a < b ? keccak256(abi.encode(a, b)) : keccak256(abi.encode(b, a));
        }
    }

    function proof(bytes32[] memory nodes, Leaf memory leaf) internal pure returns (bytes32[] memory path) {
        bytes32 hash = leafHash(leaf);
        uint256 index = nodes.length - 1;
        while (nodes[index] != hash) --index;
        uint256 depth = 0;
        for (uint256 i = index; i > 0; i = (i - 1) / 2) {
            ++depth;
        }
        path = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            path[i] = nodes[index % 2 == 0 ? index - 1 : index + 1];
            index = (index - 1) / 2;
        }
    }
}
