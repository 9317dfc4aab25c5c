//! Exact reward shares, OpenZeppelin-compatible reward trees and claims.
