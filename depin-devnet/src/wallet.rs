//! A wallet that tells the chain who signed.
//!
//! Finding a sender from a signature costs more than everything else a transfer does. What a provider
//! of this process has signed itself needs no finding: the transaction's hash, which covers the
//! signature, is looked up instead. Whatever was signed elsewhere is recovered as on every chain.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy::{
    consensus::{TxEnvelope, TypedTransaction},
    network::{Ethereum, EthereumWallet, NetworkWallet},
    primitives::{Address, B256},
};

use crate::Devnet;

/// Signs as alloy's wallet does and notes the sender of every transaction.
#[derive(Clone, Debug)]
pub(crate) struct Wallet {
    keys: EthereumWallet,
    devnet: Devnet,
}

impl Wallet {
    pub(crate) const fn new(keys: EthereumWallet, devnet: Devnet) -> Self {
        Self { keys, devnet }
    }
}

impl NetworkWallet<Ethereum> for Wallet {
    fn default_signer_address(&self) -> Address {
        NetworkWallet::<Ethereum>::default_signer_address(&self.keys)
    }

    fn has_signer_for(&self, address: &Address) -> bool {
        NetworkWallet::<Ethereum>::has_signer_for(&self.keys, address)
    }

    fn signer_addresses(&self) -> impl Iterator<Item = Address> {
        NetworkWallet::<Ethereum>::signer_addresses(&self.keys)
    }

    async fn sign_transaction_from(
        &self,
        sender: Address,
        tx: TypedTransaction,
    ) -> alloy::signers::Result<TxEnvelope> {
        let signed = NetworkWallet::<Ethereum>::sign_transaction_from(&self.keys, sender, tx);
        let signed = signed.await?;
        self.devnet.signed().note(*signed.tx_hash(), sender);
        Ok(signed)
    }
}

/// Senders of the newest transactions that were signed here and have not arrived yet.
#[derive(Debug, Default)]
pub(crate) struct Signed(Mutex<VecDeque<(B256, Address)>>);

impl Signed {
    fn note(&self, hash: B256, sender: Address) {
        let mut newest = self.list();
        if newest.len() >= CAPACITY {
            newest.pop_front();
        }
        newest.push_back((hash, sender));
    }

    /// Who signed the transaction with this hash, when it was signed here; asked once.
    pub(crate) fn take(&self, hash: &B256) -> Option<Address> {
        let mut newest = self.list();
        let at = newest.iter().rposition(|(signed, _)| signed == hash)?;
        newest.remove(at).map(|(_, sender)| sender)
    }

    fn list(&self) -> MutexGuard<'_, VecDeque<(B256, Address)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enough for a few hundred tasks that sign at once; later ones are recovered, nothing else.
const CAPACITY: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_signed_transactions_are_known_once() {
        let signed = Signed::default();
        let hash = |n: usize| B256::with_last_byte(n as u8);
        let sender = Address::repeat_byte(1);
        for n in 0..=CAPACITY {
            signed.note(B256::from(alloy::primitives::U256::from(n)), sender);
        }
        assert_eq!(signed.take(&B256::ZERO), None, "the oldest made room");
        assert_eq!(signed.take(&hash(7)), Some(sender));
        assert_eq!(signed.take(&hash(7)), None);
    }
}
