//! Which SPIFFE IDs a rule of the configuration means.

use std::fmt;
use std::str::FromStr;

use spiffe::{SpiffeId, TrustDomain};

/// One SPIFFE ID, everything beneath a path, or a whole trust domain.
///
/// ```text
/// spiffe://gate.example/host/a     exactly this ID
/// spiffe://gate.example/host/*     one or more segments beneath `/host`, never `/host` or `/host-evil`
/// spiffe://gate.example            every ID of the trust domain (also written `spiffe://gate.example/*`)
/// ```
/// IDs are compared as parsed values: the trust domain in any case, the path case by case and segment by segment.
/// SPIFFE-ID, section 2.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpiffeIdPattern(Shape);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    Exact {
        trust_domain: TrustDomain,
        path: String,
    },
    /// `path` starts with `/` and does not end with one.
    Beneath {
        trust_domain: TrustDomain,
        path: String,
    },
    Domain(TrustDomain),
}

/// Why a text is no [`SpiffeIdPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Longer than [`PATTERN_SIZE_BYTES`].
    #[error("a pattern of callers has at most {PATTERN_SIZE_BYTES} bytes, this one has {size_bytes}")]
    TooLong {
        /// What was found.
        size_bytes: usize,
    },
    /// The part before `/*` is no SPIFFE ID.
    #[error("`{text}` is no SPIFFE ID pattern: {why}")]
    NotASpiffeId {
        /// The whole pattern.
        text: String,
        /// What the SPIFFE ID parser says.
        why: String,
    },
    /// What stands behind `oidc:` is not `ISSUER/SEGMENT/…`, perhaps with `/*` at its end.
    #[error("`{text}` is no pattern of OIDC callers: expected `oidc:ISSUER/…`, perhaps with `/*` at its end")]
    NotAnOidcPattern {
        /// The whole pattern.
        text: String,
    },
}

/// The longest SPIFFE ID (SPIFFE-ID, section 2.3), with room for `/*`.
pub const PATTERN_SIZE_BYTES: usize = 2048 + 2;

impl SpiffeIdPattern {
    /// Whether the pattern means `id`; a text that is no SPIFFE ID is meant by no pattern.
    pub fn matches(&self, id: &str) -> bool {
        SpiffeId::new(id).is_ok_and(|id| self.matches_id(&id))
    }

    /// Whether the pattern means `id`.
    pub(super) fn matches_id(&self, id: &SpiffeId) -> bool {
        if id.trust_domain() != self.trust_domain() {
            return false;
        }
        match &self.0 {
            Shape::Exact { path, .. } => id.path() == path,
            Shape::Beneath { path, .. } => id
                .path()
                .strip_prefix(path.as_str())
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|rest| !rest.is_empty()),
            Shape::Domain(_) => !id.path().is_empty(),
        }
    }

    /// The trust domain that every matching ID lies in.
    pub(super) fn trust_domain(&self) -> &TrustDomain {
        match &self.0 {
            Shape::Exact { trust_domain, .. } | Shape::Beneath { trust_domain, .. } | Shape::Domain(trust_domain) => {
                trust_domain
            }
        }
    }
}

impl FromStr for SpiffeIdPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > PATTERN_SIZE_BYTES {
            return Err(PatternError::TooLong { size_bytes: text.len() });
        }
        let (stem, beneath) = match text.strip_suffix("/*") {
            Some(stem) => (stem, true),
            None => (text, false),
        };
        let id = SpiffeId::new(stem)
            .map_err(|error| PatternError::NotASpiffeId { text: text.to_owned(), why: error.to_string() })?;
        let trust_domain = id.trust_domain().clone();
        Ok(Self(match (id.path(), beneath) {
            ("", _) => Shape::Domain(trust_domain),
            (path, true) => Shape::Beneath { trust_domain, path: path.to_owned() },
            (path, false) => Shape::Exact { trust_domain, path: path.to_owned() },
        }))
    }
}

