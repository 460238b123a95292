//! Bytes over the network: what is taken, what is refused, and where a request never goes.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;

use crate::registry::budgets::{Budgets, MANIFEST_BYTES, PAUSE_DEFAULT, REQUESTS_PER_UPSTREAM};
use crate::registry::document::OCI_MANIFEST;
use crate::registry::peer::{Ending, Peer, Pushed, Reply, Stage};
use crate::registry::settings::Upstreams;
use crate::registry::{Settings, UpstreamSettings};

use super::*;

fn quick() -> Budgets {
    let short = Duration::from_millis(150);
    Budgets { idle: short, metadata: short * 2, slow_start: short, ..Budgets::default() }
}

#[test]
fn what_was_announced_is_held_in_no_more_room_than_that() {
    for (announced, pieces, most) in [(100_000_u64, 10, 100_000), (0, 10, 160_000), (1, 10, 160_000)] {
        let mut bytes = Vec::with_capacity(10_000);
        for _ in 0..pieces {
            grow(&mut bytes, 10_000, announced);
            bytes.extend_from_slice(&[0; 10_000]);
        }
        assert!(bytes.len() == 100_000 && bytes.capacity() <= most, "{announced}: {}", bytes.capacity());
    }
}

#[tokio::test]
async fn a2_3_a_header_that_names_other_bytes_is_an_outage() {
    let peer = Peer::start().await;
    let stage = Stage::bare();
    let pushed = Pushed::new("x", b"a").on(&peer, "1");
    let sha512 = format!("sha512:{}", hex::encode(Sha512::digest(&pushed.manifest)));
    let right = pushed.digest().to_string();
    for lie in [
        Digest::of(b"lie").to_string(),
        right.to_uppercase(),
        format!("sha512:{}", "0".repeat(128)),
        "md5:0".into(),
        String::new(),
    ] {
        peer.on(
            pushed.manifest_path("1"),
            Reply::ok(OCI_MANIFEST, pushed.manifest.clone()).header("docker-content-digest", &lie),
        );
        let outage = stage.outage(&peer, "x:1").await;
        assert!(outage.chain().contains(&right), "{lie}: {}", outage.chain());
    }
    let both = Reply::ok(OCI_MANIFEST, pushed.manifest.clone())
        .header("docker-content-digest", &right)
        .header("docker-content-digest", &sha512);
    peer.on(pushed.manifest_path("1"), both);
    assert_eq!(*stage.resolve(&peer, "x:1").await.unwrap().digest(), pushed.digest());
}

#[tokio::test]
async fn a3_2_a3_3_blobs_that_are_not_what_was_announced_are_outages_that_leave_nothing() {
    let peer = Peer::start().await;
    let stage = Stage::of(&Settings::default(), quick());
    let pushed = Pushed::new("x", b"component").on(&peer, "1");
    let blob = |body: &[u8]| Reply::ok("application/octet-stream", body);
    for (what, lie) in [
        ("other bytes", blob(b"komponent")),
        ("one byte short", blob(b"componen")),
        ("one byte more", blob(b"component!")),
        ("one byte more, no length", blob(b"component!").ending(Ending::Chunked)),
        ("one byte short, no length", blob(b"componen").ending(Ending::Chunked)),
        ("cut off", blob(b"compo").ending(Ending::Announcing(9))),
        ("length too small", blob(b"component").ending(Ending::Announcing(8))),
        ("length too large", blob(b"component").ending(Ending::Announcing(10))),
        ("endless", blob(b"").ending(Ending::Endless)),
        ("stalled", blob(b"component").ending(Ending::Stalled)),
        ("mute", blob(b"component").ending(Ending::Mute)),
        ("trickling", blob(b"component").ending(Ending::Trickling)),
        ("gzip", blob(b"component").header("content-encoding", "gzip")),
        ("partial", Reply::status(206).body(b"component")),
        ("header", blob(b"component").header("docker-content-digest", &Digest::of(b"x").to_string())),
    ] {
        peer.on(pushed.layer_path(), lie);
        let outage = stage.outage(&peer, "x:1").await;
        assert_eq!(outage.peer.kind(), "registry", "{what}");
        assert_eq!(stage.held(&Digest::of(b"component")).await, None, "{what} was kept");
    }
    let honest = blob(b"component").ending(Ending::Chunked).header("content-encoding", "identity");
    peer.on(pushed.layer_path(), honest);
    assert!(Stage::bare().resolve(&peer, "x:1").await.unwrap().component().is_some());
}

