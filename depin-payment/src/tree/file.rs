//! A reward tree in one file, from which proofs are read without loading it.
//!
//! All records have a fixed width, so a proof is a search and one read per level that is not kept in
//! memory. Reads are positional, so threads share one open file; no memory is mapped, since that cannot be
//! done without `unsafe` (another process could cut the file under us), and the system's page cache serves
//! repeated reads as well.
//!
//! ```text
//! header, 128 bytes, numbers big-endian        rows, 56 bytes each, by account
//!   0  "depinRWT"                                0  account
//!   8  version, 1                               20  place of its leaf among the nodes
//!  12  encoding of leaves, 1: cumulative        24  cumulative amount
//!  16  number of rows, n                        nodes, 32 bytes each, 2n - 1 of them
//!  24  zero                                      0  the root, then level by level, the leaves last
//!  32  root
//!  64  domain, chosen by whoever writes it
//!  96  keccak256 of the bytes before
//! ```

mod source;

use std::{io::Write, path::Path};

use alloy_primitives::{KECCAK256_EMPTY, keccak256_uncached};
use depin_core::{Address, Amount, B256, Error, ErrorKind, Result, U256};

use self::source::{Same, Source, unwritten};
use super::{Claim, RewardTree, nodes::siblings, verify};
use crate::place;

const MAGIC: &[u8; 8] = b"depinRWT";
const VERSION: u32 = 1;
/// `keccak256(keccak256(abi.encode(account, cumulative)))`.
const CUMULATIVE: u32 = 1;
const HEADER: usize = 128;
const ROW: usize = 56;
const NODE: usize = 32;
/// Nodes kept in memory, from the root: the first 13 levels.
const TOP: usize = (1 << 13) - 1;
/// Rows between two accounts kept in memory, unless there would be too many of those.
const BLOCK: usize = 128;
/// Most accounts kept in memory.
const MOST_SAMPLES: usize = 1 << 16;

impl RewardTree {
    /// Writes the tree as one file in the layout of [`file`](self). `domain` says what the tree
    /// belongs to, for example the hash of the epoch's manifest.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when `out` fails.
    pub fn write(&self, domain: B256, out: &mut impl Write) -> Result<()> {
        let header = Header { count: self.len(), root: self.root(), domain };
        let mut buffer = header.to_bytes().to_vec();
        for ((account, amount), position) in self.rows().iter().zip(self.nodes.positions()) {
            buffer.extend_from_slice(account.as_slice());
            buffer.extend_from_slice(&position.to_be_bytes());
            buffer.extend_from_slice(&amount.to_units().to_be_bytes::<32>());
            spill(&mut buffer, out)?;
        }
        for node in self.nodes() {
            buffer.extend_from_slice(node.as_slice());
            spill(&mut buffer, out)?;
        }
        out.write_all(&buffer).and_then(|()| out.flush()).map_err(unwritten)
    }
}

/// Writes the buffer when there is enough in it.
fn spill(buffer: &mut Vec<u8>, out: &mut impl Write) -> Result<()> {
    if buffer.len() >= 1 << 18 {
        out.write_all(buffer).map_err(unwritten)?;
        buffer.clear();
    }
    Ok(())
}

/// How much of a file is believed when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// Header, length and the accounts kept in memory. Claims are verified whenever they are made, so
    /// damage elsewhere shows as an error, or as an account that is not found.
    #[default]
    Quick,
    /// The whole tree is built again from the rows and compared byte for byte: 3n - 1 hashes, and the
    /// memory of the tree while it lasts.
    Full,
}

/// A reward tree in a file.
///
/// ```
/// use depin_core::{Address, Amount, B256};
/// use depin_payment::{RewardTree, tree::{self, file::{Check, ProofFile}}};
///
/// let ann = Address::repeat_byte(1);
/// let rewards = RewardTree::build(vec![(ann, Amount::tokens(3))])?;
/// let path = std::env::temp_dir().join(format!("depin-proofs-{}", std::process::id()));
/// let domain = B256::repeat_byte(7);
/// ProofFile::create(&path, &rewards, domain)?;
///
/// let file = ProofFile::open(&path, Check::Full)?;
/// assert_eq!((file.root(), file.domain(), file.len()), (rewards.root(), domain, 1));
/// let claim = file.claim(ann)?.expect("ann earned something");
/// assert!(tree::verify(rewards.root(), &claim));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), depin_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ProofFile {
    source: Source,
    header: Header,
    /// The first account of every block of rows.
    samples: Vec<Address>,
    block: usize,
    top: Vec<B256>,
}

