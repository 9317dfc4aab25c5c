//! Credits bought on the embedded chain, at prices of a contract.

use std::time::Duration;

use depin_core::{
    Address, Amount, B256, EpochId, ErrorKind, NetworkId, Timestamp, U256,
    reward::{Commitment, RewardDistributor, TokenLedger},
};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, DeployOptions, Role, Roles, TokenSource,
    alloy::{primitives::Bytes, rpc::types::TransactionRequest},
    bindings::{CreditMinter::BandRules as ContractRules, NetworkToken},
    deploy,
};
use depin_payment::{
    credits::{Credits, Price, PriceSource},
    evm::{BandRules, EvmDistributor, EvmMinter, EvmPrices, EvmToken},
    tree::RewardTree,
};

use super::evm::{chain, fund};

const MINUTE: Duration = Duration::from_secs(60);

fn rules() -> BandRules {
    BandRules {
        credits_per_fiat: 100_000,
        max_age: MINUTE,
        period: MINUTE * 60,
        smoothing: 4,
        allowance: Amount::tokens(10),
    }
}

/// A contract that answers every call with 2.00 give or take 0.01, with eight decimals, as of `when`: the opcode
/// that gives the time, or a number.
async fn oracle(chain: &Chain, when: &[u8]) -> Address {
    let mut code = vec![0x63, 0x0b, 0xeb, 0xc2, 0x00, 0x5f, 0x52]; // 200,000,000 in word 0
    code.extend([0x62, 0x0f, 0x42, 0x40, 0x60, 0x20, 0x52]); // 1,000,000 in word 1
    code.extend([0x60, 0x07, 0x19, 0x60, 0x40, 0x52]); // -8 in word 2
    code.extend(when);
    code.extend([0x60, 0x60, 0x52, 0x60, 0x80, 0x5f, 0xf3]); // in word 3; four words are the answer
    let length = u8::try_from(code.len()).unwrap();
    let mut init = vec![0x60, length, 0x60, 0x0a, 0x5f, 0x39, 0x60, length, 0x5f, 0xf3];
    init.extend(code);
    let tx = TransactionRequest::default().input(Bytes::from(init).into());
    let tx = TransactionRequest { to: Some(depin_evm::alloy::primitives::TxKind::Create), ..tx };
    chain.send(tx).await.unwrap().contract_address.unwrap()
}

const NOW: &[u8] = &[0x42];
const LONG_AGO: &[u8] = &[0x60, 0x01];

async fn minter(devnet: &Devnet, when: &[u8]) -> (EvmMinter, EvmToken, Chain) {
    let admin = chain(devnet, 0).await;
    let token = fund(&admin, &[admin.account()], Amount::tokens(100)).await;
    let prices = oracle(&admin, when).await;
    let minter = EvmMinter::deploy(&admin, "test", token, prices, &rules()).await.unwrap();
    Roles::of(admin.clone(), token).grant(Role::MINTER, minter.address()).await.unwrap();
    (minter, EvmToken::new(admin.clone(), token), admin)
}

#[tokio::test]
async fn tokens_become_credits_as_the_rules_in_rust_say() {
    let devnet = Devnet::start();
    let (minter, token, admin) = minter(&devnet, NOW).await;
    let price = minter.prices().await.unwrap().price().await.unwrap();
    let published = price.published();
    assert_eq!(price, Price::new(200_000_000, 1_000_000, -8, published));
    let credits = Credits::new(18, 5, MINUTE);
    for units in [1_u128, 5_050_505_050_505, 10_u128.pow(18), 3 * 10_u128.pow(18) + 7] {
        let amount = Amount::units(U256::from(units));
        let expected = credits.bought(amount, &price, published).unwrap();
        assert_eq!(minter.quote(amount).await.unwrap(), expected, "{units}");
    }
    let (device, tokens) = (Address::repeat_byte(1), Amount::tokens(10));
    let wanted = U256::from(1_980_000);
    let more = minter.buy("one", device, tokens, wanted + U256::ONE).await.unwrap_err();
    assert_eq!(more.kind(), ErrorKind::Conflict);
    // What was refused has used up no name, and what was bought is not bought again.
    for _ in 0..2 {
        assert_eq!(minter.buy("one", device, tokens, wanted).await.unwrap(), wanted);
    }
    let other = minter.buy("one", device, Amount::tokens(11), wanted).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict, "{other}");
    assert_eq!(token.supply().await.unwrap(), Amount::tokens(90), "burned");
    assert_eq!(token.balance(admin.account()).await.unwrap(), Amount::tokens(90));

    let refused = minter.spend("one", device, U256::ONE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected, "who may spend is appointed");
    minter.roles().grant(Role::SPENDER, admin.account()).await.unwrap();
    for _ in 0..2 {
        minter.spend("one", device, wanted - U256::ONE).await.unwrap();
    }
    assert_eq!(minter.credits(device).await.unwrap(), U256::ONE);
    let refused = minter.spend("two", device, wanted).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Rejected);
}

