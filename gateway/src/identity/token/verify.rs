//! Whether a token was signed for us and counts now.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::fault::TokenFault;
use super::jwks::Key;
use super::unverified::Unverified;
use crate::case::Timestamp;

/// The most audiences that a token may name.
const AUDIENCES: usize = 32;

/// What every token of one kind has to say.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Our name, as `aud` has to have it, sign by sign.
    pub(super) audience: String,
    /// The issuer's name; JWT-SVIDs are vouched for by their trust domain's keys instead.
    pub(super) issuer: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    /// What `typ` may be; a token without `typ` counts as `JWT`.
    pub(super) types: Vec<String>,
    pub(super) thumbprints: Thumbprints,
    /// How far an issuer's clock may be ahead of ours, in seconds; nothing prolongs a token's end.
    pub(super) ahead_s: i64,
    pub(super) issued: Issued,
    pub(super) max_life_s: i64,
}

/// Whether the header may name the key's certificate by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thumbprints {
    Allowed,
    Refused,
}

/// What `iat` is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Issued {
    /// It may not lie in the future.
    Checked,
    /// JWT-SVID does not ask for it, and agents' clocks differ: it has to be a number, no more.
    NumberOnly,
}

/// Holds what the token says against the terms; gives its end. The signature is still to be checked.
///
/// # Errors
/// The first thing that is not as it has to be.
pub(super) fn claimed(unverified: &Unverified<'_>, terms: &Terms, now: Timestamp) -> Result<Timestamp, TokenFault> {
    if !terms.algorithms.contains(&unverified.algorithm) {
        return Err(TokenFault::Algorithm);
    }
    if unverified.thumbprints && terms.thumbprints == Thumbprints::Refused {
        return Err(TokenFault::HeaderField);
    }
    let typ = unverified.typ.as_deref().unwrap_or("JWT");
    if !terms.types.iter().any(|allowed| allowed.eq_ignore_ascii_case(typ)) {
        return Err(TokenFault::Type);
    }
    if let Some(issuer) = &terms.issuer
        && unverified.text("iss")? != issuer
    {
        return Err(TokenFault::Issuer);
    }
    names(unverified.claims.get("aud"), &terms.audience)?;
    times(unverified, terms, now)
}

/// Verifies the signature, and has the library look at audience, issuer and required claims once more.
///
/// # Errors
/// The key is for another algorithm, or did not sign this.
pub(super) fn signed(unverified: &Unverified<'_>, key: &Key, terms: &Terms) -> Result<(), TokenFault> {
    if !key.algorithms.contains(&unverified.algorithm) {
        return Err(TokenFault::KeyAlgorithm);
    }
    let mut validation = Validation::new(unverified.algorithm);
    // The library reads the clock itself: times were held against `now`.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.set_audience(&[&terms.audience]);
    match &terms.issuer {
        Some(issuer) => {
            validation.set_issuer(&[issuer]);
            validation.set_required_spec_claims(&["exp", "aud", "sub", "iss"]);
        }
        None => validation.set_required_spec_claims(&["exp", "aud", "sub"]),
    }
    match decode::<IgnoredAny>(unverified.jwt, &key.decoding, &validation) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidAudience => TokenFault::Audience,
            ErrorKind::InvalidIssuer => TokenFault::Issuer,
            ErrorKind::InvalidAlgorithm => TokenFault::Algorithm,
            _ => TokenFault::Signature,
        }),
    }
}

/// RFC 7519, section 4.1.3: one text, or a list of texts with ours among them.
fn names(audiences: Option<&Value>, ours: &str) -> Result<(), TokenFault> {
    let fault = TokenFault::Claim { claim: "aud" };
    let named = match audiences {
        Some(Value::String(one)) => one == ours,
        Some(Value::Array(list)) if list.len() <= AUDIENCES => {
            if !list.iter().all(Value::is_string) {
                return Err(fault);
            }
            list.iter().any(|one| one == ours)
        }
        _ => return Err(fault),
    };
    if named { Ok(()) } else { Err(TokenFault::Audience) }
}

fn times(unverified: &Unverified<'_>, terms: &Terms, now: Timestamp) -> Result<Timestamp, TokenFault> {
    let seconds = |claim: &'static str| match unverified.claims.get(claim) {
        None => Ok(None),
        // Whole seconds; a fraction, a text or a number past all calendars is no time of ours.
        Some(value) => value
            .as_u64()
            .and_then(|seconds| i64::try_from(seconds).ok())
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map(Some)
            .ok_or(TokenFault::Claim { claim }),
    };
    let end = seconds("exp")?.ok_or(TokenFault::Claim { claim: "exp" })?;
    let (begin, issued) = (seconds("nbf")?, seconds("iat")?);
    if now >= end {
        return Err(TokenFault::Expired);
    }
    let ahead = |time: Timestamp| time.as_second().saturating_sub(now.as_second()) > terms.ahead_s;
    if begin.is_some_and(ahead) || terms.issued == Issued::Checked && issued.is_some_and(ahead) {
        return Err(TokenFault::NotYetValid);
    }
    let since = issued.filter(|issued| *issued <= now).unwrap_or(now);
    if end.as_second().saturating_sub(since.as_second()) > terms.max_life_s {
        return Err(TokenFault::LivesTooLong);
    }
    Ok(end)
}
