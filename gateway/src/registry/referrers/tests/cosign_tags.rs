//! What lies under cosign's tags, and what only looks as if nothing did.

use super::super::cosign_tags::{CosignTag, signed_layers};
use super::*;
use crate::case::CosignLayer;
use crate::registry::budgets::{COSIGN_LAYERS, COSIGN_PAYLOAD_BYTES, DESCRIPTORS, EVIDENCE_BYTES, MANIFEST_BYTES};
use crate::registry::document::DOCKER_MANIFEST;

const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const DSSE_ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const BOTH: [CosignTag; 2] = [CosignTag::Signatures, CosignTag::Attestations];

impl Scene {
    fn name(&self, tag: CosignTag) -> String {
        let suffix = if tag == CosignTag::Signatures { "sig" } else { "att" };
        format!("sha256-{}.{suffix}", self.subject.hex())
    }

    fn on_tag(&self, tag: CosignTag, reply: Reply) {
        self.peer.on(format!("/v2/x/manifests/{}", self.name(tag)), reply);
    }

    fn put_blob(&self, bytes: &[u8]) {
        self.peer.on(blob_path(bytes), Reply::ok("application/octet-stream", bytes));
    }

    async fn found(&self, tag: CosignTag, reply: Reply) -> Vec<Candidate> {
        self.on_tag(tag, reply);
        self.candidates().await.unwrap().list
    }

    /// The codes of what was found, in order; none of it can be used.
    async fn codes(&self, tag: CosignTag, reply: Reply) -> Vec<String> {
        let code = |one: Candidate| match one.content {
            Err(defect) => defect.code.to_string(),
            Ok(content) => panic!("{content:?}"),
        };
        self.found(tag, reply).await.into_iter().map(code).collect()
    }
}

fn layer(tag: CosignTag, bytes: &[u8]) -> Value {
    let media_type = if tag == CosignTag::Signatures { SIMPLE_SIGNING } else { DSSE_ENVELOPE };
    let mut layer = descriptor(media_type, bytes);
    layer["annotations"] = json!({"a": "b"});
    layer
}

fn manifest(layers: &[Value]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": layers,
    })
}

fn reply(manifest: &Value) -> Reply {
    Reply::ok(OCI_MANIFEST, manifest.to_string())
}

#[tokio::test]
async fn each_layer_is_a_candidate_beside_the_bundles() {
    let scene = Scene::new().await;
    scene.peer.on(&scene.api, index(&[scene.bundle(b"bundle")]));
    for tag in BOTH {
        scene.on_tag(tag, reply(&manifest(&[layer(tag, b"one"), layer(tag, b"two"), layer(tag, b"one")])));
    }
    scene.put_blob(b"one");
    scene.put_blob(b"two");
    let found = scene.candidates().await.unwrap();
    assert_eq!(found.looked_in, ["referrers-api", "cosign-tags"]);
    assert_eq!(found.list.len(), 1 + 3 + 3);
    for (tag, media_type) in BOTH.into_iter().zip([SIMPLE_SIGNING, DSSE_ENVELOPE]) {
        for (number, payload) in [&b"one"[..], b"two", b"one"].into_iter().enumerate() {
            let annotations = [("a".to_owned(), "b".to_owned())].into();
            let layer = CosignLayer { payload: payload.to_vec().into(), annotations };
            let content = match tag {
                CosignTag::Signatures => CandidateContent::CosignSignature(layer),
                CosignTag::Attestations => CandidateContent::CosignAttestation(layer),
            };
            let source = CandidateSource {
                via: "cosign-tags".into(),
                name: format!("{}#{number}", scene.name(tag)),
                index: None,
                media_type: Some(media_type.into()),
                digest: Some(content.digest()),
            };
            assert!(found.list.contains(&Candidate { source, content: Ok(content) }), "{found:#?}");
        }
    }
    assert_eq!(scene.peer.times(&blob_path(b"one")), 1, "equal payloads are read once");
    // Docker's manifests have the same shape.
    let mut docker = manifest(&[layer(CosignTag::Signatures, b"one")]);
    docker["mediaType"] = DOCKER_MANIFEST.into();
    assert_eq!(scene.found(CosignTag::Signatures, Reply::ok(DOCKER_MANIFEST, docker.to_string())).await.len(), 5);
}

