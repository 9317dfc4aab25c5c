//! The interfaces against selectors and topics recomputed from IoTeX's sources, and the presets.

use depin_evm::alloy::sol_types::{SolCall, SolEvent};
use depin_identity::registry::ioid::contracts::{
    IoID, IoIDRegistry, IoIDStore, Project, UniversalFactory, VerifyingProxy,
};
use depin_testkit::vectors::find;
use serde_json::Value;

use super::*;

fn vectors(name: &str) -> Option<Value> {
    let path = find(env!("CARGO_MANIFEST_DIR"), &format!("iotex/{name}"))?;
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

fn selector<C: SolCall>() -> (&'static str, String) {
    (C::SIGNATURE, format!("0x{}", depin_evm::alloy::hex::encode(C::SELECTOR)))
}

fn topic<E: SolEvent>() -> (&'static str, String) {
    (E::SIGNATURE, E::SIGNATURE_HASH.to_string())
}

#[test]
fn selectors_and_topics_are_those_of_the_deployed_contracts() {
    let Some(ids) = vectors("abi_ids.json") else { return };
    let selectors = [
        selector::<IoIDRegistry::register_0Call>(),
        selector::<IoIDRegistry::register_1Call>(),
        selector::<IoIDRegistry::updateCall>(),
        selector::<IoIDRegistry::removeCall>(),
        selector::<IoIDRegistry::migrateCall>(),
        selector::<IoIDRegistry::noncesCall>(),
        selector::<IoIDRegistry::documentHashCall>(),
        selector::<IoIDRegistry::documentURICall>(),
        selector::<IoIDRegistry::deviceTokenIdCall>(),
        selector::<IoIDRegistry::existsCall>(),
        selector::<IoIDStore::applyIoIDsCall>(),
        selector::<IoIDStore::setDeviceContractCall>(),
        selector::<IoIDStore::priceCall>(),
        selector::<IoID::wallet_0Call>(),
        selector::<IoID::wallet_1Call>(),
        selector::<IoID::deviceProjectCall>(),
    ];
    for (signature, selector) in selectors {
        assert_eq!(ids["selectors"][signature], selector, "{signature}");
    }
    let topics = [
        topic::<IoIDRegistry::NewDevice>(),
        topic::<IoIDRegistry::UpdateDevice>(),
        topic::<IoIDRegistry::RemoveDevice>(),
        topic::<IoID::CreateIoID>(),
        topic::<IoID::Migrate>(),
        topic::<IoID::RemoveDIDWallet>(),
        topic::<IoIDStore::SetDeviceContract>(),
        topic::<IoIDStore::ApplyIoIDs>(),
        topic::<IoIDStore::ActiveIoID>(),
        topic::<UniversalFactory::CreatedProxy>(),
        topic::<VerifyingProxy::Registered>(),
        topic::<Project::AddMetadata>(),
    ];
    for (signature, topic) in topics {
        assert_eq!(ids["event_topic0"][signature], topic, "{signature}");
    }
}

#[test]
fn presets_are_the_published_addresses() {
    let Some(contracts) = vectors("contracts.json") else { return };
    for (network, preset) in
        [("mainnet_4689", Addresses::iotex()), ("testnet_4690", Addresses::iotex_testnet())]
    {
        let published = |name: &str| -> Address {
            contracts["ioID"][name][network].as_str().unwrap().parse().unwrap()
        };
        assert_eq!(preset.registry, published("ioIDRegistry"));
        assert_eq!(preset.ioid, published("ioID"));
        assert_eq!(preset.store, published("ioIDStore"));
        assert_eq!(preset.project, published("Project"));
        assert_eq!(preset.project_registry, published("ProjectRegistry"));
    }
}
