//! The contracts on the embedded chain.

use std::time::Duration;

use depin_core::{
    Address, Amount, B256, EpochId, ErrorKind, NetworkId, Timestamp, U256,
    reward::{Commitment, RewardDistributor, RewardPolicy, TokenLedger},
};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, DeployOptions, Deployment, RootRules,
    alloy::{eips::BlockId, providers::Provider},
    bindings::{NetworkToken, RewardDistributor as Contract},
    deploy,
};
use depin_payment::{
    Claim, Cumulative, ProRata, RewardTree,
    emission::{Curve, Schedule},
    evm::{EvmDistributor, EvmToken},
};
use depin_testkit::distributor;

use super::{account, work};

pub(super) async fn chain(devnet: &Devnet, account: u16) -> Chain {
    Chain::from_provider(devnet.provider(), devnet.account(account)).connect().await.unwrap()
}

/// A network's token of which each of the accounts has `amount`.
pub(super) async fn fund(admin: &Chain, accounts: &[Address], amount: Amount) -> Address {
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap());
    let address = deploy(admin, &options).await.unwrap().token;
    let token = NetworkToken::new(address, admin.provider());
    let role = admin.read(&token.MINTER_ROLE()).await.unwrap();
    let grant = token.grantRole(role, admin.account()).into_transaction_request();
    admin.send(grant).await.unwrap();
    for account in accounts {
        let mint = token.mint(*account, amount.to_units()).into_transaction_request();
        admin.send(mint).await.unwrap();
    }
    address
}

async fn network(devnet: &Devnet) -> (EvmDistributor, EvmToken, Deployment) {
    let chain = chain(devnet, 0).await;
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap());
    let contracts = deploy(&chain, &options).await.unwrap();
    let distributor = EvmDistributor::new(chain.clone(), contracts.distributor);
    (distributor, EvmToken::new(chain, contracts.token), contracts)
}

/// Balances after epochs `0..=epoch` in which four accounts scored 1 to 4.
fn balances(epoch: u64) -> Cumulative {
    let policy = ProRata::per_epoch(Amount::tokens(10));
    let mut balances = Cumulative::default();
    for epoch in 0..=epoch {
        balances.add(&policy.allocate(&work(epoch, 1..=4)).unwrap()).unwrap();
    }
    balances
}

async fn publish(distributor: &EvmDistributor, balances: &Cumulative) -> Vec<Claim> {
    let tree = balances.tree().unwrap();
    let commitment = balances.commitment(&tree, B256::repeat_byte(1)).unwrap();
    distributor.publish(&commitment).await.unwrap();
    tree.claims().collect()
}

#[tokio::test]
async fn the_contracts_conform() {
    let devnet = Devnet::start();
    let (distributor, token, contracts) = network(&devnet).await;
    distributor::conforms(&distributor, &token).await;
    let [ann, bob] = [Address::repeat_byte(0xa1), Address::repeat_byte(0xb0)];
    distributor::supply_is_held(&token, &[ann, bob, contracts.distributor]).await;
}

#[tokio::test]
async fn an_emission_past_the_cap_of_the_token_is_refused_by_name() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap()).cap(Amount::tokens(9));
    let contracts = deploy(&chain, &options).await.unwrap();
    let distributor = EvmDistributor::new(chain, contracts.distributor);
    let (balances, manifest) = (balances(0), B256::repeat_byte(1));
    let commitment = balances.commitment(&balances.tree().unwrap(), manifest).unwrap();
    let error = distributor.publish(&commitment).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert!(error.to_string().contains("cap"), "{error}");
}

