//! The attacks on a token's form and signature: one text for one token, and nothing of it in what is told.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;
use crate::identity::TokenFault;
use crate::identity::token::unverified::{TOKEN_SIZE_BYTES, Unverified};

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
