//! One case decided by one policy, for people who write policies.

use std::fmt::Write as _;

use super::{LoadError, Policy, Settings};
use crate::case::{Case, DecisionFacts, VerdictWord};
use crate::outage::Outage;
use crate::strict_json::{self, StrictJsonError};

/// Why there is no decision.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The policy was not loaded.
    #[error("cannot load the policy")]
    Load(#[from] LoadError),
    /// The case is no JSON that can be read in one way only.
    #[error("cannot read the case")]
    Json(#[from] StrictJsonError),
    /// The case is larger than [`MAX_CASE_BYTES`].
    #[error("case is {size_bytes} bytes, at most {MAX_CASE_BYTES} are read")]
    Size {
        /// Its size.
        size_bytes: usize,
    },
    /// The JSON is no case.
    #[error("expected a case of `policies/case.schema.json`")]
    Case(#[source] serde_json::Error),
    /// The evaluator broke.
    #[error(transparent)]
    Outage(#[from] Outage),
}

/// Decides the case of `case_json` by the policy that `settings` name, exactly as the gateway would.
///
/// # Errors
/// A policy that is not taken, a text that is no case, a broken evaluator.
pub fn eval(settings: &Settings, case_json: &[u8]) -> Result<(Case, DecisionFacts), EvalError> {
    if case_json.len() > MAX_CASE_BYTES {
        return Err(EvalError::Size { size_bytes: case_json.len() });
    }
    let value = strict_json::parse(case_json, strict_json::MAX_DEPTH)?;
    let case: Case = serde_json::from_value(value).map_err(EvalError::Case)?;
    let decision = Policy::load(settings)?.decide(&case)?;
    let facts = decision.facts().clone();
    Ok((case, facts))
}

/// A decision as a person reads it: the verdict, then a line for each reason, warning and grant.
pub fn render(case: &Case, decision: &DecisionFacts) -> String {
    let mut text = String::new();
    let subject = format!("`{}` ({})", case.reference.text.escape_debug(), case.artifact.digest.short());
    match decision.verdict {
        VerdictWord::Admit => line(&mut text, format_args!("admitted {subject}")),
        VerdictWord::Refuse => {
            let count = decision.reasons.len();
            let noun = if count == 1 { "reason" } else { "reasons" };
            line(&mut text, format_args!("refused {subject}: {count} {noun}"));
        }
    }
    let width = decision.reasons.iter().map(|reason| reason.code.as_str().len()).max().unwrap_or(0);
    for reason in &decision.reasons {
        line(&mut text, format_args!("  {:width$}  `{}`: {}", reason.code.as_str(), reason.about, reason.detail));
        if let Some(hint) = &reason.hint {
            line(&mut text, format_args!("  {:width$}  hint: {hint}", ""));
        }
    }
    for warning in &decision.warnings {
        line(&mut text, format_args!("  warning: {}: `{}`: {}", warning.code, warning.about, warning.detail));
    }
    if let Some(grants) = &decision.grants {
        for (what, names) in [("import", &grants.imports), ("link", &grants.links)] {
            names.iter().for_each(|name| line(&mut text, format_args!("  {what} {name}")));
        }
        grants.config.iter().for_each(|entry| line(&mut text, format_args!("  config {}={}", entry.key, entry.value)));
        let limits = &grants.limits;
        let (memory_bytes, fuel, timeout_ms) = (limits.memory_bytes, limits.fuel, limits.timeout_ms);
        line(&mut text, format_args!("  limits memory {memory_bytes} bytes, fuel {fuel}, timeout {timeout_ms} ms"));
        line(&mut text, format_args!("  lifetime {} s", grants.lifetime_s));
    }
    line(
        &mut text,
        format_args!("  policy {} {} ({})", decision.policy.name, decision.policy.revision, decision.policy.digest),
    );
    text
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    writeln!(text, "{words}").expect("a String takes every text");
}

/// The largest case that is read, in bytes: evidence alone may be 32 MiB in its own form, a recorded case is far below.
pub const MAX_CASE_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::decide::tests::{case, data};

    fn settings() -> (tempfile::TempDir, Settings) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("data.json"), data().to_string()).unwrap();
        let settings = Settings { data: Some(dir.path().into()), ..Settings::default() };
        (dir, settings)
    }

    fn rendered(case: &Case, settings: &Settings) -> String {
        let (case, decision) = eval(settings, &case.canonical()).unwrap();
        let text = render(&case, &decision);
        let (words, policy) = text.rsplit_once("  policy embedded ").unwrap();
        assert!(policy.contains("(sha256:"));
        words.to_owned()
    }

    #[test]
    fn an_admission_lists_what_is_granted() {
        let (_dir, settings) = settings();
        let mut case = case();
        case.links = vec!["db".into()];
        let short = case.artifact.digest.short();
        assert_eq!(
            rendered(&case, &settings),
            format!(
                "admitted `ghcr.io/acme/cart:1.4` ({short})\n  import wasi:cli/stdout@0.2.3\n  import wasi:io/poll@0.2.3\n  \
                 link db\n  config colour=blue\n  limits memory 1000000 bytes, fuel 5000, timeout 50 ms\n  lifetime 60 s\n"
            )
        );
    }

    #[test]
    fn a_refusal_lists_each_reason_with_its_hint() {
        let (_dir, settings) = settings();
        let mut case = case();
        case.links = vec!["mail".into()];
        case.evidence.findings.clear();
        let short = case.artifact.digest.short();
        assert_eq!(
            rendered(&case, &settings),
            format!(
                "refused `ghcr.io/acme/cart:1.4` ({short}): 2 reasons\n  \
                 link-not-granted       `mail`: not granted to `spiffe://prod.example/ns/shop`\n                         \
                 hint: name it in `links` of the caller's grant rule, or do without\n  \
                 no-verified-signature  `ghcr.io/acme/cart`: no signature verified; looked in referrers-api (Sigstore \
                 bundles); found no candidate\n                         hint: sign the artifact with `cosign sign`, or see each candidate with \
                 `witgate verify`\n"
            )
        );
    }

    #[test]
    fn what_is_no_case_is_told_from_what_is_refused() {
        let settings = Settings::default();
        assert!(matches!(eval(&settings, b"{}"), Err(EvalError::Case(_))));
        assert!(matches!(eval(&settings, b"{\"a\":1,\"a\":2}"), Err(EvalError::Json(_))));
        assert!(matches!(eval(&settings, &vec![b' '; MAX_CASE_BYTES + 1]), Err(EvalError::Size { .. })));
        assert!(matches!(eval(&settings, &vec![b' '; MAX_CASE_BYTES]), Err(EvalError::Json(_))));
    }
}
