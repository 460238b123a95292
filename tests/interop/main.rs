//! Other people's programs against ours; `run.sh` installs them and names them in the environment.

#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test that cannot go on has failed")]

mod component;
mod containerd;
mod cosign;
mod docker_registry;
mod door;
mod keyed;
mod log;
mod objects;
mod oidc;
mod opa;
mod openssl;
mod process;
mod pushed;
mod registry;
mod scene;
mod services;
mod sigstore_js;
mod sigstore_python;
mod wascap;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A program that `run.sh` made ready; its absence is a failure, never a test left out.
fn program(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set: run tests/interop/run.sh"));
    PathBuf::from(path)
}

/// A file of this folder.
fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(path)
}

/// The built `witgate`, with an environment of its own, working in `folder`.
fn witgate(folder: &Path) -> Command {
    let mut command = Command::new(program("WITGATE_INTEROP_WITGATE"));
    command.current_dir(folder).env_clear().env("HOME", folder).env("NO_COLOR", "1");
    command
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

/// Runs a program that must refuse, with exit 1, and say `why` on standard error.
fn refuse(command: &mut Command, why: &str) {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let refused = output.status.code() == Some(1) && stderr.contains(why);
    assert!(refused, "expected exit 1 and `{why}`: {command:?}: {}\n{stderr}", output.status);
}
