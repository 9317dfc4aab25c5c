//! Paying for HTTP requests with x402, version 2.
//!
//! A server answers 402 with what it wants, the client signs a payment and asks again, the server makes sure of
//! the payment, does the work, moves the money and answers. Servers lay a [`Price`] around a route, clients send
//! with a [`PayingClient`]; [`Till`] and [`Purse`] are the two sides without HTTP.
//!
//! | scheme | here |
//! |---|---|
//! | `exact`, ERC-3009 | client, server, and [`ExactRail`] as one of the payment rails |
//! | `batch-settlement` | client and server with vouchers of a channel: [`Price::or_vouchers`], [`Tab`] |
//! | `upto`, Permit2 | client and server: [`Till::price_upto`] and [`Used`], [`Policy::with_upto`], [`approve_permit2`] |
//!
//! Specification: `x402-specification-v2`, `transports-v2/http`, `scheme_exact_evm`, `scheme_upto_evm` and
//! `batch_settlement` of the x402 Foundation.

mod answer;
mod batch;
mod book;
mod client;
mod exact;
mod header;
mod identifier;
mod layer;
mod message;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod pledge;
mod purse;
mod rail;
mod reclaim;
mod refusal;
mod till;
mod upto;
mod wallet;

pub use batch::{BINDING, Tab};
pub use client::{Paid, PayingClient};
pub use exact::{Authorization, ExactPayment, ExactTerms, TokenDomain};
pub use layer::{Price, Priced, Used};
pub use message::{
    MAX_ACCEPTS, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, PaymentPayload,
    PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse, VERSION,
};
#[cfg(feature = "reqwest-middleware")]
pub use middleware::PayingMiddleware;
pub use purse::{Allowance, Policy, Purse};
pub use rail::{ExactPayer, ExactRail};
pub use refusal::Refusal;
pub use till::{Outcome, Till, TillOptions};
pub use upto::{PERMIT2, UPTO_PROXY, UptoPayment, UptoTerms, approve_permit2};
