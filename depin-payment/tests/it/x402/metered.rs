//! Payments of up to so much are taken once, and only what was used is settled.

use std::{sync::Arc, time::Duration};

use depin_core::{Amount, B256, ErrorKind, ManualClock, U256};
use depin_evm::{
    Chain,
    alloy::{
        providers::Provider,
        rpc::types::TransactionRequest,
        signers::{SignerSync, local::PrivateKeySigner},
        sol,
        sol_types::{SolCall, SolError, SolStruct, eip712_domain},
    },
};
use depin_payment::x402::{
    Outcome, PERMIT2, PaymentPayload, Refusal, Till, TillOptions, UPTO_PROXY, UptoPayment,
    UptoTerms, approve_permit2,
};
use serde_json::json;

use super::{
    PAYEE, Town, account_of, in_a_minute,
    node::{Mood, Node},
    payer, payers, pays,
    permit2::{pays_as, pays_up_to},
    till::{mint, move_all},
    units,
};

const TEA: B256 = B256::repeat_byte(0x7e);
const CAKE: B256 = B256::repeat_byte(0xca);
const MOST: u64 = 100;

sol! {
    struct TokenPermissions { address token; uint256 amount; }
    struct Witness { address to; address facilitator; uint256 validAfter; }
    struct PermitWitnessTransferFrom {
        TokenPermissions permitted;
        address spender;
        uint256 nonce;
        uint256 deadline;
        Witness witness;
    }

    function invalidateUnorderedNonces(uint256 word, uint256 mask) external;
    error PaymentTooEarly();
    error AmountExceedsPermitted();
    error UnauthorizedFacilitator();
    error InvalidNonce();
}

fn most() -> Amount {
    units(MOST)
}

fn refusal<T: std::fmt::Debug>(result: depin_core::Result<T>) -> Refusal {
    Refusal::of(&result.unwrap_err()).unwrap()
}

/// What the chain says when somebody sends a settlement.
async fn send(chain: &Chain, call: depin_evm::alloy::primitives::Bytes) -> depin_core::Result<()> {
    let transaction = TransactionRequest::default().to(UPTO_PROXY).input(call.into());
    chain.send(transaction).await.map(drop)
}

fn reverts<E: SolError>(result: depin_core::Result<()>) -> bool {
    let error = result.unwrap_err();
    depin_evm::Revert::of(&error).is_some_and(|revert| revert.decode::<E>().is_some())
}

async fn cancel(town: &Town, payment: &UptoPayment) {
    let chain = town.chain_of(&payer()).await;
    let (word, bit) = (payment.nonce() >> 8, payment.nonce().byte(0));
    let call = invalidateUnorderedNoncesCall { word, mask: U256::from(1) << usize::from(bit) };
    let call = TransactionRequest::default().to(PERMIT2).input(call.abi_encode().into());
    chain.send(call).await.unwrap();
}

#[tokio::test]
async fn what_was_used_is_moved_and_no_more() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let payment = pays_up_to(&till.upto_terms(most()), 1);
    till.verify_upto(most(), &payment).await.unwrap();
    assert!(till.take_upto(most(), &payment, units(30), TEA).await.unwrap());
    assert!(!till.take_upto(most(), &payment, units(30), TEA).await.unwrap());
    assert_eq!(till.balance().unwrap().due().unwrap(), units(30));
    let outcome = till.settle_upto(&payment).await.unwrap();
    assert!(matches!(outcome, Outcome::Settled(_)));
    let blocks = town.devnet.block_number();
    assert_eq!(till.settle_upto(&payment).await.unwrap(), outcome);
    assert_eq!(town.devnet.block_number(), blocks, "no second transaction");
    assert_eq!(town.balance(PAYEE).await, 30);
    assert_eq!(till.balance().unwrap().settled, units(30));
}

