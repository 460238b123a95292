//! What a search finds over a real socket, and what it makes of lies, floods, refusals.

mod cosign_tags;

use serde_json::{Value, json};

use crate::case::{Candidate, CandidateContent, CandidateSource, Candidates};
use crate::outage::Outage;
use crate::registry::Settings;
use crate::registry::budgets::{
    ATTESTATION_BYTES, BUNDLE_BYTES, Budgets, REFERRER_PAGE_BYTES, REFERRER_PAGES, REFERRERS,
};
use crate::registry::document::{OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use crate::registry::peer::{Ending, Peer, Pushed, Reply, Stage, descriptor, index};

use super::kind::COSIGN_SIGN;
use super::*;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// An artifact `x:1` on a peer, to which a test attaches things.
struct Scene {
    peer: Peer,
    stage: Stage,
    subject: Digest,
    api: String,
    tag: String,
}

impl Scene {
    async fn new() -> Self {
        let peer = Peer::start().await;
        let subject = Pushed::new("x", b"component").on(&peer, "1").digest();
        let (api, tag) = (format!("/v2/x/referrers/{subject}"), format!("/v2/x/manifests/sha256-{}", subject.hex()));
        Self { peer, stage: Stage::bare(), subject, api, tag }
    }

    /// The same, for answers that never come.
    async fn impatient() -> Self {
        let budgets = Budgets { idle: std::time::Duration::from_millis(300), ..Budgets::default() };
        Self { stage: Stage::of(&Settings::default(), budgets), ..Self::new().await }
    }

    fn referrer(&self, layers: &[Value]) -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_EMPTY, b"{}"),
            "layers": layers,
            "subject": {"mediaType": OCI_MANIFEST, "digest": self.subject.to_string(), "size": 1},
        })
    }

    /// Puts a referrer's manifest there; gives its entry for a list, with the wrong type that ghcr.io gives.
    fn put(&self, manifest: &Value) -> Value {
        let bytes = manifest.to_string().into_bytes();
        self.peer.on(format!("/v2/x/manifests/{}", Digest::of(&bytes)), Reply::ok(OCI_MANIFEST, bytes.clone()));
        let mut entry = descriptor(OCI_MANIFEST, &bytes);
        entry["artifactType"] = OCI_EMPTY.into();
        entry
    }

    fn bundle(&self, bytes: &[u8]) -> Value {
        self.peer.on(blob_path(bytes), Reply::ok("application/octet-stream", bytes));
        self.put(&self.referrer(&[descriptor(BUNDLE, bytes)]))
    }

    async fn candidates(&self) -> Result<Candidates, Outage> {
        let artifact = Stage::bare().resolve(&self.peer, "x:1").await.unwrap();
        Box::pin(self.stage.registry.candidates(&artifact)).await
    }

    /// What became of the candidates: the bundle's text or the code, sorted.
    async fn outcomes(&self) -> Vec<String> {
        let found = self.candidates().await.unwrap();
        let outcome = |one: &Candidate| match &one.content {
            Ok(CandidateContent::Bundle(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            Ok(other) => panic!("{other:?} is no bundle"),
            Err(defect) => defect.code.to_string(),
        };
        let mut outcomes: Vec<_> = found.list.iter().map(outcome).collect();
        outcomes.sort();
        outcomes
    }
}

fn blob_path(bytes: &[u8]) -> String {
    format!("/v2/x/blobs/{}", Digest::of(bytes))
}

#[tokio::test]
async fn finds_bundles_over_all_pages_with_their_source() {
    let scene = Scene::new().await;
    let (a, b) = (scene.bundle(b"bundle a"), scene.bundle(b"bundle b"));
    scene.peer.on(
        &scene.api,
        index(std::slice::from_ref(&a)).header("link", "</v2/x/x>; rel=\"prev\", <?last=a,b>; rel=next"),
    );
    scene.peer.on(format!("{}?last=a,b", scene.api), index(&[a.clone(), b]));
    let found = scene.candidates().await.unwrap();
    assert_eq!(found.looked_in, ["referrers-api", "cosign-tags"]);
    assert_eq!(scene.outcomes().await, ["bundle a", "bundle b"]);
    let source = CandidateSource {
        via: "referrers-api".into(),
        name: a["digest"].as_str().unwrap().into(),
        index: None,
        media_type: Some(BUNDLE.into()),
        digest: Some(Digest::of(b"bundle a")),
    };
    assert!(found.list.iter().any(|one| one.source == source));
}

#[tokio::test]
async fn a25_1_the_fallback_tag_is_tried_when_the_api_is_missing_or_empty() {
    let scene = Scene::new().await;
    let none = Candidates {
        looked_in: vec!["referrers-api".into(), "fallback-tag".into(), "cosign-tags".into()],
        list: Vec::new(),
    };
    assert_eq!(scene.candidates().await.unwrap(), none);
    scene.peer.on(&scene.tag, index(&[scene.bundle(b"bundle")]));
    assert_eq!(scene.outcomes().await, ["bundle"]);
    scene.peer.on(&scene.api, index(&[]));
    assert_eq!(scene.outcomes().await, ["bundle"]);
    assert_eq!(scene.candidates().await.unwrap().looked_in, none.looked_in);
}

#[tokio::test]
async fn a25_2_a_refusal_to_show_evidence_is_never_none() {
    let scene = Scene::impatient().await;
    let page_2 = format!("{}?page=2", scene.api);
    let first = || index(&[]).header("link", &format!("<{page_2}>; rel=\"next\""));
    let refusals = || {
        [401, 403, 429, 500, 503, 301, 405].map(Reply::refusal).into_iter().chain([
            Reply::ok("text/html", "<html>"),
            Reply::ok(OCI_INDEX, "{}").ending(Ending::Mute),
            Reply::ok(OCI_INDEX, "{}").ending(Ending::Announcing(100)),
            Reply::ok(OCI_INDEX, "{}").header("content-encoding", "gzip"),
        ])
    };
    for refusal in refusals() {
        scene.peer.on(&scene.api, refusal.clone());
        assert!(scene.candidates().await.is_err(), "api: {refusal:?}");
        scene.peer.on(&scene.api, first());
        scene.peer.on(&page_2, refusal.clone());
        assert!(scene.candidates().await.is_err(), "page 2: {refusal:?}");
    }
    scene.peer.on(&page_2, Reply::status(404));
    assert!(scene.candidates().await.is_err(), "page 2 is missing");
    // Each of them answers, and would end the list well.
    let elsewhere = Peer::start().await;
    let other_path = "/v2/y/referrers/z";
    scene.peer.on(other_path, index(&[]));
    elsewhere.on(&scene.api, index(&[]));
    for link in [
        format!("<{other_path}>; rel=next"),
        format!("<http://{}{}>; rel=next", elsewhere.name, scene.api),
        format!("<http://user@{}{}?page=2>; rel=next", scene.peer.name, scene.api),
        "<http://127.0.0.1:1/>; rel=next".into(),
        "nonsense".into(),
        "<?page=2>;rel=next, <?page=3>;rel=next".into(),
    ] {
        scene.peer.on(&scene.api, index(&[]).header("link", &link));
        assert!(scene.candidates().await.is_err(), "{link}");
    }
    scene.peer.on(&scene.api, Reply::status(404));
    for refusal in refusals().filter(|refusal| refusal.headers.first().is_none_or(|(_, value)| value != "text/html")) {
        scene.peer.on(&scene.tag, refusal.clone());
        assert!(scene.candidates().await.is_err(), "tag: {refusal:?}");
    }
}

#[tokio::test]
async fn a25_2_malformed_lists_are_candidates_with_a_defect() {
    let scene = Scene::new().await;
    let good = scene.bundle(b"bundle");
    for body in [
        "",
        "[]",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}",
        "{\"schemaVersion\":1,\"manifests\":[]}",
    ] {
        scene.peer.on(&scene.api, Reply::ok(OCI_INDEX, body));
        assert_eq!(scene.outcomes().await, ["manifest-invalid"], "{body}");
    }
    scene.peer.on(&scene.api, Reply::status(404));
    scene.peer.on(&scene.tag, Reply::ok(OCI_MANIFEST, scene.referrer(&[]).to_string()));
    assert_eq!(scene.outcomes().await, ["manifest-invalid"], "the tag is no index");
    scene.peer.on(&scene.tag, Reply::ok("text/html", "<html>"));
    assert_eq!(scene.outcomes().await, ["manifest-invalid"]);
    let mut bad = good.clone();
    bad["size"] = (-1).into();
    scene.peer.on(&scene.tag, index(&[bad, good]));
    assert_eq!(scene.outcomes().await, ["bundle", "manifest-invalid"]);
}

