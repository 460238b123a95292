//! The key of one caller's right in one repository.

use crate::case::{Caller, Digest, Repository, Scope, canonical_json};

/// Whose grants are meant, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// SHA-256 of the RFC 8785 JSON array `["pull/v1", scope, caller, registry, repository]`: whatever stands in one of the
    /// fields, it cannot be read as the end of it.
    pub key: Digest,
    /// The same without the repository: what a caller's share is counted under.
    pub caller: Digest,
}

impl Place {
    pub fn of(scope: &Scope, caller: &Caller, repository: &Repository) -> Self {
        let whose = (VERSION, scope, caller);
        let place = (VERSION, scope, caller, repository.registry(), repository.name());
        Self { key: Digest::of(&canonical_json(&place)), caller: Digest::of(&canonical_json(&whose)) }
    }
}

/// Another form of the key is another version: old rows are then never found.
const VERSION: &str = "pull/v1";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::case::CallerKind;

    #[test]
    fn a21_5_no_two_places_share_a_key() {
        let scope = |tenant: &str, environment: &str| Scope { tenant: tenant.into(), environment: environment.into() };
        let caller = |kind, id: &str, trust_domain: Option<&str>| Caller {
            kind,
            id: id.into(),
            trust_domain: trust_domain.map(str::to_owned),
        };
        let repository = |text: &str| text.parse::<Repository>().unwrap();
        let svid = caller(CallerKind::X509Svid, "spiffe://a/host", Some("a"));
        let mut seen = BTreeSet::new();
        for (scope, caller, repository) in [
            (scope("a", "b"), svid.clone(), repository("x.example/a/b")),
            (scope("ab", ""), svid.clone(), repository("x.example/a/b")),
            (scope("", "ab"), svid.clone(), repository("x.example/a/b")),
            (scope("a\",\"b", ""), svid.clone(), repository("x.example/a/b")),
            (scope("a", "b"), svid.clone(), repository("x.example/a")),
            (scope("a", "b"), svid.clone(), repository("x.example/b")),
            (scope("a", "b"), svid, repository("x.example.b/a")),
            (scope("a", "b"), caller(CallerKind::Local, "spiffe://a/host", Some("a")), repository("x.example/a/b")),
            (scope("a", "b"), caller(CallerKind::X509Svid, "spiffe://a/host", None), repository("x.example/a/b")),
            (scope("a", "b"), caller(CallerKind::X509Svid, "spiffe://a/hosta", None), repository("x.example/b")),
        ] {
            let place = Place::of(&scope, &caller, &repository);
            assert!(seen.insert(place.key), "{scope:?} {caller:?} {repository}");
            assert!(!seen.contains(&place.caller));
        }
    }
}
