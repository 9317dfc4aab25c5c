// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {IERC6551Registry} from "erc6551/interfaces/IERC6551Registry.sol";

/// @title What IoTeX's ioID contracts do, faults included, for tests of the Rust adapter
/// @notice Written from the documented behaviour: same functions, events, signed struct and reasons of refusal. It
/// deploys one of each contract and wires them. Never for use: it is as weak as what it stands in for.
contract IoIdStandIn {
    StandInProject public immutable project;
    StandInStore public immutable store;
    StandInIoId public immutable ioID;
    StandInRegistry public immutable registry;

    constructor(IERC6551Registry accounts, address implementation, uint256 price) {
        project = new StandInProject();
        store = new StandInStore(project, price);
        ioID = new StandInIoId(accounts, implementation);
        registry = new StandInRegistry(store, ioID);
        store.connect(registry);
        ioID.connect(registry);
    }
}

/// @notice `Project` and `ProjectRegistry` in one.
contract StandInProject is ERC721("Projects", "PRJ") {
    uint256 public count;
    mapping(uint256 id => string) private _names;
    mapping(bytes32 name => bool) private _taken;
    mapping(uint256 id => uint8) private _types;
    mapping(uint256 id => mapping(bytes32 key => bytes)) private _metadata;

    event SetName(uint256 indexed projectId, string name);
    event AddMetadata(uint256 indexed projectId, string name, bytes32 key, bytes value);

    function project() external view returns (address) {
        return address(this);
    }

    function register(string calldata name_, uint8 type_) external payable returns (uint256 id) {
        bytes32 hash = keccak256(bytes(name_));
        require(bytes(name_).length != 0, "empty name");
        require(!_taken[hash], "exist name");
        _taken[hash] = true;
        id = ++count;
        (_names[id], _types[id]) = (name_, type_);
        _mint(msg.sender, id);
        emit SetName(id, name_);
    }

    function setMetadata(uint256 id, string calldata key, bytes calldata value) external {
        require(msg.sender == ownerOf(id), "invalid operator");
        bytes32 hash = keccak256(bytes(key));
        _metadata[id][hash] = value;
        emit AddMetadata(id, key, hash, value);
    }

    function metadata(uint256 id, string calldata key) external view returns (bytes memory) {
        return _metadata[id][keccak256(bytes(key))];
    }

    function name(uint256 id) external view returns (string memory) {
        _requireOwned(id);
        return _names[id];
    }

    function projectType(uint256 id) external view returns (uint8) {
        _requireOwned(id);
        return _types[id];
    }
}

/// @notice Sells the right to register and says which collection belongs to which project.
contract StandInStore {
    StandInProject public immutable project;
    uint256 public immutable price;
    StandInRegistry public ioIDRegistry;
    mapping(uint256 id => address) public projectDeviceContract;
    mapping(address collection => uint256) public deviceContractProject;
    mapping(uint256 id => uint256) public projectAppliedAmount;
    mapping(uint256 id => uint256) public projectActivedAmount;

    event ApplyIoIDs(uint256 indexed projectId, uint256 amount);
    event ActiveIoID(uint256 indexed projectId);
    event SetDeviceContract(uint256 indexed projectId, address indexed deviceContract);

    constructor(StandInProject project_, uint256 price_) {
        (project, price) = (project_, price_);
    }

    function connect(StandInRegistry registry) external {
        require(address(ioIDRegistry) == address(0), "connected");
        ioIDRegistry = registry;
    }

    function applyIoIDs(uint256 id, uint256 amount) external payable {
        require(project.projectType(id) == 0, "only hardware project");
        require(msg.value >= amount * price, "insufficient fund");
        projectAppliedAmount[id] += amount;
        emit ApplyIoIDs(id, amount);
    }

    function setDeviceContract(uint256 id, address collection) external {
        require(project.ownerOf(id) == msg.sender, "invald project owner");
        require(projectDeviceContract[id] == address(0), "project setted");
        require(deviceContractProject[collection] == 0, "contract setted");
        (projectDeviceContract[id], deviceContractProject[collection]) = (collection, id);
        emit SetDeviceContract(id, collection);
    }

    /// @dev What is paid beside a reserved slot stays here, as in the original.
    function activeIoID(uint256 id) external payable {
        require(msg.sender == address(ioIDRegistry), "only ioIDRegistry");
        if (projectAppliedAmount[id] == projectActivedAmount[id]) {
            require(msg.value >= price, "insufficient fund");
            ++projectAppliedAmount[id];
        }
        ++projectActivedAmount[id];
        emit ActiveIoID(id);
    }
}

