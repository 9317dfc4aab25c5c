//! The shortest way from a device to ingest: a call in the same process.

use std::sync::Arc;

use async_trait::async_trait;
use depin_core::{
    Did, Result, SignedBatch, Signer,
    transport::{Answer, Standing, Transport},
};

use crate::{
    ingest::Ingest,
    wire::{self, Nonce},
};

/// Hands batches to an [`Ingest`] in the same process.
#[derive(Clone, Debug)]
pub struct InProcess(Arc<Ingest>);

impl InProcess {
    /// Sends to `ingest`.
    pub const fn new(ingest: Arc<Ingest>) -> Self {
        Self(ingest)
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, batch: &SignedBatch) -> Result<Answer> {
        self.0.accept_batch(batch).await
    }

    async fn standing(&self, device: &Did, signer: &dyn Signer) -> Result<Standing> {
        // Nobody is on the way who could keep an answer for later.
        let nonce = Nonce::default();
        let question = wire::question(signer, device, self.0.network(), &nonce)?;
        self.0.standing(&question).await
    }
}
