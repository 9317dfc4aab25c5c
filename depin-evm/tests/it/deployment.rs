//! A network's contracts from nothing, and a call to each.

use depin_core::{Amount, NetworkId};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, DeployOptions, Deployment, ErrorKind, Revert,
    alloy::primitives::{Address, B256, U256},
    bindings::{
        DeviceAccount, DeviceRegistry, ERC6551Registry, EmissionController, NetworkToken,
        RewardDistributor,
    },
    deploy,
};

async fn network() -> (Devnet, Chain, Deployment) {
    let devnet = Devnet::start();
    let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await.unwrap();
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap())
        .token("Climate Credit", "CLIM")
        .cap(Amount::tokens(1_000));
    let deployment = deploy(&chain, &options).await.unwrap();
    (devnet, chain, deployment)
}

#[tokio::test]
async fn every_contract_answers_and_holds_its_roles() {
    let (_devnet, chain, at) = network().await;
    let provider = chain.provider();

    let registry = DeviceRegistry::new(at.registry, provider);
    let registrar = chain.read(&registry.REGISTRAR_ROLE()).await.unwrap();
    assert!(chain.read(&registry.hasRole(registrar, chain.account())).await.unwrap());
    assert_eq!(chain.read(&registry.name()).await.unwrap(), "climate");

    let token = NetworkToken::new(at.token, provider);
    let minter = chain.read(&token.MINTER_ROLE()).await.unwrap();
    assert!(chain.read(&token.hasRole(minter, at.source)).await.unwrap());
    for other in [at.distributor, chain.account()] {
        assert!(!chain.read(&token.hasRole(minter, other)).await.unwrap());
    }
    let controller = EmissionController::new(at.source, provider);
    let emitter = chain.read(&controller.EMITTER_ROLE()).await.unwrap();
    assert!(chain.read(&controller.hasRole(emitter, at.distributor)).await.unwrap());
    assert!(!chain.read(&controller.hasRole(emitter, chain.account())).await.unwrap());
    assert_eq!(chain.read(&controller.mintable()).await.unwrap(), Amount::tokens(1_000).to_units());
    assert_eq!(chain.read(&token.cap()).await.unwrap(), Amount::tokens(1_000).to_units());

    let distributor = RewardDistributor::new(at.distributor, provider);
    let root = B256::repeat_byte(1);
    let publish = distributor.publish(0, root, U256::from(5), B256::repeat_byte(2));
    chain.send(publish.into_transaction_request()).await.unwrap();
    assert_eq!(chain.read(&distributor.epochRoot(0)).await.unwrap(), root);
    assert_eq!(chain.read(&token.balanceOf(at.distributor)).await.unwrap(), U256::from(5));

    let device = Address::repeat_byte(7);
    let accounts = ERC6551Registry::new(at.account_registry, provider);
    let account = accounts.account(
        at.account_implementation,
        B256::ZERO,
        U256::from(chain.id().value()),
        at.registry,
        U256::from_be_slice(device.as_slice()),
    );
    let account = chain.read(&account).await.unwrap();
    assert_eq!(account, chain.read(&registry.accountOf(device)).await.unwrap());
    let implementation = DeviceAccount::new(at.account_implementation, provider);
    assert_eq!(chain.read(&implementation.state()).await.unwrap(), U256::ZERO);
}

#[tokio::test]
async fn a_deployment_again_is_the_same_and_survives_json() {
    let (_devnet, chain, first) = network().await;
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap())
        .token("Climate Credit", "CLIM")
        .cap(Amount::tokens(1_000));
    assert_eq!(deploy(&chain, &options).await.unwrap(), first);
    let json = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<Deployment>(&json).unwrap(), first);
}

#[tokio::test]
async fn a_refusal_names_the_contracts_reason_before_a_nonce_is_used() {
    let (_devnet, chain, at) = network().await;
    let distributor = RewardDistributor::new(at.distributor, chain.provider());
    let before = chain.ask(nonce(&chain)).await.unwrap();
    let publish = distributor.publish(0, B256::ZERO, U256::from(5), B256::ZERO);
    let error = chain.send(publish.into_transaction_request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("ZeroRoot"), "{error}");
    let revert = Revert::of(&error).unwrap();
    assert!(revert.decode::<RewardDistributor::ZeroRoot>().is_some());
    assert_eq!(chain.ask(nonce(&chain)).await.unwrap(), before);
}

#[tokio::test]
async fn a_transaction_that_reverts_on_chain_tells_its_reason() {
    let (_devnet, chain, at) = network().await;
    let registry = DeviceRegistry::new(at.registry, chain.provider());
    let mut tx = registry.suspend(Address::repeat_byte(9)).into_transaction_request();
    // With gas given there is no simulation.
    tx.gas = Some(100_000);
    let error = chain.send(tx).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("UnknownDevice { device: 0x0909"), "{error}");
}

#[tokio::test]
async fn an_address_without_a_contract_is_not_found() {
    let (_devnet, chain, _) = network().await;
    let nothing = NetworkToken::new(Address::repeat_byte(3), chain.provider());
    let error = chain.read(&nothing.totalSupply()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn nonce(
    chain: &Chain,
) -> impl std::future::IntoFuture<Output = depin_evm::alloy::transports::TransportResult<u64>> {
    use depin_evm::alloy::providers::Provider;
    chain.provider().get_transaction_count(chain.account())
}
