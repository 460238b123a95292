//! Salted commitments that stand in for personal fields, so that redaction keeps every hash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::case::{Digest, canonical_json};

/// The length of a salt, in bytes.
pub const SALT_BYTES: usize = 16;
/// What opens the text that stands in for a committed value.
const PREFIX: &str = "salted-sha256:";

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
