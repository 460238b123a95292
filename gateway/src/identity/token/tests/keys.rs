//! Which keys of a JWK Set count.

use serde_json::{Value, json};

use super::*;
use crate::identity::token::jwks::{JWKS_KEYS, JWKS_SIZE_BYTES, JwksFault, KeySet, Purpose};

fn read(keys: &[Value], purpose: Purpose) -> Result<KeySet, JwksFault> {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes(), purpose)
}

fn counts(key: &Value, purpose: Purpose) -> bool {
    read(std::slice::from_ref(key), purpose).is_ok()
}

fn signer(kind: KeyKind) -> Value {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    TokenSigner::new("k", kind).unwrap().jwk()
}

#[test]
fn keys_of_four_kinds_count() {
    for kind in [KeyKind::P256, KeyKind::P384, KeyKind::Rsa] {
        assert!(counts(&signer(kind), Purpose::Oidc) && counts(&signer(kind), Purpose::JwtSvid), "{kind:?}");
    }
    assert!(counts(&signer(KeyKind::Ed25519), Purpose::Oidc));
    assert!(!counts(&signer(KeyKind::Ed25519), Purpose::JwtSvid), "no algorithm of JWT-SVIDs");
    // The discovery provider of SPIRE leaves `use` out, Kubernetes `alg`.
    for field in ["use", "alg"] {
        assert!(counts(&but(signer(KeyKind::Rsa), field, json!(null)), Purpose::Oidc), "{field}");
    }
    let any = read(&[but(signer(KeyKind::Rsa), "alg", json!(null))], Purpose::Oidc).unwrap();
    assert_eq!(any.key("k").unwrap().algorithms.len(), 6);
    let one = read(&[signer(KeyKind::Rsa)], Purpose::Oidc).unwrap();
    assert_eq!(one.key("k").unwrap().algorithms, [jsonwebtoken::Algorithm::RS256]);
}

