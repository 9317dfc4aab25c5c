//! A device's side: who waits for the answer to which batch.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use depin_core::{
    B256, Did, Error, Result, SignedBatch, Signer,
    transport::{Answer, Standing},
};
use rand_core::CryptoRngCore;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    receipt::ReceiptVerifier,
    wire::{self, Nonce, Nonces, Reply, Said},
};

/// How long a device waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the answer, in all.
    pub(crate) whole: Duration,
    /// Before it sends the same request again; twice as long each time.
    pub(crate) resend: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { whole: Duration::from_secs(30), resend: Duration::from_secs(5) }
    }
}

impl Patience {
    /// Bounds a whole exchange.
    ///
    /// # Errors
    /// Those of `exchange`, or [`ErrorKind::Unavailable`](depin_core::ErrorKind::Unavailable) when it took
    /// too long.
    async fn bound(self, exchange: impl Future<Output = Result<Said>>) -> Result<Said> {
        let silent = "ingest gave no answer; keep the batch and send it again";
        timeout(self.whole, exchange).await.unwrap_or_else(|_| Err(Error::unavailable(silent)))
    }
}

/// Requests that were sent and not answered. Only what verifies is an answer.
pub(crate) struct Waiting {
    receipts: ReceiptVerifier,
    nonces: Nonces,
    requests: Mutex<HashMap<B256, Vec<Request>>>,
}

struct Request {
    nonce: Nonce,
    sent: SignedBatch,
    answer: oneshot::Sender<Said>,
}

impl Waiting {
    pub(crate) fn new(receipts: ReceiptVerifier, rng: &mut impl CryptoRngCore) -> Self {
        Self { receipts, nonces: Nonces::new(rng), requests: Mutex::default() }
    }

    /// Sends `batch` with `publish` until somebody answers it, or the patience ends.
    ///
    /// # Errors
    /// Those of `publish`, [`ErrorKind::Limit`](depin_core::ErrorKind::Limit) for a batch that no request
    /// carries, or as [`Patience::bound`].
    pub(crate) async fn send<F>(
        &self,
        patience: Patience,
        batch: &SignedBatch,
        publish: impl Fn(Nonce, Vec<u8>) -> F,
    ) -> Result<Answer>
    where
        F: Future<Output = Result<()>>,
    {
        let said = self.exchange(patience, self.nonces.next(), batch, publish).await?;
        Ok(said.answer()?)
    }

    /// Asks where the chain of `device` stands, as [`send`](Self::send) does.
    ///
    /// # Errors
    /// As [`send`](Self::send), or whatever the signer objects to.
    pub(crate) async fn ask<F>(
        &self,
        patience: Patience,
        device: &Did,
        signer: &dyn Signer,
        publish: impl Fn(Nonce, Vec<u8>) -> F,
    ) -> Result<Standing>
    where
        F: Future<Output = Result<()>>,
    {
        let nonce = self.nonces.next();
        let question = wire::question(signer, device, self.receipts.network(), &nonce)?;
        Ok(self.exchange(patience, nonce, &question, publish).await?.standing()?)
    }

    async fn exchange<F>(
        &self,
        patience: Patience,
        nonce: Nonce,
        sent: &SignedBatch,
        publish: impl Fn(Nonce, Vec<u8>) -> F,
    ) -> Result<Said>
    where
        F: Future<Output = Result<()>>,
    {
        let request = wire::encode_request(&nonce, sent)?;
        let mut open = self.open(sent, nonce, patience.resend);
        let talk = async {
            loop {
                publish(nonce, request.clone()).await?;
                if let Some(said) = open.wait().await {
                    return Ok(said);
                }
            }
        };
        patience.bound(talk).await
    }

    /// Begins to wait for the answer to what is `sent`.
    fn open(&self, sent: &SignedBatch, nonce: Nonce, pause: Duration) -> Open<'_> {
        let (answer, answered) = oneshot::channel();
        let hash = sent.hash();
        let request = Request { nonce, sent: sent.clone(), answer };
        self.lock().entry(hash).or_default().push(request);
        Open { waiting: self, hash, nonce, answered, pause }
    }

    /// Hands an answer to whoever it verifies for. Anything else is ignored: on a broker, others may speak.
    pub(crate) fn settle(&self, bytes: &[u8]) {
        let ignored = |error: &dyn fmt::Display| {
            tracing::warn!(%error, "ignored what is no answer of ingest; somebody else may write here");
        };
        let reply = match Reply::parse(bytes, self.receipts.network()) {
            Ok(reply) => reply,
            Err(error) => return ignored(&error),
        };
        let hash = reply.batch();
        let open: Vec<_> = self
            .lock()
            .get(&hash)
            .into_iter()
            .flatten()
            .map(|request| (request.nonce, request.sent.clone()))
            .collect();
        // Signatures are verified without the lock.
        for (nonce, sent) in open {
            match reply.clone().said(&self.receipts, &sent, &nonce) {
                Ok(said) => {
                    if let Some(request) = self.take(hash, nonce) {
                        let _ = request.answer.send(said);
                    }
                }
                Err(error) => ignored(&error),
            }
        }
    }

    fn take(&self, hash: B256, nonce: Nonce) -> Option<Request> {
        let mut requests = self.lock();
        let same = requests.get_mut(&hash)?;
        let at = same.iter().position(|request| request.nonce == nonce)?;
        let request = same.swap_remove(at);
        if same.is_empty() {
            requests.remove(&hash);
        }
        Some(request)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<B256, Vec<Request>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits for its answer, until it is dropped.
struct Open<'a> {
    waiting: &'a Waiting,
    hash: B256,
    nonce: Nonce,
    answered: oneshot::Receiver<Said>,
    pause: Duration,
}

impl Open<'_> {
    /// The answer, or `None` when it is time to send the request again.
    async fn wait(&mut self) -> Option<Said> {
        tokio::select! {
            // The sender is kept as long as we are.
            answer = &mut self.answered => answer.ok(),
            () = sleep(self.pause) => {
                self.pause = self.pause.saturating_mul(2);
                None
            }
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.waiting.take(self.hash, self.nonce);
    }
}

impl fmt::Debug for Waiting {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("receipts", &self.receipts).finish_non_exhaustive()
    }
}
