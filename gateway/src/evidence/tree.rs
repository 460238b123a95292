//! Evidence as a tree that a person reads.

use std::fmt::Write as _;

use super::rejection::printable;
use crate::case::{
    CandidateSource, Evidence, Finding, FindingKind, RejectedFinding, SanKind, Signer, TrustFacts, TrustKind,
    VerifiedFinding,
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
            row(text, "trust", &format!("{}: certificate, SCT, log entry", finding.trust));
        }
        Signer::Key { name, keyid } => {
            row(text, "signed by", &format!("key {name} (sha256:{keyid})"));
            row(text, "trust", &format!("{}: key, log entry", finding.trust));
        }
    }
    for time in &finding.times {
        row(text, "time", &time.to_string());
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
    match (trust.kind, trust.max_age_s) {
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
        (TrustKind::Key, _) => format!("trust      key {name}, {}", trust.digest.short()),
    }
}

fn candidate(source: &CandidateSource) -> String {
    let mut shown = format!("{} from {}", printable(&source.name), printable(&source.via));
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
