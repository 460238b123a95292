//! What `docs/revocation.md` promises of each kind of entry, sentence by sentence.

use serde_json::json;

use super::super::limits::{CLOCK_SKEW_S, REVOCATION_TEXT_BYTES_MAX};
use super::super::{ListFault, RevocationList, RevocationSettings, Upkeep};
use super::*;
use crate::case::{ArtifactFacts, ComponentFacts, TrustKind};

fn list(issued_at: Timestamp, entries: &Value) -> Vec<u8> {
    json!({"version": 1, "issued_at": issued_at, "entries": entries}).to_string().into_bytes()
}

/// A data folder with a root and a list.
struct Scene {
    folder: tempfile::TempDir,
    sigstore: Sigstore,
    settings: Settings,
}

impl Scene {
    fn new(entries: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sigstore = Sigstore::new(start()).unwrap();
        let file = folder.path().join("revoked.json");
        std::fs::write(&file, list(start(), entries)).unwrap();
        let revocations = Some(RevocationSettings { max_age_s: 100_000, ..RevocationSettings::new(file) });
        let settings = Settings { roots: vec![root("acme", &sigstore)], revocations, ..Settings::default() };
        Self { folder, sigstore, settings }
    }

    async fn open(&self) -> (Collector, Upkeep) {
        Upkeep::open(&self.settings, &self.folder.path().join("data"), later()).await.unwrap()
    }

    async fn revoked(&self, who: &[&str], artifact: &ArtifactFacts) -> Vec<(Code, String)> {
        let found = self.open().await.0.standing().revoked(who, artifact);
        found.into_iter().map(|defect| (defect.code, defect.about)).collect()
    }
}

fn artifact(manifest: &[u8], indexes: &[&[u8]], component: &[u8]) -> ArtifactFacts {
    ArtifactFacts {
        digest: Digest::of(manifest),
        indexes: indexes.iter().map(|bytes| Digest::of(bytes)).collect(),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        size_bytes: 8,
        annotations: std::collections::BTreeMap::new(),
        config: None,
        component: Some(ComponentFacts {
            digest: Digest::of(component),
            size_bytes: 9,
            media_type: "application/wasm".into(),
        }),
        components: Vec::new(),
        carried: Vec::new(),
        native: None,
        defects: Vec::new(),
    }
}

#[tokio::test]
async fn a22_1_an_artifact_is_revoked_by_its_manifest_or_an_index_that_led_to_it() {
    let digest = Digest::of(b"bad");
    let scene = Scene::new(&json!([{"kind": "artifact", "digest": digest, "reason": "hole"}]));
    let about = || vec![(Code::REVOKED, digest.to_string())];
    assert_eq!(scene.revoked(&[], &artifact(b"bad", &[], b"c")).await, about());
    assert_eq!(scene.revoked(&[], &artifact(b"m", &[b"bad"], b"c")).await, about());
    assert_eq!(scene.revoked(&[], &artifact(b"m", &[b"outer", b"bad"], b"c")).await, about());
    // The digest of a component is none of an artifact.
    assert_eq!(scene.revoked(&[], &artifact(b"m", &[b"i"], b"bad")).await, []);
}

#[tokio::test]
async fn a22_1_a_component_is_revoked_whatever_manifest_names_it() {
    let digest = Digest::of(b"bad");
    let scene = Scene::new(&json!([{"kind": "component", "digest": digest, "reason": "hole"}]));
    for manifest in [b"one", b"two"] {
        let found = scene.revoked(&[], &artifact(manifest, &[], b"bad")).await;
        assert_eq!(found, [(Code::REVOKED, digest.to_string())]);
    }
    assert_eq!(scene.revoked(&[], &artifact(b"bad", &[b"bad"], b"c")).await, []);
}

#[tokio::test]
async fn a22_1_whoever_asks_or_is_asked_for_is_revoked_by_its_exact_id() {
    let (bad, good) = ("spiffe://acme.example/host/a", "spiffe://acme.example/host/ab");
    let scene = Scene::new(&json!([{"kind": "caller", "id": bad, "reason": "stolen"}]));
    let artifact = artifact(b"m", &[], b"c");
    for who in [[bad, good], [good, bad], [bad, bad]] {
        assert_eq!(scene.revoked(&who, &artifact).await, [(Code::REVOKED, bad.to_owned())], "{who:?}");
    }
    assert_eq!(scene.revoked(&[good, good], &artifact).await, []);
}

