//! Behaviour, told as stories in a world of real peers.

#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test that cannot go on has failed")]

mod admission;
mod artifact_kinds;
mod attestations;
mod audit;
mod bad_input;
mod cases;
mod crowd;
mod door;
mod host;
mod identity;
mod index;
mod keys;
mod legacy;
mod outage;
mod outage_elsewhere;
mod pull;
mod pull_ahead;
mod pull_crowd;
mod pull_errors;
mod pull_grants;
mod pull_lists;
mod replay;
mod rollout;
mod ticket;
mod tokens;
mod trust;
mod wascap;
