//! The readers of tokens and keys, opened to the fuzz targets.

use std::collections::BTreeSet;

use spiffe::TrustDomain;

use super::callers::{CallerPattern, Callers};
use super::presented::Presented;
use super::token::{self, Tokens};
use crate::case::Timestamp;

/// Our name in the tokens that the judge takes.
pub const AUDIENCE: &str = "https://witgate.example";
/// The issuer that the judge calls `ci`, with ids of `sub`.
pub const ISSUER: &str = "https://ci.example";

/// A judge of JWT-SVIDs of `gate.example` and of [`ISSUER`]'s tokens, both under the keys of `jwks`.
///
/// # Panics
/// `jwks` holds no keys.
pub fn judge(jwks: &str, now: Timestamp) -> Tokens {
    let trust_domain = TrustDomain::new("gate.example").expect("a trust domain");
    let callers = ["spiffe://gate.example".to_owned(), "oidc:ci/*".to_owned()];
    let issuers = BTreeSet::from(["ci".to_owned()]);
    let callers =
        Callers::read(&callers, BTreeSet::from([trust_domain]), issuers).expect("callers that are configured");
    token::over_keys(jwks.as_bytes(), callers, now)
}

/// The id of the caller that shows these bytes.
pub fn caller(judge: &Tokens, jwt: &[u8], now: Timestamp) -> Option<String> {
    let presented = Presented::from_password(String::from_utf8(jwt.to_vec()).ok()?).ok()?;
    judge.caller(&presented, now).ok().map(|caller| caller.facts().id.clone())
}

/// How many keys of a JWK Set count.
pub fn keys(jwks: &[u8]) -> usize {
    token::count_keys(jwks)
}

/// Where a discovery document of [`ISSUER`] says that its keys are.
pub fn jwks_uri(document: &[u8]) -> Option<String> {
    token::jwks_uri(ISSUER, document)
}

/// The token in the value of an `Authorization` header.
pub fn authorization(value: &[u8]) -> Option<String> {
    Presented::from_authorization(value).ok().map(|presented| presented.unverified().to_owned())
}

/// An entry of `identity.callers` as it is written back.
pub fn caller_pattern(text: &str) -> Option<String> {
    text.parse::<CallerPattern>().ok().map(|pattern| pattern.to_string())
}
