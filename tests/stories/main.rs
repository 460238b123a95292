//! Behaviour, told as stories in a world of real peers.

mod admission;
