//! What the index lacks, in memory: the batches at the end of the segments.
//!
//! It grows in a live [`Layer`]. To be indexed, a layer is frozen and a new one begins; readers look into
//! both, newest first, and into the index for what lies before. All of it can be told again from the
//! segments.

use std::{collections::HashMap, sync::Arc};

use depin_core::{B256, Did, Sequence};

use super::{
    super::Stored,
    frame::{Span, Tail},
};
use crate::merkle::Accumulator;

/// Batches after which a layer is worth indexing.
const RIPE: usize = 16 << 10;
/// Bytes of batches after which it is, too: with `RIPE` this bounds what a start has to read.
const RIPE_BYTES: u64 = 64 << 20;
/// How many times as much may come while a layer is indexed before appends wait too.
const FULL: u64 = 2;

/// Where a batch lies, and when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) received: u64,
    pub(super) span: Span,
}

/// A batch that is durable, on its way into a layer.
pub(super) struct Fresh {
    pub(super) device: Did,
    pub(super) link: Stored,
    pub(super) row: Row,
}

/// Batches side by side in the log.
pub(super) struct Layer {
    base: u64,
    rows: Vec<Row>,
    /// By level, the complete nodes whose last leaf is in here.
    nodes: Vec<Vec<B256>>,
    links: HashMap<Did, Vec<Stored>>,
    bytes: u64,
    /// The end of the segments when its last batch was added.
    tail: Tail,
}

impl Layer {
    fn new(base: u64, tail: Tail) -> Self {
        let (rows, nodes, links) = (Vec::new(), Vec::new(), HashMap::new());
        Self { base, rows, nodes, links, bytes: 0, tail }
    }

    /// Index of its first batch.
    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    /// Index after its last.
    pub(super) const fn end(&self) -> u64 {
        self.base + self.rows.len() as u64
    }

    pub(super) const fn tail(&self) -> Tail {
        self.tail
    }

    pub(super) fn row(&self, index: u64) -> Option<&Row> {
        self.rows.get(usize::try_from(index.checked_sub(self.base)?).ok()?)
    }

    pub(super) fn node(&self, level: u32, index: u64) -> Option<&B256> {
        let place = index.checked_sub(self.base.checked_shr(level).unwrap_or(0))?;
        self.nodes.get(level as usize)?.get(usize::try_from(place).ok()?)
    }

    /// The links of every device, in the order of its chain.
    pub(super) fn links(&self) -> impl Iterator<Item = (&Did, &[Stored])> {
        self.links.iter().map(|(device, links)| (device, links.as_slice()))
    }

    /// The links of a device that end at `from` or later.
    fn chain(&self, device: &Did, from: Sequence) -> &[Stored] {
        let links = self.links.get(device).map_or(&[][..], Vec::as_slice);
        links.get(links.partition_point(|link| link.tip.sequence < from)..).unwrap_or_default()
    }

    fn outweighs(&self, times: u64) -> bool {
        self.rows.len() as u64 >= times * RIPE as u64 || self.bytes >= times * RIPE_BYTES
    }
}

/// The layers, and what is asked of the log most.
pub(super) struct Overlay {
    frozen: Option<Arc<Layer>>,
    live: Layer,
    /// The right edge of the whole tree.
    edge: Accumulator,
    oldest: u64,
}

impl Overlay {
    /// After an index that knows the log of this edge up to `tail`.
    pub(super) fn new(edge: Accumulator, tail: Tail, oldest: u64) -> Self {
        Self { frozen: None, live: Layer::new(edge.size(), tail), edge, oldest }
    }

    /// The layers, newest first.
    pub(super) fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.live).chain(self.frozen.as_deref())
    }

    pub(super) const fn edge(&self) -> &Accumulator {
        &self.edge
    }

    /// Index of the oldest batch.
    pub(super) const fn oldest(&self) -> u64 {
        self.oldest
    }

    /// What lies before this index is asked of the index.
    pub(super) fn base(&self) -> u64 {
        self.frozen.as_ref().map_or(self.live.base, |frozen| frozen.base)
    }

    pub(super) fn row(&self, index: u64) -> Option<&Row> {
        self.layers().find_map(|layer| layer.row(index))
    }

    /// The links of a device that end at `from` or later, in the order of its chain.
    pub(super) fn chain(&self, device: &Did, from: Sequence) -> impl Iterator<Item = &Stored> {
        let frozen = self.frozen.as_ref().map_or(&[][..], |frozen| frozen.chain(device, from));
        frozen.iter().chain(self.live.chain(device, from))
    }

    /// The last link of a device.
    pub(super) fn last(&self, device: &Did) -> Option<&Stored> {
        self.layers().find_map(|layer| layer.links.get(device).and_then(|links| links.last()))
    }

    /// Whether there is anything that the index lacks.
    pub(super) fn lacks_any(&self) -> bool {
        self.base() < self.edge.size()
    }

    pub(super) fn is_ripe(&self) -> bool {
        self.live.outweighs(1)
    }

    pub(super) fn is_full(&self) -> bool {
        self.live.outweighs(FULL)
    }

    /// Takes batches that are durable up to `tail`, the nodes that they complete, and the edge after them.
    pub(super) fn grow(
        &mut self,
        fresh: impl IntoIterator<Item = Fresh>,
        (edge, nodes): (Accumulator, Vec<Vec<B256>>),
        tail: Tail,
    ) {
        let live = &mut self.live;
        for Fresh { device, link, row } in fresh {
            live.rows.push(row);
            live.bytes = live.bytes.saturating_add(row.span.length.into());
            live.links.entry(device).or_default().push(link);
        }
        live.nodes.resize(live.nodes.len().max(nodes.len()), Vec::new());
        live.nodes.iter_mut().zip(nodes).for_each(|(level, nodes)| level.extend(nodes));
        live.tail = tail;
        self.edge = edge;
    }

    /// The segments end elsewhere now, with the same batches.
    pub(super) const fn moved(&mut self, tail: Tail) {
        self.live.tail = tail;
    }

    /// The layer to be indexed; [`thaw`](Self::thaw) once it is.
    pub(super) fn freeze(&mut self) -> Arc<Layer> {
        let next = Layer::new(self.live.end(), self.live.tail);
        let frozen =
            self.frozen.get_or_insert_with(|| Arc::new(std::mem::replace(&mut self.live, next)));
        Arc::clone(frozen)
    }

    /// What was frozen is in the index now.
    pub(super) fn thaw(&mut self, oldest: u64) -> Option<Arc<Layer>> {
        self.oldest = oldest;
        self.frozen.take()
    }
}
