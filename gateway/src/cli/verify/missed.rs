//! The last words where nothing that was found is what was wanted: what it was, how each candidate missed it, what to do.

use std::fmt::Write as _;

use super::wanted::Wanted;
use crate::case::{CandidateSource, Evidence, Finding, TrustKind};
use crate::cli::answer::printable;
use crate::evidence::{Check, Checks, Examination};
use crate::reason::Code;

/// What was looked at: a reference with its digest, or a file.
pub(super) struct Subject<'a> {
    /// As it was named.
    pub(super) name: &'a str,
    /// Its digest, in short.
    pub(super) digest: String,
    /// The reference by digest, if it is one: what is signed with cosign.
    pub(super) pinned: Option<String>,
}

/// Why the whole is no success, whatever its candidates are: the floor would refuse it.
pub(super) fn barred(evidence: &Evidence) -> Vec<(Code, String)> {
    let mut barred: Vec<_> =
        evidence.revoked.iter().map(|defect| (defect.code.clone(), defect.detail.clone())).collect();
    for trust in &evidence.trust {
        if let Some(max_age_s) = trust.max_age_s
            && trust.age_s > max_age_s
            && trust.kind == TrustKind::SigstoreRoot
        {
            let (name, age_s) = (&trust.name, trust.age_s);
            let detail = format!("the root `{name}` was refreshed {age_s} s ago, at most {max_age_s} s are trusted");
            barred.push((Code::TRUST_ROOT_STALE, detail));
        }
    }
    barred
}

/// The words, in the form of design section 5; ends with a line break.
pub(super) fn words(subject: &Subject<'_>, wanted: &Wanted, examination: &Examination) -> String {
    let Subject { name, digest, .. } = subject;
    let mut text = format!("witgate: error: `{name}` ({digest}) is not verified\n");
    let barred = barred(examination.evidence());
    let mut rows = vec![("wanted".to_owned(), wanted.to_string())];
    rows.extend(barred.iter().map(|(code, detail)| (code.to_string(), detail.clone())));
    for (finding, examined) in examination.candidates() {
        if let Some(failure) = examined.checks.failure() {
            let what = failure.code.as_ref().map_or("unwanted", Code::as_str);
            rows.push((what.to_owned(), format!("{}: {}", named(finding.source()), failure.detail)));
        }
    }
    for place in &examination.evidence().looked_in {
        rows.push(("looked in".into(), place_with_count(place, examination.evidence())));
    }
    let width = rows.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
    for (what, detail) in &rows {
        let _ = writeln!(text, "  {what:<width$}  {}", printable(detail));
    }
    let _ = writeln!(text, "witgate: hint: {}", hint(subject, wanted, examination, !barred.is_empty()));
    text.lines().map(|line| format!("{}\n", printable(line))).collect()
}

/// The candidate as the tree names it.
fn named(source: &CandidateSource) -> String {
    format!("`{}` from {}", source.name, source.via)
}

/// A place with the formats that are looked for there, and how many were found.
fn place_with_count(place: &str, evidence: &Evidence) -> String {
    let there = |test: &dyn Fn(&CandidateSource) -> bool| {
        let count = evidence.findings.iter().filter(|finding| test(finding.source())).count();
        if count == 0 { "none".to_owned() } else { count.to_string() }
    };
    let here = |source: &CandidateSource| source.via == place;
    match place {
        "cosign-tags" => {
            let layers = |suffix: &str| {
                there(&|source| here(source) && source.name.split('#').next().is_some_and(|tag| tag.ends_with(suffix)))
            };
            format!("{place} for signatures of cosign 2: {}, for attestations: {}", layers(".sig"), layers(".att"))
        }
        "component" => format!("{place} for a wasmCloud 1.x token: {}", there(&here)),
        place => format!("{place} for Sigstore bundles: {}", there(&here)),
    }
}

/// The next thing to do.
fn hint(subject: &Subject<'_>, wanted: &Wanted, examination: &Examination, barred: bool) -> String {
    if barred {
        return "ask whoever keeps the trust roots and the revocation list".into();
    }
    let failed: Vec<&Checks> = examination
        .candidates()
        .filter(|(finding, _)| finding.source().via != "component")
        .map(|(_, examined)| &examined.checks)
        .collect();
    if failed.is_empty() {
        let pinned = subject.pinned.as_deref().unwrap_or(subject.name);
        return match wanted.predicate_type() {
            None => format!("nobody signed it: `cosign sign {pinned}`"),
            Some(predicate_type) => {
                format!("nothing attests it: `cosign attest --type {predicate_type} --predicate FILE {pinned}`")
            }
        };
    }
    // The nearest miss is the one to mend: of a verified one who it is by, else whose root it is.
    let reached = |check: Check| failed.iter().any(|checks| checks.steps().iter().any(|s| s.failed.contains(&check)));
    let code = |code: Code| failed.iter().any(|checks| checks.failure().is_some_and(|f| f.code == Some(code.clone())));
    if reached(Check::Wanted) {
        "something else verified: compare `expected` with `found` above; patterns match in full (`docs/verify.md`)"
            .into()
    } else if code(Code::CERTIFICATE_UNTRUSTED) || code(Code::LOG_UNKNOWN) {
        "name the root of the Sigstore that signed it with `--trusted-root FILE`".into()
    } else if code(Code::KEY_NOT_TRUSTED) {
        "name the public key that signed it with `--key FILE`".into()
    } else {
        "see what each code means in `docs/reasons.md`".into()
    }
}

/// How many findings there are of what was wanted.
pub(super) fn count(examination: &Examination) -> usize {
    let wanted = |finding: &Finding, checks: &Checks| matches!(finding, Finding::Verified(_)) && checks.are_passed();
    examination.candidates().filter(|(finding, examined)| wanted(finding, &examined.checks)).count()
}
