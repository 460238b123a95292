//! Evidence as a tree that a person reads.

use std::fmt::Write as _;
use std::time::Duration;

use super::checks::{Check, Checks, Step};
use super::examination::Examination;
use super::rejection::printable;
use super::told;
use crate::case::{
    CandidateSource, Evidence, Finding, FindingKind, RejectedFinding, SanKind, Signer, TrustFacts, TrustKind,
    VerifiedFinding, Waiver,
};

/// A stored case's evidence: one line for each candidate, below it what was found and what its words tell of the checks;
/// ends with a line break.
pub fn tree(evidence: &Evidence) -> String {
    let mut text = head(evidence, "");
    for finding in &evidence.findings {
        finding_lines(&mut text, finding, &told::checks(evidence, finding));
    }
    text
}

/// The same of an examination: with every check that was made, each with its time.
pub fn examined_tree(examination: &Examination) -> String {
    let wanted = examination.candidates().filter(|(_, examined)| examined.checks.are_passed()).count();
    let mut text = head(examination.evidence(), &format!(" ({wanted} wanted)"));
    for (finding, examined) in examination.candidates() {
        finding_lines(&mut text, finding, &examined.checks);
    }
    text
}

fn head(evidence: &Evidence, wanted: &str) -> String {
    let mut text = String::new();
    let verified = evidence.findings.iter().filter(|finding| matches!(finding, Finding::Verified(_))).count();
    let rejected = evidence.findings.len() - verified;
    let looked_in = match &evidence.looked_in[..] {
        [] => "nowhere".to_owned(),
        places => places.iter().map(|place| printable(place)).collect::<Vec<_>>().join(", "),
    };
    line(&mut text, 0, &format!("evidence: {verified} verified{wanted}, {rejected} rejected; looked in {looked_in}"));
    for trust in &evidence.trust {
        line(&mut text, 1, &trusted(trust));
    }
    if evidence.trust.is_empty() {
        line(&mut text, 1, "trust      none configured");
    }
    for defect in &evidence.revoked {
        line(&mut text, 1, &format!("revoked    {}", printable(&defect.detail)));
    }
    text
}

fn finding_lines(text: &mut String, finding: &Finding, checks: &Checks) {
    match finding {
        Finding::Verified(finding) => verified_lines(text, finding, checks),
        Finding::Rejected(finding) => rejected_lines(text, finding),
    }
    for step in checks.steps() {
        step_lines(text, step);
    }
    if let Some(failure) = checks.failure() {
        // What failed stands last, and why below it.
        let depth = match checks.steps().last() {
            Some(step) if !step.failed.is_empty() => 3 + usize::from(is_nested(step)),
            _ => 2,
        };
        match failure.halves() {
            Some((expected, found)) => {
                row(text, depth, "expected", expected);
                row(text, depth, "found", found);
            }
            None => row(text, depth, "because", &failure.detail),
        }
    }
    for (what, which) in [("not asked", checks.not_asked()), ("not reached", checks.not_reached())] {
        if !which.is_empty() {
            row(text, 2, what, &names(which));
        }
    }
}

fn verified_lines(text: &mut String, finding: &VerifiedFinding, checks: &Checks) {
    let kind = match finding.kind {
        FindingKind::Signature => "signature",
        FindingKind::Attestation => "attestation",
        FindingKind::WascapClaims => "wascap claims",
    };
    let verdict = if checks.failure().is_some() { "unwanted" } else { "verified" };
    line(text, 1, &format!("{verdict:<10} {kind} {}", candidate(&finding.source)));
    if let Some(predicate_type) = &finding.predicate_type {
        row(text, 2, "says", predicate_type);
    }
    match &finding.signer {
        Signer::Keyless { issuer, san, claims } => {
            let kind = match san.kind {
                SanKind::Uri => "URI",
                SanKind::Email => "e-mail",
            };
            row(text, 2, "signed by", &format!("{} ({kind})", san.value));
            row(text, 2, "issuer", issuer);
            for (name, value) in claims {
                row(text, 2, "claim", &format!("{name} = {value}"));
            }
            row(text, 2, "trust", &vouched(finding, &["certificate", "SCT", "log entry"]));
        }
        Signer::Key { name, keyid } => {
            row(text, 2, "signed by", &format!("key {name} (sha256:{keyid})"));
            row(text, 2, "trust", &vouched(finding, &["key", "log entry"]));
        }
        Signer::Certificate { authority, san } => {
            row(text, 2, "signed by", &format!("{} (certificate of {authority})", san.value));
            row(text, 2, "trust", &vouched(finding, &["certificate", "log entry"]));
        }
        Signer::LegacyNkey { issuer, subject } => {
            row(text, 2, "signed by", &format!("nkey {issuer}"));
            row(text, 2, "calls it", subject);
        }
    }
    for time in &finding.times {
        row(text, 2, "time", &time.to_string());
    }
    if finding.times.is_empty() && matches!(finding.signer, Signer::Key { .. }) {
        row(text, 2, "time", "none proven");
    }
}

