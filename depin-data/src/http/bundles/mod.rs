//! Sealed epochs over HTTP: a list, and each bundle as a stream of bytes that may be resumed anywhere.
//!
//! Bundles are files, served as they are: a download costs a buffer, whoever reads slowly holds up nobody, and
//! nothing of it needs the log.

mod client;
mod serve;

pub use client::Bundles;
pub use serve::serve_bundles;

/// Most epochs in one answer.
const MOST: usize = 1024;
/// Media type of a bundle.
const BUNDLE: &str = "application/octet-stream";
