//! The tables of the index, which learn of batches [a layer](Layer) at a time.
//!
//! What is asked by its number lies in rows of [`CHUNK`] items, and a device's links of one layer lie
//! together: a row costs far more than the bytes in it.

use std::ops::Range;

use depin_core::{B256, Bytes, Did, Error, ErrorKind, Result, Sequence, log::ChainTip};
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::{
    super::Stored,
    frame::{Span, Tail},
    overlay::{Layer, Row},
    place::failed,
};

/// Index / `CHUNK` -> when and where batches came and lie.
pub(super) const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
/// Leaf / `CHUNK` -> the nodes that each leaf completed, from the leaf upwards, 32 bytes each.
pub(super) const NODES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("nodes");
/// Device and sequence at which the last of some links ends -> those links.
pub(super) const CHAINS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("chains");
/// Device and sequence at which a gap ends -> hash of its marker.
pub(super) const GAPS: TableDefinition<'_, (&str, u64), [u8; 32]> = TableDefinition::new("gaps");
/// Position -> encoded refusal.
pub(super) const REFUSALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("refusals");
/// Epoch -> its record.
pub(super) const EPOCHS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("epochs");
/// Position in the order of sealing -> epoch.
pub(super) const SEALS: TableDefinition<'_, u64, u64> = TableDefinition::new("seals");
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Key of the number of batches in the index.
const SIZE_KEY: &str = "size";
/// Key of the index of the oldest entry.
const OLDEST_KEY: &str = "oldest";
/// Key of the position of the oldest refusal.
const OLDEST_REFUSAL_KEY: &str = "oldest-refusal";
/// Keys of the end of the segments as far as the index knows them.
const TAIL_KEYS: [&str; 3] = ["tail-segment", "tail-offset", "tail-last"];

/// Items in a row.
const CHUNK: u64 = 256;
/// Most links in a row: a lookup reads half of them.
const RUN: usize = 64;
const ROW: usize = 32;
const LINK: usize = 48;
const HASH: usize = 32;

/// Adds a layer to the tables.
pub(super) fn add(transaction: &WriteTransaction, layer: &Layer) -> Result<()> {
    let range = layer.base()..layer.end();
    let mut entries = transaction.open_table(ENTRIES).map_err(failed)?;
    fill(&mut entries, range.clone(), |index, bytes| {
        layer.row(index).into_iter().for_each(|row| encode_row(row, bytes));
    })?;
    let mut nodes = transaction.open_table(NODES).map_err(failed)?;
    fill(&mut nodes, range, |leaf, bytes| {
        for level in 0..=leaf.trailing_ones() {
            let node = layer.node(level, leaf >> level);
            bytes.extend(node.into_iter().flat_map(|node| node.0));
        }
    })?;
    add_links(transaction, layer)?;
    let mut meta = transaction.open_table(META).map_err(failed)?;
    let Tail { segment, offset, last } = layer.tail();
    for (key, value) in TAIL_KEYS.into_iter().zip([segment, offset, last]) {
        meta.insert(key, value).map_err(failed)?;
    }
    meta.insert(SIZE_KEY, layer.end()).map_err(failed)?;
    Ok(())
}

fn fill(
    table: &mut Table<'_, u64, &'static [u8]>,
    items: Range<u64>,
    mut encode: impl FnMut(u64, &mut Vec<u8>),
) -> Result<()> {
    let mut at = items.start;
    while at < items.end {
        let chunk = at / CHUNK;
        let mut bytes = Vec::new();
        if !at.is_multiple_of(CHUNK) {
            let begun = table.get(chunk).map_err(failed)?;
            bytes.extend(begun.ok_or_else(hole)?.value());
        }
        let end = items.end.min((chunk + 1) * CHUNK);
        (at..end).for_each(|item| encode(item, &mut bytes));
        table.insert(chunk, bytes.as_slice()).map_err(failed)?;
        at = end;
    }
    Ok(())
}

fn add_links(transaction: &WriteTransaction, layer: &Layer) -> Result<()> {
    let mut chains = transaction.open_table(CHAINS).map_err(failed)?;
    let mut gaps = transaction.open_table(GAPS).map_err(failed)?;
    let mut all: Vec<_> = layer.links().collect();
    // Neighbours share pages.
    all.sort_unstable_by_key(|(device, _)| *device);
    let mut bytes = Vec::with_capacity(RUN * LINK);
    for (device, links) in all {
        for run in links.chunks(RUN) {
            let Some(end) = run.last().map(|link| link.tip.sequence.value()) else { continue };
            bytes.clear();
            run.iter().for_each(|link| encode_link(link, &mut bytes));
            chains.insert((device.as_str(), end), bytes.as_slice()).map_err(failed)?;
        }
        for marker in links.iter().filter(|link| link.hash != link.tip.hash) {
            let key = (device.as_str(), marker.tip.sequence.value());
            gaps.insert(key, marker.hash.0).map_err(failed)?;
        }
    }
    Ok(())
}

