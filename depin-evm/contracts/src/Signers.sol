// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Whether somebody signed, key or contract
/// @dev OpenZeppelin's `SignatureChecker` with the key tried first. For a key that saves to load the account, 2,600 gas.
/// And a key that delegated to code (EIP-7702) keeps signing by itself, which `SignatureChecker` refuses: that is safe,
/// since the key stays above its code, which it can replace at any time. Of a contract nobody has a key. s is low and
/// the signature of a key 65 bytes.
library Signers {
    /// @notice What a signature check of `signedWithin` may use: three times what P-256 costs in Solidity, the dearest
    /// check that accounts are known to make.
    uint256 internal constant MOST_GAS = 700_000;

    /// @notice The check needs `MOST_GAS` at hand, whatever it uses in the end.
    error TooLittleGas(uint256 left);

    /// @dev Where one signature is checked: who sends the call bears what the signer's contract uses.
    function signed(address signer, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        return byKey(signer, digest, signature)
            || SignatureChecker.isValidERC1271SignatureNowCalldata(signer, digest, signature);
    }

    /// @dev Where a signature among many is checked: a contract that burns all gas it gets, or answers without end,
    /// spoils its own check only. Reverts when less gas is left than the check may use (`TooLittleGas`): otherwise who
    /// sends the call, or an estimate of its gas, could make a valid signature count as none.
    function signedWithin(address signer, bytes32 digest, bytes calldata signature) internal view returns (bool valid) {
        if (byKey(signer, digest, signature)) return true;
        if (signer.code.length == 0) return false;
        bytes memory question = abi.encodeCall(IERC1271.isValidSignature, (digest, signature));
        bytes4 magic = IERC1271.isValidSignature.selector;
        uint256 limit = MOST_GAS;
        // A call gets at most 63/64 of what is left.
        require(gasleft() > limit + limit / 32, TooLittleGas(gasleft()));
        // Assembly, because Solidity copies an answer of any length.
        assembly ("memory-safe") {
            valid := staticcall(limit, signer, add(question, 32), mload(question), 0, 32)
            valid := and(valid, and(gt(returndatasize(), 31), eq(mload(0), magic)))
        }
    }

    function byKey(address signer, bytes32 digest, bytes calldata signature) private pure returns (bool) {
        (address recovered, ECDSA.RecoverError problem,) = ECDSA.tryRecoverCalldata(digest, signature);
        return problem == ECDSA.RecoverError.NoError && recovered == signer;
    }
}
