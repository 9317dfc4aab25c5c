//! Clocks that are early or late against everybody around them.

use std::{collections::BTreeMap, time::Duration};

use depin_core::{
    Batch, Did, Verified,
    quality::{Finding, FleetCheck},
    reading::Quantity,
};

use super::{
    millis,
    neighbours::LEAST,
    quoted,
    slots::{self, Neighbourhood, Slots},
    stream,
};

/// A device's day happens when its neighbours' day does. Code `clock-skew`.
///
/// Sun and weather come to all devices of a neighbourhood at about the same time. The device's slot medians
/// are laid over those of its neighbours (chosen as by [`Neighbours`](super::Neighbours)) with every shift
/// up to `most` slots, each time without their mean difference. When some shift leaves less than half of the
/// disagreement that there is without a shift, the device's clock is wrong, and all of its readings lose
/// their points: a time is part of each.
///
/// Nothing that happens cannot be late: where the neighbours' values hardly change, or over fewer than 24
/// slots, nothing is judged. A slot should be as long as weather takes to pass from one device to the next.
///
/// ```
/// use std::time::Duration;
/// use depin_core::quality::FleetCheck;
/// use depin_data::quality::Skew;
///
/// let check = Skew::new("temperature", "Cel", Duration::from_secs(900), 12, 7, 1);
/// assert_eq!(
///     check.name(),
///     "skew(\"temperature\" \"Cel\", 12 slots of 900000ms, 1 rings of resolution 7)"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Skew {
    quantity: Quantity,
    slot: Duration,
    most: u8,
    resolution: u8,
    rings: u32,
}

/// Slots that a judgement takes.
const LEAST_SLOTS: usize = 24;

impl Skew {
    /// The quantity `name` in `unit`, in slots of this length shifted by at most `most`, fits best unshifted
    /// to what devices measure in cells of this H3 `resolution` at most `rings` steps away.
    pub fn new(
        name: &str,
        unit: &str,
        slot: Duration,
        most: u8,
        resolution: u8,
        rings: u32,
    ) -> Self {
        Self { quantity: Quantity::new(name, unit), slot, most, resolution, rings }
    }

    fn slot(&self) -> u64 {
        millis(self.slot).max(1)
    }

    /// The shift that explains most, in slots, when it explains enough.
    fn shift(&self, own: &BTreeMap<u64, i64>, around: &BTreeMap<u64, i64>) -> Option<i64> {
        let unshifted = disagreement(own, around, 0)?;
        let shifts = (1..=i64::from(self.most)).flat_map(|shift| [shift, -shift]);
        let shifted = shifts.filter_map(|shift| Some((disagreement(own, around, shift)?, shift)));
        let (least, shift) = shifted.min_by_key(|(left, _)| *left)?;
        (least.saturating_mul(2) < unshifted).then_some(shift)
    }
}

/// Mean distance between the device's values, `shift` slots later, and those around it, without their mean
/// difference.
fn disagreement(own: &BTreeMap<u64, i64>, around: &BTreeMap<u64, i64>, shift: i64) -> Option<i128> {
    let differences: Vec<i128> = around
        .iter()
        .filter_map(|(slot, value)| {
            let own = own.get(&slot.checked_add_signed(shift)?)?;
            Some(i128::from(*own) - i128::from(*value))
        })
        .collect();
    let count = i128::try_from(differences.len()).ok()?;
    if differences.len() < LEAST_SLOTS {
        return None;
    }
    let mean = differences.iter().sum::<i128>() / count;
    Some(differences.iter().map(|difference| (difference - mean).abs()).sum::<i128>() / count)
}

impl FleetCheck for Skew {
    fn name(&self) -> String {
        let Self { most, resolution, rings, .. } = self;
        let (quantity, slot) = (quoted(&self.quantity), self.slot());
        format!(
            "skew({quantity}, {most} slots of {slot}ms, {rings} rings of resolution {resolution})"
        )
    }

    fn note(&self, _: &Did, batches: &[&Verified<Batch>]) -> Vec<u8> {
        Slots::note(&self.quantity, self.slot(), self.resolution, batches)
    }

    fn compare(&self, notes: &[(Did, Vec<u8>)]) -> Vec<(Did, Vec<u8>)> {
        let devices: Vec<Option<Slots>> =
            notes.iter().map(|(_, note)| Slots::decode(note)).collect();
        let neighbourhood = Neighbourhood::new(&devices, self.rings);
        let mut suspicions = Vec::new();
        for (position, ((device, _), slots)) in notes.iter().zip(&devices).enumerate() {
            let Some(slots) = slots else { continue };
            let around = neighbourhood.around(position, LEAST);
            let medians = around
                .into_iter()
                .filter_map(|(slot, values)| Some((slot, slots::median(values)?)));
            if let Some(shift) = self.shift(&slots.medians, &medians.collect()) {
                suspicions.push((device.clone(), shift.to_be_bytes().to_vec()));
            }
        }
        suspicions
    }

    fn inspect(&self, suspicion: &[u8], batches: &[&Verified<Batch>]) -> Vec<Finding> {
        let Some(shift) = suspicion.first_chunk::<8>() else { return Vec::new() };
        let shift = i64::from_be_bytes(*shift);
        let away = i128::from(shift) * i128::from(self.slot());
        let name = self.quantity.name();
        let judge = |at: super::Place<'_>| {
            let detail =
                format!("{name} of the neighbours fits when this clock is {away} ms ahead");
            at.finding("clock-skew", detail)
        };
        stream(batches).map(judge).collect()
    }
}
