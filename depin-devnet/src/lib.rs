//! An Ethereum chain inside the process: revm behind alloy's Provider and an HTTP JSON-RPC server.
