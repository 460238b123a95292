//! `witgate policy`: the page that leads from nothing to a policy in force, and what each command says.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use super::readme::shell_words;
use super::{stderr, stdout, witgate};

/// A folder with the shipped policies, a key, and a case that the page's policy admits.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::os::unix::fs::symlink(root.join("policies"), home.path().join("policies")).unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    std::fs::write(home.path().join("release.pem"), key.serialize_pem()).unwrap();
    std::fs::write(home.path().join("case.json"), case().to_string()).unwrap();
    home
}

fn case() -> Value {
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let shop = "spiffe://prod.example/ns/shop/cart";
    let signer = json!({"kind": "keyless", "issuer": "https://token.actions.githubusercontent.com", "claims": {},
        "san": {"kind": "uri", "value": "https://github.com/acme/cart/.github/workflows/release.yml@refs/tags/v1"}});
    json!({
        "version": "case/v1", "id": "01900000-0000-7000-8000-000000000000", "time": "2026-01-01T00:00:00Z",
        "scope": {"tenant": "default", "environment": "default"}, "mode": "enforce", "purpose": "admission",
        "caller": {"kind": "x509-svid", "id": shop, "trust_domain": "prod.example"}, "host": shop, "links": [],
        "reference": {"text": "ghcr.io/acme/cart:1.4", "upstream": "ghcr.io", "repository": "acme/cart", "tag": "1.4"},
        "artifact": {"digest": digest, "media_type": "application/vnd.oci.image.manifest.v1+json", "size_bytes": 8,
            "annotations": {}, "component": {"digest": digest, "size_bytes": 9, "media_type": "application/wasm"}, "defects": []},
        "evidence": {"trust": [], "looked_in": ["referrers-api"], "findings": [
            {"status": "verified", "source": {"via": "referrers-api", "name": "sha256:aa"}, "kind": "signature",
             "trust": "public", "signer": signer, "times": []}]},
        "surface": {"status": "component", "digest": digest, "exports": [], "imports": [
            {"name": "wasi:cli/stdout@0.2.3", "package": "wasi:cli", "interface": "stdout", "version": "0.2.3",
             "track": "wasi:cli/stdout@0.2", "kind": "instance", "items": []}]},
    })
}

fn here(home: &Path, arguments: &[&str]) -> Output {
    witgate(home).args(arguments).current_dir(home).output().unwrap()
}

fn said(home: &Path, code: i32, arguments: &[&str]) -> String {
    let output = here(home, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}:\n{}{}", stdout(&output), stderr(&output));
    stdout(&output) + &stderr(&output)
}

#[test]
fn the_page_works_as_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("docs/policies.md")).unwrap();
    let home = home();
    let mut ran = 0;
    for line in text.lines().filter_map(|line| line.strip_prefix("$ witgate ")) {
        let words = shell_words(line);
        let said = said(home.path(), 0, &words.iter().map(String::as_str).collect::<Vec<_>>());
        if line.starts_with("policy eval") {
            assert!(said.starts_with("admitted `ghcr.io/acme/cart:1.4`"), "{said}");
        }
        ran += 1;
    }
    assert!(ran >= 10, "{ran} commands");
    for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let file = home.path().join("witgate.toml");
        std::fs::write(&file, block).unwrap();
        let config = witgate::config::Config::load(Some(&file), [], Some(home.path()));
        config.unwrap_or_else(|error| panic!("{error}:\n{block}"));
    }
}

#[test]
fn coverage_is_a_number_for_all_and_for_each_file() {
    let home = home();
    let said = said(home.path(), 0, &["policy", "coverage", "policies", "--output", "json"]);
    let coverage: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(coverage.as_object().unwrap().keys().collect::<Vec<_>>(), ["files", "percent"]);
    assert!(coverage["percent"].as_f64().unwrap() >= 95.0, "{said}");
    let files = coverage["files"].as_array().unwrap();
    assert!(files.len() > 10 && files.iter().all(|file| file["percent"].is_number()), "{said}");
}

#[test]
fn what_fails_or_is_not_reached_is_exit_1_and_says_where() {
    let home = home();
    let own = home.path().join("own");
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("a.rego"), "package a\n\nx if input.good\n\ny if {\n\tinput.never\n\tinput.reached\n}\n")
        .unwrap();
    std::fs::write(
        own.join("a_test.rego"),
        "package a_test\n\nimport data.a\n\ntest_good if a.x with input as {\"good\": true}\n",
    )
    .unwrap();
    assert!(said(home.path(), 0, &["policy", "test", "own"]).contains("1 of 1 tests passed"));
    let below = said(home.path(), 1, &["policy", "test", "own", "--threshold", "90"]);
    assert!(below.contains("expected at least 90 %") && below.contains("witgate: hint: "), "{below}");
    assert!(said(home.path(), 1, &["policy", "coverage", "own", "--threshold", "90"]).contains("not reached: "));
    std::fs::write(own.join("b_test.rego"), "package b_test\n\ntest_bad if {\n\tx := 1\n\tx == 2\n}\n").unwrap();
    let failed = said(home.path(), 1, &["policy", "test", "own"]);
    assert!(
        failed.contains("FAIL  b_test.rego:3: data.b_test.test_bad\n      stopped at b_test.rego:5: x == 2\n"),
        "{failed}"
    );
    let xml = said(home.path(), 1, &["policy", "test", "own", "--format", "junit"]);
    assert!(xml.starts_with("<?xml") && xml.contains("failures=\"1\""), "{xml}");
}

#[test]
fn init_overwrites_nothing_and_bad_yaml_says_where() {
    let home = home();
    said(home.path(), 0, &["policy", "init", "start"]);
    let again = said(home.path(), 2, &["policy", "init", "start"]);
    assert!(again.contains("is there already, and nothing was written"), "{again}");
    std::fs::write(home.path().join("start/data/versions.yaml"), "witgate:\n  grants: [1\n").unwrap();
    let told = said(home.path(), 2, &["policy", "check", "--data", "start/data"]);
    assert!(told.contains("versions.yaml:") && told.contains("witgate: hint: "), "{told}");
    std::fs::write(home.path().join("start/data/versions.yaml"), "own: &x 1\n").unwrap();
    said(home.path(), 2, &["policy", "check", "--data", "start/data"]);
}
