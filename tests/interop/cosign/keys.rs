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

    let shown = |file: &str| -> Value { serde_json::from_str(&succeed(&mut show(folder, file, PASSWORD))).unwrap() };
    let told = |file: &str| succeed(cosign(folder).args(["public-key", "--key", file]));
    for file in ["made.key", "old.key"] {
        assert_eq!(shown(file)["public_key"], told(file));
        let wrong = run(&mut show(folder, file, "another password"));
        assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0), "{file}");
    }
    for kind in Kind::ALL {
        let name = kind.name();
        let imported = format!("imported-{name}.key");
        let key = shown(&imported);
        assert_eq!(key["public_key"], told(&imported));
        // What openssl wrote, and cosign imported.
        assert_eq!(shown(&format!("{name}.pem")), key);
        assert_eq!(shown(&format!("{name}.pub")), key);
    }
}
