//! `witgate policy bundle` and `witgate policy sign`: the page about bundles, and what is refused.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use witgate::policy::{Algorithm, KeySettings, Policy, Settings};

use super::readme::shell_words;
use super::{run, stderr, stdout, witgate};

/// A folder with the shipped policies and a new key, whose private half is `release.pem`.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::os::unix::fs::symlink(root.join("policies"), home.path().join("policies")).unwrap();
    for name in ["release", "other"] {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        std::fs::write(home.path().join(format!("{name}.pem")), key.serialize_pem()).unwrap();
        std::fs::write(home.path().join(format!("{name}.pub")), key.public_key_pem()).unwrap();
    }
    home
}

fn here(home: &Path, arguments: &[&str]) -> Output {
    witgate(home).args(arguments).current_dir(home).output().unwrap()
}

fn load(home: &Path, key: &str) -> Result<String, String> {
    let key = KeySettings { file: home.join(key), algorithm: Algorithm::Es256, scope: String::new() };
    let keys = [("release".to_owned(), key)].into();
    let settings = Settings { dir: Some(home.join("bundle.tar.gz")), keys, ..Settings::default() };
    Policy::load(&settings).map(|policy| policy.facts().digest.to_string()).map_err(|error| error.to_string())
}

#[test]
fn the_page_works_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("docs/policy-bundles.md")).unwrap();
    let home = home();
    let mut said = String::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("$ witgate ")) {
        let words = shell_words(line);
        let output = here(home.path(), &words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(0), "`{line}`:\n{}{}", stdout(&output), stderr(&output));
        said.push_str(&stdout(&output));
    }
    let digest = load(home.path(), "release.pub").unwrap();
    assert!(said.matches(&digest).count() == 2, "made and checked are one policy, {digest}:\n{said}");
    assert!(said.contains("`bundle.tar.gz` is signed with ES256 as `release`"), "{said}");
    assert!(load(home.path(), "other.pub").unwrap_err().contains("expected a signature by `release`"));
    for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let file = home.path().join("witgate.toml");
        std::fs::write(&file, block).unwrap();
        let config = witgate::config::Config::load(Some(&file), [], Some(home.path()));
        config.unwrap_or_else(|error| panic!("{error}:\n{block}"));
    }
}

#[test]
fn the_same_folder_makes_the_same_bytes_and_says_so_to_programs() {
    let home = home();
    let make = |out: &str| {
        let output = here(home.path(), &["policy", "bundle", "-o", out, "--sequence", "3", "--output", "json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        (std::fs::read(home.path().join(out)).unwrap(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let ((one, said), (two, _)) = (make("one.tar.gz"), make("two.tar.gz"));
    assert_eq!(one, two);
    assert_eq!(said["sequence"], 3);
    assert!(said["policy"]["digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(said["files"].as_array().unwrap().iter().all(|file| !file.as_str().unwrap().ends_with("_test.rego")));
}

#[test]
fn what_is_no_bundle_or_no_key_is_told_and_nothing_is_written() {
    let home = home();
    let broken = home.path().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("a.rego"), "package witgate.admission\n\nadmit if\n").unwrap();
    let output = here(home.path(), &["policy", "bundle", "broken"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("a.rego:"), "{}", stderr(&output));
    assert!(!home.path().join("bundle.tar.gz").exists());
    std::fs::write(home.path().join("bundle.tar.gz"), "no archive").unwrap();
    let output = here(home.path(), &["policy", "sign", "bundle.tar.gz", "--key", "release.pem"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    insta::assert_snapshot!(stderr(&output), @r"
    witgate: error: expected a gzipped tar file, found other bytes
    witgate: hint: make the archive with `witgate policy bundle DIR -o bundle.tar.gz` or `opa build`
    ");
    assert_eq!(std::fs::read(home.path().join("bundle.tar.gz")).unwrap(), b"no archive");
    let output = here(home.path(), &["policy", "sign", "bundle.tar.gz", "--key", "release.pub"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    insta::assert_snapshot!(stderr(&output), @r"
    witgate: error: key `release.pub`: expected one private key in PEM, not encrypted, found no block `PRIVATE KEY`
    witgate: hint: name a private key in PEM, for instance one of `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`
    ");
    let output = run(home.path(), &["policy", "sign", "b", "--key", "k", "--alg", "HS256"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("expected `ES256`"), "{}", stderr(&output));
}