#[tokio::test]
async fn a25_2_only_404_says_that_a_tag_is_not_there() {
    let scene = Scene::impatient().await;
    for tag in BOTH {
        for refusal in [401, 403, 429, 500, 503, 301, 405].map(Reply::refusal).into_iter().chain([
            Reply::ok("text/html", "<html>"),
            Reply::ok("application/json", manifest(&[]).to_string()),
            Reply::status(200).body("{}"),
            Reply::ok(OCI_MANIFEST, "{}").ending(Ending::Mute),
            Reply::ok(OCI_MANIFEST, "{}").ending(Ending::Announcing(100)),
            Reply::ok(OCI_MANIFEST, "{}").header("content-encoding", "gzip"),
            Reply::ok(OCI_MANIFEST, "{}").header("docker-content-digest", &Digest::of(b"x").to_string()),
        ]) {
            scene.on_tag(tag, refusal.clone());
            let outage = scene.candidates().await.unwrap_err();
            assert!(outage.to_string().contains(&scene.name(tag)), "{outage} after {refusal:?}");
        }
        scene.on_tag(tag, Reply::status(404));
        assert_eq!(scene.candidates().await.unwrap().list, []);
    }
}

#[tokio::test]
async fn a4_1_a5_2_what_is_no_manifest_of_signatures_is_a_candidate_with_a_defect() {
    let scene = Scene::new().await;
    for tag in BOTH {
        let good = || manifest(&[layer(tag, b"one")]);
        let with = |change: &dyn Fn(&mut Value)| {
            let mut manifest = good();
            change(&mut manifest);
            reply(&manifest)
        };
        let twice = good().to_string().replacen('{', "{\"layers\":[],", 1);
        for (reply, code) in [
            (Reply::ok(OCI_MANIFEST, ""), "manifest-invalid"),
            (Reply::ok(OCI_MANIFEST, "[]"), "manifest-invalid"),
            (Reply::ok(OCI_MANIFEST, twice), "manifest-invalid"),
            (Reply::ok(OCI_INDEX, good().to_string()), "manifest-invalid"),
            (index(&[]), "manifest-invalid"),
            (reply(&manifest(&[])), "manifest-invalid"),
            (with(&|m| m["Layers"] = json!([])), "manifest-invalid"),
            (with(&|m| m["layers"][0]["size"] = (-1).into()), "manifest-invalid"),
            (with(&|m| m["layers"][0]["annotations"]["a"] = 1.into()), "manifest-invalid"),
            (with(&|m| m["layers"][0]["urls"] = json!(["http://127.0.0.1/"])), "manifest-invalid"),
            (with(&|m| m["subject"] = descriptor(OCI_MANIFEST, b"other")), "subject-mismatch"),
            (with(&|m| m["layers"][0]["mediaType"] = "application/octet-stream".into()), "bundle-unsupported"),
            // A4.1: what belongs under the other tag, a bundle.
            (with(&|m| m["layers"][0]["mediaType"] = other(tag).into()), "bundle-unsupported"),
            (with(&|m| m["layers"][0]["mediaType"] = BUNDLE.into()), "bundle-unsupported"),
            // The blob is not there.
            (reply(&good()), "manifest-invalid"),
        ] {
            assert_eq!(scene.codes(tag, reply.clone()).await, [code], "{tag:?} {reply:?}");
        }
        for (body, ending) in [("ONE", Ending::Whole), ("one!", Ending::Chunked), ("on", Ending::Chunked)] {
            scene.peer.on(blob_path(b"one"), Reply::ok("a/b", body).ending(ending));
            assert_eq!(scene.codes(tag, reply(&good())).await, ["digest-mismatch"], "{body}");
        }
        for refusal in [403, 429, 500].map(Reply::refusal) {
            scene.peer.on(blob_path(b"one"), refusal);
            scene.on_tag(tag, reply(&good()));
            assert!(scene.candidates().await.is_err());
        }
        scene.peer.on(blob_path(b"one"), Reply::status(404));
        scene.on_tag(tag, Reply::status(404));
    }
}

