//! What the chain knows of a run that has no journal here.
//!
//! A journal that is lost must not mean that a list is paid again. The chain has both ways of paying on
//! record: `Disperse` the keys of batches, and the distributor the digest of the list as manifest of the
//! epoch. So before a journal is made the chain is asked, and a run that it knows goes on the way it began.

use depin_core::{Address, B256, EpochId, Error, ErrorKind, Result, keccak256};
use depin_evm::bindings::Disperse;

use super::{
    PayList, Treasury, Way, disperse,
    journal::Terms,
    published::{Publication, check_gone, published},
};
use crate::evm::calls::{patiently, read_all};

impl Treasury {
    /// Refuses to begin while transactions of the account wait to be mined that the store of the chain handle does not
    /// know: they may be batches of this very run, of which the chain has nothing yet. What others with the same key
    /// sent is no reason to go on either.
    pub(super) async fn check_nothing_waits(&self) -> Result<()> {
        patiently(|| async {
            let waiting = self.chain.waiting().await?;
            if waiting == 0 {
                return Ok(());
            }
            let text = "transactions of the account wait to be mined, and may be some of this run; wait until they \
                        are, or replace them, and run it again";
            Err(Error::unavailable(text).with("transactions", waiting))
        })
        .await
    }

    /// How the run was begun, if the chain has anything of it. Nothing, where it may begin by this way.
    pub(super) async fn begun(&self, list: &PayList, way: Way) -> Result<Option<Terms>> {
        let transfers = self.transferred(list).await?;
        let published = match &self.claims {
            Some((distributor, _)) => published(distributor.roots(), list).await?,
            None => None,
        };
        let mut terms = self.identity();
        match (transfers, published) {
            (Some((contract, _)), Some(Publication::Standing(epoch))) => {
                let text = "the run was paid by transfers and published as an epoch too; see who did that \
                            before anything else is paid";
                let error = Error::new(ErrorKind::Conflict, text).with("run", list.id());
                return Err(error.with("disperse", contract).with("epoch", epoch));
            }
            // Also beside an epoch that is gone: nobody publishes it a second time.
            (Some(_), _) => terms.disperse = transfers,
            (None, Some(Publication::Standing(epoch))) => terms.distributor = self.as_epoch(epoch),
            (None, Some(Publication::Gone(gone))) => {
                check_gone(list, gone, way)?;
                return Ok(None);
            }
            (None, None) => return Ok(None),
        }
        Ok(Some(terms))
    }

    /// Refuses to pay by transfers what was published since the journal was made: it may have been away, on a disk that is
    /// restored, while the run was begun anew. Where a batch is used up, no other journal can have begun it by claims.
    pub(super) async fn check_unpublished(
        &self,
        disperse: Address,
        size: usize,
        list: &PayList,
    ) -> Result<()> {
        let Some((distributor, _)) = &self.claims else { return Ok(()) };
        let batches = list.payments().len().div_ceil(size.max(1));
        let used = self.paid_batches(disperse, list, batches).await?;
        if used.iter().any(|used| !used.is_zero()) {
            return Ok(());
        }
        self.check_nothing_waits().await?;
        match published(distributor.roots(), list).await? {
            None => Ok(()),
            Some(Publication::Gone(gone)) => check_gone(list, gone, Way::Transfers),
            Some(Publication::Standing(epoch)) => {
                let text = "the run was published as an epoch after this journal was made, which paid nobody; go on \
                            with the journal that published it, or with none";
                let error = Error::new(ErrorKind::Conflict, text).with("run", list.id());
                Err(error.with("epoch", epoch))
            }
        }
    }

    fn as_epoch(&self, epoch: EpochId) -> Option<(Address, EpochId)> {
        self.claims.as_ref().map(|(distributor, _)| (distributor.roots().address(), epoch))
    }

