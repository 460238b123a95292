//! One file a subcommand.

pub mod log;

/// The form of what goes to stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For a person.
    Text,
    /// One JSON document.
    Json,
}
