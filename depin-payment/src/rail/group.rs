//! Changes that share one write to the disk.
//!
//! A flush costs milliseconds, whatever it flushes. So callers queue what they want changed, and whoever comes first
//! makes the changes of all who wait, each after those before it; those who come meanwhile are the next group.
//! Nobody hears of a change before it is on disk. The write runs where waiting for a disk keeps no other task
//! waiting.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use depin_core::{Error, Result};
use redb::Database;
use tokio::sync::{Mutex as Turn, oneshot};

use super::{
    disk::kind_of,
    view::{Draft, Edit},
};

/// A database whose changes are written in groups.
pub(super) struct Group {
    database: Database,
    waiting: Mutex<Vec<Job>>,
    turn: Arc<Turn<()>>,
}

/// Looks at the draft of a group, and says what to write and whom to tell.
type Job = Box<dyn FnOnce(&Draft<'_>) -> (Vec<Edit>, Tell) + Send>;
/// Tells a caller that its change is on disk, or why not.
type Tell = Box<dyn FnOnce(Written) + Send>;
type Written = std::result::Result<(), Arc<redb::Error>>;

impl Group {
    pub(super) fn new(database: Database) -> Self {
        Self { database, waiting: Mutex::default(), turn: Arc::default() }
    }

    pub(super) const fn database(&self) -> &Database {
        &self.database
    }

    /// What `change` answers, once its edits are on disk. It sees all changes before it and writes nothing when it
    /// fails. When the caller leaves, its change is made or not.
    pub(super) async fn commit<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&Draft<'_>) -> Result<(T, Vec<Edit>)> + Send + 'static,
    ) -> Result<T> {
        let (tell, mut told) = oneshot::channel();
        self.waiting().push(Box::new(|draft| {
            if tell.is_closed() {
                // Its caller left before its turn came; what it looked at may be long past.
                return (Vec::new(), Box::new(|_| ()));
            }
            let (answer, edits) = match change(draft) {
                Ok((answer, edits)) => (Ok(answer), edits),
                Err(error) => (Err(error), Vec::new()),
            };
            let tell = move |written: Written| {
                // Nobody waits for the answer of a caller that left.
                let _ = tell.send(written.map_err(unwritten).and(answer));
            };
            (edits, Box::new(tell))
        }));
        let turn = tokio::select! {
            biased;
            answer = &mut told => return answer.unwrap_or_else(|_| Err(unanswered())),
            turn = Arc::clone(&self.turn).lock_owned() => turn,
        };
        let group = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let mut tells = Vec::new();
            let written = group.write(&mut tells).map_err(Arc::new);
            // Whoever hears of it may close the file and open it again.
            drop(group);
            for tell in tells {
                tell(written.clone());
            }
            drop(turn);
        });
        told.await.unwrap_or_else(|_| Err(unanswered()))
    }

    /// Makes the changes of all who wait, and says whom to tell.
    fn write(&self, tells: &mut Vec<Tell>) -> Result<(), redb::Error> {
        // Before anything can fail: who is not told by a job is told by its end.
        let jobs = mem::take(&mut *self.waiting());
        let write = self.database.begin_write()?;
        let mut changed = false;
        {
            let mut draft = Draft::open(&write)?;
            for job in jobs {
                let (edits, tell) = job(&draft);
                tells.push(tell);
                for edit in edits {
                    changed = true;
                    draft.apply(edit)?;
                }
            }
        }
        if changed {
            return Ok(write.commit()?);
        }
        // Nothing that was answered is new, so all of it is on disk.
        Ok(write.abort()?)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Job>> {
        // A queue is whole whatever its last user did.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that failed, for one of those who shared it.
fn unwritten(error: Arc<redb::Error>) -> Error {
    let (kind, text) = kind_of(&error);
    Error::new(kind, text).source(error)
}

fn unanswered() -> Error {
    Error::unavailable("the store gave no answer; open it again")
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Condvar, atomic::AtomicU64, atomic::Ordering::SeqCst},
    };

    use depin_core::{Address, Amount, B256, ErrorKind, Timestamp, payment::Charge};
    use futures_util::future::join_all;
    use redb::{ReadableDatabase, StorageBackend, backends::InMemoryBackend};

    use super::*;
    use crate::rail::view::{Paid, Snapshot};

    /// A disk that flushes only while it is open, counts it, and can break.
    #[derive(Clone, Debug, Default)]
    struct Disk(Arc<Parts>);

    #[derive(Debug, Default)]
    struct Parts {
        memory: InMemoryBackend,
        shut: Mutex<bool>,
        opened: Condvar,
        broken: Mutex<bool>,
        flushes: AtomicU64,
        waiting: AtomicU64,
    }

    impl Disk {
        fn set_shut(&self, shut: bool) {
            *self.0.shut.lock().unwrap() = shut;
            self.0.opened.notify_all();
        }

        fn flushes(&self) -> u64 {
            self.0.flushes.load(SeqCst)
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> Result<u64, io::Error> {
            self.0.memory.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
            self.0.memory.read(offset, out)
        }

        fn set_len(&self, len: u64) -> Result<(), io::Error> {
            self.0.memory.set_len(len)
        }

        fn sync_data(&self) -> Result<(), io::Error> {
            if *self.0.broken.lock().unwrap() {
                return Err(io::Error::other("the disk is gone"));
            }
            self.0.waiting.fetch_add(1, SeqCst);
            let shut = self.0.shut.lock().unwrap();
            drop(self.0.opened.wait_while(shut, |shut| *shut).unwrap());
            self.0.waiting.fetch_sub(1, SeqCst);
            self.0.flushes.fetch_add(1, SeqCst);
            self.0.memory.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
            self.0.memory.write(offset, data)
        }
    }

    fn group() -> (Disk, Arc<Group>) {
        let disk = Disk::default();
        let database = Database::builder().create_with_backend(disk.clone()).unwrap();
        let write = database.begin_write().unwrap();
        Draft::open(&write).unwrap();
        write.commit().unwrap();
        (disk, Arc::new(Group::new(database)))
    }

    fn paid(number: u64) -> Paid {
        let id = B256::left_padding_from(&number.to_be_bytes());
        let charge = Charge { id, payee: Address::ZERO, amount: Amount::from(1) };
        Paid { charge, payer: Address::ZERO, source: vec![1], order: id.0 }
    }

    async fn pay(group: &Arc<Group>, number: u64) -> Result<bool> {
        let paid = paid(number);
        let change = move |draft: &Draft<'_>| {
            if draft.answer(&paid)?.is_some() {
                return Ok((false, Vec::new()));
            }
            let (at, purpose) = (Timestamp::EPOCH, B256::ZERO);
            let edit = Edit::Pay { paid, reached: Amount::ZERO, at, purpose };
            Ok((true, vec![edit]))
        };
        group.commit(change).await
    }

    fn is_on_disk(group: &Group, number: u64) -> bool {
        let read = group.database().begin_read().unwrap();
        Snapshot::open(&read).unwrap().is_paid(paid(number).charge.id).unwrap()
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_a_write_and_hear_nothing_before_it() {
        let (disk, group) = group();
        let before = disk.flushes();
        assert!(pay(&group, 0).await.unwrap());
        let one = disk.flushes() - before;
        assert!(one > 0);

        disk.set_shut(true);
        let first = tokio::spawn({
            let group = Arc::clone(&group);
            async move { pay(&group, 1).await }
        });
        while disk.0.waiting.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let rest: Vec<_> = (2..=64).collect();
        let all = tokio::spawn({
            let group = Arc::clone(&group);
            async move { join_all(rest.into_iter().map(|number| pay(&group, number))).await }
        });
        while group.waiting().len() < 63 {
            tokio::task::yield_now().await;
        }
        assert!(!first.is_finished() && !all.is_finished(), "answered before it was on disk");
        assert!(!is_on_disk(&group, 1));
        let before = disk.flushes();
        disk.set_shut(false);
        assert!(first.await.unwrap().unwrap());
        for answer in all.await.unwrap() {
            assert!(answer.unwrap());
        }
        assert_eq!(disk.flushes() - before, 2 * one, "64 changes in two writes");
        assert!((0..=64).all(|number| is_on_disk(&group, number)));
    }

    #[tokio::test]
    async fn changes_see_those_before_them_and_what_is_refused_writes_nothing() {
        let (disk, group) = group();
        let answers = join_all((0..8).map(|number| pay(&group, number % 2))).await;
        let fresh = answers.into_iter().filter(|answer| *answer.as_ref().unwrap());
        assert_eq!(fresh.count(), 2, "each counts once");
        let before = disk.flushes();
        let refused = |_: &Draft<'_>| Err::<((), _), _>(Error::new(ErrorKind::Rejected, "no"));
        assert_eq!(group.commit(refused).await.unwrap_err().kind(), ErrorKind::Rejected);
        assert!(!pay(&group, 1).await.unwrap());
        assert_eq!(disk.flushes(), before, "there was nothing to write");
    }

    #[tokio::test]
    async fn a_write_that_fails_is_told_to_all_who_shared_it() {
        let (disk, group) = group();
        *disk.0.broken.lock().unwrap() = true;
        for answer in join_all((0..8).map(|number| pay(&group, number))).await {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unavailable);
        }
        assert!(!(0..8).any(|number| is_on_disk(&group, number)));
        // The store has to be opened again by then, and says so instead of nothing.
        for _ in 0..2 {
            assert_eq!(pay(&group, 9).await.unwrap_err().kind(), ErrorKind::Unavailable);
        }
        assert!(group.waiting().is_empty());
    }

    #[tokio::test]
    async fn a_caller_that_leaves_keeps_nobody_waiting() {
        let (disk, group) = group();
        disk.set_shut(true);
        let leaves = tokio::spawn({
            let group = Arc::clone(&group);
            async move { pay(&group, 1).await }
        });
        while disk.0.waiting.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        leaves.abort();
        assert!(leaves.await.unwrap_err().is_cancelled());
        disk.set_shut(false);
        assert!(pay(&group, 2).await.unwrap());
        assert!(!pay(&group, 1).await.unwrap(), "what was under way was made");
    }
}