#[tokio::test]
async fn with_nothing_used_nothing_is_sent_and_the_payment_is_spent() {
    let Some(town) = Town::with_permit2().await else { return };
    let clock = Arc::new(ManualClock::at(super::now()));
    let options = TillOptions::in_memory().pay_to(PAYEE).keep(Duration::from_secs(1));
    let till = Till::open(town.chain.clone(), town.token, clock.clone(), options).await.unwrap();
    let payment = pays_up_to(&till.upto_terms(most()), 1);
    let blocks = town.devnet.block_number();
    till.take_upto(most(), &payment, units(0), TEA).await.unwrap();
    assert_eq!(till.settle_upto(&payment).await.unwrap(), Outcome::Unused);
    assert!(till.settle_due().await.unwrap().is_empty());
    assert_eq!((town.devnet.block_number(), town.balance(PAYEE).await), (blocks, 0));
    // The chain does not know that it is spent; the till does, for as long as it is valid.
    clock.advance(Duration::from_secs(30));
    till.settle_due().await.unwrap();
    assert_eq!(refusal(till.take_upto(most(), &payment, units(9), CAKE).await), Refusal::Spent);
    clock.advance(Duration::from_secs(60));
    till.settle_due().await.unwrap();
    assert_eq!(refusal(till.take_upto(most(), &payment, units(9), CAKE).await), Refusal::Expired);
}

#[tokio::test]
async fn more_than_was_signed_for_is_refused_here_and_on_the_chain() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let payment = pays_up_to(&till.upto_terms(most()), 1);
    let error = till.take_upto(most(), &payment, units(101), TEA).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    // A payee with other software asks the chain for more: the call with its amount changed.
    let call = payment.settlement(most()).unwrap();
    let place = 4 + 4 * 32 + 31;
    assert_eq!(call[place], 100);
    let mut call = call.to_vec();
    call[place] = 101;
    assert!(reverts::<AmountExceedsPermitted>(send(&town.chain, call.into()).await));
    assert_eq!(town.balance(PAYEE).await, 0);
    // All of it is not too much.
    till.take_upto(most(), &payment, most(), TEA).await.unwrap();
    till.settle_upto(&payment).await.unwrap();
    assert_eq!(town.balance(PAYEE).await, MOST);
}

#[tokio::test]
async fn nobody_but_the_facilitator_that_the_payer_named_can_settle() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let terms = till.upto_terms(most());
    let payment = pays_up_to(&terms, 1);
    let thief = Chain::from_provider(town.devnet.provider(), town.devnet.account(5));
    let thief = thief.connect().await.unwrap();
    let call = payment.settlement(most()).unwrap();
    assert!(reverts::<UnauthorizedFacilitator>(send(&thief, call).await));

    let mut others = terms;
    others.facilitator = thief.account();
    let error = till.verify_upto(most(), &pays_up_to(&others, 2)).await.unwrap_err();
    assert_eq!(Refusal::of(&error), Some(Refusal::Facilitator));
    assert!(error.to_string().contains("upto_facilitator_mismatch"), "{error}");
}

#[tokio::test]
async fn a_till_that_runs_with_another_account_keeps_what_it_cannot_settle() {
    let Some(town) = Town::with_permit2().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = || TillOptions::kept_in(folder.path().join("till.redb"));
    let till = town.till_with(options()).await;
    let payment = pays_up_to(&till.upto_terms(most()), 1);
    till.take_upto(most(), &payment, units(30), TEA).await.unwrap();
    drop(till);
    let other = Chain::from_provider(town.devnet.provider(), town.devnet.account(5));
    let other = other.connect().await.unwrap();
    let clock = Arc::new(depin_core::SystemClock);
    let till = Till::open(other, town.token, clock, options().pay_to(PAYEE)).await.unwrap();
    assert_eq!(till.settle_upto(&payment).await.unwrap(), Outcome::Pending);
    assert_eq!(till.balance().unwrap().due().unwrap(), units(30));
    drop(till);
    let till = town.till_with(options()).await;
    assert!(matches!(till.settle_due().await.unwrap()[..], [(_, Outcome::Settled(_))]));
    assert_eq!(town.balance(PAYEE).await, 30);
}

