//! The JSON Schema of a case, for people who write policies.

use crate::case::Case;

/// The schema of [`Case`] (JSON Schema 2020-12), as it stands in `policies/case.schema.json`.
pub fn case_schema() -> String {
    let schema = schemars::schema_for!(Case);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/case.schema.json");
        if std::env::var_os("WITGATE_UPDATE").is_some() {
            std::fs::write(path, case_schema()).unwrap();
        }
        let file = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            file == case_schema(),
            "`policies/case.schema.json` is old: write it with `WITGATE_UPDATE=1 cargo test`"
        );
    }
}
