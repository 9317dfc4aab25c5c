//! What the clients of escrow and streams refuse, and how a payer leaves a validator who is silent.

use depin_core::{Address, Amount, Error, ErrorKind};
use depin_payment::evm::{EvmEscrow, EvmStream, RailTerms};

use super::World;

/// An address without code: asked to judge, it never answers.
const SILENT: Address = Address::repeat_byte(0x51);

struct Square {
    world: World,
    payer: EvmEscrow,
    payee: EvmEscrow,
    stranger: EvmEscrow,
}

impl Square {
    /// The payer has 10,000 units in the escrow and allows the payee a rate of 1 with 600 seconds of lockup.
    async fn new() -> Self {
        let world = World::new().await;
        let payer = EvmEscrow::deploy(world.payer.clone()).await.unwrap();
        let [payee, stranger] = [&world.payee, &world.admin]
            .map(|chain| EvmEscrow::new(chain.clone(), payer.address()));
        payer.deposit("account", world.token, 10_000.into()).await.unwrap();
        let operator = world.payee.account();
        payer.allow_operator("service", world.token, operator, 1, 1_000, 600).await.unwrap();
        Self { world, payer, payee, stranger }
    }

    fn terms(&self, validator: Address) -> RailTerms {
        RailTerms {
            payer: self.world.payer.account(),
            payee: self.world.payee.account(),
            token: self.world.token,
            validator,
            rate: 1,
            lockup_period: 600,
            lockup_fixed: 50,
        }
    }

    fn pass(&self, seconds: u64) {
        self.world.devnet.increase_time(seconds).unwrap();
        self.world.devnet.mine(1);
    }
}

fn refused(error: &Error, kind: ErrorKind, text: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test]
async fn a_payer_leaves_a_silent_validator_and_pays_no_more_than_was_guaranteed() {
    let square = Square::new().await;
    let (payer, payee, token) = (&square.payer, &square.payee, square.world.token);
    let terms = square.terms(SILENT);
    let rail = payee.open_rail("service", &terms).await.unwrap();
    let open = payer.rail(rail).await.unwrap().unwrap();
    assert_eq!((open.terms, open.operator), (terms, square.world.payee.account()));
    assert_eq!(open.ends_at, None);

    square.pass(100);
    payee.settle(rail).await.unwrap_err();
    let early = payer.settle_without_validator(rail).await.unwrap_err();
    refused(&early, ErrorKind::Conflict, "end has not come");
    payer.terminate(rail).await.unwrap();
    let ends_at = payer.rail(rail).await.unwrap().unwrap().ends_at.unwrap();
    refused(&payer.settle_without_validator(rail).await.unwrap_err(), ErrorKind::Conflict, "end");
    square.pass(700);
    payee.settle(rail).await.unwrap_err();
    let other = square.stranger.settle_without_validator(rail).await.unwrap_err();
    refused(&other, ErrorKind::Rejected, "only the payer");

    let paid = payer.settle_without_validator(rail).await.unwrap();
    let seconds = ends_at - open.paid_up_to;
    assert_eq!(paid, Amount::from(seconds), "all that was due, and not a second more");
    assert_eq!(payer.settle_without_validator(rail).await.unwrap(), paid, "asked again");
    assert_eq!(payer.rail(rail).await.unwrap(), None);
    let left = payer.account(token, square.world.payer.account()).await.unwrap();
    assert!(left.locked.is_zero(), "the guarantee is free again");
    payee.withdraw("all", token, paid).await.unwrap();
    payer.withdraw("all", token, left.funds).await.unwrap();
    assert_eq!(left.funds.checked_add(paid).unwrap(), 10_000.into());
}

#[tokio::test]
async fn refusals_of_the_escrow_say_what_to_do() {
    let square = Square::new().await;
    let (payer, payee, token) = (&square.payer, &square.payee, square.world.token);
    let terms = square.terms(Address::ZERO);
    let dear = RailTerms { rate: 2, ..terms };
    let error = payee.open_rail("dear", &dear).await.unwrap_err();
    refused(&error, ErrorKind::Rejected, "allows the operator less");
    let long = RailTerms { lockup_period: 1 << 41, ..terms };
    refused(&payee.open_rail("long", &long).await.unwrap_err(), ErrorKind::Limit, "2^40");
    let rail = payee.open_rail("service", &terms).await.unwrap();
    let used = payer.allowance(token, terms.payer, terms.payee).await.unwrap();
    assert_eq!((used.rate, used.rate_used, used.lockup_used), (1, 1, 650));

    let error = payee.pay_fixed("much", rail, 51).await.unwrap_err();
    refused(&error, ErrorKind::Rejected, "less is free");
    let error = payer.pay_fixed("mine", rail, 1).await.unwrap_err();
    refused(&error, ErrorKind::Rejected, "the operator changes a rail");
    let error = payer.withdraw("all", token, 10_000.into()).await.unwrap_err();
    refused(&error, ErrorKind::Rejected, "less is free");
    refused(&payee.settle(7).await.unwrap_err(), ErrorKind::NotFound, "no such rail");

    let judged = RailTerms { validator: SILENT, rate: 0, lockup_fixed: 0, ..terms };
    let judged = payee.open_rail("judged", &judged).await.unwrap();
    payer.allow_operator("more", token, terms.payee, 30, 10_000, 600).await.unwrap();
    payee.change_rail("first", judged, 1, 0).await.unwrap();
    square.pass(10);
    payee.change_rail("second", judged, 2, 0).await.unwrap();
    square.pass(10);
    // The rate before waits for the validator, who answers nothing: so does a third one.
    payee.change_rail("third", judged, 3, 0).await.unwrap_err();

    square.pass(20_000);
    let error = payer.terminate(rail).await.unwrap_err();
    refused(&error, ErrorKind::Rejected, "a deposit comes first");
    payee.terminate(rail).await.unwrap();
    let error = payee.change_rail("late", rail, 1, 0).await.unwrap_err();
    refused(&error, ErrorKind::Conflict, "terminated already");
}

#[tokio::test]
async fn refusals_of_streams_say_what_to_do() {
    let world = World::new().await;
    let streams = EvmStream::deploy(world.payer.clone()).await.unwrap();
    let (payer, payee, token) = (world.payer.account(), world.payee.account(), world.token);
    let stranger = EvmStream::new(world.admin.clone(), streams.address());
    streams.deposit("purse", token, 1_000.into()).await.unwrap();
    let error = streams.start("free", payee, token, 0).await.unwrap_err();
    refused(&error, ErrorKind::Rejected, "a stream has a rate");
    let error = streams.settle(payer, payee, token).await.unwrap_err();
    refused(&error, ErrorKind::NotFound, "no such stream");
    streams.start("service", payee, token, 10).await.unwrap();
    let error = streams.start("again", payee, token, 10).await.unwrap_err();
    refused(&error, ErrorKind::Conflict, "stop it first");
    let error = stranger.stop("theirs", payer, payee, token).await.unwrap_err();
    refused(&error, ErrorKind::Rejected, "only the payer and the payee");
    let error = streams.withdraw("too much", token, 1_001.into()).await.unwrap_err();
    refused(&error, ErrorKind::Rejected, "withdraw less");

    world.devnet.increase_time(1_000).unwrap();
    world.devnet.mine(1);
    assert_eq!(stranger.settle(payer, payee, token).await.unwrap(), 1_000.into());
    assert_eq!(world.balance(payee).await, 1_000.into());
    let error = streams.start("more", Address::repeat_byte(3), token, 1).await.unwrap_err();
    refused(&error, ErrorKind::Rejected, "deposit first");
}
