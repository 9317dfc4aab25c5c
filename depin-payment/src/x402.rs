//! Paying for HTTP requests with x402, version 2.
//!
//! A server answers 402 with what it wants, the client signs a transfer and asks again, the server makes sure of
//! the payment, does the work, moves the money and answers. [`Till`] is the payee's side of it without HTTP.
//!
//! Specification: `x402-specification-v2`, `transports-v2/http` and `scheme_exact_evm` of the x402 Foundation.

mod answer;
mod batch;
mod book;
mod client;
mod exact;
mod header;
mod identifier;
mod layer;
mod message;
mod purse;
mod rail;
mod refusal;
mod till;

pub use batch::{BINDING, Tab};
pub use client::{Paid, PayingClient};
pub use exact::{Authorization, ExactPayment, ExactTerms, TokenDomain};
pub use layer::{Price, Priced};
pub use message::{
    MAX_ACCEPTS, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, PaymentPayload,
    PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse, VERSION,
};
pub use purse::{Allowance, Policy, Purse};
pub use rail::{ExactPayer, ExactRail};
pub use refusal::Refusal;
pub use till::{Outcome, Till, TillOptions};
