//! What the shipped presets find of faults put into real series: the benchmark `quality`, with one round.

use depin_testkit::vectors;

use crate::{
    classes::{Class, codes, measure},
    series::{self, Series},
    synthetic,
};

/// Classes that one device shows; those that take a fleet are for the benchmark.
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

#[test]
fn presets_find_faults_in_real_series_and_let_honest_ones_be() {
    let Some(part) = vectors::find(env!("CARGO_MANIFEST_DIR"), "apps/README.md") else { return };
    let all = series::all(part.parent().and_then(std::path::Path::parent).unwrap());
    for series in &all {
        println!("{}: {:?}", series.name, codes(series));
    }
    for class in Class::ALL.into_iter().filter(|class| SINGLE.contains(class)) {
        for held_out in [false, true] {
            holds(class, all.iter().filter(|series| series.held_out == held_out));
        }
    }
}

#[test]
fn presets_let_honest_series_of_other_shapes_be() {
    for series in &synthetic::all() {
        holds(Class::Clean, std::iter::once(series));
    }
}
