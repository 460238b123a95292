//! Tags and referrers at the registry door: who hears of them, and that nothing runs that comes with them.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{SignedBy, host_id, policy_data};
use witgate::dev::registry::push::{self, OCI_MANIFEST, Pushed, WASM_CONFIG, WASM_LAYER, fallback_tag};
use witgate::dev::registry::{Auth, Fault, Match, Referrers, Rule, Target};
use witgate::dev::spiffe::Leaf;
use witgate_tests::{ALIAS, Caller, Reply, World, components, door_path};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

async fn tag(world: &World, name: &str, tags: &[&str]) -> Pushed {
    let pushed = world.publish(name, components::command(&format!("{name}\n"))).await;
    let host = world.deployment.registry.host();
    for tag in tags {
        let manifest = pushed.manifest_bytes.clone();
        push::manifest_raw(&host, &format!("demo/{name}"), tag, OCI_MANIFEST, manifest, &Auth::Open).await.unwrap();
    }
    pushed
}

/// The pages from `path` on.
async fn pages(caller: &Caller, path: &str) -> Vec<Value> {
    let mut pages = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let reply = caller.get(&path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        next = reply.headers.get("link").map(|link| {
            let link = link.to_str().unwrap().strip_prefix('<').unwrap();
            link.strip_suffix(">; rel=\"next\"").unwrap().to_owned()
        });
        pages.push(reply.body["tags"].clone());
        assert!(pages.len() < 20, "pages without an end");
    }
    pages
}

