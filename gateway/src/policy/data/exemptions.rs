//! The lists `exemptions` and `break_glass`: what is let past for a time, by whose word.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::text::{
    CALLER, REFERENCE, check_environments, each, expect, is_caller_pattern, is_line, is_plain, is_reference_pattern,
    is_time,
};
use super::{fault, read};
use crate::case::Timestamp;
use crate::policy::LoadError;

/// One exemption: reasons of some codes are lifted for some references, in one scope, for a time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exemption {
    id: String,
    scope: ScopeRule,
    references: Vec<String>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    callers: Option<Vec<String>>,
    codes: Vec<String>,
    owner: String,
    approved_by: String,
    reason: String,
    starts: String,
    expires: String,
}

/// Both have to be said: an exemption for every tenant is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeRule {
    tenant: String,
    environment: String,
}

/// Who may be let past in an emergency.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakGlassRule {
    callers: Vec<String>,
    references: Vec<String>,
    codes: Vec<String>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    environments: Option<Vec<String>>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    starts: Option<String>,
    expires: String,
}

impl Exemption {
    pub(super) fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        expect(is_plain(&self.id), name, &format!("{at}.id"), &self.id, "a name such as `EX-12`, without blanks")?;
        let ScopeRule { tenant, environment } = &self.scope;
        expect(is_plain(tenant), name, &format!("{at}.scope.tenant"), tenant, "a tenant's name")?;
        expect(is_plain(environment), name, &format!("{at}.scope.environment"), environment, "an environment's name")?;
        check_references(name, at, &self.references)?;
        if let Some(callers) = &self.callers {
            each(name, at, "callers", callers, is_caller_pattern, CALLER)?;
        }
        check_codes(name, at, &self.codes)?;
        for (field, text, wanted) in [
            ("owner", &self.owner, "who answers for it, on one line"),
            ("approved_by", &self.approved_by, "who approved it, on one line"),
            ("reason", &self.reason, "why, on one line"),
        ] {
            expect(is_line(text), name, &format!("{at}.{field}"), text, wanted)?;
        }
        check_period(name, at, Some(&self.starts), &self.expires)
    }
}

impl BreakGlassRule {
    pub(super) fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        let is_exact = |caller: &str| is_caller_pattern(caller) && caller != "local" && !caller.contains('*');
        each(
            name,
            at,
            "callers",
            &self.callers,
            is_exact,
            "a SPIFFE ID or `oidc:ISSUER/…`, never a folder, never `local`",
        )?;
        check_references(name, at, &self.references)?;
        check_codes(name, at, &self.codes)?;
        check_environments(name, at, self.environments.as_deref())?;
        check_period(name, at, self.starts.as_deref(), &self.expires)
    }
}

/// Refuses two exemptions with one id, which answers and the log could not tell apart.
pub(super) fn check_ids(data: &Map<String, Value>) -> Result<(), LoadError> {
    let entries = data.get("witgate").and_then(|witgate| witgate.get("exemptions")).and_then(Value::as_array);
    let mut seen = BTreeSet::new();
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        let at = format!("witgate.exemptions[{index}]");
        let id = read::<Exemption>("data", &at, entry)?.id;
        if !seen.insert(id.clone()) {
            return Err(fault("data", &format!("{at}.id"), &format!("another exemption has the id `{id}`")));
        }
    }
    Ok(())
}

fn check_references(name: &str, at: &str, references: &[String]) -> Result<(), LoadError> {
    expect(!references.is_empty(), name, &format!("{at}.references"), "[]", REFERENCE)?;
    each(name, at, "references", references, is_reference_pattern, REFERENCE)
}

fn check_codes(name: &str, at: &str, codes: &[String]) -> Result<(), LoadError> {
    let wanted = format!("one of `{}`", CODES.join("`, `"));
    expect(!codes.is_empty(), name, &format!("{at}.codes"), "[]", &wanted)?;
    each(name, at, "codes", codes, |code| CODES.contains(&code), &wanted)
}

fn check_period(name: &str, at: &str, starts: Option<&str>, expires: &str) -> Result<(), LoadError> {
    const TIME: &str = "a time in UTC such as `2027-01-01T00:00:00Z`";
    expect(is_time(expires), name, &format!("{at}.expires"), expires, TIME)?;
    let Some(starts) = starts else { return Ok(()) };
    expect(is_time(starts), name, &format!("{at}.starts"), starts, TIME)?;
    let instant = |text: &str| text.parse::<Timestamp>().expect("checked above");
    let seconds = instant(expires).duration_since(instant(starts)).as_secs_f64();
    let wanted = format!("a time after `starts` (`{starts}`), at most {MAX_LIFETIME_DAYS} days");
    let limit_s = f64::from(MAX_LIFETIME_DAYS) * 86_400.0;
    expect(seconds > 0.0 && seconds <= limit_s, name, &format!("{at}.expires"), expires, &wanted)
}