/// @notice The token that owns a device's account, and the list of each project's devices.
contract StandInIoId is ERC721("ioID", "IOID") {
    IERC6551Registry public immutable walletRegistry;
    address public immutable walletImplementation;
    StandInRegistry public minter;
    mapping(address device => uint256) public deviceProject;
    mapping(uint256 id => uint256) public projectDeviceCount;

    uint256 private _last;
    mapping(string did => address) private _wallets;
    mapping(uint256 id => address) private _devices;
    mapping(uint256 id => mapping(address device => address)) private _next;

    event CreateIoID(address indexed owner, uint256 id, address wallet, string did);
    event RemoveDIDWallet(address indexed wallet, string did);
    event Migrate(address indexed oldOwner, address indexed newOwner, uint256 id);

    constructor(IERC6551Registry accounts, address implementation) {
        (walletRegistry, walletImplementation) = (accounts, implementation);
    }

    modifier onlyMinter() {
        require(msg.sender == address(minter), "invalid minter");
        _;
    }

    function connect(StandInRegistry registry) external {
        require(address(minter) == address(0), "connected");
        minter = registry;
    }

    function mint(uint256 project, address device, address owner) external onlyMinter returns (uint256 id) {
        id = ++_last;
        _mint(owner, id);
        address account = walletRegistry.createAccount(walletImplementation, 0, block.chainid, address(this), id);
        _wallets[did(device)] = account;
        _devices[id] = device;
        _list(_next[project], device);
        ++projectDeviceCount[project];
        deviceProject[device] = project;
        emit CreateIoID(owner, id, account, did(device));
    }

    /// @dev Asks the present owner nothing, as the original.
    function migrate(uint256 id, address to) external onlyMinter {
        address from = ownerOf(id);
        _safeTransfer(from, to, id);
        emit Migrate(from, to, id);
    }

    /// @dev Leaves the token, the project and the list of devices as they are, as the original.
    function removeDID(address device) external onlyMinter {
        address account = _wallets[did(device)];
        delete _wallets[did(device)];
        delete _devices[minter.deviceTokenId(device)];
        emit RemoveDIDWallet(account, did(device));
    }

    function wallet(uint256 id) external view returns (address account, string memory name) {
        account = walletRegistry.account(walletImplementation, 0, block.chainid, address(this), id);
        address device = _devices[id];
        if (device != address(0)) name = did(device);
    }

    function wallet(string calldata name) external view returns (address) {
        return _wallets[name];
    }

    function did(address device) public view returns (string memory) {
        return minter.documentID(device);
    }

    function projectIDs(uint256 project, address start, uint256 size)
        external
        view
        returns (address[] memory page, address next)
    {
        page = new address[](size);
        uint256 found;
        next = _next[project][start];
        for (; next != address(0) && next != HEAD && found < size; ++found) {
            page[found] = next;
            next = _next[project][next];
        }
        assembly {
            mstore(page, found)
        }
    }

    /// @dev The newest first. The oldest points to zero and so counts as absent: listed again, it closes a circle, as
    /// in the original.
    function _list(mapping(address => address) storage next, address device) private {
        if (next[device] != address(0)) return;
        next[device] = next[HEAD];
        next[HEAD] = device;
    }

    address private constant HEAD = address(1);
}

