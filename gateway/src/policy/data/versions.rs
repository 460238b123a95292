//! The list `versions`: how old what some references name may be.

use serde::Deserialize;

use super::text::{REFERENCE, each, expect, has_short_numbers, is_reference_pattern};
use crate::policy::LoadError;

/// The least version of some references.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionEntry {
    references: Vec<String>,
    minimum: String,
}

impl VersionEntry {
    pub(super) fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        each(name, at, "references", &self.references, is_reference_pattern, REFERENCE)?;
        // A minimum that cannot be compared would be met by nobody, and an entry for nothing is a mistake.
        expect(!self.references.is_empty(), name, &format!("{at}.references"), "[]", REFERENCE)?;
        expect(is_version(&self.minimum), name, &format!("{at}.minimum"), &self.minimum, VERSION)
    }
}

/// Semantic Versioning 2.0.0, as `semver.is_valid` of the rules takes it.
fn is_version(text: &str) -> bool {
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
            && part.parse::<u64>().is_ok()
    };
    let is_word =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_pre = |part: &str| is_word(part) && (!part.bytes().all(|byte| byte.is_ascii_digit()) || no_zero(part));
    text.len() <= VERSION_BYTES_MAX
        && has_short_numbers(text)
        && core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| pre.split('.').all(is_pre))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

fn no_zero(digits: &str) -> bool {
    digits.len() == 1 || !digits.starts_with('0')
}

const VERSION: &str = "a semantic version such as `1.4.0`";
/// The longest minimum, in bytes; those in the field have 30.
const VERSION_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimum_is_a_version_that_rules_can_compare() {
        let mut engine = regorus::Engine::new();
        let good = ["0.0.0", "1.4.0", "1.4.0-rc.1", "1.4.0-0a.x-y", "1.4.0+007", "1.4.0-rc.1+build.5", "10.20.30"];
        let bad =
            ["", "1", "1.4", "v1.4.0", "1.4.0.0", "01.4.0", "1.4.x", "1.4.0-", "1.4.0-01", "1.4.0+", "1.4.0 ", "*"];
        let long = format!("1.4.0-{}", "x".repeat(VERSION_BYTES_MAX));
        for (texts, expected) in [(&good[..], true), (&bad[..], false)] {
            for text in texts {
                assert_eq!(is_version(text), expected, "`{text}`");
                let query = format!("semver.is_valid(\"{text}\")");
                let said = engine.eval_bool_query(query, false).unwrap();
                assert_eq!(said, expected, "the rules see `{text}` in another way");
            }
        }
        assert!(!is_version(&long) && is_version(long.get(..VERSION_BYTES_MAX).unwrap()));
    }
}
