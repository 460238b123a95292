//! Embedded tokens of wasmCloud 1.x: evidence of the old kind, verified by our own strict reader (`docs/wascap.md`).
//!
//! The order for one token is: where it stands (`section.rs`, `archive.rs`), what it says (`token.rs`), who signed it, its
//! revision, the bytes it is about (`hash.rs`), its times. Whether the issuer counts is for the policy.

mod archive;
mod hash;
pub mod limits;
mod section;
mod shown;
#[cfg(all(test, feature = "dev"))]
mod tests;
mod token;

use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use self::section::Reading;
pub use self::shown::text;
use self::token::{About, Bound, REVISION_BOUND, Token};
use super::checks::{self, Checks};
use super::rejection::Rejection;
use crate::case::{CandidateSource, Digest, Finding, FindingKind, RejectedFinding, Signer, Timestamp, VerifiedFinding};
use crate::reason::Code;

/// The name of the trust that tokens verify against: nobody's root, only the nkey they name themselves.
pub const TRUST: &str = "wascap";

/// What is known about a file's token: each step's outcome, and the verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Whether every step passed.
    pub status: Status,
    /// The code of the first step that did not.
    pub code: Option<Code>,
    /// What that step expected and found, for a person.
    pub detail: Option<String>,
    /// What carries the token.
    pub kind: Carrier,
    /// The section's name, or the archive's entry.
    pub section: String,
    /// SHA-256 of the token, where there is exactly one.
    pub digest: Option<Digest>,
    /// Who says to have signed: an account's nkey.
    pub issuer: Option<String>,
    /// What it is called: a module's or service's nkey.
    pub subject: Option<String>,
    /// Its name for people.
    pub name: Option<String>,
    /// wascap's revision: below 3, or absent, nothing binds the token to the bytes.
    pub revision: Option<i64>,
    /// Whether the issuer signed.
    pub signature: Check,
    /// Whether the token is about these bytes.
    pub hash: Check,
    /// Whether it is valid at the time that was asked about.
    pub validity: Validity,
    /// When it says to have been issued.
    pub issued_at: Option<Timestamp>,
    /// From when on it is valid, if it says.
    pub not_before: Option<Timestamp>,
    /// Until when it is valid, if it says.
    pub expires_at: Option<Timestamp>,
    #[serde(skip)]
    claims: Option<Value>,
}

/// The verdict on a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Every step passed.
    Verified,
    /// One did not.
    Rejected,
}

/// What carries a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// A component or a core module.
    Component,
    /// A provider archive.
    Provider,
}

/// The outcome of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// It passed.
    Ok,
    /// The signature is not the issuer's.
    Invalid,
    /// The bytes are others.
    Mismatch,
    /// A step before it failed.
    Unchecked,
}

/// A token's validity at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// It is valid.
    Ok,
    /// Not yet.
    Early,
    /// No longer.
    Expired,
    /// The token cannot be read.
    Unchecked,
}

/// The token in a component's or core module's bytes, if there is one.
///
/// None is also what cannot be read and has no token before the fault: the surface stage refuses those.
pub(super) fn embedded(bytes: &[u8], now: Timestamp, checks: &mut Checks) -> Option<Finding> {
    let begin = Instant::now();
    let report = in_component(bytes, now)?;
    checks.looked(&ORDER, report.stopped_at(), begin.elapsed());
    Some(report.finding())
}

/// What is checked of a token, in order.
pub(super) const ORDER: [checks::Check; 4] =
    [checks::Check::Shape, checks::Check::Signature, checks::Check::Subject, checks::Check::Validity];

/// What is known about the token of a component, a core module or a provider archive, if there is one.
pub fn report(bytes: &[u8], now: Timestamp) -> Option<Report> {
    in_archive(bytes, now).or_else(|| in_component(bytes, now))
}

/// SHA-256 of a binary without its token sections; `None` for what is none.
pub(super) fn unsigned_hash(bytes: &[u8]) -> Option<[u8; 32]> {
    section::read(bytes).binary.ok().map(|binary| hash::unsigned(&binary))
}

fn in_component(bytes: &[u8], now: Timestamp) -> Option<Report> {
    let Reading { tokens, binary } = section::read(bytes);
    let first = tokens.first()?;
    let report = Report::new(Carrier::Component, first.name);
    let (token, binary) = match section::only(&tokens).and_then(|token| binary.map(|binary| (token, binary))) {
        Ok(found) => found,
        Err(rejection) => return Some(report.reject(rejection)),
    };
    Some(report.judge(token.data, About::Component, now, |token| match &token.bytes {
        Bound::Component(claimed) => expect_hash("the component without its token", *claimed, hash::unsigned(&binary)),
        Bound::Provider(_) => unreachable!("broken invariant: a component's token names one hash"),
    }))
}

fn in_archive(bytes: &[u8], now: Timestamp) -> Option<Report> {
    if !archive::is_archive(bytes) {
        return None;
    }
    let report = Report::new(Carrier::Provider, archive::TOKEN);
    let contents = match archive::read(bytes) {
        Ok(contents) => contents,
        Err(rejection) => return Some(report.reject(rejection)),
    };
    Some(report.judge(&contents.token, About::Provider, now, |token| match &token.bytes {
        Bound::Provider(claimed) => {
            for (target, found) in &contents.hashes {
                match claimed.get(target) {
                    Some(claimed) => expect_hash(&format!("the entry of `{target}`"), *claimed, *found)?,
                    None => return Err(mismatch(format!("`target_hashes` to name `{target}`"), "no such target")),
                }
            }
            match claimed.keys().find(|target| !contents.hashes.contains_key(*target)) {
                Some(target) => Err(mismatch(format!("an entry for the target `{target}`"), "none")),
                None => Ok(()),
            }
        }
        Bound::Component(_) => unreachable!("broken invariant: a provider's token names targets"),
    }))
}

