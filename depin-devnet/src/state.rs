//! Accounts, their storage and code: the state after one block.
//!
//! A [`State`] is two levels of persistent tries, so a clone is a snapshot. [`View`] puts a state and
//! the recent block hashes behind revm's `Database`.

use std::{cell::Cell, convert::Infallible};

use alloy::{
    consensus::{TrieAccount, constants::KECCAK_EMPTY},
    primitives::{Address, B256, Bytes, U256, keccak256},
};
use revm::{
    Database,
    state::{AccountInfo, Bytecode, EvmState},
};

use crate::trie::{Trie, Value};

/// The state after a block. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct State(pub(crate) Trie<Account>);

/// One account with everything it owns.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
    pub(crate) code_hash: B256,
    /// `None` for accounts without code.
    pub(crate) code: Option<Bytecode>,
    /// Slots by the hash of their index; zero slots are absent.
    pub(crate) storage: Trie<U256>,
}

impl Value for U256 {
    fn rlp(&self) -> Vec<u8> {
        alloy::rlp::encode(self)
    }
}

impl Value for Account {
    fn rlp(&self) -> Vec<u8> {
        alloy::rlp::encode(TrieAccount {
            nonce: self.nonce,
            balance: self.balance,
            storage_root: self.storage.root(),
            code_hash: self.code_hash,
        })
    }
}

impl Default for Account {
    fn default() -> Self {
        Self {
            nonce: 0,
            balance: U256::ZERO,
            code_hash: KECCAK_EMPTY,
            code: None,
            storage: Trie::default(),
        }
    }
}

impl Account {
    /// The deployed code, empty for accounts without.
    pub(crate) fn code(&self) -> Bytes {
        self.code.as_ref().map(Bytecode::original_bytes).unwrap_or_default()
    }

    /// A storage slot, zero when never written.
    pub(crate) fn slot(&self, index: U256) -> U256 {
        self.storage.value(&slot_key(index)).copied().unwrap_or_default()
    }
}

impl State {
    pub(crate) fn account(&self, address: &Address) -> Option<&Account> {
        self.0.value(&account_key(address))
    }

    pub(crate) fn balance(&self, address: &Address) -> U256 {
        self.account(address).map(|account| account.balance).unwrap_or_default()
    }

    pub(crate) fn nonce(&self, address: &Address) -> u64 {
        self.account(address).map_or(0, |account| account.nonce)
    }

    pub(crate) fn set_balance(&mut self, address: &Address, balance: U256) {
        let mut account = self.account(address).cloned().unwrap_or_default();
        account.balance = balance;
        self.put(account_key(address), account);
    }

    pub(crate) fn set_code(&mut self, address: &Address, code: Bytes) {
        let mut account = self.account(address).cloned().unwrap_or_default();
        account.code_hash = keccak256(&code);
        account.code = (!code.is_empty()).then(|| Bytecode::new_legacy(code));
        self.put(account_key(address), account);
    }

    /// Stores an account, or removes it when nothing is left of it (EIP-161).
    fn put(&mut self, key: B256, account: Account) {
        let empty =
            account.nonce == 0 && account.balance.is_zero() && account.code_hash == KECCAK_EMPTY;
        if empty { self.0.remove(&key) } else { self.0.insert(key, account) }
    }

    /// Applies what a transaction changed.
    pub(crate) fn commit(&mut self, changes: EvmState) {
        for (address, change) in changes {
            if !change.is_touched() {
                continue;
            }
            let key = account_key(&address);
            if change.is_selfdestructed() {
                self.0.remove(&key);
                continue;
            }
            let mut account = match self.0.value(&key) {
                Some(account) if !change.is_created() => account.clone(),
                _ => Account::default(),
            };
            account.nonce = change.info.nonce;
            account.balance = change.info.balance;
            if account.code_hash != change.info.code_hash {
                account.code_hash = change.info.code_hash;
                account.code = change.info.code.filter(|code| !code.is_empty());
            }
            for (index, slot) in change.storage.into_iter().filter(|(_, slot)| slot.is_changed()) {
                if slot.present_value.is_zero() {
                    account.storage.remove(&slot_key(index));
                } else {
                    account.storage.insert(slot_key(index), slot.present_value);
                }
            }
            self.put(key, account);
        }
    }
}

/// Trie key of an account. A transfer asks for the same three a dozen times, and hashing them anew
/// would be a fifth of the chain's work: each thread remembers some.
pub(crate) fn account_key(address: &Address) -> B256 {
    thread_local! {
        static KNOWN: [Cell<Option<(Address, B256)>>; 256] = const { [const { Cell::new(None) }; 256] };
    }
    let [.., last] = address.0.0;
    KNOWN.with(|known| match known[usize::from(last)].get() {
        Some((of, key)) if of == *address => key,
        _ => {
            let key = keccak256(address);
            known[usize::from(last)].set(Some((*address, key)));
            key
        }
    })
}

/// Trie key of a storage slot.
pub(crate) fn slot_key(index: U256) -> B256 {
    keccak256(index.to_be_bytes::<32>())
}

/// What the EVM sees while it runs one block on top of `state`.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) state: State,
    /// Hashes of the up to 256 blocks before the running one, oldest first.
    pub(crate) hashes: Vec<B256>,
    /// Number of the running block.
    pub(crate) number: u64,
}

impl Database for View {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.state.account(&address).map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            code: Some(account.code.clone().unwrap_or_default()),
            ..AccountInfo::default()
        }))
    }

    fn code_by_hash(&mut self, _: B256) -> Result<Bytecode, Infallible> {
        // `basic` always gives the code, so the EVM has no reason to ask.
        Ok(Bytecode::default())
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, Infallible> {
        Ok(self.state.account(&address).map(|account| account.slot(index)).unwrap_or_default())
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        let back = self.number.checked_sub(number).and_then(|back| usize::try_from(back).ok());
        let index = back.and_then(|back| self.hashes.len().checked_sub(back));
        Ok(index.and_then(|index| self.hashes.get(index)).copied().unwrap_or_default())
    }
}
