//! Paying for HTTP requests with x402, version 2.
//!
//! A server answers 402 with what it wants, the client signs a payment and asks again, the server makes sure of
//! the payment, does the work, moves the money and answers. Servers lay a [`Price`] around a route, clients send
//! with a [`PayingClient`]; [`Till`] and [`Purse`] are the two sides without HTTP.
//!
//! | scheme | here |
//! |---|---|
//! | `exact`, ERC-3009 | client, server, and [`ExactRail`] as one of the payment rails |
//! | `depin-channel` | settlement in batches, client and server with vouchers of a channel: [`Price::or_vouchers`], [`Tab`] |
//! | `upto`, Permit2 | client and server: [`Till::price_upto`] and [`Used`], [`Policy::with_upto`], [`approve_permit2`] |
//!
//! **Up to so much.** The price of some requests is known when the work is done. Then the payer signs for the most
//! that it may cost, and the payee takes what was used, once:
//!
//! 1. The payer lets Permit2 move the token, once ([`approve_permit2`]), and lets its purse sign such payments.
//! 2. Before the work the till makes sure that all of it could be moved: balance, approval, nonce, a simulation.
//! 3. The service says how much was [`Used`]. An answer that says nothing, or more, is an error and costs nothing.
//! 4. That much is moved, and only then the answer goes out. With nothing used nothing is sent and the answer is free;
//!    the payment is spent all the same, and the till remembers it until it ends.
//!
//! Only the account that the payer named can settle, so a till keeps its account while payments are due. A purse counts
//! all that it signed for as spent, until a deep block of the chain shows that less was taken ([`Purse::reclaim`]): the
//! word of a server gives nothing back.
//!
//! **Many requests at once.** While a till works for a payer it reserves the price, or the most of it: other requests of
//! that payer which the rest of the balance does not cover are told to come again ([`Refusal::Busy`], HTTP 503). Nothing
//! holds the payer's money on chain between check and settlement; what fails then costs the payee the work, never the
//! answer. Tills of other processes know nothing of each other's reservations.
//!
//! **What is not known** is said so. A payment whose nonce is used and whose transfer is not found is
//! [`Outcome::Pending`] until a deep block shows that there is none ([`TillOptions::confirmations`]).
//!
//! Payers are accounts with a key. Signatures of contracts (ERC-1271, ERC-6492) are refused as
//! [`ErrorKind::Malformed`](depin_core::ErrorKind::Malformed).
//!
//! Specification: `x402-specification-v2`, `transports-v2/http`, `scheme_exact_evm`, `scheme_upto_evm` and
//! `batch_settlement` of the x402 Foundation.

mod answer;
mod batch;
mod book;
mod client;
mod deep;
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

pub use batch::Tab;
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
pub use wallet::Wallet;
