// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Pulls} from "./services/Pulls.sol";
import {Signers} from "./Signers.sol";

/// @title Channels for metered services: any number of requests, one settlement
/// @notice A payer deposits once and hands out signed vouchers, each for all that a lane has cost so far. The payee
/// settles the last one whenever he likes.
/// @dev A channel is its terms: they come with every call and their hash is its id, so that a settlement reads one
/// word of storage. `deposited` is what lane 0 can reach, so what other lanes were paid is taken off it.
///
/// Any ERC-20 that keeps balances until they are moved works: deposits count as what arrived, so a token that takes a
/// fee is charged to who deposits, and payouts of such a token arrive with its fee taken off. Tokens whose balances
/// change by themselves must not be used.
contract PaymentChannel is EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice Type of what the signer signs. `channelId` is `laneId` of the lane.
    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint256 cumulativeAmount)");
    /// @notice Shortest time that a payee has to settle once the payer asks to close.
    uint32 public constant SHORTEST_CHALLENGE = 1 hours;
    /// @notice `closesAt` of a channel that is closed for ever.
    uint40 public constant CLOSED = type(uint40).max;

    /// @notice What a channel is about. `signer` signs the vouchers: the payer, or a key or contract that he names.
    /// `challenge` is the time in seconds that the payee has once the payer asks to close.
    struct Terms {
        address payer;
        address payee;
        address token;
        address signer;
        uint32 challenge;
        bytes32 salt;
    }

    /// @notice One settlement of `settleMany`.
    struct Settlement {
        Terms terms;
        uint256 lane;
        uint256 cumulativeAmount;
        bytes signature;
    }

    /// @dev One storage word.
    struct Funds {
        uint104 deposited;
        uint104 settled;
        uint40 closesAt;
        bool opened;
    }

    mapping(bytes32 channelId => Funds) private _funds;
    /// @dev What lanes other than 0 were paid, by the id of the lane.
    mapping(bytes32 laneId => uint256 amount) private _laneSettled;

    /// @notice The first deposit: here are the terms.
    event Opened(bytes32 indexed channelId, address indexed payer, address indexed payee, Terms terms);
    /// @notice `amount` arrived for the channel.
    event Deposited(bytes32 indexed channelId, uint256 amount);
    /// @notice The payee was paid `amount` for `lane`, which has now cost `cumulativeAmount`.
    event Settled(bytes32 indexed channelId, uint256 indexed lane, uint256 amount, uint256 cumulativeAmount);
    /// @notice The payer asked to close; vouchers settle until `closesAt` and as long after it as nobody closes.
    event CloseRequested(bytes32 indexed channelId, uint256 closesAt);
    /// @notice The channel is closed for ever and the payer got back `refund`.
    event Closed(bytes32 indexed channelId, uint256 refund);

    /// @notice The payee would have too little time to settle.
    error ChallengeTooShort(uint32 challenge, uint32 shortest);
    /// @notice Nothing of the token arrived.
    error NothingDeposited();
    /// @notice The channel is closing or closed; open another one with another salt.
    error ChannelClosing(bytes32 channelId, uint256 closesAt);
    /// @notice Nothing was ever deposited under these terms, or the channel is closed.
    error ChannelNotOpen(bytes32 channelId);
    /// @notice The signature is not the signer's over this voucher in this contract on this chain.
    error InvalidVoucher(bytes32 laneId, uint256 cumulativeAmount);
    /// @notice The lane was paid this much already, or the deposit is used up.
    error NothingToSettle(bytes32 laneId, uint256 settled);
    /// @notice Only the payer asks to close.
    error NotPayer(address caller);
    /// @notice Before the challenge is over only the payee closes.
    error CloseTooEarly(bytes32 channelId, uint256 closesAt);

    constructor() EIP712("DepinChannel", "1") {}

    /// @notice Opens a channel, or tops it up. Takes `amount` from the caller's allowance, whoever he is; what is left
    /// at the end goes to the payer.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); the challenge is not too short
    /// (`ChallengeTooShort`); the channel is not closing (`ChannelClosing`); something arrived (`NothingDeposited`;
    /// also for a token that is no contract, `SafeERC20FailedOperation`); the sum fits 104 bits
    /// (`SafeCastOverflowedUintDowncast`).
    /// @return channelId The hash of the terms.
    function deposit(Terms calldata terms, uint256 amount) external nonReentrant returns (bytes32 channelId) {
        require(terms.challenge >= SHORTEST_CHALLENGE, ChallengeTooShort(terms.challenge, SHORTEST_CHALLENGE));
        channelId = idOf(terms);
        Funds storage funds = _funds[channelId];
        require(funds.closesAt == 0, ChannelClosing(channelId, funds.closesAt));
        amount = Pulls.pull(IERC20(terms.token), msg.sender, amount);
        require(amount != 0, NothingDeposited());
        if (!funds.opened) emit Opened(channelId, terms.payer, terms.payee, terms);
        funds.opened = true;
        funds.deposited = SafeCast.toUint104(funds.deposited + amount);
        emit Deposited(channelId, amount);
    }

    /// @notice Pays the payee what the voucher grants beyond what the lane was paid before; when the deposit is too
    /// small, all of it, and the rest after a top-up. Anybody may call.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); the channel is open
    /// (`ChannelNotOpen`); the signature is the signer's, of a key or by ERC-1271 (`InvalidVoucher`); there is
    /// something to pay (`NothingToSettle`), so no voucher pays twice or less than the one before.
    /// @return amount What was paid now.
    function settle(Terms calldata terms, uint256 lane, uint256 cumulativeAmount, bytes calldata signature)
        external
        nonReentrant
        returns (uint256 amount)
    {
        bytes32 channelId = idOf(terms);
        Funds memory funds = _funds[channelId];
        require(_isOpen(funds), ChannelNotOpen(channelId));
        bytes32 id = laneId(channelId, lane);
        require(
            Signers.signed(terms.signer, _digest(id, cumulativeAmount), signature), InvalidVoucher(id, cumulativeAmount)
        );
        amount = _settle(channelId, funds, terms, lane, cumulativeAmount);
        if (amount == 0) {
            revert NothingToSettle(id, lane == 0 ? _funds[channelId].settled : _laneSettled[id]);
        }
    }

    /// @notice Settles many vouchers, of any channels. One that grants nothing more, of a channel that is not open or
    /// that is not signed, is skipped and paid 0, so that nobody can spoil the call by settling or closing first, nor a
    /// signer by a contract that burns gas: its check gets 700,000, and what needs more goes through `settle`.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); only those of the tokens, and
    /// that a check by ERC-1271 has its gas (`TooLittleGas`).
    /// @return amounts What was paid for each.
    function settleMany(Settlement[] calldata settlements) external nonReentrant returns (uint256[] memory amounts) {
        amounts = new uint256[](settlements.length);
        for (uint256 i = 0; i < settlements.length; ++i) {
            Settlement calldata s = settlements[i];
            bytes32 channelId = idOf(s.terms);
            Funds memory funds = _funds[channelId];
            bytes32 digest = _digest(laneId(channelId, s.lane), s.cumulativeAmount);
            if (!_isOpen(funds) || !Signers.signedWithin(s.terms.signer, digest, s.signature)) continue;
            amounts[i] = _settle(channelId, funds, s.terms, s.lane, s.cumulativeAmount);
        }
    }

    /// @notice Starts the challenge, after which the payer gets back what is left.
    /// @dev Checks: the caller is the payer (`NotPayer`); the channel is open (`ChannelNotOpen`) and not closing
    /// (`ChannelClosing`).
    function requestClose(Terms calldata terms) external {
        require(msg.sender == terms.payer, NotPayer(msg.sender));
        bytes32 channelId = idOf(terms);
        Funds storage funds = _funds[channelId];
        require(funds.opened && funds.closesAt != CLOSED, ChannelNotOpen(channelId));
        require(funds.closesAt == 0, ChannelClosing(channelId, funds.closesAt));
        funds.closesAt = uint40(block.timestamp) + terms.challenge;
        emit CloseRequested(channelId, funds.closesAt);
    }

    /// @notice Closes the channel and gives the payer what is left: the payee at any time, anybody after the challenge.
    /// Settle first.
    /// @dev Checks: no call of a token comes back here (`ReentrancyGuardReentrantCall`); the channel is open
    /// (`ChannelNotOpen`); the caller is the payee or the challenge is over (`CloseTooEarly`). A closed channel is
    /// never opened again, so old vouchers stay without effect.
    /// @return refund What the payer got.
    function close(Terms calldata terms) external nonReentrant returns (uint256 refund) {
        bytes32 channelId = idOf(terms);
        Funds memory funds = _funds[channelId];
        require(_isOpen(funds), ChannelNotOpen(channelId));
        bool over = funds.closesAt != 0 && block.timestamp >= funds.closesAt;
        require(over || msg.sender == terms.payee, CloseTooEarly(channelId, funds.closesAt));
        refund = funds.deposited - funds.settled;
        _funds[channelId] = Funds(funds.settled, funds.settled, CLOSED, true);
        emit Closed(channelId, refund);
        if (refund != 0) IERC20(terms.token).safeTransfer(terms.payer, refund);
    }

    /// @notice What can be paid, what lane 0 was paid, and when the channel closes (0: nobody asked).
    function fundsOf(bytes32 channelId) external view returns (uint256 available, uint256 settled, uint256 closesAt) {
        Funds memory funds = _funds[channelId];
        return (funds.deposited - funds.settled, funds.settled, funds.closesAt);
    }

    /// @notice What a lane was paid.
    function settledOf(bytes32 channelId, uint256 lane) external view returns (uint256) {
        return lane == 0 ? _funds[channelId].settled : _laneSettled[laneId(channelId, lane)];
    }

    /// @notice What the signer of a channel signs for a voucher.
    function digestOf(bytes32 channelId, uint256 lane, uint256 cumulativeAmount) external view returns (bytes32) {
        return _digest(laneId(channelId, lane), cumulativeAmount);
    }

    /// @notice The id of a channel.
    function idOf(Terms calldata terms) public pure returns (bytes32) {
        return keccak256(abi.encode(terms));
    }

    /// @notice What vouchers of a lane name: the channel for lane 0, else the hash of channel and lane.
    function laneId(bytes32 channelId, uint256 lane) public pure returns (bytes32) {
        return lane == 0 ? channelId : keccak256(abi.encode(channelId, lane));
    }

    /// @dev Whether something was deposited once, though lanes may have used it up, and nobody closed.
    function _isOpen(Funds memory funds) private pure returns (bool) {
        return funds.opened && funds.closesAt != CLOSED;
    }

    /// @dev Of an open channel, for a voucher that is signed. Zero when there is nothing to pay.
    function _settle(
        bytes32 channelId,
        Funds memory funds,
        Terms calldata terms,
        uint256 lane,
        uint256 cumulativeAmount
    ) private returns (uint256 amount) {
        bytes32 id = laneId(channelId, lane);
        uint256 before = lane == 0 ? funds.settled : _laneSettled[id];
        if (cumulativeAmount <= before) return 0;
        uint256 available = funds.deposited - funds.settled;
        amount = cumulativeAmount - before;
        if (amount > available) amount = available;
        if (amount == 0) return 0;
        // Fits: at most what was deposited.
        if (lane == 0) {
            funds.settled += uint104(amount);
        } else {
            funds.deposited -= uint104(amount);
            _laneSettled[id] = before + amount;
        }
        _funds[channelId] = funds;
        emit Settled(channelId, lane, amount, before + amount);
        IERC20(terms.token).safeTransfer(terms.payee, amount);
    }

    function _digest(bytes32 id, uint256 cumulativeAmount) private view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPEHASH, id, cumulativeAmount)));
    }
}