#[tokio::test]
async fn a12_1_a12_3_manifests_are_bounded_in_bytes_or_time() {
    let peer = Peer::start().await;
    let stage = Stage::bare();
    let large = |size: u64| vec![b' '; usize::try_from(size).unwrap()];
    for (what, reply) in [
        ("announced", Reply::ok(OCI_MANIFEST, "x").ending(Ending::Announcing(300 << 20))),
        ("one byte more", Reply::ok(OCI_MANIFEST, large(MANIFEST_BYTES + 1)).ending(Ending::Chunked)),
    ] {
        peer.on("/v2/x/manifests/1", reply);
        let chain = stage.outage(&peer, "x:1").await.chain();
        assert!(chain.contains("longer than 4194304 bytes"), "{what}: {chain}");
    }
    let impatient = Stage::of(&Settings::default(), quick());
    for ending in [Ending::Endless, Ending::Stalled, Ending::Mute, Ending::Trickling] {
        peer.on("/v2/x/manifests/1", Reply::ok(OCI_MANIFEST, vec![b' '; 100]).ending(ending));
        impatient.outage(&peer, "x:1").await;
    }
    peer.on("/v2/x/manifests/1", Reply::ok(OCI_MANIFEST, large(MANIFEST_BYTES)));
    let facts = stage.resolve(&peer, "x:1").await.unwrap().facts().clone();
    assert_eq!((facts.size_bytes, facts.defects.len()), (MANIFEST_BYTES, 1), "within the limit it is judged");
}

#[tokio::test]
async fn a16_2_a17_2_redirects_are_for_blobs_to_listed_hosts_without_the_credential() {
    let (peer, store, stranger) = (Peer::start().await, Peer::start().await, Peer::start().await);
    let folder = tempfile::tempdir().unwrap();
    let (credential, _) = password(&folder);
    let stage = Stage::with(&peer, UpstreamSettings { redirect_hosts: vec![store.name.clone()], ..credential });
    peer.guard("Basic dTpodW50ZXIy", "Basic realm=x");
    let pushed = Pushed::new("x", b"component").on(&peer, "1");
    let to = |target: &str| Reply::status(307).header("location", target);
    let at = |peer: &Peer, path: &str| format!("http://{}{path}", peer.name);

    for target in [
        at(&stranger, "/blob"),
        "http://169.254.169.254/latest".into(),
        "https://127.0.0.1:1/".into(),
        format!("http://u:p@{}/blob", store.name),
        format!("http://{}@{}/", store.name, stranger.name),
        "file:///etc/passwd".into(),
        "http://".into(),
    ] {
        peer.on(pushed.layer_path(), to(&target));
        let chain = stage.outage(&peer, "x:1").await.chain();
        assert!(chain.contains("redirects a blob"), "{target}: {chain}");
    }
    peer.on(pushed.manifest_path("2"), to(&at(&store, "/manifest")));
    assert!(stage.outage(&peer, "x:2").await.chain().contains("only blobs"));
    assert!(stranger.asked().is_empty() && store.asked().is_empty());

    // peer, store, store, store: three redirects.
    store.on("/blob", Reply::ok("application/octet-stream", "component"));
    store.on("/2", to("/blob"));
    store.on("/1", to(&at(&store, "/2")));
    store.on("/0", to("/1"));
    peer.on(pushed.layer_path(), to(&at(&store, "/0")));
    assert!(stage.outage(&peer, "x:1").await.chain().contains("more than 3 redirects"));
    peer.on(pushed.layer_path(), to(&at(&store, "/1")));
    assert_eq!(stage.resolve(&peer, "x:1").await.unwrap().component().unwrap(), &b"component"[..]);
    assert!(store.asked().iter().all(|asked| asked.authorization.is_none()), "the credential left the registry");
}

fn password(folder: &tempfile::TempDir) -> (UpstreamSettings, PathBuf) {
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let (username, password_file) = (Some("u".into()), Some(file.clone()));
    (UpstreamSettings { username, password_file, ..UpstreamSettings::default() }, file)
}

