//! What cosign signs for an identity, with certificates of a real Fulcio, judged by the command line and the gateway.

use std::path::Path;

use serde_json::{Value, json};
use witgate::dev::deployment::SIGNER;

use super::cosign;
use crate::pushed::{self, attach, bundle, by_digest, push, refused};
use crate::services::{Services, WORKFLOW};
use crate::{refuse, succeed, witgate};

/// A workflow that policy does not want.
const OTHER_WORKFLOW: &str = "acme/shop/.github/workflows/test.yml@refs/heads/main";

/// Runs cosign with a token of `workflow`.
fn sign(folder: &Path, services: &Services, workflow: &str, words: &[&str]) {
    let mut command = cosign(folder);
    command.args(words).args(["--yes", "--identity-token", &services.issuer().token(workflow)]);
    succeed(command.arg("--signing-config").arg(services.signing_config()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_verifies_by_its_signer_alone() {
    let services = Services::start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("artifact"), b"an artifact").unwrap();
    std::fs::write(folder.join("other"), b"another artifact").unwrap();
    sign(folder, &services, WORKFLOW, &["sign-blob", "artifact", "--bundle", "bundle.json"]);
    let (root, another, issuer) = (services.trusted_root(), services.root_of_another_rekor(), services.issuer().url());
    let verify = |root: &Path, identity: &str, issuer: &str, artifact: &str| {
        let mut command = witgate(folder);
        command.args(["verify", artifact, "--bundle", "bundle.json", "--certificate-identity", identity]);
        command.args(["--certificate-oidc-issuer", issuer, "--trusted-root"]).arg(root);
        command
    };
    succeed(&mut verify(&root, SIGNER, issuer, "artifact"));
    let other = SIGNER.replace("release", "test");
    refuse(&mut verify(&root, &other, issuer, "artifact"), "identity-mismatch");
    refuse(&mut verify(&root, SIGNER, "https://issuer.example", "artifact"), "issuer-mismatch");
    refuse(&mut verify(&root, SIGNER, issuer, "other"), "subject-mismatch");
    refuse(&mut verify(&another, SIGNER, issuer, "artifact"), "log-proof-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_admitted_by_its_signer_alone() {
    let services = Services::start().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let world = services.world().await;
    let host = world.deployment.registry.host();

    let pushed = push(&host, "cart").await;
    assert_eq!(refused(&world, &pushed).await, [""; 0]);
    std::fs::write(folder.join("predicate.json"), json!({"level": 3}).to_string()).unwrap();
    let kind = "https://acme.example/level/v1";
    let words = ["attest", &by_digest(&pushed), "--type", kind, "--predicate", "predicate.json"];
    sign(folder, &services, WORKFLOW, &words);
    assert_eq!(refused(&world, &pushed).await, [""; 0], "an attestation is no signature");
    sign(folder, &services, WORKFLOW, &["sign", &by_digest(&pushed)]);
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let record = world.decision(reply.decision()).await;
    let findings: &Vec<Value> = record["case"]["evidence"]["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 2, "{findings:?}");
    for finding in findings {
        assert_eq!((&finding["trust"], &finding["status"]), (&json!("real"), &json!("verified")));
        assert_eq!(finding["signer"]["san"]["value"], SIGNER);
        assert_eq!(finding["times"].as_array().map(Vec::len), Some(1), "the authority's: {finding}");
    }
    insta::assert_json_snapshot!(findings[0]["signer"]["claims"], @r#"
    {
      "build_config_digest": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      "build_config_uri": "https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main",
      "build_signer_digest": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      "build_signer_uri": "https://github.com/acme/shop/.github/workflows/release.yml@refs/heads/main",
      "build_trigger": "push",
      "run_invocation_uri": "https://github.com/acme/shop/actions/runs/42/attempts/1",
      "runner_environment": "github-hosted",
      "source_repository_digest": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
      "source_repository_identifier": "7654321",
      "source_repository_owner_identifier": "1234567",
      "source_repository_owner_uri": "https://github.com/acme",
      "source_repository_ref": "refs/heads/main",
      "source_repository_uri": "https://github.com/acme/shop",
      "source_repository_visibility_at_signing": "private",
      "token_subject": "repo:acme/shop:ref:refs/heads/main",
      "workflow_name": "release",
      "workflow_ref": "refs/heads/main",
      "workflow_repository": "acme/shop",
      "workflow_sha": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
      "workflow_trigger": "push"
    }
    "#);

    let by = |identity: &str| {
        let mut command = pushed::verify(folder, &pushed);
        command.args(["--certificate-identity", identity, "--certificate-oidc-issuer", services.issuer().url()]);
        command.arg("--trusted-root").arg(services.trusted_root());
        command
    };
    succeed(&mut by(SIGNER));
    refuse(&mut by("https://github.com/mallory/x"), "is not verified");

    // The same signature beside another component, and another workflow's beside its own.
    let other = push(&host, "other").await;
    attach(&other, &bundle(&pushed).await).await;
    assert_eq!(refused(&world, &other).await, ["subject-mismatch"]);
    let tested = push(&host, "tested").await;
    sign(folder, &services, OTHER_WORKFLOW, &["sign", &by_digest(&tested)]);
    world.refused(json!({"reference": tested.reference}), "identity-mismatch").await;
}
