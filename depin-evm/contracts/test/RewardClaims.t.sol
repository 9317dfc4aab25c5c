// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {BitmapDistributor} from "../src/BitmapDistributor.sol";
import {DeviceAccount} from "../src/DeviceAccount.sol";
import {NetworkToken} from "../src/NetworkToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {EpochRoots, RootRules, TokenSource} from "../src/rewards/EpochRoots.sol";
import {ProofPath} from "../src/rewards/ProofPath.sol";
import {Registration} from "../src/registry/Actions.sol";
import {Fleet} from "./Fleet.sol";
import {RewardTree} from "./RewardTree.sol";

/// @dev Claims to others, by signature, and by bitmap.
contract RewardClaimsTest is Fleet {
    address private constant BOB = address(0xB0B);
    bytes32[] private none;

    NetworkToken private token;
    RewardDistributor private distributor;

    function setUp() public {
        deployRegistry();
        token = new NetworkToken("Weather", "WTR", 1e24, address(this));
        distributor = new RewardDistributor(token, TokenSource(address(token)), RootRules(0, 0, 0, 0), address(this));
        token.grantRole(token.MINTER_ROLE(), address(distributor));
        distributor.grantRole(distributor.PUBLISHER_ROLE(), address(this));
    }

    function testFuzz_a_proof_leads_where_openzeppelin_says(bytes32[] calldata proof, bytes32 leaf) public pure {
        vm.assertEq(ProofPath.root(proof, leaf), MerkleProof.processProofCalldata(proof, leaf), "root");
    }

    function test_the_owner_has_the_account_of_his_device_paid_to_himself() public {
        address account = accountOfDevice();
        publish(account, 100);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NotCommander.selector, account, STRANGER));
        vm.prank(STRANGER);
        distributor.claimTo(account, 100, none, STRANGER);
        vm.expectEmit(address(distributor));
        emit RewardDistributor.ClaimedTo(account, OWNER, 100);
        vm.prank(OWNER);
        vm.assertEq(distributor.claimTo(account, 100, none, OWNER), 100, "amount");
        vm.assertEq(token.balanceOf(OWNER), 100, "paid");
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingToClaim.selector, account, 100));
        distributor.claim(account, 100, none);
    }

    function testFuzz_who_claims_first_only_pays_the_account(address first) public {
        address account = accountOfDevice();
        publish(account, 100);
        vm.prank(first);
        distributor.claim(account, 100, none);
        bytes memory refusal = abi.encodeWithSelector(RewardDistributor.NothingToClaim.selector, account, 100);
        vm.expectRevert(refusal);
        vm.prank(OWNER);
        distributor.claimTo(account, 100, none, OWNER);
        vm.assertEq(token.balanceOf(account), 100, "it is where the owner commands");
        vm.prank(OWNER);
        DeviceAccount(payable(account)).execute(address(token), 0, abi.encodeCall(token.transfer, (OWNER, 100)), 0);
        vm.assertEq(token.balanceOf(OWNER), 100, "and takes it");
    }

    function testFuzz_who_claims_before_a_signed_claim_only_pays_the_account(uint256 seed, address first) public {
        uint256 key = keyFrom(seed);
        address account = vm.addr(key);
        publish(account, 100);
        vm.prank(first);
        distributor.claim(account, 100, none);
        bytes memory signature = sign(key, claimDigest(account, 100, BOB, DEADLINE));
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingToClaim.selector, account, 100));
        distributor.claimBySignature(account, 100, none, BOB, DEADLINE, signature);
        vm.assertEq(token.balanceOf(account), 100, "paid to him who earned it");
    }

    function test_a_key_that_delegated_to_code_signs_claims() public {
        address account = vm.addr(7);
        publish(account, 10);
        // Code that knows no ERC-1271.
        vm.etch(account, address(token).code);
        bytes memory signature = sign(7, claimDigest(account, 10, BOB, DEADLINE));
        distributor.claimBySignature(account, 10, none, BOB, DEADLINE, signature);
        vm.assertEq(token.balanceOf(BOB), 10, "paid");
    }

    function testFuzz_nobody_commands_a_key_or_another_contract(address account, address caller) public {
        vm.assume(caller != account && account != address(vm) && uint160(account) > 0xFF);
        if (account.code.length == 0) publish(account, 5);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NotCommander.selector, account, caller));
        vm.prank(caller);
        distributor.claimTo(account, 5, none, caller);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NotCommander.selector, address(token), caller));
        vm.prank(caller);
        distributor.claimTo(address(token), 5, none, caller);
    }

    function testFuzz_a_key_claims_to_anybody(uint256 seed, address to) public {
        vm.assume(to != address(0) && to != address(distributor) && to != address(token));
        address account = vm.addr(keyFrom(seed));
        publish(account, 7);
        vm.prank(account);
        distributor.claimTo(account, 7, none, to);
        vm.assertEq(token.balanceOf(to), 7, "paid");
    }

    function test_nobody_claims_to_where_tokens_are_lost() public {
        address account = vm.addr(7);
        publish(account, 10);
        address[3] memory lost = [address(distributor), address(token), address(0)];
        for (uint256 i = 0; i < lost.length; ++i) {
            bytes memory refusal = abi.encodeWithSelector(EpochRoots.InvalidRecipient.selector, lost[i]);
            vm.expectRevert(refusal);
            vm.prank(account);
            distributor.claimTo(account, 10, none, lost[i]);
            bytes memory signature = sign(7, claimDigest(account, 10, lost[i], DEADLINE));
            vm.expectRevert(refusal);
            distributor.claimBySignature(account, 10, none, lost[i], DEADLINE, signature);
        }
        vm.assertEq(distributor.claim(account, 10, none), 10, "nothing is gone");
    }

    function test_a_leaf_that_would_lose_tokens_pays_nothing_and_spoils_nothing() public {
        address[3] memory lost = [address(distributor), address(token), address(0)];
        uint64 epoch = 0;
        for (uint256 i = 0; i < lost.length; ++i) {
            RewardTree.Leaf[] memory leaves = new RewardTree.Leaf[](2);
            (leaves[0], leaves[1]) = (RewardTree.Leaf(lost[i], 5), RewardTree.Leaf(BOB, 10 * (i + 1)));
            bytes32[] memory nodes = RewardTree.build(leaves);
            distributor.publish(epoch++, nodes[0], 15 * (i + 1), 0);
            bytes32[] memory proof = RewardTree.proof(nodes, leaves[0]);
            vm.expectRevert(abi.encodeWithSelector(EpochRoots.InvalidRecipient.selector, lost[i]));
            distributor.claim(lost[i], 5, proof);
            RewardDistributor.Claim[] memory claims = new RewardDistributor.Claim[](2);
            claims[0] = RewardDistributor.Claim(lost[i], 5, proof);
            claims[1] = RewardDistributor.Claim(BOB, 10 * (i + 1), RewardTree.proof(nodes, leaves[1]));
            vm.assertEq(distributor.claimMany(claims), 10, "the other one is paid");
            vm.assertEq(distributor.claimed(lost[i]), 0, "and this one is not");
        }
    }

    function test_the_bitmap_pays_nobody_who_would_lose_it() public {
        BitmapDistributor bitmap = deployBitmap();
        address[3] memory lost = [address(bitmap), address(token), address(0)];
        for (uint64 i = 0; i < lost.length; ++i) {
            bitmap.publish(i, bitmapLeaf(0, lost[i], 4), 4, 0);
            vm.expectRevert(abi.encodeWithSelector(EpochRoots.InvalidRecipient.selector, lost[i]));
            bitmap.claim(i, 0, lost[i], 4, none);
            BitmapDistributor.Claim[] memory claims = new BitmapDistributor.Claim[](1);
            claims[0] = BitmapDistributor.Claim(i, 0, lost[i], 4, none);
            vm.assertEq(bitmap.claimMany(claims), 0, "skipped");
            vm.assertTrue(!bitmap.isClaimed(i, 0), "not paid");
        }
    }

    function testFuzz_a_signed_claim_is_sent_by_anybody_once(uint256 seed, address relayer, uint256 cumulative) public {
        uint256 key = keyFrom(seed);
        address account = vm.addr(key);
        cumulative = bound(cumulative, 1, 1e20);
        publish(account, cumulative);
        bytes memory signature = sign(key, claimDigest(account, cumulative, BOB, DEADLINE));
        vm.prank(relayer);
        distributor.claimBySignature(account, cumulative, none, BOB, DEADLINE, signature);
        vm.assertEq(token.balanceOf(BOB), cumulative, "paid");
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingToClaim.selector, account, cumulative));
        distributor.claimBySignature(account, cumulative, none, BOB, DEADLINE, signature);
    }

    function test_a_used_signature_does_not_serve_a_later_epoch() public {
        address account = vm.addr(7);
        publish(account, 10);
        bytes memory signature = sign(7, claimDigest(account, 10, BOB, DEADLINE));
        distributor.claimBySignature(account, 10, none, BOB, DEADLINE, signature);
        distributor.publish(1, RewardTree.leafHash(RewardTree.Leaf(account, 30)), 30, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidSignature.selector, account));
        distributor.claimBySignature(account, 30, none, BOB, DEADLINE, signature);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidProof.selector, account, 10));
        distributor.claimBySignature(account, 10, none, BOB, DEADLINE, signature);
    }

    function test_a_signed_claim_binds_its_arguments_chain_and_contract() public {
        address account = vm.addr(7);
        publish(account, 10);
        bytes memory signature = sign(7, claimDigest(account, 10, BOB, DEADLINE));
        bytes memory refusal = abi.encodeWithSelector(RewardDistributor.InvalidSignature.selector, account);
        vm.expectRevert(refusal);
        distributor.claimBySignature(account, 10, none, STRANGER, DEADLINE, signature);
        vm.expectRevert(refusal);
        distributor.claimBySignature(account, 11, none, BOB, DEADLINE, signature);
        vm.expectRevert(refusal);
        distributor.claimBySignature(account, 10, none, BOB, DEADLINE + 1, signature);
        RewardDistributor other =
            new RewardDistributor(token, TokenSource(address(token)), RootRules(0, 0, 0, 0), address(this));
        vm.expectRevert(refusal);
        other.claimBySignature(account, 10, none, BOB, DEADLINE, signature);
        vm.chainId(4689);
        vm.expectRevert(refusal);
        distributor.claimBySignature(account, 10, none, BOB, DEADLINE, signature);
    }

    function test_a_malleated_or_late_signature_is_refused() public {
        address account = vm.addr(7);
        publish(account, 10);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(7, claimDigest(account, 10, BOB, DEADLINE));
        bytes memory twin = packed(v == 27 ? 28 : 27, r, bytes32(SECP256K1_N - uint256(s)));
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.InvalidSignature.selector, account));
        distributor.claimBySignature(account, 10, none, BOB, DEADLINE, twin);
        vm.warp(DEADLINE + 1);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.SignatureExpired.selector, DEADLINE));
        distributor.claimBySignature(account, 10, none, BOB, DEADLINE, packed(v, r, s));
    }

    function test_the_owner_signs_for_the_account_of_his_device() public {
        address account = accountOfDevice();
        publish(account, 100);
        bytes32 claim = claimDigest(account, 100, BOB, DEADLINE);
        bytes32 message = keccak256(abi.encode(keccak256("AccountMessage(bytes32 hash)"), claim));
        bytes memory signature = sign(FLEET_OWNER_KEY, typedDigest("DeviceAccount", account, message));
        distributor.claimBySignature(account, 100, none, BOB, DEADLINE, signature);
        vm.assertEq(token.balanceOf(BOB), 100, "paid");
    }

    function test_the_bitmap_pays_every_index_of_every_epoch_once() public {
        BitmapDistributor bitmap = deployBitmap();
        for (uint64 epoch = 0; epoch < 2; ++epoch) {
            bitmap.publish(epoch, bitmapLeaf(300, BOB, 10), 10, 0);
        }
        for (uint64 epoch = 0; epoch < 2; ++epoch) {
            vm.assertTrue(!bitmap.isClaimed(epoch, 300), "not yet");
            bitmap.claim(epoch, 300, BOB, 10, none);
            vm.assertTrue(bitmap.isClaimed(epoch, 300), "claimed");
            vm.expectRevert(abi.encodeWithSelector(BitmapDistributor.AlreadyClaimed.selector, epoch, 300));
            bitmap.claim(epoch, 300, BOB, 10, none);
        }
        vm.assertEq(token.balanceOf(BOB), 20, "paid");
    }

    function testFuzz_the_bitmap_refuses_another_leaf(uint256 index, address account, uint256 amount) public {
        BitmapDistributor bitmap = deployBitmap();
        bitmap.publish(5, bitmapLeaf(1, BOB, 10), 10, 0);
        vm.assume(index != 1 || account != BOB || amount != 10);
        vm.expectRevert(
            abi.encodeWithSelector(BitmapDistributor.InvalidProof.selector, uint64(5), index, account, amount)
        );
        bitmap.claim(5, index, account, amount, none);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.UnknownEpoch.selector, 4));
        bitmap.claim(4, 1, BOB, 10, none);
        bitmap.grantRole(bitmap.GUARDIAN_ROLE(), address(this));
        bitmap.pause();
        vm.expectRevert(EpochRoots.IsPaused.selector);
        bitmap.claim(5, 1, BOB, 10, none);
    }

    function test_two_publications_of_the_bitmap_emit_the_rows_of_both() public {
        BitmapDistributor bitmap = deployBitmap();
        // Neither of two publishers saw the other's.
        bitmap.publish(0, bitmapLeaf(0, BOB, 15), 15, 0);
        bitmap.publish(1, bitmapLeaf(0, BOB, 3), 3, 0);
        bytes32[] memory none = new bytes32[](0);
        bitmap.claim(1, 0, BOB, 3, none);
        bitmap.claim(0, 0, BOB, 15, none);
        vm.assertEq(bitmap.cumulativeTotal(), 18, "the sum of both");
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 128, type(uint256).max));
        bitmap.publish(2, bitmapLeaf(0, BOB, 3), type(uint256).max, 0);
    }

    function test_the_bitmap_skips_the_paid_of_many() public {
        BitmapDistributor bitmap = deployBitmap();
        bitmap.publish(0, bitmapLeaf(0, BOB, 4), 4, 0);
        bitmap.publish(1, bitmapLeaf(9, STRANGER, 6), 6, 0);
        bitmap.claim(0, 0, BOB, 4, none);
        BitmapDistributor.Claim[] memory claims = new BitmapDistributor.Claim[](3);
        claims[0] = BitmapDistributor.Claim(0, 0, BOB, 4, none);
        claims[1] = BitmapDistributor.Claim(1, 9, STRANGER, 6, none);
        claims[2] = claims[1];
        vm.assertEq(bitmap.claimMany(claims), 6, "paid now");
        vm.assertEq(token.balanceOf(STRANGER), 6, "once");
    }

    function test_a_pending_epoch_of_the_bitmap_is_not_claimed() public {
        BitmapDistributor bitmap =
            new BitmapDistributor(token, TokenSource(address(token)), RootRules(1 days, 1, 0, 0), address(this));
        bitmap.grantRole(bitmap.PUBLISHER_ROLE(), address(this));
        bitmap.publish(0, bitmapLeaf(0, BOB, 4), 4, 0);
        vm.expectRevert(abi.encodeWithSelector(EpochRoots.UnknownEpoch.selector, 0));
        bitmap.claim(0, 0, BOB, 4, none);
    }

    function deployBitmap() private returns (BitmapDistributor bitmap) {
        bitmap = new BitmapDistributor(token, TokenSource(address(token)), RootRules(0, 0, 0, 0), address(this));
        token.grantRole(token.MINTER_ROLE(), address(bitmap));
        bitmap.grantRole(bitmap.PUBLISHER_ROLE(), address(this));
    }

    function bitmapLeaf(uint256 index, address account, uint256 amount) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(index, account, amount))));
    }

    function accountOfDevice() private returns (address account) {
        Registration memory r = enroll(1);
        account = registry.accountOf(r.device);
        vm.assertTrue(account.code.length != 0, "the account is there");
    }

    function publish(address account, uint256 cumulative) private {
        distributor.publish(0, RewardTree.leafHash(RewardTree.Leaf(account, cumulative)), cumulative, 0);
    }

    function claimDigest(address account, uint256 cumulative, address to, uint256 deadline)
        private
        view
        returns (bytes32)
    {
        bytes32 typeHash = keccak256("Claim(address account,uint256 cumulative,address to,uint256 deadline)");
        bytes32 structHash = keccak256(abi.encode(typeHash, account, cumulative, to, deadline));
        return typedDigest("RewardDistributor", address(distributor), structHash);
    }
}
