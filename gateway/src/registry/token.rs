//! Tokens that a registry's token endpoint gives for one repository.

use std::time::Duration;

use moka::sync::Cache;
use reqwest::header::HeaderValue;
use serde_json::Value;
use tokio::time::Instant;

use crate::strict_json;

use super::budgets::{TOKEN_BYTES, TOKEN_DEFAULT_LIFE_S, TOKEN_LIFE_S, TOKENS};
use super::fault::Fault;

/// An `Authorization` that worked, by the upstream and the scope it was made for.
#[derive(Clone, Debug)]
pub(super) struct Authorizations(Cache<(String, String), Held>);

#[derive(Clone, Debug)]
struct Held {
    /// Marked sensitive: `Debug` does not print it.
    authorization: HeaderValue,
    not_after: Option<Instant>,
}

impl Authorizations {
    /// An empty cache.
    pub fn new() -> Self {
        Self(Cache::new(TOKENS))
    }

    /// What to send to `upstream` for `scope`, if it is still good at `now`.
    pub fn held(&self, upstream: &str, scope: &str, now: Instant) -> Option<HeaderValue> {
        let held = self.0.get(&(upstream.to_owned(), scope.to_owned()))?;
        held.not_after.is_none_or(|not_after| now < not_after).then_some(held.authorization)
    }

    /// Remembers what works until `not_after`, or until it is refused.
    pub fn hold(&self, upstream: &str, scope: &str, authorization: HeaderValue, not_after: Option<Instant>) {
        self.0.insert((upstream.to_owned(), scope.to_owned()), Held { authorization, not_after });
    }

    /// Forgets what the registry no longer takes.
    pub fn drop_held(&self, upstream: &str, scope: &str) {
        self.0.invalidate(&(upstream.to_owned(), scope.to_owned()));
    }
}

/// Reads a token endpoint's answer: the header to send, how long it may be used.
///
/// ```json
/// {"token":"…","access_token":"…","expires_in":300}
/// ```
/// (Docker token specification, "Token response fields".)
pub(super) fn read_answer(body: &[u8]) -> Result<(HeaderValue, Duration), Fault> {
    let malformed = |detail| Fault::TokenMalformed { detail };
    let answer =
        strict_json::parse(body, strict_json::MAX_DEPTH).map_err(|_| malformed("no JSON, or keys that stand twice"))?;
    let text = |name| match answer.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(malformed("`token` or `access_token` is no text")),
    };
    let token = match (text("token")?, text("access_token")?) {
        (Some(token), Some(access)) if token != access => return Err(malformed("`token` and `access_token` differ")),
        (Some(token), _) | (None, Some(token)) => token,
        (None, None) => return Err(malformed("no `token`")),
    };
    let life_s = match answer.get("expires_in") {
        None | Some(Value::Null) => TOKEN_DEFAULT_LIFE_S,
        Some(life) => life.as_u64().ok_or(malformed("`expires_in` is no number of seconds"))?.min(TOKEN_LIFE_S),
    };
    // A tenth less than promised: it has to be good when it arrives.
    Ok((
        bearer(token).ok_or(malformed("the token is empty, too long or not printable"))?,
        Duration::from_millis(life_s * 900),
    ))
}

/// `Bearer TOKEN` as a header that no log prints; none if the text is no token (RFC 6750 §2.1, widened to printable ASCII).
pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    if token.is_empty() || token.len() > TOKEN_BYTES || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life_ms(body: &str) -> u128 {
        read_answer(body.as_bytes()).unwrap().1.as_millis()
    }

    #[test]
    fn takes_both_names_and_believes_no_long_life() {
        assert_eq!(read_answer(br#"{"token":"a.b-c"}"#).unwrap().0, "Bearer a.b-c");
        assert_eq!(read_answer(br#"{"access_token":"x","token":"x"}"#).unwrap().0, "Bearer x");
        assert_eq!(life_ms(r#"{"token":"x"}"#), 54_000);
        assert_eq!(life_ms(r#"{"token":"x","expires_in":0}"#), 0);
        assert_eq!(life_ms(r#"{"token":"x","expires_in":18446744073709551615}"#), 3_240_000);
    }

    #[test]
    fn refuses_answers_that_could_smuggle_something() {
        let long = format!(r#"{{"token":"{}"}}"#, "x".repeat(TOKEN_BYTES + 1));
        for body in [
            r#"{"token":"a\nb"}"#,
            r#"{"token":"a b"}"#,
            r#"{"token":""}"#,
            r#"{"token":"é"}"#,
            r#"{"token":1}"#,
            r#"{"token":"a","token":"b"}"#,
            r#"{"token":"a","access_token":"b"}"#,
            r#"{"token":"a","expires_in":-1}"#,
            r#"{"token":"a","expires_in":"300"}"#,
            r#"{"token":"a","expires_in":1e30}"#,
            r#"{}"#,
            r#"[]"#,
            "",
            &long,
        ] {
            assert!(matches!(read_answer(body.as_bytes()), Err(Fault::TokenMalformed { .. })), "`{body}` was taken");
        }
        let longest = format!(r#"{{"token":"{}"}}"#, "x".repeat(TOKEN_BYTES));
        assert!(read_answer(longest.as_bytes()).is_ok());
    }

    #[test]
    fn a_token_is_kept_for_its_life_its_upstream_and_its_scope() {
        let (held, start) = (Authorizations::new(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        held.hold("a", "s", bearer("secret").unwrap(), Some(after(54)));
        assert!(held.held("b", "s", start).is_none() && held.held("a", "t", start).is_none());
        assert_eq!(held.held("a", "s", after(53)).unwrap(), "Bearer secret");
        assert!(!format!("{held:?} {:?}", held.held("a", "s", start)).contains("secret"), "a secret is printed");
        assert!(held.held("a", "s", after(54)).is_none());
        held.drop_held("a", "s");
        assert!(held.held("a", "s", start).is_none());
    }
}
