// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

/// @notice What kind of key a device has.
enum KeyAlgorithm {
    Secp256k1,
    P256
}

/// @notice What is known of a device beyond its record; hashed as the EIP-712 struct of the same name.
/// @dev `nextKeyHash` is `KeyLib.commitment` of the only key the device may rotate to, zero when it never rotates.
/// `nullifier` is a secret hash of its hardware's identity, zero when not given. `documentHash` is zero, with an empty
/// URI, when the DID document derives from the key.
struct Details {
    KeyAlgorithm algorithm;
    bytes32 publicKeyX;
    bytes32 publicKeyY;
    bytes32 nextKeyHash;
    bytes32 nullifier;
    bytes32 documentHash;
    bytes32 evidenceHash;
    string documentURI;
}

/// @notice A device's signature over an EIP-712 digest, with low s. Secp256k1: r and, as in ERC-2098, s with the
/// parity of the recovered point in its highest bit. P-256: r and s.
struct Signature {
    bytes32 r;
    bytes32 vs;
}

/// @notice The document URI is longer than 1024 bytes.
error DocumentURITooLong(uint256 length);

/// @notice A byte of the document URI is not ASCII, which URIs are (RFC 3986). Others need not be UTF-8, and whoever
/// reads strings strictly could not read the device any more.
error DocumentURINotASCII();

/// @title Keys of devices
library KeyLib {
    /// @notice The last 20 bytes of keccak256(X || Y): the device's address, and for secp256k1 the key's.
    function addressOf(bytes32 x, bytes32 y) internal pure returns (address) {
        return address(uint160(uint256(Hashes.efficientKeccak256(x, y))));
    }

    /// @notice What a device commits to before it rotates to a key. Never zero.
    function commitment(KeyAlgorithm algorithm, bytes32 x, bytes32 y) internal pure returns (bytes32) {
        return keccak256(abi.encode(algorithm, x, y));
    }

    /// @notice Whether a key signed `digest`.
    /// @dev OpenZeppelin's P256 tries the precompile of RIP-7212 (0x100) and falls back to Solidity. IoTeX has one at
    /// 0x8001 with another input, which is not used.
    function signed(KeyAlgorithm algorithm, bytes32 x, bytes32 y, bytes32 digest, bytes32 r, bytes32 vs)
        internal
        view
        returns (bool)
    {
        if (algorithm == KeyAlgorithm.P256) return P256.verify(digest, r, vs, x, y);
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, r, vs);
        return failure == ECDSA.RecoverError.NoError && signer == addressOf(x, y);
    }
}

/// @title Hashes of details
library DetailsLib {
    bytes32 internal constant TYPEHASH = keccak256(
        "Details(uint8 algorithm,bytes32 publicKeyX,bytes32 publicKeyY,bytes32 nextKeyHash,bytes32 nullifier,bytes32 documentHash,bytes32 evidenceHash,string documentURI)"
    );

    /// @dev Longest accepted document URI, in bytes.
    uint256 internal constant MAX_URI_BYTES = 1024;

    /// @dev The highest bit of every byte of a word.
    uint256 private constant HIGH_BITS = 0x8080808080808080808080808080808080808080808080808080808080808080;

    /// @notice The EIP-712 struct hash.
    /// @dev Checks: the URI is short enough (`DocumentURITooLong`) and ASCII (`DocumentURINotASCII`).
    function hash(Details calldata details) internal pure returns (bytes32 result) {
        bytes calldata uri = bytes(details.documentURI);
        checkURI(uri);
        (bytes32 typeHash, bytes32 uriHash) = (TYPEHASH, keccak256(uri));
        // The seven members before the URI lie in calldata as they are hashed; whoever uses the key checks `algorithm`.
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            calldatacopy(add(free, 0x20), details, 0xe0)
            mstore(add(free, 0x100), uriHash)
            result := keccak256(free, 0x120)
        }
    }

    /// @notice The same of details that the contract made, with a URI that it checked.
    function hashMemory(Details memory details) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                TYPEHASH,
                details.algorithm,
                details.publicKeyX,
                details.publicKeyY,
                details.nextKeyHash,
                details.nullifier,
                details.documentHash,
                details.evidenceHash,
                keccak256(bytes(details.documentURI))
            )
        );
    }

    /// @notice The commitment to the key in the details.
    function liveKey(Details calldata details) internal pure returns (bytes32 result) {
        // Algorithm and key are the first members; whoever uses the key checks `algorithm`.
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, details, 0x60)
            result := keccak256(free, 0x60)
        }
    }

    /// @dev Checks: the URI is short enough (`DocumentURITooLong`) and ASCII (`DocumentURINotASCII`).
    function checkURI(bytes calldata uri) internal pure {
        require(uri.length <= MAX_URI_BYTES, DocumentURITooLong(uri.length));
        uint256 seen = 0;
        assembly ("memory-safe") {
            let end := add(uri.offset, uri.length)
            for { let at := uri.offset } lt(at, end) { at := add(at, 0x20) } {
                let word := calldataload(at)
                let left := sub(end, at)
                // What lies behind the URI is not part of it.
                if lt(left, 0x20) { word := shr(shl(3, sub(0x20, left)), word) }
                seen := or(seen, word)
            }
        }
        require(seen & HIGH_BITS == 0, DocumentURINotASCII());
    }

    /// @notice What is stored: a commitment to whose details these are, and how often they changed before.
    function commitment(address device, uint256 version, bytes32 detailsHash) internal pure returns (bytes32) {
        return keccak256(abi.encode(device, version, detailsHash));
    }
}
