//! The case that is measured: what the stages before policy would hand on for one signed component.

use std::collections::BTreeMap;

use serde_json::json;
use witgate::case::{
    ArtifactFacts, Caller, CallerKind, CandidateSource, Case, ComponentFacts, Digest, Evidence, Finding, FindingKind,
    Mode, Purpose, ReferenceFacts, San, SanKind, Scope, Signer, Surface, Timestamp, TrustFacts, TrustKind,
    VerifiedFinding, Version,
};
use witgate::dev::deployment::{ISSUER, SIGNER, TRUST_DOMAIN, host_id};

/// The upstream in the case's reference; policy data has to name it.
pub const REGISTRY: &str = "registry.example";

/// A case of `component`, signed by the identity that the embedded policy data wants.
pub fn case(component: &[u8], surface: Surface, now: Timestamp) -> Case {
    let (manifest, bundle) = (Digest::of(b"manifest"), Digest::of(b"bundle"));
    let signature = VerifiedFinding {
        source: CandidateSource {
            via: "referrers-api".into(),
            name: Digest::of(b"referrer").to_string(),
            index: None,
            media_type: Some("application/vnd.dev.sigstore.bundle.v0.3+json".into()),
            digest: Some(bundle),
        },
        kind: FindingKind::Signature,
        trust: "demo".into(),
        signer: Signer::Keyless {
            issuer: ISSUER.into(),
            san: San { kind: SanKind::Uri, value: SIGNER.into() },
            claims: BTreeMap::new(),
        },
        times: vec![now],
        waived: Vec::new(),
        predicate_type: Some("https://sigstore.dev/cosign/sign/v1".into()),
        predicate: Some(json!({})),
        attests: None,
    };
    let root = TrustFacts {
        name: "demo".into(),
        kind: TrustKind::SigstoreRoot,
        digest: Digest::of(b"root"),
        age_s: 60,
        max_age_s: Some(2_592_000),
        waived: Vec::new(),
    };
    Case {
        version: Version::V1,
        id: uuid::Uuid::now_v7(),
        time: now,
        scope: Scope::default(),
        mode: Mode::Enforce,
        purpose: Purpose::Admission,
        caller: Caller { kind: CallerKind::X509Svid, id: host_id("a"), trust_domain: Some(TRUST_DOMAIN.into()) },
        host: host_id("a"),
        links: Vec::new(),
        reference: ReferenceFacts {
            text: format!("{REGISTRY}/demo/cart:1.0"),
            upstream: REGISTRY.into(),
            repository: "demo/cart".into(),
            tag: Some("1.0".into()),
            digest: None,
        },
        artifact: ArtifactFacts {
            digest: manifest,
            indexes: Vec::new(),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            size_bytes: 512,
            annotations: BTreeMap::new(),
            config: None,
            component: Some(ComponentFacts {
                digest: Digest::of(component),
                size_bytes: component.len() as u64,
                media_type: "application/wasm".into(),
            }),
            components: Vec::new(),
            carried: Vec::new(),
            native: None,
            defects: Vec::new(),
        },
        evidence: Evidence {
            trust: vec![root],
            revoked: Vec::new(),
            looked_in: vec!["referrers-api".into()],
            findings: vec![Finding::Verified(signature)],
        },
        surface,
        previous: None,
        break_glass: None,
    }
}
