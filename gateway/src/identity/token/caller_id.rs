//! How an issuer's claims become the id of a caller: `oidc:ISSUER/…`, another id for every other choice of claims.

use std::fmt::Write as _;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::super::callers::OIDC;
use super::fault::TokenFault;

/// A rule such as `{repository_owner_id}/{repository_id}` or `{/kubernetes.io/namespace}/{sub}`.
///
/// Segments are parted by `/`. Each is a word, or one claim in braces: its name, or a JSON pointer (RFC 6901) to it. A claim
/// fills its segment alone, and what would part segments is written as `%XX`, so two callers never have one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallerId(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Word(String),
    Claim(Vec<String>),
}

/// A text is no rule for ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected segments parted by `/`, each a word or one claim in braces, and at least one claim")]
pub(super) struct NoCallerId;

/// The longest id of a caller, in bytes: that of a SPIFFE ID (SPIFFE-ID, section 2.3).
pub(super) const CALLER_ID_SIZE_BYTES: usize = 2048;

impl CallerId {
    /// The id of the caller with these claims, at the issuer that the configuration calls `issuer`.
    ///
    /// # Errors
    /// A claim is missing, is no text, number or truth, is empty, or the id is too long.
    pub(super) fn of(&self, issuer: &str, claims: &Map<String, Value>) -> Result<String, TokenFault> {
        let mut id = format!("{OIDC}{issuer}");
        for segment in &self.0 {
            id.push('/');
            match segment {
                Segment::Word(word) => id.push_str(word),
                Segment::Claim(path) => write_claim(&mut id, claim(claims, path).ok_or(TokenFault::CallerId)?)?,
            }
        }
        if id.len() <= CALLER_ID_SIZE_BYTES { Ok(id) } else { Err(TokenFault::CallerId) }
    }
}

fn claim<'a>(claims: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
}

fn write_claim(id: &mut String, value: &Value) -> Result<(), TokenFault> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() || number.is_i64() => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        _ => return Err(TokenFault::CallerId),
    };
    // Readers of paths take the dots for the folder itself and for the one above it.
    if matches!(text.as_str(), "" | "." | "..") {
        return Err(TokenFault::CallerId);
    }
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@+=,".contains(&byte) {
            id.push(char::from(byte));
        } else {
            write!(id, "%{byte:02X}").expect("broken invariant: writing to a text does not fail");
        }
    }
    Ok(())
}

impl FromStr for CallerId {
    type Err = NoCallerId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut segments, mut rest) = (Vec::new(), text);
        loop {
            // A pointer has slashes of its own: braces are read first.
            let (segment, behind) = match rest.strip_prefix('{') {
                Some(inside) => {
                    let (name, behind) = inside.split_once('}').ok_or(NoCallerId)?;
                    (Segment::Claim(path(name)?), behind)
                }
                None => {
                    let end = rest.find('/').unwrap_or(rest.len());
                    let (word, behind) = rest.split_at(end);
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@+=,".contains(&byte);
                    if matches!(word, "" | "." | "..") || !word.bytes().all(plain) {
                        return Err(NoCallerId);
                    }
                    (Segment::Word(word.to_owned()), behind)
                }
            };
            segments.push(segment);
            match behind.strip_prefix('/') {
                Some(next) => rest = next,
                None if behind.is_empty() => break,
                None => return Err(NoCallerId),
            }
        }
        // Without a claim every holder of a token of this issuer would be one and the same caller.
        if segments.iter().any(|segment| matches!(segment, Segment::Claim(_))) {
            Ok(Self(segments))
        } else {
            Err(NoCallerId)
        }
    }
}

