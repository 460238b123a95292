//! sigstore-js: its bundles before our verifier, and the embedded Sigstore's before its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::evidence::{RootSettings, RootSource};
use witgate_tests::World;

use crate::pushed::{attach, push, refused};
use crate::scene::{Question, Scene};
use crate::{beside, program, refuse, run, succeed, witgate};

/// What `sign.js` writes; its message bundles are v0.2 whatever one asks for.
const SHAPES: [&str; 7] = [
    "message-v0.2",
    "message-stamped-v0.2",
    "signature-v0.2",
    "signature-v0.3",
    "signature-stamped-v0.3",
    "signature-intoto-v0.3",
    "provenance-v0.3",
];

/// Runs a script of `js/`, with the packages that `npm ci` installed.
fn node(folder: &Path, script: &str) -> Command {
    let mut command = Command::new(program("WITGATE_INTEROP_NODE"));
    command
        .current_dir(folder)
        .env("NODE_PATH", program("WITGATE_INTEROP_NODE_MODULES"))
        .arg(beside("js").join(script));
    command
}

/// A deployment of @sigstore/mock, in which [`SIGNER`] signed `artifact` in every shape.
struct Signed(tempfile::TempDir);

impl Signed {
    fn over(artifact: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("artifact"), artifact).unwrap();
        succeed(node(folder.path(), "sign.js").args([".", "artifact", SIGNER, ISSUER]));
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bundle(&self, shape: &str) -> Vec<u8> {
        std::fs::read(self.path(&format!("{shape}.json"))).unwrap()
    }
}

#[test]
fn our_verifier_takes_every_shape_that_sigstore_js_makes() {
    let signed = Signed::over(b"an artifact");
    let strangers = Signed::over(b"an artifact");
    std::fs::write(signed.path("other"), b"another artifact").unwrap();
    std::fs::copy(strangers.path("trusted_root.json"), signed.path("strangers_root.json")).unwrap();
    for shape in SHAPES {
        let verify = |identity: &str, issuer: &str, root: &str, artifact: &str| {
            let mut command = witgate(signed.0.path());
            command.args(["conformance", "verify-bundle", "--bundle", &format!("{shape}.json")]);
            command.args(["--certificate-identity", identity, "--certificate-oidc-issuer", issuer]);
            command.args(["--trusted-root", root, artifact]);
            command
        };
        let (root, mallory) = ("trusted_root.json", "https://github.com/mallory/x");
        succeed(&mut verify(SIGNER, ISSUER, root, "artifact"));
        refuse(&mut verify(mallory, ISSUER, root, "artifact"), "identity-mismatch");
        refuse(&mut verify(SIGNER, "https://issuer.example", root, "artifact"), "issuer-mismatch");
        refuse(&mut verify(SIGNER, ISSUER, root, "other"), "subject-mismatch");
        refuse(&mut verify(SIGNER, ISSUER, "strangers_root.json", "artifact"), "certificate-untrusted");
    }
}

/// RFC 3161, 2.4.2 allows fractions of a second in a time-stamp; sigstore-verify 0.15.1 cannot read them. Nobody is let in by it.
#[test]
fn a_time_stamp_with_fractions_of_a_second_is_refused() {
    let signed = Signed::over(b"an artifact");
    let mut command = witgate(signed.0.path());
    command.args(["conformance", "verify-bundle", "--bundle", "fractional-v0.3.json"]);
    command.args(["--certificate-identity", SIGNER, "--certificate-oidc-issuer", ISSUER]);
    refuse(command.args(["--trusted-root", "trusted_root.json", "artifact"]), "timestamp-invalid");
}

/// The same world, which believes in the deployment of `signed` as well.
async fn trusting(world: World, signed: &Signed) -> World {
    let root = RootSettings::new("sigstore-js", RootSource::File(signed.path("trusted_root.json")));
    world.restart(|config| config.evidence.roots.push(root)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_admits_what_sigstore_js_signed_under_its_root_alone() {
    let mut world = World::start().await;
    let host = world.deployment.registry.host();
    for shape in ["signature-v0.3", "signature-stamped-v0.3", "signature-intoto-v0.3"] {
        let pushed = push(&host, shape).await;
        let signed = Signed::over(&pushed.manifest_bytes);
        attach(&pushed, &signed.bundle(shape)).await;
        assert_eq!(refused(&world, &pushed).await, ["certificate-untrusted"], "{shape}");

        world = trusting(world, &signed).await;
        attach(&pushed, &signed.bundle("provenance-v0.3")).await;
        let reply = world.host.admit(&pushed.reference).await;
        assert_eq!(reply.status, 200, "{shape}: {}", reply.body);
        let record = world.decision(reply.decision()).await;
        let findings = record["case"]["evidence"]["findings"].as_array().unwrap();
        let of_kind = |kind: &str| findings.iter().find(|finding| finding["kind"] == kind).unwrap();
        assert_eq!(of_kind("signature")["trust"], "sigstore-js");
        assert_eq!(of_kind("signature")["signer"]["san"]["value"], SIGNER);
        assert_eq!(of_kind("attestation")["predicate"]["runDetails"]["builder"]["id"], "https://js.test/builder");

        // The same evidence beside another component.
        let other = push(&host, &format!("other-{shape}")).await;
        attach(&other, &signed.bundle(shape)).await;
        assert_eq!(refused(&world, &other).await, ["subject-mismatch"], "{shape}");
        // Roots have one name each: the next shape's is another deployment.
        world = world.restart(|config| drop(config.evidence.roots.pop())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_takes_no_older_bundle() {
    let world = World::start().await;
    let pushed = push(&world.deployment.registry.host(), "older").await;
    let signed = Signed::over(&pushed.manifest_bytes);
    let world = trusting(world, &signed).await;
    for shape in ["message-v0.2", "signature-v0.2"] {
        attach(&pushed, &signed.bundle(shape)).await;
    }
    assert_eq!(refused(&world, &pushed).await, ["bundle-unsupported", "bundle-unsupported"]);
}

fn verify(scene: &Scene, question: Question<'_>) -> Output {
    let mut command = node(scene.folder(), "verify.js");
    command.args(["trusted_root.json", question.artifact, question.identity, ISSUER]).args(question.bundles);
    run(&mut command)
}

#[test]
fn sigstore_js_accepts_what_the_embedded_sigstore_signs() {
    Scene::accepts(verify);
}

#[test]
fn sigstore_js_refuses_what_is_wrong() {
    Scene::refuses(verify, |output| {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.starts_with("good.json: "), "{}: {stderr}", output.status);
    });
}
