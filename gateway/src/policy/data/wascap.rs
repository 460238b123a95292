//! `data.witgate.wascap`: whose wasmCloud 1.x tokens stand in for a signature, until when.

use serde::Deserialize;

use super::text::{REFERENCE, each, is_reference_pattern, is_time};
use super::{LoadError, fault};
use crate::nkey::{Kind, Nkey};

/// One permission.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    references: Vec<String>,
    issuers: Vec<String>,
    sunset: String,
    #[serde(default, deserialize_with = "crate::strict_json::not_null")]
    subjects: Option<Vec<String>>,
}

impl Entry {
    pub(super) fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        each(name, at, "references", &self.references, is_reference_pattern, REFERENCE)?;
        nkeys(name, &format!("{at}.issuers"), &self.issuers, Kind::Account)?;
        nkeys(name, &format!("{at}.subjects"), self.subjects.as_deref().unwrap_or_default(), Kind::Module)?;
        if !is_time(&self.sunset) {
            let found = self.sunset.escape_debug();
            let detail = format!("expected a time in UTC such as `2027-01-01T00:00:00Z`, found `{found}`");
            return Err(fault(name, &format!("{at}.sunset"), &detail));
        }
        Ok(())
    }
}

/// The fault never repeats the text: it may be a seed that somebody took for the key.
fn nkeys(name: &str, at: &str, texts: &[String], kind: Kind) -> Result<(), LoadError> {
    texts.iter().enumerate().try_for_each(|(index, text)| match Nkey::of_kind(kind, text) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(fault(name, &format!("{at}[{index}]"), &format!("expected the nkey of {kind}, found {error}")))
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Bundle, load};

    const ACCOUNT: &str = "ADLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRVRTU";
    const MODULE: &str = "MA6UAF6D5BBYSWUSW4FKOTI3P26JZGBMZ4XMJFUMYDGVL4JK6RTAYU6I";
    const SEED: &str = "SAAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YHY3Q";

    fn load_with(field: &str, value: &Value) -> Result<Value, String> {
        let mut entry = json!({"references": ["*"], "issuers": [ACCOUNT], "sunset": "2027-01-01T00:00:00Z"});
        entry[field] = value.clone();
        let data = json!({"witgate": {"wascap": [entry]}});
        load(&Bundle::from_sources(Vec::new(), &data, "t", "1").unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn takes_what_docs_show() {
        load_with("references", &json!(["ghcr.io/acme/*"])).unwrap();
        load_with("issuers", &json!([])).unwrap();
        load_with("subjects", &json!([MODULE])).unwrap();
        load_with("sunset", &json!("2026-06-30T12:30:00.5Z")).unwrap();
    }

    #[test]
    fn refuses_misspelt_and_half_filled_entries() {
        for (field, value) in [
            ("references", json!(["ghcr.io/acme/cart:1"])),
            ("references", json!("*")),
            ("issuers", json!(ACCOUNT)),
            ("issuers", json!(["*"])),
            ("issuers", json!([MODULE])),
            ("issuers", json!([ACCOUNT.to_lowercase()])),
            ("issuers", json!([ACCOUNT.replace("TU", "TV")])),
            ("subjects", json!([ACCOUNT])),
            ("subjects", json!(null)),
            ("subject", json!([MODULE])),
            ("sunset", json!("2027-01-01")),
            ("sunset", json!("2027-01-01T00:00:00+00:00")),
            ("sunset", json!("2027-01-01T02:00:00+02:00")),
            ("sunset", json!("2027-01-01t00:00:00z")),
            ("sunset", json!("2027-01-01 00:00:00Z")),
            ("sunset", json!("2027-02-30T00:00:00Z")),
            ("sunset", json!("9999-01-01T00:00:00Z")),
            ("sunset", json!("never")),
            ("sunset", json!(null)),
            ("sunset", json!(1_798_761_600)),
        ] {
            load_with(field, &value).expect_err(&format!("`{value}` was taken in `{field}`"));
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_key_and_never_repeats_a_seed() {
        let error = load_with("issuers", &json!([ACCOUNT, MODULE])).unwrap_err();
        assert_eq!(
            error,
            "data.json: `witgate.wascap[0].issuers[1]`: expected the nkey of an account, found an nkey of a module (`M…`), \
             expected an account (`A…`)"
        );
        let error = load_with("issuers", &json!([SEED])).unwrap_err();
        assert!(error.contains("a seed, which is secret") && !error.contains(SEED), "{error}");
    }
}
