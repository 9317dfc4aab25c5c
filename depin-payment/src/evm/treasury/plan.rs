//! What a list costs by either way.
//!
//! Gas follows from what the contracts were measured at; what is asked of the chain is who has the token
//! already, who claimed before, and the fee of now.

use std::fmt;

use depin_core::{Address, Amount, Result, U256, reward::RewardDistributor as _};
use depin_evm::{Chain, alloy::providers::Provider, bindings::NetworkToken};
use futures_util::future::try_join_all;

use super::{Decimals, PayList, Treasury, closed};
use crate::evm::calls::{AT_ONCE, patiently, read_all};

/// How recipients come to their money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// `Disperse` sends them the treasury's tokens, many recipients in a transaction.
    Transfers,
    /// The distributor publishes what they have earned, and new tokens are issued to those who claim.
    Claims,
}

/// What a way costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Estimate {
    /// Transactions that the treasury sends.
    pub transactions: u64,
    /// Gas that the treasury pays.
    pub treasury_gas: u64,
    /// Gas that the recipients pay, as the share of this run.
    pub recipients_gas: u64,
}

/// A list with its costs; prints as a table.
#[derive(Clone, Debug)]
pub struct Plan {
    list: PayList,
    new: usize,
    transfers: Option<Estimate>,
    claims: Option<Estimate>,
    way: Way,
    gas_price: u128,
    decimals: Decimals,
}

impl Treasury {
    /// Estimates what the list costs by each way that is open, and chooses the one that costs treasury and
    /// recipients less together. Whether the funds suffice is looked at when it is run, since a run that goes
    /// on needs what is left to pay.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](depin_core::ErrorKind::Config) when no way is open, [`ErrorKind::NotFound`](depin_core::ErrorKind::NotFound) when there
    /// is no token, [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when the chain does not
    /// answer, [`ErrorKind::Rejected`](depin_core::ErrorKind::Rejected) when the list pays the token, `Disperse`
    /// or the distributor itself.
    pub async fn plan(&self, list: &PayList) -> Result<Plan> {
        self.check_recipients(list)?;
        let accounts: Vec<_> = list.payments().iter().map(|(account, _)| *account).collect();
        let held = holdings(&self.chain, self.token, &accounts).await?;
        let new = held.iter().filter(|held| held.is_zero()).count();
        let transfers = self.disperse.map(|_| self.by_transfers(&held));
        let claims = match &self.claims {
            Some(_) => Some(self.by_claims(&accounts, &held).await?),
            None => None,
        };
        let cheaper = |claims: Estimate, transfers: Estimate| claims.total() < transfers.total();
        let way = match (claims, transfers) {
            (Some(claims), Some(transfers)) if cheaper(claims, transfers) => Way::Claims,
            (_, Some(_)) => Way::Transfers,
            (Some(_), None) => Way::Claims,
            (None, None) => return Err(closed(Way::Transfers)),
        };
        let price = || self.chain.ask(self.chain.provider().get_gas_price());
        let (gas_price, decimals) =
            (patiently(price).await?, Decimals::of(&self.chain, self.token).await?);
        Ok(Plan { list: list.clone(), new, transfers, claims, way, gas_price, decimals })
    }

    fn by_transfers(&self, held: &[U256]) -> Estimate {
        let mut estimate = Estimate { transactions: 0, treasury_gas: 0, recipients_gas: 0 };
        for batch in held.chunks(self.batch_size()) {
            let each =
                batch.iter().map(|held| if held.is_zero() { NEW_TRANSFER } else { TRANSFER });
            estimate.transactions += 1;
            estimate.treasury_gas += BATCH + each.sum::<u64>();
        }
        estimate
    }

