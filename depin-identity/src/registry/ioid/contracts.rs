//! Interfaces of IoTeX's ioID contracts, as far as a network needs them.
//!
//! Functions that exist twice under one name get a number from the macro: `register_0` takes the sender as
//! owner, `register_1` names one; `wallet_0` asks by token, `wallet_1` by DID.

#![expect(clippy::too_many_arguments, reason = "the contracts' functions have them")]

use depin_evm::alloy::sol;

sol! {
    #[sol(rpc, all_derives)]
    interface IoIDRegistry {
        event NewDevice(address indexed device, address owner, bytes32 hash, string uri);
        event UpdateDevice(address indexed device, address owner, bytes32 hash, string uri);
        event RemoveDevice(address indexed device, address owner);

        function register(
            address deviceContract, uint256 tokenId, address device, bytes32 hash, string uri,
            uint8 v, bytes32 r, bytes32 s
        ) external payable;
        function register(
            address deviceContract, uint256 tokenId, address user, address device, bytes32 hash, string uri,
            uint8 v, bytes32 r, bytes32 s
        ) external payable;
        function update(address device, bytes32 hash, string uri, uint8 v, bytes32 r, bytes32 s) external;
        function remove(address device, uint8 v, bytes32 r, bytes32 s) external;
        function migrate(address device, address user, uint8 v, bytes32 r, bytes32 s) external;

        function nonces(address device) external view returns (uint256);
        function permitHash(address owner, address device) external view returns (bytes32);
        function exists(address device) external view returns (bool);
        function documentID(address device) external view returns (string);
        function documentHash(address device) external view returns (bytes32);
        function documentURI(address device) external view returns (string);
        function deviceTokenId(address device) external view returns (uint256);
        function registeredNFT(address deviceContract, uint256 tokenId) external view returns (bool);
    }

    #[sol(rpc, all_derives)]
    interface IoID {
        event CreateIoID(address indexed owner, uint256 id, address wallet, string did);
        event RemoveDIDWallet(address indexed wallet, string did);
        event Migrate(address indexed oldOwner, address indexed newOwner, uint256 id);

        function ownerOf(uint256 tokenId) external view returns (address);
        function safeTransferFrom(address from, address to, uint256 tokenId) external;
        function wallet(uint256 id) external view returns (address account, string did);
        function wallet(string did) external view returns (address);
        function did(address device) external view returns (string);
        function deviceProject(address device) external view returns (uint256);
        function projectDeviceCount(uint256 projectId) external view returns (uint256);
        function projectIDs(uint256 projectId, address start, uint256 pageSize)
            external view returns (address[] page, address next);
    }

    #[sol(rpc, all_derives)]
    interface IoIDStore {
        event ApplyIoIDs(uint256 indexed projectId, uint256 amount);
        event ActiveIoID(uint256 indexed projectId);
        event SetDeviceContract(uint256 indexed projectId, address indexed deviceContract);

        function price() external view returns (uint256);
        function applyIoIDs(uint256 projectId, uint256 amount) external payable;
        function setDeviceContract(uint256 projectId, address deviceContract) external;
        function projectDeviceContract(uint256 projectId) external view returns (address);
        function deviceContractProject(address deviceContract) external view returns (uint256);
        function projectAppliedAmount(uint256 projectId) external view returns (uint256);
        function projectActivedAmount(uint256 projectId) external view returns (uint256);
    }

    #[sol(rpc, all_derives)]
    interface Project {
        event SetName(uint256 indexed projectId, string name);
        event AddMetadata(uint256 indexed projectId, string name, bytes32 key, bytes value);

        function ownerOf(uint256 projectId) external view returns (address);
        function name(uint256 projectId) external view returns (string);
        function projectType(uint256 projectId) external view returns (uint8);
        function metadata(uint256 projectId, string name) external view returns (bytes);
        function setMetadata(uint256 projectId, string name, bytes value) external;
    }

    #[sol(rpc, all_derives)]
    interface ProjectRegistry {
        function register(string name, uint8 kind) external payable returns (uint256 projectId);
    }

    #[sol(rpc, all_derives)]
    interface DeviceNFT {
        event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
        event MinterConfigured(address indexed minter, uint256 minterAllowedAmount);

        function configureMinter(address minter, uint256 allowance) external;
        function minterAllowance(address minter) external view returns (uint256);
        function mint(address to) external returns (uint256 tokenId);
        function approve(address to, uint256 tokenId) external;
        function ownerOf(uint256 tokenId) external view returns (address);
        function getApproved(uint256 tokenId) external view returns (address);
    }

    /// A project's own door: it mints the device token and registers in one transaction.
    ///
    /// The verifier's signature is a `personal_sign` over chain id, owner and device only. It has no nonce,
    /// no deadline and no address of the proxy: it is good at every proxy that trusts the verifier, for
    /// ever, so a removed device comes back with it. Use one verifier key per proxy.
    #[sol(rpc, all_derives)]
    interface VerifyingProxy {
        event Registered(address indexed owner, address indexed device, uint256 deviceTokenId, uint256 ioIDTokenID);

        function register(
            bytes verifySignature, bytes32 hash, string uri, address owner, address device,
            uint8 v, bytes32 r, bytes32 s
        ) external payable;
    }

    #[sol(rpc, all_derives)]
    interface UniversalFactory {
        event CreatedProxy(address indexed proxy);

        function create(
            uint8 kind, address verifier, string projectName, string name, string symbol, uint256 amount
        ) external payable returns (address proxy);
    }
}
