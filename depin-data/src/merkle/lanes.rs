//! SHA-256 (FIPS 180-4) of sixteen short messages side by side.
//!
//! A batch is a tree over hundreds of readings, each hash independent of its neighbours. Written lane by
//! lane, the compiler turns the rounds into vector instructions, which take less than half the time of
//! one message after the other, or a sixth where vectors are wide enough. Processors with SHA-256 instructions are faster still, so there, and
//! where nothing is vectorised, `sha2` does the work; [`pays`] decides. Hashed data is public:
//! nothing here needs to run in constant time, though it does.

use depin_core::B256;

/// Messages hashed together.
pub(super) const LANES: usize = 16;
/// Fewer messages than this are faster one by one.
const WORTH_IT: usize = 4;
/// Bytes of a block.
pub(super) const BLOCK: usize = 64;
/// Longest message that fits a block with its end mark and length.
pub(super) const SHORT: usize = BLOCK - 9;

/// A block of message bytes, padded.
pub(super) type Block = [u8; BLOCK];
type Word = [u32; LANES];

/// Whether so many messages are hashed faster side by side.
pub(super) fn pays(messages: usize) -> bool {
    // Unoptimised code has no vectors.
    messages >= WORTH_IT && !cfg!(debug_assertions) && vectors_beat_scalars()
}

#[cfg(all(feature = "std", target_arch = "x86_64"))]
fn vectors_beat_scalars() -> bool {
    !std::arch::is_x86_feature_detected!("sha")
}

#[cfg(not(all(feature = "std", target_arch = "x86_64")))]
const fn vectors_beat_scalars() -> bool {
    cfg!(target_arch = "aarch64")
}

/// Ends a message of `length` bytes after the first `rest` bytes of its last block, at most [`SHORT`].
/// The bytes after them must be zero.
pub(super) fn pad(block: &mut Block, rest: usize, length: usize) {
    debug_assert!(rest <= SHORT, "the caller looked");
    block.get_mut(rest).into_iter().for_each(|mark| *mark = 0x80);
    if let Some(end) = block.last_chunk_mut() {
        *end = (8 * length as u64).to_be_bytes();
    }
}

/// Sixteen states of SHA-256.
pub(super) struct Lanes([Word; 8]);

impl Lanes {
    /// Before the first block.
    pub(super) fn new() -> Self {
        Self(INITIAL.map(|word| [word; LANES]))
    }

    /// Takes the next block of each message.
    pub(super) fn update(&mut self, blocks: &[Block; LANES]) {
        compress(&mut self.0, &transposed(blocks));
    }

    /// What the messages hash to.
    pub(super) fn hashes(&self) -> [B256; LANES] {
        let mut hashes = [B256::ZERO; LANES];
        for (place, word) in self.0.iter().enumerate() {
            for (hash, word) in hashes.iter_mut().zip(word) {
                let (words, _) = hash.0.as_chunks_mut::<4>();
                words.get_mut(place).into_iter().for_each(|to| *to = word.to_be_bytes());
            }
        }
        hashes
    }
}

fn transposed(blocks: &[Block; LANES]) -> [Word; 16] {
    let mut words = [[0; LANES]; 16];
    for (lane, block) in blocks.iter().enumerate() {
        let (chunks, _) = block.as_chunks::<4>();
        for (word, bytes) in words.iter_mut().zip(chunks) {
            word.get_mut(lane).into_iter().for_each(|word| *word = u32::from_be_bytes(*bytes));
        }
    }
    words
}

/// Compiled again for wider vectors, which are used where the processor has them.
#[cfg_attr(
    feature = "std",
    multiversion::multiversion(targets("x86_64+avx512f+avx512vl+avx512bw", "x86_64+avx2"))
)]
fn compress(state: &mut [Word; 8], block: &[Word; 16]) {
    let (mut s, mut w) = (*state, *block);
    for (quarter, k) in ROUNDS.iter().enumerate() {
        if quarter > 0 {
            schedule(&mut w);
        }
        rounds::<0>(&mut s, &w, k);
        rounds::<8>(&mut s, &w, k);
    }
    // One by one: of a loop over words and lanes the compiler makes vectors across the words.
    let ([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]) = (state, &s);
    add(a, i);
    add(b, j);
    add(c, k);
    add(d, l);
    add(e, m);
    add(f, n);
    add(g, o);
    add(h, p);
}

#[inline(always)]
fn add(to: &mut Word, word: &Word) {
    for (to, word) in to.iter_mut().zip(word) {
        *to = to.wrapping_add(*word);
    }
}

