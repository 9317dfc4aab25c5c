//! A device that tells two histories, and the stake that answers for it.

use std::{sync::Arc, time::Duration};

use depin::{
    Address, Algorithm, Amount, Answer, B256, Did, ErrorKind, ManualClock, Network, NetworkId,
    RefusalCode, Sequence, SoftwareKey, Unverified, Verified,
    data::{
        batch::seal,
        evidence::{Equivocation, Fork, ForkVerifier},
    },
    devnet::Devnet,
    evm::{
        Chain, DeployOptions,
        bindings::{NetworkToken, StakeManager},
    },
    hw::{Policy, PsaVerifier, SIMULATED_INSECURE, SimulatedPebble},
    payment::{
        ProRata,
        evm::{EvmStake, StakeRules},
    },
    presets, tokens,
};

use crate::support::{NOW, celsius, later, owner};

const APPEAL: Duration = Duration::from_secs(7 * 86_400);
const TREASURY: Address = Address::repeat_byte(0x77);

async fn network(devnet: &Devnet, folder: &tempfile::TempDir) -> (Network, Chain) {
    let chain = Chain::from_provider(devnet.provider(), devnet.account(0)).connect().await.unwrap();
    let verifier = PsaVerifier::new(Policy::default().allow_simulated(SIMULATED_INSECURE));
    let operator = SoftwareKey::from_seed(Algorithm::Es256k, [9; 32]);
    let preset = presets::chain(chain.clone(), folder, verifier, operator).unwrap();
    let network = Network::builder(preset)
        .name("story")
        .clock(Arc::new(ManualClock::at(NOW)))
        .contracts(DeployOptions::new(NetworkId::parse("story").unwrap()))
        .rewards(ProRata::per_epoch(tokens(100)))
        .build()
        .await
        .unwrap();
    (network, chain)
}

/// Stakes of the network's token, of which the operator of the device gets 100: for the network, which slashes and
/// judges, and for him.
async fn stakes(devnet: &Devnet, admin: &Chain, token: Address) -> (EvmStake, EvmStake, Address) {
    let operator =
        Chain::from_provider(devnet.provider(), devnet.account(1)).connect().await.unwrap();
    let who = operator.account();
    let contract = NetworkToken::new(token, admin.provider());
    let minter = admin.read(&contract.MINTER_ROLE()).await.unwrap();
    let grant = contract.grantRole(minter, admin.account()).into_transaction_request();
    admin.send(grant).await.unwrap();
    let mint = contract.mint(who, tokens(100).to_units()).into_transaction_request();
    admin.send(mint).await.unwrap();

    let rules = StakeRules {
        unbonding: APPEAL * 3,
        appeal: APPEAL,
        cap: tokens(5),
        window: Duration::from_secs(86_400),
        treasury: TREASURY,
    };
    let stakes = EvmStake::deploy(admin, "story", token, &rules).await.unwrap();
    let contract = StakeManager::new(stakes.address(), admin.provider());
    let slasher = admin.read(&contract.SLASHER_ROLE()).await.unwrap();
    let judge = admin.read(&contract.JUDGE_ROLE()).await.unwrap();
    for role in [slasher, judge] {
        let grant = contract.grantRole(role, admin.account()).into_transaction_request();
        admin.send(grant).await.unwrap();
    }
    let own = EvmStake::new(operator, stakes.address());
    (stakes, own, who)
}

/// The device signs another batch for a place of its chain; the node refuses it and keeps both.
async fn fork(
    network: &Network,
    pebble: &SimulatedPebble,
    did: &Did,
    place: u64,
    letter: u64,
) -> Fork {
    let rival = [celsius(30 + i32::try_from(letter).unwrap())];
    let previous = match place.checked_sub(1).map(Sequence::new) {
        Some(before) => network.log().find(did, before).await.unwrap().unwrap().1,
        None => B256::ZERO,
    };
    let place = Sequence::new(place);
    let rival = seal(&*pebble.signer(), did, network.id(), place, previous, &rival).unwrap();
    match network.ingest().accept_batch(&rival).await.unwrap() {
        Answer::Refusal(refusal) => assert_eq!(refusal.code, RefusalCode::Fork),
        other => panic!("a fork was taken: {other:?}"),
    }
    network.ingest().fork(letter).await.unwrap()
}

/// What whoever slashes checks first: with the keys of the registry.
async fn verified(network: &Network, did: &Did, evidence: &[u8]) -> Verified<Equivocation> {
    let keys = network.registry().keys(did).await.unwrap();
    let received = Unverified::new(Fork::parse(evidence).unwrap());
    received.verify(&ForkVerifier::new(network.id(), &keys)).unwrap()
}

#[tokio::test]
async fn a_forked_history_costs_the_stake_of_its_device_once() {
    let (devnet, folder) = (Devnet::start(), tempfile::tempdir().unwrap());
    let (network, admin) = network(&devnet, &folder).await;
    let token = network.deployment().unwrap().token;
    let (stakes, own, operator) = stakes(&devnet, &admin, token).await;

    let pebble = SimulatedPebble::new(1);
    let device = network.enroll(pebble.clone(), owner(1)).await.unwrap();
    let subject = device.account().unwrap();
    own.bond("first", subject, tokens(20)).await.unwrap();
    device.send(&[celsius(20)]).await.unwrap();

    // The evidence goes out as bytes: anybody with the keys of the device sees what it proves.
    let sent = fork(&network, &pebble, device.did(), 0, 0).await.encode();
    let proof = verified(&network, device.did(), &sent).await;
    let fault = proof.fault();
    let slash = stakes.slash(operator, subject, tokens(5), fault).await.unwrap();
    assert_eq!(slash.amount, tokens(5));
    // A third history of the same place is other evidence of the same fault.
    let again = fork(&network, &pebble, device.did(), 0, 1).await.encode();
    let again = verified(&network, device.did(), &again).await;
    assert_ne!(again.id, proof.id);
    let again = stakes.slash(operator, subject, tokens(5), again.fault()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict, "{again}");

    // A fork of a later place is another fault, held too; no slash is larger than what a window executes.
    device.send(&[later(21)]).await.unwrap();
    let other = fork(&network, &pebble, device.did(), 1, 2).await.encode();
    let other = verified(&network, device.did(), &other).await.fault();
    let above = stakes.slash(operator, subject, tokens(6), other).await.unwrap_err();
    assert_eq!(above.kind(), ErrorKind::Limit, "{above}");
    stakes.slash(operator, subject, tokens(5), other).await.unwrap();

    // The operator appeals against the second one; the judge agrees.
    stakes.withdraw_slash(other, operator, subject).await.unwrap();
    let early = stakes.execute_slash(fault, operator, subject).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Unavailable, "{early}");
    devnet.increase_time(APPEAL.as_secs() + 60).unwrap();
    devnet.mine(1);
    assert_eq!(stakes.execute_slash(fault, operator, subject).await.unwrap(), tokens(5));
    for id in [fault, other] {
        let done = stakes.execute_slash(id, operator, subject).await.unwrap_err();
        assert_eq!(done.kind(), ErrorKind::NotFound, "{done}");
        let used = stakes.slash(operator, subject, tokens(1), id).await.unwrap_err();
        assert_eq!(used.kind(), ErrorKind::Conflict, "{used}");
    }
    let left = stakes.stake(operator, subject).await.unwrap();
    assert_eq!((left.bonded, left.held), (tokens(15), Amount::ZERO));
    assert_eq!(network.token().balance(TREASURY).await.unwrap(), tokens(5));
}
