//! cosign: what it signs before our verifier, and what the embedded Sigstore signs before its own.

mod keyless;
mod keys;
mod logged;
mod signs;
mod verifies;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::openssl::{self, Kind};
use crate::{program, run, succeed};

/// cosign with an environment of its own, working in `folder`, where its keys have the password of [`PASSWORD`].
pub(crate) fn cosign(folder: &Path) -> Command {
    let mut command = Command::new(program("WITGATE_INTEROP_COSIGN"));
    command.current_dir(folder).env_clear().env("HOME", folder).env("COSIGN_PASSWORD", PASSWORD);
    command
}

/// Makes `NAME.key` and `NAME.pub`; gives the public one.
fn generate(folder: &Path, name: &str) -> PathBuf {
    succeed(cosign(folder).args(["generate-key-pair", "--output-key-prefix", name]));
    folder.join(format!("{name}.pub"))
}

/// Makes a key with openssl and imports it as `NAME.key` and `NAME.pub`; gives the public one.
fn import(folder: &Path, kind: Kind, name: &str) -> PathBuf {
    openssl::generate(folder, kind);
    let private = format!("{}.pem", kind.name());
    succeed(cosign(folder).args(["import-key-pair", "--yes", "--key", &private, "--output-key-prefix", name]));
    folder.join(format!("{name}.pub"))
}

/// Holds that cosign refuses, whichever of its exit codes it has for that, and says `why`.
fn refused(command: &mut Command, why: &str) {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let refused = output.status.code().is_some_and(|code| code != 0) && stderr.contains(why);
    assert!(refused, "expected a refusal with `{why}`: {command:?}: {}\n{stderr}", output.status);
}

/// The password of every key.
const PASSWORD: &str = "correct horse battery staple";