#[tokio::test]
async fn many_are_paid_at_once_and_only_once() {
    let devnet = Devnet::start();
    let (distributor, token, _) = network(&devnet).await;
    let claims = publish(&distributor, &balances(0)).await;
    // One was faster.
    let first = &claims[1];
    distributor.claim(first.account, first.cumulative, &first.proof).await.unwrap();

    let paid = distributor.claim_many(&claims).await.unwrap();
    assert_eq!(paid[1], Amount::ZERO);
    for (claim, paid) in claims.iter().zip(paid).filter(|(claim, _)| claim != &first) {
        assert_eq!(paid, claim.cumulative);
        assert_eq!(token.balance(claim.account).await.unwrap(), claim.cumulative);
    }
    let blocks = devnet.block_number();
    assert_eq!(distributor.claim_many(&claims).await.unwrap(), [Amount::ZERO; 4]);
    assert_eq!(devnet.block_number(), blocks, "what was paid costs no transaction");
}

#[tokio::test]
async fn one_claim_serves_several_epochs() {
    let devnet = Devnet::start();
    let (distributor, token, _) = network(&devnet).await;
    for epoch in 0..3 {
        publish(&distributor, &balances(epoch)).await;
    }
    let earned = balances(2).of(account(3));
    let tree = balances(2).tree().unwrap();
    let paid = distributor.claim(account(3), earned, &tree.proof(account(3)).unwrap()).await;
    assert_eq!(paid.unwrap(), earned);
    assert_eq!(token.balance(account(3)).await.unwrap(), Amount::tokens(12));
    assert_eq!(token.supply().await.unwrap(), Amount::tokens(30));
}

#[tokio::test]
async fn one_bad_proof_pays_nobody_and_costs_no_transaction() {
    let devnet = Devnet::start();
    let (distributor, token, _) = network(&devnet).await;
    let mut claims = publish(&distributor, &balances(0)).await;
    claims[2].cumulative = claims[2].cumulative.checked_add(1.into()).unwrap();
    let blocks = devnet.block_number();
    let error = distributor.claim_many(&claims).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("latest root"), "{error}");
    assert_eq!(devnet.block_number(), blocks);
    assert!(token.balance(claims[0].account).await.unwrap().is_zero());
}

#[tokio::test]
async fn publishing_needs_the_publishers_role_and_claiming_does_not() {
    let devnet = Devnet::start();
    let (distributor, token, contracts) = network(&devnet).await;
    let stranger = EvmDistributor::new(chain(&devnet, 1).await, contracts.distributor);
    let balances = balances(0);
    let tree = balances.tree().unwrap();
    let commitment = balances.commitment(&tree, B256::ZERO).unwrap();
    let error = stranger.publish(&commitment).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    assert!(error.to_string().contains("publisher role"), "{error}");

    distributor.publish(&commitment).await.unwrap();
    let claim = tree.claim(account(0)).unwrap();
    stranger.claim(claim.account, claim.cumulative, &claim.proof).await.unwrap();
    assert_eq!(token.balance(account(0)).await.unwrap(), Amount::tokens(1));
}

#[tokio::test]
async fn a_sum_past_128_bits_is_a_limit() {
    let devnet = Devnet::start();
    let (distributor, ..) = network(&devnet).await;
    let commitment = Commitment {
        epoch: EpochId::new(0),
        root: B256::repeat_byte(1),
        cumulative: Amount::MAX,
        manifest: B256::ZERO,
    };
    assert_eq!(distributor.publish(&commitment).await.unwrap_err().kind(), ErrorKind::Limit);
}

#[tokio::test]
async fn epochs_are_found_far_behind_the_head() {
    let devnet = Devnet::start();
    let (distributor, ..) = network(&devnet).await;
    let deployed = devnet.block_number();
    publish(&distributor, &balances(0)).await;
    devnet.mine(25_000);
    let found = distributor.published(EpochId::new(0)).await.unwrap().unwrap();
    assert_eq!(found.cumulative, Amount::tokens(10));
    let roots = distributor.roots();
    assert_eq!(roots.clone().since(deployed).published(found.epoch).await.unwrap(), Some(found));
    let late = EvmDistributor::from(roots.clone().since(deployed + 2));
    let late = late.published(found.epoch).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Unavailable);
    // Also where a node tells of few blocks at once.
    devnet.limit_logs(500);
    assert!(distributor.published(found.epoch).await.unwrap().is_some());
}

