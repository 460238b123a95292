//! A minimal host on wasmtime: looks at the bytes, decides on the imports, links what was granted, instantiates last.
//!
//! wasmtime stays in this folder.

pub mod cli;
mod command;
mod limits;
mod offered;
mod prepare;
mod serve;
mod store;

pub use command::{Ended, Outcome, Output};
pub use limits::{MAX_MEMORY_BYTES, MAX_OUTPUT_BYTES, MAX_TABLE_ELEMENTS, MAX_TIMEOUT_MS};
pub use offered::offered;
pub use prepare::{Host, HostError, NotPrepared, Prepared};
pub use serve::{MAX_CONNECTIONS, MAX_REQUEST_BYTES, Served, Serving};
