//! The attacks on a token's header and key: none may make a caller, and the honest neighbour of each does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::dev::tokens::sign_hs256;

#[tokio::test]
async fn honest_tokens_make_callers() {
    use crate::case::{Caller, CallerKind};

    let world = World::start().await;
    let caller = |jwt: String| world.tokens.caller(&Presented::from_password(jwt).unwrap(), world.now).unwrap();
    let host = caller(world.gate.token(&world.svid_claims()));
    let trust_domain = Some("gate.example".to_owned());
    assert_eq!(host.facts(), &Caller { kind: CallerKind::JwtSvid, id: HOST.into(), trust_domain });
    let end = Timestamp::from_second(world.in_s(300)).unwrap();
    assert_eq!(host.not_after(), Some(end.into()));
    let guest = but(world.svid_claims(), "sub", json!("spiffe://fed.example/any"));
    assert_eq!(caller(world.fed.token(&guest)).facts().id, "spiffe://fed.example/any");
    let build = caller(world.ci.token(&world.ci_claims()));
    assert_eq!(build.facts(), &Caller { kind: CallerKind::Oidc, id: BUILD.into(), trust_domain: None });
    assert_eq!(build.not_after(), Some(end.into()));
}

#[tokio::test]
async fn b1_b2_none_and_shared_secrets() {
    let world = World::start().await;
    let claims = world.svid_claims().to_string();
    let encoded = URL_SAFE_NO_PAD.encode(&claims);
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": alg, "kid": "gate-1"}).to_string());
        assert_eq!(world.judge(&format!("{header}.{encoded}.")), Err("token-malformed"), "{alg}");
        assert_eq!(world.judge(&format!("{header}.{encoded}.AA")), Err("token-algorithm"), "{alg}");
    }
    let jwk = world.gate.jwk();
    let point = ["x", "y"].map(|name| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()).concat();
    let spki = [b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01".as_slice(), &point].concat();
    for secret in [jwk.to_string().into_bytes(), point, spki, jwk["x"].as_str().unwrap().as_bytes().to_vec()] {
        for alg in ["HS256", "HS384", "HS512"] {
            let header = but(world.gate.header(), "alg", json!(alg)).to_string();
            assert_eq!(world.judge(&sign_hs256(&secret, &header, &claims)), Err("token-algorithm"), "{alg}");
        }
    }
}

#[tokio::test]
async fn b3_an_algorithm_of_another_key() {
    let world = World::start().await;
    for alg in ["ES384", "RS256", "PS256"] {
        assert_eq!(svid_headed(&world, "alg", json!(alg)), Err("token-key-algorithm"), "{alg}");
    }
    // JWT-SVIDs are never signed so (JWT-SVID, section 2.1), and the library has no ES512.
    for alg in [json!("EdDSA"), json!("ES512"), json!("es256"), json!(["ES256"]), json!(null), json!(256)] {
        let refused = svid_headed(&world, "alg", alg.clone());
        assert!(matches!(refused, Err("token-algorithm" | "token-header")), "{alg}: {refused:?}");
    }
    let rsa = TokenSigner::new("ci-1", KeyKind::Rsa).unwrap();
    let world = World::with(|settings| {
        std::fs::write(settings.oidc["ci"].jwks.as_ref().unwrap(), TokenSigner::jwks(&[&rsa])).unwrap();
    })
    .await;
    let claims = world.ci_claims().to_string();
    assert_eq!(world.judge(&rsa.token(&world.ci_claims())), Ok(BUILD.into()));
    let pss = but(rsa.header(), "alg", json!("PS256")).to_string();
    assert_eq!(world.judge(&rsa.sign_pss(&pss, &claims)), Err("token-key-algorithm"), "the JWK says RS256");
    assert_eq!(world.judge(&rsa.sign(&pss, &claims)), Err("token-key-algorithm"));
    assert_eq!(world.judge(&rsa.sign_pss(&rsa.header().to_string(), &claims)), Err("token-signature"));
}

