//! Bad input gets a clear answer, and nobody is admitted by it.

use bytes::Bytes;
use futures::future::join_all;
use serde_json::{Value, json};
use witgate::case::{Digest, Timestamp};
use witgate::dev::components::hostile;
use witgate::dev::deployment::{ISSUER, SIGNER, SignedBy};
use witgate::dev::registry::push::{self, ConfigClaims, OCI_MANIFEST, Pushed, WASM_CONFIG, WASM_LAYER};
use witgate::dev::registry::{Auth, Fault, Match, Rule, Target};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::{World, components, rejected, ticket_id};

const SIGN: Option<&str> = Some("https://sigstore.dev/cosign/sign/v1");

fn about(reference: &str) -> Value {
    json!({"reference": reference})
}

/// A bundle by the identity that policy wants, made now.
fn bundle_of(world: &World, manifest: Digest) -> Vec<u8> {
    let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    world.deployment.sigstore.sign(Sign::cosign(manifest, SIGNER, ISSUER, begin)).unwrap()
}

async fn attach(world: &World, name: &str, pushed: &Pushed, bundle: &[u8]) {
    let host = world.deployment.registry.host();
    push::bundle(&host, &format!("demo/{name}"), pushed, bundle, SIGN, &Auth::Open).await.unwrap();
}

/// Pushes manifest bytes as they are; gives the reference.
async fn push_manifest(world: &World, name: &str, media_type: &str, bytes: impl Into<Bytes>) -> String {
    let host = world.deployment.registry.host();
    let repository = format!("demo/{name}");
    push::manifest_raw(&host, &repository, "1.0", media_type, bytes.into(), &Auth::Open).await.unwrap();
    format!("{host}/{repository}:1.0")
}

