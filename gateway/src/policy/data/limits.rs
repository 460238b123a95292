//! The lists `limits` and `environments`: how large and how old, and what belongs where.

use serde::Deserialize;

use super::fault;
use super::text::{
    CALLER, REFERENCE, check_environments, each, expect, is_caller_pattern, is_plain, is_reference_pattern,
};
use crate::policy::LoadError;

/// How large components of some references may be, and how old their signatures.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitEntry {
    references: Vec<String>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    environments: Option<Vec<String>>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    max_component_bytes: Option<u64>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    max_signature_age_s: Option<u64>,
}

/// What belongs to one environment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvironmentEntry {
    environment: String,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    references: Option<Vec<String>>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    callers: Option<Vec<String>>,
}

impl LimitEntry {
    pub(super) fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        expect(!self.references.is_empty(), name, &format!("{at}.references"), "[]", REFERENCE)?;
        each(name, at, "references", &self.references, is_reference_pattern, REFERENCE)?;
        check_environments(name, at, self.environments.as_deref())?;
        if self.max_component_bytes.is_none() && self.max_signature_age_s.is_none() {
            return Err(fault(name, at, "expected `max_component_bytes` or `max_signature_age_s`"));
        }
        if self.max_component_bytes == Some(0) {
            return Err(fault(name, &format!("{at}.max_component_bytes"), "expected more than 0"));
        }
        if self.max_signature_age_s.is_some_and(|seconds| !(1..=MAX_AGE_S).contains(&seconds)) {
            let detail = "expected seconds, more than 0 and at most 10 years";
            return Err(fault(name, &format!("{at}.max_signature_age_s"), detail));
        }
        Ok(())
    }
}

impl EnvironmentEntry {
    pub(super) fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        let environment = &self.environment;
        expect(is_plain(environment), name, &format!("{at}.environment"), environment, "an environment's name")?;
        if self.references.is_none() && self.callers.is_none() {
            return Err(fault(name, at, "expected `references` or `callers`, or both"));
        }
        each(name, at, "references", self.references.as_deref().unwrap_or_default(), is_reference_pattern, REFERENCE)?;
        each(name, at, "callers", self.callers.as_deref().unwrap_or_default(), is_caller_pattern, CALLER)
    }
}

/// Past what age no limit makes sense, in seconds: 10 years.
const MAX_AGE_S: u64 = 10 * 365 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::load_data;

    fn is_taken(list: &str, entry: &Value) -> bool {
        load_data(&json!({"witgate": {list: [entry]}})).is_ok()
    }

    #[test]
    fn limits_say_something_and_hold_theirs() {
        let ten_years = 315_360_000;
        assert!(is_taken(
            "limits",
            &json!({"references": ["*"], "max_component_bytes": 1, "max_signature_age_s": ten_years})
        ));
        assert!(is_taken("limits", &json!({"references": ["*"], "environments": ["prod"], "max_component_bytes": 1})));
        for bad in [
            json!({"references": ["*"]}),
            json!({"references": [], "max_component_bytes": 1}),
            json!({"references": ["*"], "max_component_bytes": 0}),
            json!({"references": ["*"], "max_component_bytes": null}),
            json!({"references": ["*"], "max_signature_age_s": 0}),
            json!({"references": ["*"], "max_signature_age_s": ten_years + 1}),
            json!({"references": ["*"], "max_component_bytes": 1, "environments": []}),
            json!({"references": ["*"], "max_bytes": 1}),
        ] {
            assert!(!is_taken("limits", &bad), "{bad} was taken");
        }
    }

    #[test]
    fn an_environment_has_something_of_its_own() {
        assert!(is_taken("environments", &json!({"environment": "prod", "references": ["*"]})));
        assert!(is_taken("environments", &json!({"environment": "prod", "callers": ["spiffe://prod.example/*"]})));
        for bad in [
            json!({"environment": "prod"}),
            json!({"environment": "", "references": ["*"]}),
            json!({"environment": "prod*", "references": ["*"]}),
            json!({"environment": "prod", "references": ["ghcr.io"]}),
            json!({"environment": "prod", "callers": ["*"]}),
            json!({"references": ["*"]}),
        ] {
            assert!(!is_taken("environments", &bad), "{bad} was taken");
        }
    }
}
