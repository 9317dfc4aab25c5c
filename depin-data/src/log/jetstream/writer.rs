//! The one task that writes: takes the jobs that wait, judges them against the view, and puts those that
//! hold into the stream as one message, right after the last one applied or not at all.

use std::{collections::VecDeque, time::Duration};

use depin_core::{
    B256, Bytes, EpochId, Error, ErrorKind, Result,
    log::{Append, NewBatch},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, error, warn};

use super::{
    follower::Follower,
    group::{Group, batch_weight, refusal_weight, seal_weight},
    parts::{Passage, Placed},
    replica::Planned,
    wire::Published,
};

/// Most jobs in one message.
const GROUP: usize = 1024;
/// How long a job may wait for the stream, and an opening.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Before the stream is asked again.
pub(super) const PAUSE: Duration = Duration::from_millis(50);
/// How often to look for messages that nobody announced.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// A writer that has just won lets another one come first, if there are others.
const TURN: Duration = Duration::from_millis(3);
/// How long others count as present.
const COMPANY: Duration = Duration::from_secs(1);

pub(super) type Reply = oneshot::Sender<Result<Outcome>>;

pub(super) struct Waiting {
    pub(super) request: Request,
    pub(super) reply: Reply,
}

pub(super) enum Request {
    Append(Box<NewBatch>),
    Refuse(Vec<u8>),
    /// A record and its SHA-256.
    Seal(EpochId, Bytes, B256),
    /// Answers once the view is level with the stream.
    Level,
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Append(Append),
    Done,
    Conflict,
    TooLarge,
    /// The batch contradicts itself.
    Malformed(String),
}

/// What others see of the writer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) applied: u64,
    pub(super) skipped: u64,
    /// The server that gave what was applied its number.
    pub(super) compared: String,
    /// Why it stopped for good.
    pub(super) stopped: Option<(ErrorKind, String)>,
}

impl Status {
    /// An error once the log has stopped for good: what the view says then may be no history.
    pub(super) fn check(&self) -> Result<()> {
        match &self.stopped {
            None => Ok(()),
            Some((kind, why)) => {
                Err(Error::new(*kind, "the log has stopped; see the cause").with("cause", why))
            }
        }
    }
}

pub(super) struct Writer {
    follower: Follower,
    jobs: mpsc::Receiver<Waiting>,
    status: watch::Sender<Status>,
    name: String,
    messages: u64,
    connections: u64,
    server: String,
    /// After a server has started those who hold what it lost write first, for so long.
    grace: Duration,
    quiet_until: Instant,
    others: Option<Instant>,
    /// Whether the message before was ours.
    won: bool,
    /// Records that go into the stream in parts, one after the other.
    sealing: VecDeque<(Passage, Reply)>,
    /// How far the last of them came that was given up.
    begun: Placed,
}

/// A group to be, and what its jobs will be answered.
struct Plan {
    group: Group,
    outcomes: Vec<Outcome>,
    /// Something is missing before a batch, as far as the view knows.
    gap: bool,
}

impl Writer {
    /// `calm` says that the server cannot have lost anything lately.
    pub(super) fn new(
        follower: Follower,
        jobs: mpsc::Receiver<Waiting>,
        status: watch::Sender<Status>,
        grace: Duration,
        calm: bool,
    ) -> Self {
        let wire = &follower.wire;
        let (name, connections, server) = (wire.unique(), wire.connections(), wire.server());
        let quiet_until = later(if calm { Duration::ZERO } else { grace });
        Self {
            follower,
            jobs,
            status,
            name,
            messages: 0,
            connections,
            server,
            grace,
            quiet_until,
            others: None,
            won: false,
            sealing: VecDeque::new(),
            begun: Placed::default(),
        }
    }

