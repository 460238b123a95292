//! The data documents of `data.witgate`, each checked before a rule reads it.

mod attestations;
mod callers;
mod exemptions;
mod github;
mod grants;
pub(super) mod identity;
mod import_rules;
mod limits;
mod signatures;
pub(super) mod text;
mod versions;
mod wascap;
mod yaml;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::LoadError;
use super::bundle::{Bundle, Source};
use crate::strict_json;

/// The bundle's data with what is merged over it, checked.
///
/// Short forms are written out: rules read one form only, which is one that people may write too. Files of one folder may
/// not say the same thing twice; a folder that is merged over another replaces what it names.
pub(super) fn load(bundle: &Bundle) -> Result<Value, LoadError> {
    let mut data = merge_folder(&bundle.data)?;
    merge_over(&mut data, merge_folder(&bundle.data_over)?);
    check("data", &data)?;
    signatures::rewrite(&mut data)?;
    attestations::rewrite(&mut data)?;
    import_rules::rewrite(&mut data)?;
    callers::check_contradictions(&data)?;
    exemptions::check_ids(&data)?;
    Ok(Value::Object(data))
}

pub(super) fn merge_folder(files: &[Source]) -> Result<Map<String, Value>, LoadError> {
    let mut merged = Map::new();
    for file in files {
        let document = match yaml::is_yaml(&file.name) {
            true => Some(yaml::parse(&file.name, &file.text)?),
            false => None,
        };
        let value = match &document {
            Some(document) => document.value.clone(),
            None => strict_json::parse(file.text.as_bytes(), strict_json::MAX_DEPTH)
                .map_err(|source| LoadError::Json { name: file.name.clone(), source })?,
        };
        let Value::Object(object) = value else {
            return Err(fault(&file.name, "data", "expected an object, such as `{\"witgate\":{\"grants\":[]}}`"));
        };
        check(&file.name, &object).map_err(|error| match &document {
            Some(document) => document.located(error),
            None => error,
        })?;
        merge_apart(&mut merged, object, &file.name, "")?;
    }
    Ok(merged)
}

fn merge_apart(into: &mut Map<String, Value>, from: Map<String, Value>, name: &str, at: &str) -> Result<(), LoadError> {
    for (key, value) in from {
        let at = format!("{at}{}{key}", if at.is_empty() { "" } else { "." });
        match (into.get_mut(&key), value) {
            (None, value) => {
                into.insert(key, value);
            }
            (Some(Value::Object(into)), Value::Object(from)) => merge_apart(into, from, name, &at)?,
            (Some(_), _) => return Err(fault(name, &at, "another file of this folder says it too")),
        }
    }
    Ok(())
}

