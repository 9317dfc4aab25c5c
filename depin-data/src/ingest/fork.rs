//! What a fork contradicts, and whether that convicts its device.

use depin_core::{B256, Bytes, Did, Result, Sequence, SignedBatch, Timestamp, Unverified};

use super::{Ingest, lock, objection::Against, quota::Worth, throttled};
use crate::evidence::{Fork, ForkVerifier, is_same_content};

impl Ingest {
    /// What the log holds that a fork contradicts: of the places that it speaks of the one whose hash the log named,
    /// else the first that is taken.
    pub(super) async fn contradicted(
        &self,
        did: &Did,
        [tip, sequence]: [Sequence; 2],
        named: B256,
    ) -> Result<Option<Bytes>> {
        let mut found = None;
        for place in [Some(tip), Some(sequence), before(sequence)].into_iter().flatten() {
            if let Some(here) = self.log.find(did, place).await? {
                let is_it = here.1 == named;
                found = if is_it { Some(here) } else { found.or(Some(here)) };
                if is_it {
                    break;
                }
            }
        }
        let Some((index, _)) = found else { return Ok(None) };
        // Its bytes may be forgotten; then the hash in the refusal has to do.
        let entry = self.log.read(index, 1).await.ok().and_then(|read| read.into_iter().next());
        Ok(entry.map(|entry| Bytes::copy_from_slice(entry.batch.as_bytes())))
    }

    /// Not all that the log refuses as a fork convicts: content signed twice does not, nor what two keys signed.
    ///
    /// To tell the latter takes signature checks, which no rate of batches bounds, as nothing is stored. So none is made
    /// while the minute has its evidence against the device, and otherwise they go on its account.
    ///
    /// # Errors
    /// [`Throttled`](super::Throttled) when the device has made too many necessary.
    pub(super) fn worth(
        &self,
        batch: &SignedBatch,
        Against { held, accused }: &Against,
        did: &Did,
        received: Timestamp,
    ) -> Result<Worth> {
        let held = SignedBatch::new(held.clone());
        if is_same_content(batch, &held) || lock(&self.quota).is_convicted(did, received) {
            return Ok(Worth::Signed);
        }
        accused.account.accuse(self.clock.now()).map_err(throttled)?;
        let verifier = ForkVerifier::new(&self.network, std::slice::from_ref(&accused.key));
        Ok(match Unverified::new(Fork::new(batch.clone(), held)).verify(&verifier) {
            Ok(_) => Worth::Fork,
            Err(_) => Worth::Signed,
        })
    }
}

/// The place before, unless it is the first.
fn before(sequence: Sequence) -> Option<Sequence> {
    sequence.value().checked_sub(1).map(Sequence::new)
}
