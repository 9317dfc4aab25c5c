//! The thread that appends: takes all batches that wait, makes them durable together, then answers.
//!
//! A flush costs as much for one batch as for dozens. So while several senders are at work the writer waits
//! for their next batches, for a fraction of the time that a flush takes; a lone sender never waits for
//! others. Batches are judged and encoded as they come in.

use std::{
    sync::mpsc::{Receiver, SyncSender, TryRecvError},
    thread,
    time::{Duration, Instant},
};

use depin_core::{
    Error, ErrorKind, Result,
    log::{Append, NewBatch},
};
use tokio::sync::oneshot;

use super::{
    answer::{Crowd, Reply},
    draft::Draft,
    frame::Frame,
    indexer,
    store::{Files, Store},
};
use crate::{log::growth::Growth, observe};

/// Most batches in one commit.
const GROUP: usize = 1024;
/// Bytes after which a commit takes no more batches.
const GROUP_BYTES: usize = 8 << 20;

pub(super) enum Job {
    Append(Box<NewBatch>, Reply),
    /// Answered when nothing before it in the queue is undecided any more.
    Level(oneshot::Sender<()>),
}

pub(super) fn run(
    store: &Store,
    jobs: &Receiver<Job>,
    growth: &Growth,
    crowd: &Crowd,
    indexer: &SyncSender<indexer::Job>,
) {
    let mut pace = Pace::default();
    while let Ok(job) = jobs.recv() {
        let (new, reply) = match job {
            Job::Append(new, reply) => (new, reply),
            Job::Level(asked) => {
                is_level(asked);
                continue;
            }
        };
        let (mut answers, mut levels) = (Vec::with_capacity(pace.last), Vec::new());
        let committed = store.with(|files| {
            let (answers, levels) = (&mut answers, &mut levels);
            let mut group = Group { jobs, pace: &mut pace, answers, levels };
            group.commit(files, *new, reply)
        });
        match committed {
            Ok(Committed { size, is_ripe, batches, took }) => {
                observe::committed(answers.len(), size, took);
                growth.reached(size);
                crowd.tell(answers);
                drop(batches);
                if is_ripe {
                    // It is told again with the next commit when it is too busy to listen.
                    let _ = indexer.try_send(indexer::Job::Ripe);
                }
            }
            Err(error) => {
                let again = || Error::new(error.kind(), error.message().to_owned());
                let failed = |(reply, _)| (reply, Err(again().with("cause", &error)));
                crowd.tell(answers.into_iter().map(failed));
            }
        }
        levels.into_iter().for_each(is_level);
    }
}

struct Committed {
    size: u64,
    is_ripe: bool,
    /// Nobody needs them any more.
    batches: Vec<NewBatch>,
    /// How long the disk took.
    took: Duration,
}

/// One commit.
struct Group<'a> {
    jobs: &'a Receiver<Job>,
    pace: &'a mut Pace,
    /// What everybody who is in the group is told when it is durable.
    answers: &'a mut Vec<(Reply, Result<Append>)>,
    /// Who is told that the group has come to its end, whichever.
    levels: &'a mut Vec<oneshot::Sender<()>>,
}

impl Group<'_> {
    fn commit(&mut self, files: &Files, first: NewBatch, reply: Reply) -> Result<Committed> {
        self.answers.push((reply, Err(unanswered())));
        if files.overlay().is_full() {
            files.flush()?;
        }
        let mut segments = files.segments();
        if segments.is_long() {
            segments.roll()?;
            files.overlay_mut().moved(segments.end());
        }
        let mut draft = Draft::new(files, segments.next());
        let mut frame = segments.frame();
        self.judge(first, &mut draft, &mut frame)?;
        self.gather(&mut draft, &mut frame)?;
        let (mut batches, mut took) = (Vec::new(), Duration::ZERO);
        if draft.len() > 0 {
            let started = Instant::now();
            segments.append(frame, draft.len() as u64)?;
            batches = draft.publish(segments.end());
            took = started.elapsed();
            self.pace.took(self.answers.len(), took);
        } else {
            segments.keep(frame.into_buffer());
        }
        Ok(Committed { size: segments.next(), is_ripe: files.overlay().is_ripe(), batches, took })
    }

    /// Takes the batches that wait, and those that follow closely.
    fn gather(&mut self, draft: &mut Draft<'_>, frame: &mut Frame) -> Result<()> {
        let mut latest = Instant::now();
        while self.answers.len() + self.levels.len() < GROUP && frame.len() < GROUP_BYTES {
            match self.jobs.try_recv() {
                Ok(Job::Level(asked)) => self.levels.push(asked),
                Ok(Job::Append(new, reply)) => {
                    self.answers.push((reply, Err(unanswered())));
                    self.judge(*new, draft, frame)?;
                    latest = Instant::now();
                }
                Err(TryRecvError::Empty) if self.pace.expects(self.answers.len(), latest) => {
                    thread::yield_now();
                }
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Finds the answer to the last who asked. What is wrong with one batch is no error of the others.
    fn judge(&mut self, new: NewBatch, draft: &mut Draft<'_>, frame: &mut Frame) -> Result<()> {
        let answer = draft.append(new, |new| frame.push(new));
        if let Err(error) = &answer
            && !matches!(error.kind(), ErrorKind::Malformed | ErrorKind::Corrupt)
        {
            return answer.map(|_| ());
        }
        if let Some((_, there)) = self.answers.last_mut() {
            *there = answer;
        }
        Ok(())
    }
}

/// How long it pays to wait for more.
#[derive(Default)]
struct Pace {
    /// Size of the last group.
    last: usize,
    patience: Duration,
}

impl Pace {
    /// A quarter of the time that is saved when somebody need not wait for a flush of their own.
    const SHARE: u32 = 4;
    const MOST: Duration = Duration::from_millis(2);

    fn took(&mut self, group: usize, time: Duration) {
        (self.last, self.patience) = (group, (time / Self::SHARE).min(Self::MOST));
    }

    /// Whether more are likely to come: whoever was answered last time may come back.
    fn expects(&self, group: usize, latest: Instant) -> bool {
        group < self.last && latest.elapsed() < self.patience
    }
}

fn is_level(asked: oneshot::Sender<()>) {
    // Whoever asked may have left.
    let _ = asked.send(());
}

fn unanswered() -> Error {
    Error::unavailable("the log has not come to this batch; try again")
}
