//! What a token is worth, how sure that is and since when: the seam to price oracles.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use depin_core::{Error, ErrorKind, Result, Timestamp};

/// A price with its uncertainty, as oracles publish it: `value * 10^exponent` of the fiat unit per token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    value: i64,
    confidence: u64,
    exponent: i32,
    published: Timestamp,
}

impl Price {
    /// As published: `value` give or take `confidence`, both times `10^exponent`.
    pub const fn new(value: i64, confidence: u64, exponent: i32, published: Timestamp) -> Self {
        Self { value, confidence, exponent, published }
    }

    /// The power of ten.
    pub const fn exponent(&self) -> i32 {
        self.exponent
    }

    /// When it was published.
    pub const fn published(&self) -> Timestamp {
        self.published
    }

    /// The price itself.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when it is zero or negative.
    pub fn point(&self) -> Result<u64> {
        u64::try_from(self.value).ok().filter(|value| *value > 0).ok_or_else(|| {
            let text = "the price is not above zero; nothing can be bought at it";
            Error::new(ErrorKind::Rejected, text).with("price", self.value)
        })
    }

    /// The lower bound that counts: the price less twice its confidence.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] when the price or its lower bound is zero or negative.
    pub fn low(&self) -> Result<u64> {
        let low = self.point()?.checked_sub(self.confidence.saturating_mul(2));
        low.filter(|low| *low > 0).ok_or_else(|| {
            let text = "the price is too uncertain: its lower bound is not above zero; wait for a better one";
            Error::new(ErrorKind::Rejected, text)
                .with("price", self.value)
                .with("confidence", self.confidence)
        })
    }

    /// Checks that it was published within `max_age` before `now`, and no more than `max_age` after.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`], since a fresh one can be had later.
    pub fn fresh(&self, now: Timestamp, max_age: Duration) -> Result<()> {
        let apart = now.since(self.published).max(self.published.since(now));
        if apart > max_age {
            let text = "the price is stale, or from the future; ask for a fresh one";
            return Err(Error::unavailable(text)
                .with("published", self.published)
                .with("now", now));
        }
        Ok(())
    }
}

/// Tells what the token is worth.
///
/// # Contract
/// 1. `price` MUST be the latest that the source knows, with the moment at which it was true.
/// 2. An implementation MUST NOT judge: stale, uncertain or negative prices are returned as they are.
#[async_trait]
pub trait PriceSource: Send + Sync + fmt::Debug {
    /// The latest price.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the source does not answer now.
    async fn price(&self) -> Result<Price>;
}

/// A price that somebody set: for tests, simulations and networks that fix one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedPrice(Price);

impl FixedPrice {
    /// Always this price.
    pub const fn new(price: Price) -> Self {
        Self(price)
    }
}

#[async_trait]
impl PriceSource for FixedPrice {
    async fn price(&self) -> Result<Price> {
        Ok(self.0)
    }
}
