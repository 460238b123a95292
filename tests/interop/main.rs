//! Other people's programs against ours; `run.sh` installs them and names them in the environment.

#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test that cannot go on has failed")]

mod component;
mod log;
mod registry;
mod sigstore;

use std::path::PathBuf;
use std::process::{Command, Output};

/// A program that `run.sh` made ready; its absence is a failure, never a test left out.
fn program(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set: run tests/interop/run.sh"));
    PathBuf::from(path)
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a program that must end well; gives its standard output.
fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}
