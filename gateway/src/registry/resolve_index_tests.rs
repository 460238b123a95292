//! Artifacts behind an index: which one is meant, and what happens when the index or the registry lies.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "a test that cannot go on has failed")]

use serde_json::{Value, json};

use crate::case::Digest;
use crate::outage::{NoAnswer, Peer as OutagePeer};
use crate::reason::Code;
use crate::registry::budgets::INDEX_DEPTH;
use crate::registry::document::{OCI_INDEX, OCI_MANIFEST};
use crate::registry::peer::{Peer, Pushed, Reply, Stage, descriptor};

/// An index, pushed under a tag and its digest.
fn push(peer: &Peer, tag: &str, entries: &[Value]) -> Vec<u8> {
    let bytes = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).to_string().into_bytes();
    for name in [tag, &Digest::of(&bytes).to_string()] {
        peer.on(format!("/v2/x/manifests/{name}"), Reply::ok(OCI_INDEX, bytes.clone()));
    }
    bytes
}

fn child(media_type: &str, bytes: &[u8], os: &str, architecture: &str) -> Value {
    let mut entry = descriptor(media_type, bytes);
    entry["platform"] = json!({"os": os, "architecture": architecture});
    entry
}

#[tokio::test]
async fn a3_7_an_index_leads_to_its_one_component_and_stays_on_record() {
    let peer = Peer::start().await;
    let leaf = Pushed::new("x", b"component").on(&peer, "leaf");
    let inner = push(
        &peer,
        "inner",
        &[
            child(OCI_MANIFEST, b"never asked for", "linux", "amd64"),
            child(OCI_MANIFEST, &leaf.manifest, "wasip2", "wasm"),
        ],
    );
    let outer = push(&peer, "outer", &[descriptor(OCI_INDEX, &inner)]);
    let stage = Stage::bare();
    for (reference, indexes) in [
        ("x:inner".to_owned(), vec![&inner]),
        ("x:outer".to_owned(), vec![&outer, &inner]),
        (format!("x@{}", Digest::of(&inner)), vec![&inner]),
        ("x:leaf".to_owned(), vec![]),
    ] {
        let artifact = stage.resolve(&peer, &reference).await.unwrap();
        assert_eq!((artifact.digest(), artifact.component().unwrap().as_ref()), (&leaf.digest(), &b"component"[..]));
        let digests: Vec<_> = indexes.iter().map(|bytes| Digest::of(bytes)).collect();
        assert_eq!((&artifact.facts().indexes, artifact.indexes().len()), (&digests, indexes.len()), "{reference}");
        assert!(artifact.indexes().iter().zip(&indexes).all(|(found, bytes)| found == *bytes));
    }
}

#[tokio::test]
async fn a3_5_an_index_that_cannot_be_followed_is_a_defect_of_the_last_good_one() {
    let peer = Peer::start().await;
    let leaf = Pushed::new("x", b"component").on(&peer, "leaf");
    let wasm = || child(OCI_MANIFEST, &leaf.manifest, "wasip2", "wasm");
    let mut deepest = push(&peer, "deep-0", &[wasm()]);
    for level in 1..=INDEX_DEPTH {
        deepest = push(&peer, &format!("deep-{level}"), &[descriptor(OCI_INDEX, &deepest)]);
    }
    let with = |field: &str, value: Value| {
        let mut entry = wasm();
        entry[field] = value;
        entry
    };
    push(&peer, "size", &[with("size", json!(1))]);
    push(&peer, "kind", &[with("mediaType", json!(OCI_INDEX))]);
    push(&peer, "host", &[child(OCI_MANIFEST, &leaf.manifest, "linux", "amd64")]);
    push(&peer, "two", &[wasm(), child(OCI_MANIFEST, b"other", "wasip1", "wasm")]);
    push(&peer, "both", &[json!({"os": "wasip2"})]);
    let stage = Stage::bare();
    stage.resolve(&peer, &format!("x:deep-{}", INDEX_DEPTH - 1)).await.unwrap().component().expect("just deep enough");
    for (tag, code) in [
        (format!("deep-{INDEX_DEPTH}"), Code::LIMIT_EXCEEDED),
        ("size".into(), Code::MANIFEST_INVALID),
        ("kind".into(), Code::MANIFEST_INVALID),
        ("host".into(), Code::ARTIFACT_UNSUPPORTED),
        ("two".into(), Code::ARTIFACT_UNSUPPORTED),
        ("both".into(), Code::MANIFEST_INVALID),
    ] {
        let artifact = stage.resolve(&peer, &format!("x:{tag}")).await.unwrap();
        assert_eq!(artifact.facts().defects[0].code, code, "{tag}");
        assert!(artifact.component().is_none(), "{tag}");
    }
}

#[tokio::test]
async fn a2_1_a_child_of_other_bytes_is_an_outage_and_one_that_lives_elsewhere_unknown() {
    let peer = Peer::start().await;
    let (a, b) = (Pushed::new("x", b"a").on(&peer, "a"), Pushed::new("x", b"b").on(&peer, "b"));
    push(&peer, "1", &[child(OCI_MANIFEST, &a.manifest, "wasip2", "wasm")]);
    peer.on(a.manifest_path(&a.digest().to_string()), Reply::ok(OCI_MANIFEST, b.manifest.clone()));
    let stage = Stage::bare();
    let outage = stage.outage(&peer, "x:1").await;
    assert_eq!(outage.peer, OutagePeer::Registry(peer.name.clone()));
    assert!(outage.chain().contains(&b.digest().to_string()), "{}", outage.chain());

    let elsewhere = Pushed::new("y", b"elsewhere").on(&peer, "1");
    push(&peer, "2", &[child(OCI_MANIFEST, &elsewhere.manifest, "wasip2", "wasm")]);
    assert!(matches!(stage.resolve(&peer, "x:2").await, Err(NoAnswer::UnknownReference { .. })));
}
