//! Logs and polling filters.

use std::time::Instant;

use alloy::{primitives::U64, rpc::types::Filter};

use super::{Answer, json, params::Params, unknown_method};
use crate::{
    Devnet,
    error::Error,
    filter::{Changes, Topic},
    logs::logs,
};

pub(super) fn answer(devnet: &Devnet, method: &str, mut params: Params<'_>) -> Answer {
    let now = Instant::now();
    match method {
        "eth_getLogs" => {
            let filter = filter(&mut params)?;
            params.end()?;
            json(logs(&devnet.chain(), &filter)?)
        }
        "eth_newFilter" => {
            let topic = Topic::Logs(Box::new(filter(&mut params)?));
            install(devnet, topic, params, now)
        }
        "eth_newBlockFilter" => install(devnet, Topic::Blocks, params, now),
        "eth_newPendingTransactionFilter" => {
            install(devnet, Topic::PendingTransactions, params, now)
        }
        "eth_getFilterChanges" => match devnet.chain().filters.poll(id(params)?, now)? {
            Changes::Hashes(hashes) => json(hashes),
            Changes::Logs(logs) => json(logs),
        },
        "eth_getFilterLogs" => {
            let mut chain = devnet.chain();
            let filter = chain.filters.log_filter(id(params)?, now)?;
            json(logs(&chain, &filter)?)
        }
        "eth_uninstallFilter" => json(devnet.chain().filters.uninstall(id(params)?)),
        _ => Err(unknown_method(method)),
    }
}

fn install(devnet: &Devnet, topic: Topic, params: Params<'_>, now: Instant) -> Answer {
    params.end()?;
    json(U64::from(devnet.chain().filters.install(topic, now)?))
}

fn id(mut params: Params<'_>) -> Result<u64, Error> {
    let id: U64 = params.need("filterId")?;
    params.end()?;
    Ok(id.to())
}

fn filter(params: &mut Params<'_>) -> Result<Filter, Error> {
    let filter: Filter = params.need("filter")?;
    let names = filter.address.len() + filter.topics.iter().map(|topic| topic.len()).sum::<usize>();
    if names > MAX_NAMES {
        return Err(Error::invalid(format!(
            "a filter names at most {MAX_NAMES} addresses and topics"
        )));
    }
    Ok(filter)
}

const MAX_NAMES: usize = 1_024;
