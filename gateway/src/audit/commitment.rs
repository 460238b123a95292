//! Salted commitments that stand in for personal fields, so that redaction keeps every hash.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::case::{Digest, canonical_json};

/// The length of a salt, in bytes.
pub const SALT_BYTES: usize = 16;
/// What opens the text that stands in for a committed value.
const PREFIX: &str = "salted-sha256:";
/// The same where a text begins.
const QUOTED_PREFIX: &str = "\"salted-sha256:";
/// The length of a stand-in: its prefix and 64 hex digits, in bytes.
const STAND_IN_BYTES: usize = PREFIX.len() + 64;

/// What a commitment hides: deleting it redacts the field.
#[derive(Clone, Debug, PartialEq)]
pub struct Disclosure {
    /// Where the value stands in the body (RFC 6901).
    pub pointer: String,
    /// Random, one for each field.
    pub salt: [u8; SALT_BYTES],
    /// The value.
    pub value: Value,
}

impl Disclosure {
    /// SHA-256 of the canonical JSON array `[base64url(salt), pointer, value]`: each part has its boundary.
    pub fn commitment(&self) -> Digest {
        let parts = (URL_SAFE_NO_PAD.encode(self.salt), &self.pointer, &self.value);
        Digest::of(&canonical_json(&parts))
    }

    /// The text that stands in the body: `salted-sha256:` and 64 hex digits.
    pub fn stand_in(&self) -> String {
        format!("{PREFIX}{}", self.commitment().hex())
    }
}

/// The text that stands in for a value of which only the canonical JSON is at hand: nothing is parsed to find out.
pub(super) fn stand_in_of(pointer: &str, salt: &[u8; SALT_BYTES], canonical_value: &[u8]) -> String {
    let (salt, pointer) = (URL_SAFE_NO_PAD.encode(salt), serde_json::Value::from(pointer).to_string());
    let parts = [b"[\"", salt.as_bytes(), b"\",", pointer.as_bytes(), b",", canonical_value, b"]"];
    format!("{PREFIX}{}", Digest::of(&parts.concat()).hex())
}

/// A body with values put back in place of their commitments, as text, and how many were. `canonical_values` are what
/// [`stand_in_of`] was made of: each is put back in one place at most.
///
/// A stand-in is told from a text that happens to read so by its hash, for which the salt would have had to be known before it
/// was drawn; and by what stands around it, which no text inside another has.
pub(super) fn put_back(body: &str, canonical_values: &mut BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut whole = Vec::with_capacity(body.len());
    let mut rest_from = 0;
    for (at, _) in body.match_indices(QUOTED_PREFIX) {
        let (start, end) = (at + 1, at + 1 + STAND_IN_BYTES);
        let begins = at.checked_sub(1).is_some_and(|before| matches!(body.as_bytes()[before], b':' | b',' | b'['));
        let ends = body.as_bytes().get(end) == Some(&b'"');
        let Some(value) =
            body.get(start..end).filter(|_| begins && ends).and_then(|text| canonical_values.remove(text))
        else {
            continue;
        };
        whole.extend_from_slice(&body.as_bytes()[rest_from..at]);
        whole.extend_from_slice(&value);
        rest_from = end + 1;
    }
    whole.extend_from_slice(&body.as_bytes()[rest_from..]);
    whole
}

/// Replaces the value at each pointer by its commitment; `salts` holds [`SALT_BYTES`] for each.
pub(super) fn commit(body: &mut Value, pointers: &[String], salts: &[u8]) -> Vec<Disclosure> {
    assert_eq!(salts.len(), pointers.len() * SALT_BYTES, "each committed field has a salt");
    let fields = pointers.iter().zip(salts.as_chunks::<SALT_BYTES>().0);
    fields
        .map(|(pointer, salt)| {
            let place = body.pointer_mut(pointer).expect("a personal field was found at this pointer");
            let disclosure = Disclosure { pointer: pointer.clone(), salt: *salt, value: place.take() };
            *place = Value::String(disclosure.stand_in());
            disclosure
        })
        .collect()
}

