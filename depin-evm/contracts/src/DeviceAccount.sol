// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IERC721Receiver} from "@openzeppelin/contracts/token/ERC721/IERC721Receiver.sol";
import {ERC1155Holder} from "@openzeppelin/contracts/token/ERC1155/utils/ERC1155Holder.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ERC6551AccountLib} from "erc6551/lib/ERC6551AccountLib.sol";
import {IERC6551Account} from "erc6551/interfaces/IERC6551Account.sol";
import {IERC6551Executable} from "erc6551/interfaces/IERC6551Executable.sol";
import {Signers} from "./Signers.sol";

/// @title The account of a device (ERC-6551)
/// @notice Holds whatever the device earns or owns. Who owns the device token commands the account, so selling the
/// device sells its account with it.
/// @dev Deployed once; the ERC-6551 registry clones it per device and appends chain, token contract and token id to
/// the code of the clone. Only plain calls are executed: a delegate call could rewrite the account's own storage.
contract DeviceAccount is IERC6551Account, IERC6551Executable, IERC1271, IERC721Receiver, ERC1155Holder, EIP712 {
    /// @notice Type of what an owner signs so that the account counts as signer (ERC-1271).
    bytes32 public constant ACCOUNT_MESSAGE_TYPEHASH = keccak256("AccountMessage(bytes32 hash)");

    /// @inheritdoc IERC6551Account
    uint256 public state;

    /// @notice The caller does not own the device.
    error NotOwner(address caller);
    /// @notice Only operation 0, a plain call, is executed.
    error UnsupportedOperation(uint8 operation);
    /// @notice An account that held its own device token could never be used again.
    error OwnershipCycle();

    constructor() EIP712("DeviceAccount", "1") {}

    /// @notice Accepts the chain's native coin from anybody.
    receive() external payable {}

    /// @notice Calls `to` with `value` and `data` in the account's name; without data it pays `value`, to anybody.
    /// @dev Checks: the caller owns the device token on this chain (`NotOwner`); `operation` is 0, a plain call
    /// (`UnsupportedOperation`); there is code at `to` when there is data (`AddressEmptyCode`). A failed call reverts
    /// with the error of the called contract. Counts up `state` first.
    /// @return What the called contract returned.
    function execute(address to, uint256 value, bytes calldata data, uint8 operation)
        external
        payable
        returns (bytes memory)
    {
        require(_isOwner(msg.sender), NotOwner(msg.sender));
        require(operation == 0, UnsupportedOperation(operation));
        ++state;
        if (data.length == 0) {
            Address.sendValue(payable(to), value);
            return "";
        }
        return Address.functionCallWithValue(to, data, value);
    }

    /// @notice Whether the owner of the device signed `hash` for this account.
    /// @dev Checks: the signature is the owner's (of a key or, by ERC-1271, of a contract) over the EIP-712 struct
    /// `AccountMessage(bytes32 hash)` in the domain ("DeviceAccount", "1", chain, this account). The wrapping keeps a
    /// signature for one account from being used with another account of the same owner.
    /// @return 0x1626ba7e when valid, otherwise 0xffffffff.
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(ACCOUNT_MESSAGE_TYPEHASH, hash)));
        // Without an owner nothing is valid: no signature is the zero address's.
        bool valid = Signers.signed(owner(), digest, signature);
        return valid ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }

    /// @inheritdoc IERC6551Account
    function isValidSigner(address signer, bytes calldata) external view returns (bytes4) {
        return _isOwner(signer) ? IERC6551Account.isValidSigner.selector : bytes4(0);
    }

    /// @notice Accepts any ERC-721 token that is sent safely, except the one that owns this account.
    /// @dev Checks: the token is not the account's own (`OwnershipCycle`).
    function onERC721Received(address, address, uint256 tokenId, bytes calldata) external view returns (bytes4) {
        (uint256 chainId, address tokenContract, uint256 ownTokenId) = token();
        bool cycle = chainId == block.chainid && msg.sender == tokenContract && tokenId == ownTokenId;
        require(!cycle, OwnershipCycle());
        return IERC721Receiver.onERC721Received.selector;
    }

    /// @inheritdoc IERC6551Account
    function token() public view returns (uint256 chainId, address tokenContract, uint256 tokenId) {
        return ERC6551AccountLib.token();
    }

    /// @notice Who commands the account: the owner of the device token, or zero when that lives on another chain.
    function owner() public view returns (address) {
        (uint256 chainId, address tokenContract, uint256 tokenId) = token();
        return chainId == block.chainid ? IERC721(tokenContract).ownerOf(tokenId) : address(0);
    }

    /// @notice ERC-165: account, executable, ERC-1271 and token receivers.
    function supportsInterface(bytes4 id) public view override returns (bool) {
        return id == type(IERC6551Account).interfaceId || id == type(IERC6551Executable).interfaceId
            || id == type(IERC1271).interfaceId || id == type(IERC721Receiver).interfaceId
            || super.supportsInterface(id);
    }

    function _isOwner(address caller) private view returns (bool) {
        return caller != address(0) && caller == owner();
    }
}
