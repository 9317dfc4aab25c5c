//! EVM access: chain handle, crash-safe transactions, contract bindings.
