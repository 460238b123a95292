//! How much of a component is read, with the measurement each limit comes from.

use std::time::Duration;

/// The largest component, in bytes: 256 MiB, as much as the registry stage fetches.
pub const MAX_BYTES: u64 = 256 << 20;
/// Components one inside the other, the outermost counted: 16. A composition of compositions has 3.
pub const MAX_NESTING: usize = 16;
/// Sections in the whole file, function bodies not counted: 10,000. The shape to stop is a million empty
/// ones in 4 MB.
pub const MAX_SECTIONS: usize = 10_000;
/// Outermost imports and exports together: 1,000. A command that is an HTTP proxy too imports 29 interfaces.
pub const MAX_EXTERNS: usize = 1_000;
/// Names in one import or export section of a nested component: 10,000.
pub const MAX_NESTED_EXTERNS: usize = 10_000;
/// Custom sections of components (those of core modules hold debug information and are stepped over), in bytes: 4 MiB.
pub const MAX_CUSTOM_BYTES: u64 = 4 << 20;
/// One section of types, imports, exports or instances of a component, in bytes: 1 MiB. A component that
/// imports all of WASI 0.2 is 58 KB as a whole.
pub const MAX_COMPONENT_SECTION_BYTES: u64 = 1 << 20;
/// One section of a core module other than code, data and custom sections, in bytes: 8 MiB. It is validated as a
/// whole, past the budget if need be: the worst shape found, one group of 990,000 types, took 3.5 s.
pub const MAX_CORE_SECTION_BYTES: u64 = 8 << 20;
/// One name of a surface, in bytes: 1 KiB. The longest in WASI 0.2 has 58.
pub const MAX_NAME_BYTES: usize = 1 << 10;
/// The names and items of a surface together, in bytes: 256 KiB. All of WASI 0.2 takes under 11 KiB.
pub const MAX_LISTING_BYTES: usize = 256 << 10;
/// How long one component may be read: 2 s of wall time. 18 MB take 11 ms; 121 KB of hostile instantiations would take 43 s.
pub const BUDGET: Duration = Duration::from_secs(2);
/// How long a component may wait until a reader is free: 10 s, five readings that use up their budget.
pub const MAX_WAIT: Duration = Duration::from_secs(10);
/// The stack of the thread that reads, in bytes: 16 MiB; nesting that the limits above allow fits it many times over.
pub const STACK_BYTES: usize = 16 << 20;
