//! JSON that can be read in one way only: no duplicate keys, no deep nesting, nothing behind the document.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting of arrays and objects that witgate reads anywhere (`design.md` §12; serde_json's own limit is 128).
pub const MAX_DEPTH: usize = 32;

/// Why a text is not strict JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrictJsonError {
    /// An object names one key twice: readers disagree on which one counts.
    #[error("key `{key}` stands twice in one object")]
    DuplicateKey {
        /// The key, cut to 64 characters.
        key: String,
    },
    /// Arrays and objects are nested deeper than the limit.
    #[error("nested deeper than {max_depth} levels")]
    TooDeep {
        /// The limit, in levels.
        max_depth: usize,
    },
    /// It is no JSON (RFC 8259), or something stands behind the document.
    #[error("no JSON at line {line}, column {column}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 0.
        column: usize,
    },
}

/// Reads one JSON document (RFC 8259, UTF-8, no byte order mark); a scalar has depth 0, `[]` depth 1.
///
/// Bound the size of `bytes` before the call. Use this before every typed parse of foreign JSON: serde takes the last of
/// two equal keys in maps, which is how two readers come to see two documents.
pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Value, StrictJsonError> {
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let node = Node { levels_left: max_depth, max_depth, fault: &mut fault };
    let parsed = node.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| fault.unwrap_or(StrictJsonError::Syntax { line: error.line(), column: error.column() }))
}

/// A text that is not the JSON that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct NotStrict {
    /// What was expected and where, as the parser says it.
    pub detail: String,
}

/// Reads one JSON value: no duplicate keys, at most [`MAX_DEPTH`] levels, nothing behind it.
///
/// # Errors
/// [`NotStrict`] with the position.
pub fn value(bytes: &[u8]) -> Result<Value, NotStrict> {
    parse(bytes, MAX_DEPTH).map_err(|error| NotStrict { detail: error.to_string() })
}

/// Reads one JSON object into `T`, strictly.
///
/// # Errors
/// [`NotStrict`] with the position, or with the field that does not fit.
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotStrict> {
    let value = value(bytes)?;
    if !value.is_object() {
        return Err(NotStrict { detail: "expected a JSON object".into() });
    }
    serde_json::from_value(value).map_err(not_strict)
}

/// For fields that may be `null` but must be there: without it serde takes an absent `Option` for `None`.
///
/// # Errors
/// Those of `T`.
pub fn present<'de, D: Deserializer<'de>, T: serde::Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    serde::Deserialize::deserialize(deserializer)
}

/// For fields that may be absent but not `null`, with `#[serde(default)]`: without it serde takes `null` for absent.
///
/// # Errors
/// Those of `T`.
pub fn not_null<'de, D: Deserializer<'de>, T: serde::Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[allow(clippy::needless_pass_by_value, reason = "used as a function value")]
fn not_strict(error: serde_json::Error) -> NotStrict {
    NotStrict { detail: error.to_string() }
}

/// Builds one value, with the nesting that is still allowed below it.
struct Node<'a> {
    levels_left: usize,
    max_depth: usize,
    /// serde's errors carry text only, so the fact travels beside them.
    fault: &'a mut Option<StrictJsonError>,
}

impl Node<'_> {
    fn enter<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        self.levels_left.checked_sub(1).ok_or_else(|| {
            *self.fault = Some(StrictJsonError::TooDeep { max_depth: self.max_depth });
            E::custom("nested too deep")
        })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let levels_left = self.enter()?;
        let mut values = Vec::new();
        while let Some(value) =
            items.next_element_seed(Node { levels_left, max_depth: self.max_depth, fault: &mut *self.fault })?
        {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<Value, A::Error> {
        let levels_left = self.enter()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                *self.fault = Some(StrictJsonError::DuplicateKey { key: key.chars().take(SHOWN_CHARS).collect() });
                return Err(serde::de::Error::custom("duplicate key"));
            }
            let value =
                entries.next_value_seed(Node { levels_left, max_depth: self.max_depth, fault: &mut *self.fault })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// How much of a foreign key an error repeats, in characters.
const SHOWN_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn refuses_duplicate_keys_at_every_level() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"b":2,"a":3}]}"#, "{\"a\":1,\"\\u0061\":2}"] {
            assert_eq!(parse(text.as_bytes(), 32), Err(StrictJsonError::DuplicateKey { key: "a".into() }), "{text}");
        }
        assert_eq!(parse(br#"{"a":{"a":1},"A":2}"#, 32), Ok(json!({"a": {"a": 1}, "A": 2})));
    }

    #[test]
    fn takes_the_depth_limit_but_nothing_past_it() {
        assert!(parse(nested(MAX_DEPTH).as_bytes(), MAX_DEPTH).is_ok());
        let too_deep = Err(StrictJsonError::TooDeep { max_depth: MAX_DEPTH });
        assert_eq!(parse(nested(MAX_DEPTH + 1).as_bytes(), MAX_DEPTH), too_deep);
        assert_eq!(parse("[".repeat(1_000_000).as_bytes(), MAX_DEPTH), too_deep);
        assert_eq!(parse("{\"a\":".repeat(1_000_000).as_bytes(), MAX_DEPTH), too_deep);
        assert_eq!(parse(b"1", 0), Ok(json!(1)));
    }

    #[test]
    fn refuses_what_is_no_single_json_document() {
        for text in
            ["", " ", "{} {}", "{}x", "\u{feff}{}", "NaN", "{a:1}", "[1,]", "1e999", "'a'", "// x\n1", "\"\u{1}\""]
        {
            assert!(matches!(parse(text.as_bytes(), 32), Err(StrictJsonError::Syntax { .. })), "`{text}` was taken");
        }
        assert!(matches!(parse(b"\"\xff\"", 32), Err(StrictJsonError::Syntax { .. })));
    }

    #[test]
    fn sizes_that_are_no_u64_do_not_become_one() {
        assert_eq!(parse(b"18446744073709551615", 32).unwrap().as_u64(), Some(u64::MAX));
        for text in ["18446744073709551616", "-5", "1.0", "1e3"] {
            assert_eq!(parse(text.as_bytes(), 32).unwrap().as_u64(), None, "`{text}` was taken");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn an_object_is_no_array() {
        #[derive(serde::Deserialize, Debug)]
        struct Pair {
            #[allow(dead_code, reason = "only its shape matters")]
            a: u8,
        }
        assert!(object::<Pair>(b"[1]").is_err());
        assert!(object::<Pair>(br#"{"a":1}"#).is_ok());
        assert!(object::<Pair>(br#"{"a":1,"a":1}"#).unwrap_err().detail.contains("stands twice"));
    }

    proptest! {
        #[test]
        fn reads_back_what_serde_json_prints(value in any_json()) {
            prop_assert_eq!(parse(&serde_json::to_vec(&value).unwrap(), 32), Ok(value));
        }

        #[test]
        fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&bytes, 4);
        }
    }
}
