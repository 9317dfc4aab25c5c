//! The files: opened, checked, read together, and opened again after the disk failed.
//!
//! The index is not written with every commit: after a crash it is as it was when it last learned a layer,
//! and the rest is told by the [segments](super::segment).

use std::{
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use depin_core::{
    B256, Did, Error, ErrorKind, Result, Sequence, Timestamp,
    log::{Append, ChainTip, LogEntry, NewBatch, TreeHead},
};
use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};

use super::{
    super::{Stored, forgotten},
    draft::{Draft, Tips},
    frame::{Span, Tail},
    index::{self, CHAINS, ENTRIES, GAPS, NODES},
    overlay::{Overlay, Row},
    place::{self, Place, failed},
    segment::{self, Bytes, Segments},
};

/// The files, closed between a failure of the disk and the next use.
pub(super) struct Store {
    place: Place,
    files: RwLock<Option<Files>>,
    /// Set for good, under the lock of the files.
    shut: AtomicBool,
}

/// Where two locks are held, the one that stands first here was taken first.
pub(super) struct Files {
    index: Database,
    /// Held while a layer is frozen.
    flushing: Mutex<()>,
    /// The writer's.
    segments: Mutex<Segments>,
    pub(super) tips: Tips,
    overlay: RwLock<Overlay>,
    /// The readers'.
    bytes: Bytes,
    /// Held by readers from when they learn a file's name until they have read it.
    naming: RwLock<()>,
}

impl Store {
    pub(super) fn open(place: Place) -> Result<Self> {
        let files = RwLock::new(Some(place::open(&place)?));
        Ok(Self { place, files, shut: AtomicBool::new(false) })
    }

    /// Closes the files for good, as soon as nobody reads.
    pub(super) fn shut(&self) {
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        self.shut.store(true, Ordering::Relaxed);
        *files = None;
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Runs `work` with the files; opens them before if the disk failed, and closes them if it fails now.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Files) -> Result<T>) -> Result<T> {
        self.ensure_open()?;
        let result = {
            let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
            work(files.as_ref().ok_or_else(closed)?)
        };
        // After any failure of its file redb refuses everything until the file is opened again.
        if result.as_ref().is_err_and(Error::is_retryable) && matches!(self.place, Place::Folder(_))
        {
            *self.files.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
        result
    }

    /// The entries that `find` names, whose bytes are read from the segments. When only that fails, nothing
    /// is wrong with what the writer holds, so it stays open.
    pub(super) fn entries(
        &self,
        find: impl FnOnce(&Files) -> Result<Vec<(u64, Row)>>,
    ) -> Result<Vec<LogEntry>> {
        self.with(|files| {
            let _naming = files.naming.read().unwrap_or_else(PoisonError::into_inner);
            let rows = find(files)?;
            let spans: Vec<_> = rows.iter().map(|(_, row)| row.span).collect();
            let entry = |((index, row), batch): (&(u64, Row), _)| LogEntry {
                index: *index,
                received: Timestamp::from_millis(row.received),
                batch,
            };
            let batches = files.bytes.read(&spans);
            Ok(batches.map(|batches| rows.iter().zip(batches).map(entry).collect()))
        })?
    }

    fn ensure_open(&self) -> Result<()> {
        if self.files.read().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        if self.shut.load(Ordering::Relaxed) {
            return Err(closed());
        }
        if files.is_none() {
            *files = Some(place::open(&self.place)?);
        }
        Ok(())
    }
}

impl Files {
    pub(super) fn new(index: Database, segments: Segments, bytes: Bytes, overlay: Overlay) -> Self {
        Self {
            index,
            flushing: Mutex::default(),
            segments: Mutex::new(segments),
            tips: Tips::default(),
            overlay: RwLock::new(overlay),
            bytes,
            naming: RwLock::default(),
        }
    }

    pub(super) fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn overlay(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn overlay_mut(&self) -> RwLockWriteGuard<'_, Overlay> {
        self.overlay.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the index knows when the overlay is as it is now: whoever asks must hold it.
    fn indexed(&self, _overlay: &Overlay) -> Result<ReadTransaction> {
        self.index.begin_read().map_err(failed)
    }

    pub(super) fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T>) -> Result<T> {
        work(&self.index.begin_read().map_err(failed)?)
    }

