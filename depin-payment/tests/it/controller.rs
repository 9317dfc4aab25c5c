//! The emission controller on the embedded chain, and whether it issues what the rules in Rust say.

use std::time::Instant;

use depin_core::{Amount, B256, ErrorKind, Timestamp, U256};
use depin_devnet::Devnet;
use depin_evm::{
    Chain, Emission,
    alloy::{
        primitives::{Address, Bytes, TxKind},
        providers::Provider,
        rpc::types::TransactionRequest,
        sol_types::{SolCall, SolValue},
    },
    bindings::EmissionController,
};
use depin_payment::{
    emission::{Curve, Direction, Schedule, Targeted, samples, target_samples},
    evm::EvmController,
};

use super::evm::chain;

/// Most eras that a random question has: each costs gas.
const ERAS: u64 = 60;

/// Deploys a controller inside a call, and answers how many periods are over by its clock and what it has granted
/// by then.
async fn ask(chain: &Chain, emission: Emission) -> (u64, Amount) {
    let Emission { schedule, decay, rows, target, .. } = emission;
    let args = (Address::ZERO, schedule, decay, rows, target, Address::repeat_byte(1));
    let mut code = prober();
    code.extend_from_slice(&EmissionController::BYTECODE);
    code.extend(args.abi_encode_params());
    let call = TransactionRequest {
        to: Some(TxKind::Create),
        input: Bytes::from(code).into(),
        ..TransactionRequest::default()
    };
    let answer = chain.provider().call(call).await.unwrap();
    let (controller, completed, granted) = <(U256, u64, U256)>::abi_decode_params(&answer).unwrap();
    assert!(!controller.is_zero(), "the controller was not created");
    (completed, Amount::units(granted))
}

/// Creates the contract whose creation code follows, calls `completed()` and `granted()`, and returns its address and
/// both answers.
fn prober() -> Vec<u8> {
    let mut code = vec![0x60, 0, 0x38, 0x03, 0x80, 0x60, 0, 0x5f, 0x39, 0x5f, 0x5f, 0xf0];
    code.extend([0x80, 0x60, 0x20, 0x52]); // the address in word 1
    for (selector, word) in [
        (EmissionController::completedCall::SELECTOR, 0x40),
        (EmissionController::grantedCall::SELECTOR, 0x60),
    ] {
        code.push(0x63);
        code.extend(selector);
        code.extend([0x60, 0xe0, 0x1b, 0x5f, 0x52]);
        code.extend([0x60, 0x20, 0x60, word, 0x60, 0x04, 0x5f, 0x84, 0x5a, 0xfa, 0x50]);
    }
    code.extend([0x60, 0x60, 0x60, 0x20, 0xf3]);
    let length = u8::try_from(code.len()).unwrap();
    (code[1], code[6]) = (length, length);
    code
}

/// A schedule of which `periods` are over, however many seconds the chain is ahead by the next call; only where there
/// are so many that each is a few seconds, some more may be.
async fn over(chain: &Chain, curve: Curve, cap: Amount, periods: u64) -> Schedule {
    let block = chain.provider().get_block_by_number(Default::default()).await.unwrap().unwrap();
    let now = block.header.timestamp;
    let length = (now / (periods + 2)).clamp(1, 10_000);
    let start = now.checked_sub(periods * length + length / 2).unwrap();
    Schedule::new(Timestamp::from_secs(start), length, cap, curve).unwrap()
}

#[tokio::test]
async fn anybody_takes_the_sum_of_a_curve_in_steps_and_changes_nothing_else() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    let curve = Curve::halving(Amount::tokens(1_000), 3).unwrap();
    let schedule = over(&chain, curve, Amount::tokens(500_000), 40).await;
    let controller = deploy(&chain, schedule.on_chain().unwrap()).await.address();
    let anybody = super::evm::chain(&devnet, 1).await;
    let controller = EvmController::new(anybody.clone(), controller);
    let (granted, over) =
        (controller.granted().await.unwrap(), controller.completed().await.unwrap());
    for period in [0, 7, 7, 30, over] {
        controller.advance(period).await.unwrap();
        assert_eq!(controller.granted().await.unwrap(), granted, "up to {period}");
    }
    for period in [over - 1, over + 2] {
        let error = controller.advance(period).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{period}: {error}");
    }
    assert_eq!(controller.minted().await.unwrap(), Amount::ZERO);

    let targeted =
        Targeted::new(Amount::tokens(1), 0, Direction::Rising, Amount::tokens(500_000)).unwrap();
    let reported = deploy(&chain, schedule.on_chain_targeted(&targeted).unwrap()).await.address();
    let error = EvmController::new(anybody, reported).advance(1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
}

