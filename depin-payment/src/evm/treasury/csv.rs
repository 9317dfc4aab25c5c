//! Lists as spreadsheets export them.

use depin_core::{Address, Amount, Error, ErrorKind, Result};

use super::{Decimals, PayList};

impl PayList {
    /// Reads a list of lines `account,amount`, with amounts in tokens of so many decimals: `12.5`. The first line may
    /// be a heading without digits; empty lines do not count.
    ///
    /// The point is where decimals begin, and nothing stands between thousands: `1,000`, `1'000` and `1.000.000` are
    /// refused, and `1.000` is one token. A spreadsheet that writes a thousand so exports a list a thousand times too
    /// small, which its [total](Self::total) shows: the [plan](super::Treasury::plan) prints it before anything is sent.
    ///
    /// ```
    /// use depin_core::{Address, Amount};
    /// use depin_payment::evm::PayList;
    ///
    /// let text = "account,amount\n0x0101010101010101010101010101010101010101,12.5\n";
    /// let list = PayList::from_csv("november", text, 6)?;
    /// assert_eq!(list.payments(), [(Address::repeat_byte(1), Amount::from(12_500_000))]);
    /// assert!(PayList::from_csv("november", &text.replace("12.5", "1'200"), 6).is_err());
    /// # Ok::<(), depin_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`ErrorKind::Malformed`] with the number of the line for anything else: an
    /// address without `0x` or whose capitals are not its checksum, an amount that is no plain number or has
    /// more decimals than the token.
    pub fn from_csv(id: &str, text: &str, decimals: u8) -> Result<Self> {
        let decimals = Decimals::new(decimals)?;
        let lines = text.strip_prefix(BYTE_ORDER).unwrap_or(text).lines().zip(1_u32..);
        let rows = lines.filter(|(line, number)| {
            let heading = *number == 1 && !line.bytes().any(|byte| byte.is_ascii_digit());
            !heading && !line.trim().is_empty()
        });
        let rows = rows
            .take(Self::MAX_LEN + 1)
            .map(|(line, number)| row(line, decimals).map_err(|error| error.with("line", number)));
        Self::new(id, rows.collect::<Result<Vec<_>>>()?)
    }
}

fn row(line: &str, decimals: Decimals) -> Result<(Address, Amount)> {
    let two = line.split_once(',').filter(|(_, amount)| !amount.contains(','));
    let (account, amount) = two.ok_or_else(|| {
        let text =
            "a line has other than two columns; write account,amount, and numbers without commas";
        Error::new(ErrorKind::Malformed, text)
    })?;
    Ok((address(account.trim())?, decimals.parse(amount.trim())?))
}

/// An address in small letters, or with the capitals that check it.
fn address(text: &str) -> Result<Address> {
    let plain = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let parsed = match text.strip_prefix("0x") {
        Some(digits) if plain => digits.parse().ok(),
        Some(_) => Address::parse_checksummed(text, None).ok(),
        None => None,
    };
    parsed.ok_or_else(|| {
        let text =
            "the account is no address of 0x and 40 digits, or its capitals are not its checksum";
        Error::new(ErrorKind::Malformed, text)
    })
}

/// What some spreadsheets begin a file with.
const BYTE_ORDER: char = '\u{feff}';