#[tokio::test]
async fn rewards_stay_within_the_band() {
    let devnet = Devnet::start();
    let (minter, token, admin) = minter(&devnet, NOW).await;
    minter.roles().grant(Role::EMITTER, admin.account()).await.unwrap();
    let bob = Address::repeat_byte(0xb0);
    assert_eq!(minter.mintable().await.unwrap(), Amount::tokens(10), "the allowance");
    for _ in 0..2 {
        minter.mint("first", bob, Amount::tokens(10)).await.unwrap();
    }
    let more = minter.mint("more", bob, Amount::from(1)).await.unwrap_err();
    assert_eq!(more.kind(), ErrorKind::Limit);

    // A quarter of what was burned comes back in the next period.
    minter.buy("credits", bob, Amount::tokens(40), U256::ZERO).await.unwrap();
    devnet.increase_time(rules().period.as_secs() + 60).unwrap();
    devnet.mine(1);
    assert_eq!(minter.mintable().await.unwrap(), Amount::tokens(20));
    minter.mint("more", bob, Amount::tokens(20)).await.unwrap();
    assert_eq!(token.balance(bob).await.unwrap(), Amount::tokens(30));
}

#[tokio::test]
async fn a_rest_of_many_periods_is_gone_through_in_steps() {
    let devnet = Devnet::start();
    let (minter, _, admin) = minter(&devnet, NOW).await;
    minter.buy("credits", admin.account(), Amount::tokens(40), U256::ZERO).await.unwrap();
    devnet.increase_time(rules().period.as_secs() * 3 + 60).unwrap();
    devnet.mine(1);
    // The allowance, and a quarter of what is left of the burn: what the periods before did not mint is lost.
    let there = minter.mintable().await.unwrap();
    assert_eq!(there, Amount::parse("15.625").unwrap());
    for periods in [1, 0, 1, 7] {
        minter.advance(periods).await.unwrap();
        assert_eq!(minter.mintable().await.unwrap(), there, "in however many steps");
    }
}

