//! Requests of one payer that are worked on at once: no more is worked for than he has.

use std::sync::Arc;

use axum::{Extension, Router, routing::get};
use depin_core::B256;
use depin_payment::x402::{
    Authorization, ExactPayment, Outcome, PaymentPayload, PaymentRequired, Price, Refusal, Till,
    Used,
};
use http::StatusCode;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    PAYEE, Town, account_of, in_a_minute, payer,
    permit2::pays_up_to,
    service::{Served, Service, exchange, refusal, with},
    units,
};

/// A server that works until it is let go on, and fails where it is told to.
struct Workshop {
    service: Service,
    gate: Arc<Semaphore>,
}

impl Workshop {
    async fn open(price: Price, used: u64) -> Self {
        let (served, gate) = (Served::default(), Arc::new(Semaphore::new(0)));
        let (count, wait) = (served.clone(), Arc::clone(&gate));
        let work = move || async move {
            count.count();
            wait.acquire().await.unwrap().forget();
            (Extension(Used(used.into())), "done")
        };
        let app = Router::new().route("/work", get(work).layer(price));
        Self { service: Service::open(app, served).await, gate }
    }

    /// Sends requests with payments, all at once.
    fn send(&self, payments: Vec<PaymentPayload>) -> JoinSet<Answer> {
        let mut requests = JoinSet::new();
        for payment in payments {
            requests.spawn(exchange(with(self.service.get("/work"), &payment)));
        }
        requests
    }
}

impl Workshop {
    /// Waits until this many requests were worked on, ever.
    async fn is_asked(&self, times: u64) {
        while self.service.served() < times {
            tokio::task::yield_now().await;
        }
    }

    /// Asks again for as long as it is told to.
    fn insist(&self, payment: PaymentPayload) -> impl Future<Output = Answer> + use<> {
        let request = with(self.service.get("/work"), &payment);
        async move {
            loop {
                let answer = exchange(request.clone()).await;
                if !is_busy(&answer) {
                    return answer;
                }
            }
        }
    }
}

type Answer = http::Response<Vec<u8>>;

fn is_busy(answer: &Answer) -> bool {
    answer.status() == StatusCode::SERVICE_UNAVAILABLE && answer.headers()["retry-after"] == "1"
}

/// Payments of 300 units each, of a payer who has 1,000.
fn dear(till: &Till, required: &PaymentRequired) -> Vec<PaymentPayload> {
    let terms = till.terms(units(300));
    let (from, expires) = (account_of(&payer()), in_a_minute());
    let sign = |nonce| {
        let payment = Authorization::new(&terms, from, expires, B256::repeat_byte(nonce));
        message(&payment.sign(&terms, &*payer()).unwrap(), required)
    };
    (1..=20).map(sign).collect()
}

fn message(payment: &ExactPayment, required: &PaymentRequired) -> PaymentPayload {
    let given = payment.authorization();
    let message = serde_json::json!({
        "x402Version": 2, "accepted": required.accepts[0],
        "payload": {
            "signature": depin_evm::alloy::primitives::hex::encode_prefixed(payment.signature()),
            "authorization": {
                "from": given.from, "to": given.to, "value": given.value.to_units().to_string(),
                "validAfter": given.valid_after.to_string(),
                "validBefore": given.valid_before.to_string(), "nonce": given.nonce,
            },
        },
    });
    PaymentPayload::from_json(message.to_string().as_bytes()).unwrap()
}

