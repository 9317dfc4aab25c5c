//! History: what the log keeps of closed epochs, read into books.

use std::cmp::Ordering;

use depin_core::{Bytes, EpochId, Error, ErrorKind, NetworkId, Result};
use depin_data::epoch::{EpochRecord, Sealed, Standings, Withdrawal};

use crate::{
    Epoch, Network,
    books::{Books, sha256},
    checkpoint::Checkpoint,
    seals::Seals,
};

impl Network {
    /// Enters epochs that an earlier run, or another process, sealed, and takes out those that it withdrew.
    pub(crate) async fn catch_up(&self, books: &mut Books) -> Result<()> {
        if books.next().value() == 0 {
            self.recall(books).await?;
        }
        let mut place = books.place();
        let Some(first) = self.0.log.sealed(place).await? else { return Ok(()) };
        // What cannot be read to its end, for now, changes nothing. Only the last one needs a tree.
        let (mut ahead, mut last) = (books.carried_on(), None);
        let mut found = Some(first);
        while let Some(sealed) = found {
            if let Some(withdrawal) = Withdrawal::parse(&sealed)? {
                (ahead, last) = self.rewound(&ahead.seals, place, &withdrawal).await?;
            } else if let Some(earlier) = last.replace(sealed) {
                ahead.pass(&earlier)?;
            }
            place = after(place)?;
            found = self.0.log.sealed(place).await?;
        }
        if let Some(sealed) = &last {
            self.enter_sealed(&mut ahead, sealed)?;
        }
        ahead.checkpoint = books.checkpoint.take();
        // After a withdrawal devices are waited for anew that were not any more.
        ahead.sources = books.sources.take().filter(|_| ahead.seals == books.seals);
        *books = ahead;
        if let Some(sealed) = &last {
            books.keep(sealed);
        }
        Ok(())
    }

    /// Enters the next epoch as the log has it.
    pub(crate) fn enter_sealed(&self, books: &mut Books, sealed: &[u8]) -> Result<Epoch> {
        let sealed = Sealed::parse(sealed)?;
        self.check_own(&sealed.record, books.next())?;
        let (epoch, balances) = books.prepare(sealed)?;
        books.enter(epoch.clone(), balances);
        Ok(epoch)
    }

    /// The books up to an epoch that is withdrawn in this place, without the last one that stays, which is given as
    /// the log has it.
    async fn rewound(
        &self,
        seals: &Seals,
        place: EpochId,
        withdrawal: &Withdrawal,
    ) -> Result<(Books, Option<Bytes>)> {
        let first = withdrawal.epoch;
        let known =
            if seals.place(first) < place { self.sealed_record(seals, first).await? } else { None };
        let names = |record: &EpochRecord| {
            withdrawal.network == self.0.id && withdrawal.manifest == record.manifest()
        };
        if !known.as_ref().is_some_and(names) {
            let message =
                "the log withdraws an epoch that it does not have so; use this network's log";
            return Err(Error::new(ErrorKind::Corrupt, message).with("epoch", first));
        }
        let mut seals = seals.clone();
        seals.withdraw(first, place);
        let Some(last) = first.value().checked_sub(1).map(EpochId::new) else {
            return Ok((Books::over(self.0.id.clone(), seals), None));
        };
        let books = self.books_before(&seals, last).await?;
        let sealed = self.0.log.sealed(seals.place(last)).await?;
        Ok((books, Some(sealed.ok_or_else(|| lost(last))?)))
    }

    /// Goes on with the books that were kept, if they are of this log.
    async fn recall(&self, books: &mut Books) -> Result<()> {
        let Some(kept) = books.checkpoint.as_ref().and_then(Checkpoint::read) else {
            return Ok(());
        };
        let last = kept.standings.next().value().checked_sub(1).map(EpochId::new);
        let Some(last) = last.filter(|_| kept.standings.network() == &self.0.id) else {
            return Ok(());
        };
        match self.0.log.sealed(kept.seals.place(last)).await? {
            Some(sealed) if sha256(&sealed) == kept.sealed => {
                let next = kept.standings.next();
                books.resume(kept, Sealed::parse(&sealed)?)?;
                if let Some(checkpoint) = books.checkpoint.as_mut() {
                    checkpoint.holds(next);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A closed epoch, if it is.
    pub(crate) async fn closed(&self, books: &Books, id: EpochId) -> Result<Option<Epoch>> {
        if id >= books.next() {
            return Ok(None);
        }
        if let Some(latest) = books.latest.as_ref().filter(|latest| latest.id() == id) {
            return Ok(Some(latest.clone()));
        }
        let earlier = self.books_before(&books.seals, id).await?;
        let sealed = self.0.log.sealed(books.seals.place(id)).await?.ok_or_else(|| lost(id))?;
        let sealed = Sealed::parse(&sealed)?;
        self.check_own(&sealed.record, id)?;
        earlier.prepare(sealed).map(|(epoch, _)| Some(epoch))
    }

    /// The books as they were when a closed epoch began, from what the log keeps.
    pub(crate) async fn books_before(&self, seals: &Seals, id: EpochId) -> Result<Books> {
        let mut earlier = Books::over(self.0.id.clone(), seals.clone());
        for before in (0..id.value()).map(EpochId::new) {
            let sealed = self.0.log.sealed(seals.place(before)).await?;
            earlier.pass(&sealed.ok_or_else(|| lost(before))?)?;
        }
        Ok(earlier)
    }

    /// What an epoch begins with: where every device stood, what it had done in epochs that are not settled, and
    /// what those were sealed with. It is what the log keeps, and [committed](EpochRecord::standings) to by the
    /// record of the epoch.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the epoch before is open, [`ErrorKind::Corrupt`] when the log's records are
    /// damaged.
    pub async fn standings(&self, id: EpochId) -> Result<Standings> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books).await?;
        match id.cmp(&books.next()) {
            Ordering::Equal => Ok(books.standings.clone()),
            Ordering::Less => {
                self.books_before(&books.seals, id).await.map(|books| books.standings)
            }
            Ordering::Greater => {
                let message = "the epoch before is not closed";
                Err(Error::new(ErrorKind::NotFound, message).with("epoch", id))
            }
        }
    }

    /// Where each epoch is sealed by now.
    pub(crate) async fn seals(&self) -> Result<Seals> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books).await?;
        Ok(books.seals.clone())
    }

    /// The sealed record of an epoch of this network, if there is one.
    pub(crate) async fn sealed_record(
        &self,
        seals: &Seals,
        id: EpochId,
    ) -> Result<Option<EpochRecord>> {
        let Some(bytes) = self.0.log.sealed(seals.place(id)).await? else { return Ok(None) };
        let record = Sealed::record(&bytes)?;
        self.check_own(&record, id).map(|()| Some(record))
    }

    fn check_own(&self, record: &EpochRecord, id: EpochId) -> Result<()> {
        let (network, epoch): (&NetworkId, EpochId) = (record.network(), record.epoch());
        if network == &self.0.id && epoch == id {
            return Ok(());
        }
        let message =
            "the log holds the record of another network or epoch; use this network's log";
        Err(Error::new(ErrorKind::Corrupt, message)
            .with("epoch", id)
            .with("found", format!("{network} {epoch}")))
    }
}

/// The place after this one.
pub(crate) fn after(place: EpochId) -> Result<EpochId> {
    place.next().ok_or_else(|| Error::new(ErrorKind::Overflow, "the log has no more places"))
}

pub(crate) fn lost(id: EpochId) -> Error {
    Error::new(ErrorKind::Corrupt, "the log has lost the record of a closed epoch")
        .with("epoch", id)
}
