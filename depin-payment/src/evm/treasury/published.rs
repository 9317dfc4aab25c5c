//! What the distributor's log says of a list, and what follows from it for a run that begins.
//!
//! A list that was published is never paid beside that epoch by transfers: whoever has the journal that published it may
//! publish it again when it is gone. Nor is it published again where something else came in its place, which may be its
//! correction, nor where the arbiter rejected it.

use depin_core::{EpochId, Error, ErrorKind, Result};

use super::{PayList, Way};
use crate::evm::{
    EvmRoots,
    roots::{Fate, Gone, Manifested},
};

/// The epoch that a run was published as.
pub(super) enum Publication {
    /// It waits or is active.
    Standing(EpochId),
    /// It does not stand any more.
    Gone(Gone),
}

/// The distributor's epoch that the run is. Its manifest tells the name too, which pays one list.
pub(super) async fn published(roots: &EvmRoots, list: &PayList) -> Result<Option<Publication>> {
    // Until a dispute that lapsed is removed the arbiter may uphold it, and it would be paid beside what is paid now.
    roots.lapsed().await?;
    match roots.with_manifest(|manifest| list.shares_name(manifest)).await? {
        Manifested::Standing(epoch, manifest) if manifest == list.digest() => {
            Ok(Some(Publication::Standing(epoch)))
        }
        Manifested::Standing(epoch, _) => {
            let text = "the name of the run was published with another list; run that one, or take another name for \
                        this one";
            let error = Error::new(ErrorKind::Conflict, text).with("run", list.id());
            Err(error.with("epoch", epoch))
        }
        Manifested::Gone(all) => {
            let own = all.into_iter().find(|gone| gone.manifest == list.digest());
            Ok(own.map(Publication::Gone))
        }
    }
}

/// Refuses to begin a run anew whose epoch is gone, unless it is published again because nobody decided its dispute.
pub(super) fn check_gone(list: &PayList, gone: Gone, way: Way) -> Result<()> {
    let error = match (gone.fate, way) {
        (Fate::Lapsed, Way::Claims) => return Ok(()),
        (Fate::Lapsed, Way::Transfers) => {
            let text = "the list was published, and a dispute of it that nobody decided removed it; run it by claims, \
                        with the journal that published it or with none, which publishes it again";
            Error::new(ErrorKind::Conflict, text).with("run", list.id())
        }
        (Fate::Rejected, _) => rejected(list),
        (Fate::Replaced, _) => replaced(list),
    };
    Err(error.with("epoch", gone.epoch))
}

/// Whoever has the store of the one that published it is told the same.
fn rejected(list: &PayList) -> Error {
    let text = "the arbiter rejected the epoch that the run was published as; correct the list, and pay it under another \
                name";
    Error::new(ErrorKind::Rejected, text).with("run", list.id())
}

/// Not fixed by taking a later epoch: the list that came after it may be the correction of this one.
pub(super) fn replaced(list: &PayList) -> Error {
    let text = "the epoch that the run was published as is gone, as one that the arbiter rejected is, and another list \
                came in its place; pay what that one leaves out as a list under another name, with the balances after it";
    Error::new(ErrorKind::Rejected, text).with("run", list.id())
}
