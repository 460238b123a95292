//! A package URL, cut to what rules compare (package-url/purl-spec `PURL-SPECIFICATION.rst`).

use super::shape::malformed;
use crate::evidence::rejection::Rejection;

/// A package URL without qualifiers and subpath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Purl {
    /// `pkg:npm/@angular/core`: decoded, in lower case.
    pub base: String,
    /// The version, decoded.
    pub version: Option<String>,
}

impl Purl {
    /// Reads `pkg:type/namespace/name@version?qualifiers#subpath`.
    pub fn read(text: &str) -> Result<Self, Rejection> {
        Self::parse(text).ok_or_else(|| malformed("a package URL", "`pkg:type/name`", format_args!("`{text}`")))
    }

    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        if !scheme.eq_ignore_ascii_case("pkg") {
            return None;
        }
        let rest = rest.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        // An `@` in front of a name is npm's, written without its escape.
        let (path, version) = match rest.rsplit_once('@') {
            Some((path, version)) if !path.is_empty() && !path.ends_with('/') && !version.contains('/') => {
                (path, Some(decoded(version)?).filter(|version| !version.is_empty()))
            }
            _ => (rest, None),
        };
        let parts = path.split('/').map(decoded).collect::<Option<Vec<_>>>()?;
        if parts.len() < 2 || parts.iter().any(String::is_empty) {
            return None;
        }
        let mut base = format!("pkg:{}", parts.join("/")).to_lowercase();
        if base.starts_with("pkg:pypi/") {
            base = base.replace(['_', '.'], "-");
        }
        Some(Self { base, version })
    }
}

/// `text` without percent-encoding; `None` where that is no UTF-8 or no encoding.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(*high)? * 16 + digit(*low)?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Option<(String, Option<String>)> {
        Purl::parse(text).map(|purl| (purl.base, purl.version))
    }

    #[test]
    fn one_package_has_one_base_however_it_is_written() {
        for text in [
            "pkg:npm/%40angular/core@17.0.1",
            "pkg:npm/@angular/core@17.0.1",
            "pkg:NPM/%40Angular/core@17.0.1?a=b@c#x/y@z",
            "PKG://npm/%40angular/core@17.0.1",
        ] {
            assert_eq!(base(text), Some(("pkg:npm/@angular/core".into(), Some("17.0.1".into()))), "{text}");
        }
        assert_eq!(base("pkg:npm/@angular/core"), Some(("pkg:npm/@angular/core".into(), None)));
        assert_eq!(base("pkg:pypi/Typing_Extensions@4"), base("pkg:pypi/typing-extensions@4"));
        assert_eq!(
            base("pkg:oci/cart@sha256%3Aab?repository_url=x"),
            Some(("pkg:oci/cart".into(), Some("sha256:ab".into())))
        );
        assert_eq!(
            base("pkg:golang/github.com/a/b@v1.2.3"),
            Some(("pkg:golang/github.com/a/b".into(), Some("v1.2.3".into())))
        );
    }

    #[test]
    fn refuses_what_names_no_package() {
        for text in [
            "",
            "left-pad",
            "pkg:",
            "pkg:npm",
            "pkg:npm/",
            "pkg:/x",
            "npm/left-pad",
            "pkg:npm/%4",
            "pkg:npm/%zz",
            "pkg:npm/%ff",
            "pkg:npm//x",
        ] {
            assert!(Purl::read(text).is_err(), "`{text}` was taken");
        }
    }
}
