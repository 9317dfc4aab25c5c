//! How many refusals are kept, so that nobody can fill the disk with them, nor use up the room of others.
//!
//! There are three rooms a minute: one for those who signed what was refused, one for everything that nobody
//! vouches for, and one for the first fork of each device, so that no device pushes out what convicts it by sending
//! other things before. Within a room, each sender may have a fixed part of what the others have left, so that nobody
//! fills it alone and many together fill it slowly. Names that nobody vouches for cost nothing: dozens of
//! invented ones do fill their room, and nothing else.
//!
//! These are bounds for a minute, not for the disk: each process of ingest counts for itself, and what is kept stays
//! until it is forgotten.

use std::collections::{BTreeMap, HashMap};

use depin_core::{Did, Timestamp, transport::RefusalCode};

/// What is kept in a minute, and how much of what others leave one sender may have.
struct Measure {
    letters: usize,
    bytes: usize,
    part: usize,
}

/// Of those that nobody vouches for. Names among them are claims; what names nobody counts as one sender.
const UNPROVEN: Measure = Measure { letters: 240, bytes: 1024 * 1024, part: 4 };
/// Of devices that signed: a registered device is not a trusted one.
const PROVEN: Measure = Measure { letters: usize::MAX, bytes: 8 * 1024 * 1024, part: 32 };
/// Of the first fork of each device in the minute. Those are proofs against who sends them, and one convicts: so each
/// may be as long as it is, and 64 devices at least find room.
const FORKS: Measure = Measure { letters: usize::MAX, bytes: 8 * 1024 * 1024, part: 1 };
/// Most letters of one code from a device that signed.
const PER_CODE: u32 = 20;

/// What a refusal is worth to whoever reads it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// Nobody vouches for what it names.
    Claim,
    /// The device has signed it.
    Signed,
    /// With what the log holds it proves that the device has signed two histories with one key.
    Fork,
}

/// What was kept in the present minute.
#[derive(Default)]
pub(super) struct Quota {
    minute: u64,
    unproven: Room,
    proven: Room,
    forks: Room,
    codes: HashMap<Did, BTreeMap<RefusalCode, u32>>,
}

/// Whose letters these are; `None` for what names nobody. Only who has a letter kept is in the map, so that it
/// is no larger than the room, or than the registry.
#[derive(Default)]
struct Room {
    all: Kept,
    senders: HashMap<Option<Did>, Kept>,
}

#[derive(Clone, Copy, Default)]
struct Kept {
    letters: usize,
    bytes: usize,
}

impl Quota {
    /// Whether a refusal may be kept, of so many bytes with those that it contradicts. `sender` is who they name.
    pub(super) fn admits(
        &mut self,
        sender: Option<&Did>,
        worth: Worth,
        code: RefusalCode,
        bytes: usize,
        now: Timestamp,
    ) -> bool {
        self.turn_to(now);
        let Some(did) = sender.filter(|_| worth != Worth::Claim) else {
            return self.unproven.take(&UNPROVEN, sender, bytes);
        };
        let is_first_fork = worth == Worth::Fork && !self.forks.knows(did);
        if is_first_fork && self.forks.take(&FORKS, sender, bytes) {
            return true;
        }
        let count = self.codes.get(did).and_then(|codes| codes.get(&code)).copied();
        let count = count.unwrap_or_default();
        let fits = count < PER_CODE && self.proven.take(&PROVEN, sender, bytes);
        if fits {
            self.codes.entry(did.clone()).or_default().insert(code, count.saturating_add(1));
        }
        fits
    }
}

impl Quota {
    /// Whether the first fork of a device in this minute is kept: then it does not matter what further ones are worth.
    pub(super) fn is_convicted(&mut self, did: &Did, now: Timestamp) -> bool {
        self.turn_to(now);
        self.forks.knows(did)
    }

    fn turn_to(&mut self, now: Timestamp) {
        let minute = now.secs() / 60;
        if minute != self.minute {
            *self = Self { minute, ..Self::default() };
        }
    }
}

impl Room {
    fn knows(&self, sender: &Did) -> bool {
        self.senders.contains_key(&Some(sender.clone()))
    }

