//! Balances on disk, for the next run: lines of text with their hash, there whole or not at all.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use depin_core::{Address, Amount, EpochId, Error, ErrorKind, Result, U256, keccak256};

use super::Cumulative;
use crate::place;

impl Cumulative {
    /// Writes the balances to a file, whole or not at all, in place of what is there. Keep it beside the journal
    /// of the run: the next one begins with it.
    ///
    /// ```
    /// use depin_core::{Address, Amount, EpochId};
    /// use depin_payment::Cumulative;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("balances");
    /// assert_eq!(Cumulative::load(&path)?, None, "there was no run yet");
    ///
    /// let rows = [(Address::repeat_byte(1), Amount::tokens(7))];
    /// let balances = Cumulative::from_rows(EpochId::new(3), rows)?;
    /// balances.save(&path)?;
    /// assert_eq!(Cumulative::load(&path)?, Some(balances));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the disk does not take it; what was there before is there still,
    /// or the new file is, where only its name could not be made to last.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let broken = |error| unwritten(path, error);
        let text = self.to_text();
        place::replace(path, |file| file.write_all(text.as_bytes()).map_err(broken), broken)
    }

    /// Reads what [`save`](Self::save) wrote; `None` where there is no file. Treasury runs compare it with the
    /// root on chain before they add to it.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the file is damaged or something else, [`ErrorKind::Unavailable`] when it
    /// cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| unwritten(path, error))?,
        };
        let mut text = String::new();
        match file.take(MAX_BYTES).read_to_string(&mut text) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(damaged()),
            Err(error) => Err(unwritten(path, error)),
            Ok(_) => Self::from_text(&text).map(Some),
        }
        .map_err(|error| error.with("path", path.display()))
    }

    /// The text of such a file: the epoch, the accounts, and the hash of all that.
    pub fn to_text(&self) -> String {
        let mut text = format!("{MAGIC}\n");
        if let Some(epoch) = self.latest() {
            let _ = writeln!(text, "epoch {}", epoch.value());
        }
        for (account, amount) in self.iter() {
            let _ = writeln!(text, "earned {account} {}", amount.to_units());
        }
        let digest = keccak256(text.as_bytes());
        let _ = writeln!(text, "end {digest}");
        text
    }

    /// Parses what [`to_text`](Self::to_text) gives, and nothing else.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for any other text.
    pub fn from_text(text: &str) -> Result<Self> {
        let body = text.rfind("end ").and_then(|at| text.split_at_checked(at));
        let (body, end) = body.ok_or_else(damaged)?;
        if end != format!("end {}\n", keccak256(body.as_bytes())) {
            return Err(damaged());
        }
        let rest = body.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix('\n'));
        let mut lines = rest.ok_or_else(damaged)?.lines();
        let Some(epoch) = lines.next() else { return Ok(Self::default()) };
        let epoch = epoch.strip_prefix("epoch ").and_then(|epoch| epoch.parse().ok());
        let epoch = epoch.map(EpochId::new).ok_or_else(damaged)?;
        let rows = lines.map(row).collect::<Option<Vec<_>>>().ok_or_else(damaged)?;
        let balances = Self::from_rows(epoch, rows).map_err(|error| damaged().source(error))?;
        // One text for the same balances.
        if balances.to_text() == text { Ok(balances) } else { Err(damaged()) }
    }
}

fn row(line: &str) -> Option<(Address, Amount)> {
    let (account, units) = line.strip_prefix("earned ")?.split_once(' ')?;
    Some((account.parse().ok()?, Amount::units(U256::from_str_radix(units, 10).ok()?)))
}

fn damaged() -> Error {
    let text = "the file holds no balances, or it is damaged; restore it from a copy";
    Error::new(ErrorKind::Corrupt, text)
}

fn unwritten(path: &Path, error: io::Error) -> Error {
    let text = "the file of the balances cannot be written or read";
    Error::new(ErrorKind::Unavailable, text).with("path", path.display()).source(error)
}

const MAGIC: &str = "depin balances 1";
/// Ten million accounts need less.
const MAX_BYTES: u64 = 2 * 1024 * 1024 * 1024;