impl Report {
    fn new(kind: Carrier, section: &str) -> Self {
        Self {
            status: Status::Verified,
            code: None,
            detail: None,
            kind,
            section: section.to_owned(),
            digest: None,
            issuer: None,
            subject: None,
            name: None,
            revision: None,
            signature: Check::Unchecked,
            hash: Check::Unchecked,
            validity: Validity::Unchecked,
            issued_at: None,
            not_before: None,
            expires_at: None,
            claims: None,
        }
    }

    /// The first rejection is the verdict; later steps only fill in what they found.
    fn reject(mut self, rejection: Rejection) -> Self {
        if self.status == Status::Verified {
            self.status = Status::Rejected;
            (self.code, self.detail) = (Some(rejection.code), Some(rejection.detail));
        }
        self
    }

    /// Every step for one token; `is_about` is asked only when the signature is good, for it reads all the bytes.
    fn judge(
        mut self,
        bytes: &[u8],
        about: About,
        now: Timestamp,
        is_about: impl FnOnce(&Token<'_>) -> Result<(), Rejection>,
    ) -> Self {
        self.digest = Some(Digest::of(bytes));
        let token = match Token::read(bytes, about) {
            Ok(token) => token,
            Err(rejection) => return self.reject(rejection),
        };
        self.issuer = Some(token.issuer.to_string());
        self.subject = Some(token.subject.to_string());
        self.name.clone_from(&token.name);
        self.revision = token.revision;
        self.issued_at = Some(token.issued_at);
        (self.not_before, self.expires_at) = (token.not_before, token.expires_at);
        let verdict = if token.is_signed() {
            self.signature = Check::Ok;
            let (revision, bytes) = (is_bound(&token), is_about(&token));
            self.hash = if bytes.is_ok() { Check::Ok } else { Check::Mismatch };
            revision.and(bytes)
        } else {
            self.signature = Check::Invalid;
            let expected = format!("a signature by `{}` over the token", token.issuer);
            Err(Rejection::mismatch(Code::SIGNATURE_INVALID, expected, "one that does not verify"))
        };
        let (validity, times) = validity(&token, now);
        self.validity = validity;
        match verdict.and(times) {
            Ok(()) => {
                self.claims = Some(token.claims);
                self
            }
            Err(rejection) => self.reject(rejection),
        }
    }

    /// The check that failed, if one did.
    fn stopped_at(&self) -> Option<checks::Check> {
        let unbound = self.code == Some(Code::TOKEN_UNBOUND);
        match (self.status, self.signature, self.hash) {
            (Status::Verified, ..) => None,
            (_, Check::Unchecked, _) => Some(checks::Check::Shape),
            (_, Check::Invalid, _) => Some(checks::Check::Signature),
            (_, _, Check::Mismatch) => Some(checks::Check::Subject),
            _ if unbound => Some(checks::Check::Subject),
            _ => Some(checks::Check::Validity),
        }
    }

    /// The finding of a case.
    fn finding(self) -> Finding {
        let source = CandidateSource {
            via: "component".to_owned(),
            name: self.section,
            index: None,
            media_type: None,
            digest: self.digest,
        };
        match (self.code, self.issuer, self.subject, self.claims) {
            (None, Some(issuer), Some(subject), Some(claims)) => Finding::Verified(VerifiedFinding {
                source,
                kind: FindingKind::WascapClaims,
                trust: TRUST.to_owned(),
                signer: Signer::LegacyNkey { issuer, subject },
                // Nobody but the signer says when: `iat` stands among the claims.
                times: Vec::new(),
                waived: Vec::new(),
                predicate_type: None,
                predicate: Some(claims),
                attests: None,
            }),
            (Some(code), ..) => {
                Finding::Rejected(RejectedFinding { source, code, detail: self.detail.unwrap_or_default() })
            }
            (None, ..) => unreachable!("broken invariant: without a rejection every step has passed"),
        }
    }
}

/// Before revision 3 hosts compared no hash, so such a token may stand in any file.
fn is_bound(token: &Token<'_>) -> Result<(), Rejection> {
    let found = match token.revision {
        Some(revision) if revision >= REVISION_BOUND => return Ok(()),
        Some(revision) => format!("revision {revision}"),
        None => "none".to_owned(),
    };
    Err(Rejection::mismatch(Code::TOKEN_UNBOUND, format!("a `wascap_revision` of {REVISION_BOUND} or more"), found))
}

fn validity(token: &Token<'_>, now: Timestamp) -> (Validity, Result<(), Rejection>) {
    let outside = |expected: String| {
        Err(Rejection::mismatch(Code::TOKEN_OUTSIDE_VALIDITY, expected, format!("the time `{now}`")))
    };
    match (token.not_before, token.expires_at) {
        (Some(start), _) if now < start => {
            (Validity::Early, outside(format!("a token that is valid now: this one is from `{start}` on")))
        }
        (_, Some(end)) if now >= end => {
            (Validity::Expired, outside(format!("a token that is valid now: this one was until `{end}`")))
        }
        _ => (Validity::Ok, Ok(())),
    }
}

fn expect_hash(what: &str, claimed: [u8; 32], found: [u8; 32]) -> Result<(), Rejection> {
    if claimed == found {
        return Ok(());
    }
    let (claimed, found) = (Digest::from_bytes(claimed), Digest::from_bytes(found));
    Err(mismatch(format!("{what} to hash to `{claimed}`, as the token says"), format!("`{found}`")))
}

fn mismatch(expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Rejection {
    Rejection::mismatch(Code::SUBJECT_MISMATCH, expected, found)
}