    pub(super) fn head(&self) -> TreeHead {
        let overlay = self.overlay();
        TreeHead { size: overlay.edge().size(), root: overlay.edge().root() }
    }

    /// Gives `work` the size of the tree and a way to its complete nodes.
    pub(super) fn tree<T>(
        &self,
        work: impl FnOnce(u64, &mut dyn FnMut(u32, u64) -> Result<B256>) -> Result<T>,
    ) -> Result<T> {
        let overlay = self.overlay();
        let mut nodes = None;
        work(overlay.edge().size(), &mut |level, place| {
            if let Some(node) = overlay.layers().find_map(|layer| layer.node(level, place)) {
                return Ok(*node);
            }
            let nodes = match &nodes {
                Some(nodes) => nodes,
                None => {
                    let table = self.indexed(&overlay)?.open_table(NODES).map_err(failed)?;
                    nodes.insert(table)
                }
            };
            index::node(nodes, level, place)
        })
    }

    /// The last link of a device.
    pub(super) fn tip(&self, device: &Did) -> Result<Option<ChainTip>> {
        let overlay = self.overlay();
        if let Some(link) = overlay.last(device) {
            return Ok(Some(link.tip));
        }
        let indexed = self.indexed(&overlay)?;
        drop(overlay);
        index::tip(&indexed.open_table(CHAINS).map_err(failed)?, device)
    }

    /// The link that holds a place of a chain, if the chain reaches there.
    pub(super) fn link(&self, device: &Did, sequence: Sequence) -> Result<Option<Stored>> {
        let overlay = self.overlay();
        let late = overlay.chain(device, sequence).next().copied();
        let first = overlay.chain(device, Sequence::new(0)).next();
        if first.is_some_and(|first| first.tip.sequence < sequence) {
            return Ok(late);
        }
        let indexed = self.indexed(&overlay)?;
        drop(overlay);
        let early = links(&indexed, device, sequence, 1)?;
        Ok(early.first().copied().or(late))
    }

    /// Where up to `limit` batches from index `from` on are.
    pub(super) fn rows(&self, from: u64, limit: usize) -> Result<Vec<(u64, Row)>> {
        let overlay = self.overlay();
        if from < overlay.oldest() {
            return Err(forgotten(overlay.oldest()));
        }
        let end = from.saturating_add(limit as u64).min(overlay.edge().size());
        let base = overlay.base().clamp(from, end.max(from));
        let late: Vec<_> = (base..end).filter_map(|i| Some((i, *overlay.row(i)?))).collect();
        let indexed = self.indexed(&overlay)?;
        drop(overlay);
        let entries = indexed.open_table(ENTRIES).map_err(failed)?;
        let mut rows = index::rows(&entries, from..base)?;
        rows.extend(late);
        Ok(rows)
    }

    /// Where up to `limit` batches of a device are.
    pub(super) fn chain_rows(
        &self,
        device: &Did,
        from: Sequence,
        limit: usize,
    ) -> Result<Vec<(u64, Row)>> {
        let overlay = self.overlay();
        let (oldest, base) = (overlay.oldest(), overlay.base());
        let late = overlay.chain(device, from).take(limit);
        let late: Vec<_> = late.filter_map(|l| Some((l.index, *overlay.row(l.index)?))).collect();
        let indexed = self.indexed(&overlay)?;
        drop(overlay);
        let entries = indexed.open_table(ENTRIES).map_err(failed)?;
        let mut rows = Vec::new();
        // The index may have learned meanwhile what the overlay told us.
        let early = links(&indexed, device, from, limit)?;
        for link in early.iter().take_while(|link| link.index < base) {
            if link.index < oldest {
                return Err(forgotten(oldest));
            }
            rows.extend(index::rows(&entries, link.index..link.index + 1)?);
        }
        rows.extend(late);
        rows.truncate(limit);
        Ok(rows)
    }

