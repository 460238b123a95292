//! The request headers that change an answer, each read in one way.

use http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName};

use super::error::ErrorAnswer;
use super::range::{Wanted, wanted};
use crate::case::Digest;

/// The entity tag of what a digest names: strong, for it never changes.
pub(super) fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

/// Whether the client says that it has it already (RFC 9110, section 13.1.2): all lines count, weak tags compare equal.
pub(super) fn has_already(headers: &HeaderMap, digest: &Digest) -> bool {
    let etag = etag(digest);
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    tags.flat_map(|line| line.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    })
}

/// The part of a blob that is asked for (RFC 9110, sections 13.1.5 and 14.2).
///
/// # Errors
/// A header that stands twice.
pub(super) fn range(headers: &HeaderMap, digest: &Digest, size: usize) -> Result<Wanted, ErrorAnswer> {
    let range = single(headers, &RANGE)?;
    let if_range = single(headers, &IF_RANGE)?;
    // A date is no validator of ours: whoever names one gets the whole.
    let is_current = if_range.is_none_or(|validator| validator.trim() == etag(digest));
    Ok(if is_current { wanted(range, size) } else { Wanted::Whole })
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ErrorAnswer> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line.and_then(|line| line.to_str().ok())),
        (_, Some(_)) => Err(ErrorAnswer::header_twice(name.as_str())),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn every_line_of_if_none_match_counts() {
        let digest = Digest::of(b"x");
        let (ours, other) = (etag(&digest), etag(&Digest::of(b"y")));
        let weak = format!("{other}, W/{ours}");
        for (lines, has) in [
            (vec![], false),
            (vec![ours.as_str()], true),
            (vec![other.as_str()], false),
            (vec![other.as_str(), weak.as_str()], true),
            (vec!["*"], true),
            (vec![digest.hex().as_str()], false),
        ] {
            let lines: Vec<_> = lines.into_iter().map(|line| ("if-none-match", line)).collect();
            assert_eq!(has_already(&headers(&lines), &digest), has, "{lines:?}");
        }
    }

    #[test]
    fn a21_4_a_range_of_something_else_gives_the_whole_and_a_second_header_nothing() {
        let digest = Digest::of(b"x");
        let ours = etag(&digest);
        let asked = |lines: &[(&str, &str)]| range(&headers(lines), &digest, 10).map_err(|error| error.outcome());
        let part = Ok(Wanted::Part { first: 1, last: 2 });
        assert_eq!(asked(&[("range", "bytes=1-2")]), part);
        assert_eq!(asked(&[("range", "bytes=1-2"), ("if-range", &ours)]), part);
        let weak = format!("W/{ours}");
        for stale in [weak.as_str(), "\"sha256:0\"", "Tue, 01 Dec 2026 00:00:00 GMT", ""] {
            assert_eq!(asked(&[("range", "bytes=1-2"), ("if-range", stale)]), Ok(Wanted::Whole), "{stale}");
        }
        assert_eq!(asked(&[("range", "bytes=1-2"), ("range", "bytes=3-4")]), Err("invalid"));
        assert_eq!(asked(&[("if-range", "a"), ("if-range", "a")]), Err("invalid"));
        assert_eq!(asked(&[]), Ok(Wanted::Whole));
    }
}