/// Its trust with what vouches for it, of what usually does.
fn vouched(finding: &VerifiedFinding, usual: &[&str]) -> String {
    let waived: Vec<_> = finding.waived.iter().map(|waiver| word(*waiver)).collect();
    let there: Vec<_> = usual.iter().copied().filter(|word| !waived.contains(word)).collect();
    format!("{}: {}", finding.trust, there.join(", "))
}

fn word(waiver: Waiver) -> &'static str {
    match waiver {
        Waiver::TransparencyLog => "log entry",
        Waiver::Sct => "SCT",
    }
}

fn rejected_lines(text: &mut String, finding: &RejectedFinding) {
    line(text, 1, &format!("rejected   {} {}", finding.code, candidate(&finding.source)));
}

/// A row for each check, with its time where it has one of its own.
fn step_lines(text: &mut String, step: &Step) {
    let Step { passed, failed, calls, took } = step;
    let together = match (calls, passed.len() + failed.len(), took) {
        (0, 1, Some(took)) => {
            for check in passed {
                row(text, 2, "passed", &format!("{}, {}", check.as_words(), milliseconds(*took)));
            }
            return failed_row(text, 2, failed, &format!(", {}", milliseconds(*took)));
        }
        // A stored case, or what is remembered: nobody knows how long it took.
        (0, _, None) => {
            match &passed[..] {
                [] => {}
                [one] => row(text, 2, "passed", one.as_words()),
                several => row(text, 2, "passed", &names(several)),
            }
            return failed_row(text, 2, failed, "");
        }
        (0, ..) => "in one look".to_owned(),
        (1, ..) => "in one call of sigstore-verify".to_owned(),
        (calls, ..) => format!("in {calls} calls of sigstore-verify, one for each root or key"),
    };
    let took = took.map_or_else(|| "remembered".to_owned(), milliseconds);
    line(text, 2, &format!("{together}, {took}"));
    for check in passed {
        row(text, 3, "passed", check.as_words());
    }
    failed_row(text, 3, failed, "");
}

/// Whether its checks share one time.
fn is_nested(step: &Step) -> bool {
    step.calls > 0 || step.took.is_some() && step.passed.len() + step.failed.len() > 1
}

fn failed_row(text: &mut String, depth: usize, failed: &[Check], took: &str) {
    match failed {
        [] => {}
        [one] => row(text, depth, "failed", &format!("{}{took}", one.as_words())),
        several => row(text, depth, "failed", &format!("one of these: {}{took}", names(several))),
    }
}

/// `0.57 ms`.
fn milliseconds(took: Duration) -> String {
    format!("{:.2} ms", took.as_secs_f64() * 1000.0)
}

fn names(checks: &[Check]) -> String {
    checks.iter().map(|check| check.as_str()).collect::<Vec<_>>().join(", ")
}

fn trusted(trust: &TrustFacts) -> String {
    let name = printable(&trust.name);
    let waived = trust.waived.iter().map(|waiver| format!(", asks no {}", word(*waiver))).collect::<String>();
    let line = match (trust.kind, trust.max_age_s) {
        (TrustKind::SigstoreRoot, Some(max_age_s)) if max_age_s < u64::MAX => {
            let stale = if trust.age_s > max_age_s { ", STALE" } else { "" };
            format!(
                "trust      root {name}, {}, {} s old, at most {max_age_s} s{stale}",
                trust.digest.short(),
                trust.age_s
            )
        }
        (TrustKind::SigstoreRoot, _) => {
            format!("trust      root {name}, {}, {} s old", trust.digest.short(), trust.age_s)
        }
        (TrustKind::Authority, _) => format!("trust      authority {name}, {}", trust.digest.short()),
        (TrustKind::Key, _) => format!("trust      key {name}, {}", trust.digest.short()),
        (TrustKind::RevocationList, _) => {
            format!("trust      revocation list, {}, {} s old", trust.digest.short(), trust.age_s)
        }
    };
    line + &waived
}

fn candidate(source: &CandidateSource) -> String {
    let mut shown = format!("`{}` from {}", printable(&source.name), printable(&source.via));
    if let Some(media_type) = &source.media_type {
        let _ = write!(shown, ", {}", printable(media_type));
    }
    shown
}

fn row(text: &mut String, depth: usize, name: &str, value: &str) {
    line(text, depth, &format!("{name:<10} {}", printable(value)));
}