/// Puts a value back; `false` when the body holds no commitment to it there.
pub(super) fn disclose(body: &mut Value, disclosure: &Disclosure) -> bool {
    match body.pointer_mut(&disclosure.pointer) {
        Some(place) if place.as_str() == Some(&disclosure.stand_in()) => {
            *place = disclosure.value.clone();
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn disclosure(pointer: &str, value: Value) -> Disclosure {
        Disclosure { pointer: pointer.into(), salt: std::array::from_fn(|at| at as u8), value }
    }

    #[test]
    fn the_vector_is_met() {
        let vector = disclosure("/caller/spiffe_id", json!("spiffe://acme/ns/shop"));
        assert_eq!(vector.commitment().hex(), "f25979fda7887667d4c861a4d1b5b9055dcd3324f4815e6669ea3cb2b5b72cb3");
    }

    #[test]
    fn pointer_and_value_have_a_boundary() {
        assert_ne!(disclosure("/a", json!("b/c")).commitment(), disclosure("/ab", json!("/c")).commitment());
    }

    proptest! {
        #[test]
        fn what_was_committed_is_put_back(id in ".{0,40}", text in ".{0,40}", salts: [u8; 32]) {
            let body = json!({"case": {"caller": {"id": id}}, "list": [{"a/b~c": text}]});
            let pointers = ["/case/caller/id".to_owned(), "/list/0/a~1b~0c".to_owned()];
            let mut committed = body.clone();
            let disclosures = commit(&mut committed, &pointers, &salts);
            let printed = committed.to_string();
            prop_assert!(id.len() < 12 || !printed.contains(&id));
            prop_assert!(text.len() < 12 || !printed.contains(&text));
            for disclosure in &disclosures {
                prop_assert!(disclose(&mut committed, disclosure));
                prop_assert!(!disclose(&mut committed, disclosure) || disclosure.value.as_str() == Some(&disclosure.stand_in()));
            }
            prop_assert_eq!(committed, body);
        }
    }

    proptest! {
        /// The two ways to put values back agree: by pointer in what was parsed, by commitment in the text.
        #[test]
        fn text_is_put_back_as_values_are(id in ".{0,40}", text in "[\"\\\\\u{1}-\u{7f}é]{0,20}", salts: [u8; 48]) {
            let body = json!({"id": id, "list": [{"a/b~c": text}, [text]], "other": {"x\"y": 1.5}});
            let pointers = ["/id".to_owned(), "/list/0/a~1b~0c".to_owned(), "/other".to_owned()];
            let mut committed = body.clone();
            let disclosures = commit(&mut committed, &pointers, &salts);
            let mut values = BTreeMap::new();
            for disclosure in &disclosures {
                let value = canonical_json(&disclosure.value);
                let stand_in = stand_in_of(&disclosure.pointer, &disclosure.salt, &value);
                prop_assert_eq!(&stand_in, &disclosure.stand_in());
                values.insert(stand_in, value);
            }
            let whole = put_back(&String::from_utf8(canonical_json(&committed)).unwrap(), &mut values);
            prop_assert_eq!(whole, canonical_json(&body));
            prop_assert!(values.is_empty());
        }
    }

    #[test]
    fn a_commitment_inside_another_text_or_twice_is_left_alone() {
        let stand_in = stand_in_of("/id", &[7; 16], b"1");
        let put = |body: &str| {
            let mut values = BTreeMap::from([(stand_in.clone(), b"1".to_vec())]);
            (String::from_utf8(put_back(body, &mut values)).unwrap(), values.is_empty())
        };
        for body in [
            format!("[\"x\\\"{stand_in}\"]"),
            format!("[\"{stand_in}x\"]"),
            format!("[\"{stand_in}\\\"\"]"),
            format!("[\"x{stand_in}\"]"),
            "[\"salted-sha256:\"]".to_owned(),
            "[\"salted-sha256:é".to_owned(),
        ] {
            assert_eq!(put(&body), (body.clone(), false));
        }
        let body = |value: &str| format!("{{\"a\":{value},\"b\":[\"{stand_in}\"]}}");
        assert_eq!(put(&body(&format!("\"{stand_in}\""))), (body("1"), true));
    }

    #[test]
    fn a_disclosure_of_something_else_is_refused() {
        let mut body = json!({"id": "x"});
        let disclosures = commit(&mut body, &["/id".to_owned()], &[7; 16]);
        let mut other = disclosures[0].clone();
        other.value = json!("y");
        assert!(!disclose(&mut body, &other));
        other = disclosures[0].clone();
        other.salt[0] ^= 1;
        assert!(!disclose(&mut body, &other));
        other = disclosures[0].clone();
        other.pointer = "/gone".into();
        assert!(!disclose(&mut body, &other));
    }
}
