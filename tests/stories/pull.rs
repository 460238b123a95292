//! The registry door as its clients use it: what is admitted comes byte for byte, what is not comes not at all.

use bytes::Bytes;
use http::Method;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use witgate::case::{Digest, Timestamp};
use witgate::dev::deployment::{ISSUER, SIGNER, SignedBy};
use witgate::dev::registry::push::{self, OCI_MANIFEST, Pushed, WASM_CONFIG, WASM_LAYER};
use witgate::dev::registry::{Auth, Fault, Match, Rule, Target};
use witgate::dev::sigstore::{SIGNED_AFTER_S, Sign};
use witgate_tests::{ALIAS, World, components, door_path};

/// A signed component with a config of exactly `config_bytes`.
async fn publish_with_config(world: &World, name: &str, config_bytes: usize) -> (Pushed, Bytes) {
    let (host, repository) = (world.deployment.registry.host(), format!("demo/{name}"));
    let wasm = Bytes::from(components::command("hello\n"));
    let config =
        |author: &str| json!({"author": author, "os": "wasip2", "layerDigests": [Digest::of(&wasm)]}).to_string();
    let config = config(&"x".repeat(config_bytes - config("").len()));
    let descriptor =
        |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(WASM_CONFIG, config.as_bytes()),
        "layers": [descriptor(WASM_LAYER, &wasm)],
    });
    let (config, manifest) = (Bytes::from(config), Bytes::from(manifest.to_string()));
    push::blob_raw(&host, &repository, config.clone(), &Auth::Open).await.unwrap();
    push::blob_raw(&host, &repository, wasm.clone(), &Auth::Open).await.unwrap();
    let digest =
        push::manifest_raw(&host, &repository, "1.0", OCI_MANIFEST, manifest.clone(), &Auth::Open).await.unwrap();
    let pushed = Pushed {
        reference: format!("{host}/{repository}:1.0"),
        manifest: digest,
        manifest_bytes: manifest,
        component: Digest::of(&wasm),
    };
    sign(world, name, &pushed).await;
    (pushed, config)
}