#[tokio::test]
async fn b4_names_of_keys() {
    let world = World::start().await;
    for kid in [json!(null), json!(""), json!(1), json!(["gate-1"]), json!("k".repeat(257))] {
        assert_eq!(svid_headed(&world, "kid", kid.clone()), Err("token-header"), "{kid}");
        assert_eq!(build_headed(&world, "kid", kid.clone()), Err("token-header"), "{kid}");
    }
    for kid in ["gate-2", "GATE-1", "../gate-1", "' OR 1=1 --", "gate-1\0", "fed-1", "ci-1", &"k".repeat(256)] {
        assert_eq!(svid_headed(&world, "kid", json!(kid)), Err("token-key-unknown"), "{kid}");
    }
}

#[tokio::test]
async fn b5_headers_that_bring_keys_or_change_what_is_signed() {
    let world = World::start().await;
    for (field, value) in [
        ("jku", json!("https://evil.example/keys")),
        ("jwk", world.gate.jwk()),
        ("x5u", json!("https://evil.example/chain")),
        ("x5c", json!(["AA=="])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("other", json!("x")),
    ] {
        assert_eq!(svid_headed(&world, field, value.clone()), Err("token-header"), "{field}");
        assert_eq!(build_headed(&world, field, value), Err("token-header"), "{field}");
    }
    // Some clouds name the certificate of the key beside its id; agents never do.
    assert_eq!(build_headed(&world, "x5t", json!("AA")), Ok(BUILD.into()));
    assert_eq!(build_headed(&world, "x5t", json!(["AA"])), Err("token-header"));
    assert_eq!(svid_headed(&world, "x5t", json!("AA")), Err("token-header"));
}

#[tokio::test]
async fn b6_tokens_for_something_else() {
    let world = World::start().await;
    for typ in [json!(null), json!("JWT"), json!("jwt"), json!("JOSE")] {
        assert_eq!(svid_headed(&world, "typ", typ.clone()), Ok(HOST.into()), "{typ}");
    }
    for typ in ["at+jwt", "wit+jwt", "dpop+jwt", "logout+jwt", "application/jwt", "", "JWT "] {
        assert_eq!(svid_headed(&world, "typ", json!(typ)), Err("token-type"), "{typ}");
        assert_eq!(build_headed(&world, "typ", json!(typ)), Err("token-type"), "{typ}");
    }
    assert_eq!(build_headed(&world, "typ", json!(1)), Err("token-header"));
    let access = World::with(|settings| settings.oidc.get_mut("ci").unwrap().types = vec!["at+jwt".into()]).await;
    assert_eq!(build_headed(&access, "typ", json!("at+jwt")), Ok(BUILD.into()));
    assert_eq!(build_headed(&access, "typ", json!(null)), Err("token-type"), "an id token is no access token");
    // Each kind at the other's door: another's key never speaks, even under the same name.
    assert_eq!(world.judge(&world.ci.token(&world.svid_claims())), Err("token-algorithm"));
    assert_eq!(world.judge(&world.gate.token(&world.ci_claims())), Err("token-key-unknown"));
    let namesake = TokenSigner::new("ci-1", KeyKind::Ed25519).unwrap();
    assert_eq!(world.judge(&namesake.token(&world.ci_claims())), Err("token-signature"));
    let namesake = TokenSigner::new("gate-1", KeyKind::P256).unwrap();
    assert_eq!(world.judge(&namesake.token(&world.svid_claims())), Err("token-signature"));
    // A JWT-SVID that its issuer's discovery would vouch for is a JWT-SVID still.
    let both = but(world.ci_claims(), "sub", json!(HOST));
    assert_eq!(world.judge(&world.ci.token(&both)), Err("token-algorithm"));
    let without = World::with(|settings| settings.jwt_svid = None).await;
    assert_eq!(without.judge(&without.gate.token(&without.svid_claims())), Err("token-svids-not-taken"));
    let without = World::with(|settings| {
        settings.oidc.clear();
        settings.callers.pop();
    })
    .await;
    assert_eq!(without.judge(&without.ci.token(&without.ci_claims())), Err("token-subject"));
}