/// A network that burns and mints, from its deployment to a claim, where its account says nothing by hand.
#[tokio::test]
async fn a_network_that_burns_and_mints_pays_what_was_burned_and_no_more() {
    let devnet = Devnet::start();
    let admin = chain(&devnet, 0).await;
    let prices = oracle(&admin, NOW).await;
    let source = TokenSource::BurnAndMint { prices, rules: rules().on_chain().unwrap() };
    let options = DeployOptions::new(NetworkId::parse("burning").unwrap()).source(source);
    let contracts = deploy(&admin, &options).await.unwrap();
    assert_eq!(deploy(&admin, &options).await.unwrap(), contracts, "the same again");
    let (minter, token) = (
        EvmMinter::new(admin.clone(), contracts.source),
        EvmToken::new(admin.clone(), contracts.token),
    );
    assert!(minter.prices().await.unwrap().price().await.is_ok());
    let roles = Roles::of(admin.clone(), contracts.token);
    assert!(roles.has(Role::MINTER, contracts.source).await.unwrap());
    for other in [admin.account(), contracts.distributor] {
        assert!(!roles.has(Role::MINTER, other).await.unwrap(), "the source alone mints");
    }

    // The allowance of the first period is what there is to earn, and to burn.
    let distributor = EvmDistributor::new(admin.clone(), contracts.distributor);
    let owner = admin.account();
    let publish = async |epoch: u64, earned: Amount| {
        let tree = RewardTree::build(vec![(owner, earned)]).unwrap();
        let commitment = Commitment {
            epoch: EpochId::new(epoch),
            root: tree.root(),
            cumulative: earned,
            manifest: B256::repeat_byte(1),
        };
        distributor.publish(&commitment).await?;
        distributor.claim(owner, earned, &tree.proof(owner).unwrap()).await
    };
    let (allowance, one) = (Amount::tokens(10), Amount::from(1));
    let error = publish(0, allowance.checked_add(one).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    publish(0, allowance).await.unwrap();
    assert_eq!(token.balance(owner).await.unwrap(), allowance);
    minter.buy("credits", owner, Amount::tokens(8), U256::ZERO).await.unwrap();

    // A quarter of the burn comes back in the next period, beside its allowance, and not one unit on top.
    devnet.increase_time(rules().period.as_secs() + 60).unwrap();
    devnet.mine(1);
    let earned = Amount::tokens(22);
    let error = publish(1, earned.checked_add(one).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    // One that waits for its window has to be removed before less can be published.
    assert!(error.to_string().contains("have the arbiter reject"), "{error}");
    publish(1, earned).await.unwrap();
    assert_eq!(token.balance(owner).await.unwrap(), Amount::tokens(14));
    assert_eq!(token.supply().await.unwrap(), Amount::tokens(14), "22 minted and 8 burned");
}

#[tokio::test]
async fn without_an_allowance_what_the_administrator_issued_and_somebody_burned_comes_back() {
    let devnet = Devnet::start();
    let admin = chain(&devnet, 0).await;
    let prices = oracle(&admin, NOW).await;
    let rules = BandRules { allowance: Amount::ZERO, ..rules() };
    let source = TokenSource::BurnAndMint { prices, rules: rules.on_chain().unwrap() };
    let options = DeployOptions::new(NetworkId::parse("burning").unwrap()).source(source);
    let contracts = deploy(&admin, &options).await.unwrap();
    let minter = EvmMinter::new(admin.clone(), contracts.source);
    assert_eq!(minter.mintable().await.unwrap(), Amount::ZERO);

    let (me, roles) = (admin.account(), Roles::of(admin.clone(), contracts.token));
    roles.grant(Role::MINTER, me).await.unwrap();
    let token = NetworkToken::new(contracts.token, admin.provider());
    let issue = token.mint(me, Amount::tokens(40).to_units()).into_transaction_request();
    admin.send(issue).await.unwrap();
    roles.withdraw(Role::MINTER, me).await.unwrap();
    minter.buy("credits", me, Amount::tokens(40), U256::ZERO).await.unwrap();
    devnet.increase_time(rules.period.as_secs() + 60).unwrap();
    devnet.mine(1);
    assert_eq!(minter.mintable().await.unwrap(), Amount::tokens(10), "a quarter of the burn");
}

#[tokio::test]
async fn a_stale_price_sells_nothing() {
    let devnet = Devnet::start();
    let (minter, _, admin) = minter(&devnet, LONG_AGO).await;
    let error =
        minter.buy("stale", admin.account(), Amount::tokens(1), U256::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let prices = minter.prices().await.unwrap();
    assert_eq!(prices.price().await.unwrap().published(), Timestamp::from_secs(1), "told as it is");
    let nowhere = EvmPrices::new(admin, Address::repeat_byte(9));
    assert_eq!(nowhere.price().await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn bands_that_the_contract_would_refuse_are_refused_before() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    let nobody = Address::repeat_byte(9);
    for (rules, kind) in [
        (BandRules { period: Duration::ZERO, ..rules() }, ErrorKind::Config),
        (BandRules { smoothing: 0, ..rules() }, ErrorKind::Config),
        (BandRules { credits_per_fiat: 0, ..rules() }, ErrorKind::Config),
        (BandRules { max_age: Duration::from_secs(1 << 40), ..rules() }, ErrorKind::Limit),
        (BandRules { allowance: Amount::MAX, ..rules() }, ErrorKind::Limit),
    ] {
        let error = EvmMinter::deploy(&chain, "bad", nobody, nobody, &rules).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{rules:?}");
    }
    // Nor does a whole network begin with what it could never issue by.
    let good = rules().on_chain().unwrap();
    let zero = TokenSource::BurnAndMint { prices: Address::ZERO, rules: good.clone() };
    let rules = ContractRules { smoothing: 0, ..good };
    for source in [zero, TokenSource::BurnAndMint { prices: nobody, rules }] {
        let options = DeployOptions::new(NetworkId::parse("bad").unwrap()).source(source);
        assert_eq!(deploy(&chain, &options).await.unwrap_err().kind(), ErrorKind::Config);
    }
}
