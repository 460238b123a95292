//! What is read as YAML, what is refused, and where the fault is said to be.

use serde_json::json;

use super::*;
use crate::policy::bundle::{Bundle, Source};

fn value(text: &str) -> Value {
    parse("a.yaml", text).unwrap_or_else(|error| panic!("{error}: {text}")).value
}

fn refused(text: &str) -> String {
    match parse("a.yaml", text) {
        Ok(document) => panic!("taken as {}: {text}", document.value),
        Err(error) => error.to_string(),
    }
}

#[test]
fn yaml_is_the_json_that_it_means() {
    let text = "---
# who may
witgate:
  grants:
    - callers: [spiffe://prod.example/ns/*, \"local\"]   # two
      references:
        - ghcr.io/acme/cart
      native: true
      lifetime_s: 3600
      config:
        - { key: colour, value: 'no' }
        - key: note
          value: |
            two
            lines
";
    let expected = json!({"witgate": {"grants": [{
        "callers": ["spiffe://prod.example/ns/*", "local"], "references": ["ghcr.io/acme/cart"], "native": true,
        "lifetime_s": 3600, "config": [{"key": "colour", "value": "no"}, {"key": "note", "value": "two\nlines\n"}],
    }]}});
    assert_eq!(value(text), expected);
    // JSON is YAML.
    assert_eq!(value(&serde_json::to_string_pretty(&expected).unwrap()), expected);
    assert_eq!(
        value("a: -5\nb: 0\nc: false\nd: 1.4.0\ne: v1\nf: 2027-01-01T00:00:00Z\ng: '1.10'"),
        json!({
            "a": -5, "b": 0, "c": false, "d": "1.4.0", "e": "v1", "f": "2027-01-01T00:00:00Z", "g": "1.10",
        })
    );
}

#[test]
fn what_readers_take_in_different_ways_has_to_be_quoted() {
    for word in
        ["no", "No", "on", "OFF", "yes", "y", "012", "0x1F", "0o17", "1_000", "1.10", "1e3", ".5", "~", "null", "12:30"]
    {
        for text in
            [format!("a:\n  b: {word}\n"), format!("a:\n  b: [{word}, x]\n"), format!("a:\n  b: {word} # said\n")]
        {
            let error = refused(&text);
            let found =
                error.contains(&format!("`{word}`")) && error.contains("quote it") && error.starts_with("a.yaml:2:");
            assert!(found, "{error}: {text}");
        }
        assert_eq!(value(&format!("a: \"{word}\"")), json!({"a": word}));
        assert_eq!(value(&format!("a: '{word}'")), json!({"a": word}));
    }
    refused("a:\n");
}

#[test]
fn refuses_what_stands_for_something_else() {
    for text in [
        "a: &x [1]\n",
        "a: &x 1\nb: *x\n",
        "a: {b: 1}\n<<: {c: 1}\n",
        "a: !!str x\n",
        "a: !!binary aGk=\n",
        "a: !include b.yaml\n",
        "a: !own {b: 1}\n",
        "a: !!int \"5\"\n",
        "a: 1\na: 2\n",
        "a: {b: 1, \"b\": 2}\n",
        "a: 1\n---\nb: 1\n",
        "a: 1\n...\n---\nb: 1\n",
        "a: [1\n",
        "a:\n\tb: 1\n",
        "a: 'x\n",
        "a: .inf\n",
        "a: .nan\n",
        "? [a]\n: 1\n",
    ] {
        let error = refused(text);
        assert!(error.starts_with("a.yaml:"), "{error}");
    }
}

#[test]
fn a_fault_is_in_words_for_whoever_wrote_the_file() {
    assert_eq!(refused("a: &x [1]\n"), "a.yaml:1:7: anchors and aliases are not read: write it out");
    assert_eq!(refused("a: 1\na: 2\n"), "a.yaml:2:1: this key stands twice in one object");
    assert_eq!(refused("a: 1\n---\nb: 1\n"), "a.yaml:2:1: expected one document, found another behind `---`");
    assert_eq!(refused("a: !!str x\n"), "a.yaml:1:10: tags (`!…`) are not read: quote a text that begins with `!`");
    assert_eq!(refused("a: {b: 1}\n<<: {c: 1}\n"), "a.yaml:2:1: merge keys (`<<`) are not read: write it out");
    assert_eq!(refused("a: [1\n"), "a.yaml:1:4: unclosed bracket '['");
}

#[test]
fn holds_its_limits() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse("a.yaml", &nested(MAX_DEPTH)).is_ok());
    refused(&nested(MAX_DEPTH + 1));
    let maps = |depth: usize| {
        (0..depth).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>() + &" ".repeat(depth) + "x\n"
    };
    assert!(parse("a.yaml", &maps(MAX_DEPTH)).is_ok());
    refused(&maps(MAX_DEPTH + 1));
    refused(&"[".repeat(200_000));
    let many = |count| format!("[{}]", "1,".repeat(count));
    assert!(parse("a.yaml", &many(1000)).is_ok());
    refused(&many(MAX_NODES + 1));
}

fn load(text: &str) -> String {
    let mut bundle = Bundle::from_sources(Vec::new(), &json!({}), "t", "1").unwrap();
    bundle.data_over = vec![Source { name: "site.yaml".into(), text: text.into() }];
    super::super::load(&bundle).map_or_else(|error| error.to_string(), |value| value.to_string())
}

#[test]
fn a_fault_has_file_line_and_column() {
    let text = "witgate:\n  versions:\n    - references: [ghcr.io/acme/*]\n      minimum: 1.10\n";
    let said = "site.yaml:4:16: `1.10` is a number here, and something else to others: quote it if it is a text, or write a whole \
                decimal number";
    assert_eq!(load(text), said);
    let text = "witgate:\n  grants:\n    - callers: [local]\n      references: ['*']\n      imports:\n        - wasi:io/*@0.2\n        - '*'\n";
    let error = load(text);
    assert!(error.starts_with("site.yaml:7:11: `witgate.grants[0].imports[1]`: expected `ns:package"), "{error}");
    let text = "witgate:\n  versions:\n    - references: ['*']\n      minimum: 5\n";
    let error = load(text);
    assert!(
        error.starts_with("site.yaml:3:7: `witgate.versions[0]`: invalid type: integer `5`, expected a string"),
        "{error}"
    );
    assert!(error.ends_with("put it into quotes if it is a text"), "{error}");
    assert_eq!(load("witgate: {versions: []}\n"), "{\"witgate\":{\"versions\":[]}}");
    assert_eq!(load("- a\n"), "site.yaml: `data`: expected an object, such as `{\"witgate\":{\"grants\":[]}}`");
}
