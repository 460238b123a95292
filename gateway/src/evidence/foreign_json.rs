//! JSON of strangers, held to its limits and read in one way only.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::limits::breadth;
use super::rejection::Rejection;
use crate::reason::Code;
use crate::strict_json;

/// One kind of document: what it is called, how much of it is read, what a fault in it is.
pub(super) struct Document<'a> {
    /// With its article in messages: `bundle`, `envelope`.
    pub(super) name: &'a str,
    pub(super) bytes_max: usize,
    /// Commas and brackets, counted before anything is parsed.
    pub(super) breadth_max: usize,
    pub(super) depth_max: usize,
    pub(super) malformed: Code,
}

impl Document<'_> {
    /// Reads it: its limits first, then without duplicate keys.
    pub(super) fn read(&self, json: &[u8]) -> Result<Value, Rejection> {
        let article = if self.name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        let what = format!("{article} {}", self.name);
        limit(&what, "bytes", json.len(), self.bytes_max)?;
        limit(&what, "commas and brackets", breadth(json), self.breadth_max)?;
        strict_json::parse(json, self.depth_max).map_err(|error| {
            Rejection::new(self.malformed.clone(), format!("the {} cannot be read: {error}", self.name))
        })
    }
}

/// Refuses more of something than is looked at.
pub(super) fn limit(what: &str, unit: &str, found: usize, max: usize) -> Result<(), Rejection> {
    if found <= max {
        return Ok(());
    }
    Err(Rejection::mismatch(Code::LIMIT_EXCEEDED, format!("{what} of at most {max} {unit}"), found))
}

/// The fields of an object.
pub(super) fn object<'a>(
    value: Option<&'a Value>,
    name: &str,
    malformed: &Code,
) -> Result<&'a Map<String, Value>, Rejection> {
    let fields = value.and_then(Value::as_object);
    fields
        .ok_or_else(|| Rejection::mismatch(malformed.clone(), format!("{name} to be a JSON object"), "something else"))
}

/// The fields of an object that are texts; none of what is no object.
pub(super) fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// The fields of an object that has no others than `names`.
pub(super) fn object_of<'a>(
    value: Option<&'a Value>,
    name: &str,
    names: &[&str],
    malformed: &Code,
) -> Result<&'a Map<String, Value>, Rejection> {
    let fields = object(value, name, malformed)?;
    known(fields, name, names, malformed)?;
    Ok(fields)
}

/// Refuses fields that would be passed over: another reader may take them for the signature or the key.
pub(super) fn known(
    fields: &Map<String, Value>,
    name: &str,
    known: &[&str],
    malformed: &Code,
) -> Result<(), Rejection> {
    match fields.keys().find(|field| !known.contains(&field.as_str())) {
        None => Ok(()),
        Some(field) => {
            let expected = format!("no other fields in {name}");
            Err(Rejection::mismatch(malformed.clone(), expected, format!("`{field}`")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: Document<'static> =
        Document { name: "envelope", bytes_max: 16, breadth_max: 3, depth_max: 2, malformed: Code::BUNDLE_MALFORMED };

    fn refused(json: &str) -> (Code, String) {
        let rejection = ENVELOPE.read(json.as_bytes()).unwrap_err();
        (rejection.code, rejection.detail)
    }

    #[test]
    fn limits_come_before_parsing() {
        assert!(ENVELOPE.read(br#"{"a":1,"b":[2]} "#).is_ok());
        let (code, detail) = refused(&"x".repeat(17));
        assert_eq!(
            (code, detail.as_str()),
            (Code::LIMIT_EXCEEDED, "expected an envelope of at most 16 bytes, found 17")
        );
        let (code, detail) = refused("[1,2,3,4]");
        assert_eq!(code, Code::LIMIT_EXCEEDED);
        assert_eq!(detail, "expected an envelope of at most 3 commas and brackets, found 4");
        for malformed in ["[[[", r#"{"a":1,"a":2}"#, "[[[1]]]", ""] {
            let (code, detail) = refused(malformed);
            assert_eq!(code, Code::BUNDLE_MALFORMED, "{malformed}");
            assert!(detail.starts_with("the envelope cannot be read: "), "{detail}");
        }
    }

    #[test]
    fn an_object_has_the_fields_that_are_known() {
        let value = serde_json::json!({"a": 1, "x": 2});
        let code = Code::BUNDLE_MALFORMED;
        let fields = object(Some(&value), "it", &code).unwrap();
        assert!(known(fields, "it", &["a", "x"], &code).is_ok());
        let rejection = known(fields, "it", &["a"], &code).unwrap_err();
        assert_eq!(rejection.detail, "expected no other fields in it, found `x`");
        for none in [None, Some(&Value::Null), Some(&Value::Bool(true))] {
            assert_eq!(object(none, "it", &code).unwrap_err().code, code);
        }
    }
}
