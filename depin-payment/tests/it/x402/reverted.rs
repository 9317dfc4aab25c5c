//! Payments whose transfer reverts on chain, because the payer moved the money away just before it.

use std::time::Duration;

use axum::http::StatusCode;
use depin_core::{Address, B256, U256};
use depin_evm::{Chain, alloy::signers::local::PrivateKeySigner, bindings::NetworkToken};
use depin_payment::x402::Outcome;
use rand::thread_rng;

use super::{
    PAYEE, Town, account_of,
    http::shop,
    payer, pays, purse,
    service::{exchange, refusal, with},
    units,
};

impl Town {
    /// By which the payer sends transactions of its own.
    pub(super) async fn payer_chain(&self) -> Chain {
        let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(1)).unwrap();
        self.devnet.set_balance(signer.address(), U256::from(10).pow(U256::from(18)));
        let chain = Chain::from_provider(self.devnet.provider(), signer);
        chain.poll_interval(Duration::from_millis(5)).connect().await.unwrap()
    }

    /// Mines what `paying` sends in a block in which the payer gives away everything first.
    async fn outrun<T: Send + 'static>(
        &self,
        paying: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let payer = self.payer_chain().await;
        self.devnet.set_automine(false);
        let paying = tokio::spawn(paying);
        self.until_waiting(1).await;
        let token = NetworkToken::new(self.token, payer.provider());
        let mut away =
            token.transfer(Address::repeat_byte(9), U256::from(1_000)).into_transaction_request();
        away.max_fee_per_gas = Some(DEAR);
        away.max_priority_fee_per_gas = Some(DEAR);
        let moving = tokio::spawn(async move { payer.send(away).await });
        self.until_waiting(2).await;
        self.devnet.mine(1);
        moving.await.unwrap().unwrap();
        let paid = paying.await.unwrap();
        self.devnet.set_automine(true);
        paid
    }

    async fn until_waiting(&self, count: usize) {
        while self.devnet.waiting().len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Gives the payer money again.
    async fn refill(&self) {
        let token = NetworkToken::new(self.token, self.chain.provider());
        let mint = token.mint(account_of(&payer()), U256::from(1_000));
        self.chain.send(mint.into_transaction_request()).await.unwrap();
    }
}

#[tokio::test]
async fn a_transfer_that_reverted_is_tried_again_with_the_next_settlement() {
    let town = Town::start().await;
    let till = town.till().await;
    let payment = pays(&till.terms(units(100)), 1);
    till.take(units(100), &payment, B256::repeat_byte(0x7e)).await.unwrap();
    let first = {
        let (till, payment) = (till.clone(), payment.clone());
        town.outrun(async move { till.settle(units(100), &payment).await }).await
    };
    assert_eq!(first.unwrap(), Outcome::Pending);

    town.refill().await;
    let second = till.settle(units(100), &payment).await.unwrap();
    assert!(matches!(second, Outcome::Settled(_)), "{second:?}");
    assert_eq!(town.balance(PAYEE).await, 100);
}

#[tokio::test]
async fn who_repeats_a_request_whose_transfer_reverted_is_told_why_and_served_when_it_can_pay() {
    let town = Town::start().await;
    let till = town.till().await;
    let (shop, purse) = (shop(&till).await, purse(&town.chain, town.token));
    let payment = purse.pay(&shop.offer("/reading").await, &mut thread_rng()).unwrap();
    let request = || with(shop.get("/reading"), &payment);
    let poor = town.outrun(exchange(request())).await;
    assert_eq!(refusal(&poor), "insufficient_funds");
    let still = exchange(request()).await;
    assert_eq!(refusal(&still), "insufficient_funds");

    town.refill().await;
    let served = exchange(request()).await;
    // The answer that nobody paid for was not kept.
    assert_eq!((served.status(), served.body().as_slice()), (StatusCode::OK, &b"1"[..]));
    assert_eq!((shop.served(), town.balance(PAYEE).await), (2, 10));
}

/// A fee that no other transaction offers.
const DEAR: u128 = 1_000_000_000_000;