fn other(tag: CosignTag) -> &'static str {
    if tag == CosignTag::Signatures { DSSE_ENVELOPE } else { SIMPLE_SIGNING }
}

#[tokio::test]
async fn a12_2_floods_under_a_tag_are_accounted_for() {
    let scene = Scene::new().await;
    let tag = CosignTag::Signatures;
    let layers = |count: usize| (0..count).map(|n| layer(tag, &n.to_be_bytes())).collect::<Vec<_>>();
    // None of them is there: each was asked for.
    assert_eq!(
        scene.codes(tag, reply(&manifest(&layers(COSIGN_LAYERS)))).await,
        vec!["manifest-invalid"; COSIGN_LAYERS]
    );
    for count in [COSIGN_LAYERS + 1, DESCRIPTORS + 1, 10_000] {
        assert_eq!(scene.codes(tag, reply(&manifest(&layers(count)))).await, ["limit-exceeded"], "{count}");
    }
    for flood in [
        Reply::ok(OCI_MANIFEST, "x").ending(Ending::Announcing(300 << 20)),
        Reply::ok(OCI_MANIFEST, "x").ending(Ending::Announcing(MANIFEST_BYTES + 1)),
        Reply::ok(OCI_MANIFEST, "").ending(Ending::Endless),
    ] {
        assert_eq!(scene.codes(tag, flood).await, ["limit-exceeded"]);
    }
    let announcing = |tag: CosignTag, size: u64| {
        let mut layer = layer(tag, &size.to_be_bytes());
        layer["size"] = size.into();
        layer
    };
    for (tag, limit_bytes) in BOTH.into_iter().zip([COSIGN_PAYLOAD_BYTES, ATTESTATION_BYTES]) {
        for (size, code) in [(limit_bytes, "manifest-invalid"), (limit_bytes + 1, "limit-exceeded")] {
            assert_eq!(scene.codes(tag, reply(&manifest(&[announcing(tag, size)]))).await, [code]);
        }
        scene.on_tag(tag, Reply::status(404));
    }
    // The manifest counts as well, so two of the largest attestations are too much together.
    let two = [
        announcing(CosignTag::Attestations, EVIDENCE_BYTES / 2),
        announcing(CosignTag::Attestations, EVIDENCE_BYTES / 2),
    ];
    let codes = scene.codes(CosignTag::Attestations, reply(&manifest(&two))).await;
    assert_eq!(codes, ["manifest-invalid", "limit-exceeded"]);
}

#[tokio::test]
async fn layers_count_as_referrers_do() {
    let scene = Scene::new().await;
    let tag = CosignTag::Signatures;
    let layers = (0..COSIGN_LAYERS).map(|n| layer(tag, &n.to_be_bytes())).collect::<Vec<_>>();
    let gone = |count: usize| (0..count).map(|n| descriptor(OCI_MANIFEST, &n.to_le_bytes())).collect::<Vec<_>>();
    scene.on_tag(tag, reply(&manifest(&layers)));
    for (referrers, over) in
        [(REFERRERS - COSIGN_LAYERS, 0), (REFERRERS - COSIGN_LAYERS + 1, 1), (REFERRERS, COSIGN_LAYERS)]
    {
        scene.peer.on(&scene.api, index(&gone(referrers)));
        let outcomes = scene.outcomes().await;
        assert_eq!(outcomes.len(), referrers + COSIGN_LAYERS);
        assert_eq!(outcomes.iter().filter(|code| *code == "limit-exceeded").count(), over, "{referrers}");
    }
}

#[test]
fn a_fuzzer_counts_the_layers() {
    let subject = Digest::of(b"x");
    let bytes = bytes::Bytes::from(manifest(&[layer(CosignTag::Signatures, b"one")]).to_string());
    let answer = crate::registry::fetch::Answer {
        digest: Digest::of(&bytes),
        bytes,
        content_type: OCI_MANIFEST.into(),
        links: Vec::new(),
    };
    assert_eq!(signed_layers(&answer, &subject), 1);
}
