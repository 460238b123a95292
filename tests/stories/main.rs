//! Behaviour, told as stories in a world of real peers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admission;
mod crowd;
mod outage;
mod outage_elsewhere;
