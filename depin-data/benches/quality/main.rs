//! What the shipped presets find of faults put into real series, and what they take from honest ones.
//!
//! Counted in readings, over several rounds with fixed seeds; arguments choose classes by name. A series of known answers is either one that
//! the checks were made with or one that was held out. Series are read from the folder of known answers;
//! without them there is nothing to measure.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod classes;
mod series;

use depin_testkit::{bench::Row, vectors};

use classes::{Class, Counts, codes, measure};

const ROUNDS: u64 = 4;

fn main() {
    let Some(part) = vectors::find(env!("CARGO_MANIFEST_DIR"), "apps/README.md") else { return };
    let folder = part.parent().and_then(std::path::Path::parent).unwrap();
    let all = series::all(folder);
    println!(
        "{:<12} {:<18} {:<8} {:>9} {:>9} {:>8} {:>9} {:>9} {:>8}",
        "class", "series", "", "positive", "found", "recall", "negative", "false", "rate"
    );
    for series in &all {
        let per_code: Vec<String> =
            codes(series).iter().map(|(code, count)| format!("{code} {count}")).collect();
        println!(
            "honest {}: {} readings; {}",
            series.name,
            series.readings.len(),
            per_code.join(", ")
        );
    }
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let wanted =
        |class: &Class| wanted.is_empty() || wanted.iter().any(|name| name == class.name());
    for class in Class::ALL.into_iter().filter(wanted) {
        let counts: Vec<Counts> =
            all.iter().filter_map(|series| measure(class, series, ROUNDS)).collect();
        counts.iter().for_each(print);
        for held_out in [false, true] {
            report(class, counts.iter().filter(|counts| counts.held_out == held_out), held_out);
        }
    }
}

fn print(counts: &Counts) {
    println!(
        "{:<12} {:<18} {:<8} {:>9} {:>9} {:>7.2}% {:>9} {:>9} {:>7.3}%",
        counts.class.name(),
        counts.series,
        if counts.held_out { "held out" } else { "dev" },
        counts.positives,
        counts.found,
        100.0 * counts.recall(),
        counts.negatives,
        counts.false_positives,
        100.0 * counts.false_rate(),
    );
}

/// The worst series of the class.
fn report<'a>(class: Class, counts: impl Iterator<Item = &'a Counts> + Clone, held_out: bool) {
    let least = |figures: &mut dyn Iterator<Item = f64>| figures.fold(1.0, f64::min);
    let most = |figures: &mut dyn Iterator<Item = f64>| figures.fold(0.0, f64::max);
    if counts.clone().next().is_none() {
        return;
    }
    let false_rate = most(&mut counts.clone().map(Counts::false_rate));
    let recall = match class {
        Class::Clean => 1.0,
        _ => least(&mut counts.filter(|counts| counts.positives > 0).map(Counts::recall)),
    };
    let name = match (class, held_out) {
        (Class::Clean, false) => "quality_clean",
        (Class::Clean, true) => "quality_clean_held_out",
        (Class::Labelled, _) => "quality_labelled",
        (Class::Replay, false) => "quality_replay",
        (Class::Replay, true) => "quality_replay_held_out",
        (Class::Stuck, false) => "quality_stuck",
        (Class::Stuck, true) => "quality_stuck_held_out",
        (Class::Scale, false) => "quality_scale",
        (Class::Scale, true) => "quality_scale_held_out",
        (Class::Teleport, false) => "quality_teleport",
        (Class::Teleport, true) => "quality_teleport_held_out",
        (Class::Clone, false) => "quality_clone",
        (Class::Clone, true) => "quality_clone_held_out",
        (Class::Skew, false) => "quality_clock_skew",
        (Class::Skew, true) => "quality_clock_skew_held_out",
        (Class::Step, false) => "quality_clock_step",
        (Class::Step, true) => "quality_clock_step_held_out",
    };
    let against = format!(
        "recall of the worst series, limit 95 %; false positives {:.3} %, limit 1 %",
        100.0 * false_rate
    );
    Row::new(name, 100.0 * recall, "%", against, recall / 0.95).report();
}
