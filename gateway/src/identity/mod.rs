//! Who asks: TLS peers become [`Caller`]s.

mod caller;
mod file_set;
mod files;
mod pattern;
mod settings;
mod source;
#[cfg(test)]
#[cfg(feature = "dev")]
mod tests;
mod trust;
pub(crate) mod workload_api;

pub use caller::Caller;
pub use file_set::FileFault;
pub use pattern::{PATTERN_SIZE_BYTES, PatternError, SpiffeIdPattern};
pub use settings::{FileSettings, SYNC_TIMEOUT_MS, Settings, StartError};
pub use source::Identity;
pub use trust::{Trust, Unproven};