#[tokio::test]
async fn a12_2_floods_end_at_the_limit_which_is_accounted_for() {
    let scene = Scene::new().await;
    let sbom = scene.put(&json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "artifactType": "application/spdx+json",
        "config": descriptor(OCI_EMPTY, b"{}"),
    }));
    let gone =
        |count: usize| -> Vec<Value> { (0..count).map(|n| descriptor(OCI_MANIFEST, &n.to_be_bytes())).collect() };
    scene.peer.on(&scene.api, index(&gone(REFERRERS)));
    assert_eq!(scene.outcomes().await, vec!["manifest-invalid"; REFERRERS]);
    scene.peer.on(&scene.api, index(&gone(REFERRERS + 1)));
    let outcomes = scene.outcomes().await;
    assert_eq!((outcomes.len(), outcomes[0].as_str()), (REFERRERS + 1, "limit-exceeded"));

    let pages = || scene.peer.asked().iter().filter(|asked| asked.path.contains("/referrers/")).count();
    let asked = pages();
    scene.peer.on(&scene.api, index(std::slice::from_ref(&sbom)).header("link", "<>; rel=next"));
    assert_eq!(scene.outcomes().await, ["limit-exceeded"], "a page that leads to itself");
    assert_eq!(pages() - asked, REFERRER_PAGES);

    for reply in [
        Reply::ok(OCI_INDEX, "x").ending(Ending::Announcing(REFERRER_PAGE_BYTES + 1)),
        Reply::ok(OCI_INDEX, "").ending(Ending::Endless),
    ] {
        scene.peer.on(&scene.api, reply.clone());
        assert_eq!(scene.outcomes().await, ["limit-exceeded"]);
        scene.peer.on(&scene.api, Reply::status(404));
        scene.peer.on(&scene.tag, reply);
        assert_eq!(scene.outcomes().await, ["limit-exceeded"]);
    }
}

