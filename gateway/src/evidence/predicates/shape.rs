//! The JSON of a predicate, field by field, each with its kind and its limit.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use super::super::limits::{PARTS_MAX, PREDICATE_TEXT_BYTES_MAX};
use super::super::rejection::Rejection;
use crate::case::Timestamp;
use crate::reason::Code;

/// An object of a predicate, with the words that name it to a person; `null` counts as absent.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    fields: &'a Map<String, Value>,
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub fn of(value: &'a Value, what: &'static str) -> Result<Self, Rejection> {
        match value {
            Value::Object(fields) => Ok(Self { fields, what }),
            other => Err(malformed(what, "an object", kind(Some(other)))),
        }
    }

    fn get(self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// Whether a field is there.
    pub fn has(self, field: &str) -> bool {
        self.get(field).is_some()
    }

    /// Whether a field is this number.
    pub fn is_number(self, field: &str, number: u64) -> bool {
        self.get(field).and_then(Value::as_u64) == Some(number)
    }

    /// Whether a field is there as an object.
    pub fn is_object(self, field: &str) -> bool {
        self.get(field).is_some_and(Value::is_object)
    }

    /// Whether a field is there as a text.
    pub fn is_text(self, field: &str) -> bool {
        self.get(field).is_some_and(Value::is_string)
    }

    fn wrong(self, field: &str, expected: &str) -> Rejection {
        malformed(format_args!("`{field}` of {}", self.what), expected, kind(self.get(field)))
    }

    /// Refuses a value of a field that is none of `expected`.
    pub fn unexpected(self, field: &str, expected: impl fmt::Display, found: &str) -> Rejection {
        malformed(format_args!("`{field}` of {}", self.what), expected, format_args!("`{found}`"))
    }

    pub fn text(self, field: &str) -> Result<&'a str, Rejection> {
        self.optional_text(field)?.ok_or_else(|| self.wrong(field, "a text"))
    }

    /// A text that may be left out; an empty one is left out.
    pub fn optional_text(self, field: &str) -> Result<Option<&'a str>, Rejection> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => {
                self.limit(field, "bytes", text.len(), PREDICATE_TEXT_BYTES_MAX)?;
                Ok(Some(text.as_str()).filter(|text| !text.is_empty()))
            }
            Some(_) => Err(self.wrong(field, "a text")),
        }
    }

    pub fn object(self, field: &str, what: &'static str) -> Result<Fields<'a>, Rejection> {
        self.optional_object(field, what)?.ok_or_else(|| self.wrong(field, "an object"))
    }

    pub fn optional_object(self, field: &str, what: &'static str) -> Result<Option<Fields<'a>>, Rejection> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Fields { fields, what })),
            Some(_) => Err(self.wrong(field, "an object")),
        }
    }

    pub fn list(self, field: &str, max: usize) -> Result<&'a [Value], Rejection> {
        self.optional_list(field, max)?.ok_or_else(|| self.wrong(field, "a list"))
    }

    pub fn optional_list(self, field: &str, max: usize) -> Result<Option<&'a [Value]>, Rejection> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Array(items)) => {
                self.limit(field, "items", items.len(), max)?;
                Ok(Some(items))
            }
            Some(_) => Err(self.wrong(field, "a list")),
        }
    }

    /// A list of objects that may be left out.
    pub fn objects(self, field: &str, what: &'static str, max: usize) -> Result<Vec<Fields<'a>>, Rejection> {
        let items = self.optional_list(field, max)?.unwrap_or_default();
        items.iter().map(|item| Fields::of(item, what)).collect()
    }

    /// A list of texts that may be left out.
    pub fn texts(self, field: &str) -> Result<Vec<String>, Rejection> {
        let items = self.optional_list(field, PARTS_MAX)?.unwrap_or_default();
        let text = |item: &Value| match item {
            Value::String(text) if !text.is_empty() => {
                self.limit(field, "bytes", text.len(), PREDICATE_TEXT_BYTES_MAX)?;
                Ok(text.clone())
            }
            other => Err(malformed(format_args!("each of `{field}` of {}", self.what), "a text", kind(Some(other)))),
        };
        items.iter().map(text).collect()
    }

    pub fn time(self, field: &str) -> Result<Timestamp, Rejection> {
        self.optional_time(field)?.ok_or_else(|| self.wrong(field, "a time"))
    }

    pub fn optional_time(self, field: &str) -> Result<Option<Timestamp>, Rejection> {
        let Some(text) = self.optional_text(field)? else { return Ok(None) };
        match text.parse::<Timestamp>() {
            // What rules can count in nanoseconds ends in 2262.
            Ok(time) if (0..LATEST_S).contains(&time.as_second()) => Ok(Some(time)),
            _ => Err(self.unexpected(field, "a time (RFC 3339) between 1970 and 2200", text)),
        }
    }

    /// A set of digests by algorithm (in-toto `DigestSet`) that may be left out.
    pub fn digests(self, field: &str) -> Result<BTreeMap<String, String>, Rejection> {
        let Some(set) = self.optional_object(field, "a set of digests")? else { return Ok(BTreeMap::new()) };
        set.limit("digests", "algorithms", set.fields.len(), PARTS_MAX)?;
        set.fields.keys().map(|name| Ok((name.clone(), set.text(name)?.to_owned()))).collect()
    }

    /// Digests in a list of objects (SPDX `checksums`, CycloneDX `hashes`) that may be left out.
    pub fn listed_digests(
        self,
        field: &str,
        algorithm: &str,
        value: &str,
    ) -> Result<BTreeMap<String, String>, Rejection> {
        let mut digests = BTreeMap::new();
        for digest in self.objects(field, "a digest", PARTS_MAX)? {
            let name = digest.text(algorithm)?.to_ascii_lowercase().replace('-', "");
            let hex = digest.text(value)?.to_ascii_lowercase();
            if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(digest.unexpected(value, "hex", &hex));
            }
            if digests.insert(name, hex.clone()).is_some_and(|other| other != hex) {
                return Err(digest.unexpected(value, "one digest for each algorithm", &hex));
            }
        }
        Ok(digests)
    }

    pub fn limit(self, field: &str, unit: &str, found: usize, max: usize) -> Result<(), Rejection> {
        if found <= max {
            return Ok(());
        }
        let expected = format!("`{field}` of {} to have at most {max} {unit}", self.what);
        Err(Rejection::mismatch(Code::LIMIT_EXCEEDED, expected, found))
    }
}

/// A predicate that is not of its type's shape.
pub(super) fn malformed(what: impl fmt::Display, expected: impl fmt::Display, found: impl fmt::Display) -> Rejection {
    Rejection::mismatch(Code::STATEMENT_MALFORMED, format_args!("{what} to be {expected}"), found)
}

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "none",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "a truth value",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(text)) if text.is_empty() => "an empty text",
        Some(Value::String(_)) => "a text",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "an object",
    }
}

/// 2200-01-01T00:00:00Z, in seconds.
const LATEST_S: i64 = 7_258_118_400;
