//! What artifacts say they are, and what they are: components, applications, native code, lies.

use bytes::Bytes;
use serde_json::{Value, json};
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{GRANTED, ISSUER, SIGNER};
use witgate::dev::registry::Auth;
use witgate::dev::registry::push::{self, OCI_MANIFEST, Pushed, WASM_CONFIG, WASM_LAYER};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::{World, components};

const SIGN: Option<&str> = Some("https://sigstore.dev/cosign/sign/v1");
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const SPIN: &str = "application/vnd.fermyon.spin.application.v1+config";
const SPIN_WASM: &str = "application/vnd.wasm.content.layer.v1+wasm";
const SPIN_DATA: &str = "application/vnd.wasm.content.layer.v1+data";
const PROVIDER_CONFIG: &str = "application/vnd.wasmcloud.provider.archive.config";
const PROVIDER_LAYER: &str = "application/vnd.wasmcloud.provider.archive.layer.v1+par";

/// A part of an artifact: its media type and its bytes.
type Part = (&'static str, Bytes);

fn part(media_type: &'static str, bytes: impl Into<Bytes>) -> Part {
    (media_type, bytes.into())
}

/// Pushes an artifact of these parts, signed as policy wants it; gives its reference.
async fn publish(world: &World, name: &str, config: Part, layers: &[Part]) -> String {
    let (host, repository) = (world.deployment.registry.host(), format!("demo/{name}"));
    let mut described = Vec::new();
    for (media_type, bytes) in [&config].into_iter().chain(layers) {
        push::blob_raw(&host, &repository, bytes.clone(), &Auth::Open).await.unwrap();
        described.push(json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()}));
    }
    let layers = described.split_off(1);
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": layers});
    let manifest = Bytes::from(manifest.to_string());
    push::manifest_raw(&host, &repository, "1.0", OCI_MANIFEST, manifest.clone(), &Auth::Open).await.unwrap();
    let reference = format!("{host}/{repository}:1.0");
    let digest = Digest::of(&manifest);
    let pushed = Pushed { reference: reference.clone(), manifest: digest, manifest_bytes: manifest, component: digest };
    let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    let bundle = world.deployment.sigstore.sign(Sign::cosign(digest, SIGNER, ISSUER, begin)).unwrap();
    push::bundle(&host, &repository, &pushed, &bundle, SIGN, &Auth::Open).await.unwrap();
    reference
}

fn wasm_config(component: &[u8], imports: &Value) -> Part {
    let config = json!({
        "architecture": "wasm", "os": "wasip2", "layerDigests": [Digest::of(component)],
        "component": {"imports": imports, "exports": []},
    });
    part(WASM_CONFIG, config.to_string())
}

/// A Spin application of these components; its description names each.
fn spin(components: &[Vec<u8>]) -> Vec<Part> {
    let source =
        |wasm: &Vec<u8>| json!({"id": "c", "source": {"content_type": "application/wasm", "digest": Digest::of(wasm)}});
    let description = json!({"spin_lock_version": 1, "components": components.iter().map(source).collect::<Vec<_>>()});
    let wasm = components.iter().map(|wasm| part(SPIN_WASM, wasm.clone()));
    wasm.chain([part(SPIN, description.to_string()), part(SPIN_DATA, "<html>")]).collect()
}

fn image_config() -> Part {
    part(IMAGE_CONFIG, "{}")
}

fn about(reference: &str) -> Value {
    json!({"reference": reference})
}

