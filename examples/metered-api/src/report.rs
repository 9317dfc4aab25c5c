//! What came of it, as a table and as one JSON object.

use anyhow::{Result, ensure};
use comfy_table::{Table, presets::NOTHING};
use depin::{Amount, tokens};
use serde_json::{Value, json};

use crate::{EARNED, buyer::Purchase, town::Town};

/// The end of the story.
pub struct Report {
    /// Each with the transactions that it took, of buyer and seller.
    purchases: [(Purchase, u64); 2],
    ann: Amount,
    bob: Amount,
}

impl Report {
    pub async fn new(town: &Town, purchases: [(Purchase, u64); 2]) -> Result<Self> {
        let (ann, bob) = (town.balance(&town.ann).await?, town.balance(&town.bob).await?);
        Ok(Self { purchases, ann, bob })
    }

    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(["paid with", "requests", "transactions", "tokens"]);
        for (Purchase { way, requests, paid }, transactions) in &self.purchases {
            let numbers = [requests.to_string(), transactions.to_string(), paid.to_string()];
            table.add_row([[(*way).to_owned()].as_slice(), &numbers].concat());
        }
        format!("{table}\nAnn has {} tokens, Bob {}.", self.ann, self.bob)
    }

    /// The object that `--json` prints; amounts are decimal tokens as text.
    pub fn to_json(&self) -> Value {
        let purchase = |(purchase, transactions): &(Purchase, u64)| {
            json!({
                "way": purchase.way,
                "requests": purchase.requests,
                "transactions": transactions,
                "paid": purchase.paid.to_string(),
            })
        };
        json!({
            "purchases": self.purchases.iter().map(purchase).collect::<Vec<_>>(),
            "ann": self.ann.to_string(),
            "bob": self.bob.to_string(),
        })
    }

    /// Whether the chain moved exactly what was sold.
    pub fn check(&self, price: Amount) -> Result<()> {
        let requests = self.purchases.iter().map(|(purchase, _)| purchase.requests).sum::<u64>();
        let sold = price.mul_div(requests.into(), 1.into())?;
        let half = tokens(EARNED / 2);
        ensure!(self.ann == half.checked_add(sold)?, "Ann was not paid what she sold");
        ensure!(self.bob == half.checked_sub(sold)?, "Bob did not pay what he bought");
        Ok(())
    }
}