    /// Until the log is dropped, or parts from the stream.
    pub(super) async fn run(mut self) {
        let mut waiting = Vec::with_capacity(GROUP);
        loop {
            let woken = tokio::select! {
                job = self.jobs.recv() => match job {
                    Some(job) => { waiting.push(job); false }
                    None if self.sealing.is_empty() => return,
                    None => false,
                },
                () = self.follower.wire.woken() => true,
                () = std::future::ready(()), if !self.sealing.is_empty() => false,
                () = sleep(LOOK) => false,
            };
            while waiting.len() < GROUP
                && let Ok(job) = self.jobs.try_recv()
            {
                waiting.push(job);
            }
            let result = self.turn(&mut waiting, woken).await;
            self.tell();
            match result {
                Ok(()) => {}
                Err(error) if error.is_retryable() => {
                    warn!(%error, "the stream is out of reach");
                    waiting.drain(..).for_each(|job| answer(job, Err(same(&error))));
                }
                Err(error) => return self.stop(&error, waiting),
            }
        }
    }

    /// Answers all that wait, then goes one piece on with a record in parts: nobody waits for more than that.
    async fn turn(&mut self, waiting: &mut Vec<Waiting>, woken: bool) -> Result<()> {
        self.set_aside(waiting);
        if !waiting.is_empty() {
            self.serve(waiting).await?;
        } else if self.sealing.is_empty() {
            return self.look(woken).await;
        }
        self.seal_on().await
    }

    /// Nothing more is answered with yes; only a person can say which history is right.
    fn stop(mut self, error: &Error, waiting: Vec<Waiting>) {
        error!(%error, "the log has stopped");
        self.status.send_modify(|status| {
            status.stopped = Some((error.kind(), error.to_string()));
        });
        self.jobs.close();
        waiting.into_iter().for_each(|job| answer(job, Err(same(error))));
        self.sealing.drain(..).for_each(|(_, reply)| tell(reply, Err(same(error))));
        while let Ok(job) = self.jobs.try_recv() {
            answer(job, Err(same(error)));
        }
    }

    fn tell(&self) {
        let now = self.follower.status();
        self.status.send_if_modified(|status| {
            let news = *status != now && status.stopped.is_none();
            if news {
                *status = now;
            }
            news
        });
    }

    /// Follows the stream while there is nothing to write.
    async fn look(&mut self, woken: bool) -> Result<()> {
        self.greet().await?;
        if woken {
            let before = self.follower.replica.applied;
            self.follower.follow(None).await?;
            self.note_others(before);
            return Ok(());
        }
        self.follower.level(None).await.map(|_| ())
    }

    /// A new connection may be to a server that lost the end of the stream.
    async fn greet(&mut self) -> Result<()> {
        let (connections, server) = (self.follower.wire.connections(), self.follower.wire.server());
        let is_known = connections == self.connections && server == self.server;
        if is_known && self.follower.is_compared() {
            return Ok(());
        }
        self.follower.verify_end().await?;
        self.follower.level(None).await?;
        self.connections = connections;
        if std::mem::replace(&mut self.server, server) != self.server {
            self.quiet_until = later(self.grace);
        }
        self.tell();
        Ok(())
    }

    /// Answers every waiting job, or leaves them with an error.
    async fn serve(&mut self, waiting: &mut Vec<Waiting>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !waiting.is_empty() {
            let outcomes = match self.round(waiting, deadline).await {
                // A server that is busy for a moment is not out of reach.
                Err(error) if error.is_retryable() && Instant::now() < deadline => {
                    debug!(%error, "the stream does not answer; asking again");
                    sleep(PAUSE).await;
                    continue;
                }
                outcomes => outcomes?,
            };
            for (job, outcome) in waiting.drain(..outcomes.len()).zip(outcomes) {
                answer(job, Ok(outcome));
            }
            self.tell();
        }
        Ok(())
    }

    /// Brings the first of the waiting jobs to an end, as many as fit into a message.
    async fn round(&mut self, waiting: &[Waiting], deadline: Instant) -> Result<Vec<Outcome>> {
        let mut level = false;
        loop {
            self.greet().await?;
            self.take_turn().await;
            in_time(deadline)?;
            let plan = self.plan(waiting).await?;
            let asks = waiting.iter().any(|job| matches!(job.request, Request::Level));
            if (plan.gap || asks) && !level {
                self.follower.level(None).await?;
                level = true;
                continue;
            }
            if plan.group.is_empty() {
                return Ok(plan.outcomes);
            }
            if self.keep_quiet(deadline).await? {
                level = false;
                continue;
            }
            let message = plan.group.encode(&self.follower.network)?;
            if self.write(&message, deadline).await?.is_some() {
                return Ok(plan.outcomes);
            }
            level = false;
        }
    }

