//! Behaviour, told as stories in a world of real peers.

mod admission;
mod audit;
mod bad_input;
mod door;
mod identity;
mod ticket;
