#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod bindings;
mod builder;
mod chain;
mod deploy;
mod error;
pub mod io1;
mod limit;
mod logs;
mod refusal;
mod revert;
mod roles;
mod sender;
mod signature;
mod succeeded;
mod unfunded;

pub use alloy;
pub use depin_core::{Error, ErrorKind, Result};

pub use builder::ChainBuilder;
pub use chain::Chain;
pub use deploy::{
    DeployOptions, Deployment, Emission, RootRules, SHARED_ACCOUNT_REGISTRY, TokenSource, deploy,
};
pub use error::{contract_error, transport_error, was_run};
pub use limit::pause_after;
pub use logs::{LogWindow, Logs};
pub use revert::Revert;
pub use roles::{Role, Roles, hand_over};
pub use signature::recoverable;
pub use succeeded::Succeeded;
pub use unfunded::Unfunded;