#[test]
fn keys_for_something_else_do_not() {
    let ec = signer(KeyKind::P256);
    for (field, value) in [
        ("use", json!("enc")),
        ("use", json!("x509-svid")),
        ("use", json!(["sig"])),
        ("key_ops", json!(["sign"])),
        ("key_ops", json!([])),
        ("key_ops", json!("verify")),
        ("kid", json!(null)),
        ("kid", json!("")),
        ("kid", json!(1)),
        ("kid", json!("k".repeat(257))),
        ("kty", json!(null)),
        ("kty", json!("oct")),
        ("kty", json!("ec")),
        ("kty", json!("AKP")),
        ("alg", json!("ES384")),
        ("alg", json!("RS256")),
        ("alg", json!("HS256")),
        ("alg", json!("none")),
        ("alg", json!(1)),
        ("crv", json!("P-521")),
        ("crv", json!("secp256k1")),
        ("crv", json!("P-384")),
        ("crv", json!(null)),
        ("x", json!(null)),
        ("x", json!("AA")),
        ("x", json!(format!("{}=", ec["x"].as_str().unwrap()))),
        ("y", json!(format!("AA{}", ec["y"].as_str().unwrap()))),
        ("d", json!("AA")),
    ] {
        assert!(!counts(&but(ec.clone(), field, value.clone()), Purpose::Oidc), "{field} {value}");
        assert!(!counts(&but(ec.clone(), field, value.clone()), Purpose::JwtSvid), "{field} {value}");
    }
    assert!(counts(&but(ec.clone(), "key_ops", json!(["verify"])), Purpose::Oidc));
    assert!(counts(&but(ec.clone(), "kid", json!("k".repeat(256))), Purpose::Oidc));
    let svid = but(ec, "use", json!("jwt-svid"));
    assert!(counts(&svid, Purpose::JwtSvid) && !counts(&svid, Purpose::Oidc));
    assert!(!counts(&json!({"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "HS256"}), Purpose::Oidc));
}

#[test]
fn weak_keys_do_not() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let number = |bytes: &[u8]| json!(URL_SAFE_NO_PAD.encode(bytes));
    let odd = |length: usize| {
        let mut bytes = vec![0xff; length];
        bytes[length - 1] = 0x01;
        bytes
    };
    let rsa = |n: &[u8], e: &[u8]| json!({"kty": "RSA", "kid": "k", "n": number(n), "e": number(e)});
    let e = [1, 0, 1];
    assert!(counts(&rsa(&odd(256), &e), Purpose::Oidc));
    assert!(counts(&rsa(&odd(1024), &e), Purpose::Oidc));
    assert!(counts(&rsa(&odd(256), &[3]), Purpose::Oidc));
    let mut bits_2047 = odd(256);
    bits_2047[0] = 0x7f;
    for (what, n, e) in [
        ("1024 bits", odd(128), e.to_vec()),
        ("2047 bits", bits_2047, e.to_vec()),
        ("8200 bits", odd(1025), e.to_vec()),
        ("leading zero", [vec![0], odd(256)].concat(), e.to_vec()),
        ("even modulus", vec![0xfe; 256], e.to_vec()),
        ("no modulus", vec![], e.to_vec()),
        ("exponent 1", odd(256), vec![1]),
        ("even exponent", odd(256), vec![2]),
        ("no exponent", odd(256), vec![]),
        ("exponent with a leading zero", odd(256), vec![0, 1, 0, 1]),
        ("long exponent", odd(256), vec![1, 0, 0, 0, 1]),
    ] {
        assert!(!counts(&rsa(&n, &e), Purpose::Oidc), "{what}");
    }
    let ed = |x: &[u8]| json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": number(x)});
    let mut identity = [0; 32];
    identity[0] = 1;
    let small = hex::decode("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a").unwrap();
    for x in [identity.to_vec(), vec![0; 32], small, vec![2; 31]] {
        assert!(!counts(&ed(&x), Purpose::Oidc), "{}", hex::encode(&x));
    }
    assert!(!counts(&but(signer(KeyKind::Ed25519), "crv", json!("X25519")), Purpose::Oidc));
    assert!(!counts(&but(signer(KeyKind::Ed25519), "crv", json!("Ed448")), Purpose::Oidc));
}

#[tokio::test]
async fn a_point_beside_the_curve_verifies_nothing() {
    let world = World::start().await;
    let jwk = world.gate.jwk();
    let flipped = but(jwk.clone(), "y", jwk["x"].clone());
    let key = read(&[flipped], Purpose::JwtSvid).unwrap().key("gate-1").unwrap().clone();
    let jwt = world.gate.token(&world.svid_claims());
    let unverified = super::super::Unverified::read(&jwt).unwrap();
    let terms = &world.tokens.rules[0].terms;
    let refused = super::super::verify::signed(&unverified, &key, terms);
    assert_eq!(refused, Err(crate::identity::TokenFault::Signature));
}

#[test]
fn a_name_that_stands_twice_is_nobodys() {
    let (one, two) = (signer(KeyKind::P256), signer(KeyKind::P256));
    let other = but(signer(KeyKind::P384), "kid", json!("other"));
    let set = read(&[one.clone(), other.clone(), two], Purpose::Oidc).unwrap();
    assert!(set.key("k").is_none() && set.key("other").is_some());
    // Even where one of the two would not have counted: which of them is meant, nobody knows.
    let for_encryption = but(one.clone(), "use", json!("enc"));
    let set = read(&[for_encryption, one.clone(), other], Purpose::Oidc).unwrap();
    assert!(set.key("k").is_none());
    assert_eq!(read(&[one.clone(), one], Purpose::Oidc).unwrap_err(), JwksFault::NoKeys);
}

#[test]
fn what_is_no_set_gives_no_keys() {
    let read = |text: &str| KeySet::read(text.as_bytes(), Purpose::Oidc).unwrap_err();
    for text in ["", "<!doctype html><title>Sign in</title>", "{\"keys\":[]", "{\"keys\":[],\"keys\":[]}", "NaN"] {
        assert_eq!(read(text), JwksFault::Json, "{text}");
    }
    for text in ["{}", "[]", "null", "{\"keys\":{}}", "{\"keys\":null}", "{\"Keys\":[]}"] {
        assert_eq!(read(text), JwksFault::NoSet, "{text}");
    }
    for text in ["{\"keys\":[]}", "{\"keys\":[1,null,[],\"x\"]}", "{\"keys\":[{}]}"] {
        assert_eq!(read(text), JwksFault::NoKeys, "{text}");
    }
    let jwk = signer(KeyKind::P256).to_string();
    let twice = jwk.replacen('{', "{\"kid\":\"other\",", 1);
    assert_eq!(read(&format!("{{\"keys\":[{twice}]}}")), JwksFault::Json, "a member that stands twice");
    assert_eq!(read(&"[".repeat(100_000)), JwksFault::Json);
}

#[test]
fn a_set_has_limits() {
    let jwk = signer(KeyKind::P256);
    let many =
        |count: usize| (0..count).map(|number| but(jwk.clone(), "kid", json!(number.to_string()))).collect::<Vec<_>>();
    assert_eq!(read(&many(JWKS_KEYS), Purpose::Oidc).unwrap().len(), JWKS_KEYS);
    assert_eq!(read(&many(JWKS_KEYS + 1), Purpose::Oidc).unwrap_err(), JwksFault::TooMany);
    assert_eq!(read(&vec![json!({}); 10_000], Purpose::Oidc).unwrap_err(), JwksFault::TooMany);
    let set = json!({ "keys": [jwk] }).to_string();
    let padded = |size: usize| format!("{set}{}", " ".repeat(size - set.len()));
    assert!(KeySet::read(padded(JWKS_SIZE_BYTES).as_bytes(), Purpose::Oidc).is_ok());
    let refused = KeySet::read(padded(JWKS_SIZE_BYTES + 1).as_bytes(), Purpose::Oidc);
    assert_eq!(refused.unwrap_err(), JwksFault::TooLarge);
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = KeySet::read(&bytes, Purpose::Oidc);
    }
}
