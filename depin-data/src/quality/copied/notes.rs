//! What is remembered of a device, and what is held against it, as bytes.

use super::super::varint::{folded, put, take, unfolded};

/// A window of changes: what it is and in which batch of the log it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    pub(super) digest: u64,
    pub(super) index: u64,
}

/// Bytes of a digest in a note. Three have to agree, which by chance happens to two given devices hardly ever; among the
/// pairs of a million devices with a million readings each about once.
pub(super) const DIGEST: usize = 5;

/// The first ones, as many as there is room for.
pub(super) fn encode(mut windows: &[Window], room: usize) -> Vec<u8> {
    loop {
        let bytes = write(windows.to_vec());
        if bytes.len() <= room {
            return bytes;
        }
        let fewer = windows.len() * room / bytes.len();
        windows = windows.get(..fewer).unwrap_or_default();
    }
}

/// Batch by batch: how far it stands behind the one before, how many windows end in it, and their digests.
fn write(mut windows: Vec<Window>) -> Vec<u8> {
    windows.sort_unstable_by_key(|window| (window.index, window.digest));
    let (mut bytes, mut before) = (Vec::new(), 0u64);
    for batch in windows.chunk_by(|a, b| a.index == b.index) {
        let index = batch.first().map_or(before, |window| window.index);
        put(&mut bytes, folded(index.wrapping_sub(before).cast_signed()));
        put(&mut bytes, batch.len() as u64);
        for window in batch {
            bytes.extend(window.digest.to_be_bytes().iter().skip(8 - DIGEST));
        }
        before = index;
    }
    bytes
}

pub(super) fn read(mut bytes: &[u8]) -> Vec<Window> {
    let (mut windows, mut index) = (Vec::with_capacity(bytes.len() / DIGEST), 0u64);
    while let Some(step) = take(&mut bytes) {
        index = index.wrapping_add_signed(unfolded(step));
        for _ in 0..take(&mut bytes).unwrap_or_default() {
            let Some((digest, rest)) = bytes.split_first_chunk::<DIGEST>() else { return windows };
            let digest = digest.iter().fold(0, |digest, byte| digest << 8 | u64::from(*byte));
            windows.push(Window { digest, index });
            bytes = rest;
        }
    }
    windows
}

/// What one other device had first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Original {
    /// Windows up to this digest were compared with its own.
    pub(super) compared: u64,
    /// Those that it had before, with the places where it had them.
    pub(super) windows: Vec<Window>,
}

impl Original {
    /// As words of eight bytes, how many windows there are between what was compared and them.
    pub(super) fn encode_all(originals: &[Self]) -> Vec<u8> {
        let words = originals.iter().flat_map(|original| {
            let windows = original.windows.iter().flat_map(|it| [it.digest, it.index]);
            [original.compared, original.windows.len() as u64].into_iter().chain(windows)
        });
        words.flat_map(u64::to_be_bytes).collect()
    }

    /// Of other bytes whatever can be read.
    pub(super) fn decode_all(bytes: &[u8]) -> Vec<Self> {
        let mut pairs = bytes.as_chunks::<16>().0.iter().map(pair);
        let mut originals = Vec::new();
        while let Some((compared, count)) = pairs.next() {
            let windows = pairs.by_ref().take(usize::try_from(count).unwrap_or(usize::MAX));
            let windows = windows.map(|(digest, index)| Window { digest, index }).collect();
            originals.push(Self { compared, windows });
        }
        originals
    }
}

fn pair(bytes: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_be_bytes(*bytes);
    ((both >> 64) as u64, both as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Original, Window, encode, read};

    const MOST: usize = super::super::SAMPLE;

    fn windows(most: usize) -> impl Strategy<Value = Vec<Window>> {
        let windows = prop::collection::btree_map(0u64..1 << 40, any::<u64>(), 0..most);
        let window = |(digest, index)| Window { digest, index };
        windows.prop_map(move |windows| windows.into_iter().map(window).collect())
    }

    proptest! {
        #[test]
        fn a_note_holds_the_least_digests_and_is_read_back(
            windows in windows(MOST),
            batches in 1u64..500,
            room in 1_024usize..4_000,
        ) {
            let in_few = |it: Window| Window { index: it.index / (u64::MAX / batches), ..it };
            let windows: Vec<Window> = windows.into_iter().map(in_few).collect();
            let note = encode(&windows, room);
            prop_assert!(note.len() <= room);
            let mut back = read(&note);
            back.sort_unstable();
            prop_assert!(windows.starts_with(&back));
            prop_assert!(back.len() == windows.len() || back.len() * 8 >= room * 7 / 8);
        }

        #[test]
        fn what_is_held_against_a_device_is_read_back(
            all in prop::collection::vec((any::<u64>(), windows(9)), 0..4),
        ) {
            let original = |(compared, windows)| Original { compared, windows };
            let originals: Vec<Original> = all.into_iter().map(original).collect();
            let bytes = Original::encode_all(&originals);
            prop_assert_eq!(Original::decode_all(&bytes), originals);
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes).len() <= bytes.len());
            let originals = Original::decode_all(&bytes);
            let all: usize = originals.iter().map(|it| 1 + it.windows.len()).sum();
            prop_assert_eq!(all, bytes.len() / 16);
        }
    }

    #[test]
    fn a_window_takes_five_bytes_and_a_little() {
        let window =
            |at: u64| Window { digest: at << 30 | at, index: 1_000_000 + at / 64 * 10_000 };
        let windows: Vec<Window> = (0..256).map(window).collect();
        assert!(encode(&windows, usize::MAX).len() <= 256 * 5 + 4 * 6);
    }
}
