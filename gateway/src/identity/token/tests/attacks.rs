//! The attacks on tokens: none may make a caller, and the honest neighbour of each does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::dev::tokens::sign_hs256;
use crate::identity::TokenFault;
use crate::identity::token::unverified::{TOKEN_SIZE_BYTES, Unverified};

const HOST: &str = "spiffe://gate.example/host/a";
const BUILD: &str = "oidc:ci/acme/build";

/// Judges an SVID's claims with one of them changed.
fn svid(world: &World, claim: &str, value: Value) -> Result<String, &'static str> {
    world.judge(&world.gate.token(&but(world.svid_claims(), claim, value)))
}

/// Judges an issuer's claims with one of them changed.
fn build(world: &World, claim: &str, value: Value) -> Result<String, &'static str> {
    world.judge(&world.ci.token(&but(world.ci_claims(), claim, value)))
}

/// Judges an SVID with another header.
fn svid_headed(world: &World, field: &str, value: Value) -> Result<String, &'static str> {
    let header = but(world.gate.header(), field, value);
    world.judge(&world.gate.sign(&header.to_string(), &world.svid_claims().to_string()))
}

/// Judges an issuer's token with another header.
fn build_headed(world: &World, field: &str, value: Value) -> Result<String, &'static str> {
    let header = but(world.ci.header(), field, value);
    world.judge(&world.ci.sign(&header.to_string(), &world.ci_claims().to_string()))
}

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

#[tokio::test]
async fn b7_times() {
    let world = World::start().await;
    for claim in ["exp", "nbf", "iat"] {
        for value in [json!([1]), json!("1"), json!(true), json!(-1), json!(1.5), json!(u64::MAX), json!({})] {
            assert_eq!(svid(&world, claim, value.clone()), Err("token-claims"), "{claim} {value}");
            assert_eq!(build(&world, claim, value.clone()), Err("token-claims"), "{claim} {value}");
        }
        for text in ["1e400", "null", "1e3", "+1", "0x10", "01"] {
            let claims = world.svid_claims().to_string().replacen('{', &format!("{{\"x\":0,\"{claim}\":{text},"), 1);
            let claims =
                claims.replacen(&format!(",\"{claim}\":{}", world.in_s(if claim == "exp" { 300 } else { 0 })), "", 1);
            let refused = world.judge(&world.gate.sign(&world.gate.header().to_string(), &claims));
            assert_eq!(refused, Err("token-claims"), "{claim} {text}");
        }
    }
    assert_eq!(svid(&world, "exp", json!(null)), Err("token-claims"));
    assert_eq!(svid(&world, "iat", json!(null)), Ok(HOST.into()));
    assert_eq!(build(&world, "iat", json!(null)), Ok(BUILD.into()));
    assert_eq!(build(&world, "nbf", json!(null)), Ok(BUILD.into()));
}

#[tokio::test]
async fn b7_b15_the_edges_of_a_life() {
    let world = World::start().await;
    let second = |seconds: i64| Timestamp::from_second(world.in_s(seconds)).unwrap();
    let nano = std::time::Duration::from_nanos(1);
    let (host, ci) = (world.gate.token(&world.svid_claims()), world.ci.token(&world.ci_claims()));
    for jwt in [&host, &ci] {
        assert!(world.judge_at(jwt, second(300) - nano).is_ok());
        assert_eq!(world.judge_at(jwt, second(300)), Err("token-expired"), "no leeway behind the end");
        assert_eq!(world.judge_at(jwt, second(100_000)), Err("token-expired"));
    }
    // Clocks: an agent's is ours, an issuer's may be half a minute ahead.
    assert_eq!(svid(&world, "nbf", json!(world.in_s(0))), Ok(HOST.into()));
    assert_eq!(svid(&world, "nbf", json!(world.in_s(1))), Err("token-not-yet-valid"));
    assert_eq!(svid(&world, "iat", json!(world.in_s(90))), Ok(HOST.into()), "nobody asks for it");
    for claim in ["nbf", "iat"] {
        assert_eq!(build(&world, claim, json!(world.in_s(30))), Ok(BUILD.into()), "{claim}");
        assert_eq!(build(&world, claim, json!(world.in_s(31))), Err("token-not-yet-valid"), "{claim}");
    }
    // A life longer than is taken, from when it was issued, or from now where nobody says.
    assert_eq!(svid(&world, "exp", json!(world.in_s(3600))), Ok(HOST.into()));
    assert_eq!(svid(&world, "exp", json!(world.in_s(3601))), Err("token-lives-too-long"));
    assert_eq!(svid(&world, "exp", json!(world.in_s(50_000_000))), Err("token-lives-too-long"));
    assert_eq!(svid(&world, "iat", json!(world.in_s(-3300))), Ok(HOST.into()));
    assert_eq!(svid(&world, "iat", json!(world.in_s(-3301))), Err("token-lives-too-long"));
    assert_eq!(svid(&world, "iat", json!(0)), Err("token-lives-too-long"));
    assert_eq!(build(&world, "exp", json!(world.in_s(7200))), Ok(BUILD.into()));
    assert_eq!(build(&world, "exp", json!(world.in_s(7201))), Err("token-lives-too-long"));
}

