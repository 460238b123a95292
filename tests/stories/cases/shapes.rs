//! Artifacts that can be read in two ways, lie about themselves, or are too much: signed, and refused all the same.

use bytes::Bytes;
use serde_json::{Value, json};
use witgate::case::Digest;
use witgate::dev::components::hostile;
use witgate::dev::registry::push::{self, OCI_MANIFEST, WASM_LAYER, fallback_tag};
use witgate::dev::registry::{Auth, DevRegistry, Fault, Match, Options, Referrers, Rule, Target};
use witgate_tests::{World, components};

use super::{descriptor, good_parts, is_refused, kept, part, parts, publish, serves_the_next, wasm_config};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn index(entries: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
}

#[tokio::test(flavor = "multi_thread")]
async fn case_15_a3_6_urls_of_a_layer_are_asked_by_nobody() {
    let world = World::behind_the_door(|_| {}).await;
    let stranger = DevRegistry::start(Options::default()).await.unwrap();
    let (manifest, wasm) = good_parts(&world, "foreign").await;
    for (name, place, kind) in [
        ("layer", "/layers/0", WASM_LAYER),
        ("config", "/config", "application/vnd.wasm.config.v0+json"),
        ("distributable", "/layers/0", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
    ] {
        let (mut manifest, _) = (manifest.clone(), good_parts(&world, name).await);
        push::blob_raw(&world.deployment.registry.host(), &format!("demo/{name}"), wasm.clone(), &Auth::Open)
            .await
            .unwrap();
        let described = manifest.pointer_mut(place).unwrap();
        described["mediaType"] = json!(kind);
        described["urls"] = json!([format!("http://{}/v2/x/blobs/{}", stranger.host(), Digest::of(&wasm))]);
        let pushed = publish(&world, name, OCI_MANIFEST, manifest.to_string()).await;
        is_refused(&world, name, &pushed, "manifest-invalid", &[Digest::of(&wasm)]).await;
    }
    assert_eq!(stranger.requests().len(), 0, "{:?}", stranger.requests());
    serves_the_next(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_16_a15_1_a_manifest_with_two_readings_is_refused_though_signed() {
    let world = World::behind_the_door(|_| {}).await;
    let (good, wasm) = good_parts(&world, "good").await;
    let text = good.to_string();
    let evil = components::greedy("evil\n");
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "`{from}` in {text}");
        text.replacen(from, to, 1)
    };
    let other = json!([descriptor(&part(WASM_LAYER, evil.clone()))]).to_string();
    let config = good["config"].to_string();
    let digest = format!("\"digest\":\"{}\"", Digest::of(&wasm));
    let behind = |more: &str| format!("{},{more}}}", &text[..text.len() - 1]);
    let cases = [
        ("layers-twice", behind(&format!("\"layers\":{other}"))),
        ("layers-twice-first", with("{", &format!("{{\"layers\":{other},"))),
        ("layers-escaped", behind(&format!("\"l\\u0061yers\":{other}"))),
        ("config-twice", behind(&format!("\"config\":{config}"))),
        ("digest-twice", with(&digest, &format!("\"digest\":\"{}\",{digest}", Digest::of(&evil)))),
        ("digest-twice-alike", with(&digest, &format!("{digest},{digest}"))),
        ("subject-twice", behind("\"subject\":null,\"subject\":null")),
        ("not-a-number", with("\"schemaVersion\":2", "\"schemaVersion\":NaN")),
        ("number-as-text", with("\"schemaVersion\":2", "\"schemaVersion\":\"2\"")),
        ("byte-order-mark", format!("\u{feff}{text}")),
        ("trailing", format!("{text}{text}")),
        ("trailing-nul", format!("{text}\0")),
        ("two-kinds", behind("\"manifests\":[]")),
        // Some parsers take it for `layers`.
        ("layers-other-case", behind(&format!("\"Layers\":{other}"))),
        ("digest-other-case", with(&digest, &format!("\"Digest\":\"{}\",{digest}", Digest::of(&evil)))),
    ];
    let both = [Digest::of(&wasm), Digest::of(&evil)];
    for (name, text) in cases {
        good_named(&world, name, &wasm, &evil).await;
        let pushed = publish(&world, name, OCI_MANIFEST, text).await;
        is_refused(&world, name, &pushed, "manifest-invalid", &both).await;
    }
    for (name, levels) in [("deep", 40), ("deepest", 1_000_000)] {
        let nested = format!("\"schemaVersion\":{}2{}", "[".repeat(levels), "]".repeat(levels));
        let pushed = publish(&world, name, OCI_MANIFEST, with("\"schemaVersion\":2", &nested)).await;
        is_refused(&world, name, &pushed, "limit-exceeded", &both).await;
    }
    serves_the_next(&world).await;
}

/// Both components are in the repository, so that it is the manifest alone that keeps them.
async fn good_named(world: &World, name: &str, wasm: &Bytes, evil: &[u8]) {
    let evil = part(WASM_LAYER, evil.to_vec());
    parts(world, name, &wasm_config(wasm), &[part(WASM_LAYER, wasm.clone()), evil]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_17_a3_5_an_index_leads_to_one_component_of_its_own_repository_or_nowhere() {
    let world = World::behind_the_door(|_| {}).await;
    let host = world.deployment.registry.host();
    let entry = |digest: Digest, size: usize, kind: &str| json!({"mediaType": kind, "digest": digest, "size": size, "platform": {"os": "wasip2", "architecture": "wasm"}});
    // An index that is a manifest, and a manifest that is an index.
    let (mut chimera, wasm) = good_parts(&world, "chimera").await;
    let leaf = publish(&world, "chimera", OCI_MANIFEST, chimera.to_string()).await;
    chimera["manifests"] = json!([entry(leaf.manifest, leaf.manifest_bytes.len(), OCI_MANIFEST)]);
    for (name, kind) in [("as-manifest", OCI_MANIFEST), ("as-index", INDEX)] {
        let mut chimera = chimera.clone();
        chimera["mediaType"] = json!(kind);
        parts(&world, name, &wasm_config(&wasm), &[part(WASM_LAYER, wasm.clone())]).await;
        let pushed = publish(&world, name, kind, chimera.to_string()).await;
        is_refused(&world, name, &pushed, "manifest-invalid", &[Digest::of(&wasm)]).await;
    }
    // Its own digest cannot stand in it; a registry that says so lies about bytes.
    let itself = index(&[entry(Digest::of(b"claimed"), 100, INDEX)]);
    let pushed = publish(&world, "itself", INDEX, itself.to_string()).await;
    let claimed = Match::on(Target::Manifest).repository("demo/itself");
    world.deployment.registry.inject(Rule::new(claimed, Fault::FlipTag { to: pushed.manifest }));
    let reply = world.host.pull("itself", "manifests/1.0").await;
    super::hands_nothing_over(&reply);
    world.deployment.registry.heal();
    // The child lives in another repository only.
    let elsewhere = world.publish("elsewhere", components::command("elsewhere\n")).await;
    let pointing = index(&[entry(elsewhere.manifest, elsewhere.manifest_bytes.len(), OCI_MANIFEST)]);
    let name = "pointing";
    let taken =
        push::manifest_raw(&host, "demo/pointing", "1.0", INDEX, pointing.to_string().into(), &Auth::Open).await;
    taken.unwrap();
    let reply = world.host.pull(name, "manifests/1.0").await;
    super::hands_nothing_over(&reply);
    assert_eq!((reply.status, reply.error_code()), (404, "MANIFEST_UNKNOWN"), "{}", reply.body);
    super::sends_no_blob(&world, name, &[elsewhere.component]).await;
    assert_eq!(world.host.pull("elsewhere", "manifests/1.0").await.status, 200, "there it is admitted");
    super::sends_no_blob(&world, name, &[elsewhere.component]).await;
    let by_digest = world.host.pull(name, &format!("manifests/{}", elsewhere.manifest)).await;
    assert_eq!((by_digest.status, by_digest.error_code()), (404, "MANIFEST_UNKNOWN"), "{}", by_digest.body);
    serves_the_next(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_19_a27_1_a27_3_what_a_config_claims_lifts_no_import_and_a_second_layer_hides_behind_none() {
    let world = World::behind_the_door(|_| {}).await;
    let greedy = Bytes::from(components::greedy("greedy\n"));
    let good = Bytes::from(components::command("good\n"));
    let claims = json!({
        "architecture": "wasm", "os": "wasip2", "layerDigests": [Digest::of(&greedy)],
        "component": {"imports": [], "exports": []},
    });
    let config = part("application/vnd.wasm.config.v0+json", claims.to_string());
    let manifest = parts(&world, "claims", &config, &[part(WASM_LAYER, greedy.clone())]).await;
    let pushed = publish(&world, "claims", OCI_MANIFEST, manifest.to_string()).await;
    is_refused(&world, "claims", &pushed, "import-not-granted", &[Digest::of(&greedy), Digest::of(&config.1)]).await;
    // Their bytes are held by now, and nobody is sent them.
    assert!(kept(&world).contains(&Digest::of(&greedy)));

    for (name, layers) in [("harmless-first", [&good, &greedy]), ("harmless-last", [&greedy, &good])] {
        let layers = layers.map(|wasm| part(WASM_LAYER, wasm.clone()));
        let manifest = parts(&world, name, &wasm_config(&good), &layers).await;
        let pushed = publish(&world, name, OCI_MANIFEST, manifest.to_string()).await;
        is_refused(&world, name, &pushed, "artifact-unsupported", &[Digest::of(&good), Digest::of(&greedy)]).await;
    }
    serves_the_next(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_20_a27_4_a12_4_what_is_called_a_component_and_is_none_is_never_sent() {
    let world = World::behind_the_door(|_| {}).await;
    let good = components::command("hello\n");
    let cases = [
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec()),
        ("elf", b"\x7fELF\x02\x01\x01\0".to_vec()),
        ("core-module", hostile::core_module()),
        ("pre-standard", hostile::pre_standard_layer()),
        ("wit-package", hostile::wit_package()),
        ("cut-by-one", good[..good.len() - 1].to_vec()),
        ("custom-sections", hostile::custom_sections(100_000)),
        ("nested-components", hostile::nested_components(5000)),
        ("endless-section", hostile::endless_section()),
        ("empty", vec![]),
    ];
    for (name, wasm) in cases {
        let pushed = world.publish(name, wasm.clone()).await;
        is_refused(&world, name, &pushed, "component-unreadable", &[Digest::of(&wasm)]).await;
    }
    for (name, kind) in [
        ("tar-gzip", "application/vnd.oci.image.layer.v1.tar+gzip"),
        ("tar-zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
        ("octets", "application/octet-stream"),
    ] {
        let manifest = parts(&world, name, &wasm_config(&good), &[part(kind, good.clone())]).await;
        let pushed = publish(&world, name, OCI_MANIFEST, manifest.to_string()).await;
        is_refused(&world, name, &pushed, "artifact-unsupported", &[Digest::of(&good)]).await;
    }
    serves_the_next(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_a25_2_a_list_of_referrers_that_is_not_whole_is_no_list() {
    let world = World::behind_the_door(|setup| setup.registry.referrers = Referrers::Api { page_size: 1 }).await;
    let registry = &world.deployment.registry;
    let status = |code| Fault::Status { code, body: Bytes::new(), headers: vec![("retry-after".into(), "0".into())] };
    // Two referrers, so two pages: the second is missing, each way.
    for (name, fault) in [("page-404", status(404)), ("page-403", status(403)), ("page-500", status(500))] {
        let (manifest, wasm) = good_parts(&world, name).await;
        publish(&world, name, OCI_MANIFEST, manifest.to_string()).await;
        let pushed = publish(&world, name, OCI_MANIFEST, manifest.to_string()).await;
        let second = Match::on(Target::Referrers).repository(format!("demo/{name}")).from_nth(2).times(1);
        let size = world.log_size().await;
        for _ in 0..2 {
            registry.inject(Rule::new(second.clone(), fault.clone()));
            let reply = world.host.pull(name, "manifests/1.0").await;
            super::hands_nothing_over(&reply);
            assert!(matches!(reply.status, 429 | 503), "{name}: {}", reply.body);
            super::sends_no_blob(&world, name, &[Digest::of(&wasm)]).await;
            registry.heal();
        }
        assert_eq!(world.log_size().await, size, "{name}: an outage is no decision");
        assert_eq!(world.host.pull(name, "manifests/1.0").await.status, 200, "{name}");
        // Nor is it a list for whoever was admitted.
        registry.inject(Rule::new(second, fault));
        let listed = world.host.pull(name, &format!("referrers/{}", pushed.manifest)).await;
        assert!(matches!(listed.status, 429 | 503), "{name}: {}", listed.body);
        registry.heal();
        assert_eq!(world.host.pull(name, "manifests/1.0").await.status, 200, "{name}");
        let listed = world.host.pull(name, &format!("referrers/{}", pushed.manifest)).await;
        assert_eq!(listed.body["manifests"].as_array().map(Vec::len), Some(2), "{name}: {}", listed.body);
    }
    // Under the fallback tag lies an image, not a list: nobody takes it for "nothing is attached".
    let world = World::behind_the_door(|setup| setup.registry.referrers = Referrers::TagOnly).await;
    let pushed = world.publish("tagged", components::command("tagged\n")).await;
    let (host, tag) = (world.deployment.registry.host(), fallback_tag(&pushed.manifest));
    let image = pushed.manifest_bytes.clone();
    push::manifest_raw(&host, "demo/tagged", &tag, OCI_MANIFEST, image, &Auth::Open).await.unwrap();
    let reply = world.host.pull("tagged", "manifests/1.0").await;
    super::hands_nothing_over(&reply);
    super::sends_no_blob(&world, "tagged", &[pushed.component]).await;
    serves_the_next(&world).await;
}
