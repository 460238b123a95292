//! Indexes and children: what a signature of an index covers, and what the ticket is for.

#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    clippy::string_slice,
    reason = "a test that cannot go on has failed"
)]

use bytes::Bytes;
use serde_json::{Value, json};
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER, SignedBy};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, OCI_MANIFEST, Pushed};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::{Reply, World, components};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SIGN: Option<&str> = Some("https://sigstore.dev/cosign/sign/v1");

pub(crate) fn entry(pushed: &Pushed, os: &str, architecture: &str) -> Value {
    json!({
        "mediaType": OCI_MANIFEST, "digest": pushed.manifest, "size": pushed.manifest_bytes.len(),
        "platform": {"os": os, "architecture": architecture},
    })
}

/// Pushes an index into the repository of `demo/NAME` under the tag `index`.
pub(crate) async fn push_index(world: &World, name: &str, entries: &[Value]) -> Pushed {
    let host = world.deployment.registry.host();
    let bytes = Bytes::from(json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string());
    let repository = format!("demo/{name}");
    let manifest = push::manifest_raw(&host, &repository, "index", INDEX, bytes.clone(), &Auth::Open).await.unwrap();
    let reference = format!("{host}/{repository}:index");
    Pushed { reference, manifest, manifest_bytes: bytes, component: manifest }
}

async fn sign(world: &World, name: &str, pushed: &Pushed) {
    let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    let bundle = world.deployment.sigstore.sign(Sign::cosign(pushed.manifest, SIGNER, ISSUER, begin)).unwrap();
    let (host, repository) = (world.deployment.registry.host(), format!("demo/{name}"));
    push::bundle(&host, &repository, pushed, &bundle, SIGN, &Auth::Open).await.unwrap();
}

fn at(pushed: &Pushed, digest: Digest) -> String {
    format!("{}@{digest}", pushed.reference.rsplit_once(':').unwrap().0)
}

/// The findings of the recorded case.
async fn findings(world: &World, reply: &Reply) -> Vec<Value> {
    let decision = world.host.get(&format!("/v1/decisions/{}", reply.decision())).await;
    decision.body["case"]["evidence"]["findings"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_7_a_signed_index_covers_the_child_it_leads_to_and_the_ticket_is_for_the_leaf() {
    let world = World::start().await;
    let leaf = world.publish_signed("cart", components::command("hello\n"), SignedBy::Nobody).await;
    let index = push_index(&world, "cart", &[entry(&leaf, "wasip2", "wasm")]).await;
    let refused = world.host.admit(&index.reference).await;
    assert_eq!((refused.status, refused.codes()), (403, vec!["no-verified-signature"]), "{}", refused.body);

    sign(&world, "cart", &index).await;
    for reference in [index.reference.clone(), at(&index, index.manifest)] {
        let reply = world.host.admit(&reference).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(reply.body["artifact"], leaf.manifest.to_string(), "the leaf is what is admitted");
        assert_eq!(reply.body["component"]["digest"], leaf.component.to_string());
        let findings = findings(&world, &reply).await;
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0]["source"]["index"], index.manifest.to_string(), "{}", findings[0]);
    }
    // Asked for by itself the child was reached through nothing, so nothing covers it.
    let alone = world.host.admit(&at(&index, leaf.manifest)).await;
    assert_eq!((alone.status, alone.codes()), (403, vec!["no-verified-signature"]), "{}", alone.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_7_a_signed_child_below_an_unsigned_index_is_covered_by_its_own_signature() {
    let world = World::start().await;
    let leaf = world.publish("cart", components::command("hello\n")).await;
    let index = push_index(&world, "cart", &[entry(&leaf, "wasip2", "wasm")]).await;
    let reply = world.host.admit(&index.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let findings = findings(&world, &reply).await;
    assert_eq!((findings.len(), &findings[0]["source"]["index"]), (1, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_7_a_signature_of_one_index_says_nothing_about_the_children_of_another() {
    let world = World::start().await;
    let good = world.publish_signed("cart", components::command("hello\n"), SignedBy::Nobody).await;
    let signed = push_index(&world, "cart", &[entry(&good, "wasip2", "wasm")]).await;
    sign(&world, "cart", &signed).await;
    let evil = world.publish_signed("cart", components::command("evil\n"), SignedBy::Nobody).await;
    let other = push_index(&world, "cart", &[entry(&evil, "wasip2", "wasm")]).await;
    // The bundle about the signed index, offered as a referrer of the other one.
    let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    let bundle = world.deployment.sigstore.sign(Sign::cosign(signed.manifest, SIGNER, ISSUER, begin)).unwrap();
    let host = world.deployment.registry.host();
    push::bundle(&host, "demo/cart", &other, &bundle, SIGN, &Auth::Open).await.unwrap();
    let reply = world.host.admit(&other.reference).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["no-verified-signature"]), "{}", reply.body);
    let findings = findings(&world, &reply).await;
    assert_eq!(findings[0]["code"], "subject-mismatch", "{}", findings[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_7_the_machine_of_the_gateway_never_chooses() {
    let world = World::start().await;
    let leaf = world.publish("cart", components::command("hello\n")).await;
    let host = entry(&leaf, std::env::consts::OS, "amd64");
    let index = push_index(&world, "cart", &[host, entry(&leaf, "linux", "arm64")]).await;
    sign(&world, "cart", &index).await;
    let reply = world.host.admit(&index.reference).await;
    assert_eq!(
        (reply.status, reply.codes()),
        (403, vec!["artifact-unsupported", "component-unreadable"]),
        "{}",
        reply.body
    );
}