async fn agrees(chain: &Chain, schedule: &Schedule) -> u64 {
    let (periods, granted) = ask(chain, schedule.on_chain().unwrap()).await;
    let expected = schedule.curve().span(0, periods).unwrap().min(schedule.cap());
    assert_eq!(granted, expected, "{} after {periods} periods", schedule.curve());
    periods
}

fn largest() -> Amount {
    Amount::units(U256::from(u128::MAX))
}

#[tokio::test]
async fn every_sample_is_what_the_contract_grants() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    let mut asked = std::collections::HashMap::new();
    for sample in samples().unwrap() {
        let mut granted = [Amount::ZERO; 2];
        for (granted, periods) in granted.iter_mut().zip([sample.from, sample.to]) {
            let key = (sample.curve.to_string(), periods);
            if !asked.contains_key(&key) {
                let schedule = over(&chain, sample.curve.clone(), largest(), periods).await;
                let answer = ask(&chain, schedule.on_chain().unwrap()).await;
                assert_eq!(answer.0, periods);
                asked.insert(key.clone(), answer.1);
            }
            *granted = asked[&key];
        }
        let [before, after] = granted.map(Amount::to_units);
        if after < largest().to_units() {
            assert_eq!(Amount::units(after - before), sample.span, "{}", sample.curve);
        }
        let expected = sample.curve.span(0, sample.to).unwrap().min(largest());
        assert_eq!(granted[1], expected, "{}", sample.curve);
    }
    assert!(asked.len() > 70, "{} questions", asked.len());
}

#[tokio::test]
async fn thousands_of_random_curves_grant_the_same_on_chain() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    let mut random = Random(0xd1ff);
    let began = Instant::now();
    let mut periods = 0_u128;
    for _ in 0..2_000 {
        let (curve, after) = random.curve();
        let cap = random.amount().checked_add(1.into()).unwrap().min(largest());
        let schedule = over(&chain, curve, cap, after).await;
        periods += u128::from(agrees(&chain, &schedule).await);
    }
    println!("2000 curves over {periods} periods in {:?}", began.elapsed());
}

#[tokio::test]
async fn every_report_grants_what_the_rules_in_rust_say() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    for sample in target_samples().unwrap() {
        let target =
            Targeted::new(sample.target, sample.floor, sample.direction, sample.cap).unwrap();
        let schedule = over(&chain, sample.curve, sample.cap, 100).await;
        let controller = deploy(&chain, schedule.on_chain_targeted(&target).unwrap()).await;
        for (period, measure, granted) in sample.reports {
            assert_eq!(controller.report(period, measure).await.unwrap(), granted);
        }
    }
}

#[tokio::test]
async fn random_reports_grant_the_same_on_chain() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    let mut random = Random(0x7a26e7);
    for _ in 0..24 {
        let (curve, _) = random.curve();
        let cap = random.amount().checked_add(1.into()).unwrap().min(largest());
        let target = random.amount().checked_add(1.into()).unwrap().min(largest());
        let floor = u16::try_from(random.below(10_001)).unwrap();
        let direction = [Direction::Rising, Direction::Falling][random.index(2)];
        let mut state = Targeted::new(target, floor, direction, cap).unwrap();
        let schedule = over(&chain, curve, cap, 400).await;
        let controller = deploy(&chain, schedule.on_chain_targeted(&state).unwrap()).await;
        let mut period = random.below(3);
        for _ in 0..4 {
            let measure = if random.below(3) == 0 { random.amount() } else { random.part(target) };
            state.report(schedule.curve(), period, measure, u64::MAX).unwrap();
            let granted = controller.report(period, measure).await.unwrap();
            assert_eq!(granted, state.granted(), "{} {floor}", schedule.curve());
            period += 1 + random.below(40);
        }
    }
}