fn line(text: &mut String, depth: usize, content: &str) {
    for _ in 0..depth {
        text.push_str("  ");
    }
    text.push_str(content);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Digest, San};
    use crate::reason::Code;

    fn source(name: &str) -> CandidateSource {
        let media_type = Some("application/vnd.dev.sigstore.bundle.v0.3+json".into());
        CandidateSource { via: "referrers-api".into(), name: name.into(), index: None, media_type, digest: None }
    }

    fn rejected(name: &str, code: Code, detail: &str) -> Finding {
        let source = CandidateSource { digest: Some(Digest::of(b"x")), ..source(name) };
        Finding::Rejected(RejectedFinding { source, code, detail: detail.into() })
    }

    #[test]
    fn a_person_can_read_it() {
        let time = "2025-06-01T12:00:05Z".parse().unwrap();
        let san =
            San { kind: SanKind::Uri, value: "https://github.com/acme/cart/.github/workflows/release.yml".into() };
        let signer = Signer::Keyless {
            issuer: "https://token.actions.githubusercontent.com".into(),
            san,
            claims: [("runner_environment".to_owned(), "github-hosted".to_owned())].into(),
        };
        let signature = VerifiedFinding {
            source: source("sha256:aa"),
            kind: FindingKind::Signature,
            trust: "public-good".into(),
            signer,
            times: vec![time],
            waived: Vec::new(),
            predicate_type: None,
            predicate: None,
            attests: None,
        };
        let attestation = VerifiedFinding {
            source: source("sha256:bb"),
            kind: FindingKind::Attestation,
            trust: "release".into(),
            signer: Signer::Key { name: "release".into(), keyid: "12ab".into() },
            times: Vec::new(),
            waived: vec![Waiver::TransparencyLog],
            predicate_type: Some("https://slsa.dev/provenance/v1".into()),
            predicate: Some(serde_json::json!({})),
            attests: None,
        };
        let trust = |name: &str, kind, age_s, max_age_s| TrustFacts {
            name: name.into(),
            kind,
            digest: Digest::of(b"x"),
            age_s,
            max_age_s,
            waived: if kind == TrustKind::Key { vec![Waiver::TransparencyLog] } else { Vec::new() },
        };
        let evidence = Evidence {
            trust: vec![
                trust("public-good", TrustKind::SigstoreRoot, 60, Some(2_592_000)),
                trust("old", TrustKind::SigstoreRoot, 61, Some(60)),
                trust("release", TrustKind::Key, 0, None),
            ],
            revoked: Vec::new(),
            looked_in: vec!["referrers-api".into(), "fallback-tag".into()],
            findings: vec![
                Finding::Verified(signature),
                Finding::Verified(attestation),
                rejected(
                    "sha256:cc",
                    Code::LOG_PROOF_MISSING,
                    "expected an inclusion proof on each log entry, found none on entry 0 of 1",
                ),
                rejected("evil\n  verified   signature", Code::SIGNATURE_INVALID, "invalid signature"),
            ],
        };
        insta::assert_snapshot!(tree(&evidence), @r"
        evidence: 2 verified, 2 rejected; looked in referrers-api, fallback-tag
          trust      root public-good, sha256:2d711642b726…, 60 s old, at most 2592000 s
          trust      root old, sha256:2d711642b726…, 61 s old, at most 60 s, STALE
          trust      key release, sha256:2d711642b726…, asks no log entry
          verified   signature `sha256:aa` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
            signed by  https://github.com/acme/cart/.github/workflows/release.yml (URI)
            issuer     https://token.actions.githubusercontent.com
            claim      runner_environment = github-hosted
            trust      public-good: certificate, SCT, log entry
            time       2025-06-01T12:00:05Z
            passed     received, room, digest, shape, form, times, certificate-chain, sct, log, binding, signature, entry, name, clock
          verified   attestation `sha256:bb` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
            says       https://slsa.dev/provenance/v1
            signed by  key release (sha256:12ab)
            trust      release: key
            time       none proven
            passed     received, room, digest, shape, signature, subject, predicate, clock, predicate-room
            not asked  log, entry
          rejected   log-proof-missing `sha256:cc` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
            passed     received, room, digest
            expected   an inclusion proof on each log entry
            found      none on entry 0 of 1
          rejected   signature-invalid `evil\u{a}  verified   signature` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
            passed     received, room, digest, shape
            failed     signature
              because    invalid signature
        ");
        insta::assert_snapshot!(tree(&Evidence::default()), @r"
        evidence: 0 verified, 0 rejected; looked in nowhere
          trust      none configured
        ");
    }
}
