//! Sending what waits, in order, and what to do when it does not arrive.

use core::time::Duration;

use depin_core::{
    Did, Result, Signer,
    transport::{Answer, Refusal, RefusalCode, Transport},
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
    /// [Discard](crate::outbox::Outbox::discard) it,
    /// [reconcile](crate::outbox::Outbox::reconcile) with the log where it says that batches are missing, or
    /// put right what the refusal names; until then nothing after it is sent.
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
    /// sleeps nor spawns; dropping the future loses nothing.
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
        loop {
            let link = match self.outbox.next(signer) {
                Ok(Some(link)) => link,
                Ok(None) => return Ok(Next::Done),
                Err(error) if is_permanent(&error) => return Err(error),
                Err(_) => return Ok(Next::Later(self.backoff.failed())),
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
                Err(error) if is_permanent(&error) => return Err(error),
                Err(error) => {
                    let wait = self.backoff.failed();
                    return Ok(Next::Later(error.retry_after().unwrap_or_default().max(wait)));
                }
            }
        }
    }
}
