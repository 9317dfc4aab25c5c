//! What happens in a network, as it happens.

use depin_core::NetworkEvent;
use tokio::sync::broadcast;

/// Events kept for a slow reader before it loses the oldest.
pub(crate) const KEPT: usize = 4096;

/// A subscription to the events of a network, from the moment it was made.
///
/// A reader that falls 4096 events behind loses the oldest; the log and the chain lose nothing.
#[derive(Debug)]
pub struct Events(pub(crate) broadcast::Receiver<NetworkEvent>);

impl Events {
    /// The next event, or `None` when the network is gone.
    pub async fn next(&mut self) -> Option<NetworkEvent> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "a reader of network events is too slow and lost some");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<NetworkEvent> {
        loop {
            match self.0.try_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return None,
            }
        }
    }
}
