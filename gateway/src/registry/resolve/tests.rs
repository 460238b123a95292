//! What references lead to, how often the registry is asked for it, and what is not believed.

use serde_json::json;

use crate::outage::{NoAnswer, Peer as OutagePeer};
use crate::reason::Code;
use crate::registry::budgets::Budgets;
use crate::registry::budgets::COMPONENT_BYTES;
use crate::registry::peer::{self, Peer, Pushed, Reply, Stage, descriptor};
use crate::registry::{Registry, Settings, UpstreamSettings};

use super::*;

#[tokio::test]
async fn a_tag_becomes_an_artifact_whose_bytes_are_there() {
    let peer = Peer::start().await;
    let pushed = Pushed::new("acme/cart", b"component").on(&peer, "1");
    let stage = Stage::bare();
    let artifact = stage.resolve(&peer, "acme/cart:1").await.unwrap();
    assert_eq!((*artifact.digest(), artifact.manifest().as_ref()), (pushed.digest(), &*pushed.manifest));
    assert_eq!(artifact.component().unwrap(), &b"component"[..]);
    let facts = artifact.facts();
    assert_eq!((facts.defects.len(), facts.size_bytes), (0, pushed.manifest.len() as u64));
    let component = facts.component.as_ref().unwrap();
    assert_eq!((component.digest, component.size_bytes), (Digest::of(b"component"), 9));
    let claimed = facts.config.as_ref().unwrap().claimed_imports.clone();
    assert_eq!(claimed, Some(vec!["wasi:http/types@0.2.3".into()]));
    assert_eq!(artifact.reference_facts().tag.as_deref(), Some("1"));
    assert_eq!(stage.held(&component.digest).await.unwrap(), &b"component"[..]);
    assert_eq!(stage.held(&Digest::of(b"other")).await, None);
    // One for the manifest, two for the blobs: the digest of the tag is that of the bytes that came with it.
    assert_eq!(peer.asked().len(), 3);
}

#[tokio::test]
async fn a_tag_is_believed_for_its_life_only() {
    let peer = Peer::start().await;
    let a = Pushed::new("acme/cart", b"a").on(&peer, "1");
    let stage = Stage::bare();
    let digest_at = async |now_s| *stage.resolve_at(&peer, "acme/cart:1", now_s).await.unwrap().digest();
    assert_eq!(digest_at(1000).await, a.digest());
    let b = Pushed::new("acme/cart", b"b").on(&peer, "1");
    assert_eq!(digest_at(1029).await, a.digest());
    assert_eq!(digest_at(1030).await, b.digest());
    let c = Pushed::new("acme/cart", b"c").on(&peer, "1");
    assert_eq!(digest_at(1029).await, c.digest(), "a clock that goes back is no reason to believe a tag");

    let always = Stage::of(&Settings { tag_life_s: 0, ..Settings::default() }, Budgets::default());
    let before = peer.times("/v2/acme/cart/manifests/1");
    for _ in 0..3 {
        always.resolve_at(&peer, "acme/cart:1", 1000).await.unwrap();
    }
    assert_eq!(peer.times("/v2/acme/cart/manifests/1"), before + 3);
}

#[tokio::test]
async fn a1_1_the_tag_is_asked_for_once_whatever_it_does_then() {
    let peer = Peer::start().await;
    let a = Pushed::new("acme/cart", b"a").on(&peer, "1");
    // The digest decides even when the tag says something else by now.
    let b = Pushed::new("acme/cart", b"b").on(&peer, "1");
    let artifact = Stage::bare().resolve(&peer, &format!("acme/cart:1@{}", a.digest())).await.unwrap();
    assert_eq!((*artifact.digest(), artifact.component().unwrap().as_ref()), (a.digest(), &b"a"[..]));
    assert_eq!(peer.times("/v2/acme/cart/manifests/1"), 0);
    let artifact = Stage::bare().resolve(&peer, "acme/cart:1").await.unwrap();
    assert_eq!((*artifact.digest(), artifact.component().unwrap().as_ref()), (b.digest(), &b"b"[..]));
    assert_eq!(peer.times("/v2/acme/cart/manifests/1"), 1);
}