    /// Takes the records that go in parts out of what waits.
    fn set_aside(&mut self, waiting: &mut Vec<Waiting>) {
        let Self { follower, sealing, .. } = self;
        let in_parts = |job: &mut Waiting| match &job.request {
            Request::Seal(_, record, _) => !follower.takes_whole(record),
            _ => false,
        };
        for Waiting { request, reply } in waiting.extract_if(.., in_parts) {
            let Request::Seal(epoch, record, hash) = request else { continue };
            match Passage::new(epoch, record, hash, follower.most()) {
                Some(passage) => sealing.push_back((passage, reply)),
                None => tell(reply, Ok(Outcome::TooLarge)),
            }
        }
    }

    /// Goes one piece on with the first record in parts, and answers when its head has counted.
    async fn seal_on(&mut self) -> Result<()> {
        let Some((passage, reply)) = self.sealing.pop_front() else { return Ok(()) };
        let mut passage = passage.after(std::mem::take(&mut self.begun));
        let result = match reply.is_closed() {
            // Nobody waits for it any more.
            true => Err(Error::unavailable("the caller has left")),
            false => self.put_piece(&mut passage).await,
        };
        match result {
            Ok(None) => self.sealing.push_front((passage, reply)),
            Ok(Some(outcome)) => tell(reply, Ok(outcome)),
            Err(error) => {
                self.begun = passage.into_placed();
                let again = same(&error);
                let left = reply.is_closed();
                tell(reply, Err(error));
                return if left { Ok(()) } else { Err(again) };
            }
        }
        Ok(())
    }

    /// Puts the next piece into the stream, or says what became of the record.
    async fn put_piece(&mut self, passage: &mut Passage) -> Result<Option<Outcome>> {
        self.greet().await?;
        self.keep_quiet(Instant::now() + PATIENCE).await?;
        self.take_turn().await;
        // Another process may seal the epoch at any time before, and then that one counts.
        if let Some(there) = self.follower.replica.sealed(passage.epoch).await? {
            let same = there == passage.record;
            return Ok(Some(if same { Outcome::Done } else { Outcome::Conflict }));
        }
        passage.recall(&self.follower.wire, &self.follower.network).await?;
        let mut group = self.next_group().await?;
        passage.add_to(&mut group);
        let message = group.encode(&self.follower.network)?;
        self.follower.replica.sealing = Some(passage.known());
        let put = self.write(&message, Instant::now() + PATIENCE).await;
        self.follower.replica.sealing = None;
        put?.into_iter().for_each(|sequence| passage.placed(sequence));
        Ok(None)
    }

    async fn next_group(&mut self) -> Result<Group> {
        self.messages += 1;
        let id = format!("{}.{}", self.name, self.messages);
        let group = self.follower.replica.group(id).await?;
        self.follower.tie(group).await
    }

    /// Puts a message into the stream and the view, and says where; nothing when another one came first.
    async fn write(&mut self, message: &Bytes, deadline: Instant) -> Result<Option<u64>> {
        let last = self.follower.replica.applied;
        loop {
            if self.server != self.follower.wire.server() {
                // A server that has just started may have lost something: what was planned before may be there, or
                // waits like all else until others have come.
                self.follower.verify_end().await?;
                return self.follower.level(Some(message)).await;
            }
            match self.follower.wire.publish(last, message).await {
                Published::At(sequence) if sequence == last + 1 && self.follower.is_compared() => {
                    let counts = self.follower.take_own(sequence, message.clone()).await?;
                    self.won = true;
                    return Ok(counts.then_some(sequence));
                }
                // A server that lost messages counts anew; what is there now is compared.
                Published::At(_) | Published::Elsewhere => {
                    if !self.follower.is_compared() {
                        self.follower.verify_end().await?;
                    }
                    let found = self.follower.level(Some(message)).await?;
                    self.note_others(last);
                    return Ok(found);
                }
                Published::Unknown(error) => {
                    warn!(%error, "no answer to a message; asking again");
                    in_time(deadline)?;
                    // The same message with the same expectation goes in once, however often it is sent.
                    sleep(PAUSE).await;
                    if self.connections != self.follower.wire.connections() {
                        self.follower.verify_end().await?;
                        if self.follower.replica.applied != last {
                            return self.follower.level(Some(message)).await;
                        }
                    }
                }
            }
        }
    }