/// Of 20 requests at once three are worked for, and the others told to come again while they are.
async fn three_of_twenty(shop: &Workshop, payments: Vec<PaymentPayload>) {
    let mut requests = shop.send(payments);
    for _ in 0..17 {
        let answer = requests.join_next().await.unwrap().unwrap();
        assert!(is_busy(&answer), "{} {:?}", answer.status(), answer.headers());
    }
    // Nobody is let go on yet: the three that are missing are being worked on.
    assert!(requests.try_join_next().is_none());
    shop.gate.add_permits(100);
    for answer in requests.join_all().await {
        assert_eq!((answer.status(), answer.body().as_slice()), (StatusCode::OK, &b"done"[..]));
    }
    assert_eq!(shop.service.served(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_requests_at_once_those_are_worked_for_that_the_payer_can_pay() {
    let town = Town::start().await;
    let till = town.till().await;
    let shop = Workshop::open(till.price(units(300)), 0).await;
    let payments = dear(&till, &shop.service.offer("/work").await);
    three_of_twenty(&shop, payments.clone()).await;
    assert_eq!(town.balance(PAYEE).await, 900);
    // Now it is known that there is too little.
    for answer in shop.send(payments).join_all().await {
        if answer.status() != StatusCode::CONFLICT {
            assert_eq!(refusal(&answer), "insufficient_funds");
        }
    }
    assert_eq!((shop.service.served(), town.balance(PAYEE).await), (3, 900));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_may_be_used_is_reserved_until_it_is_known_what_was() {
    let Some(town) = Town::with_permit2().await else { return };
    let till = town.till().await;
    let shop = Workshop::open(till.price_upto(units(300)).await.unwrap(), 10).await;
    let (offer, terms) = (shop.service.offer("/work").await, till.upto_terms(units(300)));
    let payments = |from: u64| (from..from + 20).map(|n| pays_up_to(&terms, n));
    let payments = |from| payments(from).map(|p| p.to_message(&offer, 0).unwrap()).collect();
    three_of_twenty(&shop, payments(1)).await;
    assert_eq!(town.balance(PAYEE).await, 30);
    // What was not used is there for others.
    for answer in shop.send(payments(100)).join_all().await {
        assert!(answer.status() == StatusCode::OK || is_busy(&answer));
    }
    let served = shop.service.served();
    assert!(served > 3);
    assert_eq!(town.balance(PAYEE).await, served * 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_or_is_refused_or_fails_reserves_nothing() {
    let town = Town::start().await;
    let till = town.till().await;
    let shop = Workshop::open(till.price(units(300)), 0).await;
    let payments = dear(&till, &shop.service.offer("/work").await);
    // Three are worked on, and then nobody is there any more.
    let mut gone = shop.send(payments[..3].to_vec());
    shop.is_asked(3).await;
    assert!(is_busy(&exchange(with(shop.service.get("/work"), &payments[3])).await));
    gone.abort_all();
    while gone.join_next().await.is_some() {}
    // The server notices that in its time. Three others are worked on only when all of these are given up.
    let mut others = JoinSet::new();
    for (number, payment) in (4..).zip(&payments[4..7]) {
        others.spawn(shop.insist(payment.clone()));
        shop.is_asked(number).await;
    }
    shop.gate.add_permits(3);
    for answer in others.join_all().await {
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert_eq!(town.balance(PAYEE).await, 900);
}

#[tokio::test]
async fn requests_of_others_do_not_wait_for_this_payer() {
    let town = Town::start().await;
    let till = town.till().await;
    let shop = Workshop::open(till.price(units(300)), 0).await;
    let offer = shop.service.offer("/work").await;
    let mut mine = shop.send(dear(&till, &offer)[..3].to_vec());
    shop.is_asked(3).await;
    let [_, other] = super::payers();
    let terms = till.terms(units(300));
    let theirs = Authorization::new(&terms, account_of(&other), in_a_minute(), B256::ZERO);
    let theirs = message(&theirs.sign(&terms, &*other).unwrap(), &offer);
    let mut theirs = shop.send(vec![theirs]);
    shop.is_asked(4).await;
    shop.gate.add_permits(4);
    assert_eq!(theirs.join_next().await.unwrap().unwrap().status(), StatusCode::OK);
    while let Some(answer) = mine.join_next().await {
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
}

/// Nothing of the payer's balance is looked at twice: the one who claimed first has it, whoever looks first.
#[tokio::test]
async fn what_is_taken_while_another_looks_is_not_promised_to_that_one() {
    let town = Town::start().await;
    let till = town.till().await;
    let payments = [1, 2, 3, 4, 5].map(|nonce| super::pays(&till.terms(units(250)), nonce));
    let mut takers = JoinSet::new();
    for (payment, purpose) in payments.into_iter().zip(1_u8..) {
        let till = till.clone();
        takers.spawn(async move {
            let taken = till.take(units(250), &payment, B256::repeat_byte(purpose)).await;
            match taken {
                Ok(_) => till.settle(units(250), &payment).await,
                Err(error) => Err(error),
            }
        });
    }
    let mut settled = 0;
    for outcome in takers.join_all().await {
        match outcome {
            Ok(outcome) => {
                assert!(matches!(outcome, Outcome::Settled(_)), "{outcome:?}");
                settled += 1;
            }
            Err(error) => {
                assert!(matches!(Refusal::of(&error), Some(Refusal::Busy | Refusal::Funds)))
            }
        }
    }
    assert!(settled >= 1);
    assert_eq!(town.balance(PAYEE).await, settled * 250);
}

#[tokio::test]
async fn only_what_permit2_moves_counts_against_what_it_may_move() {
    let Some(town) = Town::with_permit2_only().await else { return };
    let chain = town.chain_of(&payer()).await;
    depin_payment::x402::approve_permit2(&chain, town.token, units(100)).await.unwrap();
    let till = town.till().await;
    let exact = super::pays(&till.terms(units(600)), 1);
    till.take(units(600), &exact, B256::repeat_byte(1)).await.unwrap();
    let terms = till.upto_terms(units(60));
    let (first, second) = (pays_up_to(&terms, 2), pays_up_to(&terms, 3));
    till.take_upto(units(60), &first, units(60), B256::repeat_byte(2)).await.unwrap();
    let refused = till.take_upto(units(60), &second, units(41), B256::repeat_byte(3)).await;
    assert_eq!(Refusal::of(&refused.unwrap_err()), Some(Refusal::Allowance));
    assert!(till.settle_due().await.unwrap().iter().all(|(_, o)| matches!(o, Outcome::Settled(_))));
    assert_eq!(town.balance(PAYEE).await, 660);
}
