//! Grants: what of the emission that a measure decides is left for the next epoch.
//!
//! An epoch that is not settled still owes: the reserve of what was paid, and what of its pool nobody had earned when it
//! closed, which late work may claim. A grant that hands that out again is missing when it is due, and no later epoch
//! could be published.

use std::collections::BTreeMap;

use depin_core::{Amount, EpochId, Error, ErrorKind, Result};

use crate::{Network, books::Books};

impl Network {
    /// What the next epoch may be granted, of all that the emission controller has granted so far: less what epochs that
    /// are closed emit, published or not, and less what those that are not settled may still emit when they do.
    ///
    /// The books know of this network's epochs alone. Let its distributor be the only account that the controller mints
    /// for: what another one issues is granted here once more, and missing when it is published.
    ///
    /// ```
    /// # #[cfg(feature = "devnet")]
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use std::{sync::Arc, time::Duration};
    /// use depin::{EpochId, ManualClock, Network, Timestamp, data::epoch::Windows, payment::ProRata, presets, tokens};
    ///
    /// let (start, hour) = (Timestamp::from_secs(1_800_000_000), Duration::from_secs(3_600));
    /// let clock = Arc::new(ManualClock::at(start));
    /// let network = Network::builder(presets::devnet().await?)
    ///     .clock(clock.clone())
    ///     .windows(Windows::new(start, hour, hour / 6).unwrap().settling(1))
    ///     .rewards(ProRata::as_granted())
    ///     .build()
    ///     .await?;
    /// clock.set(start.plus(2 * hour));
    /// network.close_granted_epoch(EpochId::new(0), tokens(100)).await?;
    /// // Nobody worked, but until the epoch settles work may come that its hundred is for.
    /// assert_eq!(network.grantable(tokens(120)).await?, tokens(20));
    /// # Ok::<(), depin::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when an epoch that is not settled was sealed with a policy that is not at hand, or that
    /// tells no [pool](depin_core::reward::RewardPolicy::pool); [`ErrorKind::Corrupt`] when the log is damaged.
    pub async fn grantable(&self, granted: Amount) -> Result<Amount> {
        let mut books = self.0.books.lock().await;
        self.catch_up(&mut books).await?;
        self.left_of(&books, granted)
    }

    /// Refuses a grant of what is not there, or is owed to earlier epochs. Nothing is always granted.
    pub(crate) async fn check_grant(&self, books: &Books, grant: Amount) -> Result<()> {
        if grant.is_zero() {
            return Ok(());
        }
        let Some(granted) = self.0.ledgers.granted().await? else { return Ok(()) };
        let grantable = self.left_of(books, granted)?;
        if grant <= grantable {
            return Ok(());
        }
        let message = "the grant is more than may be emitted and earlier epochs leave; grant at most what is grantable";
        let error = Error::new(ErrorKind::Limit, message).with("epoch", books.next());
        Err(error.with("grant", grant).with("grantable", grantable))
    }

    /// Refuses to seal what could not be published: earlier epochs were granted more than there is.
    pub(crate) async fn check_due(&self, books: &Books, emission: Amount) -> Result<()> {
        if emission.is_zero() {
            return Ok(());
        }
        let Some(granted) = self.0.ledgers.granted().await? else { return Ok(()) };
        let due = books.emitted().checked_add(emission)?;
        if due <= granted {
            return Ok(());
        }
        let message = "what is due for the epoch, and for the one that settles with it, is more than may be emitted; \
                       report to the emission controller, or wait until the band leaves it, and close the epoch then";
        let error = Error::new(ErrorKind::Limit, message).with("epoch", books.next());
        Err(error.with("due in all", due).with("granted", granted))
    }

    fn left_of(&self, books: &Books, granted: Amount) -> Result<Amount> {
        let spoken_for = books.emitted().checked_add(self.owed(books)?)?;
        Ok(granted.checked_sub(spoken_for).unwrap_or(Amount::ZERO))
    }

    /// The most that epochs which are not settled may still emit.
    fn owed(&self, books: &Books) -> Result<Amount> {
        let mut paid = BTreeMap::<EpochId, Amount>::new();
        for (_, past) in books.standings().devices() {
            for work in &past.open {
                let paid = paid.entry(work.epoch).or_default();
                *paid = paid.checked_add(work.paid)?;
            }
        }
        let owed = books.standings().policies().map(|(epoch, name)| {
            let pool = self.0.rules.policy_of(epoch, name)?.get().pool(epoch)?;
            let pool = pool.ok_or_else(|| bottomless(epoch, name))?;
            let paid = paid.get(&epoch).copied().unwrap_or_default();
            Ok(pool.checked_sub(paid).unwrap_or(Amount::ZERO))
        });
        Amount::sum(owed.collect::<Result<Vec<_>>>()?)
    }
}

fn bottomless(epoch: EpochId, name: &str) -> Error {
    let message = "the policy of an epoch that is not settled tells no pool, so nobody knows what it still owes; have \
                   it tell one, or grant nothing until it settles";
    Error::new(ErrorKind::Config, message).with("epoch", epoch).with("policy", name)
}
