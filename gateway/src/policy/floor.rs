//! What no policy lifts.

use std::collections::BTreeSet;

use super::answer::AnsweredGrants;
use super::import_patterns::ImportPatterns;
use crate::case::{ArtifactFacts, Case, Defect, ExternKind, Grants, Surface};
use crate::reason::{Code, Reason};

/// What is wrong with the case itself. When anything is, nothing that policy says admits it.
pub(super) fn before(case: &Case) -> Vec<Reason> {
    let mut reasons: Vec<_> = case.artifact.defects.iter().map(told).collect();
    reasons.extend(case.evidence.revoked.iter().map(|defect| told(defect).with_hint(REVOKED_HINT)));
    if let Some(pinned) = &case.reference.digest
        && *pinned != *case.artifact.indexes.first().unwrap_or(&case.artifact.digest)
    {
        let found = case.artifact.indexes.first().unwrap_or(&case.artifact.digest);
        let detail = format!("the reference pins `{pinned}`, the manifest hashes to `{found}`");
        reasons.push(Reason::new(Code::DIGEST_MISMATCH, case.reference.text.as_str(), detail));
    }
    match &case.surface {
        // Native code has no surface; only policy's `native` admits it: see `uncovered`.
        Surface::Unreadable { .. } if is_native_alone(&case.artifact) => {}
        Surface::Unreadable { detail } => {
            reasons.push(Reason::new(Code::COMPONENT_UNREADABLE, case.artifact.digest.to_string(), detail.as_str()));
        }
        Surface::Unseen => {
            let detail = "nothing of it was fetched";
            reasons.push(Reason::new(Code::COMPONENT_UNREADABLE, case.reference.text.as_str(), detail));
        }
        Surface::Component(world) => {
            if case.artifact.component.is_none() && case.artifact.components.is_empty() {
                let detail = "the manifest names no layer that is a component";
                reasons.push(Reason::new(Code::COMPONENT_UNREADABLE, case.artifact.digest.to_string(), detail));
            }
            reasons.extend(world.imports.iter().filter(|import| !is_known(import.kind)).map(|import| {
                let detail = format!("imports a {}, witgate knows instances, functions and types", word(import.kind));
                Reason::new(Code::IMPORT_KIND_UNKNOWN, import.name.as_str(), detail)
            }));
        }
    }
    for trust in &case.evidence.trust {
        if let Some(max_age_s) = trust.max_age_s
            && trust.age_s > max_age_s
        {
            let detail = format!("refreshed {} s ago, at most {max_age_s} s are trusted", trust.age_s);
            let hint = "refresh what `trusted_root` of `[evidence]` names: it is looked at again within `refresh_s`";
            reasons.push(Reason::new(Code::TRUST_ROOT_STALE, trust.name.as_str(), detail).with_hint(hint));
        }
    }
    reasons
}

/// Whether an artifact is native code and nothing else: what stands beside it would be read by nobody.
fn is_native_alone(artifact: &ArtifactFacts) -> bool {
    artifact.native.is_some() && artifact.component.is_none() && artifact.components.is_empty()
}

fn told(defect: &Defect) -> Reason {
    Reason::new(defect.code.clone(), defect.about.as_str(), defect.detail.as_str())
}

/// What the case asks for and `grants` do not cover, except what `told` says already.
pub(super) fn uncovered(case: &Case, grants: &AnsweredGrants, told: &[Reason]) -> Vec<Reason> {
    let covered = ImportPatterns::new(&grants.imports);
    let imports = imports(case).filter(|import| !covered.cover(import)).map(|import| {
        Reason::new(Code::IMPORT_NOT_GRANTED, import, format!("not granted to `{}`", case.caller.id))
            .with_hint("grant it in `imports` of the caller's grant rule, or build the component without it")
    });
    let links = case.links.iter().filter(|link| !grants.links.contains(link)).map(|link| {
        Reason::new(Code::LINK_NOT_GRANTED, link.as_str(), format!("not granted to `{}`", case.caller.id))
            .with_hint("name it in `links` of the caller's grant rule, or do without")
    });
    let native = case.artifact.native.as_ref().filter(|_| !grants.native).map(|native| {
        let detail =
            format!("native code (`{}`), of which nobody knows what it touches, is not granted", native.media_type);
        Reason::new(Code::ARTIFACT_UNSUPPORTED, native.digest.to_string(), detail)
            .with_hint("publish it as a component, or say `native: true` in a grant rule of the policy's data")
    });
    let is_new = |reason: &Reason| !told.iter().any(|told| told.code == reason.code && told.about == reason.about);
    imports.chain(links).chain(native).filter(is_new).collect()
}

/// What a ticket lists: exactly what the component needs and the caller asked for, without a pattern.
pub(super) fn granted(case: &Case, grants: AnsweredGrants) -> Grants {
    let sorted = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
    let mut config = grants.config;
    config.sort();
    Grants {
        imports: sorted(imports(case).collect()),
        links: sorted(case.links.iter().map(String::as_str).collect()),
        config,
        limits: grants.limits,
        lifetime_s: grants.lifetime_s.unwrap_or(DEFAULT_LIFETIME_S),
    }
}

fn imports(case: &Case) -> impl Iterator<Item = &str> {
    let imports = match &case.surface {
        Surface::Component(world) => world.imports.as_slice(),
        Surface::Unreadable { .. } | Surface::Unseen => &[],
    };
    imports.iter().map(|import| import.name.as_str())
}

fn is_known(kind: ExternKind) -> bool {
    match kind {
        ExternKind::Instance | ExternKind::Func | ExternKind::Type => true,
        ExternKind::CoreModule | ExternKind::Component | ExternKind::Value => false,
    }
}

fn word(kind: ExternKind) -> &'static str {
    match kind {
        ExternKind::Instance => "instance",
        ExternKind::Func => "function",
        ExternKind::Type => "type",
        ExternKind::CoreModule => "core module",
        ExternKind::Component => "component",
        ExternKind::Value => "value",
    }
}

/// What to do about something that somebody withdrew on purpose.
const REVOKED_HINT: &str = "publish anew, or ask whoever keeps the revocation list why";
/// How long a started workload may go on where policy says nothing, in seconds: an hour.
pub(super) const DEFAULT_LIFETIME_S: u64 = 3600;
