//! One Sigstore deployment: whom its `trusted_root.json` names, in the form in which it is asked.

use std::error::Error;

use serde_json::Value;
use sigstore_trust_root::{TransparencyLog, TrustedRoot, TsaAuthority};
use sigstore_types::bundle::Rfc3161Timestamp;
use sigstore_types::{Bundle, SignatureBytes, TimeRange, TimestampToken};
use sigstore_verify::Verifier;
use sigstore_verify::tsa::verify_timestamp_for_authority;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::authority::{AuthorityFault, CHAIN, TIMESTAMP};
use super::certificate;
use super::claim::Claim;
use super::demands::Demands;
use super::rejection::Rejection;
use super::start_error::StartError;
use crate::case::{Digest, Timestamp, Waiver};
use crate::reason::Code;
use crate::strict_json;

/// One Sigstore deployment, or one own authority in its form.
pub(super) struct Root {
    name: String,
    digest: Digest,
    origin: Origin,
    demands: Demands,
    verifier: Verifier,
    /// Who may have issued a leaf, for messages only.
    authorities: Vec<certificate::Authority>,
    timestamp_authorities: Vec<TsaAuthority>,
    tlogs: Vec<TransparencyLog>,
}

/// What kind of trust it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A `trusted_root.json`: its certificates name an OIDC issuer, and it grows old.
    Sigstore {
        /// When it was last confirmed: its age counts from here.
        refreshed_at: Timestamp,
        /// The age past which the floor refuses.
        max_age_s: u64,
    },
    /// An own authority: its certificates name no OIDC issuer.
    Own {
        /// The root whose logs it uses.
        lender: Option<String>,
    },
}

impl Root {
    /// Parses a `trusted_root.json` (sigstore/protobuf-specs `sigstore_trustroot.proto`).
    pub(super) fn parse(
        name: &str,
        json: &[u8],
        refreshed_at: Timestamp,
        max_age_s: u64,
        demands: Demands,
    ) -> Result<Self, StartError> {
        let unusable = |source: Box<dyn Error + Send + Sync>| StartError::Root { name: name.into(), source };
        let value = strict_json::parse(json, strict_json::MAX_DEPTH).map_err(|error| unusable(error.into()))?;
        let mut root: TrustedRoot = serde_json::from_value(value).map_err(|error| unusable(error.into()))?;
        let authorities = narrow(&mut root).map_err(|error| unusable(error.into()))?;
        let origin = Origin::Sigstore { refreshed_at, max_age_s };
        Self::of((name, Digest::of(json)), origin, demands, root, authorities).map_err(|error| unusable(error.into()))
    }

    /// The trust in an own authority, written as a trusted root.
    pub(super) fn own(
        (name, digest): (&str, Digest),
        trusted: Value,
        demands: Demands,
        lender: Option<&str>,
    ) -> Result<Self, AuthorityFault> {
        let unusable = |source: Box<dyn Error + Send + Sync>| AuthorityFault::Unusable(source);
        let mut root: TrustedRoot = serde_json::from_value(trusted).map_err(|error| unusable(error.into()))?;
        let stamped = !root.timestamp_authorities.is_empty();
        let authorities = narrow(&mut root).map_err(|error| unusable(error.into()))?;
        // What is left out could never verify anything.
        match (root.certificate_authorities.is_empty(), stamped && root.timestamp_authorities.is_empty()) {
            (true, _) => return Err(AuthorityFault::NoTime { setting: CHAIN }),
            (_, true) => return Err(AuthorityFault::NoTime { setting: TIMESTAMP }),
            (false, false) => {}
        }
        let origin = Origin::Own { lender: lender.map(str::to_owned) };
        Self::of((name, digest), origin, demands, root, authorities).map_err(|error| unusable(error.into()))
    }

