//! One identity of an entry: the forms it is written in, the one form that rules read.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::github::{self, GitHub, Meaning};
use super::text::{expect, is_email, is_plain, is_spiffe_pattern, is_uri_pattern};
use super::{fault, read};
use crate::policy::LoadError;
use crate::policy::identity_pattern::{SubjectKind, identity_pattern};

/// Somebody who may sign: by an OIDC issuer, a managed key, a certificate of an own authority, or GitHub Actions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    issuer: Option<String>,
    #[serde(rename = "issuerRegExp")]
    issuer_pattern: Option<String>,
    san: Option<Value>,
    subject: Option<String>,
    #[serde(rename = "subjectRegExp")]
    subject_pattern: Option<String>,
    #[serde(rename = "subjectType")]
    subject_kind: Option<SubjectKind>,
    trust: Option<String>,
    claims: Option<Map<String, Value>>,
    #[serde(rename = "githubWorkflowTrigger")]
    workflow_trigger: Option<String>,
    #[serde(rename = "githubWorkflowSha")]
    workflow_sha: Option<String>,
    #[serde(rename = "githubWorkflowName")]
    workflow_name: Option<String>,
    #[serde(rename = "githubWorkflowRepository")]
    workflow_repository: Option<String>,
    #[serde(rename = "githubWorkflowRef")]
    workflow_ref: Option<String>,
    github: Option<Value>,
    key: Option<String>,
    certificate: Option<Value>,
}

/// A certificate of an own authority, without an OIDC issuer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    authority: String,
    san: Option<Value>,
    subject: Option<String>,
    #[serde(rename = "subjectRegExp")]
    subject_pattern: Option<String>,
    #[serde(rename = "subjectType")]
    subject_kind: Option<SubjectKind>,
}

/// A subject with its kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct San {
    kind: SubjectKind,
    value: Option<String>,
    #[serde(rename = "regExp")]
    pattern: Option<String>,
}

impl Identity {
    /// The identity at `at` of the file `name` in the one form that rules read: `issuer` or `issuerRegExp`, `san` with
    /// `value` or `regExp`, `claims`, `trust`; or `key`; or `certificate` with `authority` and `san`.
    pub fn rewritten(&self, name: &str, at: &str) -> Result<Value, LoadError> {
        match (&self.key, &self.certificate, &self.github) {
            (Some(key), None, None) if self.is_bare() => {
                expect(is_plain(key), name, &format!("{at}.key"), key, "the name of a configured key")?;
                Ok(json!({"key": key}))
            }
            (None, Some(certificate), None) if self.is_bare() => {
                let at = format!("{at}.certificate");
                read::<Certificate>(name, &at, certificate)?.rewritten(name, &at)
            }
            (None, None, Some(block)) if self.has_no_name() => {
                let at_block = format!("{at}.github");
                let Meaning { san, claims } = read::<GitHub>(name, &at_block, block)?.meaning(name, &at_block)?;
                let mut rewritten = json!({"issuer": github::ISSUER, "san": san});
                self.narrow(&mut rewritten, claims, name, at)?;
                Ok(rewritten)
            }
            (None, None, None) => {
                let mut rewritten = json!({"san": self.subject().rewritten(name, at)?});
                self.put_issuer(&mut rewritten, name, at)?;
                self.narrow(&mut rewritten, Map::new(), name, at)?;
                Ok(rewritten)
            }
            _ => Err(fault(
                name,
                at,
                "expected an issuer with a subject, or `github`, or `certificate` alone, or `key` alone",
            )),
        }
    }

    /// Nothing but a key or a certificate, which have neither issuer nor claims.
    fn is_bare(&self) -> bool {
        self.has_no_name()
            && self.trust.is_none()
            && self.claims.is_none()
            && self.old_claims().all(|(_, v)| v.is_none())
    }

    /// Neither issuer nor subject.
    fn has_no_name(&self) -> bool {
        let Subject { san, exact, pattern, kind } = self.subject();
        self.issuer.is_none()
            && self.issuer_pattern.is_none()
            && san.is_none()
            && exact.is_none()
            && pattern.is_none()
            && kind.is_none()
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            san: self.san.as_ref(),
            exact: self.subject.as_deref(),
            pattern: self.subject_pattern.as_deref(),
            kind: self.subject_kind,
        }
    }

    /// cosign's short names of the five claims that old certificates have.
    fn old_claims(&self) -> impl Iterator<Item = (&'static str, &Option<String>)> {
        [
            ("workflow_trigger", &self.workflow_trigger),
            ("workflow_sha", &self.workflow_sha),
            ("workflow_name", &self.workflow_name),
            ("workflow_repository", &self.workflow_repository),
            ("workflow_ref", &self.workflow_ref),
        ]
        .into_iter()
    }

    fn put_issuer(&self, into: &mut Value, name: &str, at: &str) -> Result<(), LoadError> {
        match (&self.issuer, &self.issuer_pattern) {
            (Some(issuer), None) => {
                expect(is_plain(issuer), name, &format!("{at}.issuer"), issuer, "an OIDC issuer, compared exactly")?;
                into["issuer"] = issuer.as_str().into();
                Ok(())
            }
            (None, Some(text)) => {
                into["issuerRegExp"] = pattern(SubjectKind::Uri, text, name, &format!("{at}.issuerRegExp"))?;
                Ok(())
            }
            _ => Err(fault(name, at, "expected `issuer`, compared exactly, or `issuerRegExp`: one of the two")),
        }
    }

    /// Puts what must hold beside issuer and subject: claims from every form, and the root.
    fn narrow(&self, into: &mut Value, mut claims: Map<String, Value>, name: &str, at: &str) -> Result<(), LoadError> {
        let old = self.old_claims().filter_map(|(claim, value)| Some((claim, Value::String(value.clone()?))));
        let written = self.claims.iter().flatten().map(|(claim, value)| (claim.as_str(), value.clone()));
        if self.claims.as_ref().is_some_and(Map::is_empty) {
            return Err(fault(name, &format!("{at}.claims"), "expected claims, or no `claims` at all"));
        }
        for (claim, value) in old.chain(written) {
            let at = format!("{at}.claims.{claim}");
            expect(CLAIMS.contains(&claim), name, &at, claim, "the name of a Fulcio claim")?;
            let text = value.as_str().unwrap_or_default();
            let is_good = !text.is_empty() && text.len() <= MAX_CLAIM_BYTES && !text.chars().any(char::is_control);
            expect(is_good, name, &at, text, "a text, compared exactly")?;
            if claims.insert(claim.to_owned(), value).is_some() {
                return Err(fault(name, &at, "another field of this identity says it too"));
            }
        }
        if !claims.is_empty() {
            into["claims"] = claims.into();
        }
        if let Some(trust) = &self.trust {
            expect(is_plain(trust), name, &format!("{at}.trust"), trust, "the name of a configured root")?;
            into["trust"] = trust.as_str().into();
        }
        Ok(())
    }
}

