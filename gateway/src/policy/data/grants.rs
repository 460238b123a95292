//! The list `grants`: who may run which references with what.

use serde::Deserialize;
use serde_json::Value;

use super::callers::Selector;
use super::text::{
    CALLER, REFERENCE, check_environments, each, expect, is_caller_pattern, is_plain, is_reference_pattern,
};
use super::{fault, read};
use crate::policy::LoadError;
use crate::policy::import_patterns::is_pattern;

/// Who may run which references with what.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantRule {
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    callers: Option<Vec<String>>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    selector: Option<Value>,
    references: Vec<String>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    environments: Option<Vec<String>>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    imports: Vec<String>,
    #[serde(default)]
    links: Vec<String>,
    #[serde(default)]
    config: Vec<crate::case::ConfigEntry>,
    #[serde(default)]
    limits: LimitsRule,
    lifetime_s: Option<u64>,
    /// Read by the rules alone.
    #[serde(default, rename = "native")]
    _native: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsRule {
    memory_bytes: Option<u64>,
    fuel: Option<u64>,
    timeout_ms: Option<u64>,
}

impl GrantRule {
    pub fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        if self.callers.is_none() && self.selector.is_none() {
            return Err(fault(name, at, "expected `callers` or `selector`, or both: a grant for everybody is none"));
        }
        each(name, at, "callers", self.callers.as_deref().unwrap_or_default(), is_caller_pattern, CALLER)?;
        if let Some(selector) = &self.selector {
            let at = format!("{at}.selector");
            read::<Selector>(name, &at, selector)?.check(name, &at)?;
        }
        check_environments(name, at, self.environments.as_deref())?;
        each(name, at, "references", &self.references, is_reference_pattern, REFERENCE)?;
        each(name, at, "hosts", &self.hosts, is_caller_pattern, CALLER)?;
        each(name, at, "imports", &self.imports, is_pattern, IMPORT)?;
        each(name, at, "links", &self.links, is_plain, "the name of a link, without wildcard")?;
        for entry in &self.config {
            expect(is_plain(&entry.key), name, &format!("{at}.config"), &entry.key, "a key")?;
        }
        let LimitsRule { memory_bytes, fuel, timeout_ms } = self.limits;
        for (field, value) in [
            ("limits.memory_bytes", memory_bytes),
            ("limits.fuel", fuel),
            ("limits.timeout_ms", timeout_ms),
            ("lifetime_s", self.lifetime_s),
        ] {
            if value == Some(0) {
                return Err(fault(name, &format!("{at}.{field}"), "expected more than 0"));
            }
        }
        Ok(())
    }
}

const IMPORT: &str = "`ns:package/interface@version`, `ns:package/*@track`, `ns:package/*`, or a bare name";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::load_data;
    use super::*;

    fn grant(field: &str, value: &Value) -> Result<Value, LoadError> {
        let mut rule = json!({"callers": ["local"], "references": ["*"]});
        rule[field] = value.clone();
        load_data(&json!({"witgate": {"grants": [rule]}}))
    }

    #[test]
    fn refuses_grants_that_could_match_more_than_they_say() {
        for (field, value) in [
            ("callers", "*"),
            ("callers", "spiffe://*"),
            ("callers", "spiffe://td*"),
            ("callers", "https://td/x"),
            ("callers", "LOCAL"),
            ("callers", "oidc:*"),
            ("callers", "oidc:github"),
            ("callers", "oidc:github/"),
            ("callers", "oidc:github/12*"),
            ("callers", "oidc:github//x"),
            ("callers", "oidc:github/../x"),
            ("callers", "oidc:/x"),
            ("callers", "oidc:GitHub/x"),
            ("callers", "oidc:git*/x"),
            ("hosts", "*"),
            ("references", "ghcr.io/acme*"),
            ("references", "ghcr.io"),
            ("references", "ghcr.io/acme/cart:1"),
            ("references", "ghcr.io/acme/../x"),
            ("references", "ghcr.io/*/cart"),
            ("references", "ghcr.io/acme/cart@sha256:00"),
            ("imports", "*"),
            ("imports", "wasi:*"),
            ("imports", "wasi:io*"),
            ("imports", "wasi:io/*@"),
            ("imports", "wasi:io/poll@*"),
            ("links", "*"),
            ("links", ""),
        ] {
            assert!(grant(field, &json!([value])).is_err(), "`{value}` was taken in `{field}`");
        }
        for (field, value) in [
            ("lifetime_s", json!(0)),
            ("lifetime_s", json!(-1)),
            ("limits", json!({"fuel": 0})),
            ("limits", json!({"memory": 1})),
            ("config", json!([{"key": "k"}])),
            ("import", json!([])),
        ] {
            assert!(grant(field, &value).is_err(), "{value} was taken in `{field}`");
        }
        for (field, value) in [
            ("callers", json!(["spiffe://td/*", "spiffe://td/ns/shop"])),
            ("callers", json!(["oidc:k8s-1/*", "oidc:github/12/34", "oidc:k8s/system:serviceaccount:a:b"])),
            ("references", json!(["ghcr.io/*", "127.0.0.1:5000/a/b"])),
            ("imports", json!(["wasi:io/*@0.2", "wasi:cli/*", "wasi:io/poll@0.2.3", "run"])),
            ("config", json!([{"key": "k", "value": ""}])),
            ("lifetime_s", json!(60)),
        ] {
            grant(field, &value).unwrap();
        }
    }

    #[test]
    fn says_where_the_fault_is() {
        let error = grant("importss", &json!([])).unwrap_err().to_string();
        assert!(error.starts_with("data.json: `witgate.grants[0]`: unknown field `importss`"), "{error}");
        let error = grant("imports", &json!(["wasi:io/poll@0.2.0", "*"])).unwrap_err().to_string();
        assert!(error.starts_with("data.json: `witgate.grants[0].imports[1]`: expected `ns:package"), "{error}");
    }
}
