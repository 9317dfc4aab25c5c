//! Numbers in as few bytes as they need, for notes.

/// Seven bits a byte, the lowest first; all but the last byte have the eighth.
pub(super) fn put(bytes: &mut Vec<u8>, mut word: u64) {
    while word > 0x7f {
        bytes.push(word as u8 | 0x80);
        word >>= 7;
    }
    bytes.push(word as u8);
}

/// Reads what [`put`] wrote, and leaves the rest.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut word = 0;
    for bits in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        word |= u64::from(byte & 0x7f) << bits;
        if byte & 0x80 == 0 {
            return Some(word);
        }
    }
    None
}

/// Small numbers of either sign as small ones.
pub(super) const fn folded(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) const fn unfolded(word: u64) -> i64 {
    (word >> 1) as i64 ^ -((word & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_of_either_sign_are_short_and_all_are_read_back() {
        for (number, length) in
            [(0, 1), (-1, 1), (63, 1), (-64, 1), (64, 2), (i64::MAX, 10), (i64::MIN, 10)]
        {
            let mut bytes = Vec::new();
            put(&mut bytes, folded(number));
            assert_eq!(bytes.len(), length, "{number}");
            let mut rest = &bytes[..];
            assert_eq!(take(&mut rest).map(unfolded), Some(number));
            assert!(rest.is_empty() && take(&mut rest).is_none());
        }
        assert_eq!(take(&mut &[0x80; 11][..]), None);
    }
}