#[tokio::test]
async fn a_nonce_pays_once_whatever_is_signed_with_it() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let (small, large) = (till.upto_terms(most()), till.upto_terms(units(200)));
    let first = pays_up_to(&small, 7);
    till.take_upto(most(), &first, units(30), TEA).await.unwrap();
    let second = pays_up_to(&large, 7);
    assert_eq!(refusal(till.take_upto(units(200), &second, units(30), TEA).await), Refusal::Spent);
    till.settle_upto(&first).await.unwrap();
    // On the chain too, by whoever may settle.
    let call = second.settlement(units(30)).unwrap();
    assert!(reverts::<InvalidNonce>(send(&town.chain, call).await));
    let fresh = Till::open(
        town.chain.clone(),
        town.token,
        Arc::new(depin_core::SystemClock),
        TillOptions::in_memory().pay_to(PAYEE),
    );
    let fresh = fresh.await.unwrap();
    assert_eq!(refusal(fresh.take_upto(most(), &first, units(30), CAKE).await), Refusal::Used);
    assert_eq!(town.balance(PAYEE).await, 30);
}

#[tokio::test]
async fn another_witness_than_the_signed_one_moves_nothing() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let terms = till.upto_terms(most());
    let message = message_of(&pays_up_to(&terms, 1), &terms);
    let other = json!(account_of(&payers()[1]));
    for (field, value) in
        [("to", other.clone()), ("facilitator", other), ("validAfter", json!("1"))]
    {
        let mut changed = message.clone();
        let path = format!("/payload/permit2Authorization/witness/{field}");
        *changed.pointer_mut(&path).unwrap() = value;
        let payment = parse(&changed);
        assert_eq!(refusal(till.verify_upto(most(), &payment).await), Refusal::Signature);
        // Permit2 sees it as well, whoever sends it.
        let sent = send(&town.chain, payment.settlement(most()).unwrap()).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::Rejected, "{field}");
    }
    assert_eq!(town.balance(PAYEE).await, 0);
}

#[tokio::test]
async fn the_other_signature_that_the_curve_allows_is_refused() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let terms = till.upto_terms(most());
    let payment = pays_up_to(&terms, 1);
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let order = U256::from_str_radix(order, 16).unwrap();
    let [r @ .., v] = payment.signature();
    let (r, s) = r.split_at(32);
    let high = order - U256::from_be_slice(s);
    let parity = if *v == 28 { "1b" } else { "1c" };
    let mut message = message_of(&payment, &terms);
    let r = depin_evm::alloy::primitives::hex::encode(r);
    message["payload"]["signature"] = json!(format!("0x{r}{high:064x}{parity}"));
    let malleable = parse(&message);
    assert_eq!(refusal(till.verify_upto(most(), &malleable).await), Refusal::Signature);
    // Permit2 itself would take it: the payment is the same, and so is its name.
    assert_eq!(malleable.id(town.chain.id()), payment.id(town.chain.id()));
    till.take_upto(most(), &payment, units(30), TEA).await.unwrap();
    assert_eq!(refusal(till.take_upto(most(), &malleable, units(30), TEA).await), Refusal::Spent);
}

#[tokio::test]
async fn what_is_early_late_or_far_away_is_refused() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let terms = till.upto_terms(most());
    let at = |expires| terms.sign(&*payer(), expires, U256::from(1)).unwrap();
    let now = super::now();
    let late = at(now.plus(Duration::from_secs(3)));
    assert_eq!(refusal(till.verify_upto(most(), &late).await), Refusal::Expired);
    let far = at(now.plus(Duration::from_secs(3 * 86_400)));
    assert_eq!(refusal(till.verify_upto(most(), &far).await), Refusal::TooLong);
    till.verify_upto(most(), &at(now.plus(Duration::from_secs(600)))).await.unwrap();
    let far = at(now.plus(Duration::from_secs(700)));
    assert_eq!(refusal(till.verify_upto(most(), &far).await), Refusal::TooLong);
    let seconds = now.secs();
    till.verify_upto(most(), &valid_from(&terms, seconds - 1)).await.unwrap();
    let early = valid_from(&terms, seconds + 1_000);
    assert_eq!(refusal(till.verify_upto(most(), &early).await), Refusal::NotYetValid);
    let sent = send(&town.chain, early.settlement(most()).unwrap()).await;
    assert!(reverts::<PaymentTooEarly>(sent));
}

