//! What we said: the tamper-evident log.

mod receipt;
pub mod tlog;

pub use receipt::Receipt;