#[tokio::test(flavor = "multi_thread")]
async fn a29_1_tags_are_told_where_something_was_admitted_sorted_in_our_own_pages() {
    let world = World::behind_the_door(|_| {}).await;
    let stranger = world.caller(&host_id("b"), &Leaf::new(Timestamp::now())).await.unwrap();
    tag(&world, "tags", &["b", "a", "2.0"]).await;
    let path = door_path("tags", "tags/list");
    let seen = world.deployment.registry.requests().len();
    let before = world.host.pull("tags", "tags/list").await;
    let absent = world.host.pull("none", "tags/list").await;
    assert_eq!((before.status, before.error_code()), (404, "NAME_UNKNOWN"), "{}", before.body);
    assert_eq!(before.body.to_string().replace("tags`", "none`"), absent.body.to_string());
    assert_eq!(
        world.deployment.registry.requests().len(),
        seen,
        "nobody was asked, so nobody can tell by the time it takes"
    );

    assert_eq!(world.host.pull("tags", "manifests/1.0").await.status, 200);
    let all = world.host.pull("tags", "tags/list").await;
    assert_eq!(all.body, json!({"name": format!("{ALIAS}/demo/tags"), "tags": ["1.0", "2.0", "a", "b"]}));
    assert_eq!(world.host.head("tags", "tags/list").await.shape().1, all.shape().1);
    assert_eq!(pages(&world.host, &format!("{path}?n=3")).await, [json!(["1.0", "2.0", "a"]), json!(["b"])]);
    assert_eq!(pages(&world.host, &format!("{path}?n=2&last=1.0")).await, [json!(["2.0", "a"]), json!(["b"])]);
    assert_eq!(pages(&world.host, &format!("{path}?n=0")).await, [json!([])]);
    assert_eq!(pages(&world.host, &format!("{path}?n=99999999999999999999")).await.len(), 1);
    let by_namespace = pages(&world.host, &format!("/v2/demo/tags/tags/list?ns={ALIAS}&n=2")).await;
    assert_eq!(by_namespace, [json!(["1.0", "2.0"]), json!(["a", "b"])]);
    // Another caller was admitted to nothing there.
    assert_eq!(stranger.pull("tags", "tags/list").await.shape(), before.shape());
    // A restart forgets that it held, not that it was: it is admitted anew.
    let world = world.restart(|_| {}).await;
    let size = world.log_size().await;
    assert_eq!(world.host.pull("tags", "tags/list").await.body["tags"].as_array().unwrap().len(), 4);
    assert_eq!(world.log_size().await, size + 1);

    // An upstream that everybody may ask is asked for everybody.
    let door = world.local_door("local").await;
    let open = door.fetch(Method::GET, &path).await;
    assert_eq!((open.status, &open.body), (200, &all.body));
    assert_eq!(door.fetch(Method::GET, &door_path("none", "tags/list")).await.status, 404);
    door.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a12_1_lists_that_lie_or_flood_are_outages() {
    let world = World::behind_the_door(|setup| {
        setup.more = "[registry]\nidle_timeout_ms = 2000\nmetadata_timeout_ms = 3000\n".into()
    })
    .await;
    tag(&world, "lists", &[]).await;
    assert_eq!(world.host.pull("lists", "manifests/1.0").await.status, 200);
    let link = |target: &str| Fault::Header { name: "link".into(), value: format!("<{target}>; rel=\"next\"") };
    let text = |text: &str| Fault::WrongBytes(Bytes::copy_from_slice(text.as_bytes()));
    for fault in [
        Fault::Flood { bytes: u64::MAX },
        Fault::Status { code: 403, body: Bytes::new(), headers: vec![] },
        Fault::Status { code: 500, body: Bytes::new(), headers: vec![] },
        Fault::Garbage,
        text("<html>"),
        text("[]"),
        text(r#"{"tags":["../../x"]}"#),
        text(r#"{"tags":["a\u001b[31m"]}"#),
        text(r#"{"tags":["a"],"tags":["b"]}"#),
        text(r#"{"tags":[1]}"#),
        link("http://169.254.169.254/v2/demo/lists/tags/list?last=a"),
        link("/v2/demo/other/tags/list?last=a"),
    ] {
        let what = format!("{fault:?}");
        world.deployment.registry.inject(Rule::new(Match::on(Target::Tags), fault));
        let reply = world.host.pull("lists", "tags/list").await;
        assert_eq!((reply.status, reply.error_code()), (503, "UNAVAILABLE"), "{what}: {}", reply.body);
        world.deployment.registry.heal();
    }
    // A next page that is the same one again leads nowhere.
    world.deployment.registry.inject(Rule::new(Match::on(Target::Tags), link("/v2/demo/lists/tags/list?last=1.0")));
    let first = world.host.pull("lists", "tags/list").await;
    assert_eq!(
        (first.status, first.header("link")),
        (200, &*format!("<{}?n=1000&last=1.0>; rel=\"next\"", door_path("lists", "tags/list")))
    );
    assert_eq!(world.host.pull("lists", "tags/list?last=1.0").await.status, 503);
    world.deployment.registry.heal();
    assert_eq!(world.host.pull("lists", "tags/list").await.status, 200);
}

/// Pushes a manifest about `subject` whose layers are these; gives its digest.
async fn refer(
    world: &World,
    name: &str,
    subject: &Pushed,
    artifact_type: Option<&str>,
    layers: &[(&str, &[u8])],
) -> Digest {
    refer_with(world, name, subject, artifact_type, (EMPTY, b"{}"), layers).await
}

async fn refer_with(
    world: &World,
    name: &str,
    subject: &Pushed,
    artifact_type: Option<&str>,
    config: (&str, &[u8]),
    layers: &[(&str, &[u8])],
) -> Digest {
    let (host, repository) = (world.deployment.registry.host(), format!("demo/{name}"));
    let descriptor =
        |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    for (_, bytes) in layers.iter().chain([&config]) {
        push::blob_raw(&host, &repository, Bytes::copy_from_slice(bytes), &Auth::Open).await.unwrap();
    }
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config.0, config.1),
        "layers": layers.iter().map(|(kind, bytes)| descriptor(kind, bytes)).collect::<Vec<_>>(),
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject.manifest, "size": subject.manifest_bytes.len()},
        "annotations": {"who": "pushed it"},
    });
    if let Some(artifact_type) = artifact_type {
        manifest["artifactType"] = json!(artifact_type);
    }
    let manifest = Bytes::from(manifest.to_string());
    let digest = Digest::of(&manifest);
    push::manifest_raw(&host, &repository, &digest.to_string(), OCI_MANIFEST, manifest, &Auth::Open).await.unwrap();
    digest
}

fn listed(reply: &Reply) -> Vec<String> {
    assert_eq!((reply.status, reply.header("content-type")), (200, INDEX), "{}", reply.body);
    let manifests = reply.body["manifests"].as_array().unwrap();
    manifests.iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

/// What cosign does to verify what was pulled: list, then fetch each manifest and its bundle.
#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_what_was_admitted_can_be_fetched_with_it() {
    for referrers in [Referrers::Api { page_size: 1 }, Referrers::TagOnly] {
        let world = World::behind_the_door(|setup| setup.registry.referrers = referrers).await;
        let stranger = world.caller(&host_id("b"), &Leaf::new(Timestamp::now())).await.unwrap();
        let pushed = world.publish("attached", components::command("attached\n")).await;
        let rest = format!("referrers/{}", pushed.manifest);
        let nothing = world.host.pull("attached", &rest).await;
        assert_eq!(nothing.body, json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}), "not admitted yet");
        assert_eq!(
            nothing.shape(),
            world.host.pull("attached", &format!("referrers/{}", Digest::of(b"x"))).await.shape()
        );
        let admitted = world.host.pull("attached", "manifests/1.0").await;
        assert_eq!(admitted.status, 200);

        let reply = world.host.pull("attached", &rest).await;
        let [bundle] = &listed(&reply)[..] else { panic!("{}", reply.body) };
        let entry = &reply.body["manifests"][0];
        assert_eq!((&entry["artifactType"], &entry["mediaType"]), (&json!(BUNDLE), &json!(OCI_MANIFEST)));
        assert_eq!(entry["annotations"]["dev.sigstore.bundle.content"], "dsse-envelope");
        assert_eq!(reply.header("witgate-decision"), admitted.header("witgate-decision"));
        assert_eq!(world.host.head("attached", &rest).await.shape().1, reply.shape().1);
        let manifest = world.host.pull("attached", &format!("manifests/{bundle}")).await;
        assert_eq!((manifest.status, Digest::of(&manifest.bytes).to_string()), (200, bundle.clone()));
        assert_eq!(entry["size"], manifest.bytes.len());
        for blob in [&manifest.body["layers"][0], &manifest.body["config"]] {
            let bytes = world.host.pull("attached", &format!("blobs/{}", blob["digest"].as_str().unwrap())).await;
            assert_eq!(
                (bytes.status, json!(Digest::of(&bytes.bytes))),
                (200, blob["digest"].clone()),
                "{}",
                bytes.body
            );
        }
        // Filtered, and said so.
        let filtered = |kind: &str| format!("{rest}?artifactType={}", kind.replace('+', "%2B"));
        let reply = world.host.pull("attached", &filtered(BUNDLE)).await;
        assert_eq!((listed(&reply).len(), reply.header("oci-filters-applied")), (1, "artifactType"));
        let other = world.host.pull("attached", &filtered("application/spdx+json")).await;
        assert_eq!((listed(&other).len(), other.header("oci-filters-applied")), (0, "artifactType"));

        // Nobody else hears of it or gets it.
        assert_eq!(stranger.pull("attached", &rest).await.shape(), nothing.shape());
        let layer = manifest.body["layers"][0]["digest"].as_str().unwrap();
        assert_eq!(stranger.pull("attached", &format!("blobs/{layer}")).await.status, 404);
        assert_eq!(world.host.pull("attached", "referrers/sha256:bad").await.status, 400);
        let sha512 = world.host.pull("attached", &format!("referrers/sha512:{}", "0".repeat(128))).await;
        assert!(listed(&sha512).is_empty());

        // After a restart the grant is admitted anew, and what is attached is found by asking again.
        let world = world.restart(|_| {}).await;
        assert_eq!(world.host.pull("attached", &format!("blobs/{layer}")).await.status, 404);
        assert_eq!(listed(&world.host.pull("attached", &rest).await).len(), 1);
        assert_eq!(world.host.pull("attached", &format!("blobs/{layer}")).await.status, 200);
    }
}