#[tokio::test]
async fn a22_1_evidence_is_revoked_by_its_bytes_or_by_the_manifest_that_holds_it() {
    let holder = Digest::of(b"the referrer's manifest");
    let scene = Scene::new(&json!([{"kind": "evidence", "digest": holder, "reason": "signed by mistake"}]));
    let (collector, _) = scene.open().await;
    let bundle = scene.sigstore.sign(cosign()).unwrap();
    let named = |name: &str| vec![candidate(name, bundle.clone())];
    let evidence = examine(&collector, named(&holder.to_string())).await;
    assert!(matches!(&evidence.findings[0], Finding::Rejected(found) if found.code == Code::REVOKED));
    let evidence = examine(&collector, named(&Digest::of(b"another").to_string())).await;
    assert!(matches!(&evidence.findings[0], Finding::Verified(_)), "the same bytes elsewhere are not named");
}

#[tokio::test]
async fn a22_1_every_case_says_which_list_was_used_and_how_old_it_is() {
    let scene = Scene::new(&json!([]));
    let (collector, _) = scene.open().await;
    let evidence = examine(&collector, Vec::new()).await;
    let row = evidence.trust.iter().find(|fact| fact.kind == TrustKind::RevocationList).unwrap();
    let expected = (Digest::of(&list(start(), &json!([]))), 24 * 60 * 60, Some(100_000));
    assert_eq!((row.digest, row.age_s, row.max_age_s), expected);
}

#[tokio::test]
async fn a22_2_a_list_that_cannot_be_remembered_is_not_believed() {
    let scene = Scene::new(&json!([]));
    let (collector, upkeep) = scene.open().await;
    let basis = collector.standing().basis();
    // A folder in the temporary file's place: not even root writes there.
    let blocker = scene.folder.path().join("data/trust-roots.new");
    std::fs::create_dir(&blocker).unwrap();
    let entries = json!([{"kind": "identity", "san": IDENTITY, "reason": "left"}]);
    std::fs::write(scene.folder.path().join("revoked.json"), list(later(), &entries)).unwrap();
    upkeep.look(later()).await;
    assert_eq!(collector.standing().basis(), basis, "after a restart the list before it would come back");
    assert!(upkeep.degraded(later()).iter().any(|(name, why)| name == "revocations" && why.contains("cannot be kept")));
    std::fs::remove_dir(&blocker).unwrap();
    upkeep.look(later()).await;
    assert_eq!(rejected(&collector, scene.sigstore.sign(cosign()).unwrap()).await.0, Code::REVOKED);
}

#[test]
fn a22_2_the_edges_of_a_list_are_where_the_docs_put_them() {
    let parse = |issued_at: Timestamp, entry: Value| RevocationList::parse(&list(issued_at, &json!([entry])), later());
    let caller = |reason: String| json!({"kind": "caller", "id": "c", "reason": reason});
    let ahead = |seconds| later() + jiff::SignedDuration::from_secs(seconds);
    assert!(parse(ahead(CLOCK_SKEW_S), caller("r".into())).is_ok());
    assert!(matches!(parse(ahead(CLOCK_SKEW_S + 1), caller("r".into())), Err(ListFault::Ahead { .. })));
    for (bytes, good) in
        [(0, false), (1, true), (REVOCATION_TEXT_BYTES_MAX, true), (REVOCATION_TEXT_BYTES_MAX + 1, false)]
    {
        assert_eq!(parse(later(), caller("r".repeat(bytes))).is_ok(), good, "a reason of {bytes} bytes");
    }
    let digest = Digest::of(b"x");
    // `since` stands on keys and identities only: of the others nobody knows since when.
    for kind in ["artifact", "component", "evidence"] {
        assert!(parse(later(), json!({"kind": kind, "digest": digest, "reason": "r", "since": later()})).is_err());
    }
    for entry in [
        json!({"kind": "caller", "id": "c", "reason": "r", "since": later()}),
        json!({"kind": "trust-root", "name": "r", "reason": "r", "since": later()}),
    ] {
        assert!(parse(later(), entry).is_err());
    }
    for entry in [
        json!({"kind": "key", "keyid": "a".repeat(64), "reason": "r", "since": later()}),
        json!({"kind": "identity", "san": "x", "reason": "r", "since": later()}),
    ] {
        assert!(parse(later(), entry).is_ok());
    }
}