#[tokio::test]
async fn a2_1_another_manifest_under_a_digest_is_an_outage_with_both() {
    let peer = Peer::start().await;
    let (a, b) = (Pushed::new("x", b"a").on(&peer, "a"), Pushed::new("x", b"b").on(&peer, "b"));
    peer.on(a.manifest_path(&a.digest().to_string()), Reply::ok(OCI_MANIFEST, b.manifest.clone()));
    let stage = Stage::bare();
    let outage = stage.outage(&peer, &format!("x@{}", a.digest())).await;
    assert_eq!(outage.peer, OutagePeer::Registry(peer.name.clone()));
    for digest in [a.digest(), b.digest()] {
        assert!(outage.chain().contains(&digest.to_string()), "{}", outage.chain());
    }
    // Nothing of it was kept: an honest answer counts at once.
    let a = Pushed::new("x", b"a").on(&peer, "a");
    assert_eq!(*stage.resolve(&peer, &format!("x@{}", a.digest())).await.unwrap().digest(), a.digest());
}

#[tokio::test]
async fn what_hashes_right_but_is_wrong_is_an_artifact_with_a_defect() {
    let peer = Peer::start().await;
    let stage = Stage::bare();
    let other = json!({"layerDigests": [Digest::of(b"other").to_string()]}).to_string().into_bytes();
    let mismatch = Pushed::with_config("x", b"a", other).on(&peer, "mismatch");
    let mut two = Pushed::new("x", b"a");
    two.manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.wasm.config.v0+json", &two.config),
        "layers": [descriptor("application/wasm", b"a"), descriptor("application/wasm", b"b")],
    })
    .to_string()
    .into_bytes();
    let two = two.on(&peer, "two");
    let mut huge = Pushed::new("x", b"a");
    huge.manifest = String::from_utf8(huge.manifest).unwrap().replace("\"size\":1,", "\"size\":9,").into_bytes();
    huge.manifest =
        String::from_utf8(huge.manifest).unwrap().replace("\"size\":1}", "\"size\":268435457}").into_bytes();
    let huge = huge.on(&peer, "huge");
    for (tag, pushed, code) in [
        ("mismatch", &mismatch, Code::CONFIG_MISMATCH),
        ("two", &two, Code::ARTIFACT_UNSUPPORTED),
        ("huge", &huge, Code::LIMIT_EXCEEDED),
    ] {
        let artifact = stage.resolve(&peer, &format!("x:{tag}")).await.unwrap();
        let facts = artifact.facts();
        assert_eq!((facts.digest, &facts.defects[0].code), (pushed.digest(), &code), "{tag}");
        assert!(artifact.component().is_none() && facts.component.is_none(), "{tag} has a component");
    }
    assert_eq!(peer.times(&two.layer_path()), 1, "read for `mismatch` alone");
}

#[tokio::test]
async fn what_a_wrong_content_type_made_a_defect_is_not_remembered() {
    let peer = Peer::start().await;
    let pushed = Pushed::new("x", b"a").on(&peer, "1");
    let stage = Stage::bare();
    peer.on(pushed.manifest_path("1"), Reply::ok("text/plain", pushed.manifest.clone()));
    let artifact = stage.resolve_at(&peer, "x:1", 1000).await.unwrap();
    assert_eq!(artifact.facts().defects[0].code, Code::MANIFEST_INVALID);
    pushed.on(&peer, "1");
    assert_eq!(stage.resolve_at(&peer, "x:1", 1001).await.unwrap().facts().defects, []);
}

#[tokio::test]
async fn a2_4_an_altered_cached_file_is_fetched_again() {
    let peer = Peer::start().await;
    let pushed = Pushed::new("x", b"component").on(&peer, "1");
    let stage = Stage::bare();
    stage.resolve(&peer, "x:1").await.unwrap();
    let digest = Digest::of(b"component");
    let file = stage.folder.path().join("blobs/sha256").join(digest.hex());
    // It is served before it is on disk, and whoever writes it there would undo what is altered.
    while !file.exists() {
        tokio::task::yield_now().await;
    }
    std::fs::write(&file, b"komponent").unwrap();
    assert_eq!(stage.held(&digest).await.unwrap(), &b"component"[..], "what is in memory was hashed when it came");
    let again = Registry::open(&Settings::default(), stage.folder.path()).unwrap();
    assert!(again.held(&digest).await.unwrap().is_none());
    std::fs::write(&file, b"komponent").unwrap();
    let reference = format!("{}/x:1", peer.name).parse().unwrap();
    let artifact = Box::pin(again.resolve(&reference, Timestamp::UNIX_EPOCH)).await.unwrap();
    assert_eq!(artifact.component().unwrap(), &b"component"[..]);
    assert_eq!(peer.times(&pushed.layer_path()), 2);
    let held = again.held(&digest).await.unwrap().unwrap();
    assert_eq!(peer::all(&held).await, &b"component"[..]);
}