    fn take(&mut self, measure: &Measure, sender: Option<&Did>, bytes: usize) -> bool {
        let sender = sender.cloned();
        let own = self.senders.get(&sender).copied().unwrap_or_default();
        let with = own.and(1, bytes);
        let fits = |most: usize, all: usize, own: usize, with: usize| {
            with <= most.saturating_sub(all.saturating_sub(own)) / measure.part
        };
        let fits = fits(measure.letters, self.all.letters, own.letters, with.letters)
            && fits(measure.bytes, self.all.bytes, own.bytes, with.bytes);
        if fits {
            self.all = self.all.and(1, bytes);
            self.senders.insert(sender, with);
        }
        fits
    }
}

impl Kept {
    const fn and(self, letters: usize, bytes: usize) -> Self {
        Self {
            letters: self.letters.saturating_add(letters),
            bytes: self.bytes.saturating_add(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Worth::*, *};

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn did(name: impl std::fmt::Display) -> Did {
        Did::parse(&format!("did:example:{name}")).unwrap()
    }

    /// How many letters and bytes of so many tries are kept.
    fn kept(quota: &mut Quota, sender: Option<&Did>, worth: Worth, bytes: usize) -> usize {
        let codes = [RefusalCode::Fork, RefusalCode::SequenceGap, RefusalCode::ClockAhead];
        let tries = codes.iter().cycle().take(300);
        tries.filter(|code| quota.admits(sender, worth, **code, bytes, NOW)).count()
    }

    #[test]
    fn conspiring_devices_leave_room_for_one_more() {
        let (mut quota, victim) = (Quota::default(), did("victim"));
        for n in 0..100 {
            kept(&mut quota, Some(&did(n)), Signed, 60_000);
        }
        assert!(quota.admits(Some(&victim), Signed, RefusalCode::Fork, 8_000, NOW));
        for n in 0..10_000 {
            kept(&mut quota, Some(&did(format!("late-{n}"))), Signed, 100);
        }
        assert!(quota.proven.all.bytes <= PROVEN.bytes);
    }

    #[test]
    fn noise_and_one_invented_name_leave_room_for_other_names() {
        let mut quota = Quota::default();
        let invented = did("invented");
        assert_eq!(kept(&mut quota, None, Claim, 100), 60);
        assert_eq!(kept(&mut quota, Some(&invented), Claim, 100), 45, "a quarter of what is left");
        assert!(quota.admits(Some(&did("late")), Claim, RefusalCode::NotRegistered, 9_000, NOW));
        for n in 0..1000 {
            kept(&mut quota, Some(&did(n)), Claim, 100);
        }
        assert!(quota.unproven.senders.len() <= UNPROVEN.letters, "memory is bounded too");
        let next = NOW.plus(std::time::Duration::from_secs(60));
        assert!(quota.admits(None, Claim, RefusalCode::Malformed, 100, next));
        assert_eq!(quota.unproven.all.letters, 1);
    }

    #[test]
    fn a_device_alone_has_its_part_and_no_more() {
        let (mut quota, greedy) = (Quota::default(), did("greedy"));
        assert_eq!(kept(&mut quota, Some(&greedy), Signed, 65_536), 4);
        assert_eq!(kept(&mut Quota::default(), Some(&greedy), Signed, 10), 3 * PER_CODE as usize);
    }

    #[test]
    fn nothing_that_a_device_sends_pushes_out_its_first_fork() {
        const PAIR: usize = 2 * 65_536;
        let mut quota = Quota::default();
        for n in 0..64 {
            let forker = did(n);
            kept(&mut quota, Some(&forker), Signed, 65_536);
            let fork =
                |quota: &mut Quota| quota.admits(Some(&forker), Fork, RefusalCode::Fork, PAIR, NOW);
            assert!(fork(&mut quota), "device {n}");
            assert!(!fork(&mut quota), "the second counts as all else");
        }
        assert_eq!(quota.forks.all.bytes, FORKS.bytes);
        let late = did("late");
        assert!(
            !quota.admits(Some(&late), Fork, RefusalCode::Fork, PAIR, NOW),
            "the disk is bounded"
        );
    }
}
