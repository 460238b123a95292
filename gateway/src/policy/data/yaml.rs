//! Data in YAML, read in one way only.

use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, MergeKeyPolicy};

use crate::policy::LoadError;
use crate::strict_json::MAX_DEPTH;

/// Whether a file's name says that it is YAML.
pub(super) fn is_yaml(name: &str) -> bool {
    [".yaml", ".yml"].iter().any(|suffix| name.ends_with(suffix))
}

/// Reads one document of YAML 1.2's core schema: `no` and `on` are texts, `012` is one, too. Anchors, aliases, merge keys, tags
/// of one's own, keys that are there twice and a second document are refused: each makes two readers see two things.
pub(super) fn parse(name: &str, text: &str) -> Result<Value, LoadError> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
        budget: serde_saphyr::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_documents: 1,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
        },
    };
    let value = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let report = error.to_string();
        LoadError::Yaml { name: name.into(), report: format!("\n{}", report.trim()) }
    });
    // An empty document is null, which is no data: most likely every line is still a comment.
    value.map(|value: Value| if value.is_null() { Value::Object(Default::default()) } else { value })
}

/// Values in one file; a file has at most [`crate::policy::MAX_FILE_BYTES`].
const MAX_NODES: usize = 100_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        parse("a.yaml", text).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_what_people_write() {
        let text = "# who signs\nwitgate:\n  grants:\n    - callers: [local]\n      imports:\n        - \"wasi:cli/*@0.2\"\n      \
                    lifetime_s: 60\n      native: true\n";
        let grant = json!({"callers": ["local"], "imports": ["wasi:cli/*@0.2"], "lifetime_s": 60, "native": true});
        assert_eq!(read(text).unwrap(), json!({"witgate": {"grants": [grant]}}));
        assert_eq!(read("# only a comment\n").unwrap(), json!({}));
    }

    #[test]
    fn a_text_that_older_readers_take_for_something_else_is_a_text() {
        for text in ["no", "off", "y", "NO", "On", "012", "0o12x", "2026-01-01", "1:30"] {
            assert_eq!(read(&format!("a: {text}")).unwrap(), json!({"a": text}), "{text}");
        }
        assert_eq!(read("a: true\nb: null\nc: 1\nd: '1'\n").unwrap(), json!({"a": true, "b": null, "c": 1, "d": "1"}));
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_refused() {
        for text in [
            "a: 1\na: 2\n",
            "a: &x 1\nb: *x\n",
            "a: &x 1\n",
            "a: {b: 1}\nc:\n  <<: {b: 2}\n",
            "a: !own 1\n",
            "a: 1\n---\nb: 2\n",
            "a: [1\n",
            "\ta: 1\n",
        ] {
            let error = read(text).expect_err(text);
            assert!(error.starts_with("cannot read the data of `a.yaml`"), "{error}");
        }
    }

    #[test]
    fn depth_and_number_have_limits() {
        let nested = |depth: usize| format!("a: {}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(MAX_DEPTH - 2)).is_ok());
        assert!(read(&nested(MAX_DEPTH + 1)).is_err());
        let many = |count: usize| format!("a: [{}]", "1,".repeat(count));
        assert!(read(&many(MAX_NODES - 10)).is_ok());
        assert!(read(&many(MAX_NODES + 1)).is_err());
    }

    #[test]
    fn says_where_it_stops() {
        let error = read("witgate:\n  grants: []\n  grants: []\n").unwrap_err();
        assert!(error.contains('3') && error.contains("grants"), "{error}");
    }
}
