//! What we said: the tamper-evident log.

mod receipt;

pub use receipt::Receipt;
