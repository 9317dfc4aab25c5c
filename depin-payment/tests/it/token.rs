//! Tokens that an account moves itself.

use std::time::Duration;

use depin_core::{Address, Amount, ErrorKind, reward::TokenLedger};
use depin_devnet::Devnet;
use depin_evm::{
    Chain,
    alloy::{
        primitives::{Bytes, TxKind},
        rpc::types::TransactionRequest,
    },
    bindings::NetworkToken,
};
use depin_payment::evm::EvmToken;

use super::evm::{chain, fund};

const ALICE: Address = Address::repeat_byte(0xa1);

#[tokio::test]
async fn an_intent_moves_tokens_once_and_stands_for_one_payment() {
    let devnet = Devnet::start();
    let admin = chain(&devnet, 0).await;
    let address = fund(&admin, &[admin.account()], Amount::tokens(10)).await;
    let token = EvmToken::new(admin.clone(), address);

    token.transfer("rent", ALICE, Amount::tokens(6)).await.unwrap();
    // All that is left is less: what was paid need not be possible a second time.
    token.transfer("rent", ALICE, Amount::tokens(6)).await.unwrap();
    assert_eq!(token.balance(ALICE).await.unwrap(), Amount::tokens(6));
    let other = token.transfer("rent", ALICE, Amount::tokens(1)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);

    token.burn("credits", Amount::tokens(3)).await.unwrap();
    token.burn("credits", Amount::tokens(3)).await.unwrap();
    assert_eq!(token.supply().await.unwrap(), Amount::tokens(7));
    assert_eq!(token.balance(admin.account()).await.unwrap(), Amount::tokens(1));
}

#[tokio::test]
async fn what_would_move_nothing_is_refused_before_it_costs_anything() {
    let devnet = Devnet::start();
    let admin = chain(&devnet, 0).await;
    let address = fund(&admin, &[admin.account()], Amount::tokens(10)).await;
    let declining = declining_token(&admin).await;
    let blocks = devnet.block_number();
    for (token, kind) in [
        (address, ErrorKind::Rejected),
        (declining, ErrorKind::Rejected),
        (Address::repeat_byte(9), ErrorKind::NotFound),
    ] {
        let token = EvmToken::new(admin.clone(), token);
        let sent = token.transfer("too much", ALICE, Amount::tokens(11)).await.unwrap_err();
        let burnt = token.burn("too much", Amount::tokens(11)).await.unwrap_err();
        assert_eq!((sent.kind(), burnt.kind()), (kind, kind), "{sent}; {burnt}");
    }
    assert_eq!(devnet.block_number(), blocks);
}

/// Rent that reverts beside food, is repeated, and whose block is replaced.
#[tokio::test]
async fn rent_that_reverted_is_not_paid_twice_when_its_block_is_replaced() {
    let devnet = Devnet::start();
    let (admin, tenant) = (chain(&devnet, 0).await, chain(&devnet, 1).await);
    let address = fund(&admin, &[admin.account()], Amount::from(100)).await;
    let bank = EvmToken::new(admin.clone(), address);
    let contract = NetworkToken::new(address, admin.provider());
    let (grocer, landlord) = (Address::repeat_byte(0xaa), Address::repeat_byte(0xbb));
    let five = Amount::from(5);
    let pay = |intent, to| {
        let (tenant, call) = (tenant.clone(), contract.transfer(to, five.to_units()));
        let tx = call.into_transaction_request();
        async move { tenant.send_once(intent, tx).await }
    };
    bank.transfer("first", tenant.account(), five).await.unwrap();
    let start = devnet.block_number();

    devnet.set_automine(false);
    let food = tokio::spawn(pay("food", grocer));
    waiting(&devnet, 1).await;
    let rent = tokio::spawn(pay("rent", landlord));
    waiting(&devnet, 2).await;
    devnet.mine(1);
    devnet.set_automine(true);
    food.await.unwrap().unwrap();
    assert_eq!(rent.await.unwrap().unwrap_err().kind(), ErrorKind::Rejected);

    bank.transfer("second", tenant.account(), Amount::from(10)).await.unwrap();
    let early = pay("rent", landlord).await.unwrap_err();
    assert_eq!(early.kind(), ErrorKind::Unavailable, "{early}");
    devnet.reorg(devnet.block_number() - start).unwrap();
    admin.settle().await.unwrap();
    tenant.settle().await.unwrap();
    devnet.mine(64);
    pay("rent", landlord).await.unwrap();
    pay("rent", landlord).await.unwrap();
    assert_eq!(bank.balance(landlord).await.unwrap(), five);
    assert_eq!(bank.balance(grocer).await.unwrap(), five);
    assert_eq!(bank.balance(tenant.account()).await.unwrap(), five);
}

async fn waiting(devnet: &Devnet, transactions: usize) {
    while devnet.waiting().len() < transactions {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A contract that answers false to everything.
async fn declining_token(chain: &Chain) -> Address {
    let code = [0x60, 0x20, 0x5f, 0xf3]; // return 32 bytes of memory that nobody wrote
    let init = [&[0x63][..], &code, &[0x5f, 0x52, 0x60, 0x04, 0x60, 0x1c, 0xf3]].concat();
    let tx = TransactionRequest::default().input(Bytes::from(init).into());
    let tx = TransactionRequest { to: Some(TxKind::Create), ..tx };
    chain.send(tx).await.unwrap().contract_address.unwrap()
}
