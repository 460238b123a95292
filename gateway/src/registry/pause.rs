//! Registries that said to wait: nobody asks them again before.

use std::time::Duration;

use jiff::fmt::rfc2822;
use moka::sync::Cache;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use tokio::time::Instant;

use super::budgets::{PAUSE_DEFAULT, PAUSE_MAX, PAUSES};

/// Until when which upstream is left alone.
#[derive(Clone, Debug)]
pub(super) struct Pauses(Cache<String, Instant>);

impl Pauses {
    /// Every upstream may be asked.
    pub fn new() -> Self {
        Self(Cache::builder().max_capacity(PAUSES).time_to_live(PAUSE_MAX).build())
    }

    /// How long `upstream` is still to be left alone at `now`; none if it may be asked.
    pub fn left(&self, upstream: &str, now: Instant) -> Option<Duration> {
        let left = self.0.get(upstream)?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// Leaves `upstream` alone for `wait` from `now`; who said to wait longer before is still obeyed.
    pub fn hold(&self, upstream: &str, wait: Duration, now: Instant) {
        let until = now + wait.min(PAUSE_MAX);
        let known = self.0.get(upstream).filter(|known| *known > until);
        self.0.insert(upstream.to_owned(), known.unwrap_or(until));
    }
}

/// How long an answer of 429 says to wait, or one of 503 that says so at all.
pub(super) fn wait(status: u16, headers: &HeaderMap) -> Option<Duration> {
    match (status, retry_after(headers)) {
        (429 | 503, Some(wait)) => Some(wait.min(PAUSE_MAX)),
        (429, None) => Some(PAUSE_DEFAULT),
        _ => None,
    }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date, which counts from the answer's own `Date`: whose clock is wrong does
/// not matter.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name).map(HeaderValue::to_str)?.ok().map(str::trim);
    let value = text(RETRY_AFTER)?;
    if value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number has are a long time, too.
        return (!value.is_empty()).then(|| Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = |text: &str| rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    let wait = date(value)?.duration_since(date(text(DATE)?)?);
    Some(Duration::try_from(wait).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(status: u16, headers: &[(HeaderName, &str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        wait(status, &HeaderMap::from_iter(headers)).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_dates_are_taken_and_bounded() {
        let seconds = |value: &str| waits(429, &[(RETRY_AFTER, value)]);
        assert_eq!((seconds("7"), seconds("0"), seconds(" 7 ")), (Some(7), Some(0), Some(7)));
        assert_eq!(seconds("86400"), Some(PAUSE_MAX.as_secs()));
        assert_eq!(seconds("99999999999999999999999"), Some(PAUSE_MAX.as_secs()));
        let dated = |until: &str| waits(429, &[(DATE, "Sun, 06 Nov 1994 08:49:37 GMT"), (RETRY_AFTER, until)]);
        assert_eq!(dated("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(dated("Sun, 06 Nov 1994 08:49:00 GMT"), Some(0), "past already");
        assert_eq!(dated("Mon, 07 Nov 1994 08:49:37 GMT"), Some(PAUSE_MAX.as_secs()));
        for unreadable in ["", "-1", "soon", "1.5", "Sun, 06 Nov 1994"] {
            assert_eq!(seconds(unreadable), Some(PAUSE_DEFAULT.as_secs()), "`{unreadable}`");
        }
        assert_eq!(
            seconds("Sun, 06 Nov 1994 08:50:37 GMT"),
            Some(PAUSE_DEFAULT.as_secs()),
            "without a date of its own"
        );
    }

    #[test]
    fn only_429_and_a_503_that_says_so_are_a_word_to_wait() {
        assert_eq!((waits(429, &[]), waits(503, &[])), (Some(PAUSE_DEFAULT.as_secs()), None));
        assert_eq!(waits(503, &[(RETRY_AFTER, "7")]), Some(7));
        assert_eq!((waits(200, &[(RETRY_AFTER, "7")]), waits(500, &[(RETRY_AFTER, "7")])), (None, None));
    }

    #[test]
    fn a_pause_is_the_upstreams_own_and_ends() {
        let (pauses, start) = (Pauses::new(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pauses.left("a", start), None);
        pauses.hold("a", Duration::from_secs(7), start);
        pauses.hold("a", Duration::from_secs(2), start);
        assert_eq!(
            pauses.left("a", after(4)),
            Some(Duration::from_secs(3)),
            "a shorter word does not undo a longer one"
        );
        assert_eq!((pauses.left("b", start), pauses.left("a", after(7))), (None, None));
        pauses.hold("a", Duration::MAX, start);
        assert_eq!(pauses.left("a", start), Some(PAUSE_MAX));
    }
}
