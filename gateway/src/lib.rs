//! witgate: a policy and supply-chain gateway for WebAssembly components.
//!
//! Read `admission.rs` first: it is the path of one request.

pub mod admission;
pub mod audit;
pub mod case;
pub mod cli;
pub mod config;
pub mod credential;
#[cfg(feature = "dev")]
pub mod dev;
pub mod doors;
mod egress;
pub mod evidence;
pub mod gate;
pub mod handover;
pub mod identity;
pub mod nkey;
pub mod outage;
pub mod policy;
pub mod reason;
pub mod registry;
pub mod replay;
pub mod service;
pub use witgate_host_hook::strict_json;
pub mod surface;
pub mod telemetry;
pub mod tls;