#[tokio::test]
async fn b8_audiences() {
    let world = World::start().await;
    let many = |count: usize| {
        let mut list = vec![json!("other"); count - 1];
        list.push(json!(AUDIENCE));
        Value::Array(list)
    };
    for taken in [json!(AUDIENCE), json!([AUDIENCE]), json!(["other", AUDIENCE]), many(32)] {
        assert_eq!(svid(&world, "aud", taken.clone()), Ok(HOST.into()), "{taken}");
        assert_eq!(build(&world, "aud", taken), Ok(BUILD.into()));
    }
    for other in [
        json!([]),
        json!(""),
        json!("https://witgate.exampl"),
        json!("https://witgate.example/"),
        json!("https://witgate.example.evil"),
        json!("HTTPS://witgate.example"),
        json!(" https://witgate.example"),
        json!(["https://other.example"]),
    ] {
        assert_eq!(svid(&world, "aud", other.clone()), Err("token-audience"), "{other}");
        assert_eq!(build(&world, "aud", other), Err("token-audience"));
    }
    for none in [
        json!(null),
        json!(1),
        json!({}),
        json!({ AUDIENCE: true }),
        json!([AUDIENCE, 1]),
        json!([[AUDIENCE]]),
        many(33),
    ] {
        assert_eq!(svid(&world, "aud", none.clone()), Err("token-claims"), "{none}");
        assert_eq!(build(&world, "aud", none), Err("token-claims"));
    }
}

#[tokio::test]
async fn b9_issuers() {
    let world = World::start().await;
    for (issuer, cause) in [
        (json!(null), "token-claims"),
        (json!(""), "token-claims"),
        (json!([ISSUER]), "token-claims"),
        (json!({"iss": ISSUER}), "token-claims"),
        (json!("https://ci.example/"), "token-issuer"),
        (json!("https://CI.example"), "token-issuer"),
        (json!("http://ci.example"), "token-issuer"),
        (json!("https://ci.example.evil"), "token-issuer"),
        (json!("https://ci\u{200b}.example"), "token-issuer"),
        (json!("ci"), "token-issuer"),
    ] {
        assert_eq!(build(&world, "iss", issuer.clone()), Err(cause), "{issuer}");
    }
    // Another tenant of the same maker, with a key of the same name: only its own key speaks for it, under its own name.
    let other = TokenSigner::new("ci-1", KeyKind::Ed25519).unwrap();
    let world = World::with(|settings| {
        let path = settings.oidc["ci"].jwks.as_ref().unwrap().with_file_name("other.jwks.json");
        std::fs::write(&path, TokenSigner::jwks(&[&other])).unwrap();
        settings.oidc.insert("other".into(), OidcSettings { jwks: Some(path), ..oidc("https://other.example") });
        settings.callers.push("oidc:other/*".into());
    })
    .await;
    assert_eq!(world.judge(&other.token(&world.ci_claims())), Err("token-signature"));
    let theirs = but(world.ci_claims(), "iss", json!("https://other.example"));
    assert_eq!(world.judge(&world.ci.token(&theirs)), Err("token-signature"));
    assert_eq!(world.judge(&other.token(&theirs)), Ok("oidc:other/acme/build".into()), "never the other's id");
}