/// A payment that begins at a time, which our own client never signs; signed by alloy.
fn valid_from(terms: &UptoTerms, valid_after: u64) -> UptoPayment {
    let permit = PermitWitnessTransferFrom {
        permitted: TokenPermissions { token: terms.asset, amount: terms.most.to_units() },
        spender: UPTO_PROXY,
        nonce: U256::from(1),
        deadline: U256::from(in_a_minute().secs()),
        witness: Witness {
            to: terms.pay_to,
            facilitator: terms.facilitator,
            validAfter: U256::from(valid_after),
        },
    };
    let domain = eip712_domain! {
        name: "Permit2", chain_id: terms.chain.value(), verifying_contract: PERMIT2,
    };
    let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(1)).unwrap();
    let signature = key.sign_hash_sync(&permit.eip712_signing_hash(&domain)).unwrap();
    let ours = terms.sign(&*payer(), in_a_minute(), U256::from(1)).unwrap();
    let mut message = message_of(&ours, terms);
    let signed = &mut message["payload"]["permit2Authorization"];
    signed["witness"]["validAfter"] = json!(valid_after.to_string());
    signed["deadline"] = json!(permit.deadline.to_string());
    message["payload"]["signature"] = json!(signature.to_string());
    parse(&message)
}

#[tokio::test]
async fn an_approval_is_needed_first_and_only_once() {
    let Some(town) = Town::with_permit2_only().await else { return };
    let till = town.till().await;
    let payment = pays_up_to(&till.upto_terms(most()), 1);
    let error = till.verify_upto(most(), &payment).await.unwrap_err();
    assert_eq!(Refusal::of(&error), Some(Refusal::Allowance));
    assert!(error.to_string().contains("permit2_allowance_required"), "{error}");

    let chain = town.chain_of(&payer()).await;
    approve_permit2(&chain, town.token, units(99)).await.unwrap();
    assert_eq!(refusal(till.verify_upto(most(), &payment).await), Refusal::Allowance);
    approve_permit2(&chain, town.token, most()).await.unwrap();
    let blocks = town.devnet.block_number();
    approve_permit2(&chain, town.token, most()).await.unwrap();
    assert_eq!(town.devnet.block_number(), blocks, "nothing to do");
    till.verify_upto(most(), &payment).await.unwrap();
}

#[tokio::test]
async fn what_the_payer_lacks_is_not_taken() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let much = pays_up_to(&till.upto_terms(units(1_001)), 1);
    let error = till.take_upto(units(1_001), &much, units(1), TEA).await.unwrap_err();
    assert!(error.to_string().contains("permit2_insufficient_balance"), "{error}");
    // What is due of both schemes is covered together.
    let exact = pays(&till.terms(units(600)), 2);
    till.take(units(600), &exact, TEA).await.unwrap();
    let upto = pays_up_to(&till.upto_terms(units(600)), 3);
    assert_eq!(refusal(till.take_upto(units(600), &upto, units(401), CAKE).await), Refusal::Funds);
    till.take_upto(units(600), &upto, units(400), CAKE).await.unwrap();
    let settled = till.settle_due().await.unwrap();
    assert!(settled.iter().all(|(_, outcome)| matches!(outcome, Outcome::Settled(_))));
    assert_eq!(town.balance(PAYEE).await, 1_000);
}

#[tokio::test]
async fn what_leaves_between_check_and_settlement_is_owed_until_it_comes_back() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let terms = till.upto_terms(most());
    let payment = pays_up_to(&terms, 1);
    till.take_upto(most(), &payment, units(30), TEA).await.unwrap();
    move_all(&town, account_of(&payer()), depin_core::Address::repeat_byte(0xaa)).await;
    assert_eq!(till.settle_upto(&payment).await.unwrap(), Outcome::Pending);
    assert_eq!(till.balance().unwrap().due().unwrap(), units(30));
    mint(&town, account_of(&payer()), 30).await;
    assert!(matches!(till.settle_upto(&payment).await.unwrap(), Outcome::Settled(_)));
    assert_eq!(town.balance(PAYEE).await, 30);
}