fn path(name: &str) -> Result<Vec<String>, NoCallerId> {
    let names: Vec<String> = match name.strip_prefix('/') {
        None => vec![name.to_owned()],
        Some(pointer) => pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect(),
    };
    let named = |name: &String| !name.is_empty() && !name.contains('{');
    if names.iter().all(named) { Ok(names) } else { Err(NoCallerId) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn id(rule: &str, claims: Value) -> Result<String, TokenFault> {
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        rule.parse::<CallerId>().unwrap().of("ci", &claims)
    }

    #[test]
    fn claims_fill_segments() {
        let claims =
            json!({"repository_owner_id": "1234", "repository_id": 5678, "environment": "prod", "protected": true});
        assert_eq!(id("{repository_owner_id}/{repository_id}", claims.clone()).unwrap(), "oidc:ci/1234/5678");
        assert_eq!(id("repo/{repository_id}/{protected}", claims).unwrap(), "oidc:ci/repo/5678/true");
        let pod = json!({
            "sub": "system:serviceaccount:shop:cart",
            "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "cart", "uid": "5b7c"}},
        });
        assert_eq!(id("{sub}", pod.clone()).unwrap(), "oidc:ci/system:serviceaccount:shop:cart");
        let rule =
            "{/kubernetes.io/namespace}/{/kubernetes.io/serviceaccount/name}/{/kubernetes.io/serviceaccount/uid}";
        assert_eq!(id(rule, pod).unwrap(), "oidc:ci/shop/cart/5b7c");
        assert_eq!(id("{/a~1b/~0}", json!({"a/b": {"~": "x"}})).unwrap(), "oidc:ci/x");
    }

    #[test]
    fn a_claim_never_leaves_its_segment() {
        let of = |text: &str| id("{sub}", json!({ "sub": text }));
        assert_eq!(of("acme/cart").unwrap(), "oidc:ci/acme%2Fcart");
        assert_eq!(of("*").unwrap(), "oidc:ci/%2A");
        assert_eq!(of("a%2Fb").unwrap(), "oidc:ci/a%252Fb");
        assert_eq!(of("ü\n").unwrap(), "oidc:ci/%C3%BC%0A");
        assert_eq!(of("...").unwrap(), "oidc:ci/...");
        for value in [json!(""), json!("."), json!(".."), json!(null), json!(1.5), json!(["a"]), json!({"a": "b"})] {
            assert_eq!(id("{sub}", json!({ "sub": value })), Err(TokenFault::CallerId), "{value}");
        }
        assert_eq!(id("{sub}", json!({})), Err(TokenFault::CallerId));
        assert_eq!(id("{/a/b}", json!({"a": "b"})), Err(TokenFault::CallerId));
    }

    #[test]
    fn an_id_has_a_longest_length() {
        let room = CALLER_ID_SIZE_BYTES - "oidc:ci/".len();
        assert!(id("{sub}", json!({"sub": "a".repeat(room)})).is_ok());
        assert_eq!(id("{sub}", json!({"sub": "a".repeat(room + 1)})), Err(TokenFault::CallerId));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "",
            "/",
            "{}",
            "{sub",
            "sub}",
            "{sub}{iss}",
            "{sub}x",
            "x{sub}",
            "{sub}/",
            "/{sub}",
            "{sub}//x",
            "word",
            "../{sub}",
            "{a{b}",
            "*/{sub}",
            "a b/{sub}",
            "{/}",
            "{/a//b}",
        ] {
            assert_eq!(text.parse::<CallerId>(), Err(NoCallerId), "`{text}` was taken");
        }
    }

    proptest! {
        #[test]
        fn two_callers_never_have_one_id(a in "\\PC{1,6}", b in "\\PC{1,6}", c in "\\PC{1,6}", d in "\\PC{1,6}") {
            let of = |one: &str, two: &str| id("{a}/{b}", json!({"a": one, "b": two}));
            if let (Ok(one), Ok(two)) = (of(&a, &b), of(&c, &d)) {
                prop_assert_eq!(one == two, a == c && b == d);
                prop_assert_eq!(one.split('/').count(), 3);
            }
        }
    }
}
