//! What the ways through a broker share: who waits for which answer, and who answers.

mod answer;
mod lanes;
mod shares;
mod waiting;

pub(crate) use answer::answer;
pub(crate) use lanes::Lanes;
pub(crate) use waiting::{Patience, Waiting};
