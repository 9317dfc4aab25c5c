//! What is sold and for how much: the station's signed batches, at two doors.
//!
//! `/readings/{n}` takes x402: any client that speaks it can buy. `/stream/{n}` takes vouchers of a payment
//! channel in the header `Payment-Voucher`: cheaper for who asks often, since only the last voucher goes on chain.

use std::sync::Arc;

use anyhow::Result;
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use depin::{
    Address, Amount, B256, Error, ErrorKind, Network, SystemClock,
    core::{
        Bytes, keccak256,
        payment::{Charge, Payment, PaymentRail},
    },
    payment::{
        evm::{ChannelRail, ChannelRules, EvmChannel},
        rail::RailStore,
        x402::{Till, TillOptions},
    },
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::town::Town;

/// The header that carries `<payer> <proof>`, both in hex.
pub const VOUCHER: &str = "payment-voucher";

/// The station's shop.
pub struct Shop {
    network: Network,
    till: Till,
    vouchers: Arc<dyn PaymentRail>,
    payee: Address,
    price: Amount,
    /// What was taken and not settled is money: a real shop keeps it in a folder of its own.
    _folder: TempDir,
}

impl Shop {
    pub async fn open(town: &Town, price: Amount) -> Result<Self> {
        let (chain, token) = (town.ann.chain.clone(), town.token);
        let folder = tempfile::tempdir()?;
        let options = TillOptions::default().store(folder.path().join("till.redb"));
        let till = Till::open(chain.clone(), token, Arc::new(SystemClock), options).await?;
        let payee = chain.account();
        let store = RailStore::open(&folder.path().join("vouchers.redb"))?;
        let channel = EvmChannel::new(chain, town.channels);
        let rules = ChannelRules::default().lanes(1);
        let vouchers = Arc::new(ChannelRail::new(channel, payee, token, rules, store)?);
        let network = town.network.clone();
        Ok(Self { network, till, vouchers, payee, price, _folder: folder })
    }

    /// Serves in the background until the server is dropped.
    pub async fn serve(self: &Arc<Self>, address: &str) -> Result<Server> {
        let price = self.till.price(self.price).described("one signed reading of Ann's station");
        let app = Router::new()
            .route("/readings/{n}", get(reading).layer(price))
            .route("/stream/{n}", get(metered))
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

    /// Brings the vouchers to the chain.
    pub async fn settle(&self) -> Result<()> {
        self.vouchers.settle().await?;
        Ok(())
    }

    async fn sell(&self, n: u64) -> Result<Vec<u8>, Error> {
        // The log holds the batches of all stations in the order they came: every other one is Ann's.
        let entry = self.network.log().read(n.saturating_mul(2), 1).await?.into_iter().next();
        let entry = entry.ok_or_else(|| Error::new(ErrorKind::NotFound, "not measured yet"))?;
        Ok(entry.batch.as_bytes().to_vec())
    }
}

/// What the `n`-th reading costs `payer`. Asked for again it is the same charge, so nobody pays twice.
pub fn charge(payer: Address, payee: Address, n: u64, price: Amount) -> Charge {
    let id: B256 = keccak256([b"reading".as_slice(), payer.as_slice(), &n.to_be_bytes()].concat());
    Charge { id, payee, amount: price }
}

async fn reading(State(shop): State<Arc<Shop>>, Path(n): Path<u64>) -> Response {
    answer(shop.sell(n).await)
}

async fn metered(
    State(shop): State<Arc<Shop>>,
    Path(n): Path<u64>,
    headers: HeaderMap,
) -> Response {
    let Some(payment) = voucher(&headers) else {
        return (StatusCode::PAYMENT_REQUIRED, "send <payer> <voucher> in Payment-Voucher")
            .into_response();
    };
    // First the reading, then the money: nobody pays for what is not there.
    let reading = match shop.sell(n).await {
        Ok(reading) => reading,
        Err(error) => return answer(Err(error)),
    };
    let charge = charge(payment.payer, shop.payee, n, shop.price);
    answer(shop.vouchers.accept(&charge, &payment).await.map(|_| reading))
}

fn voucher(headers: &HeaderMap) -> Option<Payment> {
    let (payer, proof) = headers.get(VOUCHER)?.to_str().ok()?.split_once(' ')?;
    Some(Payment { payer: payer.parse().ok()?, proof: proof.parse::<Bytes>().ok()? })
}

fn answer(outcome: Result<Vec<u8>, Error>) -> Response {
    match outcome {
        Ok(bytes) => bytes.into_response(),
        Err(error) => {
            let status = match error.kind() {
                ErrorKind::NotFound => StatusCode::NOT_FOUND,
                ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::PAYMENT_REQUIRED,
            };
            (status, error.to_string()).into_response()
        }
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
