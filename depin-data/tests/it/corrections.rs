//! Epochs that are windows of time: what comes early, late, too late, and never.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use depin_core::{
    Amount, B256, Did, EpochId, ErrorKind, Reading, Sequence, Timestamp,
    log::{Append, BatchLog, NewBatch},
    quality::Contribution,
    reward::{Allocation, Payout},
};
use depin_data::{
    epoch::{
        Checks, Correction, EpochDraft, EpochError, EpochRecord, MAX_AHEAD, Member, Past, Scored,
        Sealed, Statement, TOO_EARLY, TOO_LATE, Windows, Work, end_of_range, score,
    },
    log::MemoryLog,
};
use proptest::prelude::*;

use super::epoch::{checks, member, stations};
use crate::support::{Device, NOW, network, reading};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn hours(settling: u64) -> Windows {
    let (hour, late) = (Duration::from_millis(HOUR), Duration::from_millis(10 * MINUTE));
    Windows::new(NOW, hour, late).unwrap().settling(settling)
}

/// So many minutes after the first window began.
fn at(minute: u64) -> Timestamp {
    Timestamp::from_millis(NOW.millis() + minute * MINUTE)
}

async fn send(log: &dyn BatchLog, device: &mut Device, minutes: &[u64], received: u64) {
    let readings: Vec<Reading> = minutes.iter().map(|minute| reading("1", at(*minute))).collect();
    send_readings(log, device, &readings, received).await;
}

async fn send_readings(
    log: &dyn BatchLog,
    device: &mut Device,
    readings: &[Reading],
    received: u64,
) {
    let (sequence, previous) = (Sequence::new(device.next), device.previous);
    let batch = device.seal(readings);
    let (device, received) = (device.did.clone(), at(received));
    let new = NewBatch { device, sequence, previous, covers: None, received, batch };
    assert!(matches!(log.append(new).await.unwrap(), Append::Stored(_)));
}

/// Closes epochs one after the other, as a network does.
struct Closer {
    windows: Windows,
    next: u64,
    end: u64,
    pasts: BTreeMap<Did, Past>,
}

impl Closer {
    fn new(windows: Windows) -> Self {
        Self { windows, next: 0, end: 0, pasts: BTreeMap::new() }
    }

    async fn draft(&self, log: &dyn BatchLog, range: Range<u64>) -> EpochDraft {
        let draft = EpochDraft::read(log, &network(), EpochId::new(self.next), range).await;
        let settled = self.windows.settled_by(EpochId::new(self.next)).map(|_| "policy");
        draft.unwrap().windows(self.windows, EpochId::new(0), settled)
    }

    fn roster(&self) -> Vec<Member> {
        let past = |device: &Device| self.pasts.get(&device.did).cloned();
        stations().iter().map(|it| Member { past: past(it), ..member(it) }).collect()
    }

    async fn close(&mut self, log: &dyn BatchLog) -> (EpochRecord, Scored) {
        let end = log.head().await.unwrap().size;
        self.close_up_to(end, log).await
    }

    async fn close_up_to(&mut self, end: u64, log: &dyn BatchLog) -> (EpochRecord, Scored) {
        let draft = self.draft(log, self.end..end).await;
        let record = draft.close(self.roster(), checks().names(), "policy").unwrap();
        assert_eq!(EpochRecord::parse(&record.to_bytes()).unwrap(), record);
        let scored = score(log, &record, &checks()).await.unwrap();
        (self.next, self.end) = (self.next + 1, end);
        self.pasts.extend(scored.pasts.clone());
        (record, scored)
    }
}

fn counts(entries: &[Contribution]) -> Vec<(u64, u64)> {
    entries.iter().map(|entry| (entry.readings, entry.score)).collect()
}

fn work(epoch: u64, readings: u64) -> Work {
    Work { epoch: EpochId::new(epoch), readings, score: readings, paid: Amount::ZERO }
}