/// A good manifest whose blobs are there.
async fn good_manifest(world: &World, name: &str) -> Value {
    let (host, repository) = (world.deployment.registry.host(), format!("demo/{name}"));
    let wasm = Bytes::from(components::command("hello\n"));
    let config = json!({"architecture": "wasm", "os": "wasip2", "layerDigests": [Digest::of(&wasm)]}).to_string();
    let descriptor = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(WASM_CONFIG, config.as_bytes()),
        "layers": [descriptor(WASM_LAYER, &wasm)],
    });
    push::blob_raw(&host, &repository, config.into(), &Auth::Open).await.unwrap();
    push::blob_raw(&host, &repository, wasm, &Auth::Open).await.unwrap();
    manifest
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_unreachable_references_are_no_decisions() {
    let world = World::start().await;
    let host = world.deployment.registry.host();
    world.publish("known", components::command("hello\n")).await;
    let missing = Digest::of(b"missing");
    for reference in
        [format!("{host}/demo/known:2.0"), format!("{host}/demo/unknown:1.0"), format!("{host}/demo/known@{missing}")]
    {
        let reply = world.not_recorded(about(&reference), 404).await;
        assert!(reply.body["detail"].as_str().unwrap().contains(&reference), "{}", reply.body);
        assert!(reply.body["hint"].is_string(), "{}", reply.body);
    }
    let asked = world.deployment.registry.requests().len();
    for registry in ["registry.example", "169.254.169.254", "127.0.0.1:22", "2130706433:80", "localhost:80"] {
        let reply = world.not_recorded(about(&format!("{registry}/acme/cart:1")), 422).await;
        let hint = format!("[registry.upstreams.\"{registry}\"]");
        assert!(reply.body["detail"].as_str().unwrap().contains(&hint), "{}", reply.body);
    }
    for reference in ["", "cart", "cart:1", "/acme/cart:1", "x.example/../cart:1", "x.example/acme/cart"] {
        world.not_recorded(about(reference), 422).await;
    }
    assert_eq!(world.deployment.registry.requests().len(), asked, "nobody was asked");
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_no_decisions() {
    let world = World::start().await;
    let reference = world.publish("good", components::command("hello\n")).await.reference;
    let before = world.log_size().await;
    let deep = format!(r#"{{"reference":"{reference}","links":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let bodies: Vec<Vec<u8>> = vec![
        vec![],
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{".to_vec(),
        b"{}".to_vec(),
        b"\xff\xfe".to_vec(),
        format!("\u{feff}{{\"reference\":\"{reference}\"}}").into(),
        format!(r#"{{"reference":"{reference}"}} x"#).into(),
        format!(r#"{{"reference":"{reference}","reference":"{reference}"}}"#).into(),
        format!(r#"{{"reference":"{reference}","dry_run":false,"dry\u005frun":true}}"#).into(),
        format!(r#"{{"Reference":"{reference}"}}"#).into(),
        format!(r#"{{"reference":"{reference}","caller":"spiffe://demo.witgate.example/host/b"}}"#).into(),
        format!(r#"{{"reference":"{reference}","dry_run":"yes"}}"#).into(),
        format!(r#"{{"reference":"{reference}","dry_run":null}}"#).into(),
        format!(r#"{{"reference":["{reference}"]}}"#).into(),
        format!(r#"{{"reference":"{reference}","links":"a"}}"#).into(),
        format!(r#"{{"reference":"{reference}","host":"{}"}}"#, "h".repeat(2049)).into(),
        format!(r#"{{"reference":"{reference}","links":["{}"]}}"#, "l".repeat(513)).into(),
        json!({"reference": reference, "links": vec!["l"; 65]}).to_string().into(),
        deep.into(),
        format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000)).into(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let request = world.host.client().post(world.host.url("/v1/admissions"));
        let response = request.header("content-type", "application/json").body(body).send().await.unwrap();
        assert_eq!(response.status(), 422, "`{shown}`");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "`{shown}`");
        let problem: Value = response.json().await.unwrap();
        assert!(problem["detail"].is_string(), "`{shown}`: {problem}");
    }
    assert_eq!(world.log_size().await, before);
    assert_eq!(world.host.admit(&reference).await.status, 200, "the gateway goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_past_the_limit_is_cut() {
    let world = World::start().await;
    let reference = world.publish("good", components::command("hello\n")).await.reference;
    let before = world.log_size().await;
    let padded = |size: usize| {
        let mut body = about(&reference).to_string().into_bytes();
        body.resize(size, b' ');
        body
    };
    let post = || world.host.client().post(world.host.url("/v1/admissions"));
    let too_large = post().body(padded((8 << 20) + 1)).send().await.unwrap();
    assert_eq!(too_large.status(), 413);
    assert_eq!(too_large.headers()["content-type"], "application/problem+json");
    let pieces = padded((8 << 20) + 1);
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        pieces.chunks(1 << 20).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let unannounced = post().body(reqwest::Body::wrap_stream(futures::stream::iter(pieces))).send().await.unwrap();
    assert_eq!(unannounced.status(), 413);
    assert_eq!(world.log_size().await, before);
    let largest = post().body(padded(8 << 20)).send().await.unwrap();
    assert_eq!(largest.status(), 200, "{}", largest.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_components_are_refused_though_signed() {
    let world = World::start().await;
    let good = components::command("hello\n");
    let cases = [
        ("core-module", hostile::core_module()),
        ("pre-standard", hostile::pre_standard_layer()),
        ("wit-package", hostile::wit_package()),
        ("truncated", hostile::truncated(good.clone())),
        ("cut-by-one", good[..good.len() - 1].to_vec()),
        ("nested-types", hostile::nested_instance_types(800)),
        ("nested-components", hostile::nested_components(5000)),
        ("doubling", hostile::doubling_tuples(40)),
        ("endless-section", hostile::endless_section()),
        ("empty", vec![]),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec()),
        ("elf", b"\x7fELF\x02\x01\x01\0".to_vec()),
    ];
    for (name, wasm) in cases {
        let pushed = world.publish(name, wasm).await;
        let record = world.refused(about(&pushed.reference), "component-unreadable").await;
        assert_eq!(record["case"]["artifact"]["digest"], pushed.manifest.to_string(), "{name}");
    }
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_1_bundles_that_vouch_for_nothing_are_listed_as_rejected() {
    let world = World::start().await;
    let other = world.publish("other", components::command("other\n")).await;
    let unsigned =
        async |name: &str| world.publish_signed(name, components::command("hello\n"), SignedBy::Nobody).await;

    let pushed = unsigned("truncated").await;
    let good = bundle_of(&world, pushed.manifest);
    attach(&world, "truncated", &pushed, &good[..good.len() / 2]).await;
    let record = world.refused(about(&pushed.reference), "no-verified-signature").await;
    assert_eq!(rejected(&record), ["bundle-malformed"]);

    let pushed = unsigned("garbage").await;
    attach(&world, "garbage", &pushed, b"\0\xff no bundle at all").await;
    attach(&world, "garbage", &pushed, b"{}").await;
    let record = world.refused(about(&pushed.reference), "no-verified-signature").await;
    assert_eq!(rejected(&record).len(), 2, "{record}");
    assert!(rejected(&record).iter().all(|code| code.starts_with("bundle-")), "{record}");

    // A config of its own gives it a digest of its own; the bundle is a good one, of the other artifact.
    let claims = ConfigClaims { target: Some("another".into()), ..ConfigClaims::default() };
    let host = world.deployment.registry.host();
    let wasm = Bytes::from(components::command("hello\n"));
    let pushed = push::component(&host, "demo/grafted", "1.0", wasm, claims, &Auth::Open).await.unwrap();
    attach(&world, "grafted", &pushed, &bundle_of(&world, other.manifest)).await;
    let record = world.refused(about(&pushed.reference), "no-verified-signature").await;
    assert_eq!(rejected(&record), ["subject-mismatch"]);

    let pushed = unsigned("nothing").await;
    let record = world.refused(about(&pushed.reference), "no-verified-signature").await;
    assert_eq!(record["case"]["evidence"]["findings"], json!([]));
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_4_what_an_asker_calls_its_program_changes_nothing() {
    let world = World::start().await;
    let unsigned = world.publish_signed("unsigned", components::command("hello\n"), SignedBy::Nobody).await;
    let good = world.publish("good", components::command("good\n")).await;
    for agent in ["cosign/v3.0.2", "cosign", "notation/1.3.0", "Harbor", "witgate-host/0.1.0", "GoogleHC/1.0", "-"] {
        let ask = async |reference: &str| {
            let request = world.host.client().post(world.host.url("/v1/admissions")).json(&about(reference));
            let answer = request.header("user-agent", agent).send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        };
        let (status, body) = ask(&unsigned.reference).await;
        assert_eq!((status, &body["reasons"][0]["code"]), (403, &json!("no-verified-signature")), "{agent}: {body}");
        assert_eq!(ask(&good.reference).await.0, 200, "{agent}");
        let component = world.host.url(&format!("/v1/components/{}", good.component));
        let bytes = world.host.client().get(component).header("user-agent", agent).send().await.unwrap();
        assert_eq!(bytes.status(), 403, "{agent} got bytes without a ticket");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a26_2_one_good_bundle_among_bad_ones_admits() {
    let world = World::start().await;
    let other = world.publish("other", components::command("other\n")).await;
    let pushed = world.publish_signed("mixed", components::command("hello\n"), SignedBy::Nobody).await;
    for number in 0..10 {
        attach(&world, "mixed", &pushed, format!("no bundle {number}").as_bytes()).await;
    }
    attach(&world, "mixed", &pushed, &bundle_of(&world, other.manifest)).await;
    attach(&world, "mixed", &pushed, &bundle_of(&world, pushed.manifest)).await;
    let reply = world.host.admit(&pushed.reference).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let record = world.decision(reply.decision()).await;
    let mut expected = vec!["bundle-malformed"; 10];
    expected.push("subject-mismatch");
    assert_eq!(rejected(&record), expected);
    assert_eq!(record["case"]["evidence"]["findings"].as_array().unwrap().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_manifests_are_refused() {
    let world = World::start().await;
    let text = good_manifest(&world, "good").await.to_string();
    let accepted = push_manifest(&world, "good", OCI_MANIFEST, text.clone()).await;
    world.refused(about(&accepted), "no-verified-signature").await;
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "`{from}` in {text}");
        text.replacen(from, to, 1)
    };
    let size = format!("\"size\":{}", components::command("hello\n").len());
    let cases = [
        ("duplicate", with(r#""schemaVersion":2"#, r#""schemaVersion":2,"schemaVersion":2"#)),
        ("nested-duplicate", with(&size, &format!("{size},{size}"))),
        ("escaped-duplicate", with(r#""schemaVersion":2"#, r#""schemaVersion":2,"schema\u0056ersion":2"#)),
        ("trailing", format!("{text} x")),
        ("byte-order-mark", format!("\u{feff}{text}")),
        ("negative-size", with(&size, r#""size":-5"#)),
        ("fractional-size", with(&size, r#""size":1.5"#)),
        ("huge-size", with(&size, r#""size":18446744073709551616"#)),
        ("text-size", with(&size, r#""size":"5""#)),
        ("version", with(r#""schemaVersion":2"#, r#""schemaVersion":1"#)),
        ("path-digest", with("\"digest\":\"sha256:", "\"digest\":\"../../../etc/passwd")),
        ("both", with(r#""layers":"#, r#""manifests":[],"layers":"#)),
        ("no-json", "<html>".to_owned()),
        ("empty", "{}".to_owned()),
    ];
    for (name, text) in cases {
        let digest = Digest::of(text.as_bytes());
        let reference = push_manifest(&world, name, OCI_MANIFEST, text).await;
        let record = world.refused(about(&reference), "manifest-invalid").await;
        assert_eq!(record["case"]["artifact"]["digest"], digest.to_string(), "{name}");
    }
    let nested = format!(r#""schemaVersion":{}2{}"#, "[".repeat(40), "]".repeat(40));
    let reference = push_manifest(&world, "deep", OCI_MANIFEST, with(r#""schemaVersion":2"#, &nested)).await;
    world.refused(about(&reference), "limit-exceeded").await;
    let index = "application/vnd.oci.image.index.v1+json";
    let reference = push_manifest(&world, "other-type", index, text).await;
    world.refused(about(&reference), "manifest-invalid").await;
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_of_another_kind_are_refused() {
    let world = World::start().await;
    let change = async |name: &str, code: &str, change: &dyn Fn(&mut Value)| {
        let mut manifest = good_manifest(&world, name).await;
        change(&mut manifest);
        let reference = push_manifest(&world, name, OCI_MANIFEST, manifest.to_string()).await;
        world.refused(about(&reference), code).await
    };
    change("two-layers", "artifact-unsupported", &|manifest| {
        let layers = manifest["layers"].as_array_mut().unwrap();
        layers.push(layers[0].clone());
    })
    .await;
    change("no-layer", "artifact-unsupported", &|manifest| manifest["layers"] = json!([])).await;
    change("compressed", "artifact-unsupported", &|manifest| {
        manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
    })
    .await;
    // Announced only: the blob is not there, so whoever asked for it would have an outage to tell of.
    let announced = change("oversized", "limit-exceeded", &|manifest| {
        manifest["layers"][0]["size"] = json!((256_u64 << 20) + 1);
        manifest["layers"][0]["digest"] = json!(Digest::of(b"nowhere"));
    })
    .await;
    assert_eq!(announced["case"]["artifact"]["component"], Value::Null);
    change("oversized-config", "limit-exceeded", &|manifest| manifest["config"]["size"] = json!((1 << 20) + 1)).await;
    change("many-layers", "limit-exceeded", &|manifest| {
        manifest["layers"] = Value::Array(vec![manifest["layers"][0].clone(); 129]);
    })
    .await;

    let mut manifest = good_manifest(&world, "lying-config").await;
    let config = json!({"architecture": "wasm", "os": "wasip2", "layerDigests": [Digest::of(b"another")]}).to_string();
    manifest["config"]["digest"] = json!(Digest::of(config.as_bytes()));
    manifest["config"]["size"] = json!(config.len());
    let host = world.deployment.registry.host();
    push::blob_raw(&host, "demo/lying-config", config.into(), &Auth::Open).await.unwrap();
    let reference = push_manifest(&world, "lying-config", OCI_MANIFEST, manifest.to_string()).await;
    world.refused(about(&reference), "config-mismatch").await;

    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []});
    let reference = push_manifest(&world, "index", "application/vnd.oci.image.index.v1+json", index.to_string()).await;
    world.refused(about(&reference), "artifact-unsupported").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_recorded_and_hands_nothing_over() {
    let world = World::start().await;
    let pushed = world.publish("good", components::command("hello\n")).await;
    for expected in 1..=2 {
        let before = world.log_size().await;
        let reply = world.host.ask(json!({"reference": pushed.reference, "dry_run": true})).await;
        assert_eq!((reply.status, &reply.body["ticket"]), (200, &Value::Null), "{}", reply.body);
        assert_eq!(world.log_size().await, before + 1, "dry run {expected} is a decision of its own");
        let record = world.decision(reply.decision()).await;
        assert_eq!((&record["case"]["purpose"], &record["decision"]["verdict"]), (&json!("dry-run"), &json!("admit")));
        let bytes = world.host.component(&pushed.component.to_string(), Some(reply.decision())).await;
        assert_eq!(bytes.status, 403);
    }
    let real = world.host.admit(&pushed.reference).await;
    assert!(real.body["ticket"].is_object(), "a dry run leaves nothing behind: {}", real.body);
    let greedy = world.publish("greedy", components::greedy("hello\n")).await;
    world.refused(json!({"reference": greedy.reference, "dry_run": true}), "import-not-granted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_more_than_its_own_is_refused() {
    let world = World::with(|setup| {
        // The grant names one folder of hosts only, so that a host outside it is proven and has no grant.
        setup.policy_data = Some(json!({"witgate": {
            "signatures": [{"references": ["*"], "identities": [{"issuer": ISSUER, "san": {"kind": "uri", "value": SIGNER}}]}],
            "grants": [{
                "callers": ["spiffe://demo.witgate.example/host/a"],
                "references": ["*"],
                "imports": witgate::dev::deployment::GRANTED,
                "links": ["acme:db"],
                "lifetime_s": 3600,
            }],
        }}));
    })
    .await;
    let pushed = world.publish("good", components::command("hello\n")).await;
    let other_host = json!({"reference": pushed.reference, "host": "spiffe://demo.witgate.example/host/b"});
    let record = world.refused(other_host, "host-not-caller").await;
    assert_eq!(record["case"]["host"], "spiffe://demo.witgate.example/host/b");
    assert_eq!(record["case"]["caller"]["id"], "spiffe://demo.witgate.example/host/a");
    let links = json!({"reference": pushed.reference, "links": ["acme:db", "acme:vault"]});
    let record = world.refused(links, "link-not-granted").await;
    assert_eq!(record["decision"]["reasons"].as_array().unwrap().len(), 1, "{record}");
    let granted = world.host.ask(json!({"reference": pushed.reference, "links": ["acme:db"]})).await;
    assert_eq!(granted.status, 200, "{}", granted.body);
    let stranger = world.caller("/host/b", &witgate::dev::spiffe::Leaf::new(Timestamp::now())).await.unwrap();
    world.refused_to(&stranger, about(&pushed.reference), "caller-not-granted").await;
    assert_eq!(world.host.admit(&pushed.reference).await.status, 200, "what b is refused, a has");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lies_about_a_digest_is_an_outage_and_leaves_no_trace() {
    let world = World::start().await;
    let registry = &world.deployment.registry;
    let lie = Bytes::from_static(b"\0asm not what was asked for");
    for (name, target, by_digest) in
        [("component", Target::Layer, false), ("config", Target::Config, false), ("manifest", Target::Manifest, true)]
    {
        let wasm = components::command(&format!("{name}\n"));
        let pushed = world.publish(name, wasm.clone()).await;
        let reference = match by_digest {
            true => format!("{}/demo/{name}@{}", registry.host(), pushed.manifest),
            false => pushed.reference.clone(),
        };
        let rule = Match::on(target).repository(format!("demo/{name}"));
        let rule = if by_digest { rule.digest(pushed.manifest) } else { rule };
        registry.inject(Rule::new(rule, Fault::WrongBytes(lie.clone())));
        let reply = world.not_recorded(about(&reference), 503).await;
        assert_eq!(reply.body["peer"], "registry", "{name}: {}", reply.body);
        let detail = reply.body["detail"].as_str().unwrap();
        assert!(detail.contains(&registry.host()), "{name}: {detail}");
        let cached = &world.deployment.service.gate().registry;
        assert!(cached.held(&Digest::of(&lie)).await.unwrap().is_none(), "{name}");
        registry.heal();
        let reply = world.host.admit(&reference).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.body);
        let bytes = world.host.component(&pushed.component.to_string(), Some(&ticket_id(&reply))).await;
        assert_eq!((bytes.status, &bytes.bytes[..]), (200, &wasm[..]), "{name}");
    }
    world.verify_log().await;
}

/// A1.1: whichever request the tag flips at, answer, ticket, record and bytes name one digest.
#[tokio::test(flavor = "multi_thread")]
async fn a1_1_tag_flips_between_the_requests_of_an_admission() {
    let world = World::start().await;
    let registry = &world.deployment.registry;
    let host = registry.host();
    let wasm = |word: &str| components::command(&format!("{word}\n"));
    let mut digests_seen = std::collections::BTreeSet::new();
    // Both are signed by the wanted identity: only consistency can tell them apart.
    for nth in 1..=4 {
        let (name, repository) = (format!("flip{nth}"), format!("demo/flip{nth}"));
        let b = world.publish(&name, wasm("b")).await;
        let a = world.publish(&name, wasm("a")).await;
        let tag = Match::on(Target::Manifest).repository(repository.as_str()).tag("1.0").from_nth(nth);
        registry.inject(Rule::new(tag, Fault::FlipTag { to: b.manifest }));
        let reply = world.host.admit(&a.reference).await;
        registry.heal();
        assert_eq!(reply.status, 200, "{}", reply.body);
        let pushed = if reply.body["artifact"] == b.manifest.to_string() { &b } else { &a };
        one_digest(&world, &reply, pushed, if pushed == &b { wasm("b") } else { wasm("a") }).await;
        digests_seen.insert(pushed.component);
    }
    assert_eq!(digests_seen.len(), 2, "the flip struck at least once, and at least once not");

    // A really moves: the held admission still answers for A, in every part.
    let a = world.publish("moved", wasm("a")).await;
    let first = world.host.admit(&a.reference).await;
    let moved = push::component(&host, "demo/moved", "1.0", wasm("evil").into(), ConfigClaims::default(), &Auth::Open);
    let evil = moved.await.unwrap();
    let second = world.host.admit(&a.reference).await;
    one_digest(&world, &first, &a, wasm("a")).await;
    one_digest(&world, &second, &a, wasm("a")).await;
    let by_digest = format!("{host}/demo/moved@{}", evil.manifest);
    world.refused(about(&by_digest), "no-verified-signature").await;
    let stolen = world.host.component(&evil.component.to_string(), Some(&ticket_id(&second))).await;
    assert_eq!(stolen.status, 403, "B never rides on A's ticket");
}

/// The same while many ask at once: each answer is whole, whichever artifact it is about.
#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_under_load_never_mixes_two_artifacts() {
    let world = World::start().await;
    let wasm = |word: &str| components::command(&format!("{word}\n"));
    let good = world.publish("moving", wasm("good")).await;
    let unsigned = world.publish_signed("moving", wasm("evil"), SignedBy::Nobody).await;
    let rule = Match::on(Target::Manifest).tag("1.0").from_nth(1).times(1);
    world.deployment.registry.inject(Rule::new(rule, Fault::FlipTag { to: good.manifest }));
    let asked = (0..16).map(|_| world.host.ask(json!({"reference": good.reference, "dry_run": true})));
    for reply in join_all(asked).await {
        match reply.status {
            200 => assert_eq!(reply.body["artifact"], good.manifest.to_string(), "{}", reply.body),
            403 => assert_eq!(reply.body["artifact"], unsigned.manifest.to_string(), "{}", reply.body),
            _ => panic!("{}", reply.body),
        }
        let record = world.decision(reply.decision()).await;
        assert_eq!(record["case"]["artifact"]["digest"], reply.body["artifact"]);
    }
}

async fn one_digest(world: &World, reply: &witgate_tests::Reply, pushed: &Pushed, wasm: Vec<u8>) {
    use base64::Engine as _;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.body["artifact"], pushed.manifest.to_string());
    assert_eq!(reply.body["component"]["digest"], pushed.component.to_string());
    let payload = reply.body["ticket"]["payload"].as_str().unwrap();
    let payload = base64::engine::general_purpose::STANDARD.decode(payload).unwrap();
    let ticket: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(ticket["subject"][0]["digest"]["sha256"], pushed.component.hex());
    assert_eq!(ticket["predicate"]["component"]["manifestDigest"], pushed.manifest.to_string());
    assert_eq!(ticket["predicate"]["decisionId"], reply.body["decision"]);
    let record = world.decision(reply.decision()).await;
    assert_eq!(record["case"]["artifact"]["digest"], pushed.manifest.to_string());
    assert_eq!(record["case"]["artifact"]["component"]["digest"], pushed.component.to_string());
    let bytes = world.host.component(&pushed.component.to_string(), Some(&ticket_id(reply))).await;
    assert_eq!((bytes.status, &bytes.bytes[..]), (200, &wasm[..]));
}
