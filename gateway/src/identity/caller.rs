//! The proof of who asks: only this folder makes a [`Caller`].

use std::time::SystemTime;

use crate::case;

/// A caller that was proven by `identity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    facts: case::Caller,
    not_after: Option<SystemTime>,
}

impl Caller {
    /// Everyone on a loopback listener without configured identity.
    pub(crate) fn local() -> Self {
        let facts = case::Caller { kind: case::CallerKind::Local, id: "local".into(), trust_domain: None };
        Self { facts, not_after: None }
    }

    /// The peer of a TLS connection whose X.509-SVID was verified.
    #[allow(dead_code, reason = "made by the accept loop")]
    pub(crate) fn verified_svid(spiffe_id: String, trust_domain: String, not_after: SystemTime) -> Self {
        let facts = case::Caller { kind: case::CallerKind::X509Svid, id: spiffe_id, trust_domain: Some(trust_domain) };
        Self { facts, not_after: Some(not_after) }
    }

    /// Who showed a JWT-SVID whose signature was verified.
    pub(super) fn verified_jwt_svid(spiffe_id: String, trust_domain: String, not_after: SystemTime) -> Self {
        let facts = case::Caller { kind: case::CallerKind::JwtSvid, id: spiffe_id, trust_domain: Some(trust_domain) };
        Self { facts, not_after: Some(not_after) }
    }

    /// Who showed a verified token of an issuer that the configuration names.
    pub(super) fn verified_oidc(id: String, not_after: SystemTime) -> Self {
        let facts = case::Caller { kind: case::CallerKind::Oidc, id, trust_domain: None };
        Self { facts, not_after: Some(not_after) }
    }

    /// The caller as it stands in a case.
    pub fn facts(&self) -> &case::Caller {
        &self.facts
    }

    /// When the proof ends, if it does.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.not_after
    }
}
