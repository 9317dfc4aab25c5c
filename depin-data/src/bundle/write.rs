//! From a log to a bundle.

use std::io::Write;

use depin_core::{Address, Amount, Error, ErrorKind, Result, SignedBatch, log::BatchLog};

use super::{
    MAGIC, MAX_ACCOUNTS,
    frame::{self, Kind, ROW, ROWS},
};
use crate::{audit::Copy, epoch::EpochRecord};

/// Writes the bundle of an epoch whose batches `log` still has. `balances` are what accounts had earned before
/// the epoch, by rising account, none zero.
///
/// # Errors
/// [`ErrorKind::Corrupt`] naming the first batch of the log that is not what was recorded,
/// [`ErrorKind::NotFound`] when the log has forgotten some, [`ErrorKind::Malformed`] for balances out of
/// order, [`ErrorKind::Unavailable`] when `out` fails.
pub async fn write(
    log: &dyn BatchLog,
    record: &EpochRecord,
    balances: &[(Address, Amount)],
    out: &mut (dyn Write + Send),
) -> Result<()> {
    check(balances)?;
    let copy = Copy::read(log, record).await?;
    out.write_all(MAGIC).map_err(failed)?;
    frame::write(out, Kind::Record, &[&record.to_bytes()]).map_err(failed)?;
    for rows in balances.chunks(ROWS) {
        let mut bytes = Vec::with_capacity(ROW * rows.len());
        for (account, amount) in rows {
            bytes.extend_from_slice(account.as_slice());
            bytes.extend_from_slice(&amount.to_units().to_be_bytes::<32>());
        }
        frame::write(out, Kind::Balances, &[&bytes]).map_err(failed)?;
    }
    let mut count = 0u64;
    for member in copy.senders() {
        let write = |index: u64, batch: SignedBatch| {
            let parts = [&index.to_be_bytes()[..], batch.as_bytes()];
            count = count.saturating_add(1);
            frame::write(out, Kind::Batch, &parts).map_err(failed)
        };
        copy.each(member, write).await?;
    }
    frame::write(out, Kind::End, &[&count.to_be_bytes()]).map_err(failed)?;
    out.flush().map_err(failed)
}

/// What holds for the balances of every bundle.
fn check(balances: &[(Address, Amount)]) -> Result<()> {
    if balances.len() > MAX_ACCOUNTS {
        return Err(Error::new(ErrorKind::Limit, "a bundle tells of at most 4194304 accounts"));
    }
    let ordered = balances.is_sorted_by(|a, b| a.0 < b.0);
    if ordered && balances.iter().all(|(_, amount)| !amount.is_zero()) {
        return Ok(());
    }
    let message = "balances of a bundle are by rising account and none is zero";
    Err(Error::new(ErrorKind::Malformed, message))
}

fn failed(error: std::io::Error) -> Error {
    Error::unavailable("the bundle could not be written; free space and try again").source(error)
}
