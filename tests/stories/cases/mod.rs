//! The thirty cases against a pulling proxy, tried at the registry door: what each has in common, and those that other stories do not hold.
//!
//! `tests/cases.md` says for each of the thirty which tests hold it. Those here are told through `/v2/` over a real socket.

mod grants;
mod lies;
mod reach;
mod shapes;
mod wire;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Value, json};
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, OCI_MANIFEST, Pushed, WASM_CONFIG, WASM_LAYER};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::{Reply, World, components};

/// A part of an artifact: its media type and its bytes.
type Part = (&'static str, Bytes);

fn part(media_type: &'static str, bytes: impl Into<Bytes>) -> Part {
    (media_type, bytes.into())
}

fn descriptor((media_type, bytes): &Part) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

fn wasm_config(component: &[u8]) -> Part {
    part(
        WASM_CONFIG,
        json!({"architecture": "wasm", "os": "wasip2", "layerDigests": [Digest::of(component)]}).to_string(),
    )
}

/// Pushes the blobs of an artifact of these parts into `demo/NAME`; gives the manifest that names them.
async fn parts(world: &World, name: &str, config: &Part, layers: &[Part]) -> Value {
    let (host, repository) = (world.deployment.registry.host(), format!("demo/{name}"));
    for (_, bytes) in [config].into_iter().chain(layers) {
        push::blob_raw(&host, &repository, bytes.clone(), &Auth::Open).await.unwrap();
    }
    let layers: Vec<Value> = layers.iter().map(descriptor).collect();
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(config), "layers": layers})
}

/// The manifest of one good component, whose blobs are there.
async fn good_parts(world: &World, name: &str) -> (Value, Bytes) {
    let wasm = Bytes::from(components::command(&format!("{name}\n")));
    (parts(world, name, &wasm_config(&wasm), &[part(WASM_LAYER, wasm.clone())]).await, wasm)
}

/// Pushes these bytes as the manifest `demo/NAME:1.0`, signed by whom policy wants: its signature is never what is wrong.
async fn publish(world: &World, name: &str, media_type: &str, manifest: impl Into<Bytes>) -> Pushed {
    let (host, repository) = (world.deployment.registry.host(), format!("demo/{name}"));
    let manifest_bytes = manifest.into();
    let bytes = manifest_bytes.clone();
    let manifest = push::manifest_raw(&host, &repository, "1.0", media_type, bytes, &Auth::Open).await.unwrap();
    let pushed =
        Pushed { reference: format!("{host}/{repository}:1.0"), manifest, manifest_bytes, component: manifest };
    let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    let bundle = world.deployment.sigstore.sign(Sign::cosign(manifest, SIGNER, ISSUER, begin)).unwrap();
    let kind = Some("https://sigstore.dev/cosign/sign/v1");
    push::bundle(&host, &repository, &pushed, &bundle, kind, &Auth::Open).await.unwrap();
    pushed
}

/// An answer that hands nothing over, and is no bug of ours.
fn hands_nothing_over(reply: &Reply) {
    assert!((400..600).contains(&reply.status), "{} {}", reply.status, reply.body);
    let error = &reply.body["errors"][0];
    assert!(error["code"].is_string(), "{} is no error of distribution-spec: {}", reply.status, reply.body);
    assert_ne!(error["detail"]["peer"], "internal", "{}", reply.body);
    assert!(!reply.message().contains("the gateway itself failed"), "a panic: {}", reply.body);
    assert!(!reply.headers.contains_key("docker-content-digest"), "{:?}", reply.headers);
}

/// Policy says no, for this reason, to GET and HEAD alike; nothing that the artifact names is sent either.
async fn is_refused(world: &World, name: &str, pushed: &Pushed, code: &str, blobs: &[Digest]) {
    for rest in ["manifests/1.0".to_owned(), format!("manifests/{}", pushed.manifest)] {
        let got = world.host.pull(name, &rest).await;
        hands_nothing_over(&got);
        assert_eq!((got.status, got.error_code()), (403, "DENIED"), "{name}/{rest}: {}", got.body);
        assert!(got.message().contains(code), "{name}: expected `{code}`: {}", got.message());
        let head = world.host.head(name, &rest).await;
        assert_eq!((head.status, head.bytes.len()), (403, 0), "{name}/{rest}");
        assert!(head.header("warning").contains(code), "{name}: {:?}", head.headers);
    }
    sends_no_blob(world, name, blobs).await;
}

/// The registry is to blame, nothing is on the record, and who asks again has it asked again.
async fn is_outage(world: &World, name: &str, rest: &str, blobs: &[Digest]) -> Reply {
    let size = world.log_size().await;
    let mut last = None;
    for _ in 0..2 {
        let asked = world.deployment.registry.requests().len();
        let got = world.host.pull(name, rest).await;
        hands_nothing_over(&got);
        assert_eq!((got.status, got.error_code()), (503, "UNAVAILABLE"), "{name}/{rest}: {}", got.body);
        assert_eq!(got.body["errors"][0]["detail"]["peer"], "registry", "{name}: {}", got.body);
        assert!(world.deployment.registry.requests().len() > asked, "{name}: an outage was remembered");
        last = Some(got);
    }
    assert_eq!(world.log_size().await, size, "{name}: an outage is no decision");
    sends_no_blob(world, name, blobs).await;
    kept(world);
    last.expect("asked twice")
}

/// None of them is sent, whole or in part.
async fn sends_no_blob(world: &World, name: &str, blobs: &[Digest]) {
    for digest in blobs {
        for headers in [&[][..], &[("range", "bytes=0-0")]] {
            let path = witgate_tests::door_path(name, &format!("blobs/{digest}"));
            let blob = world.host.fetch(http::Method::GET, &path, headers).await;
            hands_nothing_over(&blob);
            assert_eq!((blob.status, blob.error_code()), (404, "BLOB_UNKNOWN"), "{name}: {}", blob.body);
        }
    }
}

/// What the store keeps: every file hashes to its name, and nothing half written lies about.
fn kept(world: &World) -> BTreeSet<Digest> {
    let cache = world.deployment.config.data_dir.join("cache");
    let files = std::fs::read_dir(cache.join("blobs/sha256")).unwrap().map(|file| file.unwrap().path());
    let digests = files.map(|path| {
        let digest = Digest::of(&std::fs::read(&path).unwrap());
        assert_eq!(path.file_name().unwrap().to_str(), Some(&*digest.hex()), "a file of other bytes than its name");
        digest
    });
    digests.collect()
}

/// The next honest request is served, to its last byte.
async fn serves_the_next(world: &World) {
    let name = format!("honest-{}", uuid::Uuid::now_v7().simple());
    let wasm = components::command(&format!("{name}\n"));
    let pushed = world.publish(&name, wasm.clone()).await;
    let manifest = world.host.pull(&name, "manifests/1.0").await;
    assert_eq!((manifest.status, &manifest.bytes), (200, &pushed.manifest_bytes), "{}", manifest.body);
    let blob = world.host.pull(&name, &format!("blobs/{}", pushed.component)).await;
    assert_eq!((blob.status, &blob.bytes[..]), (200, &wasm[..]));
}
