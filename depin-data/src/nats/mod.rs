//! NATS: connections to a server, with what it asks for.

#[allow(dead_code, reason = "what follows uses it")]
mod options;

pub use options::NatsOptions;

#[allow(unused_imports, reason = "what follows uses it")]
pub(crate) use options::connect;
