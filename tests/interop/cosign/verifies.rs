//! What the embedded Sigstore signs, judged by cosign.

use std::process::Output;

use serde_json::Value;
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::registry::Auth;
use witgate::dev::registry::cosign_tags::{self, SIMPLE_SIGNING, signatures_tag};
use witgate::dev::registry::push::Pushed;
use witgate::dev::sigstore::{Knob, Log, SIGNED_AFTER_S, Sign};
use witgate_tests::World;

use super::{cosign, refused};
use crate::pushed::{attach, push};
use crate::scene::{Question, Scene};
use crate::{run, succeed};

/// Somebody who signed nothing here.
const STRANGER: &str = "https://github.com/mallory/shop/.github/workflows/release.yml@refs/heads/main";

/// Asks about one bundle after the other, up to the first that is refused.
fn verify(scene: &Scene, question: Question<'_>) -> Output {
    let about = |bundle: &&str| {
        let text = std::fs::read_to_string(scene.folder().join(bundle)).unwrap();
        let is_statement = serde_json::from_str::<Value>(&text).unwrap().get("dsseEnvelope").is_some();
        let mut command = cosign(scene.folder());
        match is_statement {
            true => command.args(["verify-blob-attestation", "--type", "https://sigstore.dev/cosign/sign/v1"]),
            false => command.arg("verify-blob"),
        };
        command.args(["--trusted-root", "trusted_root.json", "--bundle", bundle]);
        command.args(["--certificate-identity", question.identity, "--certificate-oidc-issuer", ISSUER]);
        run(command.arg(question.artifact))
    };
    let outputs = question.bundles.iter().map(about);
    outputs.reduce(|before, next| if before.status.success() { next } else { before }).unwrap()
}

#[test]
fn cosign_accepts_what_the_embedded_sigstore_signs() {
    Scene::accepts(verify);
}

#[test]
fn cosign_refuses_what_is_wrong() {
    Scene::refuses(verify, |output| {
        assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    });
}

fn request(manifest: Digest) -> Sign {
    Sign::cosign(manifest, SIGNER, ISSUER, Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S))
}

/// Holds that `cosign verify`, with these flags, finds [`SIGNER`]'s signature on the component and nobody else's.
fn finds_the_signer(world: &World, pushed: &Pushed, flags: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trusted_root.json"), world.deployment.sigstore.trusted_root_json()).unwrap();
    let verify = |identity: &str| {
        let mut command = cosign(folder.path());
        command.args(["verify", "--trusted-root", "trusted_root.json"]).args(flags);
        command.args(["--certificate-identity", identity, "--certificate-oidc-issuer", ISSUER, &pushed.reference]);
        command
    };
    let found: Value = serde_json::from_str(&succeed(&mut verify(SIGNER))).unwrap();
    let digest = &found[0]["critical"]["image"]["docker-manifest-digest"];
    assert_eq!(*digest, pushed.manifest.to_string(), "{found}");
    refused(&mut verify(STRANGER), "no matching ");
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_finds_a_bundle_beside_a_component() {
    let world = World::start().await;
    for (log, name) in [(Log::RekorV1, "v1"), (Log::RekorV2, "v2")] {
        let pushed = push(&world.deployment.registry.host(), name).await;
        let bundle = world.deployment.sigstore.sign(request(pushed.manifest).logged_in(log)).unwrap();
        attach(&pushed, &bundle).await;
        finds_the_signer(&world, &pushed, &[]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_finds_a_legacy_signature_beside_a_component() {
    let world = World::start().await;
    for (name, knob) in [("plain", None), ("stamped", Some(Knob::TimestampBeside))] {
        let pushed = push(&world.deployment.registry.host(), name).await;
        let layer = world.deployment.sigstore.sign_legacy(knob.into_iter().fold(request(pushed.manifest), Sign::with));
        let (host, tag) = (world.deployment.registry.host(), signatures_tag(&pushed.manifest));
        let repository = format!("acme/{name}");
        cosign_tags::push(&host, &repository, &tag, SIMPLE_SIGNING, &[layer.unwrap()], &Auth::Open).await.unwrap();
        let flags: &[&str] = if knob.is_some() { &["--use-signed-timestamps"] } else { &[] };
        finds_the_signer(&world, &pushed, &[&["--new-bundle-format=false"], flags].concat());
    }
}
