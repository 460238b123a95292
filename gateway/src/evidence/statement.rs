//! An in-toto statement: what is said of which artifacts (in-toto/attestation `spec/v1/statement.md`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::foreign_json::{Document, limit, texts};
use super::limits::{STATEMENT_BREADTH_MAX, STATEMENT_BYTES_MAX, STATEMENT_DEPTH_MAX, SUBJECTS_MAX};
use super::rejection::Rejection;
use crate::case::Digest;
use crate::reason::Code;

/// The predicate type of cosign v3's signatures (sigstore/cosign `specs/BUNDLE_SPEC.md`).
pub(super) const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
/// The statement types that are read.
const TYPES: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];
/// Past this, JSON readers disagree on an integer's value (RFC 7493, 2.2), and canonical JSON changes it.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// A statement as it is signed.
const STATEMENT: Document<'static> = Document {
    name: "statement",
    bytes_max: STATEMENT_BYTES_MAX,
    breadth_max: STATEMENT_BREADTH_MAX,
    depth_max: STATEMENT_DEPTH_MAX,
    malformed: Code::STATEMENT_MALFORMED,
};

/// What an envelope says, before or after its signature was verified: see who holds it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    pub(super) predicate_type: String,
    pub(super) predicate: Option<Value>,
    /// The SHA-256 digests of its subjects, as they are written.
    sha256: Vec<String>,
    /// The annotations of its subjects by those digests: where cosign v3 puts what `cosign sign -a` was given.
    annotations: BTreeMap<String, BTreeMap<String, String>>,
}

impl Statement {
    /// Reads a payload.
    pub(super) fn read(payload: &[u8]) -> Result<Self, Rejection> {
        let value = STATEMENT.read(payload)?;
        let Value::Object(mut fields) = value else {
            return Err(malformed("a statement is a JSON object"));
        };
        match fields.get("_type").and_then(Value::as_str) {
            Some(kind) if TYPES.contains(&kind) => {}
            found => return Err(mismatch(format!("`_type` to be `{}`", TYPES[0]), found.unwrap_or("none"))),
        }
        let Some(Value::String(predicate_type)) = fields.remove("predicateType") else {
            return Err(mismatch("`predicateType` to be a text", "none"));
        };
        if predicate_type.is_empty() {
            return Err(mismatch("`predicateType` to name one", "an empty text"));
        }
        let sha256 = subjects(fields.get("subject"))?;
        let annotations =
            if predicate_type == COSIGN_SIGN { annotations(fields.get("subject")) } else { BTreeMap::new() };
        let predicate = fields.remove("predicate");
        if let Some(predicate) = &predicate {
            integers_are_exact(predicate)?;
        }
        Ok(Self { predicate_type, predicate, sha256, annotations })
    }

    /// Whether one of the subjects is exactly `digest`, in lower-case hex.
    pub(super) fn is_about(&self, digest: Digest) -> bool {
        let expected = digest.hex();
        self.sha256.contains(&expected)
    }

    /// The annotations of the subject that is exactly `digest`.
    pub(super) fn take_annotations(&mut self, digest: Digest) -> BTreeMap<String, String> {
        self.annotations.remove(&digest.hex()).unwrap_or_default()
    }

    /// Its subjects for a person: the first few.
    pub(super) fn subjects_shown(&self) -> String {
        match &self.sha256[..] {
            [] => "no subject with a SHA-256".to_owned(),
            [one] => format!("`sha256:{one}`"),
            [first, others @ ..] => format!("`sha256:{first}` and {} more", others.len()),
        }
    }
}

/// The SHA-256 digests of the subjects; subjects with other digests only are passed over.
fn subjects(subject: Option<&Value>) -> Result<Vec<String>, Rejection> {
    let Some(Value::Array(subjects)) = subject else {
        return Err(mismatch("`subject` to be a list", "none"));
    };
    if subjects.is_empty() {
        return Err(mismatch("`subject` to name an artifact", "an empty list"));
    }
    limit("a statement", "subjects", subjects.len(), SUBJECTS_MAX)?;
    let mut sha256 = Vec::new();
    for subject in subjects {
        let Some(digests) = subject.get("digest").and_then(Value::as_object) else {
            return Err(mismatch("each subject to have a `digest`", "one without"));
        };
        match digests.get("sha256") {
            Some(Value::String(digest)) => sha256.push(digest.clone()),
            Some(_) => return Err(mismatch("`sha256` to be a text", "something else")),
            None => {}
        }
    }
    Ok(sha256)
}

/// The texts among the annotations of each subject; of two subjects with one digest the first counts.
fn annotations(subject: Option<&Value>) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut annotations = BTreeMap::new();
    for subject in subject.and_then(Value::as_array).into_iter().flatten() {
        if let Some(sha256) = subject.pointer("/digest/sha256").and_then(Value::as_str) {
            annotations.entry(sha256.to_owned()).or_insert_with(|| texts(subject.get("annotations")));
        }
    }
    annotations
}

