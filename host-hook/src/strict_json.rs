//! JSON in which no object says a key twice.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, de::DeserializeOwned};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may nest (design, "Limits").
pub const MAX_DEPTH: usize = 32;

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
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut deserializer).map_err(not_strict)?;
    deserializer.end().map_err(not_strict)?;
    Ok(value)
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

#[allow(clippy::needless_pass_by_value, reason = "used as a function value")]
fn not_strict(error: serde_json::Error) -> NotStrict {
    NotStrict { detail: error.to_string() }
}

struct Strict {
    depth: usize,
}

impl Strict {
    fn inner<E: serde::de::Error>(&self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
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
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner()?)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self.inner()?)?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("key `{key}` stands twice")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_serde_json_reads() {
        let text = br#"{"a":[1,-2,3.5,"x",null,true,{"b":{}}],"c":18446744073709551615}"#;
        assert_eq!(value(text).unwrap(), serde_json::from_slice::<Value>(text).unwrap());
    }

    #[test]
    fn refuses_a_key_that_stands_twice_at_any_depth() {
        assert!(value(br#"{"a":1,"a":1}"#).unwrap_err().detail.contains("key `a` stands twice"));
        assert!(value(br#"[{"x":{"a":1,"b":2,"a":1}}]"#).is_err());
        assert!(value(br#"{"a":1,"\u0061":1}"#).is_err(), "an escaped key is the same key");
    }

    #[test]
    fn depth_ends_at_the_limit() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(value(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(value(nested(MAX_DEPTH + 1).as_bytes()).is_err());
    }

    #[test]
    fn refuses_what_stands_behind_the_value() {
        assert!(value(b"{} {}").is_err());
        assert!(value(b"{}\n ").is_ok());
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
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = value(&bytes);
        }
    }
}
