//! The client's side: every batch is proven before it is handed on.

use std::time::{Duration, Instant};

use depin_core::{
    Error, ErrorKind, Result, SignedBatch, Timestamp,
    cbor::{self, CborError, Decoder},
    log::{LogEntry, TreeHead},
};
use reqwest::{Client, Response, StatusCode, Url, header};

use super::{
    super::{
        connect::{Patience, connect},
        essence,
    },
    OLDEST, SEQUENCE,
};
use crate::{
    batch,
    receipt::{self, ReceiptVerifier},
    subscribe::{Cursor, Delivery, Filter},
};

/// Longest silence of a server that works.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes of an item: a batch, its receipt, numbers.
const MAX_ITEM: usize = batch::MAX_BYTES + receipt::MAX_BYTES + 64;
/// Shortest time between two requests that brought nothing.
const PACE: Duration = Duration::from_secs(1);

/// A consumer of a log that an ingest serves over HTTP.
///
/// Each batch comes with a receipt, which is verified: the log has signed that these bytes are in it, at
/// this index. Without a filter every index must come; with one, what comes is chosen again here. That
/// a server with a filter leaves nothing out is for the chains of the devices to show.
///
/// ```
/// use depin_core::{Algorithm, NetworkId, Signer, SoftwareKey};
/// use depin_data::{http::StreamClient, receipt::ReceiptVerifier, subscribe::{Cursor, Filter}};
///
/// let network = NetworkId::parse("climate")?;
/// let key = SoftwareKey::from_seed(Algorithm::EdDsa, [1; 32]);
/// let receipts = ReceiptVerifier::new(&network, key.public_key());
/// let client = StreamClient::new("http://ingest.example:8080", receipts, Cursor::START, Filter::new(&network))?;
/// assert_eq!(client.cursor(), Cursor::START);
/// # Ok::<(), depin_data::Error>(())
/// ```
#[derive(Debug)]
pub struct StreamClient {
    client: Client,
    url: Url,
    receipts: ReceiptVerifier,
    filter: Filter,
    cursor: Cursor,
    open: Option<Open>,
    /// The largest tree that was proven, and the size that the server told last.
    proven: Option<TreeHead>,
    size: u64,
    tried: Option<Instant>,
}

/// A response that is being read.
#[derive(Debug)]
struct Open {
    response: Response,
    bytes: Vec<u8>,
}

enum Item {
    Batch { entry: LogEntry, receipt: Vec<u8> },
    Last { next: u64, size: u64 },
}

impl StreamClient {
    /// From a position of the log of the ingest at `url`, to which `/v1/stream` is appended.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `url` is no `http` or `https` URL.
    pub fn new(url: &str, receipts: ReceiptVerifier, from: Cursor, filter: Filter) -> Result<Self> {
        let needed = "a stream needs a url such as http://host:port";
        let (client, url) = connect(url, "/v1/stream", Patience::Silence(SILENCE), needed)?;
        let (open, proven, tried) = (None, None, None);
        Ok(Self { client, url, receipts, filter, cursor: from, open, proven, size: 0, tried })
    }

    /// Waits for the next batch that is wanted, and proves it.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the server does not answer: the next call goes on where this one
    /// was. [`ErrorKind::NotFound`] when the log has given up the bytes there; context `oldest` names the
    /// first index there is. [`ErrorKind::Rejected`] or [`ErrorKind::Malformed`] when what comes is not
    /// proven: the server is not to be trusted.
    pub async fn next(&mut self) -> Result<Delivery> {
        loop {
            match self.item()? {
                Some(Item::Batch { entry, receipt }) => {
                    if let Some(delivery) = self.prove(entry, &receipt)? {
                        return Ok(delivery);
                    }
                }
                Some(Item::Last { next, size }) => {
                    self.open = None;
                    if next > size {
                        return Err(self.distrust("the end of a log that ends before"));
                    }
                    self.size = size;
                    // What the filter passed over is not proven, and nothing is lost by reading it again.
                    if next > self.cursor.index() && !self.filter.takes_all() {
                        self.cursor = Cursor::batch(next);
                    }
                }
                None => self.more().await?,
            }
        }
    }

