//! A token as it was shown, read in one way only; nothing in it is proven.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::fault::TokenFault;
use crate::strict_json;

/// The largest token, in bytes: those of clouds with many groups have about 4 KiB.
pub const TOKEN_SIZE_BYTES: usize = 8 * 1024;
/// The deepest header: an object of texts.
const HEADER_DEPTH: usize = 2;
/// The deepest claims: Kubernetes nests three levels, Keycloak four.
const CLAIMS_DEPTH: usize = 8;
/// The longest name of a key, in bytes.
pub(super) const KEY_ID_SIZE_BYTES: usize = 256;
/// The longest signature, in bytes: that of an RSA key of 8192 bits.
const SIGNATURE_SIZE_BYTES: usize = 1024;
/// What a header may hold. `crit`, `jku`, `jwk`, `x5u`, `x5c` and `b64` would change whose key counts or what is signed.
const HEADER_FIELDS: [&str; 5] = ["alg", "kid", "typ", "x5t", "x5t#S256"];

/// The parts of a token, `HEADER.CLAIMS.SIGNATURE` (RFC 7515, section 7.1).
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    pub(super) jwt: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: String,
    pub(super) typ: Option<String>,
    pub(super) thumbprints: bool,
    pub(super) claims: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    /// Reads a token before any key is looked at.
    ///
    /// # Errors
    /// What no honest token has: duplicate names, other fields, padding, a shared secret's algorithm.
    pub(super) fn read(jwt: &'a str) -> Result<Self, TokenFault> {
        if jwt.len() > TOKEN_SIZE_BYTES {
            return Err(TokenFault::TooLarge);
        }
        let mut parts = jwt.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::Form);
        };
        let [header, claims, signature] = [header, claims, signature].map(decoded);
        let (header, claims, signature) = (header?, claims?, signature?);
        if signature.len() > SIGNATURE_SIZE_BYTES {
            return Err(TokenFault::Form);
        }
        let header = object(&header, HEADER_DEPTH).ok_or(TokenFault::Header)?;
        if header.keys().any(|field| !HEADER_FIELDS.contains(&field.as_str())) {
            return Err(TokenFault::HeaderField);
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(TokenFault::Header),
        };
        let algorithm = text("alg")?.and_then(|name| algorithm(&name)).ok_or(TokenFault::Algorithm)?;
        let key_id = text("kid").map_err(|_| TokenFault::KeyId)?;
        let key_id = key_id.filter(|id| (1..=KEY_ID_SIZE_BYTES).contains(&id.len())).ok_or(TokenFault::KeyId)?;
        let typ = text("typ")?;
        let thumbprints = [text("x5t")?, text("x5t#S256")?].iter().any(Option::is_some);
        let claims = object(&claims, CLAIMS_DEPTH).ok_or(TokenFault::Claims)?;
        Ok(Self { jwt, algorithm, key_id, typ, thumbprints, claims })
    }

    /// A claim that has to be a text, and is not an empty one.
    pub(super) fn text(&self, claim: &'static str) -> Result<&str, TokenFault> {
        let text = self.claims.get(claim).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).ok_or(TokenFault::Claim { claim })
    }
}

/// The engine refuses padding, other alphabets and bits behind the last byte: one text for one value.
fn decoded(part: &str) -> Result<Vec<u8>, TokenFault> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Form)?;
    if bytes.is_empty() { Err(TokenFault::Form) } else { Ok(bytes) }
}

fn object(json: &[u8], depth: usize) -> Option<Map<String, Value>> {
    match strict_json::parse(json, depth) {
        Ok(Value::Object(fields)) => Some(fields),
        Ok(_) | Err(_) => None,
    }
}

/// The algorithms of public keys; `none` and those of shared secrets have no place in the type that a caller is made of.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    PUBLIC_KEY.into_iter().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
}

/// RFC 7518, section 3.1, and RFC 8037; no `ES512`, which the library does not know.
const PUBLIC_KEY: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];
