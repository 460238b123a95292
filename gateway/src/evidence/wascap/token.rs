//! A token in three segments: read in one way or not at all, then verified.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::limits::{PAYLOAD_DEPTH_MAX, TAGS_MAX, TARGETS_MAX, TEXT_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::case::Timestamp;
use crate::evidence::rejection::Rejection;
use crate::nkey::{Kind, Nkey};
use crate::reason::Code;
use crate::strict_json;

/// `{"typ":"jwt","alg":"Ed25519"}`: the one header there is, in the one spelling that wascap writes.
const HEADER: &str = "eyJ0eXAiOiJqd3QiLCJhbGciOiJFZDI1NTE5In0";
/// From this revision on the hash is computed as we do, and was compared by wasmCloud's hosts.
pub(super) const REVISION_BOUND: i64 = 3;

/// What a token may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A component or core module: the subject is `M…`.
    Component,
    /// A provider archive: the subject is `V…`.
    Provider,
}

/// A token that reads well; whether its signature is good is [`Token::is_signed`]'s answer.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) issuer: Nkey,
    pub(super) subject: Nkey,
    pub(super) name: Option<String>,
    /// Absent in tokens of before 0.9.
    pub(super) revision: Option<i64>,
    pub(super) issued_at: Timestamp,
    pub(super) not_before: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) bytes: Bound,
    /// The whole payload.
    pub(super) claims: Value,
    signed: &'a [u8],
    signature: [u8; 64],
}

/// Which bytes a token says it is about.
#[derive(Debug)]
pub(super) enum Bound {
    /// The SHA-256 of a component without token sections.
    Component([u8; 32]),
    /// The SHA-256 of each entry of a provider archive, by target or `world.wasm`.
    Provider(BTreeMap<String, [u8; 32]>),
}

impl<'a> Token<'a> {
    /// Reads `HEADER.PAYLOAD.SIGNATURE`.
    pub(super) fn read(bytes: &'a [u8], about: About) -> Result<Self, Rejection> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(over("a token", "bytes", TOKEN_BYTES_MAX, bytes.len()));
        }
        let segments: Vec<&[u8]> = bytes.splitn(SEGMENTS + 1, |byte| *byte == b'.').collect();
        let [header, payload, signature] = segments[..] else {
            return Err(malformed(format!("{SEGMENTS} segments joined by `.`"), format!("{} or more", segments.len())));
        };
        if header != HEADER.as_bytes() {
            let found = String::from_utf8_lossy(header.get(..80).unwrap_or(header));
            return Err(malformed(format!("the header `{HEADER}`"), format!("`{found}`")));
        }
        let signature = segment(signature, "signature")?;
        let signature = <[u8; 64]>::try_from(signature)
            .map_err(|bytes| malformed("a signature of 64 bytes", format!("{} bytes", bytes.len())))?;
        let claims = strict_json::parse(&segment(payload, "payload")?, PAYLOAD_DEPTH_MAX)
            .map_err(|error| malformed("a payload in JSON", error))?;
        let signed = bytes.get(..header.len() + 1 + payload.len()).expect("broken invariant: two segments and a dot");
        Self::from_claims(claims, about, signed, signature)
    }

    fn from_claims(claims: Value, about: About, signed: &'a [u8], signature: [u8; 64]) -> Result<Self, Rejection> {
        let payload: Payload = typed(&claims, "payload")?;
        within("a text", &payload.jti)?;
        let nkey = |kind, name: &str, text: &str| {
            Nkey::of_kind(kind, text).map_err(|error| malformed(format!("an nkey of {kind} as `{name}`"), error))
        };
        let issuer = nkey(Kind::Account, "iss", &payload.iss)?;
        let (kind, (name, bytes)) = match about {
            About::Component => (Kind::Module, component(&payload.wascap)?),
            About::Provider => (Kind::Service, provider(&payload.wascap)?),
        };
        Ok(Self {
            issuer,
            subject: nkey(kind, "sub", &payload.sub)?,
            name,
            revision: payload.wascap_revision,
            issued_at: seconds("iat", payload.iat)?,
            not_before: payload.nbf.map(|time| seconds("nbf", time)).transpose()?,
            expires_at: payload.exp.map(|time| seconds("exp", time)).transpose()?,
            bytes,
            claims,
            signed,
            signature,
        })
    }

    /// Whether the issuer signed it, by the strict rules of Ed25519.
    pub(super) fn is_signed(&self) -> bool {
        self.issuer.key().verifies(self.signed, &self.signature)
    }
}

