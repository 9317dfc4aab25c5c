// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {DocumentUpdate, OwnershipTransfer, Registration, Rotation} from "../src/registry/Actions.sol";
import {Details, Signature} from "../src/registry/Details.sol";
import {Fleet} from "./Fleet.sol";

/// @dev What whole transactions cost, with the 21,000 and the calldata: each call below is one of its own (isolate).
/// The figures go to snapshots/Gas.json, which is checked in and compared.
/// forge-config: default.isolate = true
contract GasTest is Fleet {
    address private constant ALICE = address(uint160(uint256(keccak256("alice"))));

    function setUp() public {
        deployRegistry();
    }

    function test_gas_of_registration() public {
        enroll(1);
        note("register with account, first device of the owner");
        enroll(2);
        note("register with account, next device of the owner");

        uint256 p256 = 3;
        Registration memory r = p256Device(p256);
        Signature memory signature = signP256(p256, digestOf(r));
        vm.prank(REGISTRAR);
        registry.register(r, signature);
        note("register P-256 with account, no precompile");
    }

    /// @dev The precompile came to Ethereum with Osaka (EIP-7951), at the address and with the input of RIP-7212.
    /// forge-config: default.evm_version = "osaka"
    function test_gas_of_p256_with_the_precompile() public {
        uint256 p256 = 3;
        enroll(1);
        Registration memory r = p256Device(p256);
        Signature memory signature = signP256(p256, digestOf(r));
        vm.prank(REGISTRAR);
        registry.register(r, signature);
        note("register P-256 with account, precompile");
    }

    function test_gas_of_a_batch() public {
        enroll(1);
        address device = batch(0xBA7C4, true);
        vm.snapshotValue("Gas", "register, each of a batch of 50, no account, URI", vm.lastCallGas().gasTotalUsed / 50);
        registry.createAccount(device);
        note("create account");
        batch(0xFEED5, false);
        vm.snapshotValue(
            "Gas", "register, each of a batch of 50, no account, no URI", vm.lastCallGas().gasTotalUsed / 50
        );
    }

    /// @dev Registers 50 devices, with a document somewhere or with the one that derives from the key.
    function batch(uint256 seed, bool documents) private returns (address device) {
        Details[] memory devices = new Details[](50);
        Signature[] memory signatures = new Signature[](50);
        for (uint256 i = 0; i < devices.length; ++i) {
            Registration memory r = secp256k1Device(seed + i);
            if (!documents) (r.details.documentHash, r.details.documentURI) = (0, "");
            (devices[i], signatures[i]) = (r.details, signShort(seed + i, digestOf(r)));
            device = r.device;
        }
        vm.prank(REGISTRAR);
        registry.registerBatch(OWNER, devices, signatures, DEADLINE);
    }

    function test_gas_of_rotation() public {
        Registration memory r = enrollWithNext(1, 2);
        Rotation memory rotation = rotationTo(r.device, 2, nextKeyHash(3), 0);
        registry.rotate(rotation, 0, r.details, signShort(2, digestOf(rotation)));
        note("rotate key");
    }

    function test_gas_of_a_signed_transfer() public {
        Registration memory r = enroll(1);
        OwnershipTransfer memory t = OwnershipTransfer(r.device, OWNER, ALICE, 0, DEADLINE);
        registry.transferWithSignature(t, sign(FLEET_OWNER_KEY, digestOf(t)));
        note("transfer with signature to a new owner");
    }

    function test_gas_of_a_devices_life() public {
        Registration memory r = enroll(1);
        DocumentUpdate memory u = updateOf(r.device, 0);
        Signature memory signature = signShort(1, digestOf(u));
        registry.updateDocument(u, r.details, signature);
        note("update document");
        vm.prank(REGISTRAR);
        registry.suspend(r.device);
        note("suspend");
        vm.prank(OWNER);
        registry.transferFrom(OWNER, ALICE, uint160(r.device));
        note("transfer device to a new owner");
        vm.prank(ALICE);
        registry.revoke(r.device);
        note("revoke");
    }

    function note(string memory what) private {
        vm.snapshotValue("Gas", what, vm.lastCallGas().gasTotalUsed);
    }
}
