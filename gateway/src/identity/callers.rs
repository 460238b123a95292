//! Who may ask: the entries of `identity.callers`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use spiffe::{SpiffeId, TrustDomain};

use super::pattern::{PATTERN_SIZE_BYTES, PatternError, SpiffeIdPattern};
use super::settings::StartError;

/// One entry: SPIFFE IDs, or what an OIDC issuer's rule makes of a token.
///
/// ```text
/// spiffe://gate.example/host/*     see `SpiffeIdPattern`
/// oidc:github/1234/5678            exactly this caller of the issuer that the configuration calls `github`
/// oidc:github/1234/*               one or more segments beneath `1234`
/// oidc:github/*                    everyone that the issuer vouches for
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallerPattern {
    Svid(SpiffeIdPattern),
    Oidc(OidcPattern),
}

/// `oidc:ISSUER/…`, compared segment by segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OidcPattern {
    issuer: String,
    segments: Vec<String>,
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Exactly,
    Beneath,
}

impl OidcPattern {
    /// Whether the pattern means `id`.
    fn matches(&self, id: &str) -> bool {
        let Some((issuer, rest)) = id.strip_prefix(OIDC).and_then(|rest| rest.split_once('/')) else { return false };
        let segments: Vec<&str> = rest.split('/').collect();
        let as_long = match self.reach {
            Reach::Exactly => segments.len() == self.segments.len(),
            Reach::Beneath => segments.len() > self.segments.len(),
        };
        issuer == self.issuer
            && as_long
            && segments.iter().all(|segment| !segment.is_empty())
            && self.segments.iter().zip(&segments).all(|(wanted, found)| wanted == found)
    }
}

/// What every id of an OIDC caller begins with.
pub(super) const OIDC: &str = "oidc:";

/// Whether `name` can name an issuer: `[a-z0-9-]+`, at most 64 bytes.
pub(super) fn is_issuer_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(inside)
}

impl FromStr for CallerPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(rest) = text.strip_prefix(OIDC) else { return Ok(Self::Svid(text.parse()?)) };
        if text.len() > PATTERN_SIZE_BYTES {
            return Err(PatternError::TooLong { size_bytes: text.len() });
        }
        let fault = || PatternError::NotAnOidcPattern { text: text.to_owned() };
        let (issuer, path) = rest.split_once('/').ok_or_else(fault)?;
        let split = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
        let (segments, reach) = match path {
            "*" => (vec![], Reach::Beneath),
            path => match path.strip_suffix("/*") {
                Some(stem) => (split(stem), Reach::Beneath),
                None => (split(path), Reach::Exactly),
            },
        };
        let plain = |segment: &String| {
            !matches!(segment.as_str(), "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*')
        };
        if !is_issuer_name(issuer) || !segments.iter().all(plain) {
            return Err(fault());
        }
        Ok(Self::Oidc(OidcPattern { issuer: issuer.to_owned(), segments, reach }))
    }
}

impl fmt::Display for CallerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Svid(pattern) => pattern.fmt(f),
            Self::Oidc(OidcPattern { issuer, segments, reach }) => {
                write!(f, "{OIDC}{issuer}")?;
                segments.iter().try_for_each(|segment| write!(f, "/{segment}"))?;
                match reach {
                    Reach::Exactly => Ok(()),
                    Reach::Beneath => f.write_str("/*"),
                }
            }
        }
    }
}

/// The list in force, shared by the TLS listener and by the judge of tokens.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    patterns: Arc<ArcSwap<Vec<CallerPattern>>>,
    trust_domains: Arc<BTreeSet<TrustDomain>>,
    issuers: Arc<BTreeSet<String>>,
}

impl Callers {
    /// Reads the list; each entry must lie in a trust domain or name an issuer that is configured.
    pub(super) fn read(
        texts: &[String],
        trust_domains: BTreeSet<TrustDomain>,
        issuers: BTreeSet<String>,
    ) -> Result<Self, StartError> {
        let callers =
            Self { patterns: Arc::default(), trust_domains: Arc::new(trust_domains), issuers: Arc::new(issuers) };
        callers.replace(texts)?;
        Ok(callers)
    }

    /// Puts another list in its place; a list that cannot be read changes nothing.
    pub(super) fn replace(&self, texts: &[String]) -> Result<(), StartError> {
        if texts.is_empty() {
            return Err(StartError::NoCallers);
        }
        let mut patterns = Vec::with_capacity(texts.len());
        for text in texts {
            let pattern: CallerPattern = text.parse()?;
            let known = match &pattern {
                CallerPattern::Svid(pattern) => self.trust_domains.contains(pattern.trust_domain()),
                CallerPattern::Oidc(pattern) => self.issuers.contains(&pattern.issuer),
            };
            if !known {
                return Err(StartError::CallerOutside { pattern: pattern.to_string() });
            }
            patterns.push(pattern);
        }
        self.patterns.store(Arc::new(patterns));
        Ok(())
    }