/// The record of a sealed epoch.
pub(super) fn record(tables: &ReadTransaction, epoch: u64) -> Result<Option<Bytes>> {
    let epochs = tables.open_table(EPOCHS).map_err(failed)?;
    let record = epochs.get(epoch).map_err(failed)?;
    Ok(record.map(|record| record.value().to_vec().into()))
}

/// How many epochs are sealed.
#[cfg(feature = "nats")]
pub(super) fn seals(tables: &ReadTransaction) -> Result<u64> {
    use redb::ReadableTableMetadata;

    tables.open_table(SEALS).map_err(failed)?.len().map_err(failed)
}

/// The epoch that was sealed as number `position`, and its record.
#[cfg(feature = "nats")]
pub(super) fn seal_at(
    tables: &ReadTransaction,
    position: u64,
) -> Result<Option<(depin_core::EpochId, Bytes)>> {
    let seals = tables.open_table(SEALS).map_err(failed)?;
    let Some(epoch) = seals.get(position).map_err(failed)?.map(|epoch| epoch.value()) else {
        return Ok(None);
    };
    Ok(record(tables, epoch)?.map(|record| (depin_core::EpochId::new(epoch), record)))
}

/// Removes the entries before an index.
pub(super) fn forget(transaction: &WriteTransaction, before: u64) -> Result<()> {
    let mut entries = transaction.open_table(ENTRIES).map_err(failed)?;
    entries.retain_in(..before / CHUNK, |_, _| false).map_err(failed)?;
    let mut meta = transaction.open_table(META).map_err(failed)?;
    meta.insert(OLDEST_KEY, before).map_err(failed)?;
    Ok(())
}