/// What may be lifted: what rules about evidence say. `codes` of `policies/lifting.rego` is the same list.
const CODES: &[&str] = &[
    "attestation-missing",
    "component-too-large",
    "identity-mismatch",
    "issuer-mismatch",
    "no-verified-signature",
    "package-banned",
    "provenance-mismatch",
    "signature-too-old",
    "version-rollback",
    "vulnerability-found",
];
/// The longest time that anything is lifted for, in days; `max_lifetime_ns` of `policies/lifting.rego` is the same.
const MAX_LIFETIME_DAYS: u32 = 90;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::load_data;
    use super::*;

    fn exemption(field: &str, value: &Value) -> Result<Value, LoadError> {
        let mut entry = json!({
            "id": "EX-1", "scope": {"tenant": "default", "environment": "prod"}, "references": ["ghcr.io/acme/*"],
            "callers": ["spiffe://prod.example/ns/*"], "codes": ["version-rollback"], "owner": "team-shop",
            "approved_by": "security", "reason": "roll back until the fix is out",
            "starts": "2026-01-01T00:00:00Z", "expires": "2026-04-01T00:00:00Z",
        });
        set(&mut entry, field, value);
        load_data(&json!({"witgate": {"exemptions": [entry]}}))
    }

    fn break_glass(field: &str, value: &Value) -> Result<Value, LoadError> {
        let mut entry = json!({"callers": ["spiffe://prod.example/oncall"], "references": ["*"],
            "codes": ["no-verified-signature"], "environments": ["prod"],
            "starts": "2026-01-01T00:00:00Z", "expires": "2026-02-01T00:00:00Z"});
        set(&mut entry, field, value);
        load_data(&json!({"witgate": {"break_glass": [entry]}}))
    }

    fn set(entry: &mut Value, field: &str, value: &Value) {
        match value.as_str() {
            Some("<absent>") => drop(entry.as_object_mut().unwrap().remove(field)),
            _ => entry[field] = value.clone(),
        }
    }

    #[test]
    fn a19_1_an_exemption_without_owner_reason_scope_or_end_is_not_loaded() {
        exemption("id", &json!("EX-2")).unwrap();
        exemption("callers", &json!("<absent>")).unwrap();
        exemption("starts", &json!("2026-01-01T00:00:00Z")).unwrap();
        for field in ["id", "scope", "references", "codes", "owner", "approved_by", "reason", "starts", "expires"] {
            exemption(field, &json!("<absent>")).expect_err(field);
        }
        for (field, value) in [
            ("id", json!("")),
            ("scope", json!({"tenant": "default"})),
            ("scope", json!({"environment": "prod"})),
            ("scope", json!({"tenant": "*", "environment": "prod"})),
            ("references", json!([])),
            ("references", json!(["ghcr.io/acme*"])),
            ("callers", json!(null)),
            ("callers", json!(["*"])),
            ("codes", json!([])),
            ("owner", json!(" ")),
            ("approved_by", json!("")),
            ("reason", json!("")),
            ("reason", json!("a\nb")),
            ("expires", json!("never")),
            ("expires", json!("2026-02-01")),
            ("expires", json!("2026-02-01T00:00:00+00:00")),
            ("own", json!(1)),
        ] {
            exemption(field, &value).expect_err(&format!("{value} was taken in `{field}`"));
        }
    }

    #[test]
    fn a19_2_what_is_never_lifted_is_no_code_of_an_exemption() {
        for code in [
            "digest-mismatch",
            "revoked",
            "caller-not-granted",
            "link-not-granted",
            "import-denied",
            "import-new",
            "environment-mismatch",
            "host-not-caller",
            "import-not-granted",
            "threshold-not-met",
            "*",
        ] {
            exemption("codes", &json!([code])).expect_err(code);
            break_glass("codes", &json!([code])).expect_err(code);
        }
        for code in CODES {
            exemption("codes", &json!([code])).unwrap();
            break_glass("codes", &json!([code])).unwrap();
        }
    }

    #[test]
    fn a19_1_nothing_is_lifted_for_longer_than_the_maximum() {
        exemption("expires", &json!("2026-04-01T00:00:00Z")).unwrap();
        for expires in ["2026-04-01T00:00:01Z", "2026-01-01T00:00:00Z", "2025-12-31T00:00:00Z", "2027-01-01T00:00:00Z"]
        {
            let error = exemption("expires", &json!(expires)).unwrap_err().to_string();
            assert!(error.contains("at most 90 days"), "{error}");
            break_glass("expires", &json!(expires)).unwrap_err();
        }
    }

    #[test]
    fn a19_1_two_exemptions_with_one_id_are_not_loaded() {
        let entry = exemption("id", &json!("EX-1")).unwrap()["witgate"]["exemptions"][0].clone();
        let error = load_data(&json!({"witgate": {"exemptions": [entry, entry]}})).unwrap_err().to_string();
        assert_eq!(error, "data: `witgate.exemptions[1].id`: another exemption has the id `EX-1`");
    }

    #[test]
    fn break_glass_names_people_exactly() {
        break_glass("starts", &json!("<absent>")).unwrap();
        break_glass("callers", &json!(["oidc:github/12/34"])).unwrap();
        for callers in [json!(["local"]), json!(["spiffe://prod.example/*"]), json!(["oidc:github/*"]), json!(["*"])] {
            break_glass("callers", &callers).expect_err("a pattern was taken");
        }
        for (field, value) in [("environments", json!([])), ("references", json!([])), ("expires", json!("<absent>"))] {
            break_glass(field, &value).expect_err(field);
        }
    }

    #[test]
    fn the_rules_lift_the_same_codes_for_the_same_time() {
        let text = include_str!("../../../../policies/lifting.rego");
        let (_, list) = text.split_once("codes := {").unwrap();
        let listed: Vec<_> = list.split_once('}').unwrap().0.split('"').skip(1).step_by(2).collect();
        assert_eq!(listed, CODES);
        let nanoseconds = u64::from(MAX_LIFETIME_DAYS) * 86_400 * 1_000_000_000;
        assert!(text.contains(&format!("max_lifetime_ns := {nanoseconds}\n")));
    }
}