/// What a token says, in the order that wascap writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    exp: Option<u64>,
    jti: String,
    iat: u64,
    iss: String,
    sub: String,
    nbf: Option<u64>,
    wascap: Value,
    wascap_revision: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the fields say which members there may be, and of which type")]
struct Component {
    name: Option<String>,
    hash: String,
    tags: Option<Vec<String>>,
    caps: Option<Vec<String>>,
    rev: Option<i32>,
    ver: Option<String>,
    call_alias: Option<String>,
    prov: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "the fields say which members there may be, and of which type")]
struct Provider {
    name: Option<String>,
    capid: Option<String>,
    vendor: Option<String>,
    rev: Option<i32>,
    ver: Option<String>,
    target_hashes: BTreeMap<String, String>,
    config_schema: Option<Value>,
}

fn component(claims: &Value) -> Result<(Option<String>, Bound), Rejection> {
    let claims: Component = typed(claims, "`wascap` of a component")?;
    for list in [&claims.tags, &claims.caps].into_iter().flatten() {
        if list.len() > TAGS_MAX {
            return Err(over("a list", "tags or capabilities", TAGS_MAX, list.len()));
        }
    }
    let texts = [&claims.name, &claims.ver, &claims.call_alias].into_iter().flatten();
    let tags = [&claims.tags, &claims.caps].into_iter().flatten().flatten();
    texts.chain(tags).try_for_each(|text| within("a text", text))?;
    Ok((claims.name, Bound::Component(hash("hash", &claims.hash)?)))
}

fn provider(claims: &Value) -> Result<(Option<String>, Bound), Rejection> {
    let claims: Provider = typed(claims, "`wascap` of a provider")?;
    let texts = [&claims.name, &claims.capid, &claims.vendor, &claims.ver].into_iter().flatten();
    texts.chain(claims.target_hashes.keys()).try_for_each(|text| within("a text", text))?;
    if claims.target_hashes.len() > TARGETS_MAX + 1 {
        let found = claims.target_hashes.len();
        return Err(over("`target_hashes`", "targets with the world", TARGETS_MAX + 1, found));
    }
    let hashes = claims.target_hashes.into_iter();
    let hashes: Result<_, Rejection> =
        hashes.map(|(target, text)| Ok((target, hash("target_hashes", &text)?))).collect();
    Ok((claims.name, Bound::Provider(hashes?)))
}

fn typed<'a, T: Deserialize<'a>>(value: &'a Value, what: &str) -> Result<T, Rejection> {
    // serde takes a list for a struct.
    if !value.is_object() {
        return Err(malformed(format!("the {what} as a JSON object"), "something else"));
    }
    T::deserialize(value).map_err(|error| malformed(format!("the known members in the {what}"), error))
}

/// One segment: base64url without padding, and without bits that mean nothing (RFC 4648 §3.5).
fn segment(text: &[u8], what: &str) -> Result<Vec<u8>, Rejection> {
    let wanted = || format!("the {what} in base64url without padding");
    URL_SAFE_NO_PAD.decode(text).map_err(|error| malformed(wanted(), error))
}

fn hash(name: &str, text: &str) -> Result<[u8; 32], Rejection> {
    let is_upper_hex = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    let mut bytes = [0; 32];
    match is_upper_hex && hex::decode_to_slice(text, &mut bytes).is_ok() {
        true => Ok(bytes),
        false => Err(malformed(format!("64 upper-case hex digits in `{name}`"), format!("`{text}`"))),
    }
}

fn seconds(name: &str, seconds: u64) -> Result<Timestamp, Rejection> {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.ok_or_else(|| malformed(format!("seconds before the year 10000 in `{name}`"), seconds))
}

fn within(what: &str, text: &str) -> Result<(), Rejection> {
    if text.len() > TEXT_BYTES_MAX { Err(over(what, "bytes", TEXT_BYTES_MAX, text.len())) } else { Ok(()) }
}

fn over(what: &str, unit: &str, limit: usize, found: usize) -> Rejection {
    Rejection::mismatch(Code::LIMIT_EXCEEDED, format!("{what} of at most {limit} {unit}"), found)
}

pub(super) fn malformed(expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Rejection {
    Rejection::mismatch(Code::TOKEN_MALFORMED, expected, found)
}

/// Header, payload, signature.
const SEGMENTS: usize = 3;
