//! Choosing how a devnet behaves before it starts.

use std::time::Duration;

use alloy::primitives::{Address, address, bytes};

use crate::{
    accounts,
    block::Block,
    chain::{Chain, Config},
    clock::{Clock, Timeline},
    devnet::{Devnet, unix_now},
    state::State,
};

/// Settings of a devnet to be, from [`Devnet::builder`].
///
/// ```
/// use depin_devnet::{Clock, Devnet};
///
/// let devnet = Devnet::builder().chain_id(4690).clock(Clock::Manual).at(1_700_000_000).accounts(2).build();
/// assert_eq!(devnet.chain_id(), 4690);
/// assert_eq!(devnet.timestamp(), 1_700_000_000);
/// ```
#[derive(Clone, Debug)]
#[must_use = "call build() to start the chain"]
pub struct DevnetBuilder {
    chain_id: u64,
    accounts: u16,
    automine: bool,
    block_time: Option<Duration>,
    genesis: Option<u64>,
    clock: Clock,
}

impl Default for DevnetBuilder {
    fn default() -> Self {
        Self {
            chain_id: 31_337,
            accounts: 10,
            automine: true,
            block_time: None,
            genesis: None,
            clock: Clock::System,
        }
    }
}

impl DevnetBuilder {
    /// The chain id transactions are signed for; 31337 unless told.
    pub const fn chain_id(mut self, chain_id: u64) -> Self {
        self.chain_id = chain_id;
        self
    }

    /// How many accounts get 10,000 ether at genesis; ten unless told.
    pub const fn accounts(mut self, accounts: u16) -> Self {
        self.accounts = accounts;
        self
    }

    /// Whether every transaction is mined when it arrives; true unless told.
    pub const fn automine(mut self, automine: bool) -> Self {
        self.automine = automine;
        self
    }

    /// Mines a block every so often (at least every millisecond) instead of one per transaction.
    /// A thread does it for as long as the devnet lives.
    pub const fn block_time(mut self, block_time: Duration) -> Self {
        self.block_time = Some(block_time);
        self.automine = false;
        self
    }

    /// Time of block zero in seconds since the Unix epoch. Unless told it is the present, or zero
    /// with [`Clock::Manual`].
    pub const fn at(mut self, genesis: u64) -> Self {
        self.genesis = Some(genesis);
        self
    }

    /// Where block times come from; the system's clock unless told.
    pub const fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts the chain.
    pub fn build(self) -> Devnet {
        let now = unix_now();
        let genesis_time = self.genesis.unwrap_or(match self.clock {
            Clock::System => now,
            Clock::Manual => 0,
        });
        let mut state = State::default();
        let signers: Vec<_> = (0..self.accounts).map(accounts::signer).collect();
        signers.iter().for_each(|signer| state.set_balance(&signer.address(), accounts::BALANCE));
        state.set_code(
            &DEPLOYER,
            bytes!(
                "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0"
                "3601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
            ),
        );
        let genesis = Block::genesis(state, genesis_time, GAS_LIMIT);
        let config = Config {
            chain_id: self.chain_id,
            accounts: self.accounts,
            block_time: self.block_time,
        };
        let time = Timeline::starting_at(self.clock, genesis_time, now);
        let mut chain = Chain::new(config, genesis, time);
        chain.automine = self.automine;
        Devnet::over(chain, signers)
    }
}

/// The contract that public chains share for giving contracts the same address everywhere: what follows the first
/// word of its input is created by CREATE2 with that word as salt.
const DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");

/// Gas a block can hold.
const GAS_LIMIT: u64 = 30_000_000;
