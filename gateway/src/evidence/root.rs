//! One Sigstore deployment: whom its `trusted_root.json` names, in the form in which it is asked.

use sigstore_trust_root::{TransparencyLog, TrustedRoot, TsaAuthority};
use sigstore_types::{Bundle, SignatureContent, TimeRange};
use sigstore_verify::Verifier;
use sigstore_verify::tsa::verify_timestamp_for_authority;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::certificate;
use super::rejection::Rejection;
use super::start_error::StartError;
use crate::case::{Digest, Timestamp};
use crate::reason::Code;
use crate::strict_json;

/// One Sigstore deployment.
pub(super) struct Root {
    name: String,
    digest: Digest,
    refreshed_at: Timestamp,
    max_age_s: u64,
    verifier: Verifier,
    /// Who may have issued a leaf, for messages only.
    authorities: Vec<certificate::Authority>,
    timestamp_authorities: Vec<TsaAuthority>,
    logs: Vec<Log>,
}

/// A transparency log, as far as a message needs it.
struct Log {
    id: Vec<u8>,
    valid_for: Option<TimeRange>,
}

impl Root {
    /// Parses a `trusted_root.json` (sigstore/protobuf-specs `sigstore_trustroot.proto`).
    pub(super) fn parse(name: &str, json: &[u8], refreshed_at: Timestamp, max_age_s: u64) -> Result<Self, StartError> {
        let unusable =
            |source: Box<dyn std::error::Error + Send + Sync>| StartError::Root { name: name.into(), source };
        let value = strict_json::parse(json, strict_json::MAX_DEPTH).map_err(|error| unusable(error.into()))?;
        let mut root: TrustedRoot = serde_json::from_value(value).map_err(|error| unusable(error.into()))?;
        let authorities = narrow(&mut root).map_err(|error| unusable(error.into()))?;
        let verifier = Verifier::new(&root).map_err(|error| unusable(error.into()))?;
        let timestamp_authorities = root.tsa_authorities();
        let log = |log: &TransparencyLog| Log {
            id: log.log_id.key_id.as_bytes().to_vec(),
            valid_for: log.public_key.valid_for,
        };
        let logs = root.tlogs.iter().map(log).collect();
        let (name, digest) = (name.into(), Digest::of(json));
        Ok(Self { name, digest, refreshed_at, max_age_s, verifier, authorities, timestamp_authorities, logs })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of its bytes.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// When it was last confirmed: its age counts from here.
    pub(super) fn refreshed_at(&self) -> Timestamp {
        self.refreshed_at
    }

    pub(super) fn max_age_s(&self) -> u64 {
        self.max_age_s
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
            let Some(log) = self.logs.iter().find(|log| log.id == entry.log_id.key_id.as_bytes()) else {
                let expected = format!("an entry in a log of `{}`", self.name);
                let found = format!("one in the log `{}`", entry.log_id.key_id);
                return Some(Rejection::mismatch(Code::LOG_UNKNOWN, expected, found));
            };
            let time = entry.integrated_time?;
            let window = log.valid_for.filter(|window| !window.contains(time))?;
            let until = window.end.map_or_else(String::new, |end| format!(" and `{end}`"));
            let expected = format!("an entry between `{}`{until}, when its log is valid", window.start);
            Some(Rejection::mismatch(Code::LOG_TIME_INVALID, expected, format!("one of `{time}`")))
        })
    }

    /// The times that this root's authorities give a bundle, and those that its log entries claim. For messages.
    pub(super) fn times_of(&self, bundle: &Bundle) -> Vec<Timestamp> {
        let signature = match &bundle.content {
            SignatureContent::MessageSignature(message) => &message.signature,
            SignatureContent::DsseEnvelope(envelope) => &envelope.signature.sig,
            _ => return Vec::new(),
        };
        let material = &bundle.verification_material;
        let stamps = material.timestamp_verification_data.rfc3161_timestamps.iter().filter_map(|stamp| {
            let check = |tsa| verify_timestamp_for_authority(&stamp.signed_timestamp, signature, tsa).ok();
            self.timestamp_authorities.iter().find_map(check)
        });
        stamps.chain(material.tlog_entries.iter().filter_map(|entry| entry.integrated_time)).collect()
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
            assert!(Root::parse("field", json.as_bytes(), Timestamp::UNIX_EPOCH, 1).is_ok());
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
