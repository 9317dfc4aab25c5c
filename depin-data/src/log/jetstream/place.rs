//! Where the workers of a name are in the stream, across starts of a server that may have lost its end.
//!
//! A consumer of the server knows messages by their numbers. A server that lost the end of a stream gives these
//! numbers anew, and a consumer that had them passes over what now bears them. So each start of a server has a consumer
//! of its own. It goes on where the one before ended, or at the first message that a later server took, whichever
//! comes first: what is given out twice is known by its index, what is never given out is known to nobody.

use std::fmt;

use async_nats::{
    Client,
    jetstream::{
        consumer::{AckPolicy, Consumer, DeliverPolicy, Info, pull},
        stream::Stream,
    },
};
use depin_core::{B256, Error, NetworkId, Result};
use futures_util::TryStreamExt;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    follower::hash,
    group::Group,
    wire::{failed, is_by, message},
    work::WorkOptions,
    writer::{PATIENCE, PAUSE},
};

/// Stands between the name of the workers, which cannot have it, and that of the server.
const AT: char = '@';

pub(super) struct Place {
    pub(super) client: Client,
    pub(super) stream: Stream,
    pub(super) name: String,
    pub(super) network: NetworkId,
    pub(super) options: WorkOptions,
}

/// What a consumer began with, which it keeps in its description.
struct Origin {
    /// The last message of the stream.
    last: u64,
    hash: B256,
}

impl Place {
    /// The server's name for itself, another one after every start. Servers of a cluster lose nothing alone, and
    /// which of them we speak to says nothing.
    pub(super) fn server(&self) -> String {
        match self.is_in_cluster() {
            true => "cluster".to_owned(),
            false => self.client.server_info().server_id,
        }
    }

    pub(super) fn is_in_cluster(&self) -> bool {
        self.stream.cached_info().config.num_replicas > 1
    }

    /// The server and its consumer, which is made when it is not there. A worker that had one before is `living`: what
    /// it was given is gone with a consumer that is nowhere any more, so all is given out again.
    pub(super) async fn find(&self, living: bool) -> Result<(String, Consumer<pull::Config>)> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let server = self.server();
            match self.consumer(&server, living).await {
                Err(error) if error.is_retryable() && Instant::now() < deadline => {
                    debug!(%error, "workers find no place in the stream yet; asking again");
                    sleep(PAUSE).await;
                }
                found => return Ok((server, found?)),
            }
        }
    }

    async fn consumer(&self, server: &str, living: bool) -> Result<Consumer<pull::Config>> {
        let name = format!("{}{AT}{server}", self.name);
        if let Ok(consumer) = self.stream.get_consumer(&name).await {
            return Ok(consumer);
        }
        let mut earlier = self.earlier(&name).await?;
        earlier.sort_by_key(|info| info.created);
        let last = self.stream.get_info().await.map_err(failed)?.state.last_sequence;
        let start = match earlier.pop() {
            Some(info) => self.goes_on(&info, last).await?,
            None if self.options.only_new && !living => last.saturating_add(1),
            None => 1,
        };
        let origin = Origin { last, hash: self.hash(last).await?.unwrap_or(B256::ZERO) };
        self.ensure_same(server)?;
        let made = self.stream.create_consumer(self.config(&name, start, &origin)).await;
        // Another worker may have made it meanwhile.
        let consumer = match made {
            Ok(consumer) => consumer,
            Err(_) => self.stream.get_consumer(&name).await.map_err(unanswered)?,
        };
        self.ensure_same(server)?;
        // The last one before stays, in case that the server loses the new one too.
        for info in earlier {
            // One that cannot be deleted does no harm: the newest counts.
            let _ = self.stream.delete_consumer(&info.name).await;
        }
        Ok(consumer)
    }

    /// What was read of one start of a server says nothing about the next.
    fn ensure_same(&self, server: &str) -> Result<()> {
        let why =
            "the nats server has started anew while workers looked for their place; try again";
        if self.server() == server { Ok(()) } else { Err(Error::unavailable(why)) }
    }

    fn config(&self, name: &str, start_sequence: u64, origin: &Origin) -> pull::Config {
        pull::Config {
            durable_name: Some(name.to_owned()),
            description: Some(origin.to_string()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.options.patience,
            max_ack_pending: i64::from(self.options.pending.max(1)),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            ..pull::Config::default()
        }
    }

    /// The consumers of other starts.
    async fn earlier(&self, name: &str) -> Result<Vec<Info>> {
        let all: Vec<Info> = self.stream.consumers().try_collect().await.map_err(failed)?;
        let of = |info: &Info| info.name.rsplit_once(AT).map(|(name, _)| name.to_owned());
        Ok(all
            .into_iter()
            .filter(|info| info.name != name && of(info).is_some_and(|of| of == self.name))
            .collect())
    }

    /// Where the next consumer of a name begins.
    async fn goes_on(&self, before: &Info, last: u64) -> Result<u64> {
        let server = before.name.rsplit_once(AT).map_or("", |(_, server)| server);
        let Some(origin) = before.config.description.as_deref().and_then(Origin::parse) else {
            return Ok(1);
        };
        let is_there = self.hash(origin.last).await?.unwrap_or(B256::ZERO) == origin.hash;
        if origin.last > last || !is_there {
            // More is lost than what came since: nobody knows where that begins.
            return Ok(1);
        }
        // A consumer of which nothing was acknowledged says 0.
        let done = before.ack_floor.stream_sequence.max(start(before).saturating_sub(1)).min(last);
        if done <= origin.last || self.took(done, server).await? {
            return Ok(done.saturating_add(1));
        }
        // The messages that it took lie before those of later servers.
        let (mut its, mut later) = (origin.last, done);
        while later - its > 1 {
            let middle = its + (later - its) / 2;
            match self.took(middle, server).await? {
                true => its = middle,
                false => later = middle,
            }
        }
        Ok(later)
    }

    /// Whether the message is there since this start of a server. One that was sent before the start of another and
    /// came after it lies in no place of the log.
    async fn took(&self, sequence: u64, server: &str) -> Result<bool> {
        let Some(message) = message(&self.stream, sequence).await? else { return Ok(false) };
        if !is_by(&message, server) {
            return Ok(false);
        }
        let before = self.hash(sequence.saturating_sub(1)).await?;
        let group = Group::decode(&message.payload, &self.network);
        Ok(group.is_ok_and(|group| group.follows(before)))
    }

    async fn hash(&self, sequence: u64) -> Result<Option<B256>> {
        let message = match sequence {
            0 => None,
            _ => message(&self.stream, sequence).await?,
        };
        Ok(message.map(|message| hash(&message.payload)))
    }
}

/// The first message that a consumer gave out.
const fn start(info: &Info) -> u64 {
    match info.config.deliver_policy {
        DeliverPolicy::ByStartSequence { start_sequence } => start_sequence,
        _ => 1,
    }
}

fn unanswered(error: async_nats::Error) -> Error {
    Error::unavailable("the nats server does not show the place of the workers; try again")
        .with("cause", error)
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.last, self.hash)
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (last, hash) = text.split_once(' ')?;
        Some(Self { last: last.parse().ok()?, hash: hash.parse().ok()? })
    }
}