#[tokio::test]
async fn a_payer_who_cancels_the_nonce_has_not_paid() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till_with(TillOptions::in_memory().confirmations(3)).await;
    let terms = till.upto_terms(most());
    let (payment, same) = (pays_up_to(&terms, 1), pays_up_to(&terms, 2));
    till.take_upto(most(), &payment, units(30), TEA).await.unwrap();
    cancel(&town, &payment).await;
    // As much does reach the payee from the payer, for something else.
    till.take_upto(most(), &same, units(30), CAKE).await.unwrap();
    assert!(matches!(till.settle_upto(&same).await.unwrap(), Outcome::Settled(_)));
    town.devnet.mine(1);
    assert_eq!(till.settle_upto(&payment).await.unwrap(), Outcome::Pending, "may be taken back");
    town.devnet.mine(2);
    assert_eq!(till.settle_upto(&payment).await.unwrap(), Outcome::Failed(Refusal::Used));
    assert!(till.settle_due().await.unwrap().is_empty(), "nothing more is tried");
    let balance = till.balance().unwrap();
    assert_eq!((balance.accepted, balance.settled), (units(60), units(30)), "the loss is told");
}

#[tokio::test]
async fn what_was_sent_before_the_process_was_killed_is_found_and_not_sent_again() {
    let Some(town) = Town::with_permit2().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = || TillOptions::kept_in(folder.path().join("till.redb"));
    let till = town.till_with(options()).await;
    let terms = till.upto_terms(most());
    let (payment, decoy) = (pays_up_to(&terms, 1), pays_up_to(&terms, 2));
    till.take_upto(most(), &payment, units(30), TEA).await.unwrap();
    // What the killed till sent, and what its book never heard of.
    send(&town.chain, decoy.settlement(units(30)).unwrap()).await.unwrap();
    send(&town.chain, payment.settlement(units(30)).unwrap()).await.unwrap();
    drop(till);
    let till = town.till_with(options()).await;
    assert!(matches!(till.settle_due().await.unwrap()[..], [(_, Outcome::Settled(_))]));
    assert_eq!(town.balance(PAYEE).await, 60);
    assert_eq!(till.balance().unwrap().settled, units(30));
}

#[tokio::test]
async fn a_settlement_of_which_the_node_does_not_tell_is_not_taken_for_lost() {
    let Some(town) = Town::with_permit2().await else { return };
    let node = Node::start(&town.devnet).await;
    let options = TillOptions::in_memory().pay_to(PAYEE).confirmations(3);
    let clock = Arc::new(depin_core::SystemClock);
    let chain = node.chain(&town.devnet, 4).await;
    let till = Till::open(chain, town.token, clock, options).await.unwrap();
    let payment = pays_up_to(&till.upto_terms(most()), 1);
    till.take_upto(most(), &payment, units(30), TEA).await.unwrap();
    // Sent by an earlier life of the till.
    let life = Chain::from_provider(town.devnet.provider(), town.devnet.account(4));
    send(&life.connect().await.unwrap(), payment.settlement(units(30)).unwrap()).await.unwrap();
    node.set(Mood::Forgetful);
    for _ in 0..2 {
        assert_eq!(till.settle_upto(&payment).await.unwrap(), Outcome::Pending);
        town.devnet.mine(1);
    }
    assert_eq!(till.balance().unwrap().due().unwrap(), units(30));
    node.set(Mood::Honest);
    assert!(matches!(till.settle_upto(&payment).await.unwrap(), Outcome::Settled(_)));
    assert_eq!((town.balance(PAYEE).await, till.balance().unwrap().settled), (30, units(30)));
}

#[tokio::test]
async fn what_waits_in_the_pool_when_the_process_is_killed_is_paid_once() {
    let Some(town) = Town::with_permit2().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let options = || TillOptions::kept_in(folder.path().join("till.redb")).pay_to(PAYEE);
    let open = |chain| {
        let clock = Arc::new(depin_core::SystemClock);
        Till::open(chain, town.token, clock, options())
    };
    // Each life has a handle of its own, which remembers nothing of the other's.
    let life = || {
        let chain = Chain::from_provider(town.devnet.provider(), town.devnet.account(3));
        let chain = chain.poll_interval(Duration::from_millis(5));
        chain.timeout(Duration::from_millis(100)).connect()
    };
    let till = open(life().await.unwrap()).await.unwrap();
    let payment = pays_up_to(&till.upto_terms(most()), 1);
    till.take_upto(most(), &payment, units(30), TEA).await.unwrap();
    town.devnet.set_automine(false);
    assert_eq!(till.settle_upto(&payment).await.unwrap(), Outcome::Pending);
    drop(till);
    let till = open(life().await.unwrap()).await.unwrap();
    let again = till.settle_upto(&payment).await.unwrap();
    assert_eq!(again, Outcome::Pending);
    town.devnet.mine(1);
    town.devnet.set_automine(true);
    assert!(matches!(till.settle_upto(&payment).await.unwrap(), Outcome::Settled(_)));
    assert_eq!((town.balance(PAYEE).await, till.balance().unwrap().settled), (30, units(30)));
}

