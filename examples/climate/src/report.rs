//! What a run comes to, as one JSON object.

use std::{collections::BTreeMap, time::Duration};

use depin::{Amount, B256, EpochId};
use serde_json::{Value, json};

/// One closed epoch.
#[derive(Clone, Debug)]
pub struct EpochReport {
    pub id: EpochId,
    /// Root of the reward tree, computed from the signed batches.
    pub root: B256,
    /// Root that the chain holds.
    pub onchain_root: B256,
    pub emission: Amount,
    /// How much of the emission was claimed.
    pub paid: Amount,
    /// Devices that earned something.
    pub payouts: usize,
}

/// One run, or the sum of the runs over the same data folder.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub stations: usize,
    pub batches_accepted: u64,
    /// Refused batches by code, as the log keeps them; batches sent again count as `duplicate`.
    pub batches_refused: BTreeMap<String, u64>,
    pub readings: u64,
    pub epochs: Vec<EpochReport>,
    /// Claims of this run that paid something.
    pub claims: u64,
    pub audit_ok: bool,
    pub elapsed: Duration,
}

impl Report {
    /// The object that `--json` prints; amounts are decimal tokens as text.
    pub fn to_json(&self) -> Value {
        let epoch = |epoch: &EpochReport| {
            json!({
                "id": epoch.id.value(),
                "root": epoch.root,
                "onchain_root": epoch.onchain_root,
                "emission": epoch.emission.to_string(),
                "paid": epoch.paid.to_string(),
                "payouts": epoch.payouts,
            })
        };
        json!({
            "stations": self.stations,
            "batches_accepted": self.batches_accepted,
            "batches_refused": self.batches_refused,
            "readings": self.readings,
            "epochs": self.epochs.iter().map(epoch).collect::<Vec<_>>(),
            "claims": self.claims,
            "audit_ok": self.audit_ok,
            "seconds": self.elapsed.as_secs_f64(),
        })
    }
}
