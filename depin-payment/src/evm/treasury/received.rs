//! Whether recipients got what was sent to them.
//!
//! A token that takes a fee brings `Disperse` less than the batch needs, so that nothing is paid. One that takes it only of
//! what `Disperse` sends on pays everybody too little, and the call succeeds. No question to the chain shows that
//! before; the token's own events show it after the first batch, and the run ends there.

use std::collections::BTreeMap;

use depin_core::{Address, Amount, Error, ErrorKind, Result};
use depin_evm::{
    alloy::{providers::Provider, rpc::types::TransactionReceipt},
    bindings::NetworkToken,
};

use super::{PayList, Treasury, journal::Journal};
use crate::evm::calls::{events, patiently};

impl Treasury {
    /// Refuses to go on with a run whose last batch paid too little: each further one would too.
    pub(super) async fn check_earlier(
        &self,
        disperse: Address,
        list: &PayList,
        journal: &Journal,
    ) -> Result<()> {
        let Some(last) = journal.sent().last() else { return Ok(()) };
        let provider = self.chain.provider();
        let asked = || self.chain.ask(provider.get_transaction_receipt(*last));
        match patiently(asked).await? {
            Some(receipt) => self.check_received(disperse, &receipt, list),
            // A reorganisation took it back; it is looked at when it is mined again.
            None => Ok(()),
        }
    }

    /// Compares what the token says that it sent from `Disperse` with the list. Says nothing of tokens without events.
    pub(super) fn check_received(
        &self,
        disperse: Address,
        receipt: &TransactionReceipt,
        list: &PayList,
    ) -> Result<()> {
        let mut received = BTreeMap::<Address, Amount>::new();
        for sent in events::<NetworkToken::Transfer>(receipt, self.token) {
            if sent.from == disperse {
                let sum = received.entry(sent.to).or_default();
                *sum = sum.checked_add(Amount::units(sent.value))?;
            }
        }
        let short = list.payments().iter().find_map(|(account, due)| {
            let got = *received.get(account)?;
            (got < *due).then_some((account, due, got))
        });
        let Some((account, due, got)) = short else { return Ok(()) };
        let text = "the token took a fee of what Disperse sent, so the recipients of the last batch got less than the \
                    list says; nothing more is sent. Pay what they lack, and those who are left, under another name \
                    by another way, or after the token exempts Disperse";
        Err(Error::new(ErrorKind::Rejected, text)
            .with("account", account)
            .with("due", due.to_units())
            .with("got", got.to_units())
            .with("transaction", receipt.transaction_hash))
    }
}
