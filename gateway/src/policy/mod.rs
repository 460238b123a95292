//! May it run here: the floor in Rust, the policy in Rego.

mod decision;

pub use decision::{Decision, Grant, Verdict};
