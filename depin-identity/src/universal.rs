//! The universal-resolver interface (DID Resolution 1.0, section 12.1): ask a resolver elsewhere, or be one.
//!
//! | request | answer |
//! |---|---|
//! | `GET /1.0/identifiers/{did}` | a [result](crate::resolution), or the bare document, as `Accept` says |
//! | `GET /1.0/methods` | the names of the methods |
//! | `GET /1.0/properties` | an object with a member for each method |
//!
//! `versionId` and `versionTime` may stand in the query. A resolver elsewhere is believed: what it says of a
//! did:ethr is as good as its operator is. Encryption is the business of what stands in front.

mod client;
mod routes;
mod server;

pub use client::UniversalClient;
pub use server::{Limits, UniversalServer, serve, serve_with};