#[tokio::test]
async fn b10_subjects() {
    let world = World::start().await;
    for sub in ["SPIFFE://GATE.example/host/a", "spiffe://gate.Example/host/a"] {
        assert_eq!(svid(&world, "sub", json!(sub)), Ok(HOST.into()), "one caller, one spelling");
    }
    for sub in [
        "spiffe://",
        "spiffe:gate.example/host/a",
        "spiffe://gate.example",
        "spiffe://gate.example/",
        "spiffe://gate.example/host/a/",
        "spiffe://gate.example/host//a",
        "spiffe://gate.example/host/../host/a",
        "spiffe://gate.example/host/%61",
        "spiffe://gate.example:443/host/a",
        "spiffe://x@gate.example/host/a",
        "spiffe://gate.example/host/a?x",
        "spiffe://gate.example/host/a#x",
        "spiffe://gate.example/host/ä",
        "spiffe://gate.example.evil/host/a",
        "spiffe://third.example/host/a",
    ] {
        assert_eq!(svid(&world, "sub", json!(sub)), Err("token-subject"), "{sub}");
    }
    for sub in [json!(null), json!(""), json!(1), json!([HOST])] {
        assert_eq!(svid(&world, "sub", sub.clone()), Err("token-claims"), "{sub}");
        assert_eq!(build(&world, "sub", sub), Err("token-claims"));
    }
    // Without the scheme it is nobody's SVID, and no configured issuer's either.
    assert_eq!(svid(&world, "sub", json!("gate.example/host/a")), Err("token-claims"));
    // The federated domain's caller under our key, and ours under theirs.
    assert_eq!(svid(&world, "sub", json!("spiffe://fed.example/any")), Err("token-key-unknown"));
    assert_eq!(world.judge(&world.fed.token(&world.svid_claims())), Err("token-key-unknown"));
    for sub in ["spiffe://gate.example/web/a", "spiffe://gate.example/host", "spiffe://gate.example/host-evil/a"] {
        assert_eq!(svid(&world, "sub", json!(sub)), Err("not-a-caller"), "{sub}");
    }
}

#[tokio::test]
async fn b10_claims_that_make_the_id() {
    let world = World::start().await;
    assert_eq!(build(&world, "owner", json!("evil")), Err("not-a-caller"));
    assert_eq!(build(&world, "owner", json!("acme-evil")), Err("not-a-caller"));
    for owner in [json!(null), json!(""), json!("."), json!(".."), json!(["acme"]), json!({"a": 1}), json!(1.5)] {
        assert_eq!(build(&world, "owner", owner.clone()), Err("token-caller-id"), "{owner}");
    }
    assert_eq!(build(&world, "sub", json!("../evil")), Ok("oidc:ci/acme/..%2Fevil".into()));
    assert_eq!(build(&world, "owner", json!("acme/x")), Err("not-a-caller"), "a slash is no border");
    assert_eq!(build(&world, "sub", json!("s".repeat(2048))), Err("token-caller-id"));
}