#[tokio::test]
async fn a_settlement_that_a_reorganisation_took_away_is_sent_again() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let payment = pays_up_to(&till.upto_terms(most()), 1);
    till.take_upto(most(), &payment, units(30), TEA).await.unwrap();
    assert!(matches!(till.settle_upto(&payment).await.unwrap(), Outcome::Settled(_)));
    town.devnet.reorg(1).unwrap();
    assert_eq!(town.balance(PAYEE).await, 0);
    town.chain.settle().await.unwrap();
    assert_eq!(town.balance(PAYEE).await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_takers_take_once() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let payment = pays_up_to(&till.upto_terms(most()), 1);
    let mut takers = tokio::task::JoinSet::new();
    for purpose in [TEA, CAKE].into_iter().cycle().take(16) {
        let (till, payment) = (till.clone(), payment.clone());
        takers.spawn(async move {
            let taken = till.take_upto(most(), &payment, units(30), purpose).await;
            till.settle_upto(&payment).await.unwrap();
            taken
        });
    }
    let all = takers.join_all().await;
    assert_eq!(all.iter().filter(|taken| matches!(taken, Ok(true))).count(), 1);
    assert_eq!(all.iter().filter(|taken| taken.is_err()).count(), 8, "one purpose only");
    assert_eq!(town.balance(PAYEE).await, 30);
}

#[tokio::test]
async fn payers_do_not_share_nonces() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let terms = till.upto_terms(most());
    for (payer, purpose) in payers().iter().zip([TEA, CAKE]) {
        let payment = pays_as(payer, &terms, 1);
        till.take_upto(most(), &payment, units(30), purpose).await.unwrap();
        assert!(matches!(till.settle_upto(&payment).await.unwrap(), Outcome::Settled(_)));
    }
    assert_eq!(town.balance(PAYEE).await, 60);
}

#[tokio::test]
async fn settling_is_as_cheap_as_two_checks_and_a_transfer() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    for nonce in 1..=2 {
        let payment = pays_up_to(&till.upto_terms(most()), nonce);
        till.take_upto(most(), &payment, units(1), TEA).await.unwrap();
        let Outcome::Settled(transaction) = till.settle_upto(&payment).await.unwrap() else {
            panic!("settled")
        };
        let receipt = town.chain.provider().get_transaction_receipt(transaction);
        let gas = receipt.await.unwrap().unwrap().gas_used;
        println!("x402 upto settlement {nonce}: {gas} gas");
        assert!(gas <= 100_000, "{gas}");
    }
}

#[tokio::test]
async fn a_chain_without_the_contracts_is_refused_before_anything_is_offered() {
    let town = Town::start().await;
    let till = town.till().await;
    let error = till.price_upto(most()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let payment = pays_up_to(&till.upto_terms(most()), 1);
    let error = till.verify_upto(most(), &payment).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "a call to no code succeeds: {error}");
}

fn message_of(payment: &UptoPayment, terms: &depin_payment::x402::UptoTerms) -> serde_json::Value {
    let required = json!({
        "x402Version": 2, "resource": { "url": "/" }, "accepts": [terms.to_requirements()],
    });
    let required = required.to_string();
    let required = depin_payment::x402::PaymentRequired::from_json(required.as_bytes()).unwrap();
    let message = payment.to_message(&required, 0).unwrap();
    serde_json::from_slice(&message.to_json()).unwrap()
}

fn parse(message: &serde_json::Value) -> UptoPayment {
    let payload = PaymentPayload::from_json(message.to_string().as_bytes()).unwrap();
    UptoPayment::parse(&payload).unwrap()
}