    /// Where this goes on.
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How many batches of the log lie after the cursor, as far as the server has told.
    pub fn lag(&self) -> u64 {
        let proven = self.proven.map_or(0, |head| head.size);
        self.size.max(proven).saturating_sub(self.cursor.index())
    }

    /// The next whole item of what was read.
    fn item(&mut self) -> Result<Option<Item>> {
        let Some(open) = &mut self.open else { return Ok(None) };
        match cbor::check_prefix(&open.bytes) {
            Ok(length) => {
                let item = decode(open.bytes.get(..length).unwrap_or_default());
                open.bytes.drain(..length);
                item.map(Some).map_err(|_| self.distrust("an item of another shape"))
            }
            Err(CborError::Truncated) if open.bytes.len() <= MAX_ITEM => Ok(None),
            Err(_) => Err(self.distrust("bytes that are no item")),
        }
    }

    async fn more(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return self.ask().await };
        let chunk = open.response.chunk().await;
        match chunk {
            Ok(Some(chunk)) => open.bytes.extend_from_slice(&chunk),
            Ok(None) => {
                self.open = None;
                return Err(broken());
            }
            Err(error) => {
                self.open = None;
                return Err(broken().source(error));
            }
        }
        Ok(())
    }

    async fn ask(&mut self) -> Result<()> {
        if let Some(tried) = self.tried {
            tokio::time::sleep(PACE.saturating_sub(tried.elapsed())).await;
        }
        self.tried = Some(Instant::now());
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("from", &self.cursor.to_string())
            .extend_pairs(self.filter.query());
        let response = self.client.get(url).send().await;
        let response = response.map_err(|error| broken().source(error))?;
        if response.status() == StatusCode::GONE {
            let oldest = response.headers().get(OLDEST).and_then(|oldest| oldest.to_str().ok());
            return Err(Error::new(
                ErrorKind::NotFound,
                "the log has given up these batches; go on at the oldest",
            )
            .with("oldest", oldest.unwrap_or("unknown")));
        }
        let kind = response.headers().get(header::CONTENT_TYPE);
        let ours =
            kind.and_then(|kind| kind.to_str().ok()).is_some_and(|kind| essence(kind) == SEQUENCE);
        if response.status() != StatusCode::OK || !ours {
            return Err(broken().with("status", response.status()));
        }
        self.open = Some(Open { response, bytes: Vec::new() });
        Ok(())
    }

    /// A delivery that is proven and wanted.
    fn prove(&mut self, entry: LogEntry, receipt: &[u8]) -> Result<Option<Delivery>> {
        let expected = self.cursor.index();
        let follows =
            if self.filter.takes_all() { entry.index == expected } else { entry.index >= expected };
        if !follows {
            return Err(self.distrust("a batch that is not the next").with("index", entry.index));
        }
        let proof = receipt::decode(receipt)?;
        let head = self.receipts.verify(&proof, &entry.batch);
        let head = head.inspect_err(|_| self.open = None)?.tree;
        if proof.index != entry.index {
            return Err(self.distrust("a receipt for another index").with("index", entry.index));
        }
        if self.proven.is_some_and(|known| known.size == head.size && known.root != head.root) {
            return Err(self.distrust("two trees of one size").with("size", head.size));
        }
        if self.proven.is_none_or(|known| known.size < head.size) {
            self.proven = Some(head);
        }
        Ok(self.filter.pick(&mut self.cursor, entry))
    }

    fn distrust(&mut self, what: &'static str) -> Error {
        self.open = None;
        Error::new(
            ErrorKind::Rejected,
            "the server sent what the log cannot have signed; ask another",
        )
        .with("cause", what)
    }
}

fn broken() -> Error {
    Error::unavailable("the stream broke off; ask for the next batch again")
}

fn decode(item: &[u8]) -> Result<Item, cbor::decode::Error> {
    let mut d = Decoder::new(item);
    match d.array()? {
        Some(4) => {
            let (index, received) = (d.u64()?, Timestamp::from_millis(d.u64()?));
            let batch = SignedBatch::new(d.bytes()?.to_vec());
            Ok(Item::Batch {
                entry: LogEntry { index, received, batch },
                receipt: d.bytes()?.to_vec(),
            })
        }
        Some(2) => Ok(Item::Last { next: d.u64()?, size: d.u64()? }),
        _ => Err(cbor::decode::Error::message("an item")),
    }
}
