//! What a decision lets a host link, as it stands in the decision, in the ticket and in front of the linker.

use serde::{Deserialize, Serialize};

/// What may be linked, and within which limits.
///
/// ```json
/// {"imports":["wasi:cli/stdout@0.2.0"],"links":[],"config":[],"limits":{"memory_bytes":67108864,"fuel":1000000000,"timeout_ms":30000},"lifetime_s":3600}
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Import names, sorted, without duplicates; compared by [`crate::import_name::covers`].
    pub imports: Vec<String>,
    /// Links to other components, sorted.
    pub links: Vec<String>,
    /// Configuration handed to the component, sorted by key.
    pub config: Vec<ConfigEntry>,
    /// What it may use up.
    pub limits: Limits,
    /// How long a started workload may go on, in seconds.
    pub lifetime_s: u64,
}

/// One configuration value for `wasi:config/store`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigEntry {
    /// The key.
    pub key: String,
    /// The value; never a secret, for it is recorded.
    pub value: String,
}

/// What a workload may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Linear memory, in bytes.
    #[serde(default = "Limits::default_memory_bytes")]
    pub memory_bytes: u64,
    /// wasmtime fuel: about one unit an instruction.
    #[serde(default = "Limits::default_fuel")]
    pub fuel: u64,
    /// Wall time of one command or one request, in milliseconds.
    #[serde(default = "Limits::default_timeout_ms")]
    pub timeout_ms: u64,
}

impl Limits {
    /// Memory where policy says nothing: 64 MiB.
    pub const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;
    /// Fuel where policy says nothing: ten thousand million units, some seconds of work.
    pub const DEFAULT_FUEL: u64 = 10_000_000_000;
    /// Wall time where policy says nothing: 30 s.
    pub const DEFAULT_TIMEOUT_MS: u64 = 30_000;

    fn default_memory_bytes() -> u64 {
        Self::DEFAULT_MEMORY_BYTES
    }

    fn default_fuel() -> u64 {
        Self::DEFAULT_FUEL
    }

    fn default_timeout_ms() -> u64 {
        Self::DEFAULT_TIMEOUT_MS
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: Self::DEFAULT_MEMORY_BYTES,
            fuel: Self::DEFAULT_FUEL,
            timeout_ms: Self::DEFAULT_TIMEOUT_MS,
        }
    }
}
