//! The list `import_rules`: what nobody may import, and what an upgrade may not add.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_host_hook::import_name::track;

use super::text::{
    CALLER, REFERENCE, check_environments, each, expect, is_caller_pattern, is_line, is_range, is_reference_pattern,
};
use super::{fault, read};
use crate::policy::LoadError;
use crate::policy::import_patterns::is_pattern;

/// What some references may not import.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportRule {
    references: Vec<String>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    callers: Option<Vec<String>>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    environments: Option<Vec<String>>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    deny: Option<Vec<Value>>,
    /// Read by the rules alone, as the others whose every value is good.
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    new_imports: Option<NewImports>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    watch: Option<Vec<String>>,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    reason: Option<String>,
}

/// What becomes of an import that the artifact admitted before did not have.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NewImports {
    Refuse,
    Warn,
}

/// The long form of one `deny`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deny {
    pattern: String,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    range: Option<String>,
}

impl ImportRule {
    pub(super) fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        self.rewritten(name, at).map(drop)
    }

    /// `deny` and `watch` in the one form that rules read: objects and patterns, each cut to its track.
    fn rewritten(&self, name: &str, at: &str) -> Result<(Vec<Value>, Vec<String>), LoadError> {
        expect(!self.references.is_empty(), name, &format!("{at}.references"), "[]", REFERENCE)?;
        each(name, at, "references", &self.references, is_reference_pattern, REFERENCE)?;
        each(name, at, "callers", self.callers.as_deref().unwrap_or_default(), is_caller_pattern, CALLER)?;
        check_environments(name, at, self.environments.as_deref())?;
        if let Some(reason) = &self.reason {
            expect(is_line(reason), name, &format!("{at}.reason"), reason, "why, on one line")?;
        }
        if self.deny.is_none() && self.new_imports.is_none() {
            return Err(fault(name, at, "expected `deny` or `new_imports`"));
        }
        if self.watch.is_some() && self.new_imports.is_none() {
            return Err(fault(
                name,
                &format!("{at}.watch"),
                "expected `new_imports` beside it, which says what becomes of them",
            ));
        }
        let watch = self.watch.as_deref().unwrap_or_default();
        each(name, at, "watch", watch, is_import, IMPORT)?;
        if self.watch.as_ref().is_some_and(Vec::is_empty) {
            return Err(fault(
                name,
                &format!("{at}.watch"),
                "expected a pattern; leave it out to look at every import",
            ));
        }
        if self.deny.as_ref().is_some_and(Vec::is_empty) {
            return Err(fault(name, &format!("{at}.deny"), "expected a pattern; leave it out to deny nothing"));
        }
        let mut deny = Vec::new();
        for (index, entry) in self.deny.iter().flatten().enumerate() {
            let at = format!("{at}.deny[{index}]");
            deny.push(
                match entry {
                    Value::String(pattern) => Deny { pattern: pattern.clone(), range: None },
                    entry => read::<Deny>(name, &at, entry)?,
                }
                .rewritten(name, &at)?,
            );
        }
        Ok((deny, watch.iter().map(|pattern| track(pattern)).collect()))
    }
}

impl Deny {
    fn rewritten(&self, name: &str, at: &str) -> Result<Value, LoadError> {
        let Self { pattern, range } = self;
        expect(is_import(pattern), name, &format!("{at}.pattern"), pattern, IMPORT)?;
        let Some(range) = range else { return Ok(json!({"pattern": track(pattern)})) };
        expect(is_range(range), name, &format!("{at}.range"), range, "a range such as `>=0.2.0 <0.3.0`")?;
        let wanted = "a pattern without a version beside `range`";
        expect(!pattern.contains('@'), name, &format!("{at}.pattern"), pattern, wanted)?;
        Ok(json!({"pattern": pattern, "range": range}))
    }
}

/// Puts the one form that rules read in the place of every short form.
pub(super) fn rewrite(data: &mut Map<String, Value>) -> Result<(), LoadError> {
    let entries =
        data.get_mut("witgate").and_then(|witgate| witgate.get_mut("import_rules")).and_then(Value::as_array_mut);
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        let at = format!("witgate.import_rules[{index}]");
        let (deny, watch) = read::<ImportRule>("data", &at, entry)?.rewritten("data", &at)?;
        for (field, list) in [("deny", Value::from(deny)), ("watch", Value::from(watch))] {
            if let Some(place) = entry.get_mut(field) {
                *place = list;
            }
        }
    }
    Ok(())
}

/// A denial may cover more than it says and do no harm, a grant may not: `*` stands for everything.
fn is_import(text: &str) -> bool {
    text == "*" || is_pattern(text)
}

const IMPORT: &str = "`ns:package/interface`, `ns:package/interface@version` (its track), `ns:package/*`, `ns:package/*@track`, a bare name, or `*`";

#[cfg(test)]
mod tests {
    use super::super::tests::load_data;
    use super::*;

    fn rule(field: &str, value: &Value) -> Result<Value, LoadError> {
        let mut entry = json!({"references": ["*"], "deny": ["wasi:sockets/*"], "new_imports": "warn"});
        entry[field] = value.clone();
        load_data(&json!({"witgate": {"import_rules": [entry]}}))
    }

    #[test]
    fn short_forms_are_written_out_and_cut_to_their_track() {
        let data =
            rule("deny", &json!(["wasi:io/poll@0.2.3", {"pattern": "wasi:http/*", "range": ">=0.2.0 <0.3.0"}, "*"]));
        let deny = &data.unwrap()["witgate"]["import_rules"][0]["deny"];
        let expected = json!([{"pattern": "wasi:io/poll@0.2"}, {"pattern": "wasi:http/*", "range": ">=0.2.0 <0.3.0"}, {"pattern": "*"}]);
        assert_eq!(deny, &expected);
        let data = rule("watch", &json!(["wasi:sockets/tcp@0.2.3"])).unwrap();
        assert_eq!(data["witgate"]["import_rules"][0]["watch"], json!(["wasi:sockets/tcp@0.2"]));
    }

    #[test]
    fn refuses_rules_that_could_deny_less_than_they_say() {
        for (field, value) in [
            ("references", json!([])),
            ("references", json!(["ghcr.io/acme*"])),
            ("callers", json!(["*"])),
            ("environments", json!([])),
            ("deny", json!([])),
            ("deny", json!(["wasi:*"])),
            ("deny", json!([""])),
            ("deny", json!([7])),
            ("deny", json!([{"pattern": "wasi:http/*", "range": "0.2.0"}])),
            ("deny", json!([{"pattern": "wasi:http/*", "range": ">=0.2"}])),
            ("deny", json!([{"pattern": "wasi:http/*@0.2", "range": ">=0.2.0"}])),
            ("deny", json!([{"range": ">=0.2.0"}])),
            ("deny", json!([{"pattern": "wasi:http/*", "ranges": ">=0.2.0"}])),
            ("new_imports", json!("ignore")),
            ("new_imports", json!(null)),
            ("watch", json!([])),
            ("watch", json!(["wasi:*"])),
            ("reason", json!("")),
        ] {
            rule(field, &value).expect_err(&format!("{value} was taken in `{field}`"));
        }
        for entry in [json!({"references": ["*"]}), json!({"references": ["*"], "deny": ["a:b/c"], "watch": ["a:b/c"]})]
        {
            load_data(&json!({"witgate": {"import_rules": [entry]}})).unwrap_err();
        }
    }
}
