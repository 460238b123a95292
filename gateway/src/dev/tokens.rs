//! Signers of tokens, with the keys that verify what they sign: honest headers, and any other.

use std::fmt;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256};
use serde_json::{Value, json};

/// A key that signs tokens, with its name.
#[derive(Clone)]
pub struct TokenSigner {
    key_id: String,
    algorithm: Algorithm,
    key: EncodingKey,
    jwk: Value,
}

/// What kind of key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Signs ES256.
    P256,
    /// Signs ES384.
    P384,
    /// Signs RS256; 2048 bits.
    Rsa,
    /// Signs EdDSA.
    Ed25519,
}

/// Where PKCS#8 of an RSA key of 2048 bits holds the key itself (RFC 5208, RFC 8017).
const RSA_PKCS1_AT: usize = 26;

/// What stands before the seed of an Ed25519 key (RFC 8410, section 7); the library reads no other form.
const ED25519_PKCS8: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

impl TokenSigner {
    /// A fresh key.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new(key_id: &str, kind: KeyKind) -> anyhow::Result<Self> {
        let pair = |algorithm| KeyPair::generate_for(algorithm).map(|pair| pair.serialize_der());
        let (algorithm, key) = match kind {
            KeyKind::P256 => (Algorithm::ES256, EncodingKey::from_ec_der(&pair(&PKCS_ECDSA_P256_SHA256)?)),
            KeyKind::P384 => (Algorithm::ES384, EncodingKey::from_ec_der(&pair(&PKCS_ECDSA_P384_SHA384)?)),
            KeyKind::Rsa => {
                let der = pair(&PKCS_RSA_SHA256)?;
                (Algorithm::RS256, EncodingKey::from_rsa_der(der.get(RSA_PKCS1_AT..).context("a short RSA key")?))
            }
            KeyKind::Ed25519 => {
                let mut der = ED25519_PKCS8.to_vec();
                der.resize(ED25519_PKCS8.len() + 32, 0);
                getrandom::fill(&mut der[ED25519_PKCS8.len()..])?;
                (Algorithm::EdDSA, EncodingKey::from_ed_der(&der))
            }
        };
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm)?)?;
        jwk["kid"] = json!(key_id);
        jwk["use"] = json!("sig");
        Ok(Self { key_id: key_id.to_owned(), algorithm, key, jwk })
    }

    /// The public key as a JWK (RFC 7517) with `kid`, `alg` and `use`.
    pub fn jwk(&self) -> Value {
        self.jwk.clone()
    }

    /// The public keys as a JWK Set.
    pub fn jwks(signers: &[&Self]) -> String {
        json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
    }

    /// The honest header: `alg`, `kid`, `typ`.
    pub fn header(&self) -> Value {
        json!({"alg": format!("{:?}", self.algorithm), "kid": self.key_id, "typ": "JWT"})
    }

    /// A token with the honest header.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }

    /// A token with any texts for header and claims, signed with the key's own algorithm.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_as(self.algorithm, header, claims)
    }

    /// The same with RSASSA-PSS; for RSA keys only.
    pub fn sign_pss(&self, header: &str, claims: &str) -> String {
        self.sign_as(Algorithm::PS256, header, claims)
    }

    fn sign_as(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, algorithm);
        format!("{message}.{}", signature.expect("broken invariant: the key is of the algorithm's kind"))
    }
}

/// A token that says HS256 and is keyed with `secret`.
///
/// # Panics
/// Never: any bytes key an HMAC.
pub fn sign_hs256(secret: &[u8], header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.expect("broken invariant: any bytes key an HMAC"))
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}
