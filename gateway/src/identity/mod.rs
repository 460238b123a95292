//! Who asks: TLS peers, and tokens that requests show, become [`Caller`]s.

mod caller;
mod callers;
mod file_set;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod own_token;
mod pattern;
mod presented;
mod settings;
mod settled;
mod source;
#[cfg(test)]
#[cfg(feature = "dev")]
mod tests;
mod token;
mod trust;
pub(crate) mod workload_api;

pub use caller::Caller;
pub use file_set::FileFault;
pub(crate) use file_set::{Links, certificates, not_open, read_file};
pub use own_token::{OWN_TOKEN_TIMEOUT_MS, own_token};
pub use pattern::{PATTERN_SIZE_BYTES, PatternError, SpiffeIdPattern};
pub use presented::{AUTHORIZATION_SIZE_BYTES, Presented};
pub use settings::{FileSettings, SYNC_TIMEOUT_MS, Settings, StartError};
pub(crate) use settled::{Pace, settled};
pub use source::Identity;
pub use token::{JwtSvidSettings, KeyFileFault, OidcSettings, TokenFault, Tokens};
pub use trust::{Trust, Unproven};