/// Whoever may push could attach a component to one that was admitted: it must not come in by that way.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_could_run_comes_in_as_an_attachment() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = world.publish("victim", components::command("victim\n")).await;
    let evil = components::greedy("evil\n");
    let other = world.publish_signed("other", components::command("other\n"), SignedBy::Nobody).await;
    let nested = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    let config = json!({"os": "wasip2", "layerDigests": [Digest::of(&evil)]}).to_string();
    let spin = "application/vnd.fermyon.spin.application.v1+config";
    let mut hidden = vec![
        ("a component", refer(&world, "victim", &pushed, None, &[(WASM_LAYER, &evil)]).await),
        (
            "a component as wash pushes it",
            refer_with(&world, "victim", &pushed, None, (WASM_CONFIG, config.as_bytes()), &[(WASM_LAYER, &evil)]).await,
        ),
        (
            "a component that is called a bundle",
            refer(&world, "victim", &pushed, Some(BUNDLE), &[(BUNDLE, &evil)]).await,
        ),
        (
            "a bundle with a component behind",
            refer(&world, "victim", &pushed, Some(BUNDLE), &[(BUNDLE, b"{}"), (BUNDLE, &evil)]).await,
        ),
        (
            "an application of inline parts",
            refer(&world, "victim", &pushed, Some(BUNDLE), &[(spin, b"{\"inline\":[]}")]).await,
        ),
        (
            "another kind of artifact",
            refer(&world, "victim", &pushed, Some("application/wasm"), &[(BUNDLE, b"{}")]).await,
        ),
        ("a text", refer(&world, "victim", &pushed, Some(BUNDLE), &[(BUNDLE, b"\"text\"")]).await),
        ("too deep", refer(&world, "victim", &pushed, Some(BUNDLE), &[(BUNDLE, nested.as_bytes())]).await),
        (
            "keys that stand twice",
            refer(&world, "victim", &pushed, Some(BUNDLE), &[(BUNDLE, b"{\"a\":1,\"a\":2}")]).await,
        ),
    ];
    let about_other = refer(&world, "victim", &other, Some(BUNDLE), &[(BUNDLE, b"{}")]).await;
    hidden.push(("about something else", about_other));
    let sbom =
        refer(&world, "victim", &pushed, Some("application/spdx+json"), &[("application/spdx+json", b"{\"a\":1}")])
            .await;

    assert_eq!(world.host.pull("victim", "manifests/1.0").await.status, 200);
    let reply = world.host.pull("victim", &format!("referrers/{}", pushed.manifest)).await;
    let digests = listed(&reply);
    assert_eq!(digests.len(), 2, "the bundle of whoever signed it, and the bill of materials: {}", reply.body);
    assert!(digests.contains(&sbom.to_string()));
    let warning = reply.header("warning");
    assert!(warning.starts_with(&format!("299 - \"witgate: {} referrers are left out", hidden.len() - 1)), "{warning}");
    for (what, digest) in hidden {
        let manifest = world.host.pull("victim", &format!("manifests/{digest}")).await;
        assert_eq!((manifest.status, manifest.error_code()), (403, "DENIED"), "{what}: {}", manifest.body);
    }
    for bytes in [&evil[..], config.as_bytes(), b"\"text\"", nested.as_bytes()] {
        let blob = world.host.pull("victim", &format!("blobs/{}", Digest::of(bytes))).await;
        assert_eq!((blob.status, blob.error_code()), (404, "BLOB_UNKNOWN"), "{}", blob.body);
    }
    assert_eq!(world.host.pull("victim", &format!("manifests/{sbom}")).await.status, 200);
    assert_eq!(
        world.host.pull("victim", &format!("blobs/{}", Digest::of(b"{\"a\":1}"))).await.bytes,
        &b"{\"a\":1}"[..]
    );
}

