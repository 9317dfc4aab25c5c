//! What the ways through a broker share: who waits for which answer, and who answers.

mod desk;
mod lanes;
mod shares;
mod waiting;

pub(crate) use desk::{Desk, Hours};
pub(crate) use lanes::Lanes;
#[cfg(feature = "mqtt")]
pub(crate) use lanes::Origin;
pub(crate) use waiting::{Patience, Waiting};
