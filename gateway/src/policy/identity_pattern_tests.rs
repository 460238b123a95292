//! Patterns that are taken, those that are not, with names that come close.

use proptest::prelude::*;

use super::*;

fn uri(text: &str) -> Result<IdentityPattern, PatternError> {
    identity_pattern(SubjectKind::Uri, text)
}

fn email(text: &str) -> Result<IdentityPattern, PatternError> {
    identity_pattern(SubjectKind::Email, text)
}

#[test]
fn a9_1_patterns_that_match_more_than_they_say_are_refused() {
    for text in [
        "",
        ".*",
        ".+",
        "^.*$",
        "(.*)",
        "https://.*",
        "https?://github.com/acme/.*",
        "https://github.com.*",
        "https://github.com",
        "https://github.com/",
        "https://[a-z.]+/acme/.*",
        "https://(github.com|evil.example)/.*",
        "https://github.com/acme/.*|.*",
        "x|https://github.com/acme/.*",
        "https://github.com/acme.*",
        "https://github.com/acme[a-z]*/x",
        "https://github.com/acme(-labs)?/.*",
        "https://github.com/acme/?.*",
        "https://github.co+m/acme/.*",
        "https://github.com./acme/.*",
        "https://github..com/acme/.*",
        "https://GitHub.com/acme/.*",
        "https://x@github.com/acme/.*",
        "https://github.com?/acme/.*",
        "https://github.com/?.*",
        "(?i)https://github.com/acme/.*",
        "(?s)https://github.com/acme/.*",
        "https://github.com/(?m)^acme/.*",
        "https://github.com/(?x)acme/.*",
        "https://github.com/(?P<a>x)/.*",
        "https://github.com/acme/x)|(.*",
        "https://github.com/acme/(x",
        "https://github.com/acme/x]\\",
        "https://github.com/[[a]&&b]",
        "https://github.com/acme/[a--b]/x",
        "https://github.com/acme/\\Ax",
        "https://github.com/acme/\\bx",
        "https://github.com/acme/\\<x",
        "https://github.com/acme/\\pL",
        "https://github.com/acme/\\x41",
        "https://github.com/acme/x$y",
        "https://github.com/^acme/x",
        "https://github.com/acme/\u{fc}",
        "https://github.com/acme/\n",
        "https://github.com/acme/ x",
        "https://github.com/acme/\0",
        "*https://github.com/acme/.*",
        "https://github.com/acme/x{1",
        "https://github.com/acme/x{a}",
        "https://github.com/acme/**{9}{9}{9}{99}",
    ] {
        assert!(uri(text).is_err(), "`{}` was taken", text.escape_debug());
    }
    for text in [
        ".*",
        ".*@.*",
        ".*@acme.*",
        ".*@(acme|evil).example",
        ".*@acme.example|.*",
        "@acme.example",
        "a@b@acme.example",
        "(a@acme.example|.*)",
        "ci@acme.example.*",
        "ci@acme.exampl[a-z]",
        "ci@Acme.example",
        "ci@",
        "ci@acme.example.",
        "ci@acme:1",
        "(.*@)acme.example",
        ".*@?acme.example",
        "https://github.com/acme/x",
    ] {
        assert!(email(text).is_err(), "`{text}` was taken");
    }
    for text in ["https://prod.example/ns/.*", "spiffe://.*", "spiffe://prod:1/ns/.*", "spiffe://prod.example.*", ".*"]
    {
        assert!(identity_pattern(SubjectKind::Spiffe, text).is_err(), "`{text}` was taken");
    }
}