    /// Writes the index durably: `work`, with a layer of batches when it is time, and forgets batches before
    /// `gone`. Those and the ones before `needed` are in the index by then.
    pub(super) fn index<T>(
        &self,
        with_layer: bool,
        gone: Option<u64>,
        needed: Option<u64>,
        work: impl FnOnce(&WriteTransaction) -> Result<T>,
    ) -> Result<T> {
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let layer = with_layer.then(|| self.overlay_mut().freeze());
        // A layer that could not be indexed earlier is still there, and later batches are not in it.
        let needed = gone.max(needed);
        if layer.as_ref().zip(needed).is_some_and(|(layer, needed)| layer.end() < needed) {
            return Err(Error::unavailable("the index lags behind; try again"));
        }
        let transaction = self.index.begin_write().map_err(failed)?;
        let value = work(&transaction)?;
        layer.iter().try_for_each(|layer| index::add(&transaction, layer))?;
        gone.into_iter().try_for_each(|gone| index::forget(&transaction, gone))?;
        transaction.commit().map_err(failed)?;
        if layer.is_some() {
            let mut overlay = self.overlay_mut();
            let oldest = gone.unwrap_or_else(|| overlay.oldest());
            let indexed = overlay.thaw(oldest);
            drop(overlay);
            // Not while readers wait.
            drop(indexed);
        }
        Ok(value)
    }

    /// Tells the index all that it lacks.
    pub(super) fn flush(&self) -> Result<()> {
        self.index(true, None, None, |_| Ok(()))
    }

    /// Leaves nothing to learn to the next start.
    pub(super) fn close(&self) -> Result<()> {
        let lacks = { self.overlay().lacks_any() };
        let flushed = if lacks { self.flush() } else { Ok(()) };
        self.segments().trim()?;
        flushed
    }

    /// Takes durable batches of a frame that ends at `tail`, which only the segments knew.
    pub(super) fn learn(&self, records: Vec<(NewBatch, Span)>, tail: Tail) -> Result<()> {
        let mut draft = Draft::new(self, self.head().size);
        for (new, span) in records {
            if !matches!(draft.append(new, |_| Ok(span))?, Append::Stored(_)) {
                return Err(Error::new(ErrorKind::Corrupt, "the log's batches break a chain")
                    .with("index", self.head().size));
            }
        }
        draft.publish(tail);
        if self.overlay().is_full() { self.flush() } else { Ok(()) }
    }

    /// Checks that the files are there, and long enough, which hold the first and the last batch of the index.
    pub(super) fn rows_lie_in(&self, folder: &Path) -> Result<()> {
        let (oldest, size) = { (self.overlay().oldest(), self.head().size) };
        for index in [oldest, size.saturating_sub(1)].into_iter().filter(|index| *index < size) {
            for (_, row) in self.rows(index.max(oldest), 1)? {
                if !segment::holds(folder, &row.span) {
                    return Err(segment::damaged(row.span.segment, row.span.offset));
                }
            }
        }
        Ok(())
    }

    /// Puts the segments in place once they are recovered.
    pub(super) fn recovered(&self, segments: Segments) {
        self.overlay_mut().moved(segments.end());
        *self.segments() = segments;
        let oldest = { self.overlay().oldest() };
        self.remove(oldest);
    }

    /// Deletes the files of batches that the index does not name any more.
    pub(super) fn remove(&self, before: u64) {
        let last = self.segments().end().segment;
        let _naming = self.naming.write().unwrap_or_else(PoisonError::into_inner);
        self.bytes.remove(before, last);
    }
}

fn links(
    indexed: &ReadTransaction,
    device: &Did,
    from: Sequence,
    limit: usize,
) -> Result<Vec<Stored>> {
    let chains = indexed.open_table(CHAINS).map_err(failed)?;
    let gaps = indexed.open_table(GAPS).map_err(failed)?;
    index::links(&chains, &gaps, device, from, limit)
}

fn closed() -> Error {
    Error::unavailable(
        "the log's files were closed after the disk failed, or with the log; try again",
    )
}
