//! Grants for the unit tests of this stage.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::case::{
    ArtifactFacts, Caller, CallerKind, Case, ComponentFacts, Digest, Evidence, Grants, Limits, Mode, PolicyFacts,
    Purpose, ReferenceFacts, Scope, Surface, Timestamp, Version, World,
};
use crate::policy::{Decision, Grant, Verdict};

pub(super) const HOST: &str = "spiffe://gate.example/host/a";
/// The empty component: a header and nothing in it.
pub(super) const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(1_795_376_144).unwrap()
}

pub(super) fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() + seconds).unwrap()
}

/// What policy granted [`HOST`] for `registry.example/app/comp:1`.
pub(super) fn grant_with(purpose: Purpose, imports: Vec<String>) -> Grant {
    grant_on(&case(purpose), imports)
}

/// The case of such a grant.
pub(super) fn case(purpose: Purpose) -> Case {
    Case {
        version: Version::V1,
        id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0002),
        time: now(),
        scope: Scope::default(),
        mode: Mode::Enforce,
        purpose,
        caller: Caller { kind: CallerKind::X509Svid, id: HOST.into(), trust_domain: Some("gate.example".into()) },
        host: HOST.into(),
        links: Vec::new(),
        reference: ReferenceFacts {
            text: "registry.example/app/comp:1".into(),
            upstream: "registry.example".into(),
            repository: "app/comp".into(),
            tag: Some("1".into()),
            digest: None,
        },
        artifact: ArtifactFacts {
            digest: Digest::of(b"manifest"),
            indexes: Vec::new(),
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            size_bytes: 8,
            annotations: BTreeMap::new(),
            config: None,
            component: Some(ComponentFacts {
                digest: Digest::of(COMPONENT),
                size_bytes: COMPONENT.len() as u64,
                media_type: "application/wasm".into(),
            }),
            components: Vec::new(),
            carried: Vec::new(),
            native: None,
            defects: Vec::new(),
        },
        evidence: Evidence::default(),
        surface: Surface::Component(World { digest: Digest::of(b"world"), imports: Vec::new(), exports: Vec::new() }),
        previous: None,
        break_glass: None,
    }
}

/// What policy granted on `case`.
pub(super) fn grant_on(case: &Case, imports: Vec<String>) -> Grant {
    let grants = Grants { imports, links: Vec::new(), config: Vec::new(), limits: Limits::default(), lifetime_s: 3600 };
    let policy = PolicyFacts { name: "embedded".into(), revision: "1".into(), digest: Digest::of(b"policy") };
    match Decision::admit_for_tests(case, grants, policy).verdict() {
        Verdict::Admit(grant) => grant.clone(),
        Verdict::Refuse(reasons) => panic!("refused: {reasons:?}"),
    }
}