fn merge_over(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge_over(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Checks `data.witgate`; what stands beside it is for people's own rules and is not looked at.
fn check(name: &str, data: &Map<String, Value>) -> Result<(), LoadError> {
    let Some(witgate) = data.get("witgate") else { return Ok(()) };
    let Value::Object(witgate) = witgate else { return Err(fault(name, "witgate", "expected an object")) };
    for (key, value) in witgate {
        let at = format!("witgate.{key}");
        let Some((_, check_entry)) = LISTS.iter().find(|(list, _)| list == key) else {
            let names = LISTS.iter().map(|(list, _)| format!("`{list}`")).collect::<Vec<_>>().join(" or ");
            return Err(fault(name, &at, &format!("expected {names}; put data of your own beside `witgate`")));
        };
        let Value::Array(entries) = value else { return Err(fault(name, &at, "expected a list")) };
        for (index, entry) in entries.iter().enumerate() {
            check_entry(name, &format!("{at}[{index}]"), entry)?;
        }
    }
    Ok(())
}

/// One entry as its type: its own fields only.
fn read<'a, T: Deserialize<'a>>(name: &str, at: &str, value: &'a Value) -> Result<T, LoadError> {
    // serde takes a list for a struct, which no rule would read.
    if !value.is_object() {
        return Err(fault(name, at, "expected an object"));
    }
    T::deserialize(value).map_err(|error| {
        let detail = error.to_string();
        // `1.10` is the number 1.1 in YAML, and `true` is none of the texts.
        let quote = yaml::is_yaml(name) && detail.contains("expected a string");
        fault(name, at, &if quote { format!("{detail}: quote it") } else { detail })
    })
}

fn fault(name: &str, at: &str, detail: &str) -> LoadError {
    LoadError::Data { name: name.into(), at: at.into(), detail: detail.into() }
}

/// Checks one entry of a list: the file, the entry's place, the entry.
type CheckEntry = fn(&str, &str, &Value) -> Result<(), LoadError>;

/// The lists of `data.witgate`, each with what checks its entries.
const LISTS: &[(&str, CheckEntry)] = &[
    ("break_glass", |name, at, value| read::<exemptions::BreakGlassRule>(name, at, value)?.check(name, at)),
    ("callers", |name, at, value| read::<callers::LabelEntry>(name, at, value)?.check(name, at)),
    ("environments", |name, at, value| read::<limits::EnvironmentEntry>(name, at, value)?.check(name, at)),
    ("exemptions", |name, at, value| read::<exemptions::Exemption>(name, at, value)?.check(name, at)),
    ("grants", |name, at, value| read::<grants::GrantRule>(name, at, value)?.check(name, at)),
    ("import_rules", |name, at, value| read::<import_rules::ImportRule>(name, at, value)?.check(name, at)),
    ("limits", |name, at, value| read::<limits::LimitEntry>(name, at, value)?.check(name, at)),
    ("provenance", |name, at, value| read::<attestations::ProvenanceEntry>(name, at, value)?.check(name, at)),
    ("sboms", |name, at, value| read::<attestations::SbomEntry>(name, at, value)?.check(name, at)),
    ("signatures", |name, at, value| read::<signatures::SignatureEntry>(name, at, value)?.check(name, at)),
    ("summaries", |name, at, value| read::<attestations::SummaryEntry>(name, at, value)?.check(name, at)),
    ("vulnerabilities", |name, at, value| read::<attestations::VulnerabilityEntry>(name, at, value)?.check(name, at)),
    ("versions", |name, at, value| read::<versions::VersionEntry>(name, at, value)?.check(name, at)),
    ("wascap", |name, at, value| read::<wascap::Entry>(name, at, value)?.check(name, at)),
];

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::policy) fn load_data(data: &Value) -> Result<Value, LoadError> {
        load(&Bundle::from_sources(Vec::new(), data, "t", "1").unwrap())
    }

    #[test]
    fn a8_2_what_is_no_known_list_is_refused() {
        for data in
            [json!({"witgate": {"signature": []}}), json!({"witgate": {"signatures": {}}}), json!({"witgate": []})]
        {
            assert!(matches!(load_data(&data), Err(LoadError::Data { .. })), "{data} was taken");
        }
        let error = load_data(&json!({"witgate": {"signature": []}})).unwrap_err().to_string();
        assert!(error.contains("`signatures`"), "{error}");
    }

    #[test]
    fn a_folder_replaces_what_it_names_and_one_folder_says_a_thing_once() {
        let file = |name: &str, text: &str| Source { name: name.into(), text: text.into() };
        let mut bundle = Bundle::from_sources(Vec::new(), &json!({}), "t", "1").unwrap();
        bundle.data = vec![
            file("a", r#"{"witgate":{"grants":[]},"own":{"x":1}}"#),
            file("b", r#"{"witgate":{"signatures":[]}}"#),
        ];
        bundle.data_over = vec![file("c", r#"{"own":{"x":2}}"#)];
        let merged = load(&bundle).unwrap();
        assert_eq!(merged, json!({"witgate": {"grants": [], "signatures": []}, "own": {"x": 2}}));
        bundle.data.push(file("d", r#"{"witgate":{"grants":[]}}"#));
        let error = load(&bundle).unwrap_err().to_string();
        assert_eq!(error, "d: `witgate.grants`: another file of this folder says it too");
        bundle.data = vec![file("a", r#"{"own":1,"own":2}"#)];
        assert!(matches!(load(&bundle), Err(LoadError::Json { .. })));
        bundle.data = vec![file("a", "[]")];
        assert!(matches!(load(&bundle), Err(LoadError::Data { .. })));
    }
}