    pub(super) fn trust_domains(&self) -> &BTreeSet<TrustDomain> {
        &self.trust_domains
    }

    /// Whether an entry means the SPIFFE ID.
    pub(super) fn allows_svid(&self, id: &SpiffeId) -> bool {
        self.patterns.load().iter().any(|pattern| match pattern {
            CallerPattern::Svid(pattern) => pattern.matches_id(id),
            CallerPattern::Oidc(_) => false,
        })
    }

    /// Whether an entry means the id that an issuer's rule made.
    pub(super) fn allows_oidc(&self, id: &str) -> bool {
        self.patterns.load().iter().any(|pattern| match pattern {
            CallerPattern::Svid(_) => false,
            CallerPattern::Oidc(pattern) => pattern.matches(id),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn means(pattern: &str, id: &str) -> bool {
        match pattern.parse().unwrap() {
            CallerPattern::Oidc(pattern) => pattern.matches(id),
            CallerPattern::Svid(pattern) => pattern.matches(id),
        }
    }

    #[test]
    fn an_oidc_pattern_goes_by_segment() {
        assert!(means("oidc:github/12/34", "oidc:github/12/34"));
        assert!(means("oidc:github/12/*", "oidc:github/12/34"));
        assert!(means("oidc:github/12/*", "oidc:github/12/34/prod"));
        assert!(means("oidc:github/*", "oidc:github/12"));
        for (pattern, id) in [
            ("oidc:github/12/34", "oidc:github/12/345"),
            ("oidc:github/12/34", "oidc:github/12"),
            ("oidc:github/12/34", "oidc:github/12/34/prod"),
            ("oidc:github/12/*", "oidc:github/12"),
            ("oidc:github/12/*", "oidc:github/123/34"),
            ("oidc:github/12/*", "oidc:github/12/"),
            ("oidc:github/*", "oidc:github"),
            ("oidc:github/*", "oidc:github/"),
            ("oidc:github/*", "oidc:github-evil/12"),
            ("oidc:github/*", "oidc:gitlab/12"),
            ("oidc:github/*", "spiffe://github/12"),
            ("oidc:github/*", "OIDC:github/12"),
            ("spiffe://github", "oidc:github/12"),
        ] {
            assert!(!means(pattern, id), "`{pattern}` means `{id}`");
        }
    }

    #[test]
    fn what_is_no_oidc_pattern_is_refused() {
        for text in [
            "oidc:",
            "oidc:*",
            "oidc:/x",
            "oidc:github",
            "oidc:github/",
            "oidc:github//x",
            "oidc:github/x/",
            "oidc:github/x//*",
            "oidc:github//*",
            "oidc:github/x*",
            "oidc:github/*/x",
            "oidc:github/../x",
            "oidc:github/./*",
            "oidc:GitHub/x",
            "oidc:git hub/x",
            "oidc:github/x y",
            "oidc:github/ü",
        ] {
            let refused = text.parse::<CallerPattern>();
            assert!(matches!(refused, Err(PatternError::NotAnOidcPattern { .. })), "`{text}` gave {refused:?}");
        }
        let long = format!("oidc:github/{}", "a".repeat(PATTERN_SIZE_BYTES));
        assert!(matches!(long.parse::<CallerPattern>(), Err(PatternError::TooLong { .. })));
    }

    #[test]
    fn the_list_names_what_is_configured() {
        let domains = || BTreeSet::from([TrustDomain::new("gate.example").unwrap()]);
        let issuers = || BTreeSet::from(["github".to_owned()]);
        let read = |texts: &[&str]| {
            Callers::read(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), domains(), issuers())
        };
        let callers = read(&["spiffe://gate.example/host/*", "oidc:github/12/*"]).unwrap();
        assert!(callers.allows_svid(&SpiffeId::new("spiffe://gate.example/host/a").unwrap()));
        assert!(callers.allows_oidc("oidc:github/12/34"));
        assert!(!callers.allows_oidc("oidc:github/13/34") && !callers.allows_oidc("spiffe://gate.example/host/a"));
        assert!(matches!(read(&[]), Err(StartError::NoCallers)));
        for outside in ["spiffe://fed.example/x", "oidc:gitlab/*"] {
            assert!(matches!(read(&[outside]), Err(StartError::CallerOutside { pattern }) if pattern == outside));
            assert!(callers.replace(&[outside.to_owned()]).is_err());
        }
        assert!(callers.allows_oidc("oidc:github/12/34"), "a list that cannot be read changes nothing");
        callers.replace(&["oidc:github/13/34".to_owned()]).unwrap();
        assert!(callers.allows_oidc("oidc:github/13/34") && !callers.allows_oidc("oidc:github/12/34"));
    }

    proptest! {
        #[test]
        fn parse_undoes_print(text in "oidc:[a-z0-9-]{1,8}(/[a-zA-Z0-9:@._%-]{1,6}){0,3}(/\\*)?") {
            if let Ok(pattern) = text.parse::<CallerPattern>() {
                prop_assert_eq!(pattern.to_string(), text);
            }
        }
    }
}