/// The next sixteen words of the message schedule.
#[inline(always)]
fn schedule(w: &mut [Word; 16]) {
    next::<0>(w);
    next::<1>(w);
    next::<2>(w);
    next::<3>(w);
    next::<4>(w);
    next::<5>(w);
    next::<6>(w);
    next::<7>(w);
    next::<8>(w);
    next::<9>(w);
    next::<10>(w);
    next::<11>(w);
    next::<12>(w);
    next::<13>(w);
    next::<14>(w);
    next::<15>(w);
}

#[expect(clippy::indexing_slicing, reason = "of arrays, with numbers below their lengths")]
#[inline(always)]
fn next<const I: usize>(w: &mut [Word; 16]) {
    let (w1, w9, w14) = (w[(I + 1) % 16], w[(I + 9) % 16], w[(I + 14) % 16]);
    for lane in 0..LANES {
        let (x, y) = (w1[lane], w14[lane]);
        let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
        let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
        let sum = w[I][lane].wrapping_add(s0).wrapping_add(w9[lane]);
        w[I][lane] = sum.wrapping_add(s1);
    }
}

/// Eight rounds. Instead of moving eight words along after each, their names move.
#[expect(clippy::indexing_slicing, reason = "of arrays, with numbers below their lengths")]
#[inline(always)]
fn rounds<const FROM: usize>(s: &mut [Word; 8], w: &[Word; 16], k: &[u32; 16]) {
    round::<0>(s, &w[FROM], k[FROM]);
    round::<1>(s, &w[FROM + 1], k[FROM + 1]);
    round::<2>(s, &w[FROM + 2], k[FROM + 2]);
    round::<3>(s, &w[FROM + 3], k[FROM + 3]);
    round::<4>(s, &w[FROM + 4], k[FROM + 4]);
    round::<5>(s, &w[FROM + 5], k[FROM + 5]);
    round::<6>(s, &w[FROM + 6], k[FROM + 6]);
    round::<7>(s, &w[FROM + 7], k[FROM + 7]);
}

/// A round, the `N`-th of eight: word `a` of the standard is by then at place `-N`.
#[expect(clippy::indexing_slicing, reason = "of arrays, with numbers below their lengths")]
#[inline(always)]
fn round<const N: usize>(s: &mut [Word; 8], w: &Word, k: u32) {
    let [a, b, c, d, e, f, g, h] = [8, 9, 10, 11, 12, 13, 14, 15].map(|i| (i - N) % 8);
    for lane in 0..LANES {
        let (x, y) = (s[a][lane], s[e][lane]);
        let choice = s[g][lane] ^ (y & (s[f][lane] ^ s[g][lane]));
        let majority = (x & s[b][lane]) | (s[c][lane] & (x | s[b][lane]));
        let sum0 = x.rotate_right(2) ^ x.rotate_right(13) ^ x.rotate_right(22);
        let sum1 = y.rotate_right(6) ^ y.rotate_right(11) ^ y.rotate_right(25);
        let t1 = s[h][lane].wrapping_add(sum1).wrapping_add(choice);
        let t1 = t1.wrapping_add(w[lane].wrapping_add(k));
        s[d][lane] = s[d][lane].wrapping_add(t1);
        s[h][lane] = t1.wrapping_add(sum0.wrapping_add(majority));
    }
}

/// Fractions of the square roots of the first eight primes.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// Fractions of the cube roots of the first 64 primes.
const ROUNDS: [[u32; 16]; 4] = [
    [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
    ],
    [
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
    ],
    [
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
    ],
    [
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ],
];

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn padded(rest: &[u8], length: usize) -> Block {
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        pad(&mut block, rest.len(), length);
        block
    }

    #[test]
    fn every_lane_agrees_with_sha2_at_every_short_length() {
        for start in 0..=SHORT {
            let message = |lane: usize| -> Vec<u8> {
                let length = (start + lane) % (SHORT + 1);
                (0..length).map(|i| (i * 7 + lane * 31 + start) as u8).collect()
            };
            let blocks = core::array::from_fn(|lane| padded(&message(lane), message(lane).len()));
            let mut lanes = Lanes::new();
            lanes.update(&blocks);
            for (lane, hash) in lanes.hashes().iter().enumerate() {
                assert_eq!(hash.0, <[u8; 32]>::from(Sha256::digest(message(lane))));
            }
        }
    }

    #[test]
    fn a_second_block_continues_the_first() {
        let message: [[u8; 65]; LANES] =
            core::array::from_fn(|lane| core::array::from_fn(|i| (lane * 65 + i) as u8));
        let mut lanes = Lanes::new();
        lanes.update(&message.map(|message| core::array::from_fn(|i| message[i])));
        lanes.update(&message.map(|message| padded(&message[BLOCK..], 65)));
        for (message, hash) in message.iter().zip(lanes.hashes()) {
            assert_eq!(hash.0, <[u8; 32]>::from(Sha256::digest(message)));
        }
    }
}