#[tokio::test]
async fn a_token_is_fetched_once_for_a_repository() {
    let peer = Peer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (credential, _) = password(&folder);
    let stage = Stage::with(&peer, credential);
    Pushed::new("x/y", b"component").on(&peer, "1");
    let challenge =
        format!("Bearer realm=\"http://{}/token?a=b\",service=\"s s\",scope=\"repository:*:push\"", peer.name);
    peer.guard("Bearer t0ken", &challenge);
    let asked_for = "/token?a=b&service=s+s&scope=repository%3Ax%2Fy%3Apull";
    peer.on(asked_for, Reply::ok("application/json", json!({"token": "t0ken", "expires_in": 300}).to_string()));
    stage.resolve(&peer, "x/y:1").await.unwrap();
    let token: Vec<_> = peer.asked().into_iter().filter(|asked| asked.path == asked_for).collect();
    assert_eq!(token.len(), 1);
    assert_eq!(token[0].authorization.as_deref(), Some("Basic dTpodW50ZXIy"));
    assert_eq!(peer.asked().len(), 1 + 1 + 3, "401, token, manifest, config, component");
}

/// Docker's configuration with one entry for `peer`.
fn docker_config(folder: &tempfile::TempDir, peer: &Peer, entry: &serde_json::Value) -> UpstreamSettings {
    let file = folder.path().join("config.json");
    let config = json!({"auths": {peer.name.clone(): entry}});
    std::fs::write(&file, config.to_string()).unwrap();
    UpstreamSettings { docker_config: Some(file), ..UpstreamSettings::default() }
}

#[tokio::test]
async fn an_identity_token_buys_a_token_in_a_body_and_nowhere_else() {
    let (peer, thief) = (Peer::start().await, Peer::start().await);
    let folder = tempfile::tempdir().unwrap();
    let settings = docker_config(&folder, &peer, &json!({"identitytoken": "re fresh&x=y"}));
    let stage = Stage::with(&peer, settings);
    Pushed::new("x", b"component").on(&peer, "1");
    peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/steal\"", thief.name));
    stage.outage(&peer, "x:1").await;
    peer.guard("Bearer t", "Basic realm=x");
    assert!(stage.outage(&peer, "x:1").await.chain().contains("identity token"));
    assert_eq!(thief.asked().len(), 0);

    peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/token\",service=\"s\"", peer.name));
    peer.on("/token", Reply::ok("application/json", json!({"access_token": "t", "refresh_token": "r"}).to_string()));
    stage.resolve(&peer, "x:1").await.unwrap();
    let asked: Vec<_> = peer.asked().into_iter().filter(|asked| asked.path.starts_with("/token")).collect();
    let [token] = &*asked else { panic!("{asked:?}") };
    assert_eq!((&*token.method, &*token.path, &token.authorization), ("POST", "/token", &None));
    assert_eq!(
        token.body,
        "service=s&scope=repository%3Ax%3Apull&grant_type=refresh_token&client_id=witgate&refresh_token=re+fresh%26x%3Dy"
    );
    assert!(peer.asked().iter().all(|asked| !asked.path.contains("fresh")));
}

#[tokio::test]
async fn a16_3_each_upstream_gets_its_own_credential_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, open) = (Peer::start().await, Peer::start().await, Peer::start().await);
    let config = folder.path().join("config.json");
    let auth = |pair: &str| json!({"auth": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, pair)});
    let auths = json!({a.name.clone(): auth("u:a"), b.name.clone(): auth("u:b")});
    std::fs::write(&config, json!({"auths": auths}).to_string()).unwrap();
    let docker = || UpstreamSettings { docker_config: Some(config.clone()), ..UpstreamSettings::default() };
    let upstreams =
        [(a.name.clone(), docker()), (b.name.clone(), docker()), (open.name.clone(), UpstreamSettings::default())];
    let stage = Stage::of(&Settings { upstreams: upstreams.into(), ..Settings::default() }, Budgets::default());
    for (peer, basic) in [(&a, "Basic dTph"), (&b, "Basic dTpi"), (&open, "Basic none")] {
        Pushed::new("x", b"component").on(peer, "1");
        peer.guard(basic, "Basic realm=x");
    }
    for _ in 0..2 {
        stage.resolve(&a, "x:1").await.unwrap();
        stage.resolve(&b, "x:1").await.unwrap();
        stage.outage(&open, "x:1").await;
    }
    let sent = |peer: &Peer| {
        let mut sent: Vec<_> = peer.asked().into_iter().filter_map(|asked| asked.authorization).collect();
        sent.dedup();
        sent
    };
    assert_eq!((sent(&a), sent(&b), sent(&open)), (vec!["Basic dTph".into()], vec!["Basic dTpi".into()], vec![]));
}