/// @notice Devices, their documents, and the one struct that a device signs for everything.
contract StandInRegistry is EIP712("ioIDRegistry", "1") {
    struct Entry {
        bytes32 hash;
        string uri;
        uint256 id;
    }

    StandInStore public immutable ioIDStore;
    StandInIoId public immutable ioID;
    mapping(address device => uint256) public nonces;
    mapping(address collection => mapping(uint256 token => bool)) public registeredNFT;
    mapping(address device => Entry) private _entries;

    bytes32 private constant PERMIT = keccak256("Permit(address owner,uint256 nonce)");

    event NewDevice(address indexed device, address owner, bytes32 hash, string uri);
    event UpdateDevice(address indexed device, address owner, bytes32 hash, string uri);
    event RemoveDevice(address indexed device, address owner);

    constructor(StandInStore store, StandInIoId token) {
        (ioIDStore, ioID) = (store, token);
    }

    modifier known(address device) {
        require(exists(device), "device not exists");
        _;
    }

    function register(
        address deviceContract,
        uint256 tokenId,
        address device,
        bytes32 hash,
        string calldata uri,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external payable {
        register(deviceContract, tokenId, msg.sender, device, hash, uri, v, r, s);
    }

    function register(
        address deviceContract,
        uint256 tokenId,
        address user,
        address device,
        bytes32 hash,
        string calldata uri,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) public payable {
        uint256 project = _open(deviceContract, tokenId, user, device);
        _spend(user, device, v, r, s);
        _record(device, hash, uri);
        _mint(project, deviceContract, tokenId, user, device);
        emit NewDevice(device, user, hash, uri);
    }

    function update(address device, bytes32 hash, string calldata uri, uint8 v, bytes32 r, bytes32 s)
        external
        known(device)
    {
        _spend(msg.sender, device, v, r, s);
        _record(device, hash, uri);
        emit UpdateDevice(device, msg.sender, hash, uri);
    }

    function remove(address device, uint8 v, bytes32 r, bytes32 s) external known(device) {
        _spend(msg.sender, device, v, r, s);
        ioID.removeDID(device);
        delete _entries[device];
        emit RemoveDevice(device, msg.sender);
    }

    function migrate(address device, address user, uint8 v, bytes32 r, bytes32 s) external known(device) {
        require(user != address(0), "user is the zero address");
        _spend(user, device, v, r, s);
        ioID.migrate(_entries[device].id, user);
    }

    function DOMAIN_SEPARATOR() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    function permitHash(address owner, address device) external view returns (bytes32) {
        return keccak256(abi.encode(PERMIT, owner, nonces[device]));
    }

    function documentID(address device) external pure returns (string memory) {
        return string.concat("did:io:", Strings.toHexString(device));
    }

    function documentHash(address device) external view known(device) returns (bytes32) {
        return _entries[device].hash;
    }

    function documentURI(address device) external view known(device) returns (string memory) {
        return _entries[device].uri;
    }

    function deviceTokenId(address device) external view known(device) returns (uint256) {
        return _entries[device].id;
    }

    function exists(address device) public view returns (bool) {
        return _entries[device].hash != bytes32(0);
    }

    function _open(address collection, uint256 token, address user, address device) private returns (uint256 project) {
        require(device != address(0), "device is the zero address");
        require(user != address(0), "user is the zero address");
        require(!registeredNFT[collection][token], "nft already used");
        require(!exists(device), "device exists");
        project = ioIDStore.deviceContractProject(collection);
        require(project != 0, "invalid project");
        ioIDStore.activeIoID{value: msg.value}(project);
    }

    function _mint(uint256 project, address collection, uint256 token, address user, address device) private {
        uint256 id = ioID.mint(project, device, user);
        (address account,) = ioID.wallet(id);
        IERC721(collection).safeTransferFrom(user, account, token);
        _entries[device].id = id;
        registeredNFT[collection][token] = true;
    }

    function _record(address device, bytes32 hash, string calldata uri) private {
        require(hash != bytes32(0), "empty hash");
        (_entries[device].hash, _entries[device].uri) = (hash, uri);
    }

    function _spend(address owner, address device, uint8 v, bytes32 r, bytes32 s) private {
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(PERMIT, owner, nonces[device]++)));
        require(ecrecover(digest, v, r, s) == device, "invalid signature");
    }
}
