//! The list `signatures`: whose signature some references need.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::fault;
use super::text::{REFERENCE, each, expect, is_email, is_plain, is_reference_pattern, is_uri_pattern};
use crate::policy::LoadError;

/// Whose signature some references need.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureEntry {
    references: Vec<String>,
    identities: Vec<Identity>,
}

/// A keyless identity, or a managed key: one of the two, never both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    issuer: Option<String>,
    san: Option<SanRule>,
    claims: Option<Map<String, Value>>,
    key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SanRule {
    kind: crate::case::SanKind,
    value: String,
}

impl SignatureEntry {
    pub fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        each(name, at, "references", &self.references, is_reference_pattern, REFERENCE)?;
        for (index, identity) in self.identities.iter().enumerate() {
            identity.check(name, &format!("{at}.identities[{index}]"))?;
        }
        Ok(())
    }
}

impl Identity {
    pub fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        match self {
            Self { key: Some(key), issuer: None, san: None, claims: None } => {
                expect(is_plain(key), name, &format!("{at}.key"), key, "the name of a configured key")
            }
            Self { key: None, issuer: Some(issuer), san: Some(san), claims } => {
                expect(is_plain(issuer), name, &format!("{at}.issuer"), issuer, "an OIDC issuer, compared exactly")?;
                let (is_value, wanted): (fn(&str) -> bool, _) = match san.kind {
                    crate::case::SanKind::Uri => (is_uri_pattern, "a URI with a path, or such a URI that ends in `/*`"),
                    crate::case::SanKind::Email => (is_email, "one e-mail address, compared exactly"),
                };
                expect(is_value(&san.value), name, &format!("{at}.san.value"), &san.value, wanted)?;
                for (claim, value) in claims.iter().flatten() {
                    let at = format!("{at}.claims.{claim}");
                    expect(CLAIMS.contains(&claim.as_str()), name, &at, claim, "the name of a Fulcio claim")?;
                    let text = value.as_str().unwrap_or_default();
                    expect(!text.is_empty(), name, &at, text, "a text, compared exactly")?;
                }
                Ok(())
            }
            _ => Err(fault(name, at, "expected `issuer` with `san` and perhaps `claims`, or `key` alone")),
        }
    }
}

/// Fulcio's claims by the names that evidence gives them (`oid-info.md` of sigstore/fulcio, 1.3.6.1.4.1.57264.1.2-24).
const CLAIMS: &[&str] = &[
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::load_data;
    use super::*;

    fn identity(identity: &Value) -> Result<Value, LoadError> {
        load_data(&json!({"witgate": {"signatures": [{"references": ["*"], "identities": [identity]}]}}))
    }

    #[test]
    fn refuses_misspelt_unknown_and_half_filled_entries() {
        for data in [
            json!({"witgate": {"signature": []}}),
            json!({"witgate": {"signatures": {}}}),
            json!({"witgate": []}),
            json!({"witgate": {"signatures": [{"references": ["*"]}]}}),
            json!({"witgate": {"signatures": [{"identities": []}]}}),
            json!({"witgate": {"grants": [{"callers": ["local"]}]}}),
            json!({"witgate": {"grants": [{"references": ["*"]}]}}),
            json!({"witgate": {"signatures": [[["*"], []]]}}),
        ] {
            assert!(matches!(load_data(&data), Err(LoadError::Data { .. })), "{data} was taken");
        }
        let san = json!({"kind": "uri", "value": "https://github.com/acme/*"});
        for bad in [
            json!({}),
            json!({"issuer": "https://issuer.example"}),
            json!({"san": san}),
            json!({"issuer": "https://issuer.example", "san": san, "key": "k"}),
            json!({"key": "k", "claims": {}}),
            json!({"issuer": "*", "san": san}),
            json!({"issuer": "", "san": san}),
            json!({"issuer": "i", "san": san, "subject": "x"}),
            json!({"issuer": "i", "san": {"kind": "dns", "value": "x"}}),
            json!({"issuer": "i", "san": {"kind": "uri", "value": "https://h/x", "regexp": "x"}}),
            json!({"issuer": "i", "san": san, "claims": {"source_repo": "x"}}),
            json!({"issuer": "i", "san": san, "claims": {"build_trigger": ""}}),
            json!({"issuer": "i", "san": san, "claims": {"build_trigger": 1}}),
        ] {
            assert!(matches!(identity(&bad), Err(LoadError::Data { .. })), "{bad} was taken");
        }
        assert!(identity(&json!({"key": "release"})).is_ok());
        assert!(identity(&json!({"issuer": "i", "san": san, "claims": {"build_trigger": "push"}})).is_ok());
    }

    #[test]
    fn refuses_subjects_that_could_match_more_than_they_say() {
        let subject =
            |kind: &str, value: &str| identity(&json!({"issuer": "i", "san": {"kind": kind, "value": value}}));
        for value in [
            "https://github.com/acme*",
            "https://github.com/*/cart",
            "https://*",
            "https://*/acme/*",
            "*",
            "/*",
            "https:///*",
            "github.com/acme/*",
            "https://github.com",
            "https://github.com/",
            "https://github.com/acme//*",
            "https://user@github.com/acme/*",
            "https://GitHub.com/acme/*",
            "https://github.com./acme/*",
            "https://github.com/acme%2f*",
            "https://github.com/../acme/*",
            "https://gith\u{fc}b.com/acme/*",
            "https://github.com/acme/\n*",
            "",
        ] {
            assert!(subject("uri", value).is_err(), "`{value}` was taken");
        }
        for value in
            ["https://github.com/acme/*", "https://github.com/*", "spiffe://td/ns/x", "https://h:8443/a@refs/b"]
        {
            subject("uri", value).unwrap();
        }
        for value in ["*@acme.example", "ci@acme.example/*", "ci", "a@b@c", "@acme.example", "ci@acme.example\n", ""] {
            assert!(subject("email", value).is_err(), "`{value}` was taken");
        }
        subject("email", "ci@acme.example").unwrap();
    }
}
