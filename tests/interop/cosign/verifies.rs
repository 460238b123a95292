//! What the embedded Sigstore signs, judged by cosign.

use std::process::Output;

use serde_json::{Value, json};
use witgate::case::{CosignLayer, Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::registry::Auth;
use witgate::dev::registry::cosign_tags::{self, DSSE_ENVELOPE, SIMPLE_SIGNING, attestations_tag, signatures_tag};
use witgate::dev::registry::push::Pushed;
use witgate::dev::sigstore::{Content, Knob, Log, ManagedKey, SIGNED_AFTER_S, Sign};
use witgate_tests::World;

use super::{cosign, refused};
use crate::pushed::{attach, push};
use crate::scene::{Question, Scene};
use crate::{run, succeed};

/// What is attested.
const LEVEL: &str = "https://acme.example/level/v1";
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

/// An embedded Sigstore whose signatures lie beside components, with what cosign needs to look at them.
struct Beside {
    world: World,
    folder: tempfile::TempDir,
    key: ManagedKey,
}

/// Who is asked about: by name, or by key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Identity,
    Key,
}

impl Beside {
    async fn start() -> Self {
        let (world, folder) = (World::start().await, tempfile::tempdir().unwrap());
        let (key, stranger) = (ManagedKey::generate().unwrap(), ManagedKey::generate().unwrap());
        for (name, text) in [
            ("trusted_root.json", world.deployment.sigstore.trusted_root_json()),
            ("key.pub", key.public_pem()),
            ("stranger.pub", stranger.public_pem()),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { world, folder, key }
    }

    async fn push(&self, name: &str) -> Pushed {
        push(&self.world.deployment.registry.host(), name).await
    }

    /// Puts a layer under the tag of cosign 2.
    async fn put(&self, name: &str, tag: &str, media_type: &str, layer: CosignLayer) {
        let (host, repository) = (self.world.deployment.registry.host(), format!("acme/{name}"));
        cosign_tags::push(&host, &repository, tag, media_type, &[layer], &Auth::Open).await.unwrap();
    }

    /// Holds that cosign, asked in these words, finds what was signed, and finds nothing by somebody else; gives what it prints.
    fn finds(&self, by: By, words: &[&str], pushed: &Pushed) -> String {
        let ask = |signer: &str, key: &str| {
            let mut command = cosign(self.folder.path());
            command.args(words).args(["--trusted-root", "trusted_root.json"]);
            match by {
                By::Identity => command.args(["--certificate-identity", signer, "--certificate-oidc-issuer", ISSUER]),
                By::Key => command.args(["--key", key]),
            };
            command.arg(&pushed.reference);
            command
        };
        refused(&mut ask(STRANGER, "stranger.pub"), "no matching ");
        succeed(&mut ask(SIGNER, "key.pub"))
    }
}

fn request(manifest: Digest) -> Sign {
    Sign::cosign(manifest, SIGNER, ISSUER, Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S))
}

fn level(manifest: Digest) -> Sign {
    request(manifest).signing(Content::Statement { predicate_type: LEVEL.into(), predicate: json!({"level": 3}) })
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_finds_bundles_beside_a_component() {
    let beside = Beside::start().await;
    let sigstore = &beside.world.deployment.sigstore;
    for (log, name) in [(Log::RekorV1, "v1"), (Log::RekorV2, "v2")] {
        for (by, who) in [(By::Identity, "identity"), (By::Key, "key")] {
            let pushed = beside.push(&format!("{name}-{who}")).await;
            for request in [request(pushed.manifest), level(pushed.manifest)] {
                let request = request.logged_in(log);
                let bundle = match by {
                    By::Identity => sigstore.sign(request),
                    By::Key => sigstore.sign_with_key(&beside.key, request),
                };
                attach(&pushed, &bundle.unwrap()).await;
            }
            let found = beside.finds(by, &["verify"], &pushed);
            assert!(found.contains(&pushed.manifest.to_string()), "{found}");
            beside.finds(by, &["verify-attestation", "--type", LEVEL], &pushed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cosign_finds_what_is_under_its_old_tags() {
    let beside = Beside::start().await;
    let sigstore = &beside.world.deployment.sigstore;
    for (by, name) in [(By::Identity, "identity"), (By::Key, "key")] {
        for flag in [None, Some("--use-signed-timestamps")] {
            let name = format!("{name}{}", flag.map_or("", |_| "-stamped"));
            let pushed = beside.push(&name).await;
            let stamped = |request: Sign, knob| if flag.is_some() { request.with(knob) } else { request };
            let signed = stamped(request(pushed.manifest), Knob::TimestampBeside);
            // cosign makes stamps over the signature of an attestation, but takes only those over its envelope, as cosign 2 made them.
            let attested = stamped(level(pushed.manifest), Knob::TimestampOfTheLayer);
            let (signature, attestation) = match by {
                By::Identity => (sigstore.sign_legacy(signed), sigstore.attest_legacy(attested)),
                By::Key => (
                    sigstore.sign_legacy_with_key(&beside.key, signed),
                    sigstore.attest_legacy_with_key(&beside.key, attested),
                ),
            };
            beside.put(&name, &signatures_tag(&pushed.manifest), SIMPLE_SIGNING, signature.unwrap()).await;
            beside.put(&name, &attestations_tag(&pushed.manifest), DSSE_ENVELOPE, attestation.unwrap()).await;
            let old = |words: &[&'static str]| {
                let flags = ["--new-bundle-format=false"].into_iter().chain(flag);
                words.iter().copied().chain(flags).collect::<Vec<_>>()
            };
            let found = beside.finds(by, &old(&["verify"]), &pushed);
            assert!(found.contains(&pushed.manifest.to_string()), "{found}");
            beside.finds(by, &old(&["verify-attestation", "--type", LEVEL]), &pushed);
        }
    }
}
