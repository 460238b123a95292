//! The command line as its users meet it: the built binary, real processes, exit codes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod conformance;
mod credential;
mod demo;
mod doctor;
mod egress;
mod exits;
mod keys;
mod kill;
mod offline;
mod policies;
mod policy_bundles;
mod readme;
mod replay;
mod served;
mod telemetry;
mod verify;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The built `witgate`, with an environment of its own: nothing of the tester's configuration reaches it.
fn witgate(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_witgate"));
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("NO_COLOR", "1");
    if granted(home).exists() {
        command.env("WITGATE_POLICY__DATA", granted(home));
    }
    command
}

fn granted(home: &Path) -> PathBuf {
    home.join("granted")
}

/// Lets `local` ask for everything: what nobody signed is refused all the same, but not before it was fetched.
fn let_local_ask(home: &Path) {
    std::fs::create_dir(granted(home)).unwrap();
    let rule =
        r#"{"witgate":{"grants":[{"callers":["local"],"references":["*"],"imports":["wasi:cli/*","wasi:io/*"]}]}}"#;
    std::fs::write(granted(home).join("grants.json"), rule).unwrap();
}

/// Runs it to its end.
fn run(home: &Path, arguments: &[&str]) -> Output {
    witgate(home).args(arguments).output().expect("the built binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