async fn sign(world: &World, name: &str, pushed: &Pushed) {
    let begin = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    let bundle = world.deployment.sigstore.sign(Sign::cosign(pushed.manifest, SIGNER, ISSUER, begin)).unwrap();
    let (host, kind) = (world.deployment.registry.host(), Some("https://sigstore.dev/cosign/sign/v1"));
    push::bundle(&host, &format!("demo/{name}"), pushed, &bundle, kind, &Auth::Open).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_read_only_requests_of_the_conformance_suite() {
    let world = World::behind_the_door(|_| {}).await;
    let (pushed, config) = publish_with_config(&world, "suite", 700).await;
    let digest = pushed.manifest.to_string();
    let before = world.log_size().await;
    let ping = world.host.get("/v2/").await;
    assert_eq!((ping.status, &ping.body), (200, &json!({})));
    assert_eq!(ping.header("docker-distribution-api-version"), "registry/2.0");
    assert_eq!(world.host.get("/v2").await.status, 200);
    assert_eq!(world.log_size().await, before, "a ping costs nothing");
    assert_eq!(world.deployment.registry.requests().iter().filter(|request| request.path == "/v2/").count(), 0);

    for reference in ["1.0", &digest] {
        let head = world.host.head("suite", &format!("manifests/{reference}")).await;
        let got = world.host.pull("suite", &format!("manifests/{reference}")).await;
        assert_eq!((head.status, got.status), (200, 200), "{reference}: {}", got.body);
        assert_eq!(got.bytes, pushed.manifest_bytes, "byte for byte");
        assert!(head.bytes.is_empty());
        assert_eq!(head.shape().1, got.shape().1, "HEAD has the headers of GET");
        assert_eq!(got.header("content-length"), pushed.manifest_bytes.len().to_string());
        assert_eq!(got.header("content-type"), OCI_MANIFEST);
        assert_eq!(got.header("docker-content-digest"), digest);
        assert_eq!(got.header("etag"), format!("\"{digest}\""));
        assert_eq!(got.header("cache-control"), "private, max-age=0");
        assert!(!got.headers.contains_key("content-encoding"));
    }
    for (blob, bytes) in [(Digest::of(&config), config), (pushed.component, components::command("hello\n").into())] {
        let rest = format!("blobs/{blob}");
        let (head, got) = (world.host.head("suite", &rest).await, world.host.pull("suite", &rest).await);
        assert_eq!((head.status, got.status, &got.bytes), (200, 200, &bytes));
        assert_eq!(head.shape().1, got.shape().1, "HEAD has the headers of GET");
        assert_eq!(got.header("content-length"), bytes.len().to_string());
        assert_eq!(got.header("docker-content-digest"), blob.to_string());
        assert_eq!(got.header("accept-ranges"), "bytes");
    }
    let missing = Digest::of(b"missing");
    for (rest, status, code) in [
        (format!("manifests/{missing}"), 404, "MANIFEST_UNKNOWN"),
        ("manifests/2.0".into(), 404, "MANIFEST_UNKNOWN"),
        ("manifests/.INVALID_MANIFEST_NAME".into(), 404, "MANIFEST_UNKNOWN"),
        ("manifests/sha256:baddigeststring".into(), 400, "DIGEST_INVALID"),
        (format!("blobs/{missing}"), 404, "BLOB_UNKNOWN"),
        (format!("blobs/sha512:{}", "0".repeat(128)), 404, "BLOB_UNKNOWN"),
        (format!("manifests/sha512:{}", "0".repeat(128)), 404, "MANIFEST_UNKNOWN"),
    ] {
        let reply = world.host.pull("suite", &rest).await;
        assert_eq!((reply.status, reply.error_code()), (status, code), "{rest}: {}", reply.body);
        let head = world.host.head("suite", &rest).await;
        assert_eq!((head.status, head.bytes.len()), (status, 0), "{rest}");
        assert_eq!(head.shape().1, reply.shape().1, "{rest}: HEAD has the headers of GET");
    }
    // Everything stood on two decisions: one about the tag, none about what it led to.
    assert_eq!(world.log_size().await, before + 1);
    let listed = world.host.get(&format!("/v1/decisions?after={}", before - 1)).await;
    let record = &listed.body["decisions"][0];
    assert_eq!((&record["case"]["purpose"], &record["entry"]["purpose"]), (&json!("pull"), &json!("pull")));
    assert_eq!(record["case"]["reference"]["text"], format!("{ALIAS}/demo/suite:1.0"));
    world.verify_log().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a21_4_ranges_are_those_of_the_conformance_suite_and_come_after_the_grant() {
    let world = World::behind_the_door(|_| {}).await;
    let (_, config) = publish_with_config(&world, "ranges", 2048).await;
    let path = door_path("ranges", &format!("blobs/{}", Digest::of(&config)));
    let get = async |headers: &[(&str, &str)]| world.host.fetch(Method::GET, &path, headers).await;
    for range in ["bytes=0-1", "bytes=5000-10000", "bytes=5-1"] {
        let reply = get(&[("range", range)]).await;
        assert_eq!((reply.status, reply.error_code()), (404, "BLOB_UNKNOWN"), "no range of what is not admitted");
    }
    assert_eq!(world.host.pull("ranges", "manifests/1.0").await.status, 200);
    for (range, expected) in [
        ("bytes=500-1499", Some((500, 1499))),
        ("bytes=500-", Some((500, 2047))),
        ("bytes=-500", Some((1548, 2047))),
        ("bytes=2000-5000", Some((2000, 2047))),
        ("bytes=500-0", None),
        ("bytes=5000-10000", None),
        ("bytes=-0", None),
    ] {
        let reply = get(&[("range", range)]).await;
        match expected {
            Some((first, last)) => {
                assert_eq!((reply.status, &reply.bytes), (206, &config.slice(first..=last)), "{range}");
                assert_eq!(reply.header("content-range"), format!("bytes {first}-{last}/2048"), "{range}");
                assert_eq!(reply.header("content-length"), (last + 1 - first).to_string(), "{range}");
            }
            None => {
                assert_eq!((reply.status, reply.header("content-range")), (416, "bytes */2048"), "{range}");
                assert!(reply.bytes.is_empty(), "{range}");
            }
        }
    }
    // Several ranges, other units and numbers that cannot be: the whole, as RFC 9110 lets us.
    for range in ["bytes=0-1,3-4", "items=0-1", "bytes=18446744073709551616-", "bytes=a-b", "bytes="] {
        let reply = get(&[("range", range)]).await;
        assert_eq!((reply.status, &reply.bytes), (200, &config), "{range}");
    }
    let etag = format!("\"{}\"", Digest::of(&config));
    let current = get(&[("range", "bytes=0-1"), ("if-range", &etag)]).await;
    assert_eq!((current.status, &current.bytes[..]), (206, &config[..2]));
    let stale = get(&[("range", "bytes=0-1"), ("if-range", "\"sha256:0\"")]).await;
    assert_eq!((stale.status, &stale.bytes), (200, &config));
    let unchanged = get(&[("if-none-match", &etag)]).await;
    assert_eq!((unchanged.status, unchanged.header("etag"), unchanged.bytes.len()), (304, &*etag, 0));
    let head = world.host.fetch(Method::HEAD, &path, &[("range", "bytes=0-1")]).await;
    assert_eq!((head.status, head.header("content-length")), (200, "2048"), "HEAD knows no ranges");
}

/// The client inside wash and wkg, unmodified.
#[tokio::test(flavor = "multi_thread")]
async fn an_oci_client_pulls_through_the_door_and_is_told_why_it_may_not() {
    let world = World::start().await;
    let wasm = components::command("hello\n");
    let good = world.publish("good", wasm.clone()).await;
    world.publish("greedy", components::greedy("hello\n")).await;
    let door = world.local_door("local").await;
    let client =
        oci_client::Client::try_from(ClientConfig { protocol: ClientProtocol::Http, ..Default::default() }).unwrap();
    let media_types = vec![WASM_LAYER];
    for reference in [
        format!("{}/{ALIAS}/demo/good:1.0", door.host()),
        format!("{}/{ALIAS}/demo/good@{}", door.host(), good.manifest),
    ] {
        let reference = reference.parse().unwrap();
        let image = client.pull(&reference, &RegistryAuth::Anonymous, media_types.clone()).await.unwrap();
        assert_eq!(image.layers[0].data, wasm);
        assert_eq!(image.digest.as_deref(), Some(&*good.manifest.to_string()));
    }
    let greedy = format!("{}/{ALIAS}/demo/greedy:1.0", door.host()).parse().unwrap();
    let refused = client.pull(&greedy, &RegistryAuth::Anonymous, media_types.clone()).await.err().unwrap().to_string();
    for part in ["witgate: refused", "import-not-granted", "wasi:sockets/network@0.2.12", "(decision 0"] {
        assert!(refused.contains(part), "the message alone must say it: {refused}");
    }
    let missing = format!("{}/{ALIAS}/demo/missing:1.0", door.host()).parse().unwrap();
    let missing = client.pull(&missing, &RegistryAuth::Anonymous, media_types).await.err().unwrap().to_string();
    assert!(missing.contains("is unknown"), "{missing}");
    door.service.stop().await;
}

/// As containerd asks: HEAD by tag, then everything by digest, `ns` on each.
#[tokio::test(flavor = "multi_thread")]
async fn the_namespace_stands_for_the_prefix_and_both_are_one_decision() {
    let world = World::behind_the_door(|_| {}).await;
    let (pushed, config) = publish_with_config(&world, "ns", 700).await;
    let before = world.log_size().await;
    let accept = "application/vnd.docker.distribution.manifest.v2+json, */*";
    let at = |rest: &str| format!("/v2/demo/ns/{rest}?ns={ALIAS}");
    let head = world.host.fetch(Method::HEAD, &at("manifests/1.0"), &[("accept", accept)]).await;
    assert_eq!((head.status, head.header("oci-namespace")), (200, ALIAS));
    assert_eq!(head.header("docker-content-digest"), pushed.manifest.to_string());
    for (rest, bytes) in [
        (format!("manifests/{}", pushed.manifest), pushed.manifest_bytes.clone()),
        (format!("blobs/{}", Digest::of(&config)), config),
        (format!("blobs/{}", pushed.component), components::command("hello\n").into()),
    ] {
        let reply = world.host.fetch(Method::GET, &at(&rest), &[]).await;
        assert_eq!((reply.status, &reply.bytes, reply.header("oci-namespace")), (200, &bytes, ALIAS), "{rest}");
        assert_eq!(world.host.pull("ns", &rest).await.bytes, bytes, "{rest}");
    }
    assert_eq!(world.host.pull("ns", "manifests/1.0").await.header("oci-namespace"), "");
    assert_eq!(world.log_size().await, before + 1, "both spellings share one decision");
    // The registry's name with its port can be a namespace, though no path segment; policy grants nothing there.
    let host = world.deployment.registry.host();
    let with_port = world.host.get(&format!("/v2/demo/ns/manifests/1.0?ns={}", host.replace(':', "%3A"))).await;
    assert_eq!((with_port.status, with_port.header("oci-namespace")), (404, &*host), "{}", with_port.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a20_1_what_has_two_readings_is_asked_of_nobody() {
    let world = World::behind_the_door(|_| {}).await;
    world.publish("odd", components::command("odd\n")).await;
    let door = world.local_door("local").await;
    let (before, seen) = (world.log_size().await, world.deployment.registry.requests().len());
    let long = "a".repeat(300);
    for (path, status, code) in [
        (format!("/v2/{ALIAS}/../{ALIAS}/demo/odd/manifests/1.0"), 400, "NAME_INVALID"),
        (format!("/v2/{ALIAS}/%2e%2e/demo/odd/manifests/1.0"), 400, "NAME_INVALID"),
        (format!("/v2/{ALIAS}/demo%2fodd/manifests/1.0"), 400, "NAME_INVALID"),
        (format!("/v2/{ALIAS}/demo//odd/manifests/1.0"), 400, "NAME_INVALID"),
        (format!("/v2//{ALIAS}/demo/odd/manifests/1.0"), 404, "NAME_UNKNOWN"),
        (format!("//v2/{ALIAS}/demo/odd/manifests/1.0"), 404, ""),
        (format!("/v2/{ALIAS}/demo/odd/manifests/1.0/"), 404, "NAME_UNKNOWN"),
        (format!("/v2/{}/demo/odd/manifests/1.0", ALIAS.to_uppercase()), 404, "NAME_UNKNOWN"),
        (format!("/v2/{ALIAS}/demo/Odd/manifests/1.0"), 400, "NAME_INVALID"),
        (format!("/v2/{ALIAS}/demo/{long}/manifests/1.0"), 400, "NAME_INVALID"),
        (format!("/v2/{ALIAS}:443/demo/odd/manifests/1.0"), 404, "NAME_UNKNOWN"),
        ("/v2/169.254.169.254/demo/odd/manifests/1.0".into(), 404, "NAME_UNKNOWN"),
        ("/v2/demo/odd/manifests/1.0".into(), 404, "NAME_UNKNOWN"),
        (format!("/v2/demo/odd/manifests/1.0?ns={ALIAS}%00"), 404, "NAME_UNKNOWN"),
        (format!("/v2/demo/odd/manifests/1.0?ns={ALIAS}&ns={ALIAS}"), 400, "NAME_INVALID"),
        (format!("/v2/{ALIAS}/demo/odd/manifests/1.0?ns={ALIAS}"), 400, "NAME_INVALID"),
        ("/v2/demo/odd/manifests/1.0?ns=registry.example".into(), 404, "NAME_UNKNOWN"),
    ] {
        // By hand: a client would tidy up the path.
        let mut stream = tokio::net::TcpStream::connect(door.host()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {head}");
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["errors"][0]["code"].as_str().unwrap_or_default(), code, "{path}: {body}");
    }
    assert_eq!(world.log_size().await, before);
    assert_eq!(world.deployment.registry.requests().len(), seen, "somebody was asked");
    // A name with endpoint words in it is one name.
    let words = door.fetch(Method::GET, &format!("/v2/{ALIAS}/x/manifests/y/manifests/1.0")).await;
    assert_eq!((words.status, words.error_code()), (404, "MANIFEST_UNKNOWN"));
    let asked = world.deployment.registry.requests();
    assert_eq!(asked.last().unwrap().path, "/v2/x/manifests/y/manifests/1.0");
    door.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a28_5_nothing_is_written_listed_or_passed_on() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = world.publish("writes", components::command("writes\n")).await;
    assert_eq!(world.host.pull("writes", "manifests/1.0").await.status, 200);
    let (before, seen) = (world.log_size().await, world.deployment.registry.requests().len());
    let blob = format!("blobs/{}", pushed.component);
    for (method, path) in [
        (Method::POST, door_path("writes", "blobs/uploads/")),
        (Method::POST, door_path("other", &format!("blobs/uploads/?mount={}&from=demo/writes", pushed.component))),
        (Method::PATCH, door_path("writes", "blobs/uploads/0")),
        (Method::PUT, door_path("writes", "manifests/1.0")),
        (Method::PUT, door_path("writes", "manifests/2.0")),
        (Method::DELETE, door_path("writes", "manifests/1.0")),
        (Method::DELETE, door_path("writes", &blob)),
        (Method::OPTIONS, door_path("writes", &blob)),
        (Method::from_bytes(b"PURGE").unwrap(), door_path("writes", &blob)),
        (Method::POST, "/v2/".into()),
        (Method::GET, "/v2/_catalog".into()),
        (Method::GET, "/v2/_catalog?n=10000".into()),
    ] {
        let request = world.host.client().request(method.clone(), world.host.url(&path)).body(vec![b'x'; 100_000]);
        let reply = request.send().await.unwrap();
        assert_eq!(
            (reply.status().as_u16(), &reply.headers()["allow"]),
            (405, &"GET, HEAD".parse().unwrap()),
            "{method} {path}"
        );
        let body: Value = reply.json().await.unwrap();
        assert_eq!(body["errors"][0]["code"], "UNSUPPORTED", "{method} {path}");
    }
    // Larger than any body that is taken elsewhere: it is not read at all.
    let large =
        world.host.client().put(world.host.url(&door_path("writes", "manifests/1.0"))).body(vec![b'x'; 9 << 20]);
    if let Ok(reply) = large.send().await {
        assert_eq!(reply.status(), 405);
    }
    assert_eq!(world.log_size().await, before);
    assert_eq!(world.deployment.registry.requests().len(), seen, "something was passed on");
    assert_eq!(world.host.pull("writes", &blob).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_2_tag_flips_between_head_and_get() {
    let world = World::behind_the_door(|setup| setup.more = "[registry]\ntag_life_s = 0\n".into()).await;
    let a = world.publish("flips", components::command("a\n")).await;
    let head = world.host.head("flips", "manifests/1.0").await;
    assert_eq!((head.status, head.header("docker-content-digest")), (200, &*a.manifest.to_string()));
    let b = world.publish_signed("flips", components::command("b\n"), SignedBy::Nobody).await;
    let got = world.host.pull("flips", "manifests/1.0").await;
    assert_eq!((got.status, got.error_code()), (403, "DENIED"), "the second digest has a decision of its own");
    assert!(got.message().contains("no-verified-signature"), "{}", got.message());
    assert_eq!(world.host.pull("flips", &format!("blobs/{}", b.component)).await.status, 404);
    let by_digest = world.host.pull("flips", &format!("manifests/{}", b.manifest)).await;
    assert_eq!(by_digest.status, 403);
    // What was admitted stays what it is, by digest.
    let first = world.host.pull("flips", &format!("manifests/{}", a.manifest)).await;
    assert_eq!((first.status, &first.bytes), (200, &a.manifest_bytes));
    let c = world.publish("flips", components::command("c\n")).await;
    let third = world.host.pull("flips", "manifests/1.0").await;
    assert_eq!((third.status, &third.bytes), (200, &c.manifest_bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a1_3_tag_flips_while_it_is_decided_and_the_answer_is_what_was_decided() {
    let world = World::behind_the_door(|_| {}).await;
    let mut seen = std::collections::BTreeSet::new();
    for nth in 1..=3 {
        let name = format!("moving{nth}");
        let b = world.publish(&name, components::command("b\n")).await;
        let a = world.publish(&name, components::command("a\n")).await;
        let tag = Match::on(Target::Manifest).repository(format!("demo/{name}")).tag("1.0").from_nth(nth);
        world.deployment.registry.inject(Rule::new(tag, Fault::FlipTag { to: b.manifest }));
        let reply = world.host.pull(&name, "manifests/1.0").await;
        world.deployment.registry.heal();
        assert_eq!(reply.status, 200, "{}", reply.body);
        let digest = reply.header("docker-content-digest");
        assert_eq!(Digest::of(&reply.bytes).to_string(), digest);
        let record = world.decision(reply.header("witgate-decision")).await;
        assert_eq!(record["case"]["artifact"]["digest"], digest);
        let (own, other) = if digest == a.manifest.to_string() { (&a, &b) } else { (&b, &a) };
        assert_eq!(world.host.pull(&name, &format!("blobs/{}", own.component)).await.status, 200);
        assert_eq!(world.host.pull(&name, &format!("blobs/{}", other.component)).await.status, 404);
        seen.insert(*digest == a.manifest.to_string());
    }
    assert_eq!(seen.len(), 2, "the flip struck at least once, and at least once not");
}

/// An index is admitted as what it leads to; its bytes and its child's come under the same decision.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_answered_with_its_own_bytes_and_its_child_from_the_same_grant() {
    let world = World::behind_the_door(|_| {}).await;
    let leaf = world.publish("index", components::command("leaf\n")).await;
    let host = world.deployment.registry.host();
    let index_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({
        "schemaVersion": 2,
        "mediaType": index_type,
        "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": Digest::of(b"amd64"), "size": 5, "platform": {"os": "linux", "architecture": "amd64"}},
            {"mediaType": OCI_MANIFEST, "digest": leaf.manifest, "size": leaf.manifest_bytes.len(),
             "platform": {"os": "wasip2", "architecture": "wasm"}},
        ],
    });
    let index = Bytes::from(index.to_string());
    push::manifest_raw(&host, "demo/index", "multi", index_type, index.clone(), &Auth::Open).await.unwrap();
    let before = world.log_size().await;
    let got = world.host.pull("index", "manifests/multi").await;
    assert_eq!((got.status, &got.bytes, got.header("content-type")), (200, &index, index_type), "{}", got.body);
    assert_eq!(got.header("docker-content-digest"), Digest::of(&index).to_string());
    let child = world.host.pull("index", &format!("manifests/{}", leaf.manifest)).await;
    assert_eq!((child.status, &child.bytes, child.header("content-type")), (200, &leaf.manifest_bytes, OCI_MANIFEST));
    assert_eq!(child.header("witgate-decision"), got.header("witgate-decision"));
    assert_eq!(world.host.pull("index", &format!("blobs/{}", leaf.component)).await.status, 200);
    assert_eq!(world.log_size().await, before + 1, "one decision");
    let other = world.host.pull("index", &format!("manifests/{}", Digest::of(b"amd64"))).await;
    assert_eq!((other.status, other.error_code()), (404, "MANIFEST_UNKNOWN"));
    // Under a blob's name a manifest is nothing, and the reverse.
    for rest in [format!("blobs/{}", leaf.manifest), format!("manifests/{}", leaf.component)] {
        assert_eq!(world.host.pull("index", &rest).await.status, 404, "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_3_a21_6_headers_neither_choose_nor_poison_what_is_stored() {
    let world = World::behind_the_door(|_| {}).await;
    let pushed = world.publish("headers", components::command("headers\n")).await;
    let path = door_path("headers", "manifests/1.0");
    let before = world.log_size().await;
    // As skopeo asks: six lines.
    let six: Vec<(&str, &str)> = [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.index.v1+json",
    ]
    .map(|kind| ("accept", kind))
    .into();
    for headers in [
        six,
        vec![],
        vec![("accept", "*/*")],
        vec![("accept", "application/vnd.docker.distribution.manifest.v1+json")],
        vec![("accept", "text/html"), ("accept-encoding", "gzip, br")],
        vec![("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "gopher"), ("forwarded", "host=evil.example")],
        vec![("user-agent", "cosign"), ("x-original-url", "/v2/_catalog"), ("cookie", "a=b")],
    ] {
        let reply = world.host.fetch(Method::GET, &path, &headers).await;
        assert_eq!((reply.status, &reply.bytes), (200, &pushed.manifest_bytes), "{headers:?}");
        assert_eq!(reply.header("content-type"), OCI_MANIFEST, "{headers:?}");
        assert!(!reply.headers.contains_key("content-encoding"), "{headers:?}");
    }
    assert_eq!(world.log_size().await, before + 1, "one decision for all of them");
    let accepted: Vec<_> =
        world.deployment.registry.requests().into_iter().filter(|seen| seen.path.ends_with("/1.0")).collect();
    assert_eq!(accepted.len(), 2, "pushed once, asked for once");
    let blob = door_path("headers", &format!("blobs/{}", pushed.component));
    let twice = world.host.fetch(Method::GET, &blob, &[("range", "bytes=0-1"), ("range", "bytes=2-3")]).await;
    assert_eq!((twice.status, twice.error_code()), (400, "UNSUPPORTED"), "{}", twice.body);
}

/// A2.3, A12.1, A12.3: what an upstream does wrong is an outage that names it, and nothing of it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a2_3_a12_1_an_upstream_that_lies_or_floods_is_an_outage() {
    let world = World::behind_the_door(|setup| {
        setup.more = "[registry]\nidle_timeout_ms = 2000\nmetadata_timeout_ms = 3000\nslow_start_ms = 1500\n".into();
    })
    .await;
    let elsewhere = Fault::Redirect { location: "http://169.254.169.254/latest".into(), status: 307 };
    let faults = [
        ("digest-header", Target::Manifest, Fault::WrongDigestHeader),
        ("wrong-layer", Target::Layer, Fault::WrongBytes(Bytes::from_static(b"other"))),
        ("extra-byte", Target::Layer, Fault::ExtraByte),
        ("cut", Target::Layer, Fault::Truncate { after_bytes: 10 }),
        ("flood", Target::Manifest, Fault::Flood { bytes: u64::MAX }),
        ("header-flood", Target::Manifest, Fault::HeaderFlood { bytes: u64::MAX }),
        ("drip", Target::Manifest, Fault::Drip { bytes_per_second: 1 }),
        ("hang", Target::Config, Fault::Hang),
        ("gzip", Target::Layer, Fault::ContentEncoding("gzip".into())),
        ("redirect", Target::Manifest, elsewhere.clone()),
        ("blob-redirect", Target::Layer, elsewhere),
        ("forbidden", Target::Manifest, Fault::Status { code: 403, body: Bytes::new(), headers: vec![] }),
        ("broken", Target::Referrers, Fault::Status { code: 500, body: Bytes::new(), headers: vec![] }),
    ];
    for (name, target, fault) in faults {
        let wasm = components::command(&format!("{name}\n"));
        let pushed = world.publish(name, wasm.clone()).await;
        let before = world.log_size().await;
        world.deployment.registry.inject(Rule::new(Match::on(target).repository(format!("demo/{name}")), fault));
        let reply = world.host.pull(name, "manifests/1.0").await;
        assert_eq!((reply.status, reply.error_code()), (503, "UNAVAILABLE"), "{name}: {}", reply.body);
        assert!(reply.message().contains(ALIAS), "{name}: {}", reply.message());
        assert_eq!(reply.body["errors"][0]["detail"]["peer"], "registry", "{name}");
        assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{name}");
        assert_eq!(world.host.pull(name, &format!("blobs/{}", pushed.component)).await.status, 404, "{name}");
        assert_eq!(world.log_size().await, before, "{name}: an outage is no decision");
        world.deployment.registry.heal();
        assert_eq!(world.host.pull(name, "manifests/1.0").await.status, 200, "{name}: asked again at once");
        let blob = world.host.pull(name, &format!("blobs/{}", pushed.component)).await;
        assert_eq!((blob.status, &blob.bytes[..]), (200, &wasm[..]), "{name}");
    }
}
