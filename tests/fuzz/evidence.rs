//! What strangers attach to an artifact: bundles, cosign's layers, predicates, with the list of what is revoked.

use std::sync::LazyLock;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use witgate::case::{
    Attested, Candidate, CandidateContent, CandidateSource, Candidates, CosignLayer, Digest, Finding, Timestamp,
};
use witgate::dev::deployment::{ISSUER, SIGNER};
use witgate::dev::sigstore::{Content, Depth, KeyKind, Knob, Log as Rekor, ManagedKey, OwnAuthority, Sign, Sigstore};
use witgate::evidence::fuzzing as evidence_fuzzing;
use witgate::evidence::{
    AuthoritySettings, Collector, Exhibit, InlinePem, InlineRoot, KeySettings, LogDemand, PemSource, RevocationList,
    RootSettings, RootSource, Settings, Trust,
};
use witgate::registry::fuzzing;

use crate::targets::{BUNDLE, OCI_MANIFEST, manifest};

pub struct Honest {
    manifest: Bytes,
    pub bundles: Vec<Vec<u8>>,
    /// What cosign v2 left: see [`layer_content`].
    pub layers: Vec<Vec<u8>>,
    findings: Vec<Finding>,
    collector: Collector,
    pub now: Timestamp,
    runtime: Runtime,
}

pub static EVIDENCE: LazyLock<Honest> = LazyLock::new(|| {
    witgate_tests::provider();
    let at: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
    let sigstore = Sigstore::new(at).unwrap();
    let manifest = Bytes::from(manifest());
    let sign = |log, what| {
        sigstore.sign(Sign::cosign(Digest::of(&manifest), SIGNER, ISSUER, at).logged_in(log).signing(what)).unwrap()
    };
    let message = || Content::Message { bytes: manifest.clone() };
    let mut bundles = vec![
        sign(Rekor::RekorV1, Content::SignStatement),
        sign(Rekor::RekorV2, Content::SignStatement),
        sign(Rekor::RekorV1, message()),
        sign(Rekor::RekorV2, message()),
    ];
    // Keys that need no log, and an own authority that needs a time-stamp: without, the same is said without a time, or nothing.
    let keys = [KeyKind::P256, KeyKind::Ed25519Ph].map(|kind| ManagedKey::of(kind).unwrap());
    let own = OwnAuthority::new(at, Depth::Intermediate).unwrap();
    for what in [Content::SignStatement, message()] {
        let request =
            || Sign::cosign(Digest::of(&manifest), SIGNER, ISSUER, at).signing(what.clone()).with(Knob::NoLogEntry);
        for key in &keys {
            bundles.push(sigstore.sign_with_key(key, request()).unwrap());
            bundles.push(sigstore.sign_with_key(key, request().with(Knob::TimestampBeside)).unwrap());
        }
        bundles.push(sigstore.sign_with_authority(&own, request().with(Knob::TimestampBeside)).unwrap());
    }
    let legacy =
        |knob: Option<Knob>| knob.into_iter().fold(Sign::cosign(Digest::of(&manifest), SIGNER, ISSUER, at), Sign::with);
    let slsa = || Content::Statement {
        predicate_type: "https://acme.example/level/v1".into(),
        predicate: json!({"level": 3}),
    };
    let layers = [None, Some(Knob::TimestampBeside), Some(Knob::IntotoEntry)]
        .into_iter()
        .flat_map(|knob| {
            let signature = sigstore.sign_legacy(legacy(knob)).unwrap();
            let attestation = sigstore.attest_legacy(legacy(knob).signing(slsa())).unwrap();
            [layer_input('s', &signature), layer_input('a', &attestation)]
        })
        .collect();
    let root = InlineRoot { json: sigstore.trusted_root_json(), refreshed_at: at };
    let root = RootSettings { max_age_s: u64::MAX, ..RootSettings::new("fuzz", RootSource::Inline(root)) };
    let keys = keys.iter().map(|key| KeySettings {
        algorithm: Some(key.kind().name().parse().unwrap()),
        transparency_log: LogDemand::Optional,
        ..KeySettings::new(key.kind().name(), PemSource::Inline(InlinePem { text: key.public_pem() }))
    });
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).unwrap();
        path
    };
    let own = AuthoritySettings {
        name: "own".into(),
        chain: file("chain.pem", own.chain_pem()),
        timestamp_authority: Some(file("tsa.pem", sigstore.timestamp_authority_pem())),
        root: None,
        transparency_log: LogDemand::Optional,
    };
    let settings = Settings { roots: vec![root], keys: keys.collect(), authorities: vec![own], ..Settings::default() };
    let collector = Collector::new(Trust::load(&settings).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let now = at + jiff::SignedDuration::from_secs(60);
    let mut honest = Honest { manifest, bundles, layers, findings: Vec::new(), collector, now, runtime };
    let bundles = honest.bundles.iter().map(|bundle| CandidateContent::Bundle(Bytes::copy_from_slice(bundle)));
    let layers = honest.layers.iter().map(|layer| layer_content(layer).unwrap());
    honest.findings = bundles.chain(layers).map(|content| honest.find(content)).collect();
    honest
});