#[tokio::test]
async fn b11_two_readings() {
    let world = World::start().await;
    let (header, claims) = (world.gate.header().to_string(), world.svid_claims().to_string());
    let signed = |header: &str, claims: &str| world.judge(&world.gate.sign(header, claims));
    assert_eq!(signed(&header, &claims), Ok(HOST.into()));
    assert_eq!(
        signed(&format!(" {header}\n"), &format!("\t{claims} ")),
        Ok(HOST.into()),
        "blanks around JSON are JSON"
    );
    let twice = |text: &str, field: &str| text.replacen('{', &format!("{{{field},"), 1);
    for field in [r#""kid":"gate-1""#, r#""alg":"ES256""#, r#""\u0061lg":"ES256""#] {
        assert_eq!(signed(&twice(&header, field), &claims), Err("token-header"), "{field}");
    }
    for field in [r#""sub":"spiffe://gate.example/host/b""#, r#""exp":1"#, r#""x":{"y":1,"y":2}"#, r#""\u0073ub":"x""#]
    {
        assert_eq!(signed(&header, &twice(&claims, field)), Err("token-claims"), "{field}");
    }
    for text in ["", "{", "[]", "null", "\"x\"", "1", "{}{}", "{}x", "\u{feff}{}", "{'a':1}", "{\"a\":NaN}"] {
        assert!(signed(text, &claims).is_err(), "`{text}` was taken for a header");
        assert!(signed(&header, text).is_err(), "`{text}` was taken for claims");
    }
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(signed(&header, &twice(&claims, &format!("\"x\":{}", nested(7)))), Ok(HOST.into()));
    assert_eq!(signed(&header, &twice(&claims, &format!("\"x\":{}", nested(8)))), Err("token-claims"));
    assert_eq!(signed(&header, &twice(&claims, &format!("\"x\":{}", nested(1000)))), Err("token-claims"));
    assert_eq!(signed(&twice(&header, &format!("\"typ\":{}", nested(1000))), &claims), Err("token-header"));
    let invalid = URL_SAFE_NO_PAD.encode(b"{\"sub\":\"\xff\"}");
    let jwt = world.gate.sign(&header, &claims);
    let parts: Vec<&str> = jwt.split('.').collect();
    assert_eq!(world.judge(&format!("{}.{invalid}.{}", parts[0], parts[2])), Err("token-claims"));
}

#[tokio::test]
async fn b11_the_compact_form() {
    let world = World::start().await;
    let jwt = world.gate.token(&world.svid_claims());
    let parts: Vec<&str> = jwt.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    for text in [
        format!("{jwt}."),
        format!(".{jwt}"),
        format!("{jwt}.{signature}"),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{header}.{claims}.{signature}="),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}.{}", signature.replacen(['A', 'B', 'C', 'D', 'E'], "+", 1) + "/"),
        "..".into(),
        ".".into(),
        format!("{{\"payload\":\"{claims}\",\"signatures\":[]}}"),
    ] {
        assert_eq!(world.judge(&text), Err("token-malformed"), "{text}");
    }
    for text in [format!("{jwt} "), format!(" {jwt}"), format!("{jwt}\n"), format!("{header}.\n{claims}.{signature}")] {
        assert_eq!(world.judge(&text), Err("authorization-unreadable"), "{text}");
    }
    // The 64 bytes of a signature leave four bits in the last sign: only zeros are the one spelling.
    let last = signature.chars().next_back().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let neighbour = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    let respelt = format!("{}{neighbour}", jwt.strip_suffix(last).unwrap());
    assert_eq!(world.judge(&respelt), Err("token-malformed"));
}

#[tokio::test]
async fn b11_a_token_has_a_largest_size() {
    let world = World::start().await;
    let padded = |size: usize| {
        let claims = but(world.svid_claims(), "x", json!("x".repeat(size)));
        world.gate.token(&claims)
    };
    let most = (0..TOKEN_SIZE_BYTES).rev().find(|size| padded(*size).len() <= TOKEN_SIZE_BYTES).unwrap();
    assert_eq!(world.judge(&padded(most)), Ok(HOST.into()));
    assert_eq!(world.judge(&padded(most + 1)), Err("token-too-large"));
    assert_eq!(world.judge(&"a".repeat(1024 * 1024)), Err("token-too-large"));
    assert_eq!(Unverified::read(&format!("e30.e30.{}", "A".repeat(1366))).unwrap_err(), TokenFault::Algorithm);
    let long = format!("e30.e30.{}", "A".repeat(1367));
    assert_eq!(Unverified::read(&long).unwrap_err(), TokenFault::Form, "no signature has more than 1024 bytes");
}

