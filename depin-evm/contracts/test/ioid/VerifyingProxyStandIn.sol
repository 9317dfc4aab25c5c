// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC721Holder} from "@openzeppelin/contracts/token/ERC721/utils/ERC721Holder.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {DeviceNftStandIn} from "./DeviceNftStandIn.sol";
import {IoIdStandIn, StandInRegistry} from "./IoIdStandIn.sol";

/// @title A project that registers whatever its verifier signed for, for tests of the Rust adapter
/// @notice Owns the project and its collection. As in ioID, the verifier's signature names neither this contract nor a
/// document, and never ends.
contract VerifyingProxyStandIn is ERC721Holder {
    uint256 public immutable projectId;
    address public immutable verifier;
    DeviceNftStandIn public immutable deviceNFT;
    IoIdStandIn private immutable _world;

    event Registered(address indexed owner, address indexed device, uint256 deviceTokenId, uint256 ioIDTokenID);

    constructor(IoIdStandIn world, address verifier_, string memory name) {
        (_world, verifier) = (world, verifier_);
        deviceNFT = new DeviceNftStandIn();
        deviceNFT.configureMinter(address(this), type(uint256).max);
        deviceNFT.setApprovalForAll(address(world.registry()), true);
        projectId = world.project().register(name, 0);
        world.store().setDeviceContract(projectId, address(deviceNFT));
    }

    function register(
        bytes calldata verifySignature,
        bytes32 hash,
        string calldata uri,
        address owner,
        address device,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external payable {
        _believe(verifySignature, owner, device);
        deviceNFT.mint(address(this));
        _register(hash, uri, device, v, r, s);
        uint256 id = _world.registry().deviceTokenId(device);
        _world.ioID().safeTransferFrom(address(this), owner, id);
        emit Registered(owner, device, deviceNFT.total(), id);
    }

    function _believe(bytes calldata signature, address owner, address device) private view {
        bytes32 digest = MessageHashUtils.toEthSignedMessageHash(abi.encodePacked(block.chainid, owner, device));
        require(ECDSA.recover(digest, signature) == verifier, "invalid verifier signature");
    }

    function _register(bytes32 hash, string calldata uri, address device, uint8 v, bytes32 r, bytes32 s) private {
        StandInRegistry registry = _world.registry();
        registry.register{value: msg.value}(
            address(deviceNFT), deviceNFT.total(), address(this), device, hash, uri, v, r, s
        );
    }
}