#[tokio::test]
async fn a_reading_counts_in_the_epoch_of_its_time_whichever_range_it_comes_in() {
    let (log, [mut a, mut b, _]) = (MemoryLog::new(), stations());
    let mut closer = Closer::new(hours(1));
    send(&log, &mut a, &[10, 50, 65], 66).await;
    send(&log, &mut b, &[20], 66).await;
    let (_, first) = closer.close(&log).await;
    assert_eq!(counts(&first.contributions.entries), [(2, 2), (1, 1), (0, 0)]);
    assert_eq!(first.readings, 4);
    assert_eq!(first.pasts[&a.did].open, [work(0, 2), work(1, 1)]);
    assert!(first.corrections.is_empty() && first.settled.is_none());

    send(&log, &mut a, &[90], 90).await;
    send(&log, &mut b, &[40, 70], 90).await;
    let (_, second) = closer.close(&log).await;
    assert_eq!(counts(&second.contributions.entries), [(2, 2), (1, 1), (0, 0)]);
    let late = Correction { device: b.did.clone(), epoch: EpochId::new(0), readings: 1, score: 1 };
    assert_eq!(second.corrections, [late]);
    let settled = second.settled.unwrap();
    assert_eq!(settled.contributions.epoch, EpochId::new(0));
    assert_eq!(counts(&settled.contributions.entries), [(2, 2), (2, 2), (0, 0)]);
    assert_eq!(second.pasts[&b.did].open, [work(1, 1)]);
}

#[tokio::test]
async fn what_an_epoch_had_no_room_for_corrects_it_unless_nothing_late_is_taken() {
    for settling in [0, 1, 2] {
        let (log, [mut a, ..]) = (MemoryLog::new(), stations());
        let mut closer = Closer::new(hours(settling));
        for minute in [10, 20, 30] {
            send(&log, &mut a, &[minute], minute).await;
        }
        // As if one batch were all that an epoch may have.
        let (_, full) = closer.close_up_to(1, &log).await;
        assert_eq!(counts(&full.contributions.entries)[0], (1, 1));
        let (_, next) = closer.close_up_to(2, &log).await;
        let (_, last) = closer.close(&log).await;
        let corrected = |scored: &Scored| scored.corrections.iter().map(|late| late.score).sum();
        let corrected: [u64; 2] = [corrected(&next), corrected(&last)];
        let lost =
            |scored: &Scored| scored.findings.iter().filter(|(_, f)| f.code == TOO_LATE).count();
        let lost = [lost(&next), lost(&last)];
        match settling {
            0 => assert_eq!((corrected, lost), ([0, 0], [1, 1]), "lost, and told"),
            1 => assert_eq!((corrected, lost), ([1, 0], [0, 1])),
            _ => assert_eq!((corrected, lost), ([1, 1], [0, 0])),
        }
        let settled = [&next, &last].into_iter().find_map(|scored| scored.settled.as_ref());
        let settled = settled.map(|settled| counts(&settled.contributions.entries)[0]);
        assert_eq!(settled, [None, Some((2, 2)), Some((3, 3))][usize::try_from(settling).unwrap()]);
    }
}

#[tokio::test]
async fn findings_take_the_points_of_the_epoch_that_their_reading_lies_in() {
    let (log, [mut a, ..]) = (MemoryLog::new(), stations());
    let mut closer = Closer::new(hours(1));
    let values = [("1", 10), ("80", 20), ("80", 65), ("1", 70)];
    let readings = values.map(|(value, minute)| reading(value, at(minute)));
    send_readings(&log, &mut a, &readings, 71).await;
    let (_, scored) = closer.close(&log).await;
    assert_eq!(counts(&scored.contributions.entries)[0], (2, 1));
    let open = &scored.pasts[&a.did].open;
    assert_eq!(open.iter().map(|it| (it.readings, it.score)).collect::<Vec<_>>(), [(2, 1), (2, 1)]);
}

#[tokio::test]
async fn a_device_that_falls_silent_keeps_what_it_did_until_that_settles_and_is_named_late() {
    let (log, [mut a, mut b, _]) = (MemoryLog::new(), stations());
    let mut closer = Closer::new(hours(2));
    send(&log, &mut a, &[10, 61], 62).await;
    send(&log, &mut b, &[20], 62).await;
    let (_, first) = closer.close(&log).await;
    assert_eq!(first.late, [b.did.clone()]);
    send(&log, &mut a, &[121], 122).await;
    let (_, second) = closer.close(&log).await;
    assert_eq!(second.late, [b.did.clone()], "it was heard in the window before");
    send(&log, &mut a, &[181], 182).await;
    let (_, third) = closer.close(&log).await;
    assert!(third.late.is_empty(), "silent for a whole window, nobody waits for it");
    assert_eq!(counts(&third.settled.unwrap().contributions.entries), [(1, 1), (1, 1), (0, 0)]);
    assert!(third.pasts[&b.did].open.is_empty());
}

