//! The texts that rules compare with, each in the one form a rule reads.

use super::fault;
use crate::case::Timestamp;
use crate::policy::LoadError;

/// Checks each text of a list.
pub(super) fn each(
    name: &str,
    at: &str,
    field: &str,
    values: &[String],
    is_good: impl Fn(&str) -> bool,
    wanted: &str,
) -> Result<(), LoadError> {
    values
        .iter()
        .enumerate()
        .try_for_each(|(index, value)| expect(is_good(value), name, &format!("{at}.{field}[{index}]"), value, wanted))
}

/// A fault unless `good`.
pub(super) fn expect(good: bool, name: &str, at: &str, found: &str, wanted: &str) -> Result<(), LoadError> {
    if good { Ok(()) } else { Err(fault(name, at, &format!("expected {wanted}, found `{}`", found.escape_debug()))) }
}

/// Printable ASCII without blanks and without `*`, at most [`MAX_TEXT_BYTES`].
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_TEXT_BYTES && text.bytes().all(|b| b.is_ascii_graphic() && b != b'*')
}

/// `*`, `ghcr.io/acme/cart` or `ghcr.io/acme/*`: never a tag, for rules are about repositories.
pub(super) fn is_reference_pattern(text: &str) -> bool {
    let name = text.strip_suffix("/*").unwrap_or(text);
    let mut parts = name.split('/');
    let upstream = parts.next().unwrap_or_default();
    let is_part = |part: &str| is_plain(part) && !part.contains([':', '@']) && part != "." && part != "..";
    text == "*"
        || is_plain(upstream) && !upstream.contains('@') && parts.all(is_part) && (name.contains('/') || name != text)
}

/// `local`, a SPIFFE ID or the id of an OIDC caller, or a folder of either.
pub(super) fn is_caller_pattern(text: &str) -> bool {
    text == "local" || text.starts_with("spiffe://") && is_uri_pattern(text) || is_oidc_pattern(text)
}

/// `oidc:github/1234/5678`, `oidc:github/1234/*`, `oidc:github/*`: the issuer's name in the configuration, then what it says.
fn is_oidc_pattern(text: &str) -> bool {
    let Some((issuer, id)) = text.strip_prefix("oidc:").and_then(|rest| rest.split_once('/')) else { return false };
    let is_inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let segments = if id == "*" { "x" } else { id.strip_suffix("/*").unwrap_or(id) };
    !issuer.is_empty()
        && issuer.bytes().all(is_inside)
        && is_plain(segments)
        && segments.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..")
}

/// One `@` between two parts, in printable ASCII.
pub(in crate::policy) fn is_email(text: &str) -> bool {
    is_plain(text) && text.split('@').count() == 2 && !text.starts_with('@') && !text.ends_with('@')
}

/// What `plain_uri` of `policies/signatures.rego` takes, perhaps with `/*` behind it.
pub(super) fn is_uri_pattern(text: &str) -> bool {
    let uri = text.strip_suffix("/*").unwrap_or(text);
    let Some((scheme, rest)) = uri.split_once("://") else { return false };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let lower = path.to_ascii_lowercase();
    is_plain(uri)
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'))
        && !scheme.is_empty()
        && is_host(authority)
        && !path.ends_with('/')
        && (!path.is_empty() || uri.len() < text.len())
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@/%?#".contains(&b))
        && !["%2f", "%2e", "%5c", "%25", "%00", "%0a", "%0d"].iter().any(|encoded| lower.contains(encoded))
        && path.split('/').all(|part| part != "." && part != "..")
}

/// A host in lower case, perhaps with a port, without empty labels: `github.com`, `127.0.0.1:5000`.
pub(in crate::policy) fn is_host(host: &str) -> bool {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b':');
    !host.is_empty()
        && host.bytes().all(inside)
        && !host.starts_with('.')
        && !host.ends_with('.')
        && !host.contains("..")
        && !host.contains(".:")
}

/// What `plain_uri` of `policies/signatures.rego` takes: one that can be read in one way only.
pub(in crate::policy) fn is_plain_uri(text: &str) -> bool {
    is_plain(text) && is_uri_pattern(text)
}