#[tokio::test]
async fn a_period_is_reported_in_order_and_only_where_there_is_a_target() {
    let devnet = Devnet::start();
    let chain = chain(&devnet, 0).await;
    let curve = Curve::flat(Amount::tokens(10)).unwrap();
    let schedule = over(&chain, curve, Amount::tokens(1_000), 100).await;
    let target = Targeted::new(Amount::tokens(5), 0, Direction::Rising, schedule.cap()).unwrap();
    let emission = schedule.on_chain_targeted(&target).unwrap();
    let controller = deploy(&chain, emission.clone()).await;
    assert_eq!(controller.emission().await.unwrap(), emission);
    assert_eq!(controller.granted().await.unwrap(), Amount::ZERO, "nothing before a report");
    let half = Amount::units(Amount::tokens(5).to_units() / U256::from(2));
    assert_eq!(controller.report(7, half).await.unwrap(), Amount::tokens(5));
    assert_eq!(controller.mintable().await.unwrap(), Amount::tokens(5));
    assert!(controller.minted().await.unwrap().is_zero());
    for period in [7, 1 << 40] {
        let error = controller.report(period, half).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    assert_eq!(controller.report(8, Amount::MAX).await.unwrap_err().kind(), ErrorKind::Limit);

    let plain = deploy(&chain, schedule.on_chain().unwrap()).await;
    assert!(plain.completed().await.unwrap() >= 100);
    assert_eq!(plain.report(7, half).await.unwrap_err().kind(), ErrorKind::Rejected);
}

/// A controller on which the account may report.
async fn deploy(chain: &Chain, emission: Emission) -> EvmController {
    let Emission { schedule, decay, rows, target, .. } = emission;
    let (provider, admin) = (chain.provider(), chain.account());
    let call = EmissionController::deploy_builder(
        provider,
        Address::ZERO,
        schedule,
        decay,
        rows,
        target,
        admin,
    );
    let receipt = chain.send(call.into_transaction_request()).await.unwrap();
    let address = receipt.contract_address.unwrap();
    let contract = EmissionController::new(address, provider);
    let role: B256 = chain.read(&contract.REPORTER_ROLE()).await.unwrap();
    chain.send(contract.grantRole(role, admin).into_transaction_request()).await.unwrap();
    EvmController::new(chain.clone(), address)
}

/// SplitMix64: the same questions in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap() % limit
    }

    /// Of any length up to 128 bits.
    fn amount(&mut self) -> Amount {
        let wide = u128::from(self.next()) << 64 | u128::from(self.next());
        Amount::units(U256::from(wide >> self.below(128)))
    }

    fn part(&mut self, of: Amount) -> Amount {
        of.mul_div(self.below(1_001).into(), 1_000.into()).unwrap()
    }

    /// A curve of any kind and a number of periods that is not too far for it.
    fn curve(&mut self) -> (Curve, u64) {
        let initial = self.amount();
        let bits = self.below(20);
        let interval = 1 + self.below(1 << bits);
        let end = interval.saturating_mul(1 + self.below(ERAS)).min(1_500_000_000);
        let periods = self.below(end);
        let curve = match self.below(5) {
            0 => Curve::halving(initial, interval),
            1 => {
                let bits = self.below(30);
                let half_life = 1 + self.below(1 << bits);
                return (Curve::exponential(initial, half_life).unwrap(), self.below(ERAS));
            }
            2 => Curve::flat(initial),
            3 => {
                let denominator = 1 + u128::from(self.next() >> self.below(64));
                let numerator = (u128::from(self.next()) % (denominator + 1)).max(denominator / 2);
                Curve::geometric(initial, interval, numerator, denominator)
            }
            _ => {
                let mut from = 0;
                let rows: Vec<_> = (0..1 + self.below(12))
                    .map(|_| {
                        let row = (from, self.amount());
                        from += 1 + self.below(200);
                        row
                    })
                    .collect();
                return (Curve::table(rows).unwrap(), self.below(3_000));
            }
        };
        (curve.unwrap(), periods)
    }
}