#[tokio::test]
async fn a_helper_is_asked_when_the_registry_asks_and_not_before() {
    let peer = Peer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("docker-credential-good");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scripts/docker-credential-fake");
    std::os::unix::fs::symlink(script, &helper).unwrap();
    let file = folder.path().join("config.json");
    std::fs::write(&file, json!({"credHelpers": {peer.name.clone(): "good"}}).to_string()).unwrap();
    let one = UpstreamSettings { docker_config: Some(file.clone()), ..UpstreamSettings::default() };
    let settings = Settings {
        upstreams: [(peer.name.clone(), one)].into(),
        credential_helpers: [("good".to_owned(), helper)].into(),
        ..Settings::default()
    };
    let stage = Stage::of(&settings, Budgets::default());
    Pushed::new("x", b"component").on(&peer, "1");
    peer.guard("Basic dTpodW50ZXIy", "Basic realm=x");
    stage.resolve(&peer, "x:1").await.unwrap();
    // Rotated to a helper that nobody allowed: what is held is good until the registry says otherwise.
    std::fs::write(&file, json!({"credHelpers": {peer.name.clone(): "sh"}}).to_string()).unwrap();
    Pushed::new("x", b"other").on(&peer, "2");
    stage.resolve(&peer, "x:2").await.unwrap();
    peer.guard("Basic new", "Basic realm=x");
    Pushed::new("x", b"third").on(&peer, "3");
    let outage = stage.outage(&peer, "x:3").await;
    assert!(outage.chain().contains("`sh`, which is not listed"), "{}", outage.chain());
    assert!(outage.hint.unwrap().contains("docker_config"));
}

#[tokio::test]
async fn a16_1_no_token_endpoint_but_our_own_sees_the_credential() {
    let (peer, thief) = (Peer::start().await, Peer::start().await);
    let folder = tempfile::tempdir().unwrap();
    let (credential, _) = password(&folder);
    let stage = Stage::with(&peer, credential.clone());
    Pushed::new("x", b"component").on(&peer, "1");
    for realm in [
        format!("http://{}/steal", thief.name),
        format!("http://{}@{}/steal", peer.name, thief.name),
        format!("http://u:p@{}/token", peer.name),
        "http://169.254.169.254/token".into(),
        "https://auth.example/token".into(),
        "file:///token".into(),
        "/token".into(),
        String::new(),
    ] {
        peer.guard("Bearer t", &format!("Bearer realm=\"{realm}\""));
        let outage = stage.outage(&peer, "x:1").await;
        assert!(!format!("{} {:?}", outage.chain(), outage).contains("hunter2"), "{realm}");
    }
    assert_eq!(thief.asked().len(), 0);
    assert_eq!(peer.times("/token"), 0);

    let listed = Stage::with(&peer, UpstreamSettings { auth_hosts: vec![thief.name.clone()], ..credential });
    peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/token\"", thief.name));
    thief.on("/token?scope=repository%3Ax%3Apull", Reply::ok("application/json", "{\"access_token\":\"t\"}"));
    listed.resolve(&peer, "x:1").await.unwrap();
}

#[tokio::test]
async fn a16_4_useless_token_answers_are_outages() {
    let peer = Peer::start().await;
    let stage = Stage::of(&Settings::default(), quick());
    peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/token\"", peer.name));
    for answer in [
        Reply::ok("application/json", "{\"token\":\"a\\nb\"}"),
        Reply::ok("application/json", "{\"token\":\"wrong\"}"),
        Reply::ok("application/json", " ".repeat(64 * 1024 + 1)),
        Reply::ok("application/json", "").ending(Ending::Endless),
        Reply::ok("application/json", "").ending(Ending::Mute),
        Reply::status(401),
        Reply::status(307).header("location", "/v2/"),
        Reply::status(429),
    ] {
        peer.on("/token?scope=repository%3Ax%3Apull", answer);
        let outage = stage.outage(&peer, "x:1").await;
        assert!(!outage.chain().contains("wrong"), "{}", outage.chain());
    }
    let stage = Stage::of(&Settings::default(), quick());
    for challenge in ["Negotiate", "Bearer service=x", "Basic realm=x"] {
        peer.guard("Bearer t", challenge);
        stage.outage(&peer, "x:1").await;
    }
}