impl ProofFile {
    /// Writes a tree to `path`, which appears whole and on disk or not at all, and replaces what was
    /// there. The bytes lie beside it, with `.new` at the end of the name, until they are complete: of two who
    /// write at the same time, each has his own, and the last one counts.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when the file cannot be written.
    pub fn create(path: &Path, tree: &RewardTree, domain: B256) -> Result<()> {
        place::replace(path, |out| tree.write(domain, out), unwritten)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without such a file, [`ErrorKind::Malformed`] when it is no proof file,
    /// [`ErrorKind::Unsupported`] for versions and leaves this one does not know, [`ErrorKind::Corrupt`]
    /// when it is cut short, too long or damaged, [`ErrorKind::Unavailable`] when it cannot be read.
    pub fn open(path: &Path, check: Check) -> Result<Self> {
        Self::over(Source::file(path)?, check)
    }

    /// As [`open`](Self::open), with the bytes of a file in memory.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn from_bytes(bytes: Vec<u8>, check: Check) -> Result<Self> {
        Self::over(Source::Memory(bytes), check)
    }

    /// The root of the tree.
    pub const fn root(&self) -> B256 {
        self.header.root
    }

    /// What the tree belongs to.
    pub const fn domain(&self) -> B256 {
        self.header.domain
    }

    /// Number of accounts.
    pub const fn len(&self) -> usize {
        self.header.count
    }

    /// Whether nobody earned anything.
    pub const fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    /// What an account presents to be paid, if it is in the tree. The claim was verified.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the file is damaged where the proof lies,
    /// [`ErrorKind::Unavailable`] when it cannot be read.
    pub fn claim(&self, account: Address) -> Result<Option<Claim>> {
        let Some(block) = self.samples.partition_point(|first| *first <= account).checked_sub(1)
        else {
            return Ok(None);
        };
        let mut from = block * self.block;
        let mut to = (from + self.block).min(self.len());
        while to - from > BLOCK {
            let middle = from + (to - from) / 2;
            let [row] = self.source.read(row_at(middle))?;
            *(if Row::parse(&row).account <= account { &mut from } else { &mut to }) = middle;
        }
        let mut rows = [[0; ROW]; BLOCK];
        let rows = rows.get_mut(..to - from).unwrap_or_default();
        self.source.read_into(row_at(from), rows.as_flattened_mut())?;
        let found = rows.binary_search_by_key(&account, |row| Row::parse(row).account);
        let found = found.ok().and_then(|found| rows.get(found));
        found.map(|row| self.claim_of(&Row::parse(row))).transpose()
    }

