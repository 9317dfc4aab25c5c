//! Paying for requests: the till on the embedded chain, and server and client over real HTTP.

mod batch;
mod exact;
mod http;
mod interop;
mod messages;
mod meter;
mod metered;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod node;
mod permit2;
mod purse;
mod rail;
mod reverted;
mod service;
mod till;
mod upto;
mod work;

use std::sync::Arc;

use depin_core::{Address, Algorithm, Amount, B256, Signer, SoftwareKey, SystemClock, Timestamp};
use depin_devnet::Devnet;
use depin_evm::{
    Chain,
    alloy::{providers::DynProvider, signers::local::PrivateKeySigner},
    bindings::NetworkToken,
};
use depin_payment::x402::{
    Allowance, Authorization, ExactPayment, ExactTerms, Policy, Purse, Till, TillOptions,
};

/// A chain with a token of which some payers have 1,000 units each.
struct Town {
    devnet: Devnet,
    chain: Chain,
    token: Address,
}

impl Town {
    async fn start() -> Self {
        let devnet = Devnet::start();
        let (chain, token) = settle(devnet.provider(), devnet.account(0), &payers()).await;
        Self { devnet, chain, token }
    }

    async fn till(&self) -> Till {
        self.till_with(TillOptions::in_memory()).await
    }

    async fn till_with(&self, options: TillOptions) -> Till {
        let clock = Arc::new(SystemClock);
        Till::open(self.chain.clone(), self.token, clock, options.pay_to(PAYEE)).await.unwrap()
    }

    async fn balance(&self, account: Address) -> u64 {
        Self::balance_on(&self.chain, self.token, account).await
    }

    async fn balance_on(chain: &Chain, token: Address, account: Address) -> u64 {
        let token = NetworkToken::new(token, chain.provider());
        u64::try_from(chain.read(&token.balanceOf(account)).await.unwrap()).unwrap()
    }
}

/// A network's token on any chain, with something for `owners`.
async fn settle(
    provider: DynProvider,
    signer: PrivateKeySigner,
    owners: &[Arc<SoftwareKey>],
) -> (Chain, Address) {
    let chain = Chain::from_provider(provider, signer);
    let chain = chain.poll_interval(std::time::Duration::from_millis(5)).connect().await.unwrap();
    let (name, cap) = ("Climate".to_owned(), depin_core::U256::from(1_000_000));
    let new =
        NetworkToken::deploy_builder(chain.provider(), name, "CLI".into(), cap, chain.account());
    let receipt = chain.send(new.into_transaction_request()).await.unwrap();
    let address = receipt.contract_address.unwrap();
    let token = NetworkToken::new(address, chain.provider());
    let minter = chain.read(&token.MINTER_ROLE()).await.unwrap();
    let grant = token.grantRole(minter, chain.account()).into_transaction_request();
    chain.send(grant).await.unwrap();
    for owner in owners {
        let mint = token.mint(account_of(owner), depin_core::U256::from(1_000));
        chain.send(mint.into_transaction_request()).await.unwrap();
    }
    (chain, address)
}

fn payers() -> [Arc<SoftwareKey>; 2] {
    [1, 2].map(|seed| Arc::new(SoftwareKey::from_seed(Algorithm::Es256k, [seed; 32])))
}

fn payer() -> Arc<SoftwareKey> {
    payers()[0].clone()
}

fn account_of(key: &SoftwareKey) -> Address {
    key.public_key().to_address().unwrap()
}

fn purse(chain: &Chain, asset: Address) -> Purse {
    let allowance = Allowance { chain: chain.id(), asset, each: 100.into(), total: 500.into() };
    Purse::new(payer(), Policy::default().allow(allowance), Arc::new(SystemClock)).unwrap()
}

fn now() -> Timestamp {
    depin_core::Clock::now(&SystemClock)
}

fn in_a_minute() -> Timestamp {
    now().plus(std::time::Duration::from_secs(60))
}

/// A payment of exactly what is asked for.
fn pays(terms: &ExactTerms, nonce: u8) -> ExactPayment {
    let from = account_of(&payer());
    let nonce = B256::repeat_byte(nonce);
    Authorization::new(terms, from, in_a_minute(), nonce).sign(terms, &*payer()).unwrap()
}

fn units(amount: u64) -> Amount {
    Amount::from(amount)
}

const PAYEE: Address = Address::repeat_byte(0x5e);
