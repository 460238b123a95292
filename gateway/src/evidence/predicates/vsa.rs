//! SLSA verification summaries: what another verifier decided (slsa.dev `verification_summary/v0.2`, `verification_summary/v1`).

use serde_json::Value;

use super::super::rejection::Rejection;
use super::shape::Fields;
use crate::case::attested::{Resource, SummaryResult, VerificationSummary};

/// Reads a predicate of `https://slsa.dev/verification_summary/v0.2`.
pub(super) fn v02(predicate: &Value) -> Result<VerificationSummary, Rejection> {
    let summary = Fields::of(predicate, "the summary")?;
    Ok(VerificationSummary {
        verifier_id: summary.object("verifier", "the verifier")?.text("id")?.to_owned(),
        verified_at: summary.optional_time("time_verified")?,
        resource_uri: summary.text("resource_uri")?.to_owned(),
        policy: policy(summary)?,
        result: result(summary, "verification_result")?,
        levels: vec![summary.text("policy_level")?.to_owned()],
    })
}

/// Reads a predicate of `https://slsa.dev/verification_summary/v1`.
pub(super) fn v1(predicate: &Value) -> Result<VerificationSummary, Rejection> {
    let summary = Fields::of(predicate, "the summary")?;
    Ok(VerificationSummary {
        verifier_id: summary.object("verifier", "the verifier")?.text("id")?.to_owned(),
        verified_at: summary.optional_time("timeVerified")?,
        resource_uri: summary.text("resourceUri")?.to_owned(),
        policy: policy(summary)?,
        result: result(summary, "verificationResult")?,
        levels: summary.texts("verifiedLevels")?,
    })
}

fn policy(summary: Fields<'_>) -> Result<Resource, Rejection> {
    let policy = summary.object("policy", "the policy")?;
    Ok(Resource { uri: policy.optional_text("uri")?.map(str::to_owned), digests: policy.digests("digest")? })
}

fn result(summary: Fields<'_>, field: &str) -> Result<SummaryResult, Rejection> {
    match summary.text(field)? {
        "PASSED" => Ok(SummaryResult::Passed),
        "FAILED" => Ok(SummaryResult::Failed),
        found => Err(summary.unexpected(field, "`PASSED` or `FAILED`", found)),
    }
}
