//! Device identity: DID methods, documents and registries.