#[tokio::test]
async fn readings_of_settled_epochs_and_of_far_ones_earn_nothing_and_say_why() {
    let (log, [mut a, mut b, mut c]) = (MemoryLog::new(), stations());
    let mut closer = Closer::new(hours(1));
    closer.close(&log).await;
    closer.close(&log).await;
    send(&log, &mut a, &[30, 70, 130], 131).await;
    let before = Timestamp::from_millis(NOW.millis() - 1);
    send_readings(&log, &mut b, &[reading("1", before), reading("1", at(70))], 131).await;
    let far = 60 * (2 + MAX_AHEAD);
    send(&log, &mut c, &[far, far + 60], 131).await;
    let (_, scored) = closer.close(&log).await;
    let codes: Vec<_> =
        scored.findings.iter().map(|(device, it)| (device, &*it.code, it.reading)).collect();
    let expected = [(&a.did, TOO_LATE, 0), (&b.did, TOO_LATE, 0), (&c.did, TOO_EARLY, 1)];
    assert_eq!(codes, expected);
    assert_eq!(counts(&scored.contributions.entries), [(1, 1), (0, 0), (0, 0)]);
    assert_eq!(counts(&scored.settled.unwrap().contributions.entries), [(1, 1), (1, 1), (0, 0)]);
}

#[tokio::test]
async fn without_settling_nothing_late_is_taken() {
    let (log, [mut a, mut b, _]) = (MemoryLog::new(), stations());
    let mut closer = Closer::new(hours(0));
    send(&log, &mut a, &[10, 61], 62).await;
    let (_, first) = closer.close(&log).await;
    assert_eq!(first.pasts[&a.did].open, [work(1, 1)]);
    send(&log, &mut b, &[30], 125).await;
    let (_, second) = closer.close(&log).await;
    assert_eq!(counts(&second.contributions.entries), [(1, 1), (0, 0), (0, 0)]);
    assert_eq!(second.findings[0].1.code, TOO_LATE);
    assert!(second.settled.is_none() && second.corrections.is_empty());
}

#[tokio::test]
async fn a_range_ends_where_the_deadline_cut_it_however_late_it_is_closed() {
    let (log, [mut a, mut b, _]) = (MemoryLog::new(), stations());
    let deadline = hours(1).deadline(EpochId::new(0));
    assert_eq!(deadline, Some(at(70)));
    send(&log, &mut a, &[10], 69).await;
    // A clock that was ahead for a moment.
    send(&log, &mut a, &[15], 1_000_000).await;
    send(&log, &mut b, &[15], 69).await;
    send(&log, &mut a, &[20], 70).await;
    send(&log, &mut b, &[20], 71).await;
    assert_eq!(end_of_range(&log, 0, deadline).await.unwrap(), 3);
    assert_eq!(end_of_range(&log, 0, None).await.unwrap(), 5);
    assert_eq!(end_of_range(&log, 5, deadline).await.unwrap(), 5);
}

#[tokio::test]
async fn a_roster_cannot_claim_work_in_epochs_that_take_none() {
    let (log, [mut a, ..]) = (MemoryLog::new(), stations());
    let mut closer = Closer::new(hours(1));
    send(&log, &mut a, &[10], 11).await;
    closer.close(&log).await;
    closer.close(&log).await;
    let wrong = [
        vec![work(0, 1)],
        vec![work(3 + MAX_AHEAD, 1)],
        vec![work(2, 1), work(1, 1)],
        vec![work(1, 1), work(1, 1)],
        vec![Work { score: 2, ..work(1, 1) }],
    ];
    for open in wrong {
        closer.pasts.get_mut(&a.did).unwrap().open.clone_from(&open);
        let error = closer.draft(&log, 1..1).await.close(closer.roster(), Vec::new(), "policy");
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Malformed, "{open:?}");
    }
    closer.pasts.get_mut(&a.did).unwrap().open = vec![work(1, 1)];
    let draft = EpochDraft::read(&log, &network(), EpochId::new(2), 1..1).await.unwrap();
    let error = draft.close(closer.roster(), Vec::new(), "policy").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed, "without windows nothing is open");
}

#[tokio::test]
async fn a_record_names_the_policy_of_the_epoch_that_settles_and_no_other() {
    let log = MemoryLog::new();
    for (epoch, policy, closes) in
        [(0, None, true), (0, Some("policy"), false), (1, None, false), (1, Some("policy"), true)]
    {
        let draft = EpochDraft::read(&log, &network(), EpochId::new(epoch), 0..0).await.unwrap();
        let closed = draft.windows(hours(1), EpochId::new(0), policy).close(
            Vec::new(),
            Vec::new(),
            "policy",
        );
        assert_eq!(closed.is_ok(), closes, "{epoch} {policy:?}");
        assert!(closed.is_ok_and(|it| it.settled_policy() == policy) == closes);
    }
}