#[tokio::test]
async fn a29_a_cached_blob_is_no_way_to_read_another_repositorys() {
    let peer = Peer::start().await;
    let secret = Pushed::new("private/a", b"component").on(&peer, "1");
    let thief = Pushed::new("public/b", b"component").on(&peer, "1");
    peer.on(thief.layer_path(), Reply::status(404));
    let stage = Stage::bare();
    stage.resolve(&peer, "private/a:1").await.unwrap();
    let outage = stage.outage(&peer, "public/b:1").await;
    assert!(outage.to_string().contains("public/b"), "{outage}");
    // Once that repository holds it, one HEAD is all that it costs.
    let honest = Pushed::new("public/b", b"component").on(&peer, "1");
    stage.resolve(&peer, "public/b:1").await.unwrap();
    let methods: Vec<_> =
        peer.asked().into_iter().filter(|asked| asked.path == honest.layer_path()).map(|asked| asked.method).collect();
    assert_eq!(methods, ["HEAD", "HEAD"]);
    assert_eq!(peer.times(&secret.layer_path()), 1);
}

#[tokio::test]
async fn a_store_that_takes_no_head_is_asked_for_the_bytes() {
    let peer = Peer::start().await;
    Pushed::new("a", b"component").on(&peer, "1");
    let other = Pushed::new("b", b"component").on(&peer, "1");
    let stage = Stage::bare();
    stage.resolve(&peer, "a:1").await.unwrap();
    peer.refuse_head();
    stage.resolve(&peer, "b:1").await.unwrap();
    assert_eq!(peer.times(&other.layer_path()), 2);
}

#[tokio::test]
async fn a_disk_that_fails_is_an_outage_of_our_own_where_memory_has_no_room() {
    let peer = Peer::start().await;
    Pushed::new("x", b"component").on(&peer, "1");
    let stage = Stage::of(&Settings { memory_max_bytes: 0, ..Settings::default() }, Budgets::default());
    std::fs::remove_dir(stage.folder.path().join("tmp")).unwrap();
    assert_eq!(stage.outage(&peer, "x:1").await.peer, OutagePeer::Internal);
    // What is in memory was hashed there: the disk only saves fetching it again.
    let stage = Stage::bare();
    std::fs::remove_dir(stage.folder.path().join("tmp")).unwrap();
    assert_eq!(stage.resolve(&peer, "x:1").await.unwrap().component().unwrap(), &b"component"[..]);
    assert_eq!(stage.held(&Digest::of(b"component")).await.unwrap(), b"component");
}

#[tokio::test]
async fn a30_1_many_at_once_are_one_fetch() {
    let peer = Peer::start().await;
    let pushed = Pushed::new("x", b"component").on(&peer, "1");
    let stage = Stage::bare();
    let all = futures::future::join_all((0..200).map(|_| stage.resolve(&peer, "x:1"))).await;
    assert!(all.into_iter().all(|one| *one.unwrap().digest() == pushed.digest()));
    assert_eq!((peer.times("/v2/x/manifests/1"), peer.times(&pushed.layer_path()), peer.asked().len()), (1, 1, 3));
}

