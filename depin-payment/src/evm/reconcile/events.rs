//! Events of the token and its distributors, in the order of the chain.

use std::collections::BTreeMap;

use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, Timestamp};
use depin_evm::{
    alloy::{
        eips::BlockNumberOrTag,
        providers::Provider,
        rpc::types::{Filter, Log},
        sol_types::SolEvent,
    },
    bindings::{
        BitmapDistributor::Claimed as RowClaimed,
        NetworkToken::Transfer,
        RewardDistributor::{Claimed, EpochActivated},
    },
};

use super::Ledger;
use crate::evm::calls::patiently;

/// An event that moves tokens, or says so.
#[derive(Clone, Debug)]
pub(super) struct Movement {
    pub(super) note: Note,
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) amount: Amount,
    pub(super) transaction: B256,
    pub(super) block: B256,
    pub(super) height: u64,
    pub(super) index: u64,
    time: Option<u64>,
}

/// Who tells of a movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// The token moved it.
    Transfer,
    /// A distributor had it issued.
    Activated,
    /// A distributor paid it out.
    Claimed,
}

impl Ledger {
    /// All transfers up to a block.
    pub(super) async fn movements(&self, end: u64) -> Result<Vec<Movement>> {
        let filter = Filter::new().address(self.token).event_signature(Transfer::SIGNATURE_HASH);
        let movements = self.read(filter, end).await?;
        match movements.iter().find(|movement| movement.note != Note::Transfer) {
            Some(other) => Err(strange(other.transaction)),
            None => Ok(movements),
        }
    }

    /// What the distributors say up to a block. Both kinds activate epochs with the same event, and tell of claims
    /// with events of their own.
    pub(super) async fn statements(&self, end: u64) -> Result<Vec<Movement>> {
        let says =
            [Claimed::SIGNATURE_HASH, RowClaimed::SIGNATURE_HASH, EpochActivated::SIGNATURE_HASH];
        let distributors: Vec<Address> = self.distributors.iter().copied().collect();
        let filter = Filter::new().address(distributors).event_signature(says.to_vec());
        self.read(filter, end).await
    }

    async fn read(&self, filter: Filter, end: u64) -> Result<Vec<Movement>> {
        let mut windows = self.chain.logs(filter, self.since..=end).window(self.window);
        let mut movements: Vec<Movement> = Vec::new();
        while let Some(window) = windows.next().await? {
            for log in &window.logs {
                let movement = movement(log)?;
                let place = |movement: &Movement| (movement.height, movement.index);
                let after = movements.last().is_none_or(|before| place(before) < place(&movement));
                if !after || !window.blocks.contains(&movement.height) {
                    return Err(disordered(&movement));
                }
                movements.push(movement);
            }
        }
        Ok(movements)
    }

    /// When the blocks were made. A block that is gone tells of a reorganisation.
    pub(super) async fn times(&self, movements: &[Movement]) -> Result<BTreeMap<B256, Timestamp>> {
        let mut times = BTreeMap::new();
        for movement in movements {
            if times.contains_key(&movement.block) {
                continue;
            }
            let seconds = match movement.time {
                Some(seconds) => seconds,
                None => {
                    let provider = self.chain.provider();
                    let block = || self.chain.ask(provider.get_block_by_hash(movement.block));
                    let block = patiently(block).await?.ok_or_else(reorganised)?;
                    block.header.timestamp
                }
            };
            times.insert(movement.block, Timestamp::from_secs(seconds));
        }
        Ok(times)
    }

    pub(super) async fn hash(&self, number: u64) -> Result<B256> {
        let (number, provider) = (BlockNumberOrTag::Number(number), self.chain.provider());
        let block = patiently(|| self.chain.ask(provider.get_block_by_number(number))).await?;
        block.map(|block| block.header.hash).ok_or_else(reorganised)
    }
}

fn movement(log: &Log) -> Result<Movement> {
    let place = log.transaction_hash.zip(log.block_hash).zip(log.block_number.zip(log.log_index));
    let Some(((transaction, block), (height, index))) = place.filter(|_| !log.removed) else {
        return Err(reorganised());
    };
    let (note, from, to, amount) = match log.topic0() {
        Some(&Transfer::SIGNATURE_HASH) => {
            let Transfer { from, to, value } = decode(log, transaction)?;
            (Note::Transfer, from, to, value)
        }
        Some(&Claimed::SIGNATURE_HASH) => {
            let Claimed { account, amount, .. } = decode(log, transaction)?;
            (Note::Claimed, log.address(), account, amount)
        }
        Some(&RowClaimed::SIGNATURE_HASH) => {
            let RowClaimed { account, amount, .. } = decode(log, transaction)?;
            (Note::Claimed, log.address(), account, amount)
        }
        Some(&EpochActivated::SIGNATURE_HASH) => {
            let EpochActivated { emission, .. } = decode(log, transaction)?;
            (Note::Activated, Address::ZERO, log.address(), emission)
        }
        _ => return Err(strange(transaction)),
    };
    let (amount, time) = (Amount::units(amount), log.block_timestamp);
    Ok(Movement { note, from, to, amount, transaction, block, height, index, time })
}

fn decode<E: SolEvent>(log: &Log, transaction: B256) -> Result<E> {
    log.log_decode().map(|log| log.inner.data).map_err(|_| strange(transaction))
}

/// The error for an event that is not where the chain would have it.
pub(super) fn disordered(movement: &Movement) -> Error {
    let text = "the node's log is out of order or has an event twice; ask another node";
    Error::new(ErrorKind::Malformed, text)
        .with("transaction", movement.transaction)
        .with("log", movement.index)
}

fn strange(transaction: B256) -> Error {
    let text =
        "the node's log has an event that this contract does not have; compare the addresses";
    Error::new(ErrorKind::Malformed, text).with("transaction", transaction)
}

fn reorganised() -> Error {
    Error::unavailable("a block is gone: the chain was reorganised while it was read; try again")
}
