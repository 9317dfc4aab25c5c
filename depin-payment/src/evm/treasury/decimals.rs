//! Amounts as people write them, by the decimals of the token.

use depin_core::{Address, Amount, Error, ErrorKind, Result, U256};
use depin_evm::{Chain, bindings::NetworkToken};

use crate::evm::calls::patiently;

/// How many digits of an amount stand behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimals(u8);

impl Decimals {
    pub(super) fn new(decimals: u8) -> Result<Self> {
        if decimals > MOST {
            let text = "no token has more than 36 decimals; compare with the token's own";
            return Err(Error::new(ErrorKind::Malformed, text).with("decimals", decimals));
        }
        Ok(Self(decimals))
    }

    /// Those of a token; none for a token that does not say, so that its amounts are in base units.
    pub(super) async fn of(chain: &Chain, token: Address) -> Result<Self> {
        let contract = NetworkToken::new(token, chain.provider());
        let call = contract.decimals();
        match patiently(|| chain.read(&call)).await {
            Ok(decimals) => Ok(Self(if decimals > MOST { 0 } else { decimals })),
            Err(error) if error.is_retryable() => Err(error),
            Err(_) => Ok(Self(0)),
        }
    }

    /// Without trailing zeros: `12.5`.
    pub(super) fn show(self, amount: Amount) -> String {
        let unit = U256::from(10).pow(U256::from(self.0));
        let (whole, rest) = amount.to_units().div_rem(unit);
        if rest.is_zero() {
            return whole.to_string();
        }
        let places = usize::from(self.0);
        let digits = format!("{rest:0>places$}");
        format!("{whole}.{}", digits.trim_end_matches('0'))
    }

    /// Digits, at most one point, and behind it no more digits than the token has.
    pub(super) fn parse(self, text: &str) -> Result<Amount> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let fits = digits(whole) && digits(fraction) && whole.len() <= 80;
        let (fraction, places) = (fraction.trim_end_matches('0'), usize::from(self.0));
        if !fits || fraction.len() > places {
            let text =
                "the amount is no plain number such as 12.5, or has more decimals than the token";
            return Err(Error::new(ErrorKind::Malformed, text).with("decimals", self.0));
        }
        let units = U256::from_str_radix(&format!("{whole}{fraction:0<places$}"), 10);
        units.map(Amount::units).map_err(|_| {
            Error::new(ErrorKind::Overflow, "the amount does not fit 256 bits without a sign")
        })
    }
}

/// 10^36 base units are far inside 256 bits.
const MOST: u8 = 36;
