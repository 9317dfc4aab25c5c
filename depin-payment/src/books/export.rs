//! The books for other programs: a table, hledger's journal, Beancount.
//!
//! Each ends, where the format can, with the balances as assertions, so that the other program adds up
//! everything again and must come to the same. Amounts have all their decimal places; debits are positive
//! and credits negative. Beancount calculates with 28 digits, so sums of three and more postings with
//! longer amounts may not balance there; hledger and the table have no such limit.

use std::{fmt::Write as _, time::Duration};

use depin_core::{Amount, Timestamp};

use super::{Account, Books, Commodity, Side};

const DAY: Duration = Duration::from_secs(86_400);

impl Books {
    /// One line per posting: time, reference, note, account, commodity, amount. Nothing needs quotes but
    /// notes and references, which may have commas.
    pub fn csv(&self) -> String {
        let mut csv = String::from("time,reference,note,account,commodity,amount\n");
        for transaction in self.transactions() {
            let (at, reference) = (transaction.at(), transaction.reference());
            for posting in transaction.postings() {
                let (account, symbol) = (posting.account(), posting.commodity().symbol());
                let (note, amount) = (transaction.note(), posting.signed());
                let _ =
                    writeln!(csv, "{at},\"{reference}\",\"{note}\",{account},{symbol},{amount}");
            }
        }
        csv
    }

    /// hledger's journal; its `check` proves the balances.
    pub fn hledger(&self) -> String {
        let mut journal = String::from("decimal-mark .\n\n");
        for transaction in self.transactions() {
            let (at, reference, note) =
                (date(transaction.at()), transaction.reference(), transaction.note());
            let _ = writeln!(journal, "{at} ({reference}) {note}");
            for posting in transaction.postings() {
                let (account, symbol) = (posting.account(), posting.commodity().symbol());
                let _ = writeln!(journal, "    {account}  {} \"{symbol}\"", posting.signed());
            }
            journal.push('\n');
        }
        let _ = writeln!(journal, "{} balances", date(self.last().plus(DAY)));
        for (account, commodity, side, amount) in self.balances() {
            let (zero, symbol) = (commodity.format(Amount::ZERO), commodity.symbol());
            let balance = signed(commodity, side, amount);
            let _ =
                writeln!(journal, "    {account}  {zero} \"{symbol}\" = {balance} \"{symbol}\"");
        }
        journal
    }

    /// Beancount's input; `bean-check` proves the balances.
    pub fn beancount(&self) -> String {
        let mut input = String::new();
        let first = self.transactions().iter().map(|transaction| transaction.at()).min();
        let first = date(first.unwrap_or_default());
        let mut opened: Option<&Account> = None;
        for (account, ..) in self.balances() {
            if opened.replace(account) != Some(account) {
                let _ = writeln!(input, "{first} open {account}");
            }
        }
        for transaction in self.transactions() {
            let (at, reference, note) =
                (date(transaction.at()), transaction.reference(), transaction.note());
            let _ = writeln!(input, "\n{at} * \"{note}\"\n  reference: \"{reference}\"");
            for posting in transaction.postings() {
                let (account, symbol) = (posting.account(), posting.commodity().symbol());
                let _ = writeln!(input, "  {account}  {} {symbol}", posting.signed());
            }
        }
        let _ = writeln!(input);
        let last = date(self.last().plus(DAY));
        for (account, commodity, side, amount) in self.balances() {
            let balance = signed(commodity, side, amount);
            let _ = writeln!(input, "{last} balance {account}  {balance} {}", commodity.symbol());
        }
        input
    }

    fn last(&self) -> Timestamp {
        self.transactions().iter().map(|transaction| transaction.at()).max().unwrap_or_default()
    }
}

fn signed(commodity: &Commodity, side: Side, amount: Amount) -> String {
    let minus = side == Side::Credit && !amount.is_zero();
    format!("{}{}", if minus { "-" } else { "" }, commodity.format(amount))
}

/// The day in UTC.
fn date(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}
