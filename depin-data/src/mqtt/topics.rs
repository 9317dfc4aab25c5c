//! The names of topics.

use depin_core::{Did, NetworkId};

use crate::wire;

/// Where a device speaks, and where it listens.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    pub(super) up: String,
    pub(super) down: String,
}

impl Topics {
    pub(super) fn of(network: &NetworkId, did: &Did) -> Self {
        let base = format!("depin/v1/{network}/{}", wire::device_tag(did));
        Self { up: format!("{base}/up"), down: format!("{base}/down") }
    }
}

/// What a server listens to, sharing the work with others of its group.
pub(super) fn requests(network: &NetworkId, group: Option<&str>) -> String {
    let filter = format!("depin/v1/{network}/+/up");
    match group {
        Some(group) => format!("$share/{group}/{filter}"),
        None => filter,
    }
}

/// Where the answer to a message on `topic` goes: to the same device, whatever the message asks for.
pub(super) fn answers(topic: &str) -> Option<String> {
    topic.strip_suffix("/up").map(|base| format!("{base}/down"))
}
