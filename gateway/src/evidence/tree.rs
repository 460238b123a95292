//! Evidence as a tree that a person reads.

use std::fmt::Write as _;

use super::rejection::printable;
use crate::case::{
    CandidateSource, Evidence, Finding, FindingKind, RejectedFinding, SanKind, Signer, TrustFacts, TrustKind,
    VerifiedFinding, Waiver,
};

/// One line for each candidate, what was found indented below it; ends with a line break.
pub fn tree(evidence: &Evidence) -> String {
    let mut text = String::new();
    let verified = evidence.findings.iter().filter(|finding| matches!(finding, Finding::Verified(_))).count();
    let rejected = evidence.findings.len() - verified;
    let looked_in = match &evidence.looked_in[..] {
        [] => "nowhere".to_owned(),
        places => places.iter().map(|place| printable(place)).collect::<Vec<_>>().join(", "),
    };
    line(&mut text, 0, &format!("evidence: {verified} verified, {rejected} rejected; looked in {looked_in}"));
    for trust in &evidence.trust {
        line(&mut text, 1, &trusted(trust));
    }
    if evidence.trust.is_empty() {
        line(&mut text, 1, "trust      none configured");
    }
    for finding in &evidence.findings {
        match finding {
            Finding::Verified(finding) => verified_lines(&mut text, finding),
            Finding::Rejected(finding) => rejected_lines(&mut text, finding),
        }
    }
    text
}

fn verified_lines(text: &mut String, finding: &VerifiedFinding) {
    let kind = match finding.kind {
        FindingKind::Signature => "signature",
        FindingKind::Attestation => "attestation",
        FindingKind::WascapClaims => "wascap claims",
    };
    line(text, 1, &format!("verified   {kind} {}", candidate(&finding.source)));
    if let Some(predicate_type) = &finding.predicate_type {
        row(text, "says", predicate_type);
    }
    match &finding.signer {
        Signer::Keyless { issuer, san, claims } => {
            let kind = match san.kind {
                SanKind::Uri => "URI",
                SanKind::Email => "e-mail",
            };
            row(text, "signed by", &format!("{} ({kind})", san.value));
            row(text, "issuer", issuer);
            for (name, value) in claims {
                row(text, "claim", &format!("{name} = {value}"));
            }
            row(text, "trust", &vouched(finding, &["certificate", "SCT", "log entry"]));
        }
        Signer::Key { name, keyid } => {
            row(text, "signed by", &format!("key {name} (sha256:{keyid})"));
            row(text, "trust", &vouched(finding, &["key", "log entry"]));
        }
        Signer::Certificate { authority, san } => {
            row(text, "signed by", &format!("{} (certificate of {authority})", san.value));
            row(text, "trust", &vouched(finding, &["certificate", "log entry"]));
        }
        Signer::LegacyNkey { issuer, subject } => {
            row(text, "signed by", &format!("nkey {issuer}"));
            row(text, "calls it", subject);
        }
    }
    for time in &finding.times {
        row(text, "time", &time.to_string());
    }
    if finding.times.is_empty() && matches!(finding.signer, Signer::Key { .. }) {
        row(text, "time", "none proven");
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
    match finding.detail.strip_prefix("expected ").and_then(|rest| rest.rsplit_once(", found ")) {
        Some((expected, found)) => {
            row(text, "expected", expected);
            row(text, "found", found);
        }
        None => row(text, "because", &finding.detail),
    }
}

fn trusted(trust: &TrustFacts) -> String {
    let name = printable(&trust.name);
    let waived = trust.waived.iter().map(|waiver| format!(", asks no {}", word(*waiver))).collect::<String>();
    let line = match (trust.kind, trust.max_age_s) {
        (TrustKind::SigstoreRoot, Some(max_age_s)) => {
            let stale = if trust.age_s > max_age_s { ", STALE" } else { "" };
            format!(
                "trust      root {name}, {}, {} s old, at most {max_age_s} s{stale}",
                trust.digest.short(),
                trust.age_s
            )
        }
        (TrustKind::SigstoreRoot, None) => {
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

fn row(text: &mut String, name: &str, value: &str) {
    line(text, 2, &format!("{name:<10} {}", printable(value)));
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
        Finding::Rejected(RejectedFinding { source: source(name), code, detail: detail.into() })
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
          verified   attestation `sha256:bb` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
            says       https://slsa.dev/provenance/v1
            signed by  key release (sha256:12ab)
            trust      release: key
            time       none proven
          rejected   log-proof-missing `sha256:cc` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
            expected   an inclusion proof on each log entry
            found      none on entry 0 of 1
          rejected   signature-invalid `evil\u{a}  verified   signature` from referrers-api, application/vnd.dev.sigstore.bundle.v0.3+json
            because    invalid signature
        ");
        insta::assert_snapshot!(tree(&Evidence::default()), @r"
        evidence: 0 verified, 0 rejected; looked in nowhere
          trust      none configured
        ");
    }
}
