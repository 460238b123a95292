//! Bundles that `opa` builds and signs before our verifier, and ours before `opa`.

use std::path::Path;
use std::process::Command;

use witgate::policy::{Algorithm, KeySettings, Policy, Settings};

use crate::{program, run, succeed, witgate};

const ALGORITHMS: [(Algorithm, &[&str]); 5] = [
    (Algorithm::Es256, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
    (Algorithm::Es384, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]),
    (Algorithm::Rs256, &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    (Algorithm::Ps256, &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
    (Algorithm::EdDsa, &["-algorithm", "ED25519"]),
];

/// Numbers, escapes and line ends that a careless canonical form would change.
const DATA: &str = "{\"witgate\": {\"grants\": []}, \"own\": {\"z\": 1.50, \"a\": 1e3, \"n\": -0.0, \"s\": \"<é> & \\u2028 \\b \\\" \\/\", \"b\": [true, null]}}";

fn opa(folder: &Path) -> Command {
    let mut command = Command::new(program("WITGATE_INTEROP_OPA"));
    command.current_dir(folder);
    command
}

/// A folder `team` with a bundle's files, and `key.pem` with `key.pub`.
fn team(options: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let team = folder.path().join("team");
    std::fs::create_dir_all(team.join("lib")).unwrap();
    let manifest = r#"{"revision":"r1","roots":["witgate","own","lib"],"metadata":{"witgate":{"sequence":7}}}"#;
    std::fs::write(team.join(".manifest"), manifest).unwrap();
    std::fs::write(team.join("data.json"), DATA).unwrap();
    std::fs::write(team.join("lib/data.json"), "{\"open\":\n true}").unwrap();
    let rules = "package witgate.admission\n\ndefault admit := false\n\nadmit if data.lib.open\n";
    std::fs::write(team.join("admission.rego"), rules).unwrap();
    key(folder.path(), "key", options);
    folder
}

fn key(folder: &Path, name: &str, options: &[&str]) {
    let (private, public) = (format!("{name}.pem"), format!("{name}.pub"));
    succeed(Command::new("openssl").current_dir(folder).arg("genpkey").args(options).args(["-out", &private]));
    succeed(Command::new("openssl").current_dir(folder).args(["pkey", "-in", &private, "-pubout", "-out", &public]));
}

fn load(folder: &Path, bundle: &str, key: &str, algorithm: Algorithm) -> Result<Policy, String> {
    let key = KeySettings { file: folder.join(key), algorithm, scope: String::new() };
    let keys = [("default".to_owned(), key)].into();
    let settings = Settings { dir: Some(folder.join(bundle)), keys, ..Settings::default() };
    Policy::load(&settings).map_err(|error| error.to_string())
}

#[test]
fn what_opa_builds_and_signs_is_loaded() {
    for (algorithm, options) in ALGORITHMS {
        let folder = team(options);
        let at = folder.path();
        let signing = ["--signing-key", "../key.pem", "--signing-alg", algorithm.as_str()];
        succeed(opa(&at.join("team")).args(["build", "-b", ".", "-o", "../built.tar.gz"]).args(signing));
        let built =
            load(at, "built.tar.gz", "key.pub", algorithm).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        assert_eq!(built.facts().revision, "r1");
        // The folder as it is, with every file in its own form.
        succeed(opa(&at.join("team")).args(["sign", "-b", "."]).args(signing));
        load(at, "team", "key.pub", algorithm).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        key(at, "other", options);
        assert!(load(at, "built.tar.gz", "other.pub", algorithm).unwrap_err().contains("expected a signature by"));
        std::fs::write(at.join("team/lib/data.json"), "{\"open\": false}").unwrap();
        assert!(
            load(at, "team", "key.pub", algorithm).unwrap_err().starts_with("`lib/data.json`: expected the content")
        );
    }
}

#[test]
fn what_we_make_and_sign_is_verified_by_opa() {
    for (algorithm, options) in ALGORITHMS {
        let folder = team(options);
        let at = folder.path();
        succeed(witgate(at).args(["policy", "bundle", "team", "-o", "ours.tar.gz"]));
        let key_options = ["--key", "key.pem", "--key-id", "default", "--alg", algorithm.as_str()];
        succeed(witgate(at).args(["policy", "sign", "ours.tar.gz"]).args(key_options));
        load(at, "ours.tar.gz", "key.pub", algorithm).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        let verify = |key: &str| {
            let mut command = opa(at);
            command.args(["build", "-b", "ours.tar.gz", "-o", "verified.tar.gz", "--signing-alg", algorithm.as_str()]);
            command.args(["--verification-key", key]);
            command
        };
        succeed(&mut verify("key.pub"));
        key(at, "other", options);
        let refused = run(&mut verify("other.pub"));
        assert!(!refused.status.success(), "opa took another's key for {algorithm}");
        let admit = ["eval", "-b", "verified.tar.gz", "--format", "raw", "data.witgate.admission.admit"];
        assert_eq!(succeed(opa(at).args(admit)).trim(), "true");
        let data = [
            "eval",
            "-b",
            "verified.tar.gz",
            "--format",
            "json",
            "data.own == {\"z\": 1.5, \"a\": 1000, \"n\": 0, \"s\": \"<é> & \\u2028 \\b \\\" /\", \"b\": [true, null]}",
        ];
        assert!(succeed(opa(at).args(data)).contains("\"value\": true"), "data changed on the way");
    }
}