fn warnings(record: &Value) -> Vec<(&str, &str)> {
    let warnings = record["decision"]["warnings"].as_array().into_iter().flatten();
    warnings.map(|warning| (warning["code"].as_str().unwrap(), warning["detail"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a27_1_a_config_that_hides_an_import_changes_no_verdict_and_is_told() {
    let world = World::start().await;
    let greedy = components::greedy("hello\n");
    let reference = publish(&world, "hides", wasm_config(&greedy, &json!([])), &[part(WASM_LAYER, greedy)]).await;
    let record = world.refused(about(&reference), "import-not-granted").await;
    let told = warnings(&record);
    assert!(told.iter().any(|(code, detail)| *code == "config-mismatch" && detail.contains("leaves out")), "{told:?}");

    // Of a component that may run, the claim is a warning and no more.
    let good = components::command("hello\n");
    let claimed = json!(["wasi:sockets/tcp@0.2.3"]);
    let reference = publish(&world, "claims", wasm_config(&good, &claimed), &[part(WASM_LAYER, good)]).await;
    let reply = world.host.admit(&reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let told: Vec<_> = reply.body["warnings"].as_array().unwrap().iter().map(|warning| &warning["detail"]).collect();
    assert!(told.contains(&&json!("the config claims `wasi:sockets/tcp@0.2.3`")), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a27_2_a_config_of_other_layers_is_refused() {
    let world = World::start().await;
    let good = components::command("hello\n");
    let config = wasm_config(b"another", &json!([]));
    let reference = publish(&world, "other-layers", config, &[part(WASM_LAYER, good)]).await;
    let record = world.refused(about(&reference), "config-mismatch").await;
    assert_eq!(record["case"]["artifact"].get("component"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a27_3_several_layers_are_an_application_whose_every_component_must_pass() {
    let world = World::start().await;
    let (good, other, greedy) =
        (components::command("a\n"), components::command("b\n"), components::greedy("greedy\n"));

    // The layout of one component stays one component, a harmless one first or not.
    let two = [part(WASM_LAYER, good.clone()), part(WASM_LAYER, greedy.clone())];
    let reference = publish(&world, "two-layers", wasm_config(&good, &json!([])), &two).await;
    world.refused(about(&reference), "artifact-unsupported").await;

    let reference = publish(&world, "app", image_config(), &spin(&[good.clone(), other.clone()])).await;
    let reply = world.host.admit(&reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(
        (&reply.body["ticket"], &reply.body["component"]),
        (&Value::Null, &Value::Null),
        "a ticket is about one"
    );
    let record = world.decision(reply.decision()).await;
    let artifact = &record["case"]["artifact"];
    let listed =
        |name: &str| artifact[name].as_array().unwrap().iter().map(|layer| layer["digest"].clone()).collect::<Vec<_>>();
    assert_eq!(listed("components"), [json!(Digest::of(&good)), json!(Digest::of(&other))]);
    assert_eq!(listed("carried").len(), 2);

    // The last of them may not open sockets, so none of them runs.
    let reference = publish(&world, "greedy-app", image_config(), &spin(&[good.clone(), greedy.clone()])).await;
    let record = world.refused(about(&reference), "import-not-granted").await;
    let reasons = record["decision"]["reasons"].as_array().unwrap();
    assert!(reasons.iter().all(|reason| reason["about"].as_str().unwrap().starts_with("wasi:sockets/")), "{reasons:?}");
    let reference = publish(&world, "broken-app", image_config(), &spin(&[good.clone(), b"\0asm".to_vec()])).await;
    let record = world.refused(about(&reference), "component-unreadable").await;
    assert!(record["case"]["surface"]["detail"].as_str().unwrap().starts_with("component 2 of 2:"), "{record}");

    // What runs is what was judged: no component among the data, none from elsewhere.
    let mut hidden = spin(std::slice::from_ref(&good));
    hidden.push(part(SPIN_DATA, greedy.clone()));
    let reference = publish(&world, "hidden", image_config(), &hidden).await;
    world.refused(about(&reference), "artifact-unsupported").await;
    let mut lying = spin(&[good.clone(), greedy]);
    lying.remove(1);
    let reference = publish(&world, "elsewhere", image_config(), &lying).await;
    world.refused(about(&reference), "config-mismatch").await;
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a27_4_what_is_called_a_component_and_is_none_is_refused() {
    let world = World::start().await;
    let module = b"\0asm\x01\0\0\0".to_vec();
    for (name, bytes) in [
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0".to_vec()),
        ("elf", b"\x7fELF\x02\x01\x01\0".to_vec()),
        ("png", b"\x89PNG\r\n\x1a\n".to_vec()),
        ("module", module),
        ("empty", Vec::new()),
    ] {
        let reference = publish(&world, name, wasm_config(&bytes, &json!([])), &[part(WASM_LAYER, bytes)]).await;
        world.refused(about(&reference), "component-unreadable").await;
    }
    let good = components::command("hello\n");
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    let reference = publish(&world, "tar", wasm_config(&good, &json!([])), &[part(gzip, good)]).await;
    world.refused(about(&reference), "artifact-unsupported").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn native_code_is_refused_unless_policy_names_it() {
    let archive = || [part(PROVIDER_LAYER, "a tar file")];
    let world = World::start().await;
    let reference = publish(&world, "provider", part(PROVIDER_CONFIG, "{}"), &archive()).await;
    let record = world.refused(about(&reference), "artifact-unsupported").await;
    let artifact = &record["case"]["artifact"];
    assert_eq!(artifact["native"]["digest"], json!(Digest::of(b"a tar file")));
    assert_eq!((artifact.get("component"), &artifact["defects"]), (None, &json!([])));

    let world = World::with(|setup| {
        setup.policy_data = Some(json!({"witgate": {
            "signatures": [{"references": ["*"], "identities": [{"issuer": ISSUER, "san": {"kind": "uri", "value": SIGNER}}]}],
            "grants": [{
                "callers": ["spiffe://demo.witgate.example/host/*"], "references": ["*"], "imports": GRANTED, "native": true,
            }],
        }}));
    })
    .await;
    let reference = publish(&world, "provider", part(PROVIDER_CONFIG, "{}"), &archive()).await;
    let reply = world.host.admit(&reference).await;
    assert_eq!((reply.status, &reply.body["ticket"]), (200, &Value::Null), "{}", reply.body);
    // `native` lifts nothing else: bytes that are no component are none, and who did not sign did not.
    let gzip = b"\x1f\x8b\x08\0".to_vec();
    let reference = publish(&world, "gzip", wasm_config(&gzip, &json!([])), &[part(WASM_LAYER, gzip)]).await;
    world.refused(about(&reference), "component-unreadable").await;
    let host = world.deployment.registry.host();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": PROVIDER_CONFIG, "digest": Digest::of(b"{}"), "size": 2},
        "layers": [{"mediaType": PROVIDER_LAYER, "digest": Digest::of(b"a tar file"), "size": 10}],
        "annotations": {"unsigned": "yes"},
    });
    let pushing =
        push::manifest_raw(&host, "demo/provider", "2.0", OCI_MANIFEST, manifest.to_string().into(), &Auth::Open);
    pushing.await.unwrap();
    world.refused(about(&format!("{host}/demo/provider:2.0")), "no-verified-signature").await;
}
