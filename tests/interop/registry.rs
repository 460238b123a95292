//! Debian's docker-registry, which has no referrers API, as the upstream.

use std::process::Command;

use witgate::case::Timestamp;
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::registry::push::{Pushed, fallback_tag};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::World;

use crate::docker_registry::DockerRegistry;
use crate::pushed::{attach, push, push_saying};
use crate::succeed;

async fn sign(world: &World, pushed: &Pushed) {
    let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    let bundle = world.deployment.sigstore.sign(Sign::cosign(pushed.manifest, SIGNER, ISSUER, begin)).unwrap();
    attach(pushed, &bundle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_found_under_the_fallback_tag() {
    let registry = DockerRegistry::start().await;
    let world = registry.world().await;
    let pushed = push(registry.host(), "good").await;
    sign(&world, &pushed).await;
    assert_eq!(
        registry.status(&format!("acme/good/referrers/{}", pushed.manifest)).await,
        404,
        "this registry has no referrers API"
    );

    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.body["artifact"], pushed.manifest.to_string());
    let record = world.host.get(&format!("/v1/decisions/{}", reply.decision())).await;
    assert!(record.body.to_string().contains("fallback-tag"), "{}", record.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_under_the_fallback_tag_is_unsigned_not_admitted() {
    let registry = DockerRegistry::start().await;
    let world = registry.world().await;
    let pushed = push(registry.host(), "unsigned").await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["no-verified-signature"]), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_gets_no_decision() {
    let registry = DockerRegistry::start().await;
    let world = registry.world().await;
    let reply = world.host.admit(&format!("{}/acme/nothing:1.0", registry.host())).await;
    assert_eq!(reply.status, 404, "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_component_and_evidence_unharmed() {
    let registry = DockerRegistry::start().await;
    let world = registry.world().await;
    let pushed = push(registry.host(), "good").await;
    sign(&world, &pushed).await;
    // skopeo 1.9 writes an index anew and refuses to do so under `--preserve-digests`; only its entries count here.
    for (tag, keep) in [("1.0".to_owned(), Some("--preserve-digests")), (fallback_tag(&pushed.manifest), None)] {
        let at = |repository: &str| format!("docker://{}/{repository}:{tag}", registry.host());
        let mut skopeo = Command::new("skopeo");
        skopeo
            .args(["--insecure-policy", "copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .args(keep);
        succeed(skopeo.arg(at("acme/good")).arg(at("acme/mirrored")));
    }
    let reply = world.host.admit(&format!("{}/acme/mirrored:1.0", registry.host())).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.body["artifact"], pushed.manifest.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_away_from_its_evidence_is_refused() {
    let registry = DockerRegistry::start().await;
    let world = registry.world().await;
    let pushed = push(registry.host(), "good").await;
    sign(&world, &pushed).await;
    let moved = push_saying(registry.host(), "good", "something else").await;
    assert_ne!(moved.manifest, pushed.manifest);
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["no-verified-signature"]), "{}", reply.body);
}
