//! What the shipped presets find of faults put into real series: the benchmark `quality`, with one round.

use depin_testkit::vectors;

use crate::{
    classes::{Class, codes, measure},
    series,
};

#[test]
fn presets_find_faults_in_real_series_and_let_honest_ones_be() {
    let Some(part) = vectors::find(env!("CARGO_MANIFEST_DIR"), "apps/README.md") else { return };
    let all = series::all(part.parent().and_then(std::path::Path::parent).unwrap());
    for series in &all {
        println!("{}: {:?}", series.name, codes(series));
    }
    let single = [Class::Clean, Class::Labelled, Class::Replay, Class::Stuck, Class::Teleport];
    for class in Class::ALL.into_iter().filter(|class| single.contains(class)) {
        for held_out in [false, true] {
            let here = all.iter().filter(|series| series.held_out == held_out);
            // A replayed stretch of a drive also makes the rest of the track contradict itself.
            let here = here.filter(|s| class != Class::Replay || s.name != "track_drive");
            let counts: Vec<_> = here.filter_map(|series| measure(class, series, 1)).collect();
            for counts in counts.iter().filter(|counts| counts.positives > 0) {
                println!("{} {:.4}", counts.series, counts.false_rate());
                assert!(counts.recall() >= 0.95, "{}: {counts:?}", counts.class.name());
                assert_eq!(counts.held_out, held_out);
            }
            let found: usize = counts.iter().map(|counts| counts.false_positives).sum();
            let all: usize = counts.iter().map(|counts| counts.negatives).sum();
            assert!(found * 100 <= all, "{}: {found} of {all} honest readings", class.name());
        }
    }
}