#[test]
fn a9_1_patterns_match_in_full_within_their_host() {
    let matches = |pattern: &str, value: &str| {
        let pattern = identity_pattern(SubjectKind::of(pattern), pattern).unwrap();
        pattern.matches(value)
    };
    for (pattern, value) in [
        ("https://github.com/acme/.*", "https://github.com/acme/cart/.github/workflows/r.yml@refs/tags/v1"),
        (r"^https://github\.com/acme/[a-z]+/\.github/.*$", "https://github.com/acme/cart/.github/x"),
        ("https://github.com/.*", "https://github.com/anyone/x"),
        ("https://github.com/(acme|acme-labs)/.*", "https://github.com/acme-labs/x"),
        ("https://github.com/acme/cart", "https://github.com/acme/cart"),
        ("https://h:8443/a/x{2}", "https://h:8443/a/xx"),
        (".*@acme.example", "ci@acme.example"),
        (r"(ci|bot)-\d+@acme\.example", "bot-7@acme.example"),
        ("spiffe://prod.example/ns/[a-z]+", "spiffe://prod.example/ns/shop"),
    ] {
        assert!(matches(pattern, value), "`{pattern}` left `{value}` out");
    }
    for (pattern, value) in [
        ("https://github.com/acme/.*", "https://githubXcom/acme/x"),
        ("https://github.com/acme/.*", "https://githubxcom/acme/x"),
        ("https://github.com/acme/.*", "https://github.com/acme-evil/x"),
        ("https://github.com/acme/.*", "https://github.com/acme.evil/x"),
        ("https://github.com/acme/.*", "https://github.com@evil.example/acme/x"),
        ("https://github.com/acme/.*", "https://GITHUB.com/acme/x"),
        ("https://github.com/acme/.*", "https://github.com./acme/x"),
        ("https://github.com/acme/.*", "https://github.com//acme/x"),
        ("https://github.com/acme/.*", "https://github.com/acme/../evil/x"),
        ("https://github.com/acme/.*", "https://github.com/acme/%2e%2e/evil"),
        ("https://github.com/acme/.*", "https://github.com/acme%2fx"),
        ("https://github.com/acme/.*", "https://github.com/acme/x\n"),
        ("https://github.com/acme/.*", "https://github.com/acme/x\0"),
        ("https://github.com/acme/.*", "https://evil.example/https://github.com/acme/x"),
        ("https://github.com/acme/cart", "https://github.com/acme/cart2"),
        (".*@acme.example", "ci@evil@acme.example"),
        (".*@acme.example", "ci@acmeXexample"),
        (".*@acme.example", "@acme.example"),
        (".*@acme.example", "ci@acme.example\n"),
        (".*@acme.example", "ci@acme.example.evil"),
        ("spiffe://prod.example/ns/.*", "spiffe://prod.example/ns/a?b"),
    ] {
        assert!(!matches(pattern, value), "`{pattern}` took `{}`", value.escape_debug());
    }
}

#[test]
fn a9_2_kinds_of_certificate_names_never_mix() {
    let of = |kind, value: &str| San { kind, value: value.into() };
    let mails = email(".*@acme.example").unwrap();
    assert!(mails.matches_san(&of(SanKind::Email, "ci@acme.example")));
    assert!(!mails.matches_san(&of(SanKind::Uri, "ci@acme.example")));
    let uris = uri("https://github.com/acme/.*").unwrap();
    assert!(uris.matches_san(&of(SanKind::Uri, "https://github.com/acme/x")));
    assert!(!uris.matches_san(&of(SanKind::Email, "https://github.com/acme/x")));
}

#[test]
fn holds_its_limits() {
    let of_length = |length: usize| format!("https://h/{}", "a".repeat(length - "https://h/".len()));
    uri(&of_length(MAX_PATTERN_BYTES)).unwrap();
    assert_eq!(
        uri(&of_length(MAX_PATTERN_BYTES + 1)).unwrap_err(),
        PatternError::Length { found: MAX_PATTERN_BYTES + 1 }
    );
    assert!(matches!(uri("https://h/(a{99}){99}").unwrap_err(), PatternError::TooComplex { .. }));
    uri("https://h/(a{9}){9}").unwrap();
}

#[test]
fn a_rewritten_pattern_is_one_that_people_may_write() {
    for text in ["^https://github.com/acme/.*$", r"https://a-b.c/x\.y", "https://h:1/(a|b)"] {
        let once = uri(text).unwrap();
        assert_eq!(uri(once.as_str()).unwrap().as_str(), once.as_str());
    }
    assert_eq!(email("^.*@acme.example$").unwrap().as_str(), r".*@acme\.example");
    assert_eq!(uri("^https://github.com/acme/.*$").unwrap().as_str(), r"https://github\.com/acme/.*");
}

proptest! {
    /// Whatever is taken matches below its own host only, never the empty text.
    #[test]
    fn what_is_taken_stays_within_its_host(
        pattern in "(https://h[.]example/)?([a-z./@]|\\.\\*|\\[a-z\\]|\\(|\\)|\\||\\?|\\+|\\$|\\^|\\\\.|\\(\\?i\\)){0,8}",
        value in "(https://)?(h[.x]example/|evil/|h.example.evil/)?[a-z./@%]{0,8}",
    ) {
        if let Ok(taken) = uri(&pattern) {
            prop_assert!(!taken.matches(""));
            let host = "https://h.example/";
            prop_assert!(!pattern.starts_with(host) || !taken.matches(&value) || value.starts_with(host), "`{pattern}` `{value}`");
        }
    }

    /// A name that is one edit away from those that match does not.
    #[test]
    fn near_misses_never_match(at in 0_usize..25, with in "[a-zA-Z0-9@.%/:\\\\\n\0 -]") {
        let taken = uri(r"https://github\.com/acme/[a-z]+").unwrap();
        let good = "https://github.com/acme/cart";
        let mut near = good.to_owned();
        near.insert_str(at, &with);
        let is_inside = near.strip_prefix("https://github.com/acme/").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_lowercase()));
        prop_assert_eq!(taken.matches(&near), is_inside, "`{}`", near.escape_debug());
        let mut near = good.to_owned();
        near.remove(at);
        let is_inside = near.strip_prefix("https://github.com/acme/").is_some();
        prop_assert_eq!(taken.matches(&near), is_inside, "`{}`", near);
    }
}