/// A25: a registry that will not tell is an outage, never "nothing is attached".
#[tokio::test(flavor = "multi_thread")]
async fn a25_1_a25_2_a_refusal_to_show_referrers_is_never_an_empty_list() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = world.publish("hushed", components::command("hushed\n")).await;
    assert_eq!(world.host.pull("hushed", "manifests/1.0").await.status, 200);
    let rest = format!("referrers/{}", pushed.manifest);
    let status = |code| Fault::Status { code, body: Bytes::new(), headers: vec![] };
    for code in [401, 403, 500, 503] {
        world.deployment.registry.inject(Rule::new(Match::on(Target::Referrers), status(code)));
        let reply = world.host.pull("hushed", &rest).await;
        assert_eq!((reply.status, reply.error_code()), (503, "UNAVAILABLE"), "{code}: {}", reply.body);
        world.deployment.registry.heal();
    }
    // No such API, and then no leave to read the tag.
    world.deployment.registry.inject(Rule::new(Match::on(Target::Referrers), status(404)));
    let tag = Match::on(Target::Manifest).tag(fallback_tag(&pushed.manifest));
    world.deployment.registry.inject(Rule::new(tag, status(403)));
    assert_eq!(world.host.pull("hushed", &rest).await.status, 503);
    world.deployment.registry.heal();
    // No such API and no such tag: nothing is attached.
    world.deployment.registry.inject(Rule::new(Match::on(Target::Referrers), status(404)));
    assert!(listed(&world.host.pull("hushed", &rest).await).is_empty());
    world.deployment.registry.heal();
    assert_eq!(listed(&world.host.pull("hushed", &rest).await).len(), 1);
    // It says to wait: so do we, and nobody asks it before.
    world.deployment.registry.inject(Rule::new(Match::on(Target::Referrers), status(429)));
    let reply = world.host.pull("hushed", &rest).await;
    assert_eq!((reply.status, reply.error_code()), (429, "TOOMANYREQUESTS"), "{}", reply.body);
}

