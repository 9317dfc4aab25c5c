//! Measurements as ratios.
//!
//! Machines differ and are shared, so a number means something only beside its limit or peer in the
//! same run. [`Row`]s go to the file named by `DEPIN_BENCH_OUT`, one JSON object a line, and to the
//! terminal.

use std::{
    fs::OpenOptions,
    io::Write,
    time::{Duration, Instant},
};

/// One measured figure.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The limit or peer beside it.
    pub against: String,
    /// The figure over that of the limit or peer.
    pub ratio: f64,
}

impl Row {
    /// A figure of `value` beside `against`.
    pub fn new(
        name: &'static str,
        value: f64,
        unit: &'static str,
        against: impl Into<String>,
        ratio: f64,
    ) -> Self {
        Self { name, value, unit, against: against.into(), ratio }
    }

    /// Prints the row and appends it to `DEPIN_BENCH_OUT` when that is set.
    ///
    /// # Panics
    /// When the file cannot be written: a benchmark without its figure is no benchmark.
    pub fn report(&self) {
        println!(
            "{:<24} {:>14.2} {:<12} {:>8.2}x {}",
            self.name, self.value, self.unit, self.ratio, self.against
        );
        let Some(path) = std::env::var_os("DEPIN_BENCH_OUT") else { return };
        let line = serde_json::json!({
            "name": self.name, "value": self.value, "unit": self.unit, "against": self.against, "ratio": self.ratio,
        });
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("DEPIN_BENCH_OUT can be opened");
        writeln!(file, "{line}").expect("DEPIN_BENCH_OUT can be written");
    }
}

/// The shortest of `runs` times that `work` takes: the run that was disturbed least.
pub fn best_of(runs: usize, mut work: impl FnMut()) -> Duration {
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..runs.max(1)).map(|_| time(&mut work)).min().unwrap_or_default()
}
