// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {Fleet} from "./Fleet.sol";

/// @dev A small fleet that lives: it registers, changes documents, is suspended and sold, while somebody offers every
/// signature that was ever made to every function that takes one.
contract LivingFleet is Fleet {
    uint256 public constant KEYS = 6;
    uint256 public constant OWNERS = 4;

    struct Expected {
        DeviceRegistry.Status status;
        address owner;
        uint256 nonce;
        DeviceRegistry.Details details;
    }

    address[] public devices;
    mapping(address device => uint256 key) private keys;
    mapping(address device => Expected expected) private expectations;
    bytes[] private usedCalls;

    constructor() {
        deployRegistry();
    }

    function registryUnderTest() external view returns (DeviceRegistry) {
        return registry;
    }

    function expected(address device) external view returns (Expected memory) {
        return expectations[device];
    }

    function deviceTotal() external view returns (uint256) {
        return devices.length;
    }

    function ownerAt(uint256 i) public pure returns (address) {
        return address(uint160(0x0E0000 + i % OWNERS));
    }

    function register(uint256 seed, bool batched) external {
        if (devices.length == KEYS) return;
        uint256 key = 0xF1EE7 + devices.length;
        DeviceRegistry.Registration memory r = secp256k1Device(key);
        r.owner = ownerAt(seed);
        r.details.documentHash = bytes32(seed);
        bytes memory signature = sign(key, digestOf(r));
        bytes memory call = abi.encodeCall(DeviceRegistry.register, (r, signature));
        if (batched) {
            DeviceRegistry.Registration[] memory rs = new DeviceRegistry.Registration[](1);
            bytes[] memory signatures = new bytes[](1);
            (rs[0], signatures[0]) = (r, signature);
            call = abi.encodeCall(DeviceRegistry.registerBatch, (rs, signatures));
        }
        accepted(REGISTRAR, call);
        usedCalls.push(call);
        devices.push(r.device);
        keys[r.device] = key;
        Expected storage e = expectations[r.device];
        (e.status, e.owner, e.nonce, e.details) = (DeviceRegistry.Status.Active, r.owner, 1, r.details);
        // The registration's signature, offered as a document update.
        DeviceRegistry.DocumentUpdate memory u = updateOf(r.device, 1);
        refused(STRANGER, abi.encodeCall(DeviceRegistry.updateDocument, (u, r.details, signature)));
    }

    function update(uint256 seed) external {
        if (devices.length == 0) return;
        address device = devices[seed % devices.length];
        Expected storage e = expectations[device];
        DeviceRegistry.DocumentUpdate memory u = updateOf(device, e.nonce);
        u.documentHash = keccak256(abi.encode(seed));
        bytes memory signature = sign(keys[device], digestOf(u));
        bytes memory call = abi.encodeCall(DeviceRegistry.updateDocument, (u, e.details, signature));
        if (e.status != DeviceRegistry.Status.Active) return refused(STRANGER, call);
        accepted(STRANGER, call);
        usedCalls.push(call);
        ++e.nonce;
        e.details.documentHash = u.documentHash;
        e.details.documentURI = u.documentURI;
        // The same signature over what are the current details now.
        refused(STRANGER, abi.encodeCall(DeviceRegistry.updateDocument, (u, e.details, signature)));
    }

    function changeStatus(uint256 seed, uint256 which) external {
        if (devices.length == 0) return;
        address device = devices[seed % devices.length];
        Expected storage e = expectations[device];
        if (which % 3 == 0) {
            bytes memory call = abi.encodeCall(DeviceRegistry.suspend, (device));
            if (e.status != DeviceRegistry.Status.Active) return refused(REGISTRAR, call);
            accepted(REGISTRAR, call);
            e.status = DeviceRegistry.Status.Suspended;
        } else if (which % 3 == 1) {
            bytes memory call = abi.encodeCall(DeviceRegistry.resume, (device));
            if (e.status != DeviceRegistry.Status.Suspended) return refused(REGISTRAR, call);
            accepted(REGISTRAR, call);
            e.status = DeviceRegistry.Status.Active;
        } else if (which % 9 == 2) {
            bytes memory call = abi.encodeCall(DeviceRegistry.revoke, (device));
            if (e.status == DeviceRegistry.Status.Revoked) return refused(e.owner, call);
            accepted(e.owner, call);
            e.status = DeviceRegistry.Status.Revoked;
        }
    }

    function transfer(uint256 seed, uint256 to) external {
        if (devices.length == 0) return;
        address device = devices[seed % devices.length];
        Expected storage e = expectations[device];
        bytes memory call =
            abi.encodeWithSignature("transferFrom(address,address,uint256)", e.owner, ownerAt(to), uint160(device));
        refused(STRANGER, call);
        accepted(e.owner, call);
        e.owner = ownerAt(to);
    }

    function replay(uint256 seed) external {
        if (usedCalls.length == 0) return;
        refused(REGISTRAR, usedCalls[seed % usedCalls.length]);
    }

    function accepted(address caller, bytes memory call) private {
        vm.prank(caller);
        (bool done,) = address(registry).call(call);
        vm.assertTrue(done, "should be accepted");
    }

    function refused(address caller, bytes memory call) private {
        vm.prank(caller);
        (bool done,) = address(registry).call(call);
        vm.assertTrue(!done, "should be refused");
    }
}

contract DeviceRegistryInvariants is Fleet {
    LivingFleet private fleet;

    function setUp() public {
        fleet = new LivingFleet();
        registry = fleet.registryUnderTest();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(fleet);
    }

    function invariant_every_token_is_an_active_suspended_or_revoked_record() public view {
        uint256 total = fleet.deviceTotal();
        uint256 recorded = 0;
        for (uint256 i = 0; i < total; ++i) {
            if (registry.record(fleet.devices(i)).status != DeviceRegistry.Status.None) ++recorded;
        }
        uint256 held = 0;
        for (uint256 i = 0; i < fleet.OWNERS(); ++i) {
            held += registry.balanceOf(fleet.ownerAt(i));
        }
        vm.assertEq(registry.deviceCount(), total, "count");
        vm.assertEq(recorded, total, "records");
        vm.assertEq(held, total, "tokens");
    }

    function invariant_every_record_is_what_was_agreed() public view {
        for (uint256 i = 0; i < fleet.deviceTotal(); ++i) {
            address device = fleet.devices(i);
            LivingFleet.Expected memory e = fleet.expected(device);
            DeviceRegistry.Record memory stored = registry.record(device);
            vm.assertEq(uint256(stored.status), uint256(e.status), "status");
            vm.assertEq(stored.owner, e.owner, "owner");
            vm.assertEq(registry.ownerOf(uint160(device)), e.owner, "token owner");
            vm.assertEq(stored.nonce, e.nonce, "one nonce per accepted signature");
            vm.assertEq(stored.detailsHash, detailsHash(e.details), "details");
            vm.assertTrue(
                registry.isActive(device) == (e.status == DeviceRegistry.Status.Active), "active means active"
            );
        }
    }
}
