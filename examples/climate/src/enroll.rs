//! Chapter 2: stations enroll, or come back after a restart.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use depin::{Address, Device, ErrorKind, core::keccak256, hw::SimulatedPebble};

use crate::{
    journey::{AT_ONCE, Journey},
    narrator::short,
    role::Role,
    stations::{self, Slice},
};

/// What a station is before it is enrolled.
#[derive(Clone)]
pub struct Plan {
    pub pebble: SimulatedPebble,
    pub role: Role,
    pub owner: Address,
    pub slice: Slice,
}

impl Plan {
    fn new(number: usize, slices: &[Slice]) -> Result<Self> {
        let role = Role::of(number);
        let slice = slices.get(number % slices.len()).context("there are slices")?;
        Ok(Self {
            pebble: SimulatedPebble::new(number as u64),
            role,
            owner: Address::from_word(keccak256(format!("climate owner {number}"))),
            slice: role.tamper(slice.clone()),
        })
    }
}

/// A station of the network.
pub struct Station {
    pub plan: Plan,
    pub device: Device,
}

impl Journey {
    /// Key, DID, evidence, appraisal, device token and account, for every station that lacks them.
    pub async fn enroll(&mut self, count: usize) -> Result<()> {
        self.narrator.chapter(&format!("2. {count} stations enroll"));
        let slices = stations::slices()?;
        let plans: Vec<Plan> =
            (0..count).map(|number| Plan::new(number, &slices)).collect::<Result<_>>()?;
        let progress = self.narrator.progress("enrolling", count);
        for group in plans.chunks(AT_ONCE) {
            let mut devices = self.devices(group).await?;
            for plan in group {
                let device = devices
                    .pop_front()
                    .context("every plan has its device")?
                    .over(self.line.clone());
                self.stations.push(Station { plan: plan.clone(), device });
            }
            progress.set_position(self.stations.len() as u64);
        }
        progress.finish_and_clear();
        self.show_stations(slices.len());
        Ok(())
    }

    /// The devices of some plans, in their order: known ones go on, the others enroll in one go.
    async fn devices(&self, plans: &[Plan]) -> Result<VecDeque<Device>> {
        let mut known = Vec::new();
        for plan in plans {
            known.push(match self.network.resume(plan.pebble.clone()).await {
                Ok(device) => Some(device),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error.into()),
            });
        }
        let strangers = plans.iter().zip(&known).filter(|(_, known)| known.is_none());
        let wishes: Vec<_> =
            strangers.map(|(plan, _)| (plan.pebble.clone().into(), plan.owner)).collect();
        let mut fresh = self.network.enroll_all(wishes).await?.into_iter();
        Ok(known.into_iter().filter_map(|device| device.or_else(|| fresh.next())).collect())
    }

    fn show_stations(&self, slices: usize) {
        let row = |station: &Station| {
            let account = station.device.account().map_or_else(|| "-".into(), short);
            let (owner, label) = (short(station.plan.owner), station.plan.slice.label.clone());
            vec![short(station.device.did()), label, owner, account]
        };
        let rows: Vec<_> = self.stations.iter().map(row).collect();
        self.narrator.table(&["station", "replays", "owner", "its account (ERC-6551)"], &rows);
        self.narrator.say("  measurements are real, shifted by whole days onto the same two days (see data/README.md)");
        if self.stations.len() > slices {
            self.narrator
                .say(&format!("  there are {slices} slices; later stations replay them again"));
        }
    }
}