#[tokio::test]
async fn what_is_not_there_is_unknown_while_a_refusal_is_an_outage() {
    let peer = Peer::start().await;
    let stage = Stage::bare();
    let unknown = stage.resolve(&peer, "x:none").await.unwrap_err();
    assert!(matches!(unknown, NoAnswer::UnknownReference { reference } if reference.ends_with("/x:none")));
    let missing = format!("x@{}", Digest::of(b"none"));
    assert!(matches!(stage.resolve(&peer, &missing).await, Err(NoAnswer::UnknownReference { .. })));
    for (status, hint) in [(403, "password_file"), (429, "ask again in 1 s")] {
        peer.on("/v2/x/manifests/1", Reply::status(status));
        let outage = Stage::bare().outage(&peer, "x:1").await;
        assert!(outage.hint.unwrap().contains(hint), "{status}");
    }
    peer.on("/v2/x/manifests/1", Reply::status(429).header("retry-after", "7"));
    assert_eq!(Stage::bare().outage(&peer, "x:1").await.hint.unwrap(), "ask again in 7 s");
    for status in [201, 204, 206, 301, 307, 400, 401, 405, 500, 503] {
        peer.on("/v2/x/manifests/1", Reply::status(status));
        stage.outage(&peer, "x:1").await;
    }
    let unlisted = "ghcr.io/x:1".parse().unwrap();
    let refused = stage.registry.resolve(&unlisted, Timestamp::UNIX_EPOCH).await.unwrap_err();
    assert!(
        matches!(refused, NoAnswer::Unprocessable { detail } if detail.contains("[registry.upstreams.\"ghcr.io\"]"))
    );
}

#[tokio::test]
async fn a17_1_a_reference_that_names_no_upstream_is_looked_up_nowhere() {
    let peer = Peer::start().await;
    Pushed::new("x", b"component").on(&peer, "1");
    let listed = Stage::with(&peer, UpstreamSettings::default());
    let port = peer.name.rsplit(':').next().unwrap();
    for host in [
        "169.254.169.254".into(),
        "[::ffff:127.0.0.1]".into(),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("localhost:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.1:{port}"),
        format!("0177.0.0.1:{port}"),
        format!("127.1:{port}"),
        format!("127.0.0.1.:{port}"),
        "localhost:22".into(),
        "unlisted.example".into(),
    ] {
        let Ok(reference) = format!("{host}/x:1").parse::<Reference>() else { continue };
        let refused = Box::pin(listed.registry.resolve(&reference, Timestamp::UNIX_EPOCH)).await.unwrap_err();
        assert!(matches!(refused, NoAnswer::Unprocessable { .. }), "{host}: {refused:?}");
    }
    assert!(peer.asked().is_empty(), "{:?}", peer.asked());
    listed.resolve(&peer, "x:1").await.unwrap();
}

#[tokio::test]
async fn no_more_than_a_limit_is_under_way_from_all_upstreams() {
    let peer = Peer::start().await;
    let cold_queue = std::time::Duration::from_millis(20);
    let stage = Stage::of(&Settings::default(), Budgets { cold_queue, ..Budgets::default() });
    let upstream = stage.registry.inner.upstreams.of_registry(&peer.name).unwrap();
    let memory = &stage.registry.inner.memory;
    // The largest component is more than may be under way: it goes alone.
    let alone = memory.cold(&upstream, COMPONENT_BYTES, "").await.unwrap();
    assert!(memory.cold(&upstream, 1, "").await.is_err());
    let pushed = Pushed::new("x", b"component").on(&peer, "1");
    assert!(stage.outage(&peer, "x:1").await.hint.unwrap().contains("`registry.cold_max_bytes`"));
    assert_eq!(peer.times(&pushed.layer_path()), 0);
    drop(alone);
    let all = || memory.cold(&upstream, Settings::default().cold_max_bytes, "");
    // What the store's memory counts takes no more room once it is there; what it has no room for does, until it is decided.
    let held = stage.resolve(&peer, "x:1").await.unwrap();
    drop(all().await.unwrap());
    drop(held);
    let settings = Settings { memory_max_bytes: 0, ..Settings::default() };
    let stage = Stage::of(&settings, Budgets { cold_queue, ..Budgets::default() });
    let memory = &stage.registry.inner.memory;
    let all = || memory.cold(&upstream, Settings::default().cold_max_bytes, "");
    let held = stage.resolve(&peer, "x:1").await.unwrap();
    assert!(all().await.is_err(), "it is held and not counted");
    drop(held);
    drop(all().await.unwrap());
}

#[tokio::test]
async fn a_missing_blob_of_a_known_manifest_is_an_outage() {
    let peer = Peer::start().await;
    let pushed = Pushed::new("x", b"component").on(&peer, "1");
    peer.on(pushed.layer_path(), Reply::status(404));
    let outage = Stage::bare().outage(&peer, "x:1").await;
    assert!(outage.chain().contains(&Digest::of(b"component").to_string()), "{}", outage.chain());
}
