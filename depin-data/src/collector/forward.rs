//! Sending what waits, in order, and what to do when it does not arrive.

use core::time::Duration;

use depin_core::{
    Did, Error, Result, Signer,
    transport::{Answer, Refusal, RefusalCode, Standing, Transport},
};
use sha2::{Digest, Sha256};

use super::{Collector, is_permanent};

/// What is to be done after [`Collector::forward`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "all is sent, or time helps, or somebody has to decide"
)]
pub enum Next {
    /// Everything sealed is stored. Come again when there is more.
    Done,
    /// Nobody answered, or the device's own signer or store did not: come again after this time.
    Later(Duration),
    /// The batch will not be taken as things stand: the refusal names it.
    /// [Discard](crate::outbox::Outbox::discard) it, [ask](Collector::ask) the log where it says that batches are
    /// missing, or put right what the refusal names; until then nothing after it is sent. A device that asked
    /// where its chain stands may be refused as well: the refusal names its question then.
    ///
    /// [`RefusalCode::ClockAhead`] passes by itself when the clock was ahead by little: set it, and forward
    /// again later. Discard a batch whose readings lie so far ahead that its followers cannot wait for that.
    Refused(Refusal),
}

/// How long to wait between attempts: from one second, doubled up to five minutes, and spread by the name of
/// the device, so that a fleet does not come back in one instant after an outage.
#[derive(Clone, Debug)]
pub struct Backoff {
    spread: [u8; 32],
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(300);

    /// For one device.
    pub fn new(did: &Did) -> Self {
        Self { spread: Sha256::digest(did.as_str().as_bytes()).into(), failures: 0 }
    }

    /// Counts a failure and says how long to wait.
    pub fn failed(&mut self) -> Duration {
        let doubled =
            Self::FIRST.saturating_mul(1u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let share = self.spread.get(self.failures as usize % 32).copied().unwrap_or_default();
        self.failures = self.failures.saturating_add(1).min(31);
        // Between half of it and all of it.
        let half = doubled.min(Self::LONGEST) / 2;
        half + half.saturating_mul(u32::from(share)) / 255
    }

    /// Forgets the failures.
    pub const fn succeeded(&mut self) {
        self.failures = 0;
    }
}

impl Collector {
    /// Sends what is sealed, oldest first, until all is stored or something stands in the way. Neither
    /// sleeps nor spawns; dropping the future loses nothing. Where the store was blank, it [asks](Self::ask) first.
    ///
    /// # Errors
    /// What no waiting heals: a receipt that proves nothing, a damaged store, a signer that refuses.
    #[cfg_attr(
        feature = "std",
        tracing::instrument(level = "debug", skip_all, fields(device = %self.outbox.did()))
    )]
    pub async fn forward(
        &mut self,
        transport: &dyn Transport,
        signer: &dyn Signer,
    ) -> Result<Next> {
        if !self.outbox.is_placed() {
            let asked = self.ask(transport, signer).await?;
            if asked != Next::Done {
                return Ok(asked);
            }
        }
        loop {
            let link = match self.outbox.next(signer) {
                Ok(Some(link)) => link,
                Ok(None) => return Ok(Next::Done),
                Err(error) => return self.later(error),
            };
            let answer = transport.send(&link).await;
            #[cfg(feature = "std")]
            crate::observe::sent(answer.as_ref().ok(), self.outbox.len());
            match answer {
                Ok(Answer::Receipt(receipt)) => {
                    self.outbox.acknowledge(&receipt)?;
                    self.backoff.succeeded();
                }
                Ok(Answer::Refusal(refusal)) => match refusal.code {
                    // Only of a marker: the log holds what it gives up.
                    RefusalCode::Superseded if self.outbox.superseded(link.hash()).is_ok() => {}
                    _ => return Ok(Next::Refused(refusal)),
                },
                Err(error) => return self.later(error),
            }
        }
    }

    /// Asks where the chain stands in the log, and takes its word: what is sealed from now on goes on from there.
    /// [`forward`](Self::forward) does so by itself where the store was blank; call it where the store may be an older
    /// copy, and when batches are missing that had their receipts.
    ///
    /// # Errors
    /// As [`Outbox::reconcile`](crate::outbox::Outbox::reconcile), and what no waiting heals.
    pub async fn ask(&mut self, transport: &dyn Transport, signer: &dyn Signer) -> Result<Next> {
        match transport.standing(self.outbox.did(), signer).await {
            Ok(Standing::Tip(tip)) => match self.outbox.reconcile(tip) {
                Ok(()) => {
                    self.backoff.succeeded();
                    Ok(Next::Done)
                }
                Err(error) => self.later(error),
            },
            Ok(Standing::Refusal(refusal)) => Ok(Next::Refused(refusal)),
            Err(error) => self.later(error),
        }
    }

    /// When to come again after an error that waiting heals.
    fn later(&mut self, error: Error) -> Result<Next> {
        if is_permanent(&error) {
            return Err(error);
        }
        let wait = self.backoff.failed();
        Ok(Next::Later(error.retry_after().unwrap_or_default().max(wait)))
    }
}