#[tokio::test]
async fn epochs_follow_each_other_with_the_same_windows_only() {
    let log = MemoryLog::new();
    let close = async |epoch, windows: Option<Windows>, since| {
        let draft = EpochDraft::read(&log, &network(), EpochId::new(epoch), 0..0).await.unwrap();
        let settled = windows.and_then(|it| it.settled_by(EpochId::new(epoch)));
        let settled = settled.filter(|settled| settled.value() >= since).map(|_| "policy");
        let draft = windows
            .into_iter()
            .fold(draft, |draft, it| draft.windows(it, EpochId::new(since), settled));
        draft.close(Vec::new(), Vec::new(), "policy").unwrap()
    };
    let (none, one, two) = (None, Some(hours(1)), Some(hours(2)));
    for (before, after, since, follows) in [
        (none, none, 0, true),
        (none, one, 1, true),
        (none, one, 0, false),
        (one, one, 0, true),
        (one, one, 1, false),
        (one, two, 0, false),
        (one, none, 0, false),
    ] {
        let (before, after) = (close(0, before, 0).await, close(1, after, since).await);
        assert_eq!(after.follows(&before).is_ok(), follows, "{before:?} {after:?}");
    }
}

/// What was paid without windows was paid in full.
#[tokio::test]
async fn epochs_before_the_first_window_neither_settle_nor_take_readings() {
    let (log, [mut a, ..]) = (MemoryLog::new(), stations());
    send(&log, &mut a, &[10, 70, 130], 131).await;
    let draft = EpochDraft::read(&log, &network(), EpochId::new(2), 0..1).await.unwrap();
    let draft = draft.windows(hours(1), EpochId::new(2), None);
    let record = draft.close(vec![member(&a)], checks().names(), "policy").unwrap();
    let scored = score(&log, &record, &checks()).await.unwrap();
    assert!(scored.settled.is_none() && scored.corrections.is_empty());
    assert_eq!(counts(&scored.contributions.entries), [(1, 1)]);
    assert_eq!(scored.findings.iter().filter(|(_, it)| it.code == TOO_LATE).count(), 2);
}

#[tokio::test]
async fn a_policy_that_pays_who_did_nothing_pays_that_once() {
    let (log, [mut a, ..]) = (MemoryLog::new(), stations());
    let mut closer = Closer::new(hours(1));
    send(&log, &mut a, &[70], 71).await;
    let (record, mut scored) = closer.close(&log).await;
    let beneficiary = record.member(&a.did).unwrap().beneficiary;
    let amount = Amount::tokens(1);
    scored.note_paid(&[Payout { device: a.did.clone(), beneficiary, amount }]);
    let open = &scored.pasts[&a.did].open;
    assert_eq!(open[..], [Work { readings: 0, score: 0, paid: amount, ..work(0, 0) }, work(1, 1)]);
}

#[tokio::test]
async fn a_reading_far_ahead_does_not_stand_in_the_way_of_those_after_it() {
    let (log, [mut a, ..]) = (MemoryLog::new(), stations());
    let mut closer = Closer::new(hours(1));
    send(&log, &mut a, &[10, 60 * (MAX_AHEAD + 1)], 11).await;
    let (_, first) = closer.close(&log).await;
    assert_eq!(first.pasts[&a.did].latest, at(10));
    send(&log, &mut a, &[70], 71).await;
    let (_, second) = closer.close(&log).await;
    assert_eq!(counts(&second.contributions.entries)[0], (1, 1));
}

/// An epoch with everything in it that a statement can say.
async fn sealed() -> Sealed {
    let (log, [mut a, mut b, mut c]) = (MemoryLog::new(), stations());
    let mut closer = Closer::new(hours(1));
    send(&log, &mut a, &[10, 65], 66).await;
    closer.close(&log).await;
    send(&log, &mut b, &[30, 90], 91).await;
    send_readings(&log, &mut a, &[reading("80", at(95))], 96).await;
    c.key = stations()[0].key.clone();
    send(&log, &mut c, &[90], 97).await;
    let (record, mut scored) = closer.close(&log).await;
    assert!(!scored.corrections.is_empty() && !scored.late.is_empty());
    assert!(!scored.findings.is_empty() && !scored.unverified.is_empty());
    let payout = Payout {
        device: a.did.clone(),
        beneficiary: record.member(&a.did).unwrap().beneficiary,
        amount: Amount::tokens(7),
    };
    scored.note_paid(std::slice::from_ref(&payout));
    assert_eq!(scored.pasts[&a.did].work(EpochId::new(1)).unwrap().paid, Amount::tokens(7));
    let allocation = Allocation {
        epoch: record.epoch(),
        emission: payout.amount,
        unallocated: Amount::tokens(3),
        payouts: vec![payout],
    };
    Sealed { record, statement: Statement::new(scored, allocation) }
}

