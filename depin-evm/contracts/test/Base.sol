// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @dev The cheat codes of forge that these tests use; npm's forge-std is older than most of them.
interface Vm {
    struct Wallet {
        address addr;
        uint256 publicKeyX;
        uint256 publicKeyY;
        uint256 privateKey;
    }

    struct Gas {
        uint64 gasLimit;
        uint64 gasTotalUsed;
        uint64 gasMemoryUsed;
        int64 gasRefunded;
        uint64 gasRemaining;
    }

    function addr(uint256 privateKey) external pure returns (address);
    function assertEq(address left, address right, string calldata what) external pure;
    function assertEq(bytes32 left, bytes32 right, string calldata what) external pure;
    function assertEq(string calldata left, string calldata right, string calldata what) external pure;
    function assertEq(uint256 left, uint256 right, string calldata what) external pure;
    function assertLe(uint256 left, uint256 right, string calldata what) external pure;
    function assertTrue(bool holds, string calldata what) external pure;
    function assume(bool holds) external pure;
    function chainId(uint256 id) external;
    function createWallet(uint256 privateKey) external returns (Wallet memory);
    function deal(address account, uint256 balance) external;
    function etch(address account, bytes calldata code) external;
    function expectEmit(address emitter) external;
    function expectPartialRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function expectRevert(bytes4 selector) external;
    function expectRevert() external;
    function lastCallGas() external view returns (Gas memory);
    function load(address account, bytes32 slot) external view returns (bytes32);
    function prank(address sender) external;
    function publicKeyP256(uint256 privateKey) external pure returns (uint256 x, uint256 y);
    function revertToState(uint256 snapshot) external returns (bool);
    function roll(uint256 blockNumber) external;
    function sign(uint256 privateKey, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function signP256(uint256 privateKey, bytes32 digest) external pure returns (bytes32 r, bytes32 s);
    function snapshotState() external returns (uint256);
    function snapshotValue(string calldata group, string calldata name, uint256 value) external;
    function store(address account, bytes32 slot, bytes32 value) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function toString(uint256 value) external pure returns (string memory);
    function warp(uint256 timestamp) external;
}

abstract contract Test {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev Order of secp256k1: a private key lies below it, and n - s is the other valid s.
    uint256 internal constant SECP256K1_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    /// @dev Order of P-256.
    uint256 internal constant P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;

    /// @dev `x` folded into [low, high].
    function bound(uint256 x, uint256 low, uint256 high) internal pure returns (uint256) {
        uint256 span = high - low;
        return span == type(uint256).max ? x : low + x % (span + 1);
    }

    /// @dev Calls as `caller`; a refusal must be for one of the errors in `expected`, selectors one after the other.
    function attempt(address caller, address target, bytes memory call, bytes memory expected)
        internal
        returns (bool done, bytes memory answer)
    {
        vm.prank(caller);
        (done, answer) = target.call(call);
        if (!done) onlyFor(answer, expected);
    }

    /// @dev `reason` begins with one of the selectors in `expected`: no panic, and nothing that nobody thought of.
    function onlyFor(bytes memory reason, bytes memory expected) internal pure {
        for (uint256 i = 0; i < expected.length; i += 4) {
            bool same = reason.length >= 4;
            for (uint256 j = 0; same && j < 4; ++j) {
                same = reason[j] == expected[i + j];
            }
            if (same) return;
        }
        vm.assertEq(bytes32(bytes4(reason)), bytes32(bytes4(expected)), "refused for another reason");
    }

    function keyFrom(uint256 seed) internal pure returns (uint256) {
        return bound(seed, 1, SECP256K1_N - 1);
    }

    function packed(uint8 v, bytes32 r, bytes32 s) internal pure returns (bytes memory) {
        return abi.encodePacked(r, s, v);
    }

    /// @dev EIP-712, written out so that the contracts are not checked against their own code.
    function typedDigest(string memory name, address verifyingContract, bytes32 structHash)
        internal
        view
        returns (bytes32)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                block.chainid,
                verifyingContract
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }
}
