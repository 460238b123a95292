//! Tokens, the keys that verify them, and how a request shows them.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use witgate::case::Timestamp;
use witgate::dev::tokens::{KeyKind, TokenSigner};
use witgate::identity::Tokens;
use witgate::identity::fuzzing::{self, AUDIENCE, ISSUER};

/// One signer whose key counts for both kinds of tokens, and its judge.
pub struct Keys {
    /// The signer's key as a JWK Set.
    pub jwks: String,
    tokens: Vec<String>,
    judge: Tokens,
    now: Timestamp,
}

/// Made once: what they hold does not change with the inputs.
pub static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    witgate::tls::install_provider();
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let signer = TokenSigner::new("k", KeyKind::P256).unwrap();
    let (begin, end) = (now.as_second(), (now + Duration::from_secs(300)).as_second());
    let svid = json!({"sub": "spiffe://gate.example/host/a", "aud": [AUDIENCE], "exp": end, "iat": begin});
    let build = json!({"iss": ISSUER, "sub": "build", "aud": AUDIENCE, "exp": end, "iat": begin, "nbf": begin});
    let jwks = TokenSigner::jwks(&[&signer]);
    let tokens = vec![signer.token(&svid), signer.token(&build)];
    Keys { judge: fuzzing::judge(&jwks, now), jwks, tokens, now }
});

/// One of each kind.
pub fn honest_tokens() -> Vec<Vec<u8>> {
    KEYS.tokens.iter().map(|token| token.clone().into_bytes()).collect()
}

/// Only what the signer signed makes a caller, in the one spelling that it has.
pub fn token(bytes: &[u8]) {
    if let Some(id) = fuzzing::caller(&KEYS.judge, bytes, KEYS.now) {
        let honest = KEYS.tokens.iter().position(|token| token.as_bytes() == bytes);
        let ids = ["spiffe://gate.example/host/a", "oidc:ci/build"];
        assert_eq!(honest.map(|index| ids[index]), Some(id.as_str()), "a caller that nobody vouched for");
    }
}

/// Never more keys than the set names, nor than are looked at.
pub fn jwks(bytes: &[u8]) {
    let keys = fuzzing::keys(bytes);
    let named = bytes.windows(3).filter(|window| window == b"kty").count();
    let escaped = bytes.windows(2).filter(|window| window == b"\\u").count();
    assert!(keys <= 64 && keys <= named + escaped, "{keys} keys");
}

/// An honest discovery document.
pub fn discovery_document() -> Vec<u8> {
    json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys"), "scopes_supported": ["openid"]}).to_string().into()
}

/// Whatever the document says, its keys lie at the issuer's own host.
pub fn discovery(bytes: &[u8]) {
    if let Some(uri) = fuzzing::jwks_uri(bytes) {
        assert!(uri.starts_with("https://ci.example/") && !uri.contains(['?', '#', '@']), "{uri}");
    }
}

/// Both schemes.
pub fn authorizations() -> Vec<Vec<u8>> {
    let token = &KEYS.tokens[0];
    let basic = STANDARD.encode(format!("witgate:{token}"));
    vec![format!("Bearer {token}").into_bytes(), format!("Basic {basic}").into_bytes()]
}

/// A token in a header is printable and not empty.
pub fn authorization(bytes: &[u8]) {
    if let Some(token) = fuzzing::authorization(bytes) {
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
    }
}

/// A pattern is written back as it was read, or as another that is.
pub fn caller_pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(printed) = fuzzing::caller_pattern(text) {
        assert_eq!(fuzzing::caller_pattern(&printed), Some(printed.clone()));
        assert!(!text.starts_with("oidc:") || text == printed, "{text}");
    }
}

/// Fails where an honest input is refused.
pub fn honest_inputs_are_believed() {
    for (token, id) in KEYS.tokens.iter().zip(["spiffe://gate.example/host/a", "oidc:ci/build"]) {
        assert_eq!(fuzzing::caller(&KEYS.judge, token.as_bytes(), KEYS.now).as_deref(), Some(id));
    }
    assert_eq!(fuzzing::keys(KEYS.jwks.as_bytes()), 1);
    assert_eq!(fuzzing::jwks_uri(&discovery_document()).as_deref(), Some("https://ci.example/keys"));
    for value in authorizations() {
        assert_eq!(fuzzing::authorization(&value), Some(KEYS.tokens[0].clone()));
    }
}
