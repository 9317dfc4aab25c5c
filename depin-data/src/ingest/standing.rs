//! Where a device's chain stands, for a device that has lost its memory of it.

use depin_core::{
    Did, Error, Result, SignedBatch,
    envelope::EnvelopeError,
    log::ChainTip,
    transport::{Refusal, RefusalCode, Standing},
};

use super::{
    Ingest, admit,
    admit::TURN,
    objection::{Objection, Stop},
};
use crate::wire::{Question, WireError};

impl Ingest {
    /// Answers a device's signed [question](crate::wire::question): where its chain stands, or why it is not told.
    ///
    /// Only what is durable counts, whichever process wrote it. While a batch of the device is on its way into the
    /// log there is no answer: a device that signed on from the place before would fork its chain. The log answers
    /// [behind](depin_core::log::BatchLog::latest_tip) all that it was handed here, whether the sender still waits or
    /// not.
    ///
    /// It does not know of a batch that has not come that far: one that is held back on its way here, that this
    /// process looks up or verifies while the question overtakes it, or that another process tries again because its
    /// registry or log fails. Such a batch is stored after the answer, and what the device signs on the strength of
    /// that is a fork. Over a broker with one process of ingest a question comes behind the batches of its topic;
    /// over HTTP and with several processes nothing orders them, so a device that has lost its memory lets the time
    /// pass that a request may take before it asks.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) while batches of the device are under way, log
    /// or registry do not answer, or all together send too much: ask again, after the time that the error names.
    pub async fn standing(&self, question: &SignedBatch) -> Result<Standing> {
        let _slot = admit::enter(&self.in_flight, self.concurrency, "ingest")?;
        match self.tip_for(question).await {
            Ok(tip) => Ok(Standing::Tip(tip)),
            Err(Stop::Refuse(Objection { code, detail, device, .. })) => {
                Ok(Standing::Refusal(Refusal { code, detail, batch: question.hash(), device }))
            }
            Err(Stop::Fail(error)) => Err(error),
            Err(Stop::Throttle(_) | Stop::Behind(_)) => Err(under_way()),
        }
    }

    async fn tip_for(&self, question: &SignedBatch) -> Result<Option<ChainTip>, Stop> {
        let asked = Question::parse(question.as_bytes(), &self.network)
            .map_err(|error| Objection::unproven(code(&error), error, None))?;
        let did = asked.device();
        let known = self.known(did).await?;
        asked.verify(&known.key).map_err(|error| bad_signature(error, did))?;
        if known.account.is_busy() {
            return Err(under_way().into());
        }
        Ok(self.log.latest_tip(did).await?)
    }
}

fn bad_signature(error: WireError, did: &Did) -> Objection {
    Objection::unproven(RefusalCode::BadSignature, error, Some(did))
}

/// What is wrong with bytes that are no question of this network.
fn code(error: &WireError) -> RefusalCode {
    match error {
        WireError::Question(EnvelopeError::Network { .. }) => RefusalCode::WrongNetwork,
        WireError::Question(EnvelopeError::Purpose { .. }) => RefusalCode::WrongPurpose,
        _ => RefusalCode::Malformed,
    }
}

fn under_way() -> Error {
    let why = "batches of the device are on their way into the log; ask again when they are there";
    Error::unavailable(why).retry_in(TURN)
}