/// A12.2: more than can be told of is an outage that names the limit.
#[tokio::test(flavor = "multi_thread")]
async fn a12_2_a_flood_of_referrers_is_no_list_at_all() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = world.publish("flooded", components::command("flooded\n")).await;
    assert_eq!(world.host.pull("flooded", "manifests/1.0").await.status, 200);
    let rest = format!("referrers/{}", pushed.manifest);
    for number in 0..127 {
        let body = format!("{{\"n\":{number}}}");
        refer(&world, "flooded", &pushed, Some(BUNDLE), &[(BUNDLE, body.as_bytes())]).await;
    }
    assert_eq!(listed(&world.host.pull("flooded", &rest).await).len(), 128);
    refer(&world, "flooded", &pushed, Some(BUNDLE), &[(BUNDLE, b"{\"n\":128}")]).await;
    let reply = world.host.pull("flooded", &rest).await;
    assert_eq!(reply.status, 503, "{}", reply.body);
    assert!(reply.message().contains("more than 128 referrers"), "{}", reply.message());
}

/// The fallback tag is a tag: it is decided about as any other, and is no component.
#[tokio::test(flavor = "multi_thread")]
async fn a25_1_the_fallback_tag_is_no_side_door() {
    let world = World::behind_the_door(|setup| setup.registry.referrers = Referrers::TagOnly).await;
    let pushed = world.publish("tagged", components::command("tagged\n")).await;
    assert_eq!(world.host.pull("tagged", "manifests/1.0").await.status, 200);
    let rest = format!("manifests/{}", fallback_tag(&pushed.manifest));
    let before = world.log_size().await;
    let reply = world.host.pull("tagged", &rest).await;
    assert_eq!((reply.status, reply.error_code()), (403, "DENIED"), "{}", reply.body);
    assert!(reply.message().contains("artifact-unsupported"), "{}", reply.message());
    assert_eq!(world.log_size().await, before + 1, "a decision as any other");
    // Who is granted nothing there hears what it hears of a tag that is absent.
    let none = World::behind_the_door(|setup| {
        setup.registry.referrers = Referrers::TagOnly;
        let mut data = policy_data(ALIAS);
        data["witgate"]["grants"] = json!([]);
        setup.policy_data = Some(data);
    })
    .await;
    let pushed = none.publish("tagged", components::command("tagged\n")).await;
    let there = none.host.pull("tagged", &format!("manifests/{}", fallback_tag(&pushed.manifest))).await;
    assert_eq!((there.status, there.error_code()), (404, "MANIFEST_UNKNOWN"));
}
