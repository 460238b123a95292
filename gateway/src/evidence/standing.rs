//! What is believed at one moment, as one value that never changes.

use std::sync::Arc;

use super::checks::{Check, Checks};
use super::limits::CLOCK_SKEW_S;
use super::rejection::Rejection;
use super::revocation::RevocationList;
use super::trust::Trust;
use super::verify::Verified;
use crate::case::{
    ArtifactFacts, CandidateSource, Defect, Digest, Timestamp, TrustFacts, TrustKind, VerifiedFinding, canonical_json,
};
use crate::outage::{Outage, Peer};
use crate::reason::Code;

/// Trust, with the revocation list that limits it: one examination looks at one of these, whatever is swapped meanwhile.
pub struct Standing {
    trust: Arc<Trust>,
    revocations: Option<Revocations>,
    basis: Digest,
}

/// A list with the age that it may reach.
#[derive(Clone)]
pub(super) struct Revocations {
    pub(super) list: Arc<RevocationList>,
    pub(super) max_age_s: u64,
}

/// The name of the revocation list among the trust of a case.
const LIST: &str = "revocations";

impl Standing {
    pub(super) fn new(trust: Arc<Trust>, revocations: Option<Revocations>) -> Self {
        let mut standing = Self { trust, revocations, basis: Digest::of(b"") };
        standing.basis = basis(&standing.facts(Timestamp::UNIX_EPOCH));
        standing
    }

    /// Roots and keys.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    pub(super) fn revocations(&self) -> Option<&Revocations> {
        self.revocations.as_ref()
    }

    /// A digest over everything that is believed, ages left out: what was decided under another one is decided anew.
    pub fn basis(&self) -> Digest {
        self.basis
    }

    /// What a case says of it at `now`.
    pub fn facts(&self, now: Timestamp) -> Vec<TrustFacts> {
        let mut facts = self.trust.facts(now);
        facts.extend(self.revocations.as_ref().map(|revocations| TrustFacts {
            name: LIST.into(),
            kind: TrustKind::RevocationList,
            digest: revocations.list.digest(),
            age_s: age_s(revocations.list.issued_at(), now),
            max_age_s: Some(revocations.max_age_s),
            waived: Vec::new(),
        }));
        facts
    }

    /// Whether the revocation list may be relied on.
    ///
    /// # Errors
    /// An outage of the revocation list once it is older than its limit: what it does not name may have been revoked since.
    pub fn usable(&self, now: Timestamp) -> Result<(), Outage> {
        let Some(Revocations { list, max_age_s }) = &self.revocations else { return Ok(()) };
        let age_s = age_s(list.issued_at(), now);
        if age_s <= *max_age_s {
            return Ok(());
        }
        let doing = format!(
            "asking whether anything was revoked: the list was issued {age_s} s ago, at most {max_age_s} s hold"
        );
        Err(Outage::new(Peer::Revocations, doing)
            .with_hint("issue the list anew with a fresh `issued_at`, even if no entry is added"))
    }

    /// What the list says of the artifact and of those who ask for it.
    pub fn revoked(&self, who: &[&str], artifact: &ArtifactFacts) -> Vec<Defect> {
        let Some(Revocations { list, .. }) = &self.revocations else { return Vec::new() };
        let mut found = Vec::new();
        for digest in artifact.indexes.iter().chain([&artifact.digest]) {
            found.extend(list.artifact(digest).map(|why| defect(digest.to_string(), why)));
        }
        let ArtifactFacts { component, components, carried, native, .. } = artifact;
        let layers = carried.iter().chain(native).map(|layer| &layer.digest);
        for digest in component.iter().chain(components).map(|component| &component.digest).chain(layers) {
            found.extend(list.component(digest).map(|why| defect(digest.to_string(), why)));
        }
        for id in who {
            found.extend(list.caller(id).map(|why| defect((*id).to_owned(), why)));
        }
        found.dedup();
        found
    }

    /// The finding, unless the list names its bytes, its signer or the root that vouched for it.
    ///
    /// Asked anew each time and never remembered: a list changes nothing about what a bundle proves.
    pub(super) fn unrevoked(
        &self,
        source: &CandidateSource,
        verified: Verified,
        checks: &mut Checks,
    ) -> Result<Verified, Rejection> {
        let Some(Revocations { list, .. }) = &self.revocations else { return Ok(verified) };
        let mut vouchers =
            self.trust.vouchers().filter(|root| verified.vouchers().iter().any(|name| name == root.name()));
        checks.make(Check::Revocation, || {
            let why = list
                .evidence(source)
                .or_else(|| vouchers.find_map(|root| list.trust_root(root.name(), &root.digest())))
                .or_else(|| list.signer(verified.signer(), verified.times()));
            why.map_or(Ok(()), |why| Err(Rejection::new(Code::REVOKED, why)))
        })?;
        Ok(verified)
    }

    /// The check that follows a token's own.
    pub(super) fn last_checks_of_a_token(&self) -> &'static [Check] {
        if self.revocations.is_some() { &[Check::Revocation] } else { &[] }
    }

    /// The checks that follow a verification.
    pub(super) fn last_checks(&self) -> &'static [Check] {
        match self.revocations {
            Some(_) => &[Check::Revocation, Check::Clock],
            None => &[Check::Clock],
        }
    }

    /// Refuses a token in the component itself if the list names its bytes, its issuer or its subject.
    ///
    /// A token proves no time, so a revocation that says `since` when covers all of a key's tokens.
    pub(super) fn unrevoked_token(&self, token: &VerifiedFinding, checks: &mut Checks) -> Result<(), Rejection> {
        let Some(Revocations { list, .. }) = &self.revocations else { return Ok(()) };
        let VerifiedFinding { source, signer, times, .. } = token;
        checks.make(Check::Revocation, || match list.evidence(source).or_else(|| list.signer(signer, times)) {
            Some(why) => Err(Rejection::new(Code::REVOKED, why)),
            None => Ok(()),
        })
    }
}

fn defect(about: String, detail: String) -> Defect {
    Defect { code: Code::REVOKED, about, detail }
}

fn age_s(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0)
}

/// The digest over names, kinds and contents of `trust` with what it does not ask, ages left out.
pub fn basis(trust: &[TrustFacts]) -> Digest {
    let rows = trust.iter().map(|fact| (&fact.name, fact.kind, fact.digest, &fact.waived)).collect::<Vec<_>>();
    Digest::of(&canonical_json(&rows))
}

/// Whether a time that somebody wrote lies further ahead than clocks differ.
pub(super) fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now).as_secs() > CLOCK_SKEW_S
}
