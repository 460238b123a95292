//! What jsonwebtoken takes, and what we take: an upgrade that changes either fails here.

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use super::*;
use crate::dev::tokens::sign_hs256;

/// The library's verdict with the settings that its documentation shows, then with all that it can be told.
fn library(signer: &TokenSigner, jwt: &str) -> (String, String) {
    let jwk: Jwk = serde_json::from_value(signer.jwk()).unwrap();
    let key = DecodingKey::from_jwk(&jwk).unwrap();
    let mut default = Validation::new(Algorithm::EdDSA);
    default.set_audience(&[AUDIENCE]);
    default.set_issuer(&[ISSUER]);
    let mut strict = default.clone();
    strict.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    strict.validate_nbf = true;
    strict.leeway = 30;
    let verdict = |validation: &Validation| match decode::<Value>(jwt, &key, validation) {
        Ok(_) => "accept".to_owned(),
        Err(error) => match error.kind() {
            ErrorKind::MissingRequiredClaim(_) => "MissingRequiredClaim".into(),
            ErrorKind::InvalidClaimFormat(_) => "InvalidClaimFormat".into(),
            ErrorKind::Json(_) => "Json".into(),
            ErrorKind::Base64(_) => "Base64".into(),
            kind => format!("{kind:?}"),
        },
    };
    (verdict(&default), verdict(&strict))
}

#[tokio::test]
async fn the_golden_table() {
    let world = World::with(|settings| settings.oidc.get_mut("ci").unwrap().max_life_s = 86_400).await;
    let (ci, header) = (&world.ci, world.ci.header());
    let claims = || world.ci_claims();
    let token = |claims: Value| ci.token(&claims);
    let headed =
        |name: &str, value: Value| ci.sign(&but(header.clone(), name, value).to_string(), &claims().to_string());
    let honest = token(claims());
    let (message, signature) = honest.rsplit_once('.').unwrap();
    let padded = URL_SAFE.encode(URL_SAFE_NO_PAD.decode(signature).unwrap());
    assert!(padded.ends_with('='));
    let doubled = |text: String, field: &str| text.replacen('{', &format!("{{{field},"), 1);
    let public_pem =
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", ci.jwk()["x"].as_str().unwrap());
    let crit = but(but(header.clone(), "crit", json!(["b64"])), "b64", json!(false));
    let hs256 = but(header.clone(), "alg", json!("HS256")).to_string();
    let rows: Vec<(&str, String)> = vec![
        ("honest", honest.clone()),
        ("no iss", token(but(claims(), "iss", json!(null)))),
        ("no aud", token(but(claims(), "aud", json!(null)))),
        ("no sub", token(but(claims(), "sub", json!(null)))),
        ("no exp", token(but(claims(), "exp", json!(null)))),
        ("exp as string", token(but(claims(), "exp", json!(world.in_s(300).to_string())))),
        ("nbf one hour ahead", token(but(claims(), "nbf", json!(world.in_s(3600))))),
        ("nbf as string", token(but(claims(), "nbf", json!("0")))),
        ("exp 45 s ago", token(but(claims(), "exp", json!(world.in_s(-45))))),
        ("exp 20 s ago", token(but(claims(), "exp", json!(world.in_s(-20))))),
        ("iss an array with ours", token(but(claims(), "iss", json!(["https://evil.example", ISSUER])))),
        ("aud an array with ours", token(but(claims(), "aud", json!(["other", AUDIENCE])))),
        ("crit b64", ci.sign(&crit.to_string(), &claims().to_string())),
        ("typ at+jwt", headed("typ", json!("at+jwt"))),
        ("typ wit+jwt", headed("typ", json!("wit+jwt"))),
        ("header jwk", headed("jwk", ci.jwk())),
        (
            "alg none",
            format!(
                "{}.{}.",
                URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"ci-1"}"#),
                message.split('.').nth(1).unwrap()
            ),
        ),
        ("HS256 keyed with our public PEM", sign_hs256(public_pem.as_bytes(), &hs256, &claims().to_string())),
        ("alg Ed25519", headed("alg", json!("Ed25519"))),
        ("alg ed25519-nkey", headed("alg", json!("ed25519-nkey"))),
        ("four segments", format!("{honest}.x")),
        ("padding", format!("{message}.{padded}")),
        ("duplicate claim", ci.sign(&header.to_string(), &doubled(claims().to_string(), r#""sub":"other""#))),
        ("duplicate header", ci.sign(&doubled(header.to_string(), r#""alg":"EdDSA""#), &claims().to_string())),
    ];
    let mut table = String::new();
    for (name, jwt) in rows {
        let (default, strict) = library(ci, &jwt);
        let own = world.judge(&jwt).map_or_else(str::to_owned, |_| "accept".to_owned());
        table += &format!("{name:<32} | {default:<20} | {strict:<20} | {own}\n");
    }
    insta::assert_snapshot!(table, @"
    honest                           | accept               | accept               | accept
    no iss                           | accept               | MissingRequiredClaim | token-claims
    no aud                           | accept               | MissingRequiredClaim | token-claims
    no sub                           | accept               | MissingRequiredClaim | token-claims
    no exp                           | MissingRequiredClaim | MissingRequiredClaim | token-claims
    exp as string                    | MissingRequiredClaim | MissingRequiredClaim | token-claims
    nbf one hour ahead               | accept               | ImmatureSignature    | token-not-yet-valid
    nbf as string                    | accept               | InvalidClaimFormat   | token-claims
    exp 45 s ago                     | accept               | ExpiredSignature     | token-expired
    exp 20 s ago                     | accept               | accept               | token-expired
    iss an array with ours           | accept               | accept               | token-claims
    aud an array with ours           | accept               | accept               | accept
    crit b64                         | accept               | accept               | token-header
    typ at+jwt                       | accept               | accept               | token-type
    typ wit+jwt                      | accept               | accept               | token-type
    header jwk                       | accept               | accept               | token-header
    alg none                         | Json                 | Json                 | token-malformed
    HS256 keyed with our public PEM  | InvalidAlgorithm     | InvalidAlgorithm     | token-algorithm
    alg Ed25519                      | Json                 | Json                 | token-algorithm
    alg ed25519-nkey                 | Json                 | Json                 | token-algorithm
    four segments                    | Base64               | Base64               | token-malformed
    padding                          | Base64               | Base64               | token-malformed
    duplicate claim                  | Json                 | Json                 | token-claims
    duplicate header                 | Json                 | Json                 | token-header
    ");
}