/// A SPIFFE ID with a path (SPIFFE-ID §2): letters, digits, `.`, `-`, `_` in folders that are not empty.
pub(in crate::policy) fn is_spiffe_id(text: &str) -> bool {
    let Some((_, path)) = text.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) else { return false };
    let is_inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    is_plain_uri(text)
        && !text.trim_start_matches("spiffe://").contains(':')
        && path.split('/').all(|part| !part.is_empty() && part.bytes().all(is_inside))
}

/// A SPIFFE ID, or a folder of them: `spiffe://prod.example/*`, `spiffe://prod.example/ns/*`.
pub(super) fn is_spiffe_pattern(text: &str) -> bool {
    is_spiffe_id(text) || text.strip_suffix("/*").is_some_and(|folder| is_spiffe_id(&format!("{folder}/x")))
}

/// One line of printable text.
pub(super) fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= MAX_LINE_BYTES && !text.chars().any(char::is_control)
}

/// The one spelling that every reader of RFC 3339 takes, within the nanoseconds that a rule counts in (64 bits, year 2262).
pub(super) fn is_time(text: &str) -> bool {
    text.parse::<Timestamp>().is_ok_and(|time| time.to_string() == text && i64::try_from(time.as_nanosecond()).is_ok())
}

/// Bounds with one blank between them, each with a semantic version behind it: `>=1.2.0 <1.4.5`.
pub(super) fn is_range(text: &str) -> bool {
    let is_bound = |bound: &str| {
        let version = bound.trim_start_matches(['<', '>']).trim_start_matches('=');
        let sign = bound.len() - version.len();
        let sign = bound.get(..sign).unwrap_or_default();
        ["<", "<=", ">", ">="].contains(&sign) && is_semver(version)
    };
    text.len() <= MAX_LINE_BYTES && text.split(' ').all(is_bound)
}

/// `1.2.3`, perhaps with a pre-release; a build has no place in an order.
fn is_semver(text: &str) -> bool {
    let (release, pre) = text.split_once('-').map_or((text, None), |(release, pre)| (release, Some(pre)));
    let number =
        |part: &str| part.parse::<u64>().is_ok() && !part.starts_with('+') && (part == "0" || !part.starts_with('0'));
    let identifier = |part: &str| {
        let digits = part.bytes().all(|b| b.is_ascii_digit());
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && (!digits || part == "0" || !part.starts_with('0'))
    };
    release.split('.').count() == 3
        && release.split('.').all(number)
        && has_short_numbers(text)
        && pre.is_none_or(|pre| pre.split('.').all(identifier))
}

/// The environments that an entry speaks about: at least one, each by its name.
pub(super) fn check_environments(name: &str, at: &str, environments: Option<&[String]>) -> Result<(), LoadError> {
    let Some(environments) = environments else { return Ok(()) };
    let wanted = "the name of an environment; leave the list out for all of them";
    expect(!environments.is_empty(), name, &format!("{at}.environments"), "[]", wanted)?;
    each(name, at, "environments", environments, is_plain, wanted)
}

/// Whether no number in a text has more digits than every evaluator of Rego compares.
pub(super) fn has_short_numbers(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_digit()).all(|digits| digits.len() <= MAX_NUMBER_DIGITS)
}

pub(super) const REFERENCE: &str = "`REGISTRY/REPOSITORY` without tag, `REGISTRY/FOLDER/*`, or `*`";
pub(super) const CALLER: &str = "`local`, a SPIFFE ID, `oidc:ISSUER/…`, or one of the last two that ends in `/*`";

/// The longest text that a rule may compare with, in bytes: a SPIFFE ID is at most 2048 (SPIFFE-ID §2.3).
pub(super) const MAX_TEXT_BYTES: usize = 2048;
/// The longest line of text, in bytes.
const MAX_LINE_BYTES: usize = 512;
/// Digits of one number in a version, as `policies/ranges.rego` takes them.
const MAX_NUMBER_DIGITS: usize = 15;