#[tokio::test]
async fn a_sealed_epoch_is_read_as_it_was_written() {
    let sealed = sealed().await;
    let bytes = sealed.to_bytes().unwrap();
    assert_eq!(Sealed::parse(&bytes).unwrap(), sealed);
    assert_eq!(Sealed::record(&bytes).unwrap(), sealed.record);
    let (network, epoch, statement) = Sealed::statement(&bytes).unwrap();
    assert_eq!((&network, epoch), (sealed.record.network(), sealed.record.epoch()));
    assert_eq!(statement, sealed.statement);
    for length in 0..bytes.len() {
        assert!(Sealed::parse(&bytes[..length]).is_err(), "{length}");
        assert!(Sealed::statement(&bytes[..length]).is_err(), "{length}");
    }
    let bare = sealed.record.to_bytes();
    assert!(matches!(Sealed::parse(&bare), Err(EpochError::Format(_))));
}

#[tokio::test]
async fn a_statement_pays_members_of_its_roster_to_their_beneficiaries_only() {
    let good = sealed().await;
    let with = |payout: &dyn Fn(&mut Payout)| {
        let mut sealed = good.clone();
        payout(&mut sealed.statement.allocation.payouts[0]);
        sealed.to_bytes()
    };
    assert!(with(&|_| {}).is_ok());
    let error = with(&|payout| payout.device = "did:example:nobody".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    let error = with(&|payout| payout.beneficiary = B256::repeat_byte(9)[..20].try_into().unwrap());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Rejected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_statements_are_errors_and_never_panics(at in 0usize..10_000, by in 1u8..) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let good = runtime.block_on(sealed());
        let mut bytes = good.to_bytes().unwrap();
        let at = at % bytes.len();
        bytes[at] ^= by;
        let statement = Sealed::statement(&bytes);
        if let Ok(read) = Sealed::parse(&bytes) {
            assert_eq!(statement.unwrap().2, read.statement);
            prop_assert_ne!(read, good);
        }
    }

    /// Whatever overtakes what between devices, and wherever epochs are cut: what an epoch settles with is the
    /// same, as long as everything came in time.
    #[test]
    fn what_settles_does_not_depend_on_when_readings_came(
        order in prop::collection::vec(0usize..3, 30), cuts in prop::collection::vec(0usize..30, 4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let in_turn: Vec<usize> = (0..30).map(|turn| turn % 3).collect();
        let settled = |order: &[usize], mut cuts: Vec<usize>| {
            cuts.sort_unstable();
            let order = order.to_vec();
            runtime.block_on(async move {
                let (log, mut stations) = (MemoryLog::new(), stations());
                let mut closer = Closer::new(hours(8));
                let mut sent = [0u64; 3];
                let mut send_next = async |log: &MemoryLog, station: usize| {
                    if sent[station] < 10 {
                        let minute = 24 * sent[station] + station as u64;
                        send(log, &mut stations[station], &[minute, minute + 11], minute).await;
                        sent[station] += 1;
                    }
                };
                for (turn, station) in order.into_iter().enumerate() {
                    if cuts.contains(&turn) {
                        closer.close(&log).await;
                    }
                    send_next(&log, station).await;
                }
                // The rest of everybody, before anything settles.
                for station in (0..3).flat_map(|station| [station; 10]) {
                    send_next(&log, station).await;
                }
                let mut settled = Vec::new();
                while settled.len() < 5 {
                    let (_, scored) = closer.close(&log).await;
                    settled.extend(scored.settled.map(|it| it.contributions.into_inner()));
                }
                settled
            })
        };
        prop_assert_eq!(settled(&order, cuts), settled(&in_turn, vec![7, 19]));
    }
}

#[tokio::test]
async fn every_check_still_sees_all_that_came() {
    let (log, [mut a, ..]) = (MemoryLog::new(), stations());
    let mut closer = Closer::new(hours(1));
    send(&log, &mut a, &[10, 10 + 60 * 70], 11).await;
    let (record, scored) = closer.close(&log).await;
    let again = score(&log, &record, &checks()).await.unwrap();
    assert_eq!(again, scored);
    assert_eq!(scored.readings, 2);
    assert!(score(&log, &record, &Checks::new()).await.is_err());
}
