//! Key files of cosign, read by `witgate key show`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{PASSWORD, cosign, generate, import};
use crate::openssl::Kind;
use crate::{run, succeed, witgate};

fn show(folder: &Path, file: &str, password: &str) -> Command {
    let mut command = witgate(folder);
    command.env("COSIGN_PASSWORD", password).args(["key", "show", file, "--output", "json"]);
    command
}

#[test]
fn the_public_half_is_the_one_that_cosign_tells() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    generate(folder, "made");
    for kind in Kind::ALL {
        import(folder, kind, &format!("imported-{}", kind.name()));
    }
    // The label that cosign wrote until 2.0.
    let text = std::fs::read_to_string(folder.join("made.key")).unwrap();
    std::fs::write(folder.join("old.key"), text.replace("ENCRYPTED SIGSTORE", "ENCRYPTED COSIGN")).unwrap();

    let imported = Kind::ALL.map(|kind| format!("imported-{}.key", kind.name()));
    for file in ["made.key", "old.key"].into_iter().chain(imported.iter().map(String::as_str)) {
        let shown: Value = serde_json::from_str(&succeed(&mut show(folder, file, PASSWORD))).unwrap();
        let told = succeed(cosign(folder).args(["public-key", "--key", file]));
        assert_eq!(shown["public_key"], told, "{file}");

        let wrong = run(&mut show(folder, file, "another password"));
        assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0), "{file}");
    }
    // What openssl wrote, and cosign imported.
    for kind in Kind::ALL {
        let shown = |file: String| succeed(&mut show(folder, &file, PASSWORD));
        let imported = shown(format!("imported-{}.key", kind.name()));
        assert_eq!(shown(format!("{}.pem", kind.name())), imported);
        assert_eq!(shown(format!("{}.pub", kind.name())), imported);
    }
}
