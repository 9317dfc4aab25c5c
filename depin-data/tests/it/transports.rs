//! The ways through a broker, over real ones.

use std::sync::Arc;

use depin_data::log::MemoryLog;

use crate::support::Net;

mod brokers;
mod flood;
mod logins;
mod tls;
mod wire;

fn net() -> Net {
    Net::over(Arc::new(MemoryLog::new()))
}
