//! A SPIFFE CA with its Workload API.

mod ca;
mod workload_api;

pub use ca::{Flaw, Leaf, SpiffeCa, Svid};
pub use workload_api::{Answer, Issued, TOKEN_LIFE, WorkloadApi};
