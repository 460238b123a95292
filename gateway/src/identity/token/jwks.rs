//! A JWK Set (RFC 7517) as keys that may verify tokens: what is not sure is left out.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::unverified::{KEY_ID_SIZE_BYTES, algorithm};
use crate::strict_json;

/// The largest JWK Set, in bytes; GitHub's has about 4 KiB.
pub const JWKS_SIZE_BYTES: usize = 256 * 1024;
/// The most keys of one set.
pub const JWKS_KEYS: usize = 64;
/// The deepest set: an object, its array, a key, its operations or certificates.
const JWKS_DEPTH: usize = 6;
/// RSA keys have at least this many bits (NIST SP 800-131A), and at most what the library verifies with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The largest public exponent, in bytes: 65537 has three.
const RSA_EXPONENT_BYTES: usize = 4;

/// What the keys of a set are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// JWT-SVID, section 4: `use` is absent, `sig` or `jwt-svid`; RSA and EC keys.
    JwtSvid,
    /// OpenID Connect: `use` is absent or `sig`; RSA, EC and Ed25519 keys.
    Oidc,
}

/// A public key with the algorithms that it may verify.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
}

/// The keys of one set by their `kid`.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet {
    keys: BTreeMap<String, Key>,
    digest: [u8; 32],
}

/// Why a JWK Set gives no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksFault {
    /// Larger than is read.
    #[error("a JWK Set has at most {JWKS_SIZE_BYTES} bytes")]
    TooLarge,
    /// No JSON, or JSON that can be read in two ways.
    #[error("it is no JSON, or JSON that can be read in two ways")]
    Json,
    /// No object with an array `keys`.
    #[error("it is no JWK Set: expected an object with an array `keys`")]
    NoSet,
    /// More keys than are looked at.
    #[error("a JWK Set has at most {JWKS_KEYS} keys")]
    TooMany,
    /// Not one key that may verify tokens.
    #[error(
        "it holds no key that may verify tokens: RSA of 2048 bits or more, P-256, P-384 or Ed25519, each with its `kid`"
    )]
    NoKeys,
}

impl KeySet {
    /// Reads a set; keys of other kinds and purposes are left out, and so is every key whose `kid` stands twice.
    ///
    /// # Errors
    /// [`JwksFault`]: not one key is usable.
    pub(super) fn read(json: &[u8], purpose: Purpose) -> Result<Self, JwksFault> {
        if json.len() > JWKS_SIZE_BYTES {
            return Err(JwksFault::TooLarge);
        }
        let set = strict_json::parse(json, JWKS_DEPTH).map_err(|_| JwksFault::Json)?;
        let found = set.get("keys").and_then(Value::as_array).ok_or(JwksFault::NoSet)?;
        if found.len() > JWKS_KEYS {
            return Err(JwksFault::TooMany);
        }
        let (mut keys, mut seen, mut doubtful) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        for jwk in found.iter().filter_map(Value::as_object) {
            let Some(id) = key_id(jwk) else { continue };
            if !seen.insert(id) {
                doubtful.insert(id);
            }
            if let Some(key) = Key::read(jwk, purpose) {
                keys.insert(id.to_owned(), key);
            }
        }
        keys.retain(|id, _| !doubtful.contains(id.as_str()));
        if keys.is_empty() {
            return Err(JwksFault::NoKeys);
        }
        Ok(Self { keys, digest: Sha256::digest(json).into() })
    }

    pub(super) fn key(&self, id: &str) -> Option<&Key> {
        self.keys.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether both were read from the same bytes.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

fn key_id(jwk: &Map<String, Value>) -> Option<&str> {
    jwk.get("kid")?.as_str().filter(|id| (1..=KEY_ID_SIZE_BYTES).contains(&id.len()))
}

impl Key {
    /// Reads one JWK; `None` for a key that may not verify tokens.
    pub(super) fn read(jwk: &Map<String, Value>, purpose: Purpose) -> Option<Self> {
        let usable = match (jwk.get("use"), purpose) {
            (None, _) => true,
            (Some(Value::String(purpose)), Purpose::Oidc) => purpose == "sig",
            (Some(Value::String(purpose)), Purpose::JwtSvid) => purpose == "sig" || purpose == "jwt-svid",
            (Some(_), _) => false,
        };
        let verifies = match jwk.get("key_ops") {
            None => true,
            Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
            Some(_) => false,
        };
        // A set that shows private parts was not made to be published: whoever read it can sign.
        let private = ["d", "p", "q", "k"].iter().any(|field| jwk.contains_key(*field));
        if !usable || !verifies || private {
            return None;
        }
        let (mut algorithms, decoding) = match (jwk.get("kty")?.as_str()?, purpose) {
            ("RSA", _) => (RSA.to_vec(), rsa(jwk)?),
            ("EC", _) => ec(jwk)?,
            ("OKP", Purpose::Oidc) => (vec![Algorithm::EdDSA], ed25519(jwk)?),
            _ => return None,
        };
        if let Some(declared) = jwk.get("alg") {
            let declared = algorithm(declared.as_str()?)?;
            algorithms.retain(|algorithm| *algorithm == declared);
        }
        (!algorithms.is_empty()).then_some(Self { algorithms, decoding })
    }
}

const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// A member of base64url without padding, in its one spelling.
fn member(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok()
}

/// RFC 7518, section 6.3: numbers without leading zeros; an exponent of 1 would take every signature for its own message.
fn rsa(jwk: &Map<String, Value>) -> Option<DecodingKey> {
    let (n, e) = (member(jwk, "n")?, member(jwk, "e")?);
    let first = *n.first()?;
    let bits = (n.len() * 8).checked_sub(first.leading_zeros() as usize)?;
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let exponent = e.first() != Some(&0) && e.len() <= RSA_EXPONENT_BYTES && odd(&e) && e != [1];
    let modulus = first != 0 && RSA_BITS.contains(&bits) && odd(&n);
    (modulus && exponent).then(|| DecodingKey::from_rsa_raw_components(&n, &e))
}

/// RFC 7518, section 6.2: coordinates of the curve's full width; that the point lies on it is the verifier's to see.
fn ec(jwk: &Map<String, Value>) -> Option<(Vec<Algorithm>, DecodingKey)> {
    let (algorithm, width) = match jwk.get("crv")?.as_str()? {
        "P-256" => (Algorithm::ES256, 32),
        "P-384" => (Algorithm::ES384, 48),
        _ => return None,
    };
    let full = |name| member(jwk, name).is_some_and(|bytes| bytes.len() == width);
    if !full("x") || !full("y") {
        return None;
    }
    let key = DecodingKey::from_ec_components(jwk.get("x")?.as_str()?, jwk.get("y")?.as_str()?).ok()?;
    Some((vec![algorithm], key))
}

/// RFC 8037; a point of small order would take signatures that nobody made.
fn ed25519(jwk: &Map<String, Value>) -> Option<DecodingKey> {
    if jwk.get("crv")?.as_str()? != "Ed25519" {
        return None;
    }
    let bytes: [u8; 32] = member(jwk, "x")?.try_into().ok()?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok()?;
    (!key.is_weak()).then(|| DecodingKey::from_ed_der(&bytes))
}
