//! What became of a run so far: who cannot receive, and what was sent.
//!
//! Who is left out changes in both directions. A batch is sent anew without somebody; and a reorganisation may let the one
//! before succeed, which had them in it. Any batch that was ever sent may be the one that the chain has in the end. So what
//! counts is not who is left out by now but all changes in their order: they tell each batch that was.

use std::collections::{BTreeMap, BTreeSet};

use depin_core::{Address, Amount, B256};

use super::{Refusal, Unpaid};

/// Changes, in their order, and what was sent.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Why accounts were left out, also of those who are not any more.
    said: BTreeMap<Address, (String, Refusal)>,
    out: BTreeSet<Address>,
    changes: Vec<Change>,
    pub(super) sent: Vec<B256>,
    /// Numbers of the batches that somebody began to send.
    pub(super) begun: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    account: Address,
    leaves: bool,
}

impl Notes {
    pub(super) fn leave_out(&mut self, account: Address, reason: String, refusal: Refusal) {
        self.said.insert(account, (reason, refusal));
        self.change(account, true);
    }

    pub(super) fn take_back(&mut self, account: Address) {
        self.change(account, false);
    }

    fn change(&mut self, account: Address, leaves: bool) {
        let changes = if leaves { self.out.insert(account) } else { self.out.remove(&account) };
        if changes {
            self.changes.push(Change { account, leaves });
        }
    }

    pub(super) fn is_out(&self, account: &Address) -> bool {
        self.out.contains(account)
    }

    /// Somebody who gets nothing, if they do not.
    pub(super) fn unpaid(&self, account: Address, amount: Amount) -> Option<Unpaid> {
        let (reason, refusal) = self.said.get(&account).filter(|_| self.is_out(&account))?;
        Some(Unpaid { account, amount, reason: reason.clone(), refusal: *refusal })
    }

    /// Why somebody was left out, if they ever were.
    pub(super) fn said(&self, account: &Address) -> Option<(String, Refusal)> {
        self.said.get(account).cloned()
    }

    /// Who of the payments was left out at any time, the latest first. Ends with nobody.
    pub(super) fn ever_out(&self, payments: &[(Address, Amount)]) -> Vec<BTreeSet<Address>> {
        let mut sets = vec![BTreeSet::new()];
        if self.changes.is_empty() {
            return sets;
        }
        let named: BTreeSet<_> = payments.iter().map(|(account, _)| account).collect();
        let mut out = BTreeSet::new();
        for change in self.changes.iter().filter(|change| named.contains(&change.account)) {
            if change.leaves {
                out.insert(change.account);
            } else {
                out.remove(&change.account);
            }
            sets.push(out.clone());
        }
        sets.reverse();
        sets
    }

    /// The transaction in which a batch of these payments reverted, if any did.
    pub(super) fn reverted(&self, payments: &[(Address, Amount)]) -> Option<B256> {
        payments.iter().find_map(|(account, _)| match self.said.get(account)?.1 {
            Refusal::Reverted { transaction } => Some(transaction),
            Refusal::Simulated | Refusal::Unheard | Refusal::Earlier => None,
        })
    }

    /// The lines of the batches that were begun, and of those who are left out now.
    pub(super) fn lines(&self) -> String {
        let mut text: String = self.begun.iter().map(|batch| format!("begin {batch}\n")).collect();
        for (account, (reason, refusal)) in self.said.iter().filter(|(it, _)| self.is_out(it)) {
            text.push_str(&line(account, reason, *refusal));
        }
        text
    }

    /// Reads one line of a journal; `None` for one that is none.
    pub(super) fn read(&mut self, line: &str) -> Option<()> {
        let (verb, rest) = line.split_once(' ')?;
        match verb {
            "skip" | "unheard" | "earlier" => {
                let (account, reason) = rest.split_once(' ')?;
                let refusal = match verb {
                    "skip" => Refusal::Simulated,
                    "unheard" => Refusal::Unheard,
                    _ => Refusal::Earlier,
                };
                self.leave_out(account.parse().ok()?, reason.to_owned(), refusal);
            }
            "begin" => drop(self.begun.insert(rest.parse().ok()?)),
            "reverted" => {
                let (account, rest) = rest.split_once(' ')?;
                let (transaction, reason) = rest.split_once(' ')?;
                let refusal = Refusal::Reverted { transaction: transaction.parse().ok()? };
                self.leave_out(account.parse().ok()?, reason.to_owned(), refusal);
            }
            "back" => self.take_back(rest.parse().ok()?),
            "sent" => self.sent.push(rest.parse().ok()?),
            _ => return None,
        }
        Some(())
    }
}

/// The line of somebody who is left out.
pub(super) fn line(account: &Address, reason: &str, refusal: Refusal) -> String {
    match refusal {
        Refusal::Simulated => format!("skip {account} {reason}\n"),
        Refusal::Unheard => format!("unheard {account} {reason}\n"),
        Refusal::Earlier => format!("earlier {account} {reason}\n"),
        Refusal::Reverted { transaction } => format!("reverted {account} {transaction} {reason}\n"),
    }
}

/// A reason as it fits a line.
pub(super) fn plain(reason: &str) -> String {
    let mut plain = String::new();
    for letter in reason.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if plain.len().saturating_add(letter.len_utf8()) > MAX_REASON {
            break;
        }
        plain.push(letter);
    }
    plain
}

/// Bytes.
const MAX_REASON: usize = 200;
