//! The devnet as its users see it: through alloy, JSON-RPC and HTTP.

mod common;
mod contracts;