#[tokio::test]
async fn a_registry_that_says_to_wait_is_asked_by_nobody_until_then() {
    let (peer, other) = (Peer::start().await, Peer::start().await);
    let wait = |status: u16| Reply::status(status).header("retry-after", "7");
    for at in ["manifest", "token", "blob", "store"] {
        let store = Peer::start().await;
        let stage = Stage::with(
            &peer,
            UpstreamSettings { redirect_hosts: vec![store.name.clone()], ..UpstreamSettings::default() },
        );
        let pushed = Pushed::new("x", b"component").on(&peer, "1");
        Pushed::new("y", b"other").on(&peer, "1");
        match at {
            "manifest" => peer.on(pushed.manifest_path("1"), wait(429)),
            "token" => {
                peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/token\"", peer.name));
                peer.on("/token?scope=repository%3Ax%3Apull", wait(503));
            }
            "blob" => peer.on(pushed.layer_path(), wait(503)),
            _ => {
                let target = format!("http://{}/blob", store.name);
                peer.on(pushed.layer_path(), Reply::status(307).header("location", &target));
                store.on("/blob", wait(429));
            }
        }
        let outage = stage.outage(&peer, "x:1").await;
        let asked = peer.asked().len();
        assert_eq!(outage.retry_after, Some(Duration::from_secs(7)), "{at}: {}", outage.chain());
        for rest in ["x:1", "x:2", "y:1"] {
            let outage = stage.outage(&peer, rest).await;
            assert_eq!(outage.peer.to_string(), format!("registry `{}`", peer.name));
            let left = outage.retry_after.unwrap();
            assert!(left > Duration::from_secs(1) && left <= Duration::from_secs(7), "{at}: {left:?}");
        }
        assert_eq!(peer.asked().len(), asked, "{at}: it was asked again");
        peer.open();
    }
    // Another registry is not to blame, and another gateway process was not told.
    Pushed::new("x", b"component").on(&other, "1");
    let stage = Stage::bare();
    peer.on("/v2/x/manifests/9", wait(429));
    stage.outage(&peer, "x:9").await;
    stage.resolve(&other, "x:1").await.unwrap();
}

#[tokio::test]
async fn a_registry_that_gave_no_time_is_asked_again_after_a_second() {
    let peer = Peer::start().await;
    let stage = Stage::bare();
    peer.on("/v2/x/manifests/1", Reply::status(503));
    assert_eq!(stage.outage(&peer, "x:1").await.retry_after, None);
    peer.on("/v2/x/manifests/1", Reply::status(429));
    assert_eq!(stage.outage(&peer, "x:1").await.retry_after, Some(PAUSE_DEFAULT));
    peer.on("/v2/x/manifests/2", Reply::status(429).header("retry-after", "0"));
    let fresh = Stage::bare();
    assert_eq!(fresh.outage(&peer, "x:2").await.retry_after, Some(Duration::ZERO));
    assert!(fresh.resolve(&peer, "x:3").await.is_err());
    assert_eq!(peer.times("/v2/x/manifests/3"), 1, "no time is no pause");
}

#[tokio::test]
async fn a_rotated_password_is_used_at_the_next_401() {
    let peer = Peer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (credential, file) = password(&folder);
    let stage = Stage::with(&peer, credential);
    Pushed::new("x", b"component").on(&peer, "1");
    peer.guard("Basic dTpodW50ZXIz", "Basic realm=x");
    assert!(stage.outage(&peer, "x:1").await.hint.unwrap().contains("password_file"));
    std::fs::write(&file, "hunter3").unwrap();
    stage.resolve(&peer, "x:1").await.unwrap();
}

