//! Tells the story, or keeps quiet when only the JSON is wanted.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use indicatif::{ProgressBar, ProgressStyle};

/// Rows of a table before the rest is summed up.
const ROWS: usize = 30;
/// Characters in a line of a table.
const WIDTH: u16 = 118;

/// Prints chapters, lines and tables.
#[derive(Clone, Copy, Debug)]
pub struct Narrator {
    quiet: bool,
}

impl Narrator {
    /// A narrator that says nothing when `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// A heading.
    pub fn chapter(&self, title: &str) {
        self.say(&format!("\n{title}\n{}", "-".repeat(title.len())));
    }

    /// A line.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            println!("{line}");
        }
    }

    /// A table; long ones are cut, and say so.
    pub fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(header.to_vec());
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
        table.add_rows(rows.iter().take(ROWS).cloned());
        self.say(&table.to_string());
        if rows.len() > ROWS {
            self.say(&format!(" ... and {} more", rows.len() - ROWS));
        }
    }

    /// Progress of something that may take longer than a second.
    pub fn progress(&self, what: &str, steps: usize) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("  {msg} {bar:30} {pos}/{len}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(steps as u64).with_style(style).with_message(what.to_owned())
    }

    /// A sign of life during something whose steps cannot be counted.
    pub fn wait(&self, what: &str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }
}

/// An address or DID cut in the middle, as people compare them: `did:io:0x94a6…bf54`.
pub fn short(name: impl ToString) -> String {
    let name = name.to_string();
    let start = name.find("0x").map_or(0, |at| at + 6);
    match (name.get(..start), name.len().checked_sub(4).and_then(|end| name.get(end..))) {
        (Some(head), Some(tail)) if name.len() > start + 8 => format!("{head}…{tail}"),
        _ => name,
    }
}
