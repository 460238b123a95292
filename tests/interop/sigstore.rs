//! Bundles of the embedded Sigstore, judged by sigstore-python.

use std::path::Path;
use std::process::{Command, Output};

use bytes::Bytes;
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::sigstore::{Content, Knob, Log, SIGNED_AFTER_S, Sign, Sigstore};

use crate::{program, run};

const ARTIFACT: &[u8] = br#"{"schemaVersion":2}"#;

/// A deployment with an artifact, in a folder.
struct Scene {
    folder: tempfile::TempDir,
    sigstore: Sigstore,
    begin: Timestamp,
}

impl Scene {
    fn new() -> Self {
        witgate_tests::provider();
        let folder = tempfile::tempdir().unwrap();
        let begin = Timestamp::now() - jiff::SignedDuration::from_secs(60);
        let sigstore = Sigstore::new(begin).unwrap();
        std::fs::write(folder.path().join("trusted_root.json"), sigstore.trusted_root_json()).unwrap();
        std::fs::write(folder.path().join("artifact"), ARTIFACT).unwrap();
        Self { folder, sigstore, begin: begin + jiff::SignedDuration::from_secs(SIGNED_AFTER_S) }
    }

    fn request(&self, log: Log, what: Content) -> Sign {
        Sign::cosign(Digest::of(ARTIFACT), SIGNER, ISSUER, self.begin).logged_in(log).signing(what)
    }

    fn write(&self, name: &str, bundle: &[u8]) {
        std::fs::write(self.folder.path().join(name), bundle).unwrap();
    }

    fn verify(&self, identity: &str, artifact: &str, bundles: &[&str]) -> Output {
        let mut command = Command::new(program("WITGATE_INTEROP_PYTHON"));
        command
            .current_dir(self.folder.path())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/verify_bundle.py"))
            .args(["trusted_root.json", artifact, identity, ISSUER])
            .args(bundles);
        run(&mut command)
    }
}

fn message() -> Content {
    Content::Message { bytes: Bytes::from_static(ARTIFACT) }
}

#[test]
fn sigstore_python_accepts_what_the_embedded_sigstore_signs() {
    let scene = Scene::new();
    let mut names = Vec::new();
    for (log, log_name) in [(Log::RekorV1, "rekor-v1"), (Log::RekorV2, "rekor-v2")] {
        for (what, what_name) in [(message(), "message"), (Content::SignStatement, "statement")] {
            let name = format!("{what_name}-{log_name}.json");
            scene.write(&name, &scene.sigstore.sign(scene.request(log, what)).unwrap());
            names.push(name);
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let output = scene.verify(SIGNER, "artifact", &names);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"verified 4 bundles\n");
}

#[test]
fn sigstore_python_refuses_what_is_wrong() {
    let scene = Scene::new();
    scene.write("good.json", &scene.sigstore.sign(scene.request(Log::RekorV1, message())).unwrap());
    std::fs::write(scene.folder.path().join("other"), b"another artifact").unwrap();
    let refused = |output: &Output| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.starts_with("good.json: "), "{}: {stderr}", output.status);
    };
    refused(&scene.verify(
        "https://github.com/mallory/shop/.github/workflows/release.yml@refs/heads/main",
        "artifact",
        &["good.json"],
    ));
    refused(&scene.verify(SIGNER, "other", &["good.json"]));
    // A deployment that nobody named in the trusted root.
    let stranger = Scene::new();
    scene.write("good.json", &stranger.sigstore.sign(stranger.request(Log::RekorV1, message())).unwrap());
    refused(&scene.verify(SIGNER, "artifact", &["good.json"]));
    // A log entry from outside the certificate's ten minutes.
    let late = scene.request(Log::RekorV1, message()).with(Knob::LateIntegratedTime);
    scene.write("good.json", &scene.sigstore.sign(late).unwrap());
    refused(&scene.verify(SIGNER, "artifact", &["good.json"]));
}