/// The positions of the refusals that are kept.
pub(super) fn refusal_range(
    meta: &impl ReadableTable<&'static str, u64>,
    refusals: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<Range<u64>> {
    let oldest = value(meta, OLDEST_REFUSAL_KEY)?;
    let last = refusals.last().map_err(failed)?;
    Ok(oldest..last.map_or(oldest, |(position, _)| position.value().saturating_add(1)))
}

/// Removes the refusals before a position, which is not past their end; false when it is.
pub(super) fn forget_refusals(transaction: &WriteTransaction, before: u64) -> Result<bool> {
    let mut refusals = transaction.open_table(REFUSALS).map_err(failed)?;
    let mut meta = transaction.open_table(META).map_err(failed)?;
    let kept = refusal_range(&meta, &refusals)?;
    if before > kept.start && before <= kept.end {
        refusals.retain_in(..before, |_, _| false).map_err(failed)?;
        meta.insert(OLDEST_REFUSAL_KEY, before).map_err(failed)?;
    }
    Ok(before <= kept.end)
}

fn value(meta: &impl ReadableTable<&'static str, u64>, key: &str) -> Result<u64> {
    Ok(meta.get(key).map_err(failed)?.map_or(0, |value| value.value()))
}

/// Index of the oldest entry, number of batches, and the end of the segments, as the index knows them.
pub(super) fn extent(meta: &impl ReadableTable<&'static str, u64>) -> Result<(u64, u64, Tail)> {
    let [segment, offset, last] = TAIL_KEYS;
    let tail = Tail {
        segment: value(meta, segment)?,
        offset: value(meta, offset)?,
        last: value(meta, last)?,
    };
    Ok((value(meta, OLDEST_KEY)?, value(meta, SIZE_KEY)?, tail))
}

/// Whether the rows with the last entry and the last leaf of a log of this size end with them.
pub(super) fn ends_fit(
    entries: &impl ReadableTable<u64, &'static [u8]>,
    nodes: &impl ReadableTable<u64, &'static [u8]>,
    oldest: u64,
    size: u64,
) -> Result<bool> {
    let (entries, nodes) = (last(entries)?, last(nodes)?);
    let Some(leaf) = size.checked_sub(1) else { return Ok(entries.is_none() && nodes.is_none()) };
    let (chunk, place) = (leaf / CHUNK, leaf % CHUNK);
    let completed = nodes_before(place) + leaf.trailing_ones() as usize + 1;
    let kept = oldest < size || !size.is_multiple_of(CHUNK);
    let expected = kept.then_some((chunk, (place as usize + 1) * ROW));
    Ok(nodes == Some((chunk, completed * HASH)) && entries == expected && oldest <= size)
}

/// The last row's number, and its length.
fn last(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<Option<(u64, usize)>> {
    let row = table.last().map_err(failed)?;
    Ok(row.map(|(chunk, row)| (chunk.value(), row.value().len())))
}

/// Nodes that the first leaves of a row complete.
const fn nodes_before(place: u64) -> usize {
    2 * place as usize - place.count_ones() as usize
}

/// The complete node `(level, index)`, which is kept with the leaf that completed it.
pub(super) fn node(
    nodes: &impl ReadableTable<u64, &'static [u8]>,
    level: u32,
    index: u64,
) -> Result<B256> {
    let leaf = ((index + 1) << level) - 1;
    let row = nodes.get(leaf / CHUNK).map_err(failed)?.ok_or_else(hole)?;
    let start = (nodes_before(leaf % CHUNK) + level as usize) * HASH;
    let hash = row.value().get(start..start + HASH).ok_or_else(hole)?;
    Ok(B256::from_slice(hash))
}

/// The entries of a range, which must all be there.
pub(super) fn rows(
    entries: &impl ReadableTable<u64, &'static [u8]>,
    range: Range<u64>,
) -> Result<Vec<(u64, Row)>> {
    let mut rows = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let chunk = entries.get(at / CHUNK).map_err(failed)?.ok_or_else(hole)?;
        let end = range.end.min((at / CHUNK + 1) * CHUNK);
        for index in at..end {
            let start = (index % CHUNK) as usize * ROW;
            let row = chunk.value().get(start..start + ROW).and_then(decode_row);
            rows.push((index, row.ok_or_else(hole)?));
        }
        at = end;
    }
    Ok(rows)
}

/// The last link of a device.
pub(super) fn tip(
    chains: &impl ReadableTable<(&'static str, u64), &'static [u8]>,
    device: &Did,
) -> Result<Option<ChainTip>> {
    let did = device.as_str();
    let last = chains.range((did, 0)..=(did, u64::MAX)).map_err(failed)?.next_back();
    let Some(row) = last.transpose().map_err(failed)? else { return Ok(None) };
    let links = row.1.value().as_chunks::<LINK>().0;
    Ok(Some(links.last().map(decode_link).ok_or_else(hole)?.tip))
}

/// Up to `limit` links of a device that end at `from` or later, in the order of its chain.
pub(super) fn links(
    chains: &impl ReadableTable<(&'static str, u64), &'static [u8]>,
    gaps: &impl ReadableTable<(&'static str, u64), [u8; 32]>,
    device: &Did,
    from: Sequence,
    limit: usize,
) -> Result<Vec<Stored>> {
    let did = device.as_str();
    let mut found = Vec::new();
    for row in chains.range((did, from.value())..=(did, u64::MAX)).map_err(failed)? {
        let row = row.map_err(failed)?;
        let links = row.1.value().as_chunks::<LINK>().0.iter().map(decode_link);
        for mut link in links.filter(|link| link.tip.sequence >= from) {
            if found.len() == limit {
                return Ok(found);
            }
            let marker = gaps.get((did, link.tip.sequence.value())).map_err(failed)?;
            link.hash = marker.map_or(link.tip.hash, |marker| B256::new(marker.value()));
            found.push(link);
        }
    }
    Ok(found)
}

fn encode_row(row: &Row, bytes: &mut Vec<u8>) {
    let Row { received, span: Span { segment, offset, length, crc } } = row;
    [received, segment, offset].into_iter().for_each(|n| bytes.extend(n.to_be_bytes()));
    [length, crc].into_iter().for_each(|n| bytes.extend(n.to_be_bytes()));
}

fn decode_row(bytes: &[u8]) -> Option<Row> {
    let ([received, segment, offset, rest], []) = bytes.as_chunks::<8>() else { return None };
    let ([length, crc], []) = rest.as_chunks::<4>() else { return None };
    let [received, segment, offset] = [received, segment, offset].map(|n| u64::from_be_bytes(*n));
    let [length, crc] = [length, crc].map(|n| u32::from_be_bytes(*n));
    Some(Row { received, span: Span { segment, offset, length, crc } })
}

fn encode_link(link: &Stored, bytes: &mut Vec<u8>) {
    let numbers = [link.tip.sequence.value(), link.index];
    numbers.into_iter().for_each(|n| bytes.extend(n.to_be_bytes()));
    bytes.extend(link.tip.hash);
}

/// As long as nobody looks for its marker, a gap is taken for a batch.
fn decode_link(bytes: &[u8; LINK]) -> Stored {
    let (numbers, hash) = bytes.split_at(LINK - HASH);
    let mut numbers = numbers.as_chunks::<8>().0.iter().map(|n| u64::from_be_bytes(*n));
    let (end, index) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let hash = B256::from_slice(hash);
    Stored { index, hash, tip: ChainTip { sequence: Sequence::new(end), hash } }
}

fn hole() -> Error {
    Error::new(ErrorKind::Corrupt, "the log's index lacks a row; restore the log from a copy")
}
