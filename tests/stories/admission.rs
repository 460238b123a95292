//! The four components of the demo, over HTTP.

use witgate::dev::deployment::SignedBy;
use witgate_tests::{World, components, ticket_id};

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_component_with_granted_imports_is_admitted_and_handed_over() {
    let world = World::start().await;
    let wasm = components::command("hello\n");
    let pushed = world.publish("good", wasm.clone()).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.body["artifact"], pushed.manifest.to_string());
    assert_eq!(reply.body["component"]["digest"], pushed.component.to_string());
    let bytes = world.host.component(&pushed.component.to_string(), Some(&ticket_id(&reply))).await;
    assert_eq!(bytes.status, 200);
    assert_eq!(bytes.bytes, wasm);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_component_is_refused() {
    let world = World::start().await;
    let pushed = world.publish_signed("unsigned", components::command("hello\n"), SignedBy::Nobody).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["no-verified-signature"]), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_signature_is_refused() {
    let world = World::start().await;
    let stranger = SignedBy::Identity("https://github.com/mallory/shop/.github/workflows/release.yml@refs/heads/main");
    let pushed = world.publish_signed("stranger", components::command("hello\n"), stranger).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!((reply.status, reply.codes()), (403, vec!["identity-mismatch"]), "{}", reply.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_imports_more_than_granted_is_refused() {
    let world = World::start().await;
    let pushed = world.publish("greedy", components::greedy("hello\n")).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 403, "{}", reply.body);
    assert!(reply.codes().iter().all(|code| *code == "import-not-granted"), "{}", reply.body);
}