#[tokio::test]
async fn b14_signatures() {
    let world = World::start().await;
    let resigned = |jwt: &str, signature: &[u8]| {
        let (message, _) = jwt.rsplit_once('.').unwrap();
        world.judge(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    };
    let raw = |jwt: &str| URL_SAFE_NO_PAD.decode(jwt.rsplit_once('.').unwrap().1).unwrap();
    let jwt = world.gate.token(&world.svid_claims());
    let signature = raw(&jwt);
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let der = |r: &[u8], s: &[u8]| [&[0x30, 70, 2, 33, 0], r, &[2, 33, 0], s].concat();
    for forged in [
        [zero, zero].concat(),
        [r, zero.as_slice()].concat(),
        [zero.as_slice(), s].concat(),
        [order.as_slice(), s].concat(),
        [r, order.as_slice()].concat(),
        [s, r].concat(),
        der(r, s),
        signature[..63].to_vec(),
        [signature.as_slice(), &[0]].concat(),
    ] {
        assert_eq!(resigned(&jwt, &forged), Err("token-signature"), "{}", hex::encode(&forged));
    }
    let jwt = world.ci.token(&world.ci_claims());
    let signature = raw(&jwt);
    // S + L verifies under a lax reader (RFC 8032, section 5.1.7).
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut forged = signature.clone();
    let mut carry = 0u16;
    for (byte, add) in forged[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    for forged in [forged, vec![0; 64], signature[..63].to_vec()] {
        assert_eq!(resigned(&jwt, &forged), Err("token-signature"));
    }
}

#[tokio::test]
async fn no_byte_of_a_token_can_be_changed() {
    let world = World::start().await;
    let other = world.gate.token(&but(world.svid_claims(), "sub", json!("spiffe://gate.example/host/b")));
    for jwt in [world.gate.token(&world.svid_claims()), world.ci.token(&world.ci_claims())] {
        for index in 0..jwt.len() {
            let mut bytes = jwt.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(world.judge(&changed).is_err(), "byte {index}");
        }
        let (message, _) = jwt.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        assert!(world.judge(&format!("{message}.{signature}")).is_err(), "another token's signature");
    }
}

#[tokio::test]
async fn what_is_remembered_is_judged_again() {
    let world = World::start().await;
    let jwt = world.gate.token(&world.svid_claims());
    assert_eq!(world.judge(&jwt), Ok(HOST.into()));
    let end = Timestamp::from_second(world.in_s(300)).unwrap();
    assert_eq!(world.judge_at(&jwt, end), Err("token-expired"), "no token outlives its end");
    assert_eq!(world.judge(&jwt), Ok(HOST.into()));
    world.tokens.callers.replace(&["spiffe://gate.example/host/b".into()]).unwrap();
    assert_eq!(world.judge(&jwt), Err("not-a-caller"));
    world.tokens.callers.replace(&["spiffe://gate.example/host/*".into()]).unwrap();
    assert_eq!(world.judge(&jwt), Ok(HOST.into()));
    // Refused ones are not kept: a stranger's tokens take no room.
    for number in 0..100 {
        assert!(svid(&world, "sub", json!(format!("spiffe://third.example/{number}"))).is_err());
    }
    world.tokens.memory.settle();
    assert_eq!(world.tokens.memory.len(), 1);
}

#[test]
fn nothing_of_a_token_is_in_what_is_told() {
    let secret = "s3cr3t";
    for jwt in [
        secret.to_owned(),
        format!("{secret}.{secret}.{secret}"),
        TokenSigner::new(secret, KeyKind::P256).unwrap().sign(&format!("{{\"{secret}\":1}}"), "{}"),
        TokenSigner::new(secret, KeyKind::P256).unwrap().sign(&format!("{{\"{secret}\":1,\"{secret}\":1}}"), "{}"),
    ] {
        let fault = Unverified::read(&jwt).unwrap_err();
        let told = format!("{fault} {fault:?} {}", fault.cause());
        assert!(!told.contains(secret), "{told}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-zA-Z0-9_.=-]{0,80}") {
        let _ = Unverified::read(&text);
    }
}