#[tokio::test]
async fn no_more_than_32_requests_at_once_go_to_one_upstream() {
    let (peer, other) = (Peer::start().await, Peer::start().await);
    let queue = Duration::from_millis(200);
    let one = |peer: &Peer| (peer.name.clone(), UpstreamSettings::default());
    let settings = Settings { upstreams: [one(&peer), one(&other)].into(), ..Settings::default() };
    let stage = Arc::new(Stage::of(&settings, Budgets { queue, ..Budgets::default() }));
    let mute = |number: usize| format!("/v2/x/manifests/{number}");
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..REQUESTS_PER_UPSTREAM {
        peer.on(mute(number), Reply::ok(OCI_MANIFEST, "{}").ending(Ending::Mute));
        let (stage, peer) = (stage.clone(), peer.clone());
        asking.spawn(async move { stage.resolve(&peer, &format!("x:{number}")).await.is_err() });
    }
    peer.asked_times(REQUESTS_PER_UPSTREAM).await;
    let chain = stage.outage(&peer, "x:one-more").await.chain();
    assert!(chain.contains("no free place among 32 requests within 200 ms"), "{chain}");
    assert_eq!(peer.asked().len(), REQUESTS_PER_UPSTREAM);
    Pushed::new("x", b"component").on(&other, "1");
    stage.resolve(&other, "x:1").await.unwrap();
    // Who leaves gives the place back.
    asking.shutdown().await;
    Pushed::new("x", b"component").on(&peer, "1");
    stage.resolve(&peer, "x:1").await.unwrap();
}

#[tokio::test]
async fn a_token_answer_and_an_error_body_have_their_limits() {
    let peer = Peer::start().await;
    let stage = Stage::bare();
    Pushed::new("x", b"component").on(&peer, "1");
    peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/token\"", peer.name));
    let padded = |size: u64| {
        let token = json!({"token": "t"}).to_string();
        format!("{token}{}", " ".repeat(usize::try_from(size).unwrap() - token.len()))
    };
    let path = "/token?scope=repository%3Ax%3Apull";
    peer.on(path, Reply::ok(JSON, padded(TOKEN_ANSWER_BYTES + 1)));
    let chain = stage.outage(&peer, "x:1").await.chain();
    assert!(chain.contains("longer than 65536 bytes"), "{chain}");
    peer.on(path, Reply::ok(JSON, padded(TOKEN_ANSWER_BYTES)));
    stage.resolve(&peer, "x:1").await.unwrap();
    peer.open();
    // What an error has to say is read as far as it is short, and never waited for.
    for size in [ERROR_BODY_BYTES, ERROR_BODY_BYTES + 1, 1 << 20] {
        for ending in [Ending::Whole, Ending::Chunked] {
            let body = vec![b'x'; usize::try_from(size).unwrap()];
            peer.on("/v2/x/manifests/none", Reply::status(404).body(body).ending(ending));
            let unknown = stage.resolve(&peer, "x:none").await.unwrap_err();
            assert!(matches!(unknown, crate::outage::NoAnswer::UnknownReference { .. }), "{size}: {unknown:?}");
        }
    }
    peer.on("/v2/x/manifests/none", Reply::status(404).ending(Ending::Endless));
    assert!(stage.resolve(&peer, "x:none").await.is_err());
}

#[tokio::test]
async fn a_blob_at_the_least_rate_is_taken_and_one_below_it_is_not() {
    let peer = Peer::start().await;
    let stage = Stage::bare();
    let upstream = stage.registry.inner.upstreams.of_registry(&peer.name).unwrap();
    let least = upstream.budgets.least_rate_bytes_per_s;
    let after = |seconds| Duration::from_secs(seconds);
    assert_eq!((least, upstream.budgets.slow_start), (64 << 10, after(10)), "the limits that are documented");
    assert!(upstream.check_rate(0, after(10)).is_ok(), "slow at the start");
    assert!(upstream.check_rate(11 * least, after(11)).is_ok());
    assert!(matches!(upstream.check_rate(11 * least - 1, after(11)), Err(Fault::TooSlow { .. })));
    assert!(upstream.check_rate(u64::MAX, Duration::MAX).is_err(), "no rate overflows into a good one");
}

