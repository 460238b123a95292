//! One file a subcommand.

#[cfg(feature = "dev")]
pub mod dev_registry;
pub mod policy;
