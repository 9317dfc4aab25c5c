//! What the stations that are up to no good do, and what the network answers.

use anyhow::{Context, Result, bail};
use depin::{
    Answer, B256, Decimal, Did, Network, Quantity, Reading, Sequence, SignedBatch, Signer,
    core::transport::Transport,
    data::{batch::seal, http::HttpTransport},
    dec,
    hw::SimulatedPebble,
};

use crate::stations::{DAY, DAYS, Slice};

/// How a station behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Honest,
    Stuck,
    Hot,
    Repeats,
    FlipsByte,
    Forks,
    ClockAhead,
}

impl Role {
    /// The role of a station by number: the first stations after four honest ones each try one trick.
    pub fn of(number: usize) -> Self {
        let tricks =
            [Self::Stuck, Self::Hot, Self::Repeats, Self::FlipsByte, Self::Forks, Self::ClockAhead];
        number.checked_sub(4).and_then(|trick| tricks.get(trick).copied()).unwrap_or(Self::Honest)
    }

    /// The trick in words.
    pub fn story(self) -> &'static str {
        match self {
            Self::Honest => "measures",
            Self::Stuck => "its sensor repeats one value all day",
            Self::Hot => "reports 80 degrees every six hours",
            Self::Repeats => "sends a batch twice",
            Self::FlipsByte => "a byte of its batch flips on the way",
            Self::Forks => "signs other content for a number it used before",
            Self::ClockAhead => "its clock is two days ahead",
        }
    }

    /// Tampers with what the sensor says, before the device signs it.
    pub fn tamper(self, mut slice: Slice) -> Slice {
        for day in slice.days.iter_mut().filter(|_| matches!(self, Self::Stuck | Self::Hot)) {
            let frozen = day.iter().find(|reading| is_temperature(reading)).map(Reading::value);
            let mut hours = None;
            for reading in day.iter_mut().filter(|reading| is_temperature(reading)) {
                let quarter = reading.at().secs() % DAY.as_secs() / (6 * 3600);
                let value = match (self, frozen) {
                    (Self::Stuck, Some(value)) => value,
                    (Self::Hot, _) if hours.replace(quarter) != Some(quarter) => dec(80),
                    _ => reading.value(),
                };
                *reading = Reading::new(reading.quantity().clone(), value, reading.at());
            }
        }
        slice
    }
}

fn is_temperature(reading: &Reading) -> bool {
    reading.quantity().unit() == "Cel"
}

/// What came of one trick.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Who tried.
    pub did: Did,
    /// What it tried.
    pub story: &'static str,
    /// The network's code for it.
    pub code: String,
    /// The network's words.
    pub detail: String,
}

/// A station as an attacker has it: its key, and a line to ingest.
pub struct Attacker<'a> {
    /// The network that is attacked.
    pub network: &'a Network,
    /// The line to ingest.
    pub line: &'a HttpTransport,
    /// The device.
    pub pebble: &'a SimulatedPebble,
    /// Its DID.
    pub did: &'a Did,
}

impl Attacker<'_> {
    /// Tries the trick of a role that meets ingest, if it has one. `next` is what the station would send.
    pub async fn attack(&self, role: Role, next: &[Reading]) -> Result<Option<Outcome>> {
        let tip = self.network.log().tip(self.did).await?;
        let tip = tip.context("the station has sent nothing yet")?;
        let next_sequence = tip.sequence.next().context("a chain does not end")?;
        let batch = match role {
            Role::Repeats => self.stored_batch(tip.hash).await?,
            Role::FlipsByte => {
                let mut bytes = self.sealed(next_sequence, tip.hash, next)?.as_bytes().to_vec();
                *bytes.last_mut().context("a batch has bytes")? ^= 1;
                SignedBatch::new(bytes)
            }
            Role::Forks => self.sealed(Sequence::new(0), B256::ZERO, next)?,
            Role::ClockAhead => {
                let later = |reading: &Reading| {
                    let at = (0..DAYS).fold(reading.at(), |time, _| time.plus(DAY));
                    Reading::new(reading.quantity().clone(), reading.value(), at)
                };
                self.sealed(next_sequence, tip.hash, &next.iter().map(later).collect::<Vec<_>>())?
            }
            Role::Honest | Role::Stuck | Role::Hot => return Ok(None),
        };
        self.send(role.story(), &batch).await.map(Some)
    }

    /// Sends a reading as a device that nobody enrolled.
    pub async fn intrude(&self, at: depin::Timestamp) -> Result<Outcome> {
        let reading = Reading::new(Quantity::new("temperature", "Cel"), Decimal::from(20), at);
        let batch = self.sealed(Sequence::new(0), B256::ZERO, &[reading])?;
        self.send("nobody enrolled it", &batch).await
    }

    fn sealed(
        &self,
        sequence: Sequence,
        previous: B256,
        readings: &[Reading],
    ) -> Result<SignedBatch> {
        let signer = self.pebble.signer();
        Ok(seal(
            &*signer as &dyn Signer,
            self.did,
            self.network.id(),
            sequence,
            previous,
            readings,
        )?)
    }

    /// The bytes of a batch that this station sent before.
    async fn stored_batch(&self, hash: B256) -> Result<SignedBatch> {
        let size = self.network.log().head().await?.size;
        let entries = self.network.log().read(0, usize::try_from(size)?).await?;
        let own = entries.into_iter().find(|entry| entry.batch.hash() == hash);
        Ok(own.context("the log holds every tip")?.batch)
    }

    async fn send(&self, story: &'static str, batch: &SignedBatch) -> Result<Outcome> {
        let before = self.network.log().head().await?.size;
        let answer = self.line.send(batch).await?;
        let did = self.did.clone();
        match answer {
            Answer::Refusal(refusal) => {
                Ok(Outcome { did, story, code: refusal.code.to_string(), detail: refusal.detail })
            }
            Answer::Receipt(receipt) if receipt.index < before => {
                let detail = format!("stored before at index {}; counted once", receipt.index);
                Ok(Outcome { did, story, code: "duplicate".into(), detail })
            }
            Answer::Receipt(receipt) => {
                bail!("{did} {story} and got a receipt at index {}", receipt.index)
            }
        }
    }
}
