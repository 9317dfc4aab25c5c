// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {DeviceRegistry} from "../src/DeviceRegistry.sol";
import {DocumentUpdate, OwnershipTransfer, Registration, Rotation} from "../src/registry/Actions.sol";
import {Details, Signature} from "../src/registry/Details.sol";
import {Delegations} from "../src/registry/Delegations.sol";
import {DeviceTokens, Record, Status} from "../src/registry/DeviceTokens.sol";
import {Fleet} from "./Fleet.sol";

/// @dev A small fleet that lives: it registers, changes documents, is suspended and sold, while somebody offers every
/// signature that was ever made to every function that takes one.
contract LivingFleet is Fleet {
    uint256 public constant KEYS = 6;
    uint256 public constant OWNERS = 4;

    /// @dev `live` is the key in the details, `next` the one they commit to.
    struct Expected {
        Status status;
        address owner;
        uint256 generation;
        uint256 version;
        uint256 live;
        uint256 next;
        Details details;
    }

    address[] public devices;
    mapping(address owner => uint256 key) private ownerKeys;
    uint256 private keysMade = 0xF1EE7;
    mapping(address device => Expected expected) private expectations;
    bytes[] private usedCalls;

    constructor() {
        deployRegistry();
        for (uint256 i = 0; i < OWNERS; ++i) {
            ownerKeys[ownerAt(i)] = 0x0E0000 + i;
        }
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
        return vm.addr(0x0E0000 + i % OWNERS);
    }

    function register(uint256 seed, bool batched) external {
        if (devices.length == KEYS) return;
        (uint256 live, uint256 next) = (keysMade++, keysMade++);
        Registration memory r = secp256k1Device(live);
        r.owner = ownerAt(seed);
        r.details.documentHash = bytes32(seed);
        r.details.nextKeyHash = nextKeyHash(next);
        Signature memory signature = signShort(live, digestOf(r));
        bytes memory call = abi.encodeCall(DeviceRegistry.register, (r, signature));
        if (batched) {
            Details[] memory batch = new Details[](1);
            Signature[] memory signatures = new Signature[](1);
            (batch[0], signatures[0]) = (r.details, signature);
            call = abi.encodeCall(DeviceRegistry.registerBatch, (r.owner, batch, signatures, r.deadline));
        }
        accepted(REGISTRAR, call);
        devices.push(r.device);
        expectations[r.device] = Expected(Status.Active, r.owner, 0, 0, live, next, r.details);
        // The same hardware with a new key.
        Registration memory twin = secp256k1Device(keysMade++);
        twin.details.nullifier = r.details.nullifier;
        signature = signShort(keysMade - 1, digestOf(twin));
        refused(
            REGISTRAR,
            abi.encodeCall(DeviceRegistry.register, (twin, signature)),
            abi.encodePacked(DeviceTokens.HardwareAlreadyRegistered.selector)
        );
    }

    function update(uint256 seed) external {
        if (devices.length == 0) return;
        address device = devices[seed % devices.length];
        Expected storage e = expectations[device];
        DocumentUpdate memory u = updateOf(device, e.version);
        u.documentHash = keccak256(abi.encode(seed));
        Signature memory signature = signShort(e.live, digestOf(u));
        bytes memory call = abi.encodeCall(DeviceRegistry.updateDocument, (u, e.details, signature));
        if (e.status != Status.Active) {
            return refused(STRANGER, call, abi.encodePacked(DeviceTokens.InvalidStatus.selector));
        }
        // The next key has no say before its time.
        Signature memory early = signShort(e.next, digestOf(u));
        refused(
            STRANGER,
            abi.encodeCall(DeviceRegistry.updateDocument, (u, e.details, early)),
            abi.encodePacked(Delegations.InvalidDeviceSignature.selector)
        );
        accepted(STRANGER, call);
        ++e.version;
        e.details.documentHash = u.documentHash;
        e.details.documentURI = u.documentURI;
        // The same signature over what are the current details now.
        refused(
            STRANGER,
            abi.encodeCall(DeviceRegistry.updateDocument, (u, e.details, signature)),
            abi.encodePacked(DeviceTokens.DetailsMismatch.selector)
        );
    }

    function rotate(uint256 seed) external {
        if (devices.length == 0) return;
        address device = devices[seed % devices.length];
        Expected storage e = expectations[device];
        uint256 following = keysMade++;
        // Whoever has the live key tries first.
        Rotation memory theft = rotationTo(device, e.live, nextKeyHash(following), e.generation);
        Signature memory signature = signShort(e.live, digestOf(theft));
        refused(
            STRANGER,
            abi.encodeCall(DeviceRegistry.rotate, (theft, e.version, e.details, signature)),
            abi.encodePacked(DeviceRegistry.NotTheNextKey.selector, DeviceTokens.InvalidStatus.selector)
        );

        Rotation memory r = rotationTo(device, e.next, nextKeyHash(following), e.generation);
        signature = signShort(e.live, digestOf(r));
        refused(
            STRANGER,
            abi.encodeCall(DeviceRegistry.rotate, (r, e.version, e.details, signature)),
            abi.encodePacked(Delegations.InvalidDeviceSignature.selector, DeviceTokens.InvalidStatus.selector)
        );
        signature = signShort(e.next, digestOf(r));
        bytes memory call = abi.encodeCall(DeviceRegistry.rotate, (r, e.version, e.details, signature));
        if (e.status == Status.Revoked) {
            return refused(STRANGER, call, abi.encodePacked(DeviceTokens.InvalidStatus.selector));
        }
        accepted(STRANGER, call);
        e.details = rotated(e.details, r);
        (e.live, e.next) = (e.next, following);
        ++e.version;
        ++e.generation;
        refused(
            STRANGER,
            abi.encodeCall(DeviceRegistry.rotate, (r, e.version, e.details, signature)),
            abi.encodePacked(Delegations.InvalidNonce.selector)
        );
    }

    function transferSigned(uint256 seed, uint256 to) external {
        if (devices.length == 0) return;
        address device = devices[seed % devices.length];
        Expected storage e = expectations[device];
        OwnershipTransfer memory t = OwnershipTransfer(device, e.owner, ownerAt(to), e.generation, DEADLINE);
        // Neither key of the device is its owner's.
        bytes memory signature = sign(e.live, digestOf(t));
        refused(
            STRANGER,
            abi.encodeCall(DeviceRegistry.transferWithSignature, (t, signature)),
            abi.encodePacked(Delegations.InvalidSignature.selector)
        );
        signature = sign(ownerKeys[e.owner], digestOf(t));
        accepted(STRANGER, abi.encodeCall(DeviceRegistry.transferWithSignature, (t, signature)));
        e.owner = t.to;
        ++e.generation;
    }

    function changeStatus(uint256 seed, uint256 which) external {
        if (devices.length == 0) return;
        address device = devices[seed % devices.length];
        Expected storage e = expectations[device];
        if (which % 3 == 0) {
            bytes memory call = abi.encodeCall(DeviceRegistry.suspend, (device));
            if (e.status != Status.Active) {
                return refused(REGISTRAR, call, abi.encodePacked(DeviceTokens.InvalidStatus.selector));
            }
            accepted(REGISTRAR, call);
            e.status = Status.Suspended;
        } else if (which % 3 == 1) {
            bytes memory call = abi.encodeCall(DeviceRegistry.resume, (device));
            if (e.status != Status.Suspended) {
                return refused(REGISTRAR, call, abi.encodePacked(DeviceTokens.InvalidStatus.selector));
            }
            accepted(REGISTRAR, call);
            e.status = Status.Active;
        } else if (which % 9 == 2) {
            bytes memory call = abi.encodeCall(DeviceRegistry.revoke, (device));
            if (e.status == Status.Revoked) {
                return refused(e.owner, call, abi.encodePacked(DeviceTokens.InvalidStatus.selector));
            }
            accepted(e.owner, call);
            e.status = Status.Revoked;
        }
    }

    function transfer(uint256 seed, uint256 to) external {
        if (devices.length == 0) return;
        address device = devices[seed % devices.length];
        Expected storage e = expectations[device];
        bytes memory call =
            abi.encodeWithSignature("transferFrom(address,address,uint256)", e.owner, ownerAt(to), uint160(device));
        refused(STRANGER, call, abi.encodePacked(IERC721Errors.ERC721InsufficientApproval.selector));
        accepted(e.owner, call);
        e.owner = ownerAt(to);
        ++e.generation;
    }

    function replay(uint256 seed) external {
        if (usedCalls.length == 0) return;
        bytes memory call = usedCalls[seed % usedCalls.length];
        // What nobody signed, but the caller's own authority allowed, may be repeated; signatures never.
        bytes4 selector = bytes4(call);
        if (selector == DeviceRegistry.suspend.selector || selector == DeviceRegistry.resume.selector) return;
        refused(
            REGISTRAR,
            call,
            abi.encodePacked(
                DeviceTokens.AlreadyRegistered.selector,
                DeviceTokens.DetailsMismatch.selector,
                Delegations.InvalidNonce.selector,
                DeviceTokens.InvalidStatus.selector,
                IERC721Errors.ERC721InsufficientApproval.selector,
                IERC721Errors.ERC721IncorrectOwner.selector
            )
        );
    }

    function accepted(address caller, bytes memory call) private {
        vm.prank(caller);
        (bool done,) = address(registry).call(call);
        vm.assertTrue(done, "should be accepted");
        usedCalls.push(call);
    }

    function refused(address caller, bytes memory call, bytes memory errors) private {
        (bool done,) = attempt(caller, address(registry), call, errors);
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
            if (registry.record(fleet.devices(i)).status != Status.None) ++recorded;
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
            Record memory stored = registry.record(device);
            vm.assertEq(uint256(stored.status), uint256(e.status), "status");
            vm.assertEq(stored.owner, e.owner, "owner");
            vm.assertEq(registry.ownerOf(uint160(device)), e.owner, "token owner");
            vm.assertEq(stored.generation, e.generation, "one generation per change of control");
            bytes32 committed = registry.commitment(device, e.details.nullifier);
            vm.assertEq(committed, commitmentOf(device, e.version, e.details), "details");
            vm.assertTrue(registry.isActive(device) == (e.status == Status.Active), "active means active");
        }
    }
}
