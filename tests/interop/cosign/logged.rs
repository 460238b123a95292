//! What cosign signs with keys and tells a real log, with a real time-stamp, judged by the command line and the gateway.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{cosign, generate, import};
use crate::keyed::{self, Key, admitted};
use crate::openssl::Kind;
use crate::pushed::{self, attach, bundle, by_digest, push, refused};
use crate::services::Services;
use crate::{refuse, succeed, witgate};

/// `cosign sign-blob` of `artifact`, into `bundle.json`.
fn sign_blob(folder: &Path, services: &Services, key: &str) {
    let mut command = cosign(folder);
    command.args(["sign-blob", "--key", &format!("{key}.key"), "--yes", "--bundle", "bundle.json"]);
    succeed(command.arg("--signing-config").arg(services.signing_config()).arg("artifact"));
}

/// Asks about `bundle.json`, in the two ways there are.
fn questions(folder: &Path, root: &Path, key: &str, artifact: &str) -> [Command; 2] {
    let (mut verify, mut conformance) = (witgate(folder), witgate(folder));
    verify.args(["verify", artifact, "--bundle", "bundle.json", "--key", &format!("{key}.pub")]);
    verify.arg("--trusted-root").arg(root);
    conformance.args(["conformance", "verify-bundle", "--bundle", "bundle.json", "--key", &format!("{key}.pub")]);
    conformance.arg("--trusted-root").arg(root).arg(artifact);
    [verify, conformance]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_file_verifies_under_its_key_and_root_alone() {
    let services = Services::start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("artifact"), b"an artifact").unwrap();
    std::fs::write(folder.join("other"), b"another artifact").unwrap();
    generate(folder, "release");
    generate(folder, "stranger");
    import(folder, Kind::P256, "imported");
    let (root, strangers) = (services.trusted_root(), services.root_of_another_rekor());
    for key in ["release", "imported"] {
        sign_blob(folder, &services, key);
        questions(folder, &root, key, "artifact").iter_mut().for_each(|command| drop(succeed(command)));
        for (root, key, artifact, code) in [
            (&root, "stranger", "artifact", "key-not-trusted"),
            (&root, key, "other", "subject-mismatch"),
            (&strangers, key, "artifact", "log-proof-invalid"),
        ] {
            questions(folder, root, key, artifact).iter_mut().for_each(|command| refuse(command, code));
        }
    }
}

/// Of Rekor v2's entries sigstore-verify 0.15.1 reads those of ECDSA P-256 alone. Nobody is let in by the others.
#[tokio::test(flavor = "multi_thread")]
async fn entries_of_other_keys_are_refused() {
    let services = Services::start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("artifact"), b"an artifact").unwrap();
    for kind in [Kind::P384, Kind::Rsa2048] {
        import(folder, kind, kind.name());
        sign_blob(folder, &services, kind.name());
        let questions = questions(folder, &services.trusted_root(), kind.name(), "artifact");
        for mut command in questions {
            refuse(&mut command, "bundle-unsupported");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logged_signature_admits_without_anything_being_waived() {
    let services = Services::start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let release = generate(folder, "release");
    let keys = [Key { name: "release", file: &release, log: "required" }];
    let world = keyed::world(&keys, |setup| setup.more.push_str(&services.toml())).await;
    let host = world.deployment.registry.host();
    let pushed = push(&host, "cart").await;
    std::fs::write(folder.join("predicate.json"), json!({"level": 3}).to_string()).unwrap();
    for words in
        [&["attest", "--type", "https://acme.example/level/v1", "--predicate", "predicate.json"][..], &["sign"]]
    {
        assert_eq!(refused(&world, &pushed).await, [""; 0]);
        let mut command = cosign(folder);
        command.args(words).args(["--key", "release.key", "--yes", "--signing-config"]);
        succeed(command.arg(services.signing_config()).arg(by_digest(&pushed)));
    }
    let findings = admitted(&world, &pushed, "release").await;
    assert_eq!(findings.len(), 2);
    for finding in &findings {
        assert_eq!(finding["times"].as_array().map(Vec::len), Some(1), "the authority's: {finding}");
    }
    let by = |key: &str| {
        let mut command = pushed::verify(folder, &pushed);
        command.args(["--key", key, "--trusted-root"]).arg(services.trusted_root());
        command
    };
    generate(folder, "stranger");
    succeed(&mut by("release.pub"));
    refuse(&mut by("stranger.pub"), "is not verified");

    let other = push(&host, "other").await;
    attach(&other, &bundle(&pushed).await).await;
    assert_eq!(refused(&world, &other).await, ["subject-mismatch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stamped_but_in_no_log_admits_where_no_log_is_asked_for() {
    let services = Services::start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let release = generate(folder, "release");
    let keys = [Key { name: "release", file: &release, log: "optional" }];
    let world = keyed::world(&keys, |setup| setup.more.push_str(&services.toml())).await;
    let pushed = push(&world.deployment.registry.host(), "cart").await;
    std::fs::write(folder.join("predicate.json"), json!({"level": 3}).to_string()).unwrap();
    for words in
        [&["attest", "--type", "https://acme.example/level/v1", "--predicate", "predicate.json"][..], &["sign"]]
    {
        let mut command = cosign(folder);
        command.args(words).args(["--key", "release.key", "--yes", "--new-bundle-format=false"]);
        command.args(["--use-signing-config=false", "--tlog-upload=false"]);
        succeed(command.args(["--timestamp-server-url", services.time_stamps()]).arg(by_digest(&pushed)));
    }
    let findings = admitted(&world, &pushed, "release").await;
    assert_eq!(findings.len(), 2);
    for finding in &findings {
        assert_eq!(finding["times"].as_array().map(Vec::len), Some(1), "the authority's: {finding}");
    }
}
