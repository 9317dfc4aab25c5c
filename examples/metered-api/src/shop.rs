//! What is sold and for how much: the station's signed batches, at one door for both ways of paying.
//!
//! `/readings/{n}` speaks x402: any client of its scheme `exact` can buy, each request with a transfer on chain.
//! Who asks often opens a payment channel and pays with vouchers (scheme `depin-channel`): only the last one
//! goes on chain.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use anyhow::Result;
use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use depin::{
    Amount, Error, ErrorKind, Network, SystemClock,
    core::payment::PaymentRail,
    payment::{
        evm::{ChannelRail, ChannelRules, EvmChannel},
        rail::RailStore,
        x402::{Till, TillOptions},
    },
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};

use crate::town::Town;

/// The station's shop.
pub struct Shop {
    network: Network,
    till: Till,
    vouchers: Arc<ChannelRail>,
    price: Amount,
    /// What was taken and not settled is money: a real shop keeps it in a folder of its own.
    _folder: TempDir,
}

impl Shop {
    pub async fn open(town: &Town, price: Amount) -> Result<Self> {
        let (chain, token) = (town.ann.chain.clone(), town.token);
        let folder = tempfile::tempdir()?;
        let options = TillOptions::kept_in(folder.path().join("till.redb"));
        let till = Till::open(chain.clone(), token, Arc::new(SystemClock), options).await?;
        let payee = chain.account();
        let store = RailStore::open(&folder.path().join("vouchers.redb"))?;
        let channel = EvmChannel::new(chain, town.channels);
        let rules = ChannelRules::default().lanes(1).challenge(CHALLENGE);
        let vouchers = Arc::new(ChannelRail::new(channel, payee, token, rules, store)?);
        let network = town.network.clone();
        Ok(Self { network, till, vouchers, price, _folder: folder })
    }

    /// Serves in the background until the server is dropped.
    pub async fn serve(self: &Arc<Self>, address: &str) -> Result<Server> {
        let price = self
            .till
            .price(self.price)
            .described("one signed reading of Ann's station")
            .or_vouchers(self.vouchers.clone())?;
        let app = Router::new()
            .route("/readings/{n}", get(reading).layer(price))
            .with_state(self.clone());
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("the shop closed: {error}");
            }
        });
        Ok(Server { url, task })
    }

    /// Brings the vouchers to the chain, and the payments of clients who went away meanwhile.
    pub async fn settle(&self) -> Result<()> {
        self.till.settle_due().await?;
        self.vouchers.settle().await?;
        Ok(())
    }

    /// Settles whenever `every` has passed, until `done`. A payer who asks for the rest of his deposit gets it after the
    /// challenge, settled or not: so settle twice in the shortest one that the shop takes, [`SETTLE_EVERY`].
    pub async fn settle_every(
        &self,
        every: Duration,
        done: impl Future<Output = io::Result<()>>,
    ) -> Result<()> {
        let mut done = pin!(done);
        loop {
            match timeout(every, &mut done).await {
                Ok(done) => return Ok(done?),
                Err(_) => {
                    // Half a challenge is left to try again.
                    if let Err(error) = self.settle().await {
                        eprintln!("not settled, and tried again: {error:#}");
                    }
                }
            }
        }
    }

    async fn sell(&self, n: u64) -> Result<Vec<u8>, Error> {
        // The log holds the batches of all stations in the order they came: every other one is Ann's.
        let entry = self.network.log().read(n.saturating_mul(2), 1).await?.into_iter().next();
        let entry = entry.ok_or_else(|| Error::new(ErrorKind::NotFound, "not measured yet"))?;
        Ok(entry.batch.as_bytes().to_vec())
    }
}

async fn reading(State(shop): State<Arc<Shop>>, Path(n): Path<u64>) -> Response {
    match shop.sell(n).await {
        Ok(bytes) => bytes.into_response(),
        // An answer that is an error costs nothing.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (StatusCode::NOT_FOUND, error.to_string()).into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

/// A running server.
pub struct Server {
    pub url: String,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The shortest challenge of a channel that the shop takes vouchers of, in seconds.
const CHALLENGE: u32 = 3_600;
/// How often a shop that serves on settles: twice per challenge.
pub const SETTLE_EVERY: Duration = Duration::from_secs(CHALLENGE as u64 / 2);

#[cfg(test)]
mod tests {
    use depin::tokens;

    use super::*;
    use crate::buyer::Buyer;

    #[tokio::test(flavor = "multi_thread")]
    async fn vouchers_that_are_sold_while_the_shop_serves_on_come_to_the_chain() {
        let town = Town::found(10).await.expect("a town");
        let shop = Arc::new(Shop::open(&town, tokens(1)).await.expect("a shop"));
        let server = shop.serve("127.0.0.1:0").await.expect("a server");
        let before = town.balance(&town.ann).await.expect("a balance");
        let buyer = Buyer::new(&town, server.url.clone(), tokens(1));
        buyer.with_vouchers(10).await.expect("bought");
        assert_eq!(town.balance(&town.ann).await.expect("a balance"), before, "not settled yet");

        let paid = before.checked_add(tokens(10)).expect("a sum");
        let done = async {
            while town.balance(&town.ann).await.expect("a balance") < paid {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        };
        shop.settle_every(Duration::from_millis(20), done).await.expect("settled");
        assert_eq!(town.balance(&town.ann).await.expect("a balance"), paid);
    }
}
