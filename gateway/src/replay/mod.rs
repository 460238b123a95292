//! What another policy would say of the cases that were decided.
//!
//! A case holds everything that a decision looks at, so each is decided again without a network, by the one evaluator that
//! serves requests, and compared with what was recorded. Nothing is written.

mod compare;
mod decide;
mod lines;
mod report;
mod run;
mod stored;
mod tally;

pub use compare::{Change, Word, compare};
pub use decide::At;
pub use lines::MAX_LINE_BYTES;
pub use report::{Counts, GroupReport, NotReplayable, Report, SectionReport};
pub use run::{MAX_THREADS, Options, Progress, ReplayError, Source, replay};
pub use tally::{MAX_GROUPS, Section, Tally};
