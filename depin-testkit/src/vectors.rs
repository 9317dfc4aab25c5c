//! Known answers that live outside the repository.
//!
//! Tests read them where they are and say so when they are absent, so that a clone without them is
//! green but not silent.

use std::path::{Path, PathBuf};

/// The folder of known answers: `DEPIN_VECTORS`, or `../shared/vectors` beside the workspace.
///
/// `manifest_dir` is `env!("CARGO_MANIFEST_DIR")` of a crate that lies directly in the workspace.
/// Prints `skipped: …` and returns `None` when `part` is not there.
pub fn find(manifest_dir: &str, part: &str) -> Option<PathBuf> {
    let beside = Path::new(manifest_dir).join("../../shared/vectors");
    let root = std::env::var_os("DEPIN_VECTORS").map_or(beside, PathBuf::from);
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no known answers at {part}; set DEPIN_VECTORS to their folder");
    None
}
