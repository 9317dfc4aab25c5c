// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What tests of the scheme `upto` put where public chains have the x402 Foundation's proxy
/// @notice No copy of that proxy: written from its public interface (selector, errors, witness), for tests of the Rust
/// side only. Permit2 is the real one. `settle` checks, in this order:
/// - the amount is within what the payer permitted (`AmountExceedsPermitted`);
/// - the caller is the facilitator that the payer named (`UnauthorizedFacilitator`);
/// - something is to be moved (`InvalidAmount`), by somebody (`InvalidOwner`), to somebody (`InvalidDestination`);
/// - the time has come (`PaymentTooEarly`);
/// - signature, nonce and deadline, all by Permit2, which moves the money.
contract UptoProxyStandIn {
    IPermit2 public constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    struct Witness {
        address to;
        address facilitator;
        uint256 validAfter;
    }

    bytes32 public constant WITNESS_TYPEHASH = keccak256("Witness(address to,address facilitator,uint256 validAfter)");

    event Settled();

    error AmountExceedsPermitted();
    error UnauthorizedFacilitator();
    error InvalidAmount();
    error InvalidOwner();
    error InvalidDestination();
    error PaymentTooEarly();

    function settle(
        IPermit2.PermitTransferFrom calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external {
        require(amount <= permit.permitted.amount, AmountExceedsPermitted());
        require(msg.sender == witness.facilitator, UnauthorizedFacilitator());
        require(amount != 0, InvalidAmount());
        require(owner != address(0), InvalidOwner());
        require(witness.to != address(0), InvalidDestination());
        require(block.timestamp >= witness.validAfter, PaymentTooEarly());
        PERMIT2.permitWitnessTransferFrom(
            permit,
            IPermit2.SignatureTransferDetails(witness.to, amount),
            owner,
            keccak256(abi.encode(WITNESS_TYPEHASH, witness)),
            "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)",
            signature
        );
        emit Settled();
    }
}

/// @notice What is used here of Uniswap's Permit2.
interface IPermit2 {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    function permitWitnessTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata details,
        address owner,
        bytes32 witness,
        string calldata witnessType,
        bytes calldata signature
    ) external;
}
