//! Why a policy was not loaded.

use std::path::PathBuf;

use super::bundle::{BundleFault, SourceFault};
use crate::strict_json::StrictJsonError;

/// A policy that is not taken; the one before it stays in force.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder without a single policy file.
    #[error("no `*.rego` file in `{}`", dir.display())]
    NoPolicies {
        /// The folder.
        dir: PathBuf,
    },
    /// A file's name is not UTF-8, or two files have one name.
    #[error("file name `{name}` cannot be used")]
    Name {
        /// The name, as far as it can be shown.
        name: String,
    },
    /// More than a named limit.
    #[error("{what} is {found}, at most {limit} are read")]
    Limit {
        /// What is too much: ``size of `a.rego` in bytes``.
        what: String,
        /// How much there is.
        found: usize,
        /// How much is taken.
        limit: usize,
    },
    /// A policy names something that reaches outside the case, or that cannot be bounded.
    #[error("{name}:{line}:{column}: policies may not use `{function}`")]
    Forbidden {
        /// The file.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// The built-in function.
        function: String,
    },
    /// A policy reaches a built-in function that is not on the list of `engine.rs`.
    #[error("policies may not use `{function}`")]
    FunctionNotListed {
        /// The built-in function.
        function: String,
    },
    /// Rules that call each other in a circle, which no evaluation can leave.
    #[error("rule calls itself: {}", chain.join(" -> "))]
    Recursion {
        /// The rules of the circle, the first again at the end.
        chain: Vec<String>,
    },
    /// Rules that call each other too deep for the evaluator's stack.
    #[error("rule `{rule}` stands above {depth} levels of rules, at most {limit} are taken")]
    TooDeep {
        /// The rule on top.
        rule: String,
        /// Its depth.
        depth: usize,
        /// The limit.
        limit: usize,
    },
    /// The compiler's report: `file:line:column`, the line, a caret.
    #[error("policy does not compile{report}")]
    Compile {
        /// The report, beginning with a line feed.
        report: String,
    },
    /// A rule of the contract is not of the kind the gateway reads.
    #[error("rule `data.witgate.admission.{rule}` is {found}, expected {expected}")]
    RuleKind {
        /// `refuse`, `warn` or `admit`.
        rule: &'static str,
        /// What it is.
        found: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A data file is no JSON that can be read in one way only.
    #[error("cannot read the data of `{name}`")]
    Json {
        /// The file.
        name: String,
        /// Where and why.
        source: StrictJsonError,
    },
    /// A data file is no YAML that can be read in one way only.
    #[error("{name}:{line}:{column}: {detail}")]
    Yaml {
        /// The file.
        name: String,
        /// The line, from 1; 0 where none can be told.
        line: u64,
        /// The column, from 1; 0 where none can be told.
        column: u64,
        /// What was expected and found.
        detail: String,
    },
    /// A data document says something that no rule reads, or that can match nobody by mistake.
    #[error("{name}: `{at}`: {detail}")]
    Data {
        /// The file, or `data` once the files are merged.
        name: String,
        /// The place: `witgate.grants[2].imports[0]`.
        at: String,
        /// What was expected and found.
        detail: String,
    },
    /// A bundle in OPA's format that is not one, or not ours.
    #[error(transparent)]
    Bundle(#[from] BundleFault),
    /// The server that bundles come from.
    #[error(transparent)]
    Source(#[from] SourceFault),
    /// An older release than one that was in force already.
    #[error("expected a bundle with the sequence {highest} or a later one, as was activated before, found {found}")]
    Rollback {
        /// The sequence that was found, or what about it.
        found: String,
        /// The highest that was ever in force.
        highest: u64,
    },
    /// What was kept of the last activation cannot be used.
    #[error("`{}`: {detail}", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// What was expected and found.
        detail: &'static str,
    },
    /// The last activation cannot be kept.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl LoadError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::NoPolicies { .. } => {
                "name a bundle, or a folder with `*.rego` files and a folder `data`, or leave `policy.dir` out for the embedded policy"
            }
            Self::Forbidden { .. } | Self::FunctionNotListed { .. } => {
                "a decision looks at the case and at data only; the time is `input.time`"
            }
            Self::Json { .. } | Self::Yaml { .. } | Self::Data { .. } => {
                "the shape of the data is in `policies/README.md`"
            }
            Self::Bundle(fault) => fault.hint(),
            Self::Source(_) => "how bundles are fetched is in `docs/policy-bundles.md`",
            Self::Rollback { .. } => {
                "make the release anew with a higher `--sequence`; to go back on purpose, remove the folder `policy` of the data folder"
            }
            Self::Kept { .. } | Self::Write { .. } => {
                "look at the folder `policy` of the data folder; without it the next bundle is the first one"
            }
            _ => "see every fault with `witgate policy check DIR`",
        }
    }
}