    async fn by_claims(&self, accounts: &[Address], held: &[U256]) -> Result<Estimate> {
        let Some((distributor, balances)) = &self.claims else { return Err(closed(Way::Claims)) };
        // The tree has everybody who ever earned.
        let leaves = balances.iter().len().saturating_add(accounts.len());
        let depth = u64::from(leaves.next_power_of_two().ilog2());
        let first = patiently(|| distributor.latest()).await?.is_none();
        let publish = if first { FIRST_PUBLISH } else { PUBLISH };
        let mut claims: u64 = 0;
        for (accounts, held) in accounts.chunks(AT_ONCE).zip(held.chunks(AT_ONCE)) {
            let asked = accounts.iter().map(|account| patiently(|| distributor.claimed(*account)));
            for (claimed, held) in try_join_all(asked).await?.into_iter().zip(held) {
                let first = if claimed.is_zero() { FIRST_CLAIM } else { 0 };
                let new = if held.is_zero() { NEW_HOLDER } else { 0 };
                claims += CLAIM + depth * PROOF_NODE + first + new;
            }
        }
        let chunks =
            accounts.len().div_ceil(super::super::distributor::CLAIMS_PER_TRANSACTION) as u64;
        Ok(if self.claim_every == 1 {
            let treasury_gas = publish + chunks * TRANSACTION + claims;
            Estimate { transactions: 1 + chunks, treasury_gas, recipients_gas: 0 }
        } else {
            let own = accounts.len() as u64 * TRANSACTION;
            let recipients_gas = (claims + own) / u64::from(self.claim_every);
            Estimate { transactions: 1, treasury_gas: publish, recipients_gas }
        })
    }
}

impl Plan {
    /// Chooses the way, cheaper or not.
    #[must_use]
    pub const fn by(mut self, way: Way) -> Self {
        self.way = way;
        self
    }

    /// The way that is taken.
    pub const fn way(&self) -> Way {
        self.way
    }

    /// Whom to pay how much.
    pub const fn list(&self) -> &PayList {
        &self.list
    }

    /// Recipients who do not have the token yet, which makes them dearer.
    pub const fn new_recipients(&self) -> usize {
        self.new
    }

    /// What a way costs; `None` when it is not open.
    pub const fn estimate(&self, way: Way) -> Option<Estimate> {
        match way {
            Way::Transfers => self.transfers,
            Way::Claims => self.claims,
        }
    }
}

impl Estimate {
    /// Gas that is paid by anybody.
    pub const fn total(&self) -> u64 {
        self.treasury_gas.saturating_add(self.recipients_gas)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Transfers => "batched transfers",
            Self::Claims => "claims",
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.payments().len();
        let (id, total) = (self.list.id(), self.decimals.show(self.list.total()));
        let new = grouped(self.new as u64);
        writeln!(
            f,
            "run {id}: {} recipients, {new} of them new, {total} tokens",
            grouped(count as u64)
        )?;
        writeln!(
            f,
            "{:<19}{:>13}{:>16}{:>16}{:>15}{:>22}",
            "way",
            "transactions",
            "treasury's gas",
            "recipients' gas",
            "per recipient",
            "fees now, in coin"
        )?;
        for way in [Way::Transfers, Way::Claims] {
            let Some(estimate) = self.estimate(way) else {
                writeln!(f, "{way:<19}{:>13}", "not open")?;
                continue;
            };
            let fees = U256::from(estimate.total()).saturating_mul(U256::from(self.gas_price));
            writeln!(
                f,
                "{way:<19}{:>13}{:>16}{:>16}{:>15}{:>22}",
                grouped(estimate.transactions),
                grouped(estimate.treasury_gas),
                grouped(estimate.recipients_gas),
                grouped(estimate.total() / count.max(1) as u64),
                Amount::units(fees),
            )?;
        }
        write!(f, "chosen: {}", self.way)
    }
}

/// What accounts have of a token, in their order.
pub(in crate::evm) async fn holdings(
    chain: &Chain,
    token: Address,
    accounts: &[Address],
) -> Result<Vec<U256>> {
    let contract = NetworkToken::new(token, chain.provider());
    let calls: Vec<_> = accounts.iter().map(|account| contract.balanceOf(*account)).collect();
    read_all(chain, &calls).await
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Gas of a transaction by itself.
const TRANSACTION: u64 = 21_000;
/// Gas of a batch without its recipients.
const BATCH: u64 = 65_000;
/// Gas of a recipient in a batch who does not have the token yet, and of one who has.
const NEW_TRANSFER: u64 = 26_300;
const TRANSFER: u64 = 9_300;
/// Gas of publishing the first epoch of a distributor and a later one, which become active at once.
const FIRST_PUBLISH: u64 = 200_000;
const PUBLISH: u64 = 125_000;
/// Gas of one of many claims, what a node of its proof adds, what the first claim of an account adds, and
/// what an account adds that does not have the token yet.
const CLAIM: u64 = 17_000;
const PROOF_NODE: u64 = 760;
const FIRST_CLAIM: u64 = 17_100;
const NEW_HOLDER: u64 = 17_100;