impl Honest {
    pub fn find(&self, content: CandidateContent) -> Finding {
        let source = CandidateSource {
            via: "referrers-api".into(),
            name: "a".into(),
            index: None,
            media_type: Some(BUNDLE.into()),
            digest: None,
        };
        let candidate = Candidate { source, content: Ok(content) };
        let candidates = Candidates { looked_in: vec!["referrers-api".into()], list: vec![candidate] };
        let evidence =
            self.runtime.block_on(self.collector.examine(Exhibit::of(self.manifest.clone()), candidates, self.now));
        evidence.expect("foreign bytes are no outage of ours").findings.pop().expect("one candidate makes one finding")
    }
}

pub fn found(bundle: &[u8]) -> Finding {
    EVIDENCE.find(CandidateContent::Bundle(Bytes::copy_from_slice(bundle)))
}

pub fn bundle(bytes: &[u8]) {
    // White space, unknown members or an unsigned hint may change and leave a bundle good. What it says may not.
    says_what_was_signed(found(bytes));
}

/// `s` or `a` for the tag, the annotations as JSON in one line, then the payload.
pub fn layer_input(tag: char, layer: &CosignLayer) -> Vec<u8> {
    let head = format!("{tag}{}\n", serde_json::to_string(&layer.annotations).unwrap());
    [head.as_bytes(), &layer.payload].concat()
}

pub fn layer_content(bytes: &[u8]) -> Option<CandidateContent> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let annotations = serde_json::from_slice(bytes.get(1..end)?).ok()?;
    let layer = CosignLayer { payload: Bytes::copy_from_slice(&bytes[end + 1..]), annotations };
    match bytes[0] {
        b's' => Some(CandidateContent::CosignSignature(layer)),
        b'a' => Some(CandidateContent::CosignAttestation(layer)),
        _ => None,
    }
}

pub fn cosign_layer(bytes: &[u8]) {
    if let Some(content) = layer_content(bytes) {
        says_what_was_signed(EVIDENCE.find(content));
    }
}

pub fn cosign_manifest() -> Vec<u8> {
    let layer = json!({
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        "digest": Digest::of(b"x"),
        "size": 1,
        "annotations": {"dev.cosignproject.cosign/signature": "AAAA"},
    });
    let mut manifest: Value = serde_json::from_slice(&manifest()).unwrap();
    manifest["layers"] = json!([layer]);
    manifest.to_string().into_bytes()
}

pub fn cosign_tag(bytes: &[u8]) {
    assert!(fuzzing::cosign_tag(bytes, OCI_MANIFEST, &Digest::of(b"x")) <= 100, "more than cosign takes");
}

pub fn says_what_was_signed(found: Finding) {
    if let Finding::Verified(claimed) = found {
        let same = EVIDENCE.findings.iter().any(|honest| match honest {
            Finding::Verified(honest) => {
                (&claimed.signer, claimed.kind, &claimed.predicate_type, &claimed.predicate, &claimed.times)
                    == (&honest.signer, honest.kind, &honest.predicate_type, &honest.predicate, &honest.times)
            }
            Finding::Rejected(_) => false,
        });
        assert!(same, "nobody signed this: {claimed:?}");
    }
}

/// The predicate types that are read.
pub const PREDICATES: [&str; 9] = [
    "https://slsa.dev/provenance/v0.2",
    "https://slsa.dev/provenance/v1",
    "https://spdx.dev/Document",
    "https://cyclonedx.org/bom",
    "https://openvex.dev/ns/v0.2.0",
    "https://slsa.dev/verification_summary/v0.2",
    "https://slsa.dev/verification_summary/v1",
    "https://cosign.sigstore.dev/attestation/vuln/v1",
    "https://in-toto.io/attestation/vulns/v0.2",
];

/// A predicate is read into what a case can hold, or refused; each input is tried as each type.
pub fn predicate(bytes: &[u8]) {
    for predicate_type in PREDICATES {
        if let Some(Ok(attested)) = evidence_fuzzing::predicate(predicate_type, bytes) {
            let json = serde_json::to_value(&attested).expect("what is read is JSON");
            let read: Attested = serde_json::from_value(json).expect("what is written can be read");
            assert_eq!(read, attested);
        }
    }
}

