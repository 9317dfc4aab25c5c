//! Devices that disagree with everybody around them.

use std::time::Duration;

use depin_core::{
    Decimal, Did, Result,
    quality::{Finding, FleetCheck, Notes, Sent},
    reading::Quantity,
};

use super::{
    millis, of_devices, quoted,
    slots::{Around, Neighbourhood, Slots},
    stream_of,
};

/// A device agrees with its neighbours. Code `disagrees`.
///
/// Time is cut into slots; of each slot the median of a device's readings counts. Neighbours are all devices in
/// cells at most `rings` steps away. In a slot in which at least
/// three of them measured, the device may be away from their median by a `tolerance`, or by five times
/// their own median deviation where they disagree more among themselves. The readings of other slots lose
/// their points. Medians are not moved by fewer than half of the neighbours, whatever their names are and however near
/// they stand; whoever runs more than half of
/// the devices of a neighbourhood is believed there, so limit them with [`Density`](super::Density).
///
/// Devices without place, or without three neighbours, are not judged. Of a device that fills more than
/// 1,000 slots in an epoch, the first 1,000 are compared, and the readings of the others lose their points;
/// fewer when the notes of very many devices leave less [room](Sent::room), down to about 200.
///
/// ```
/// use std::time::Duration;
/// use depin_core::{Decimal, quality::FleetCheck};
/// use depin_data::quality::Neighbours;
///
/// let quarter = Duration::from_secs(900);
/// let check = Neighbours::new("temperature", "Cel", Decimal::from(5), quarter, 7, 1);
/// assert_eq!(
///     check.name(),
///     "neighbours(\"temperature\" \"Cel\", 5 in 900000ms, 1 rings of resolution 7)"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Neighbours {
    quantity: Quantity,
    tolerance: Decimal,
    slot: Duration,
    resolution: u8,
    rings: u32,
}

/// Neighbours that a judgement takes.
pub(super) const LEAST: usize = 3;
/// Allowed distance from the neighbours' median, in their median deviations.
const DEVIATIONS: i64 = 5;

impl Neighbours {
    /// The quantity `name` in `unit` is in each `slot` within `tolerance` of what devices measure in cells
    /// of this H3 `resolution` at most `rings` steps away.
    pub fn new(
        name: &str,
        unit: &str,
        tolerance: Decimal,
        slot: Duration,
        resolution: u8,
        rings: u32,
    ) -> Self {
        Self { quantity: Quantity::new(name, unit), tolerance, slot, resolution, rings }
    }

    fn slot(&self) -> u64 {
        millis(self.slot).max(1)
    }

    /// What the neighbours measured in slots in which the device disagrees, and how far it may be away.
    fn disagreements(&self, own: &Slots, around: &Around) -> Vec<Dispute> {
        let tolerance = self.tolerance.abs_diff(Decimal::default()) / 1_000_000;
        let tolerance = i64::try_from(tolerance).unwrap_or(i64::MAX);
        let dispute = |(slot, value): &(u64, i64)| {
            let others = around.others(*slot, Some(*value), LEAST)?;
            let median = others.median();
            let limit = tolerance.max(others.deviation(median).saturating_mul(DEVIATIONS));
            let away = value.saturating_sub(median).saturating_abs();
            (away > limit).then_some(Dispute { slot: *slot, median, limit })
        };
        own.medians.iter().filter_map(dispute).collect()
    }
}

/// What a suspicion says of a slot, in 10^-6 of the unit.
struct Dispute {
    slot: u64,
    median: i64,
    limit: i64,
}

impl Dispute {
    const LENGTH: usize = 24;

    fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let words = [self.slot.to_be_bytes(), self.median.to_be_bytes(), self.limit.to_be_bytes()];
        for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word);
        }
        bytes
    }

    fn decode(bytes: &[u8; Self::LENGTH]) -> Self {
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
            word.copied().unwrap_or_default()
        };
        Self {
            slot: u64::from_be_bytes(word(0)),
            median: i64::from_be_bytes(word(8)),
            limit: i64::from_be_bytes(word(16)),
        }
    }
}

impl FleetCheck for Neighbours {
    fn name(&self) -> String {
        let Self { quantity, tolerance, resolution, rings, .. } = self;
        let quantity = quoted(quantity);
        let slot = self.slot();
        format!(
            "neighbours({quantity}, {tolerance} in {slot}ms, {rings} rings of resolution {resolution})"
        )
    }

    fn note(&self, sent: &Sent<'_>) -> Vec<u8> {
        Slots::note(&self.quantity, self.slot(), self.resolution, sent)
    }

    fn compare(&self, notes: &dyn Notes) -> Result<Vec<(Did, Vec<u8>)>> {
        let suspicion = |_, own: &Slots, around: &Around| {
            let disputes = self.disagreements(own, around);
            // The last slot that was compared, when there were more.
            let last = own.medians.last().filter(|_| own.cut).map(|(slot, _)| *slot);
            let mut bytes = last.unwrap_or(u64::MAX).to_be_bytes().to_vec();
            bytes.extend(disputes.iter().flat_map(Dispute::encode));
            (last.is_some() || !disputes.is_empty()).then_some(bytes)
        };
        let fleet = Neighbourhood::new(notes, self.rings, Slots::decode)?;
        Ok(of_devices(notes, fleet.judge(suspicion)?))
    }

    fn inspect(&self, suspicion: &[u8], sent: &Sent<'_>) -> Vec<Finding> {
        let Some((last, disputes)) = suspicion.split_first_chunk::<8>() else { return Vec::new() };
        let last = u64::from_be_bytes(*last);
        let disputes: Vec<Dispute> = disputes.as_chunks().0.iter().map(Dispute::decode).collect();
        let units = |micros: i64| Decimal::new(micros, -6).unwrap_or_default();
        let judge = |at: super::Place<'_>| {
            let slot = at.reading.at().millis() / self.slot();
            if slot > last {
                let detail = "beyond the slots that are compared".into();
                return Some(at.finding("disagrees", detail));
            }
            let dispute = disputes.binary_search_by_key(&slot, |dispute| dispute.slot).ok()?;
            let Dispute { median, limit, .. } = disputes.get(dispute)?;
            let detail = format!(
                "neighbours have {} {}, this device {}, more than {} away in this slot",
                units(*median),
                self.quantity.unit(),
                at.reading.value(),
                units(*limit)
            );
            Some(at.finding("disagrees", detail))
        };
        stream_of(&self.quantity, sent.batches()).filter_map(judge).collect()
    }
}
