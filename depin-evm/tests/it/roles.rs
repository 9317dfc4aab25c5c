//! Roles of contracts, and how their administration passes on.

use depin_core::{ErrorKind, NetworkId};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, DeployOptions, Role, Roles,
    alloy::primitives::{Address, B256},
    bindings::{
        CreditMinter, DeviceRegistry, EmissionController, NetworkToken, RewardDistributor,
        StakeManager,
    },
    deploy, hand_over,
};

async fn chain(devnet: &Devnet, account: u16) -> Chain {
    Chain::from_provider(devnet.provider(), devnet.account(account)).connect().await.unwrap()
}

async fn network(devnet: &Devnet) -> (Chain, [Address; 4]) {
    let admin = chain(devnet, 0).await;
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap());
    let made = deploy(&admin, &options).await.unwrap();
    (admin, [made.token, made.source, made.distributor, made.registry])
}

#[tokio::test]
async fn a_network_passes_to_a_new_administrator_whole() {
    let devnet = Devnet::start();
    let (admin, contracts) = network(&devnet).await;
    let safe = chain(&devnet, 1).await;
    // As after a crash: one was appointed before, and the same again goes on.
    Roles::of(admin.clone(), contracts[2]).grant(Role::ADMIN, safe.account()).await.unwrap();
    for _ in 0..2 {
        hand_over(&admin, &contracts, safe.account()).await.unwrap();
    }
    for contract in contracts {
        let (before, now) = (Roles::of(admin.clone(), contract), Roles::of(safe.clone(), contract));
        assert!(now.has(Role::ADMIN, safe.account()).await.unwrap());
        assert!(!now.has(Role::ADMIN, admin.account()).await.unwrap());
        let error = before.grant(Role::GUARDIAN, admin.account()).await;
        if !before.has(Role::GUARDIAN, admin.account()).await.unwrap() {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Rejected);
            assert!(error.to_string().contains("does not administer"), "{error}");
        }
        now.grant(Role::GUARDIAN, safe.account()).await.unwrap();
        now.withdraw(Role::GUARDIAN, safe.account()).await.unwrap();
    }
    let publisher = Roles::of(safe, contracts[2]);
    assert!(publisher.has(Role::PUBLISHER, admin.account()).await.unwrap(), "other roles stay");
    Roles::of(admin.clone(), contracts[2]).renounce(Role::PUBLISHER).await.unwrap();
    assert!(!publisher.has(Role::PUBLISHER, admin.account()).await.unwrap());
}

#[tokio::test]
async fn whoever_does_not_administer_all_of_them_hands_over_none() {
    let devnet = Devnet::start();
    let (admin, contracts) = network(&devnet).await;
    let (other, to) = (chain(&devnet, 1).await, Address::repeat_byte(7));
    hand_over(&admin, &contracts[3..], other.account()).await.unwrap();
    let blocks = devnet.block_number();
    let error = hand_over(&admin, &contracts, to).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    let (own, contract) = (admin.account(), contracts[0]);
    for nobody in [Address::ZERO, own, contract] {
        let error = hand_over(&admin, &contracts, nobody).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    let error = Roles::of(admin.clone(), contract).grant(Role::ADMIN, Address::ZERO).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(devnet.block_number(), blocks, "no transaction");
    assert!(Roles::of(admin, contract).has(Role::ADMIN, own).await.unwrap());
}

#[tokio::test]
async fn every_role_has_the_word_that_its_contract_has() {
    let devnet = Devnet::start();
    let (admin, [token, controller, distributor, registry]) = network(&devnet).await;
    let provider = admin.provider();
    let token = NetworkToken::new(token, provider);
    assert_eq!(admin.read(&token.MINTER_ROLE()).await.unwrap(), Role::MINTER.id());
    assert_eq!(admin.read(&token.DEFAULT_ADMIN_ROLE()).await.unwrap(), Role::ADMIN.id());
    let controller = EmissionController::new(controller, provider);
    assert_eq!(admin.read(&controller.EMITTER_ROLE()).await.unwrap(), Role::EMITTER.id());
    assert_eq!(admin.read(&controller.REPORTER_ROLE()).await.unwrap(), Role::REPORTER.id());
    let distributor = RewardDistributor::new(distributor, provider);
    assert_eq!(admin.read(&distributor.PUBLISHER_ROLE()).await.unwrap(), Role::PUBLISHER.id());
    assert_eq!(admin.read(&distributor.ARBITER_ROLE()).await.unwrap(), Role::ARBITER.id());
    assert_eq!(admin.read(&distributor.GUARDIAN_ROLE()).await.unwrap(), Role::GUARDIAN.id());
    let registry = DeviceRegistry::new(registry, provider);
    assert_eq!(admin.read(&registry.REGISTRAR_ROLE()).await.unwrap(), Role::REGISTRAR.id());
    // Contracts that no network deploys by itself tell their words without their rules.
    let code = CreditMinter::DEPLOYED_BYTECODE.clone();
    let minter = CreditMinter::new(Address::repeat_byte(1), provider);
    devnet.set_code(*minter.address(), code);
    assert_eq!(admin.read(&minter.SPENDER_ROLE()).await.unwrap(), Role::SPENDER.id());
    assert_eq!(admin.read(&minter.EMITTER_ROLE()).await.unwrap(), Role::EMITTER.id());
    let stakes = StakeManager::new(Address::repeat_byte(2), provider);
    devnet.set_code(*stakes.address(), StakeManager::DEPLOYED_BYTECODE.clone());
    assert_eq!(admin.read(&stakes.SLASHER_ROLE()).await.unwrap(), Role::SLASHER.id());
    assert_eq!(admin.read(&stakes.JUDGE_ROLE()).await.unwrap(), Role::JUDGE.id());
    assert_eq!(Role::named("MINTER_ROLE"), Role::MINTER);
    assert_ne!(Role::named("COOK_ROLE").id(), B256::ZERO);
}