#[tokio::test]
async fn an_address_without_a_contract_is_named() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    let nowhere = EvmDistributor::new(chain.clone(), Address::repeat_byte(9));
    let epoch = EpochId::new(0);
    assert_eq!(nowhere.published(epoch).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(nowhere.latest().await.unwrap_err().kind(), ErrorKind::NotFound);
    let token = EvmToken::new(chain, Address::repeat_byte(9));
    assert_eq!(token.supply().await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn two_who_claim_for_one_account_pay_it_once() {
    let devnet = Devnet::start();
    let (distributor, token, contracts) = network(&devnet).await;
    let other = EvmDistributor::new(chain(&devnet, 1).await, contracts.distributor);
    for claim in publish(&distributor, &balances(0)).await {
        let (a, b) = tokio::join!(
            distributor.claim(claim.account, claim.cumulative, &claim.proof),
            other.claim(claim.account, claim.cumulative, &claim.proof),
        );
        assert_eq!(a.unwrap().checked_add(b.unwrap()).unwrap(), claim.cumulative);
        assert_eq!(token.balance(claim.account).await.unwrap(), claim.cumulative);
    }
}

const WINDOW: u64 = 3_600;

/// A distributor with a window, whose publisher is the first account of the chain and whose arbiter the third.
async fn disputable(devnet: &Devnet) -> (EvmDistributor, Chain) {
    let rules = RootRules::default().disputable(Duration::from_secs(WINDOW), Amount::tokens(1));
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap());
    let options = options.rules(rules).arbiter(devnet.addresses()[2]);
    let chain = chain(devnet, 0).await;
    let judge = options.clone().arbiter(chain.account());
    assert_eq!(deploy(&chain, &judge).await.unwrap_err().kind(), ErrorKind::Config);
    let contracts = deploy(&chain, &options).await.unwrap();
    (EvmDistributor::new(chain.clone(), contracts.distributor), chain)
}

#[tokio::test]
async fn a_rejected_epoch_is_not_taken_for_published() {
    let devnet = Devnet::start();
    let (distributor, chain) = disputable(&devnet).await;
    let (balances, epoch) = (balances(0), EpochId::new(0));
    let tree = balances.tree().unwrap();
    let bad = balances.commitment(&tree, B256::repeat_byte(1)).unwrap();
    distributor.publish(&bad).await.unwrap();
    distributor.publish(&bad).await.unwrap();
    let arbiter = self::chain(&devnet, 2).await;
    let contract = Contract::new(distributor.roots().address(), chain.provider());
    let reject =
        contract.resolve(0, bad.root, bad.cumulative.to_units(), true).into_transaction_request();
    arbiter.send(reject).await.unwrap();

    assert_eq!(distributor.published(epoch).await.unwrap(), None);
    let error = distributor.publish(&bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("arbiter"), "{error}");
    let good = balances.commitment(&tree, B256::repeat_byte(2)).unwrap();
    distributor.publish(&good).await.unwrap();
    // The same root was published before with another manifest, and only the last one counts.
    assert_eq!(distributor.published(epoch).await.unwrap(), Some(good));
    distributor.publish(&good).await.unwrap();
    assert_eq!(distributor.publish(&bad).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn an_epoch_is_activated_by_who_needs_it() {
    let devnet = Devnet::start();
    let (distributor, chain) = disputable(&devnet).await;
    let claims = publish(&distributor, &balances(0)).await;
    assert_eq!(distributor.latest().await.unwrap(), None, "in its window");
    assert!(distributor.claim_many(&claims).await.is_err(), "in its window");
    devnet.increase_time(2 * WINDOW).unwrap();
    devnet.mine(1);
    let paid = distributor.claim_many(&claims).await.unwrap();
    assert_eq!(paid[3], claims[3].cumulative);

    publish(&distributor, &balances(1)).await;
    devnet.increase_time(2 * WINDOW).unwrap();
    devnet.mine(1);
    let block = chain.provider().get_block_number().await.unwrap();
    assert_eq!(distributor.latest().await.unwrap(), Some(EpochId::new(1)));
    assert_eq!(chain.provider().get_block_number().await.unwrap(), block, "asking sends nothing");
}

#[tokio::test]
async fn nobody_emits_ahead_of_the_curve() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    // Ten tokens an hour from now on; each epoch of these tests emits ten.
    let now = chain.provider().get_block(BlockId::latest()).await.unwrap().unwrap();
    let start = Timestamp::from_secs(now.header.timestamp);
    let curve = Curve::flat(Amount::tokens(10)).unwrap();
    let schedule = Schedule::new(start, WINDOW, Amount::tokens(1_000), curve).unwrap();
    let options = DeployOptions::new(NetworkId::parse("climate").unwrap())
        .emission(schedule.on_chain().unwrap());
    let contracts = deploy(&chain, &options).await.unwrap();
    let distributor = EvmDistributor::new(chain.clone(), contracts.distributor);

    let (tree, manifest) = (balances(0).tree().unwrap(), B256::repeat_byte(1));
    let commitment = balances(0).commitment(&tree, manifest).unwrap();
    let early = distributor.publish(&commitment).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Limit, "{early}");
    assert!(early.to_string().contains("wait"), "{early}");

    devnet.increase_time(WINDOW).unwrap();
    devnet.mine(1);
    distributor.publish(&commitment).await.unwrap();
    let token = NetworkToken::new(contracts.token, chain.provider());
    let mint = token.mint(chain.account(), U256::from(1)).into_transaction_request();
    assert_eq!(
        chain.send(mint).await.unwrap_err().kind(),
        ErrorKind::Rejected,
        "not even the admin"
    );
}

#[tokio::test]
async fn an_epoch_whose_dispute_nobody_decided_is_published_again() {
    let devnet = Devnet::start();
    let (distributor, admin) = disputable(&devnet).await;
    let watcher = chain(&devnet, 1).await;
    let wait = || {
        devnet.increase_time(5 * WINDOW).unwrap();
        devnet.mine(1);
    };
    let commitment = |epoch, tokens| {
        let cumulative = Amount::tokens(tokens);
        let tree = RewardTree::build(vec![(watcher.account(), cumulative)]).unwrap();
        let (root, manifest) = (tree.root(), B256::repeat_byte(1));
        (Commitment { epoch: EpochId::new(epoch), root, cumulative, manifest }, tree)
    };
    let (first, tree) = commitment(0, 10);
    distributor.publish(&first).await.unwrap();
    wait();
    assert_eq!(
        distributor.claim_many(&tree.claims().collect::<Vec<_>>()).await.unwrap(),
        [Amount::tokens(10)]
    );

    let (second, _) = commitment(1, 20);
    distributor.publish(&second).await.unwrap();
    let contract = Contract::new(distributor.roots().address(), watcher.provider());
    let token = admin.read(&contract.token()).await.unwrap();
    let token = NetworkToken::new(token, watcher.provider());
    let vault = admin.read(&contract.bonds()).await.unwrap();
    for spender in [distributor.roots().address(), vault] {
        let approve = token.approve(spender, U256::MAX).into_transaction_request();
        watcher.send(approve).await.unwrap();
    }
    let dispute = contract.dispute(1, second.root, second.cumulative.to_units());
    watcher.send(dispute.into_transaction_request()).await.unwrap();
    distributor.publish(&second).await.unwrap();
    wait();

    // Nobody decided: the root is gone, and what is published again is not taken for the old one.
    distributor.publish(&second).await.unwrap();
    let pending = admin.read(&contract.pendingEpoch()).await.unwrap();
    assert_eq!((pending.epoch, pending.disputed, pending.lapsed), (1, false, 1));
    wait();
    let (third, tree) = commitment(2, 30);
    distributor.publish(&third).await.unwrap();
    assert_eq!(distributor.published(EpochId::new(1)).await.unwrap(), Some(second));
    wait();
    assert_eq!(
        distributor.claim_many(&tree.claims().collect::<Vec<_>>()).await.unwrap(),
        [Amount::tokens(20)]
    );
}
