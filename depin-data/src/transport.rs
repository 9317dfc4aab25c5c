//! The shortest way from a device to ingest: a call in the same process.

use std::sync::Arc;

use async_trait::async_trait;
use depin_core::{
    Result, SignedBatch,
    transport::{Answer, Transport},
};

use crate::ingest::Ingest;

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
}
