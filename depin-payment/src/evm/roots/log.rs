//! What the log of a node says of epochs, and when that is believed.
//!
//! The manifest of an epoch is in no state of the contract, only in the event that published it. Nodes prune their
//! logs, and a log also has what was rejected since. So an event counts as far as the contract still has its root; of
//! several with the same root the last one does; and that something is not there is believed only of a log without gaps.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use depin_core::{Amount, B256, EpochId, Error, Result, U256, reward::Commitment};
use depin_evm::{
    alloy::{
        providers::Provider,
        rpc::types::{Filter, Log},
        sol_types::SolEvent,
    },
    bindings::RewardDistributor as Contract,
};
use futures_util::future::try_join_all;

use super::{EvmRoots, explain};
use crate::evm::calls::{AT_ONCE, patiently};

type Published = Contract::EpochPublished;

/// What became of publications with a manifest.
pub(in crate::evm) enum Manifested {
    /// The last one was not rejected.
    Standing(EpochId, B256),
    /// None stands; these were published, and others have their numbers now.
    Replaced(Vec<(EpochId, B256)>),
}

impl EvmRoots {
    /// The commitment of an epoch, if it was published and not rejected. One whose dispute nobody decided in time counts
    /// as rejected, also while nobody has removed it: the next publication does.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when the chain does not answer now.
    pub async fn published(&self, epoch: EpochId) -> Result<Option<Commitment>> {
        let Some(root) = patiently(|| self.root(epoch)).await? else { return Ok(None) };
        let mut end = Some(self.height().await?);
        while let Some(last) = end {
            let (events, before) = self.publications(self.of_epoch(epoch), last).await?;
            // Whoever serves the log may be mistaken; the contract's own root decides.
            if let Some(event) = events.into_iter().find(|event| event.root == root) {
                let cumulative = Amount::units(event.cumulativeTotal);
                return Ok(Some(Commitment { epoch, root, cumulative, manifest: event.logRoot }));
            }
            end = before;
        }
        let text = "the node's log lacks the epoch that the contract has; try again, or use an archive node";
        Err(Error::unavailable(text).with("epoch", epoch))
    }

    /// The last epoch that was published with such a manifest and not rejected; else those that others replaced.
    pub(in crate::evm) async fn with_manifest(
        &self,
        wanted: impl Fn(&B256) -> bool,
    ) -> Result<Manifested> {
        let contract = self.contract();
        let (count, waits) = (contract.epochCount(), contract.pendingEpoch());
        let active = patiently(|| self.chain.read(&count)).await.map_err(explain)?;
        let pending = patiently(|| self.chain.read(&waits)).await.map_err(explain)?;
        let lapsed = patiently(|| self.has_lapsed(&pending)).await?;
        let waits = !pending.activatesAt.is_zero() && !lapsed;
        let epochs = active.saturating_add(u64::from(waits));
        if epochs == 0 {
            return Ok(Manifested::Replaced(Vec::new()));
        }
        let (mut standing, mut replaced) = (BTreeMap::new(), Vec::new());
        let mut end = Some(self.height().await?);
        while let Some(last) = end {
            let (events, before) = self.publications(self.of_all(), last).await?;
            let mut roots = self.roots_of(&events).await?;
            if lapsed {
                roots.remove(&pending.epoch);
            }
            for event in events {
                let (epoch, root) = (EpochId::new(event.epoch), roots.get(&event.epoch));
                let stands = root == Some(&event.root) && !standing.contains_key(&event.epoch);
                match (stands, wanted(&event.logRoot)) {
                    (true, true) => return Ok(Manifested::Standing(epoch, event.logRoot)),
                    (true, false) => drop(standing.insert(event.epoch, event)),
                    (false, true) if root.is_some() => replaced.push((epoch, event.logRoot)),
                    (false, _) => {}
                }
            }
            end = before;
        }
        if standing.len() as u64 >= epochs && is_unbroken(standing.values()) {
            return Ok(Manifested::Replaced(replaced));
        }
        let text = "the node's log lacks epochs that the contract has; try again, use an archive node, or look from \
                    the contract's own block on";
        Err(Error::unavailable(text).with("found", standing.len()).with("epochs", epochs))
    }

    /// What was published in the blocks up to `end`, as many as the node answers for at once: the newest first. And where
    /// the blocks before them end, if there are any.
    async fn publications(
        &self,
        filter: Filter,
        end: u64,
    ) -> Result<(Vec<Published>, Option<u64>)> {
        let newest = || async {
            self.chain.logs(filter.clone(), self.deployed..=end).newest_first().next().await
        };
        let Some(window) = patiently(newest).await? else { return Ok((Vec::new(), None)) };
        let (start, mut logs) = (*window.blocks.start(), window.logs);
        logs.retain(|log| log.address() == self.address);
        logs.sort_by_key(|log| Reverse((log.block_number, log.log_index)));
        let before = start.checked_sub(1).filter(|_| start > self.deployed);
        Ok((logs.iter().filter_map(published_event).collect(), before))
    }

    /// The roots that the contract has now, of those epochs of which it has one.
    async fn roots_of(&self, events: &[Published]) -> Result<BTreeMap<u64, B256>> {
        let epochs: BTreeSet<_> = events.iter().map(|event| event.epoch).collect();
        let (epochs, mut roots) = (Vec::from_iter(epochs), BTreeMap::new());
        for epochs in epochs.chunks(AT_ONCE) {
            let asked =
                epochs.iter().map(|epoch| patiently(|| self.kept_root(EpochId::new(*epoch))));
            let found = try_join_all(asked).await?;
            roots
                .extend(epochs.iter().zip(found).filter_map(|(epoch, root)| Some((*epoch, root?))));
        }
        Ok(roots)
    }

    async fn height(&self) -> Result<u64> {
        patiently(|| self.chain.ask(self.chain.provider().get_block_number())).await
    }

    fn of_epoch(&self, epoch: EpochId) -> Filter {
        self.of_all().topic1(B256::left_padding_from(&epoch.value().to_be_bytes()))
    }

    fn of_all(&self) -> Filter {
        Filter::new().address(self.address).event_signature(Published::SIGNATURE_HASH)
    }
}

/// Whether each epoch begins with the total of the one before, and the first with nothing. Counting them is not
/// enough: between the count and the log another epoch may be published, or another node asked.
fn is_unbroken<'a>(mut events: impl Iterator<Item = &'a Published>) -> bool {
    let mut total = U256::ZERO;
    events.all(|event| {
        let before = event.cumulativeTotal.checked_sub(event.emission);
        let fits = before == Some(total);
        total = event.cumulativeTotal;
        fits
    })
}

fn published_event(log: &Log) -> Option<Published> {
    Some(log.log_decode().ok()?.inner.data)
}