#[tokio::test]
async fn bundles_past_their_limit_are_not_read() {
    let scene = Scene::new().await;
    let announce = |size: u64, predicate: Option<&str>| {
        let layer = json!({"mediaType": BUNDLE, "digest": Digest::of(&size.to_be_bytes()).to_string(), "size": size});
        let mut manifest = scene.referrer(&[layer]);
        if let Some(predicate) = predicate {
            manifest["annotations"] = json!({"dev.sigstore.bundle.predicateType": predicate});
        }
        scene.put(&manifest)
    };
    let slsa = Some("https://slsa.dev/provenance/v1");
    for (entry, expected) in [
        (announce(BUNDLE_BYTES, None), "manifest-invalid"),
        (announce(BUNDLE_BYTES + 1, None), "limit-exceeded"),
        (announce(BUNDLE_BYTES + 1, Some(COSIGN_SIGN)), "limit-exceeded"),
        (announce(ATTESTATION_BYTES, slsa), "manifest-invalid"),
        (announce(ATTESTATION_BYTES + 1, slsa), "limit-exceeded"),
    ] {
        scene.peer.on(&scene.api, index(&[entry]));
        assert_eq!(scene.outcomes().await, [expected]);
    }
    // Within the limit each was asked for and is not there; together three are more than all evidence may be.
    let three = [1, 2, 3].map(|less| announce(ATTESTATION_BYTES - less, slsa));
    scene.peer.on(&scene.api, index(&three));
    assert_eq!(scene.outcomes().await, ["limit-exceeded", "limit-exceeded", "manifest-invalid"]);
}

