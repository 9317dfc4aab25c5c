//! Rust bindings of the contracts, made from the artifacts that are checked in.
//!
//! Each contract is a module named after it, with its calls, events, errors and a `deploy_builder`. The
//! words for people are in the NatSpec of `contracts/src`.

#![expect(
    missing_docs,
    clippy::too_many_arguments,
    reason = "sol! writes these items; the contracts' NatSpec documents them"
)]

use alloy::sol;

sol! {
    #[sol(rpc, all_derives)]
    DeviceRegistry,
    "artifacts/DeviceRegistry.json"
}
sol! {
    #[sol(rpc, all_derives)]
    NetworkToken,
    "artifacts/NetworkToken.json"
}
sol! {
    #[sol(rpc, all_derives)]
    RewardDistributor,
    "artifacts/RewardDistributor.json"
}
sol! {
    #[sol(rpc, all_derives)]
    EmissionController,
    "artifacts/EmissionController.json"
}
sol! {
    #[sol(rpc, all_derives)]
    BitmapDistributor,
    "artifacts/BitmapDistributor.json"
}
sol! {
    #[sol(rpc, all_derives)]
    PaymentChannel,
    "artifacts/PaymentChannel.json"
}
sol! {
    #[sol(rpc, all_derives)]
    PaymentStream,
    "artifacts/PaymentStream.json"
}
sol! {
    #[sol(rpc, all_derives)]
    Disperse,
    "artifacts/Disperse.json"
}
sol! {
    #[sol(rpc, all_derives)]
    ServiceEscrow,
    "artifacts/ServiceEscrow.json"
}
sol! {
    #[sol(rpc, all_derives)]
    StakeManager,
    "artifacts/StakeManager.json"
}
sol! {
    #[sol(rpc, all_derives)]
    CreditMinter,
    "artifacts/CreditMinter.json"
}
sol! {
    #[sol(rpc, all_derives)]
    DeviceAccount,
    "artifacts/DeviceAccount.json"
}
sol! {
    #[sol(rpc, all_derives)]
    ERC6551Registry,
    "artifacts/ERC6551Registry.json"
}
sol! {
    /// Where a `CreditMinter` takes its prices from.
    #[sol(rpc, all_derives)]
    interface PriceSource {
        function latestPrice() external view returns (int64 price, uint64 conf, int32 expo, uint64 publishTime);
    }
}
