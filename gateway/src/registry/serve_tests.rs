//! What was evicted is fetched once and verified again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::case::{Digest, Repository};
use crate::outage::{Outage, Peer as OutagePeer};
use crate::registry::Settings;
use crate::registry::budgets::Budgets;
use crate::registry::document::{OCI_INDEX, OCI_MANIFEST};
use crate::registry::peer::{Peer, Pushed, Reply, Stage, all};

fn repository(peer: &Peer, name: &str) -> Repository {
    Repository::new(&peer.name, name).unwrap()
}

fn evict(stage: &Stage, bytes: &[u8]) {
    std::fs::remove_file(stage.folder.path().join("blobs/sha256").join(Digest::of(bytes).hex())).unwrap();
}

#[tokio::test]
async fn an_evicted_blob_is_fetched_again_in_one_request_and_is_what_the_manifest_says() {
    let peer = Peer::start().await;
    let pushed = Pushed::new("acme/cart", b"component").on(&peer, "1");
    // With no memory for blobs: what is not on disk is fetched.
    let stage = Stage::of(&Settings { memory_max_bytes: 0, ..Settings::default() }, Budgets::default());
    stage.resolve(&peer, "acme/cart:1").await.unwrap();
    let here = repository(&peer, "acme/cart");
    let blob = |digest: Digest| {
        let (registry, here, manifest) = (stage.registry.clone(), here.clone(), pushed.digest());
        async move {
            match registry.blob(&here, &manifest, &digest).await? {
                Some(blob) => Ok::<_, Outage>(Some(all(&blob).await)),
                None => Ok(None),
            }
        }
    };
    let (component, config) = (Digest::of(b"component"), Digest::of(&pushed.config));
    for (digest, bytes) in [(component, &b"component"[..]), (config, &pushed.config)] {
        let path = pushed.blob_path(bytes);
        let before = peer.times(&path);
        assert_eq!(blob(digest).await.unwrap().unwrap(), bytes);
        assert_eq!(peer.times(&path), before, "it was held");
        evict(&stage, bytes);
        let crowd = futures::future::join_all((0..50).map(|_| blob(digest))).await;
        assert!(crowd.into_iter().all(|one| one.unwrap().unwrap() == bytes));
        assert_eq!(peer.times(&path), before + 1, "fetched once");

        evict(&stage, bytes);
        for lie in [Reply::ok("a/b", "other"), Reply::ok("a/b", [bytes, b"!"].concat()), Reply::status(500)] {
            peer.on(path.as_str(), lie);
            assert_eq!(blob(digest).await.unwrap_err().peer, OutagePeer::Registry(peer.name.clone()));
        }
        peer.on(path.as_str(), Reply::ok("a/b", bytes));
        assert_eq!(blob(digest).await.unwrap().unwrap(), bytes, "an honest answer counts at once");
    }
    assert_eq!(blob(Digest::of(b"another")).await.unwrap(), None, "the manifest names no such blob");
    let elsewhere = Repository::new("ghcr.io", "acme/cart").unwrap();
    assert_eq!(
        stage.registry.blob(&elsewhere, &pushed.digest(), &Digest::of(b"another")).await.unwrap().map(drop),
        None
    );
}

#[tokio::test]
async fn a_manifest_comes_from_memory_or_from_its_repository_as_it_was_admitted() {
    let peer = Peer::start().await;
    let pushed = Pushed::new("acme/cart", b"component").on(&peer, "1");
    let digest = pushed.digest();
    let (here, other) = (repository(&peer, "acme/cart"), repository(&peer, "acme/other"));
    let path = pushed.manifest_path(&pushed.digest().to_string());
    let stage = Stage::bare();
    stage.resolve(&peer, "acme/cart:1").await.unwrap();
    let served = stage.registry.manifest(&here, &pushed.digest()).await.unwrap().unwrap();
    assert_eq!((served.bytes.as_ref(), served.media_type.as_str()), (&pushed.manifest[..], OCI_MANIFEST));
    assert_eq!(peer.times(&path), 0, "it was in memory");
    assert_eq!(stage.registry.manifest(&other, &pushed.digest()).await.unwrap(), None, "another repository's is none");

    // A process that has just started remembers nothing.
    let stage = Stage::bare();
    let one = || stage.registry.manifest(&here, &digest);
    let crowd = futures::future::join_all((0..50).map(|_| one())).await;
    assert!(crowd.into_iter().all(|one| one.unwrap().unwrap() == served));
    assert_eq!(peer.times(&path), 1, "fetched once");

    let stage = Stage::bare();
    let one = || stage.registry.manifest(&here, &digest);
    for lie in [
        Reply::ok(OCI_INDEX, pushed.manifest.clone()),
        Reply::ok("text/html", pushed.manifest.clone()),
        Reply::ok(OCI_MANIFEST, "{}"),
        Reply::status(403),
    ] {
        peer.on(path.as_str(), lie);
        assert_eq!(one().await.unwrap_err().peer, OutagePeer::Registry(peer.name.clone()));
    }
    peer.on(path.as_str(), Reply::status(404));
    assert_eq!(one().await.unwrap(), None);
    peer.on(path.as_str(), Reply::ok(OCI_MANIFEST, pushed.manifest.clone()));
    assert_eq!(one().await.unwrap().unwrap(), served, "an honest answer counts at once");
}

#[tokio::test]
async fn a15_3_two_content_types_are_an_outage() {
    let peer = Peer::start().await;
    let pushed = Pushed::new("x", b"component").on(&peer, "1");
    let twice = Reply::ok(OCI_MANIFEST, pushed.manifest.clone()).header("content-type", OCI_INDEX);
    peer.on(pushed.manifest_path("1"), twice);
    let stage = Stage::bare();
    let chain = stage.outage(&peer, "x:1").await.chain();
    assert!(chain.contains("more than one `Content-Type`"), "{chain}");
    pushed.on(&peer, "1");
    assert!(stage.resolve(&peer, "x:1").await.is_ok());
}