#[tokio::test]
async fn a2_2_a5_2_what_lies_about_itself_is_a_candidate_with_a_defect() {
    let scene = Scene::new().await;
    let path = |entry: &Value| format!("/v2/x/manifests/{}", entry["digest"].as_str().unwrap());
    let good = scene.bundle(b"good");
    let with = |change: fn(&mut Value)| {
        let mut manifest = scene.referrer(&[descriptor(BUNDLE, b"good")]);
        change(&mut manifest);
        scene.put(&manifest)
    };
    let other_manifest = scene.bundle(b"m");
    scene.peer.on(path(&other_manifest), Reply::ok(OCI_MANIFEST, "{}"));
    let longer_manifest = scene.bundle(b"n");
    scene.peer.on(path(&longer_manifest), Reply::ok(OCI_MANIFEST, " ".repeat(2000)));
    let other_bundle = scene.bundle(b"bundle");
    scene.peer.on(blob_path(b"bundle"), Reply::ok("a/b", "bumble"));
    let longer_bundle = scene.bundle(b"longer");
    scene.peer.on(blob_path(b"longer"), Reply::ok("a/b", "longer!").ending(Ending::Chunked));
    for (lie, code) in [
        (other_manifest, "digest-mismatch"),
        (longer_manifest, "digest-mismatch"),
        (other_bundle, "digest-mismatch"),
        (longer_bundle, "digest-mismatch"),
        (with(|m| m["subject"]["digest"] = Digest::of(b"other").to_string().into()), "subject-mismatch"),
        (with(|m| drop(m.as_object_mut().unwrap().remove("subject"))), "subject-mismatch"),
        (with(|m| m["layers"] = json!([m["layers"][0], m["layers"][0]])), "manifest-invalid"),
        (with(|m| m["layers"][0]["size"] = (-1).into()), "manifest-invalid"),
        (with(|m| m["schemaVersion"] = 1.into()), "manifest-invalid"),
        (
            with(|m| m["layers"][0]["mediaType"] = "application/vnd.dev.cosign.simplesigning.v1+json".into()),
            "bundle-unsupported",
        ),
        (with(|m| m["layers"][0]["mediaType"] = "application/octet-stream".into()), "bundle-unsupported"),
    ] {
        scene.peer.on(&scene.api, index(&[lie, good.clone()]));
        assert_eq!(scene.outcomes().await, sorted([code, "good"]));
    }
    let sbom = with(|m| {
        m["artifactType"] = "application/spdx+json".into();
        m["layers"][0]["mediaType"] = "application/spdx+json".into();
    });
    scene.peer.on(&scene.api, index(&[sbom, good]));
    assert_eq!(scene.outcomes().await, ["good"]);
}

#[tokio::test]
async fn a25_3_what_a_list_says_of_its_entries_changes_nothing() {
    let scene = Scene::new().await;
    let bundle = scene.bundle(b"bundle");
    let sbom = scene.put(&json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "artifactType": "application/spdx+json",
        "config": descriptor(OCI_EMPTY, b"{}"),
    }));
    // ghcr.io says `empty` of a bundle; a server that ignores a filter lists everything; a liar says what it likes.
    for kind in [json!(OCI_EMPTY), json!(BUNDLE), json!("application/spdx+json"), json!("x/y"), json!(null)] {
        let (mut bundle, mut sbom) = (bundle.clone(), sbom.clone());
        for entry in [&mut bundle, &mut sbom] {
            match &kind {
                Value::Null => drop(entry.as_object_mut().unwrap().remove("artifactType")),
                kind => entry["artifactType"] = kind.clone(),
            }
        }
        scene.peer.on(&scene.api, index(&[bundle, sbom]).header("oci-filters-applied", "artifactType"));
        assert_eq!(scene.outcomes().await, ["bundle"], "{kind}");
    }
    // Redirects are for blobs: who sends us elsewhere for a list shows none, wherever it leads.
    let elsewhere =
        [format!("http://{}/v2/x/referrers/{}", scene.peer.name, scene.subject), "http://127.0.0.1:1/x".into()];
    for location in elsewhere {
        for status in [301, 302, 303, 307, 308] {
            scene.peer.on(&scene.api, Reply::status(status).header("location", &location));
            assert!(scene.candidates().await.is_err(), "{status} {location}");
        }
    }
}

fn sorted<const N: usize>(mut list: [&str; N]) -> [&str; N] {
    list.sort_unstable();
    list
}

#[tokio::test]
async fn a_registry_that_fails_on_a_referrer_is_an_outage() {
    let scene = Scene::new().await;
    let entry = scene.bundle(b"bundle");
    scene.peer.on(&scene.api, index(std::slice::from_ref(&entry)));
    for reply in [Reply::status(403), Reply::status(500), Reply::ok("a/b", "bun").ending(Ending::Announcing(6))] {
        scene.peer.on(blob_path(b"bundle"), reply);
        assert!(scene.candidates().await.is_err());
    }
    scene.peer.on(format!("/v2/x/manifests/{}", entry["digest"].as_str().unwrap()), Reply::status(403));
    assert!(scene.candidates().await.is_err());
}