impl Certificate {
    fn rewritten(&self, name: &str, at: &str) -> Result<Value, LoadError> {
        let wanted = "the name of a configured authority";
        expect(is_plain(&self.authority), name, &format!("{at}.authority"), &self.authority, wanted)?;
        let subject = Subject {
            san: self.san.as_ref(),
            exact: self.subject.as_deref(),
            pattern: self.subject_pattern.as_deref(),
            kind: self.subject_kind,
        };
        Ok(json!({"certificate": {"authority": self.authority, "san": subject.rewritten(name, at)?}}))
    }
}

/// A subject as it is written: `san`, or `subject` or `subjectRegExp` with `subjectType`.
struct Subject<'a> {
    san: Option<&'a Value>,
    exact: Option<&'a str>,
    pattern: Option<&'a str>,
    kind: Option<SubjectKind>,
}

impl Subject<'_> {
    fn rewritten(&self, name: &str, at: &str) -> Result<Value, LoadError> {
        match (self.san, self.exact, self.pattern, self.kind) {
            (Some(san), None, None, None) => {
                let at = format!("{at}.san");
                let San { kind, value, pattern } = read(name, &at, san)?;
                match (value, pattern) {
                    (Some(value), None) => covering(kind, &value, name, &format!("{at}.value")),
                    (None, Some(text)) => matching(kind, &text, name, &format!("{at}.regExp")),
                    _ => Err(fault(name, &at, "expected `value` or `regExp`: one of the two")),
                }
            }
            (None, Some(value), None, Some(kind)) => {
                let at = format!("{at}.subject");
                let hint = "one subject, compared exactly; `subjectRegExp` takes a pattern";
                expect(!value.contains('*'), name, &at, value, hint)?;
                covering(kind, value, name, &at)
            }
            (None, None, Some(text), Some(kind)) => matching(kind, text, name, &format!("{at}.subjectRegExp")),
            (None, Some(_), None, None) | (None, None, Some(_), None) => {
                let detail = "expected `subjectType` beside the subject: `uri`, `email` or `spiffe`";
                Err(fault(name, at, detail))
            }
            _ => Err(fault(name, at, "expected `san`, `subject` or `subjectRegExp`: one of the three")),
        }
    }
}

fn covering(kind: SubjectKind, value: &str, name: &str, at: &str) -> Result<Value, LoadError> {
    let (is_value, wanted): (fn(&str) -> bool, _) = match kind {
        SubjectKind::Uri => (is_uri_pattern, "a URI with a path, or such a URI that ends in `/*`"),
        SubjectKind::Spiffe => (is_spiffe_pattern, "a SPIFFE ID, or a SPIFFE ID that ends in `/*`"),
        SubjectKind::Email => (is_email, "one e-mail address, compared exactly"),
    };
    expect(is_value(value), name, at, value, wanted)?;
    Ok(json!({"kind": kind.as_str(), "value": value}))
}

fn matching(kind: SubjectKind, text: &str, name: &str, at: &str) -> Result<Value, LoadError> {
    Ok(json!({"kind": kind.as_str(), "regExp": pattern(kind, text, name, at)?}))
}

fn pattern(kind: SubjectKind, text: &str, name: &str, at: &str) -> Result<Value, LoadError> {
    let fault = |error: &dyn std::fmt::Display| fault(name, at, &format!("`{}`: {error}", text.escape_debug()));
    Ok(identity_pattern(kind, text).map_err(|error| fault(&error))?.as_str().into())
}

/// A claim, in bytes: what GitHub puts into a token stays far below it.
const MAX_CLAIM_BYTES: usize = 2048;

/// Fulcio's claims by the names that evidence gives them (`oid-info.md` of sigstore/fulcio, 1.3.6.1.4.1.57264.1.2-24).
pub(in crate::policy) const CLAIMS: &[&str] = &[
    "workflow_trigger",
    "workflow_sha",
    "workflow_name",
    "workflow_repository",
    "workflow_ref",
    "build_signer_uri",
    "build_signer_digest",
    "runner_environment",
    "source_repository_uri",
    "source_repository_digest",
    "source_repository_ref",
    "source_repository_identifier",
    "source_repository_owner_uri",
    "source_repository_owner_identifier",
    "build_config_uri",
    "build_config_digest",
    "build_trigger",
    "run_invocation_uri",
    "source_repository_visibility_at_signing",
    "deployment_environment",
    "token_subject",
];
