//! What a crowded cell pays: never more than its busiest devices would have earned, whoever sends what.

use std::collections::BTreeMap;

use depin_core::{
    Decimal, Did, Reading,
    quality::{FleetCheck, Sent},
    reading::Quantity,
};
use depin_data::{
    geo::{Cell, Position},
    quality::Density,
};
use depin_testkit::quality::believed;
use proptest::{collection::vec, prelude::*};

use crate::support::NOW;

/// What one device sends.
#[derive(Clone, Debug)]
struct Sender {
    /// In which cell it says that it is, or nowhere.
    home: Option<i32>,
    /// Kinds of readings: places, measurements, those of any other quantity; and whether another check took the point.
    readings: Vec<(u8, bool)>,
    /// Readings in a batch.
    batch: usize,
    /// Where its batches stand in the log.
    index: u64,
}

fn cell(home: i32) -> Cell {
    let place = Position::try_new(470_000_000 + 1_000_000 * home, 110_000_000).unwrap();
    Cell::at(place, 7).unwrap()
}

impl Sender {
    fn readings(&self) -> Vec<Reading> {
        let of = |(at, (kind, _)): (u64, &(u8, bool))| {
            let at = NOW.plus(std::time::Duration::from_secs(60 * at));
            let place = self.home.filter(|_| *kind == 0).map(cell);
            match (place, kind) {
                (Some(cell), _) => Reading::new(Quantity::new("cell", "h3"), cell.value(), at),
                (None, 1) => Reading::new(Quantity::new("longitude", "lon"), Decimal::from(1), at),
                _ => Reading::new(Quantity::new("temperature", "Cel"), Decimal::from(1), at),
            }
        };
        (0..).zip(&self.readings).map(of).collect()
    }

    fn points(&self) -> usize {
        self.readings.iter().filter(|(_, lost)| !lost).count()
    }

    fn place(&self) -> Option<i32> {
        self.home.filter(|_| self.readings.iter().any(|(kind, _)| *kind == 0))
    }
}

fn sender() -> impl Strategy<Value = Sender> {
    let kinds = prop_oneof![
        vec((0u8..3, any::<bool>()), 1..60),
        // Nothing but places; one reading; a place and a lot of work.
        vec((Just(0u8), Just(false)), 1..60),
        vec((Just(0u8), Just(false)), 1..2),
        vec((0u8..3, Just(false)), 30..60),
    ];
    let home = prop_oneof![4 => Just(Some(0)), 2 => Just(Some(1)), 1 => Just(None)];
    (home, kinds, 1usize..20, any::<u64>()).prop_map(|(home, readings, batch, index)| Sender {
        home,
        readings,
        batch,
        index,
    })
}

/// How many points each device keeps.
fn kept(check: &Density, fleet: &[Sender]) -> Vec<usize> {
    let did = |at: usize| Did::parse(&format!("did:example:{at:04}")).unwrap();
    let chains: Vec<_> = (0..)
        .zip(fleet)
        .map(|(at, sender)| {
            let parts: Vec<Vec<Reading>> =
                sender.readings().chunks(sender.batch).map(<[Reading]>::to_vec).collect();
            let lost: Vec<(usize, usize)> = (0..sender.readings.len())
                .filter(|at| sender.readings[*at].1)
                .map(|at| (at / sender.batch, at % sender.batch))
                .collect();
            (did(at), believed(&did(at), &parts), lost)
        })
        .collect();
    let indices: Vec<Vec<u64>> = fleet.iter().map(|it| vec![it.index; 60]).collect();
    let chains = chains.iter().zip(&indices);
    let chains: Vec<_> = chains
        .map(|((did, chain, lost), indices)| (did, chain.iter().collect::<Vec<_>>(), lost, indices))
        .collect();
    let sent: Vec<Sent<'_>> = chains
        .iter()
        .map(|(did, chain, lost, indices)| Sent::new(did, chain, indices).without(lost))
        .collect();
    let notes: Vec<(Did, Vec<u8>)> =
        sent.iter().map(|sent| (sent.device().clone(), check.note(sent))).collect();
    let mut kept: Vec<usize> = fleet.iter().map(Sender::points).collect();
    for (did, suspicion) in check.compare(&notes).unwrap() {
        let at = notes.iter().position(|(other, _)| *other == did).unwrap();
        let lost = check.inspect(&suspicion, &sent[at]);
        let (_, chain, before, _) = &chains[at];
        let nth = |hash| chain.iter().position(|batch| batch.hash == hash).unwrap();
        let mut fresh: Vec<_> = lost.iter().map(|it| (nth(it.batch), it.reading)).collect();
        fresh.retain(|place| before.binary_search(place).is_err());
        fresh.sort_unstable();
        fresh.dedup();
        kept[at] -= fresh.len();
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_cell_keeps_the_points_of_its_busiest_devices_and_each_device_its_part(
        fleet in vec(sender(), 0..24),
        capacity in 1u32..6,
    ) {
        let check = Density::new(7, capacity);
        let found = kept(&check, &fleet);
        let mut cells: BTreeMap<i32, Vec<(usize, usize)>> = BTreeMap::new();
        for (sender, kept) in fleet.iter().zip(&found) {
            match sender.place() {
                Some(home) => cells.entry(home).or_default().push((sender.points(), *kept)),
                None => prop_assert_eq!(*kept, 0, "a device without a place"),
            }
        }
        for devices in cells.into_values() {
            let mut points: Vec<usize> = devices.iter().map(|(points, _)| *points).collect();
            points.sort_unstable_by(|a, b| b.cmp(a));
            let all: usize = points.iter().sum();
            let bound: usize = points.iter().take(capacity as usize).sum();
            let total: usize = devices.iter().map(|(_, kept)| kept).sum();
            prop_assert_eq!(total, bound, "{:?}", devices);
            for (points, kept) in devices {
                let part = points * bound;
                prop_assert!(kept >= part / all.max(1) && kept <= part.div_ceil(all.max(1)));
            }
        }
    }

    #[test]
    fn when_devices_are_heard_makes_no_difference(
        fleet in vec(sender(), 0..12),
        indices in vec(any::<u64>(), 12),
    ) {
        let check = Density::new(7, 2);
        let other = fleet.iter().zip(&indices);
        let other: Vec<Sender> =
            other.map(|(sender, index)| Sender { index: *index, ..sender.clone() }).collect();
        prop_assert_eq!(kept(&check, &fleet), kept(&check, &other));
    }
}

#[test]
fn of_two_checks_the_stricter_decides() {
    let sender = || Sender { home: Some(0), readings: vec![(0, false); 50], batch: 50, index: 0 };
    let fleet: Vec<Sender> = (0..9).map(|_| sender()).collect();
    let did = Did::parse("did:example:0000").unwrap();
    let chain = believed(&did, &[sender().readings()]);
    let (chain, indices) = (chain.iter().collect::<Vec<_>>(), [0]);
    let sent = Sent::new(&did, &chain, &indices);
    let lost = |capacity: u32| -> Vec<usize> {
        let check = Density::new(7, capacity);
        let note = check.note(&sent);
        let other =
            |at: usize| (Did::parse(&format!("did:example:{at:04}")).unwrap(), note.clone());
        let notes: Vec<_> = (0..fleet.len()).map(other).collect();
        let suspicion = check.compare(&notes).unwrap().swap_remove(0).1;
        check.inspect(&suspicion, &sent).iter().map(|it| it.reading).collect()
    };
    let (strict, mild) = (lost(2), lost(5));
    assert!(strict.len() > mild.len() && !mild.is_empty());
    assert!(mild.iter().all(|at| strict.contains(at)));
}
