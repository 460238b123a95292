//! May it run here: the floor in Rust, the policy in Rego.

mod answer;
mod bounds;
mod bundle;
mod check;
mod coverage;
mod data;
mod decide;
mod decision;
mod early;
mod engine;
mod eval;
#[cfg(test)]
mod exempted_tests;
mod floor;
mod identity_pattern;
mod import_patterns;
mod in_force;
mod kept;
mod load_error;
#[cfg(test)]
mod mutation_tests;
mod rules;
mod schema;
mod scrutiny;
mod test;
mod value;

pub use bundle::{
    Algorithm, AlgorithmUnknown, BundleFault, BundleSettings, Candidate, Fetched, HttpSource, KeyFault, KeySettings,
    Made, Making, Settings, SignatureFault, Signer, Source, SourceFault, make,
};
pub use check::{CheckReport, check};
pub use coverage::{Coverage, FileCoverage};
pub use decide::Policy;
pub use decision::{Decision, Grant, Verdict};
pub use eval::{EvalError, MAX_CASE_BYTES, eval, render};
pub use identity_pattern::{IdentityPattern, PatternError, SubjectKind, identity_pattern};
pub use in_force::{InForce, Next};
pub use kept::Kept;
pub use load_error::LoadError;
pub use rules::Rules;
pub use schema::case_schema;
pub use test::{Outcome, TestReport, TestResult, test};