    /// The `Disperse` contract that paid batches of the run, and how many recipients they have.
    async fn transferred(&self, list: &PayList) -> Result<Option<(Address, usize)>> {
        let shared = disperse::address();
        let told = self.disperse.filter(|told| *told != shared);
        for contract in told.into_iter().chain([shared]) {
            let used = match self.used(contract, self.batch_size(), list).await {
                // Nobody has put the shared one on this chain.
                Err(error) if error.kind() == ErrorKind::NotFound && contract == shared => continue,
                used => used?,
            };
            if used.iter().any(|used| !used.is_zero()) {
                self.check_size(contract, list, used.first().copied().unwrap_or_default())?;
                check_count(&used, self.batch_size(), list)?;
                return Ok(Some((contract, self.batch_size())));
            }
        }
        Ok(None)
    }

    /// Refuses a journal with batches of another size than what was paid has: it comes from a disk that was restored, and
    /// would pay anew who is in batches that it does not know of.
    pub(super) async fn check_batches(
        &self,
        disperse: Address,
        size: usize,
        list: &PayList,
    ) -> Result<()> {
        let used = self.used(disperse, size, list).await?;
        check_count(&used, size, list).map_err(|error| {
            let text =
                "it knows of larger batches than were paid; run the list without it, in their size";
            error.with("journal", text)
        })
    }

    /// What the keys of the run were used for, also those that batches of this size have not: a run of smaller ones, of
    /// which the first paid nobody, shows by later keys only.
    async fn used(&self, contract: Address, size: usize, list: &PayList) -> Result<Vec<B256>> {
        let (payments, batches) = (list.payments().len(), batches(size, list));
        self.paid_batches(contract, list, batches.max(payments.min(Self::MAX_BATCH))).await
    }

    /// What the first so many keys of the run were used for; zero for nothing.
    pub(super) async fn paid_batches(
        &self,
        at: Address,
        list: &PayList,
        batches: usize,
    ) -> Result<Vec<B256>> {
        let account = self.chain.account();
        let contract = Disperse::new(at, self.chain.provider());
        let keys = (0..batches as u64).map(|index| self.key(list, index));
        let calls: Vec<_> = keys.map(|key| contract.paidBatch(account, key)).collect();
        patiently(|| async {
            disperse::found(&self.chain, at, read_all(&self.chain, &calls).await).await
        })
        .await
    }

    /// Says how many recipients the batches have, when the first one that was paid is of another size than told. It is not
    /// taken by itself: a shorter list under the same name looks like the first batch of this one.
    fn check_size(&self, contract: Address, list: &PayList, first: B256) -> Result<()> {
        let (told, key) = (self.batch_size(), self.key(list, 0));
        let fits = |size: &usize| {
            let batch = list.payments().chunks(*size).next().unwrap_or_default();
            let calls = [self.call(contract, key, batch), self.closing(contract, key, batch)];
            let mut calls = calls.into_iter().chain(self.leavings(contract, key, batch));
            calls.any(|call| keccak256(call.calldata()) == first)
        };
        match [told].into_iter().chain(1..=Self::MAX_BATCH).find(fits) {
            Some(size) if size != told => {
                let text = "the first batch of the run had other than so many recipients; tell the treasury its \
                            size, or take another name if the list is another one";
                let error = Error::new(ErrorKind::Conflict, text).with("run", list.id());
                Err(error.with("recipients", size).with("told", told))
            }
            // Where none fits, it was paid without somebody, or the name was used for other payments. Comparing
            // batch by batch tells.
            _ => Ok(()),
        }
    }
}

fn batches(size: usize, list: &PayList) -> usize {
    list.payments().len().div_ceil(size.max(1))
}

/// Refuses more batches than the list has in this size.
fn check_count(used: &[B256], size: usize, list: &PayList) -> Result<()> {
    if used.iter().skip(batches(size, list)).all(|used| used.is_zero()) {
        return Ok(());
    }
    let text = "the run had smaller batches; tell the treasury their size, or take another name if the list is \
                another one";
    let error = Error::new(ErrorKind::Conflict, text).with("run", list.id());
    Err(error.with("told", size))
}
