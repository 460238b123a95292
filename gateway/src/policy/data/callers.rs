//! The list `callers`, which gives callers labels, and the selectors that grants name them with.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::text::{CALLER, each, expect, is_caller_pattern, is_plain};
use super::{fault, read};
use crate::policy::LoadError;

/// Labels of some callers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelEntry {
    callers: Vec<String>,
    labels: BTreeMap<String, String>,
}

/// A Kubernetes label selector.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selector {
    #[serde(default, rename = "matchLabels")]
    match_labels: BTreeMap<String, String>,
    #[serde(default, rename = "matchExpressions")]
    match_expressions: Vec<Expression>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    values: Option<Vec<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelEntry {
    pub(super) fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        expect(!self.callers.is_empty(), name, &format!("{at}.callers"), "[]", CALLER)?;
        each(name, at, "callers", &self.callers, is_caller_pattern, CALLER)?;
        expect(!self.labels.is_empty(), name, &format!("{at}.labels"), "{}", "a label, such as `team: shop`")?;
        check_labels(name, &format!("{at}.labels"), &self.labels)
    }
}

impl Selector {
    pub(super) fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        if self.match_labels.is_empty() && self.match_expressions.is_empty() {
            return Err(fault(
                name,
                at,
                "expected `matchLabels` or `matchExpressions`: an empty selector names nobody",
            ));
        }
        check_labels(name, &format!("{at}.matchLabels"), &self.match_labels)?;
        for (index, expression) in self.match_expressions.iter().enumerate() {
            expression.check(name, &format!("{at}.matchExpressions[{index}]"))?;
        }
        Ok(())
    }
}

impl Expression {
    fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        expect(is_key(&self.key), name, &format!("{at}.key"), &self.key, KEY)?;
        let values = self.values.as_deref();
        let wants_values = matches!(self.operator, Operator::In | Operator::NotIn);
        match values {
            Some(values) if wants_values && !values.is_empty() => each(name, at, "values", values, is_value, VALUE),
            _ if wants_values => {
                Err(fault(name, &format!("{at}.values"), "expected a value: `In` and `NotIn` compare with some"))
            }
            Some(values) if !values.is_empty() => Err(fault(
                name,
                &format!("{at}.values"),
                "expected none: `Exists` and `DoesNotExist` look at the key alone",
            )),
            _ => Ok(()),
        }
    }
}

/// Refuses labels that contradict one another: a caller has one value for a key, whatever entries name it.
pub(super) fn check_contradictions(data: &Map<String, Value>) -> Result<(), LoadError> {
    let entries = data.get("witgate").and_then(|witgate| witgate.get("callers")).and_then(Value::as_array);
    let mut said: Vec<(usize, LabelEntry)> = Vec::new();
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        let at = format!("witgate.callers[{index}]");
        let entry = read::<LabelEntry>("data", &at, entry)?;
        for (other, earlier) in &said {
            let meet = earlier.callers.iter().any(|one| entry.callers.iter().any(|other| overlap(one, other)));
            let differs =
                |(key, value): &(&String, &String)| earlier.labels.get(*key).is_some_and(|held| held != *value);
            if let Some((key, value)) = entry.labels.iter().find(|label| meet && differs(label)) {
                let held = &earlier.labels[key];
                let detail =
                    format!("`{value}` here and `{held}` in `witgate.callers[{other}]` for a caller that both name");
                return Err(fault("data", &format!("{at}.labels.{key}"), &detail));
            }
        }
        said.push((index, entry));
    }
    Ok(())
}

/// Whether some caller is covered by both patterns: a folder holds what is below it.
fn overlap(one: &str, other: &str) -> bool {
    let holds = |pattern: &str, name: &str| {
        pattern.strip_suffix('*').is_some_and(|folder| name.starts_with(folder)) || pattern == name
    };
    holds(one, other) || holds(other, one)
}

fn check_labels(name: &str, at: &str, labels: &BTreeMap<String, String>) -> Result<(), LoadError> {
    labels.iter().try_for_each(|(key, value)| {
        expect(is_key(key), name, at, key, KEY)?;
        expect(is_value(value), name, &format!("{at}.{key}"), value, VALUE)
    })
}

fn is_key(text: &str) -> bool {
    is_plain(text) && text.len() <= MAX_KEY_BYTES
}

fn is_value(text: &str) -> bool {
    is_plain(text) && text.len() <= MAX_VALUE_BYTES
}

const KEY: &str = "a label's key, such as `team` or `acme.example/team`";
const VALUE: &str = "a label's value, at most 63 characters without blanks and without `*`";
/// A prefix of 253, `/` and a name of 63 bytes, as Kubernetes has it.
const MAX_KEY_BYTES: usize = 317;
/// As Kubernetes has it, in bytes.
const MAX_VALUE_BYTES: usize = 63;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::load_data;
    use super::*;

    fn selector(selector: &Value) -> Result<Value, LoadError> {
        load_data(&json!({"witgate": {"grants": [{"references": ["*"], "selector": selector}]}}))
    }

    #[test]
    fn a20_2_a_selector_that_says_nothing_is_not_loaded() {
        for bad in [
            json!({}),
            json!(null),
            json!([]),
            json!({"matchLabels": {}}),
            json!({"matchExpressions": []}),
            json!({"matchlabels": {"team": "shop"}}),
            json!({"matchLabels": {"team": ""}}),
            json!({"matchLabels": {"": "shop"}}),
            json!({"matchLabels": {"team": "x".repeat(64)}}),
            json!({"matchLabels": {"x".repeat(318): "shop"}}),
            json!({"matchExpressions": [{"key": "team", "operator": "in", "values": ["a"]}]}),
            json!({"matchExpressions": [{"key": "team", "operator": "In"}]}),
            json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": []}]}),
            json!({"matchExpressions": [{"key": "team", "operator": "Exists", "values": ["a"]}]}),
            json!({"matchExpressions": [{"operator": "Exists"}]}),
        ] {
            selector(&bad).expect_err(&format!("{bad} was taken"));
        }
        for good in [
            json!({"matchLabels": {"team": "x".repeat(63), "x".repeat(317): "shop"}}),
            json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}),
            json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist", "values": []}]}),
        ] {
            selector(&good).unwrap();
        }
    }

    #[test]
    fn labels_that_contradict_one_another_are_not_loaded() {
        let callers = |entries: Value| load_data(&json!({"witgate": {"callers": entries}}));
        let entry = |caller: &str, team: &str| json!({"callers": [caller], "labels": {"team": team}});
        let (folder, inside) = ("spiffe://a.example/ns/*", "spiffe://a.example/ns/shop");
        for (one, other) in [(folder, inside), (inside, folder), (inside, inside), ("spiffe://a.example/*", folder)] {
            let error = callers(json!([entry(one, "a"), entry(other, "b")])).unwrap_err().to_string();
            assert!(error.starts_with("data: `witgate.callers[1].labels.team`: `b` here and `a` in"), "{error}");
            callers(json!([entry(one, "a"), entry(other, "a")])).unwrap();
        }
        callers(json!([entry(folder, "a"), entry("spiffe://a.example/ns-other/shop", "b")])).unwrap();
        for bad in [json!({"callers": [], "labels": {"a": "b"}}), json!({"callers": ["local"], "labels": {}})] {
            callers(json!([bad])).unwrap_err();
        }
    }
}
