//! Behaviour, told as stories in a world of real peers.

mod admission;
mod crowd;
mod outage;
mod outage_elsewhere;