impl fmt::Display for SpiffeIdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Shape::Exact { trust_domain, path } => write!(f, "spiffe://{trust_domain}{path}"),
            Shape::Beneath { trust_domain, path } => write!(f, "spiffe://{trust_domain}{path}/*"),
            Shape::Domain(trust_domain) => write!(f, "spiffe://{trust_domain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> SpiffeIdPattern {
        text.parse().unwrap()
    }

    #[test]
    fn exact_means_one_id() {
        let rule = pattern("spiffe://gate.example/host/a");
        assert!(rule.matches("spiffe://gate.example/host/a"));
        assert!(rule.matches("SPIFFE://GATE.Example/host/a"), "scheme and domain have no case");
        assert!(!rule.matches("spiffe://gate.example/host/A"), "the path has");
        assert!(!rule.matches("spiffe://gate.example/host/a/b"));
        assert!(!rule.matches("spiffe://gate.example/host"));
        assert!(!rule.matches("spiffe://gate.example.evil/host/a"));
        assert!(!rule.matches("spiffe://other.example/host/a"));
    }

    #[test]
    fn beneath_goes_by_segment() {
        let rule = pattern("spiffe://gate.example/host/*");
        assert!(rule.matches("spiffe://gate.example/host/a"));
        assert!(rule.matches("spiffe://gate.example/host/a/b"));
        assert!(!rule.matches("spiffe://gate.example/host"));
        assert!(!rule.matches("spiffe://gate.example/host-evil"));
        assert!(!rule.matches("spiffe://gate.example/host-evil/a"));
        assert!(!rule.matches("spiffe://gate.example/hosts/a"));
        assert!(!rule.matches("spiffe://gate.example/x/host/a"));
        assert!(!rule.matches("spiffe://fed.example/host/a"));
    }

    #[test]
    fn what_is_no_spiffe_id_is_never_meant() {
        let rule = pattern("spiffe://gate.example");
        assert!(rule.matches("spiffe://gate.example/host/a"));
        for text in [
            "",
            "gate.example/host/a",
            "https://gate.example/host/a",
            "spiffe://gate.example",
            "spiffe://gate.example/",
            "spiffe://gate.example/host/a/",
            "spiffe://gate.example/host//a",
            "spiffe://gate.example/host/../a",
            "spiffe://gate.example/host/./a",
            "spiffe://gate.example/host/%2e%2e/a",
            "spiffe://gate.example/host/a?x",
            "spiffe://gate.example/host/a#x",
            "spiffe://gate.example:443/host/a",
            "spiffe://me@gate.example/host/a",
            "spiffe://gate.example/host/*",
            " spiffe://gate.example/host/a",
        ] {
            assert!(!rule.matches(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "",
            "*",
            "/*",
            "spiffe://",
            "spiffe:///*",
            "spiffe://*/host",
            "spiffe://gate.example/*/a",
            "spiffe://gate.example/ho*",
            "spiffe://gate.example/host/",
            "spiffe://gate.example/host//*",
            "spiffe://gate.example/host/**",
            "spiffe://gate.example/../*",
            "spiffe://gate.example/%2e%2e/*",
            "https://gate.example/host/*",
        ] {
            assert!(text.parse::<SpiffeIdPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_length_has_a_limit() {
        let at =
            format!("spiffe://gate.example/{}/*", "a".repeat(PATTERN_SIZE_BYTES - "spiffe://gate.example//*".len()));
        assert_eq!(at.len(), PATTERN_SIZE_BYTES);
        assert!(at.parse::<SpiffeIdPattern>().is_ok());
        let past = at.replace("/a", "/aa");
        assert_eq!(past.parse::<SpiffeIdPattern>(), Err(PatternError::TooLong { size_bytes: PATTERN_SIZE_BYTES + 1 }));
    }

    #[test]
    fn a_domain_has_two_spellings() {
        assert_eq!(pattern("spiffe://gate.example/*"), pattern("spiffe://GATE.example"));
        assert_eq!(pattern("spiffe://gate.example/*").to_string(), "spiffe://gate.example");
    }

    proptest! {
        #[test]
        fn parse_undoes_print(domain in "[a-z0-9._-]{1,20}", path in "(/[a-zA-Z0-9_-]{1,8}){0,4}", star in "(/\\*)?") {
            let text = format!("spiffe://{domain}{path}{star}");
            let parsed = pattern(&text);
            prop_assert_eq!(pattern(&parsed.to_string()), parsed);
        }

        #[test]
        fn beneath_is_stem_slash_something(stem in "(/[ab]{1,2}){1,2}", path in "(/[ab]{1,2}){1,4}") {
            let rule = pattern(&format!("spiffe://td{stem}/*"));
            let segments = |text: &str| text.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>();
            let (stem, wanted) = (segments(&stem), segments(&path));
            let expected = wanted.len() > stem.len() && wanted[..stem.len()] == stem[..];
            prop_assert_eq!(rule.matches(&format!("spiffe://td{path}")), expected);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            if let Ok(parsed) = text.parse::<SpiffeIdPattern>() {
                prop_assert_eq!(pattern(&parsed.to_string()), parsed);
            }
        }
    }
}