#[tokio::test]
async fn a17_3_no_url_in_what_is_read_is_ever_asked() {
    let (peer, thief) = (Peer::start().await, Peer::start().await);
    let url = format!("http://{}/fetch-me", thief.name);
    let config = json!({
        "layerDigests": [Digest::of(b"component").to_string()], "$ref": url, "rootfs": {"url": url},
        "component": {"imports": [url], "target": url},
    });
    let config = config.to_string().into_bytes();
    let mut layer = crate::registry::peer::descriptor("application/wasm", b"component");
    layer["annotations"] = json!({"org.opencontainers.image.source": url, "issuer": url, "jwks_uri": url});
    let mut pushed = Pushed::with_config("x", b"component", config);
    let manifest = |layer: &serde_json::Value, pushed: &Pushed| {
        json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": crate::registry::peer::descriptor("application/vnd.wasm.config.v0+json", &pushed.config),
            "layers": [layer],
            "annotations": {"org.opencontainers.image.url": url, "$ref": url},
        })
        .to_string()
        .into_bytes()
    };
    pushed.manifest = manifest(&layer, &pushed);
    let pushed = pushed.on(&peer, "1");
    let stage = Stage::bare();
    let artifact = stage.resolve(&peer, "x:1").await.unwrap();
    assert!(artifact.component().is_some(), "{:?}", artifact.facts().defects);
    stage.registry.candidates(&artifact).await.unwrap();
    layer["urls"] = json!([url]);
    let mut foreign = Pushed::with_config("x", b"component", pushed.config.clone());
    foreign.manifest = manifest(&layer, &pushed);
    foreign.on(&peer, "2");
    let artifact = stage.resolve(&peer, "x:2").await.unwrap();
    assert_eq!(artifact.facts().defects[0].code, crate::reason::Code::MANIFEST_INVALID);
    assert!(thief.asked().is_empty(), "{:?}", thief.asked());
}

#[tokio::test]
async fn a17_2_a_name_that_leads_out_of_reach_is_refused_before_any_connection() {
    let peer = Peer::start().await;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let public = UpstreamSettings::default();
    let settings = Settings { upstreams: [("public.example".to_owned(), public)].into(), ..Settings::default() };
    let upstreams = Upstreams::of(&settings, &Arc::default()).unwrap();
    let upstream = upstreams.of_registry("public.example").unwrap();
    let port = peer.name.rsplit(':').next().unwrap();
    for host in ["localhost", "a.localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433"] {
        let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
        let fault = upstream.send(Ask::of(Method::GET, &url)).await.unwrap_err();
        assert!(matches!(fault, Fault::Address(_)), "{host}: {fault:?}");
    }
    assert!(peer.asked().is_empty());
}

/// A registry over TLS whose certificate is for `localhost`; gives its authority's PEM.
async fn tls_peer(body: &'static [u8]) -> (u16, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = hyper::service::service_fn(move |_| async move {
                let answer = http::Response::builder().header("content-type", OCI_MANIFEST);
                Ok::<_, std::convert::Infallible>(
                    answer.body(http_body_util::Full::new(Bytes::from_static(body))).unwrap(),
                )
            });
            let serving = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    (port, made.cert.pem())
}

#[tokio::test]
async fn https_is_spoken_over_h2_with_the_configured_authority_alone() {
    let (port, pem) = tls_peer(b"{}").await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, pem).unwrap();
    let name = format!("localhost:{port}");
    let with = |ca: Option<PathBuf>, host: &str| {
        let url = Some(format!("https://{host}:{port}"));
        let one = UpstreamSettings { url, ca, ..UpstreamSettings::default() };
        Stage::of(&Settings { upstreams: [(name.clone(), one)].into(), ..Settings::default() }, Budgets::default())
    };
    let reference = format!("{name}/x:1").parse().unwrap();
    let resolve =
        async |stage: Stage| Box::pin(stage.registry.resolve(&reference, crate::case::Timestamp::UNIX_EPOCH)).await;
    let artifact = resolve(with(Some(ca.clone()), "localhost")).await.unwrap();
    assert_eq!(artifact.digest(), &Digest::of(b"{}"));
    assert!(resolve(with(None, "localhost")).await.is_err(), "an unknown authority was believed");
    assert!(resolve(with(Some(ca), "127.0.0.1")).await.is_err(), "a certificate for another name was believed");
}

#[tokio::test]
async fn a_refused_connection_names_the_registry_but_no_url() {
    let peer = Peer::nowhere();
    let outage = Stage::bare().outage(&peer, "x:1").await;
    assert!(outage.chain().starts_with("registry `127.0.0.1:1` gave no answer while reading"), "{}", outage.chain());
    assert!(!outage.chain().contains("http://"), "{}", outage.chain());
}