    fn of(
        (name, digest): (&str, Digest),
        origin: Origin,
        demands: Demands,
        root: TrustedRoot,
        authorities: Vec<certificate::Authority>,
    ) -> Result<Self, sigstore_verify::Error> {
        let verifier = Verifier::new(&root)?;
        let (name, timestamp_authorities, tlogs) = (name.to_owned(), root.tsa_authorities(), root.tlogs);
        Ok(Self { name, digest, origin, demands, verifier, authorities, timestamp_authorities, tlogs })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its bytes; for an own authority of its certificates.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// What kind of trust it is.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The root whose logs it uses, where they are not its own.
    pub(super) fn lender(&self) -> Option<&str> {
        match &self.origin {
            Origin::Own { lender } => lender.as_deref(),
            Origin::Sigstore { .. } => None,
        }
    }

    /// Its transparency logs.
    pub(super) fn tlogs(&self) -> &[TransparencyLog] {
        &self.tlogs
    }

    /// What it asks of what its authorities vouch for.
    pub(super) fn demands(&self) -> Demands {
        self.demands
    }

    /// What it does not ask, of what is asked of its kind: nobody expects a timestamp of a certificate of an own authority.
    pub(super) fn waived(&self) -> Vec<Waiver> {
        let mut waived = self.demands.waived();
        waived.retain(|waiver| matches!(self.origin, Origin::Sigstore { .. }) || *waiver != Waiver::Sct);
        waived
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Whether the root names the authority that a leaf claims to be issued by. For messages: a claim is no proof.
    pub(super) fn names_issuer(&self, claimed: &certificate::ClaimedIssuer) -> bool {
        self.authorities.iter().any(|authority| claimed.may_be(authority))
    }

    /// Why a log entry of the bundle cannot be this root's, if so. For messages: what an entry says of its log is no proof.
    pub(super) fn foreign_log(&self, bundle: &Bundle) -> Option<Rejection> {
        bundle.verification_material.tlog_entries.iter().find_map(|entry| {
            let Some(log) = self.tlogs.iter().find(|log| log.log_id.key_id == entry.log_id.key_id) else {
                let expected = format!("an entry in a log of `{}`", self.name);
                let found = format!("one in the log `{}`", entry.log_id.key_id);
                return Some(Rejection::mismatch(Code::LOG_UNKNOWN, expected, found));
            };
            let time = entry.integrated_time?;
            let window = log.public_key.valid_for.filter(|window| !window.contains(time))?;
            let until = window.end.map_or_else(String::new, |end| format!(" and `{end}`"));
            let expected = format!("an entry between `{}`{until}, when its log is valid", window.start);
            Some(Rejection::mismatch(Code::LOG_TIME_INVALID, expected, format!("one of `{time}`")))
        })
    }

    /// The times of a claim's time-stamps, if authorities of this root made every one of them, over this very signature.
    pub(super) fn verified_stamps(&self, claim: &Claim) -> Option<Vec<Timestamp>> {
        let signature = claim.signature()?;
        claim.stamps().iter().map(|stamp| self.time_of(stamp, signature)).collect()
    }

    /// Whether one of its authorities dated these bytes by a `TimeStampResp`.
    pub(super) fn dates(&self, stamp: &[u8], bytes: &[u8]) -> bool {
        let stamp = Rfc3161Timestamp::new(TimestampToken::new(stamp.to_vec()));
        self.time_of(&stamp, &SignatureBytes::new(bytes.to_vec())).is_some()
    }

    fn time_of(&self, stamp: &Rfc3161Timestamp, signature: &SignatureBytes) -> Option<Timestamp> {
        let check = |tsa| verify_timestamp_for_authority(&stamp.signed_timestamp, signature, tsa).ok();
        self.timestamp_authorities.iter().find_map(check)
    }

    /// The times that this root's authorities give a claim, and those that its log entries claim. For messages.
    pub(super) fn times_of(&self, claim: &Claim) -> Vec<Timestamp> {
        let Some(signature) = claim.signature() else { return Vec::new() };
        let stamps = claim.stamps().iter().filter_map(|stamp| self.time_of(stamp, signature));
        let entries = claim.bundle.verification_material.tlog_entries.iter();
        stamps.chain(entries.filter_map(|entry| entry.integrated_time)).collect()
    }
}

/// Cuts each authority's window to the time in which its whole chain is valid.
///
/// Upstream makes a trust anchor of every certificate of a chain, and an anchor's own validity is never looked at: a leaf
/// issued by an intermediate that has expired would verify (cosign CVE-2026-24122). With the window cut, no authority is
/// left at such a time. An authority without any such time is left out, and so is a
/// time-stamp authority whose leaf may be used otherwise.
fn narrow(root: &mut TrustedRoot) -> Result<Vec<certificate::Authority>, ChainError> {
    let mut authorities = Vec::new();
    let mut usable = Vec::new();
    for mut authority in std::mem::take(&mut root.certificate_authorities) {
        let chain = authority.cert_chain.certificates.iter().map(|entry| entry.raw_bytes.as_bytes());
        for certificate in chain.clone() {
            authorities.push(certificate::Authority::of(&parse(certificate)?));
        }
        if let Some(window) = window(authority.valid_for, chain)? {
            authority.valid_for = Some(window);
            usable.push(authority);
        }
    }
    root.certificate_authorities = usable;
    let mut usable = Vec::new();
    for mut authority in std::mem::take(&mut root.timestamp_authorities) {
        let mut chain = authority.cert_chain.certificates.iter().map(|entry| entry.raw_bytes.as_bytes());
        let stamps = match chain.clone().next() {
            Some(leaf) => certificate::is_for_time_stamps_only(&parse(leaf)?),
            None => false,
        };
        if let Some(window) = window(authority.valid_for, &mut chain)?
            && stamps
        {
            authority.valid_for = Some(window);
            usable.push(authority);
        }
    }
    root.timestamp_authorities = usable;
    Ok(authorities)
}

/// Why an authority's chain cannot be read.
#[derive(Debug, thiserror::Error)]
enum ChainError {
    #[error("a certificate of an authority is no X.509 certificate")]
    Certificate,
    #[error("a certificate of an authority has a date that is none")]
    Date,
    #[error("an authority has no certificates")]
    Empty,
}

/// The part of `valid_for` in which every certificate of the chain is valid, if there is one.
fn window<'a>(
    valid_for: Option<TimeRange>,
    chain: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<TimeRange>, ChainError> {
    let mut window = valid_for;
    for certificate in chain {
        let validity = parse(certificate)?.validity().clone();
        let second =
            |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).map_err(|_| ChainError::Date);
        let (start, end) = (second(validity.not_before)?, second(validity.not_after)?);
        window = Some(match window {
            None => TimeRange::new(start, Some(end)),
            Some(window) => {
                TimeRange::new(window.start.max(start), Some(window.end.map_or(end, |until| until.min(end))))
            }
        });
    }
    let window = window.ok_or(ChainError::Empty)?;
    Ok(window.end.is_none_or(|end| window.start <= end).then_some(window))
}

fn parse(certificate: &[u8]) -> Result<X509Certificate<'_>, ChainError> {
    match X509Certificate::from_der(certificate) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(ChainError::Certificate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roots_in_the_field_lose_no_authority() {
        for json in [
            sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT,
            sigstore_trust_root::SIGSTORE_STAGING_TRUSTED_ROOT,
            sigstore_trust_root::SIGSTORE_GITHUB_TRUSTED_ROOT,
        ] {
            let given = TrustedRoot::from_json(json).unwrap();
            let mut narrowed = given.clone();
            narrow(&mut narrowed).unwrap();
            assert_eq!(narrowed.certificate_authorities.len(), given.certificate_authorities.len());
            assert_eq!(narrowed.timestamp_authorities.len(), given.timestamp_authorities.len());
            assert!(Root::parse("field", json.as_bytes(), Timestamp::UNIX_EPOCH, 1, Demands::default()).is_ok());
        }
    }

    #[test]
    fn an_empty_window_is_none() {
        let root = TrustedRoot::from_json(sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        let chain = &root.certificate_authorities[0].cert_chain.certificates;
        let chain = || chain.iter().map(|entry| entry.raw_bytes.as_bytes());
        let long_past = TimeRange::new(Timestamp::UNIX_EPOCH, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(window(Some(long_past), chain()).unwrap(), None);
        assert!(window(None, chain()).unwrap().is_some_and(|window| window.end.is_some()));
        assert!(matches!(window(None, std::iter::empty()), Err(ChainError::Empty)));
        assert!(matches!(window(None, [&b"x"[..]].into_iter()), Err(ChainError::Certificate)));
    }
}