fn integers_are_exact(value: &Value) -> Result<(), Rejection> {
    match value {
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            match magnitude {
                Some(magnitude) if magnitude > INTEGER_MAX => {
                    Err(mismatch(format!("integers of at most {INTEGER_MAX} in the predicate"), number))
                }
                _ => Ok(()),
            }
        }
        Value::Array(values) => values.iter().try_for_each(integers_are_exact),
        Value::Object(fields) => fields.values().try_for_each(integers_are_exact),
        _ => Ok(()),
    }
}

fn malformed(detail: impl AsRef<str>) -> Rejection {
    Rejection::new(Code::STATEMENT_MALFORMED, format!("the statement cannot be read: {}", detail.as_ref()))
}

fn mismatch(expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Rejection {
    Rejection::mismatch(Code::STATEMENT_MALFORMED, expected, format!("`{found}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statement() -> Value {
        json!({
            "_type": TYPES[0],
            "subject": [{"digest": {"sha256": Digest::of(b"x").hex()}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {"a": 1},
        })
    }

    fn code_of(change: impl FnOnce(&mut Value)) -> Code {
        let mut statement = statement();
        change(&mut statement);
        Statement::read(&serde_json::to_vec(&statement).unwrap()).unwrap_err().code
    }

    #[test]
    fn reads_a_statement() {
        let read = Statement::read(&serde_json::to_vec(&statement()).unwrap()).unwrap();
        assert!(read.is_about(Digest::of(b"x")));
        assert!(!read.is_about(Digest::of(b"y")));
        assert_eq!(read.predicate, Some(json!({"a": 1})));
    }

    #[test]
    fn a4_2_what_is_no_statement_is_refused() {
        for change in [
            |statement: &mut Value| statement["_type"] = json!("https://in-toto.io/Statement/v2"),
            |statement: &mut Value| statement["_type"] = json!(null),
            |statement: &mut Value| statement["subject"] = json!([]),
            |statement: &mut Value| statement["subject"] = json!({}),
            |statement: &mut Value| statement["subject"] = json!([{"name": "x"}]),
            |statement: &mut Value| statement["subject"] = json!([{"digest": {"sha256": 1}}]),
            |statement: &mut Value| statement["predicateType"] = json!(""),
            |statement: &mut Value| statement["predicateType"] = json!(7),
            |statement: &mut Value| statement["predicate"] = json!([[INTEGER_MAX + 1]]),
            |statement: &mut Value| statement["predicate"] = json!({"a": -9_007_199_254_740_993_i64}),
            |statement: &mut Value| *statement = json!([]),
        ] {
            assert_eq!(code_of(change), Code::STATEMENT_MALFORMED);
        }
        assert_eq!(Statement::read(b"{\"_type\":1,\"_type\":2}").unwrap_err().code, Code::STATEMENT_MALFORMED);
    }

    #[test]
    fn holds_its_limits() {
        let with_subjects = |count: usize| {
            let mut statement = statement();
            statement["subject"] = vec![statement["subject"][0].clone(); count].into();
            Statement::read(&serde_json::to_vec(&statement).unwrap()).map_err(|rejection| rejection.code)
        };
        assert!(with_subjects(SUBJECTS_MAX).is_ok());
        assert_eq!(with_subjects(SUBJECTS_MAX + 1).unwrap_err(), Code::LIMIT_EXCEEDED);

        let sized = |bytes: usize| {
            let mut payload = serde_json::to_vec(&statement()).unwrap();
            payload.resize(bytes, b' ');
            Statement::read(&payload).map_err(|rejection| rejection.code)
        };
        assert!(sized(STATEMENT_BYTES_MAX).is_ok());
        assert_eq!(sized(STATEMENT_BYTES_MAX + 1).unwrap_err(), Code::LIMIT_EXCEEDED);

        let broad = |values: usize| {
            let mut statement = statement();
            statement["predicate"] = vec![json!(0); values].into();
            Statement::read(&serde_json::to_vec(&statement).unwrap()).map_err(|rejection| rejection.code)
        };
        // Around the predicate there are three commas, one bracket and three braces; in it values and commas are even.
        assert!(broad(STATEMENT_BREADTH_MAX - 7).is_ok());
        assert_eq!(broad(STATEMENT_BREADTH_MAX - 6).unwrap_err(), Code::LIMIT_EXCEEDED);

        let deep = |levels: usize| {
            let mut statement = statement();
            statement["predicate"] = (0..levels).fold(json!(1), |inner, _| json!([inner]));
            Statement::read(&serde_json::to_vec(&statement).unwrap()).map_err(|rejection| rejection.code)
        };
        assert!(deep(STATEMENT_DEPTH_MAX - 1).is_ok());
        assert_eq!(deep(STATEMENT_DEPTH_MAX).unwrap_err(), Code::STATEMENT_MALFORMED);
        let mut exact = statement();
        exact["predicate"] = json!({"a": INTEGER_MAX, "b": 0.5});
        assert!(Statement::read(&serde_json::to_vec(&exact).unwrap()).is_ok());
    }
}