pub fn predicates() -> Vec<Vec<u8>> {
    let digest = Digest::of(b"x").hex();
    let purl = "pkg:npm/%40acme/left-pad@1.3.0";
    [
        json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [
            {"name": "a", "group": "g", "purl": purl, "licenses": [{"license": {"id": "MIT"}}, {"expression": "(MIT OR 0BSD)"}],
             "hashes": [{"alg": "SHA-256", "content": digest}], "components": [{"name": "b"}]},
        ]}),
        json!({"spdxVersion": "SPDX-2.3", "packages": [{"name": "a", "versionInfo": "1", "licenseDeclared": "GPL-2.0+",
            "externalRefs": [{"referenceType": "purl", "referenceLocator": purl}],
            "checksums": [{"algorithm": "SHA256", "checksumValue": digest}]}]}),
        json!({"builder": {"id": "b"}, "buildType": "t", "invocation": {
            "configSource": {"uri": "git+https://h/a@refs/tags/v1", "digest": {"sha1": "00"}},
            "environment": {"github_ref": "refs/tags/v1", "github_event_payload": {"base_ref": "refs/heads/main"}}},
            "metadata": {"buildStartedOn": "2025-06-01T12:00:00Z"}, "materials": [{"uri": "x"}]}),
        json!({"buildDefinition": {"buildType": "t", "externalParameters": {"workflow": {"ref": "refs/heads/main", "repository": "https://h/a", "path": "p"}},
            "resolvedDependencies": [{"uri": "git+https://h/a@refs/heads/main", "digest": {"gitCommit": "00"}}]},
            "runDetails": {"builder": {"id": "b"}, "metadata": {"startedOn": "2025-06-01T12:00:00.5+02:00"}}}),
        json!({"@context": "https://openvex.dev/ns/v0.2.0", "author": "a", "timestamp": "2025-06-01T12:00:00Z", "statements": [
            {"vulnerability": {"name": "CVE-1", "aliases": ["GHSA-1"]}, "status": "not_affected", "justification": "component_not_present",
             "products": [{"@id": format!("pkg:oci/a@sha256%3A{digest}"), "subcomponents": [{"@id": purl}]}]},
        ]}),
        json!({"verifier": {"id": "v"}, "resourceUri": "r", "policy": {"uri": "p"}, "verificationResult": "PASSED", "verifiedLevels": ["L"]}),
        json!({"verifier": {"id": "v"}, "resource_uri": "r", "policy": {}, "verification_result": "FAILED", "policy_level": "L"}),
        json!({"scanner": {"uri": "s", "db": {"uri": "d"}, "result": {"SchemaVersion": 2, "Results": [{"Vulnerabilities": [
            {"VulnerabilityID": "CVE-1", "PkgName": "a", "PkgIdentifier": {"PURL": purl}, "Severity": "HIGH"}]}]}},
            "metadata": {"scanFinishedOn": "2025-06-01T12:00:00Z"}}),
        json!({"scanner": {"uri": "s", "result": {"matches": [{"vulnerability": {"id": "CVE-1", "severity": "Low", "fix": {"versions": ["2"]}},
            "artifact": {"name": "a", "purl": purl}}]}}, "metadata": {"scanFinishedOn": "2025-06-01T12:00:00Z"}}),
        json!({"scanner": {"uri": "s", "result": [{"id": "CVE-1", "severity": [{"method": "cvss", "score": "9.8"}]}]},
            "metadata": {"scanFinishedOn": "2025-06-01T12:00:00Z"}}),
    ]
    .into_iter()
    .map(|predicate| predicate.to_string().into_bytes())
    .collect()
}

pub fn revocations() -> Vec<u8> {
    let digest = Digest::of(b"x");
    let since = EVIDENCE.now;
    let entries = json!([
        {"kind": "key", "keyid": digest.hex(), "reason": "r", "since": since},
        {"kind": "identity", "issuer": ISSUER, "san": SIGNER, "reason": "r"},
        {"kind": "artifact", "digest": digest, "reason": "r"},
        {"kind": "component", "digest": digest, "reason": "r"},
        {"kind": "evidence", "digest": digest, "reason": "r"},
        {"kind": "caller", "id": "spiffe://gate.example/host/a", "reason": "r"},
        {"kind": "trust-root", "name": "a", "digest": digest, "reason": "r"},
    ]);
    json!({"version": 1, "issued_at": since, "entries": entries}).to_string().into_bytes()
}

pub fn revocation_list(bytes: &[u8]) {
    let Ok(list) = RevocationList::parse(bytes, EVIDENCE.now) else { return };
    assert_eq!(list.digest(), Digest::of(bytes));
    assert!(list.issued_at() <= EVIDENCE.now + jiff::SignedDuration::from_secs(61), "a list from the future");
    // No entry is passed over: whoever can delete one by garbling it lets somebody back in.
    let value: Value = serde_json::from_slice(bytes).expect("what was parsed strictly is JSON");
    assert_eq!(value["entries"].as_array().map(Vec::len), Some(list.len()));
}