    /// Waits while those who hold what a server lost may come first, and follows what they give back; says whether
    /// there was anything to wait for.
    async fn keep_quiet(&mut self, deadline: Instant) -> Result<bool> {
        let mut waited = false;
        while self.quiet_until > Instant::now() {
            in_time(deadline)?;
            let next = later(LOOK).min(deadline).min(self.quiet_until);
            sleep_until(next).await;
            self.follower.level(None).await?;
            self.tell();
            waited = true;
        }
        Ok(waited)
    }

    /// Lets others come first now and then.
    async fn take_turn(&mut self) {
        let company = self.others.is_some_and(|seen| seen.elapsed() < COMPANY);
        if std::mem::take(&mut self.won) && company {
            sleep(TURN).await;
        }
    }

    fn note_others(&mut self, before: u64) {
        if self.follower.replica.applied > before {
            self.others = Some(Instant::now());
        }
    }

    /// Judges the jobs in their order, as far as they fit into one message.
    async fn plan(&mut self, waiting: &[Waiting]) -> Result<Plan> {
        let (group, most) = (self.next_group().await?, self.follower.most());
        let mut plan = Plan { group, outcomes: Vec::with_capacity(waiting.len()), gap: false };
        let (mut planned, mut weight) = (Planned::default(), 0);
        for job in waiting {
            let size = job.request.weight();
            if size > most {
                plan.outcomes.push(Outcome::TooLarge);
                continue;
            }
            if weight + size > most {
                break;
            }
            let outcome = self.judge(&job.request, &mut plan, &mut planned).await?;
            weight += size;
            plan.outcomes.push(outcome);
        }
        Ok(plan)
    }

    async fn judge(
        &self,
        request: &Request,
        plan: &mut Plan,
        planned: &mut Planned,
    ) -> Result<Outcome> {
        let group = &mut plan.group;
        match request {
            Request::Level => Ok(Outcome::Done),
            Request::Refuse(record) => {
                group.refusals.push(record.clone());
                Ok(Outcome::Done)
            }
            Request::Seal(epoch, record, _) => {
                let among = group.seals.iter().find(|(sealed, _)| sealed == epoch);
                let there = match among {
                    Some((_, there)) => Some(there.clone()),
                    None => self.follower.replica.sealed(*epoch).await?,
                };
                Ok(match there {
                    Some(there) if there == *record => Outcome::Done,
                    Some(_) => Outcome::Conflict,
                    None => {
                        group.seals.push((*epoch, record.clone()));
                        Outcome::Done
                    }
                })
            }
            Request::Append(new) => {
                let index = group.end().batches;
                let verdict = match self.follower.replica.judge(planned, index, new).await {
                    Err(error) if error.kind() == ErrorKind::Malformed => {
                        return Ok(Outcome::Malformed(error.message().to_owned()));
                    }
                    verdict => verdict?,
                };
                plan.gap |= matches!(verdict, Some(Append::Gap(_)));
                Ok(Outcome::Append(verdict.unwrap_or_else(|| {
                    group.batches.push((**new).clone());
                    Append::Stored(index)
                })))
            }
        }
    }
}

impl Request {
    fn weight(&self) -> usize {
        match self {
            Self::Append(new) => batch_weight(new),
            Self::Refuse(record) => refusal_weight(record),
            Self::Seal(_, record, _) => seal_weight(record),
            Self::Level => 0,
        }
    }
}

fn answer(job: Waiting, result: Result<Outcome>) {
    tell(job.reply, result);
}

fn tell(reply: Reply, result: Result<Outcome>) {
    // Whoever asked may have stopped waiting.
    let _ = reply.send(result);
}

/// So much later, or in the far future.
fn later(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + Duration::from_secs(u32::MAX.into()))
}

fn in_time(deadline: Instant) -> Result<()> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(Error::unavailable("the stream did not take the records in time; send them again"))
}

fn same(error: &Error) -> Error {
    Error::new(error.kind(), error.message().to_owned()).with("cause", error)
}
