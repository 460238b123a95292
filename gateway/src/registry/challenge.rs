//! What a registry asks for when it answers 401.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use super::budgets::CHALLENGE_BYTES;

/// A challenge that we can meet (RFC 9110 §11.6.1; Docker token specification).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from `realm`, which the peer names and nobody has checked.
    Bearer {
        /// The token endpoint's URL as text.
        unchecked_realm: String,
        /// The service's name, to be passed on.
        service: Option<String>,
    },
    /// Name and password.
    Basic,
}

impl Challenge {
    /// The best challenge of an answer: `Bearer` before `Basic`; none if the peer names no other or writes nonsense.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut basic = None;
        for line in headers.get_all(WWW_AUTHENTICATE) {
            let line = line.to_str().ok().filter(|line| line.len() <= CHALLENGE_BYTES)?;
            for (scheme, parameters) in challenges(line)? {
                if scheme.eq_ignore_ascii_case("bearer") {
                    let one = |name: &str| {
                        parameters
                            .iter()
                            .find(|(key, _)| key.eq_ignore_ascii_case(name))
                            .map(|(_, value)| value.clone())
                    };
                    return Some(Self::Bearer { unchecked_realm: one("realm")?, service: one("service") });
                }
                if scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                }
            }
        }
        basic
    }
}

type Parameters = Vec<(String, String)>;

/// `Bearer realm="…",service="…", Basic realm="…"`; none if it is not written like that or names a parameter twice.
fn challenges(line: &str) -> Option<Vec<(String, Parameters)>> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = line.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (word, behind) = token(rest)?;
        let unspaced = behind.trim_start_matches([' ', '\t']);
        if let (Some(value), Some((_, parameters))) = (unspaced.strip_prefix('='), found.last_mut()) {
            let (value, behind) = parameter_value(value.trim_start_matches([' ', '\t']))?;
            if parameters.iter().any(|(key, _)| key.eq_ignore_ascii_case(word)) {
                return None;
            }
            parameters.push((word.to_owned(), value));
            rest = behind.trim_start_matches([' ', '\t']);
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
        } else {
            found.push((word.to_owned(), Vec::new()));
            rest = unspaced;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    Some(found)
}

/// RFC 9110 §5.6.2.
fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A token or a quoted string (RFC 9110 §5.6.4).
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, behind)| (value.to_owned(), behind));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn of(lines: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap());
        }
        Challenge::of(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer { unchecked_realm: realm.into(), service: service.map(str::to_owned) })
    }

    #[test]
    fn reads_what_registries_send() {
        assert_eq!(
            of(&[r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull""#]),
            bearer("https://ghcr.io/token", Some("ghcr.io"))
        );
        assert_eq!(of(&["Basic realm=\"a, b=c\""]), Some(Challenge::Basic));
        assert_eq!(of(&["Basic"]), Some(Challenge::Basic));
        assert_eq!(of(&[r#"Basic realm="x", bearer  Realm = "https://a/t""#]), bearer("https://a/t", None));
        assert_eq!(of(&["Basic realm=x", r#"Bearer realm="https://a/\"t""#]), bearer("https://a/\"t", None));
        assert_eq!(of(&["Negotiate"]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn refuses_challenges_that_could_be_read_two_ways() {
        for line in [
            r#"Bearer realm="https://a/t",realm="https://b/t""#,
            r#"Bearer service="x""#,
            r#"Bearer realm="https://a/t"#,
            r#"Bearer realm="https://a/t" realm2="x""#,
            r#"realm="https://a/t""#,
            "Bearer realm=",
            "Bearer @",
        ] {
            assert_eq!(of(&[line]), None, "`{line}` was taken");
        }
        assert_eq!(of(&[&format!("Basic realm=\"{}\"", "x".repeat(CHALLENGE_BYTES))]), None);
    }

    proptest! {
        #[test]
        fn never_panics(line in "[ -~]{0,80}") {
            let _ = of(&[&line]);
        }

        #[test]
        fn a_quoted_realm_comes_back(realm in "[ -~]{0,40}") {
            let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(of(&[&format!("Bearer realm=\"{quoted}\"")]), bearer(&realm, None));
        }
    }
}
