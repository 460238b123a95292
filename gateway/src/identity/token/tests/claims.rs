//! The attacks on what a token claims: times, audiences, issuers, subjects, and the memory of proven ones.

use serde_json::{Value, json};

use super::*;

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
