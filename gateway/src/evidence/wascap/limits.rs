//! How much of a token, and of what carries it, is read.

/// The largest token, in bytes: one with a provider's configuration schema; a usual one has 600.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;
/// The longest text in a token's claims, in bytes: what a case shows and a policy compares.
pub const TEXT_BYTES_MAX: usize = 1024;
/// How many tags, and how many of the old capabilities, a token may name.
pub const TAGS_MAX: usize = 64;
/// How deep a token's payload may be nested: as deep as a statement, for both stand in a case.
pub const PAYLOAD_DEPTH_MAX: usize = crate::evidence::limits::STATEMENT_DEPTH_MAX;
/// How many sections of a binary are looked at: as many as the surface stage reads.
pub const SECTIONS_MAX: usize = witgate_host_hook::surface::MAX_SECTIONS;
/// How deep binaries may be nested in the outermost: the surface stage's components, and a module in the last.
pub const DEPTH_MAX: usize = witgate_host_hook::surface::MAX_NESTING;
/// How many targets a provider archive may hold binaries for (wasmCloud published seven).
pub const TARGETS_MAX: usize = 32;
/// How many entries a provider archive may have: its token, its world, its targets.
pub const ENTRIES_MAX: usize = TARGETS_MAX + 2;
/// The largest entry of a provider archive, in bytes: a component's limit; the largest of wasmCloud's had 60 MiB.
pub const ENTRY_BYTES_MAX: u64 = 256 << 20;
/// What a provider archive may unpack to, in bytes; nothing of it but the token is kept.
pub const ARCHIVE_BYTES_MAX: u64 = 512 << 20;
/// How many bytes each packed byte of a provider archive may unpack to, past [`ARCHIVE_FREE_BYTES`]: deflate can do 1032,
/// executables do 2 to 5.
pub const ARCHIVE_RATIO_MAX: u64 = 100;
/// How many bytes a provider archive may unpack to whatever its size: a short archive is mostly padding.
pub const ARCHIVE_FREE_BYTES: u64 = 1 << 20;