    /// The claim of a row, by account from 0, if there are so many.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn claim_at(&self, row: usize) -> Result<Option<Claim>> {
        if row >= self.len() {
            return Ok(None);
        }
        let [bytes] = self.source.read(row_at(row))?;
        self.claim_of(&Row::parse(&bytes)).map(Some)
    }

    fn claim_of(&self, row: &Row) -> Result<Claim> {
        if row.position >= nodes_of(self.len()) {
            return Err(damaged("a row of the proof file points past the tree"));
        }
        let sibling = |at: usize| match self.top.get(at) {
            Some(node) => Ok(*node),
            None => self.source.read::<NODE, 1>(self.node_at(at)).map(|[node]| B256::from(node)),
        };
        let proof = siblings(row.position).map(sibling).collect::<Result<_>>()?;
        let claim = Claim { account: row.account, cumulative: row.cumulative, proof };
        if !verify(self.root(), &claim) {
            return Err(damaged("a proof of the proof file does not lead to its root"));
        }
        Ok(claim)
    }

    fn over(source: Source, check: Check) -> Result<Self> {
        let header = Header::parse(source.len()?, |into| source.read_into(0, into))?;
        // A power of two times the block, so that blocks are halved evenly.
        let blocks = header.count.div_ceil(BLOCK);
        let block = BLOCK * blocks.div_ceil(MOST_SAMPLES).next_power_of_two();
        let sample = |at| source.read(row_at(at)).map(|[row]| Row::parse(&row).account);
        let samples = (0..header.count).step_by(block).map(sample).collect::<Result<Vec<_>>>()?;
        if !samples.is_sorted_by(|a, b| a < b) {
            return Err(damaged("the rows of the proof file are out of order"));
        }
        let mut file = Self { source, header, samples, block, top: Vec::new() };
        let mut top = vec![[0; NODE]; nodes_of(header.count).min(TOP)];
        file.source.read_into(file.node_at(0), top.as_flattened_mut())?;
        file.top = top.into_iter().map(B256::from).collect();
        if file.top.first().copied().unwrap_or(KECCAK256_EMPTY) != header.root {
            return Err(damaged("the tree in the proof file has another root than its header"));
        }
        if check == Check::Full {
            file.check()?;
        }
        Ok(file)
    }

    /// Builds the tree from the rows and writes it over the file, without changing it.
    fn check(&self) -> Result<()> {
        let mut rows = Vec::with_capacity(self.len());
        let mut block = [[0; ROW]; BLOCK];
        while rows.len() < self.len() {
            let many = (self.len() - rows.len()).min(BLOCK);
            let block = block.get_mut(..many).unwrap_or_default();
            self.source.read_into(row_at(rows.len()), block.as_flattened_mut())?;
            let row = block.iter().map(Row::parse);
            rows.extend(row.map(|row| (row.account, row.cumulative)));
        }
        let tree = RewardTree::build(rows)
            .map_err(|error| damaged("the proof file has an account twice").source(error))?;
        let mut same = Same::new(&self.source);
        let written = tree.write(self.domain(), &mut same);
        if same.differs() {
            return Err(damaged("the proof file is not what its rows give"));
        }
        written
    }

    fn node_at(&self, node: usize) -> u64 {
        place(row_at(self.len()), node, NODE)
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    count: usize,
    root: B256,
    domain: B256,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_be_bytes());
        bytes[12..16].copy_from_slice(&CUMULATIVE.to_be_bytes());
        bytes[16..24].copy_from_slice(&(self.count as u64).to_be_bytes());
        bytes[32..64].copy_from_slice(self.root.as_slice());
        bytes[64..96].copy_from_slice(self.domain.as_slice());
        let hash = keccak256_uncached(&bytes[..96]);
        bytes[96..].copy_from_slice(hash.as_slice());
        bytes
    }

    /// Reads the header of a file of `length` bytes and checks that it is as long as it says.
    fn parse(length: u64, read: impl Fn(&mut [u8]) -> Result<()>) -> Result<Self> {
        let mut bytes = [0; HEADER];
        let there = usize::try_from(length).unwrap_or(HEADER).min(HEADER);
        read(&mut bytes[..there])?;
        if there < MAGIC.len() || !bytes.starts_with(MAGIC) {
            return Err(Error::new(ErrorKind::Malformed, "this is no file of reward proofs"));
        }
        if there < HEADER {
            return Err(damaged("the proof file ends within its header").with("bytes", length));
        }
        let number =
            |at: usize| bytes[at..at + 4].iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
        for (name, found, known) in
            [("version", number(8), VERSION), ("leaves", number(12), CUMULATIVE)]
        {
            if found != known {
                let text = "the proof file was written by a newer version; update to read it";
                return Err(Error::new(ErrorKind::Unsupported, text).with(name, found));
            }
        }
        let count = u64::from(number(16)) << 32 | u64::from(number(20));
        let count = usize::try_from(count).ok().filter(|count| *count <= RewardTree::MAX_LEN);
        let header = count.map(|count| Self {
            count,
            root: B256::from_slice(&bytes[32..64]),
            domain: B256::from_slice(&bytes[64..96]),
        });
        let header = header.filter(|header| header.to_bytes() == bytes);
        let header = header.ok_or_else(|| damaged("the header of the proof file is damaged"))?;
        let expected = place(row_at(header.count), nodes_of(header.count), NODE);
        if length != expected {
            return Err(damaged("the proof file is not as long as its header says")
                .with("bytes", length)
                .with("expected", expected));
        }
        Ok(header)
    }
}

struct Row {
    account: Address,
    position: usize,
    cumulative: Amount,
}

impl Row {
    fn parse(bytes: &[u8; ROW]) -> Self {
        let position = bytes[20..24].iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
        Self {
            account: Address::from_slice(&bytes[..20]),
            position: usize::try_from(position).unwrap_or(usize::MAX),
            cumulative: Amount::units(U256::from_be_slice(&bytes[24..])),
        }
    }
}

/// Nodes of a tree over `count` accounts.
const fn nodes_of(count: usize) -> usize {
    (2 * count).saturating_sub(1)
}

fn row_at(row: usize) -> u64 {
    place(HEADER as u64, row, ROW)
}

/// At most 2^31 rows: far below 2^64 bytes.
const fn place(start: u64, records: usize, width: usize) -> u64 {
    start.saturating_add((records as u64).saturating_mul(width as u64))
}

fn damaged(text: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, text)
}
