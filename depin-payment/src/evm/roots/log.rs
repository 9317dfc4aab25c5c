//! What the log of a node says of epochs, and when that is believed.
//!
//! The manifest of an epoch is in no state of the contract, only in the event that published it. Nodes prune their
//! logs, and a log also has what was rejected since. So an event counts as far as the contract still has its root; of
//! several with the same root the last one does; and that something is not there is believed only of a log without gaps,
//! from the [creation](super::origin) of the contract on: what was rejected leaves no gap.

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

use super::{EvmRoots, explain, origin::first_administrator};
use crate::evm::calls::{AT_ONCE, patiently};

type Published = Contract::EpochPublished;

/// What became of publications with a manifest.
pub(in crate::evm) enum Manifested {
    /// The last one was not rejected.
    Standing(EpochId, B256),
    /// None stands; these were published, the newest first.
    Gone(Vec<Gone>),
}

/// A publication that does not stand.
#[derive(Clone, Copy, Debug)]
pub(in crate::evm) struct Gone {
    pub(in crate::evm) epoch: EpochId,
    pub(in crate::evm) manifest: B256,
    pub(in crate::evm) fate: Fate,
}

/// How a publication went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::evm) enum Fate {
    /// Something that was published after it stands, under whatever number: perhaps its correction.
    Replaced,
    /// The arbiter rejected it.
    Rejected,
    /// Nobody decided its dispute in time.
    Lapsed,
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
            let (logs, before) = self.window(self.of_epoch(epoch), last).await?;
            // Whoever serves the log may be mistaken; the contract's own root decides.
            let mut events = logs.iter().filter_map(published_event);
            if let Some(event) = events.find(|event| event.root == root) {
                let cumulative = Amount::units(event.cumulativeTotal);
                return Ok(Some(Commitment { epoch, root, cumulative, manifest: event.logRoot }));
            }
            end = before;
        }
        let text = "the node's log lacks the epoch that the contract has; try again, or use an archive node";
        Err(Error::unavailable(text).with("epoch", epoch))
    }

    /// The last epoch that was published with such a manifest and not rejected; else what became of the others. One whose
    /// dispute nobody decided in time stands until it is [removed](Self::lapsed): the arbiter may uphold it.
    pub(in crate::evm) async fn with_manifest(
        &self,
        wanted: impl Fn(&B256) -> bool,
    ) -> Result<Manifested> {
        let contract = self.contract();
        let (count, waits) = (contract.epochCount(), contract.pendingEpoch());
        let active = patiently(|| self.chain.read(&count)).await.map_err(explain)?;
        let pending = patiently(|| self.chain.read(&waits)).await.map_err(explain)?;
        let epochs = active.saturating_add(u64::from(!pending.activatesAt.is_zero()));
        let (mut standing, mut gone, mut later) = (BTreeMap::new(), Vec::new(), 0_usize);
        let (mut end, mut first_grant) = (Some(self.height().await?), None);
        while let Some(last) = end {
            let (logs, before) = self.window(self.of_all(), last).await?;
            first_grant = first_administrator(&logs).or(first_grant);
            let events: Vec<_> = logs.iter().filter_map(published_event).collect();
            let roots = self.roots_of(&events).await?;
            for event in events {
                let (epoch, manifest) = (EpochId::new(event.epoch), event.logRoot);
                let kept = roots.get(&event.epoch) == Some(&event.root);
                match (kept && !standing.contains_key(&event.epoch), wanted(&manifest)) {
                    (true, true) => return Ok(Manifested::Standing(epoch, manifest)),
                    (true, false) => drop(standing.insert(event.epoch, event)),
                    (false, true) => {
                        let fate = fate(standing.is_empty(), later, pending.lapsed);
                        gone.push(Gone { epoch, manifest, fate });
                    }
                    (false, false) => {}
                }
                later = later.saturating_add(1);
            }
            end = before;
        }
        let found = standing.len();
        if (found as u64) < epochs || !is_unbroken(standing.values()) {
            let text = "the node's log lacks epochs that the contract has; try again, use an archive node, or look \
                        from the contract's own block on";
            return Err(Error::unavailable(text).with("found", found).with("epochs", epochs));
        }
        self.check_origin(first_grant).await?;
        Ok(Manifested::Gone(gone))
    }

    /// What the contract logged in the blocks up to `end`, as many as the node answers for at once: the newest first. And
    /// where the blocks before them end, if there are any.
    async fn window(&self, filter: Filter, end: u64) -> Result<(Vec<Log>, Option<u64>)> {
        // Reading is patient by itself.
        let mut windows = self.chain.logs(filter, self.deployed..=end).newest_first();
        let Some(window) = windows.next().await? else { return Ok((Vec::new(), None)) };
        let (start, mut logs) = (*window.blocks.start(), window.logs);
        logs.retain(|log| log.address() == self.address);
        logs.sort_by_key(|log| Reverse((log.block_number, log.log_index)));
        let before = start.checked_sub(1).filter(|_| start > self.deployed);
        Ok((logs, before))
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
        let of_epoch =
            Filter::new().address(self.address).event_signature(Published::SIGNATURE_HASH);
        of_epoch.topic1(B256::left_padding_from(&epoch.value().to_be_bytes()))
    }

    /// What was published, and who was given roles, as the creation of the contract does.
    fn of_all(&self) -> Filter {
        let events = vec![Published::SIGNATURE_HASH, Contract::RoleGranted::SIGNATURE_HASH];
        Filter::new().address(self.address).event_signature(events)
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

/// How a publication went after which so many others are in the log. The contract counts the last ones that lapsed in a
/// row.
const fn fate(nothing_stands_since: bool, later: usize, lapsed: u8) -> Fate {
    if !nothing_stands_since {
        Fate::Replaced
    } else if later < lapsed as usize {
        Fate::Lapsed
    } else {
        Fate::Rejected
    }
}

fn published_event(log: &Log) -> Option<Published> {
    Some(log.log_decode().ok()?.inner.data)
}
