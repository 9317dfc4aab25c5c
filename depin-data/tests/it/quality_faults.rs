//! What the shipped presets find of faults put into real series: the benchmark `quality`, with one round.

use depin_testkit::vectors;

use crate::{
    classes::{Class, codes, measure},
    series::{self, Series},
    synthetic,
};

/// Classes that one device shows.
const SINGLE: [Class; 6] =
    [Class::Clean, Class::Labelled, Class::Replay, Class::Stuck, Class::Teleport, Class::Step];

/// Recall of each series, and false positives of all together.
fn holds<'a>(class: Class, series: impl Iterator<Item = &'a Series>) {
    let counts: Vec<_> = series.filter_map(|series| measure(class, series, 1)).collect();
    for counts in counts.iter().filter(|counts| counts.false_positives > 0) {
        println!("{} {} {}: {:?}", class.name(), counts.series, counts.held_out, counts.blamed);
    }
    for counts in counts.iter().filter(|counts| counts.positives > 0) {
        assert!(counts.recall() >= 0.95, "{}: {counts:?}", counts.class.name());
        assert!(counts.false_rate() <= 0.05, "{}: {counts:?}", counts.class.name());
    }
    let found: usize = counts.iter().map(|counts| counts.false_positives).sum();
    let all: usize = counts.iter().map(|counts| counts.negatives).sum();
    assert!(found * 100 <= all, "{}: {found} of {all} honest readings", class.name());
}

fn all() -> Option<Vec<Series>> {
    let part = vectors::find(env!("CARGO_MANIFEST_DIR"), "apps/README.md")?;
    Some(series::all(part.parent().and_then(std::path::Path::parent)?))
}

#[test]
fn presets_find_faults_in_real_series_and_let_honest_ones_be() {
    let Some(all) = all() else { return };
    for series in &all {
        println!("{}: {:?}", series.name, codes(series));
    }
    for class in Class::ALL.into_iter().filter(|class| SINGLE.contains(class)) {
        for held_out in [false, true] {
            holds(class, all.iter().filter(|series| series.held_out == held_out));
        }
    }
}

/// Of a class that shows among others: the faults of one device, and what its neighbours lose for them.
fn holds_in_a_fleet(class: Class) {
    let Some(all) = all() else { return };
    let mut faulty = 0;
    for series in &all {
        let Some(counts) = measure(class, series, 1) else { continue };
        println!("{} {}: {counts:?}", class.name(), counts.series);
        assert!(counts.false_rate() <= 0.01, "{counts:?}");
        assert!(counts.positives == 0 || counts.recall() >= 0.95, "{counts:?}");
        faulty += usize::from(counts.positives > 0);
    }
    assert!(faulty >= 3, "{}: only {faulty} series show it", class.name());
}

#[test]
fn presets_find_scaled_values_among_neighbours() {
    holds_in_a_fleet(Class::Scale);
}

#[test]
fn presets_find_copies_in_a_fleet() {
    holds_in_a_fleet(Class::Clone);
}

#[test]
fn presets_find_clocks_that_are_off_among_neighbours() {
    holds_in_a_fleet(Class::Skew);
}

#[test]
fn presets_let_honest_series_of_other_shapes_be() {
    for series in &synthetic::all() {
        holds(Class::Clean, std::iter::once(series));
    }
}
