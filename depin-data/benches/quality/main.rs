//! What the shipped presets find of faults put into real series, and what they take from honest ones.
//!
//! Counted in readings, over several rounds with fixed seeds; arguments choose classes and, with `series=`, series
//! by a part of their name. A series of known answers is either one that
//! the checks were made with or one that was held out. Series are read from the folder of known answers;
//! without them there is nothing to measure.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod classes;
mod derived;
mod external;
mod series;
mod synthetic;

use depin_testkit::{bench::Row, vectors};

use classes::{Class, Counts, codes, measure};
use series::Series;

const ROUNDS: u64 = 4;

fn main() {
    let Some(part) = vectors::find(env!("CARGO_MANIFEST_DIR"), "apps/README.md") else { return };
    let folder = part.parent().and_then(std::path::Path::parent).unwrap();
    let (classes, names): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .partition(|argument| !argument.starts_with("series="));
    let named = |series: &Series| {
        names.is_empty() || names.iter().any(|name| series.name.contains(&name["series=".len()..]))
    };
    let chosen = |all: Vec<Series>| all.into_iter().filter(named).collect::<Vec<_>>();
    let files = series::all(folder);
    let derived = chosen(derived::all(&files));
    let external = chosen(external::all());
    let (files, synthetic) = (chosen(files), chosen(synthetic::all()));
    println!(
        "{:<16} {:<26} {:<6} {:>9} {:>9} {:>8} {:>9} {:>9} {:>8}",
        "class", "series", "", "positive", "found", "recall", "negative", "false", "rate"
    );
    for series in [&files, &synthetic, &derived, &external].into_iter().flatten() {
        let per_code: Vec<String> =
            codes(series).iter().map(|(code, count)| format!("{code} {count}")).collect();
        println!(
            "honest {}: {} readings; {}",
            series.name,
            series.readings.len(),
            per_code.join(", ")
        );
    }
    let wanted =
        |class: &Class| classes.is_empty() || classes.iter().any(|name| name == class.name());
    for class in Class::ALL.into_iter().filter(wanted) {
        let of = |series: &[Series], rounds| -> Vec<Counts> {
            let counts = series.iter().filter_map(|series| measure(class, series, rounds));
            counts.inspect(print).collect()
        };
        let real = of(&files, ROUNDS);
        for (held_out, suffix) in [(false, ""), (true, "_held_out")] {
            report(class, suffix, real.iter().filter(|counts| counts.held_out == held_out));
        }
        report(class, "_synthetic", of(&synthetic, ROUNDS).iter());
        report(class, "_derived", of(&derived, 1).iter());
        report(class, "_external", of(&external, ROUNDS).iter());
    }
}

fn print(counts: &Counts) {
    println!(
        "{:<16} {:<26} {:<6} {:>9} {:>9} {:>7.2}% {:>9} {:>9} {:>7.3}%",
        counts.class.name(),
        counts.series,
        if counts.held_out { "other" } else { "dev" },
        counts.positives,
        counts.found,
        100.0 * counts.recall(),
        counts.negatives,
        counts.false_positives,
        100.0 * counts.false_rate(),
    );
    if !counts.blamed.is_empty() {
        println!("{:<12} false positives by code: {:?}", "", counts.blamed);
    }
}

/// The worst series of the class.
fn report<'a>(class: Class, suffix: &str, counts: impl Iterator<Item = &'a Counts> + Clone) {
    if counts.clone().next().is_none() {
        return;
    }
    let false_rate = counts.clone().map(Counts::false_rate).fold(0.0, f64::max);
    let faulty = counts.filter(|counts| counts.positives > 0);
    let recall = match class {
        Class::Clean => 1.0,
        _ => faulty.map(Counts::recall).fold(1.0, f64::min),
    };
    let name: &'static str = format!("quality_{}{suffix}", class.name()).leak();
    let against = format!(
        "recall of the worst series, limit 95 %; false positives of the worst {:.3} %, limit 1 %",
        100.0 * false_rate
    );
    Row::new(name, 100.0 * recall, "%", against, recall / 0.95).report();
}
