//! Audit of a closed epoch.
