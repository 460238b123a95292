//! A7: a key or certificate that comes along never overrides who is trusted.

use serde_json::json;

use super::super::LogDemand;
use super::*;
use crate::dev::sigstore::{Content, Knob};

fn message() -> Content {
    Content::Message { bytes: manifest() }
}

#[tokio::test]
async fn a7_1_a_key_that_comes_along_is_never_trusted() {
    let sigstore = Sigstore::new(start()).unwrap();
    let (trusted, other) = (ManagedKey::generate().unwrap(), ManagedKey::generate().unwrap());
    let release = key("release", &trusted);
    let collector =
        collector(&Settings { roots: vec![root("acme", &sigstore)], keys: vec![release], ..Settings::default() });
    let hint = |bundle: &[u8]| {
        let bundle: Value = serde_json::from_slice(bundle).unwrap();
        bundle["verificationMaterial"]["publicKey"]["hint"].clone()
    };
    let hint = hint(&sigstore.sign_with_key(&trusted, cosign()).unwrap());
    for what in [message(), Content::SignStatement] {
        let bundle = sigstore.sign_with_key(&other, cosign().signing(what)).unwrap();
        assert_eq!(rejected(&collector, bundle.clone()).await.0, Code::KEY_NOT_TRUSTED);
        let hinted = changed(&bundle, |bundle| bundle["verificationMaterial"]["publicKey"]["hint"] = hint.clone());
        assert_eq!(rejected(&collector, hinted).await.0, Code::KEY_NOT_TRUSTED);
    }
    // A key where a certificate belongs: the trusted one, and the attacker's own.
    let spki =
        |managed: &ManagedKey| managed.public_pem().lines().filter(|line| !line.starts_with('-')).collect::<String>();
    for managed in [&trusted, &other] {
        let bundle = sigstore.sign_with_key(managed, cosign()).unwrap();
        let as_certificate = changed(&bundle, |bundle| {
            let material = bundle["verificationMaterial"].as_object_mut().unwrap();
            material.remove("publicKey");
            material.insert("certificate".into(), json!({"rawBytes": spki(managed)}));
        });
        assert_eq!(rejected(&collector, as_certificate).await.0, Code::CERTIFICATE_UNTRUSTED);
    }
    // A key inside of the envelope, or the trusted one's id.
    let bundle = sigstore.sign_with_key(&other, cosign()).unwrap();
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"});
    let changes: [&dyn Fn(&mut Value); 5] = [
        &|envelope| envelope["signatures"][0]["keyid"] = hint.clone(),
        &|envelope| envelope["signatures"][0]["jwk"] = jwk.clone(),
        &|envelope| envelope["signatures"][0]["cert"] = json!(other.public_pem()),
        &|envelope| envelope["jwk"] = jwk.clone(),
        &|envelope| envelope["publicKey"] = json!(other.public_pem()),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let dressed = changed(&bundle, |bundle| change(&mut bundle["dsseEnvelope"]));
        let code = rejected(&collector, dressed).await.0;
        assert!([Code::KEY_NOT_TRUSTED, Code::BUNDLE_MALFORMED].contains(&code), "change {number}: {code}");
    }
}

/// Puts `field` into the object that `after` opens in the bundle's text, first or last: serde_json would sort it.
fn with_field(bundle: &[u8], object: &str, field: &str, first: bool) -> Vec<u8> {
    let mut text = String::from_utf8(bundle.to_vec()).unwrap();
    let open = if object.is_empty() { 0 } else { text.find(&format!("\"{object}\":{{")).unwrap() + object.len() + 3 };
    let mut depth = 0;
    let close = text.bytes().skip(open).position(|byte| {
        depth += match byte {
            b'{' => 1,
            b'}' => -1,
            _ => 0,
        };
        depth == 0
    });
    let close = open + close.unwrap();
    match first {
        true => text.insert_str(open + 1, &format!("{field},")),
        false => text.insert_str(close, &format!(",{field}")),
    }
    text.into_bytes()
}

#[tokio::test]
async fn a7_2_a_bundle_that_says_two_things_is_malformed_in_either_order() {
    let sigstore = Sigstore::new(start()).unwrap();
    let collector = trusting(&sigstore);
    let parts = |what| -> Value { serde_json::from_slice(&sigstore.sign(cosign().signing(what)).unwrap()).unwrap() };
    let (blob, statement) = (parts(message()), parts(Content::SignStatement));
    let blob_bytes = serde_json::to_vec(&blob).unwrap();
    let chain = json!({"certificates": [blob["verificationMaterial"]["certificate"]]});
    let rows = [
        ("", format!("\"dsseEnvelope\":{}", statement["dsseEnvelope"])),
        ("", "\"dsseEnvelope\":null".into()),
        ("", format!("\"messageSignature\":{}", blob["messageSignature"])),
        ("", "\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\"".into()),
        ("", "\"message_signature\":{}".into()),
        ("verificationMaterial", "\"publicKey\":{\"hint\":\"x\"}".into()),
        ("verificationMaterial", format!("\"x509CertificateChain\":{chain}")),
        ("verificationMaterial", "\"public_key\":{}".into()),
        ("certificate", "\"rawBytes\":\"AA==\"".into()),
    ];
    for (object, field) in rows {
        for first in [true, false] {
            let bundle = with_field(&blob_bytes, object, &field, first);
            let (code, detail) = rejected(&collector, bundle).await;
            assert_eq!(code, Code::BUNDLE_MALFORMED, "{object} {field} {first}: {detail}");
        }
    }
    verified(&collector, blob_bytes).await;
    // A key's bundle with a certificate beside it, whichever of the two is trusted.
    let managed = ManagedKey::generate().unwrap();
    let roots = vec![root("acme", &sigstore)];
    let both = super::collector(&Settings { roots, keys: vec![key("release", &managed)], ..Settings::default() });
    let by_key = sigstore.sign_with_key(&managed, cosign().signing(message())).unwrap();
    let certificate = format!("\"certificate\":{}", blob["verificationMaterial"]["certificate"]);
    for first in [true, false] {
        let bundle = with_field(&by_key, "verificationMaterial", &certificate, first);
        for collector in [&collector, &both] {
            assert_eq!(rejected(collector, bundle.clone()).await.0, Code::BUNDLE_MALFORMED);
        }
    }
    verified(&both, by_key).await;
}

#[tokio::test]
async fn a7_3_a_certificate_counts_for_no_key_and_a_key_for_no_certificate() {
    let sigstore = Sigstore::new(start()).unwrap();
    let managed = ManagedKey::generate().unwrap();
    let lax = KeySettings { transparency_log: LogDemand::Optional, ..key("release", &managed) };
    let roots_only = trusting(&sigstore);
    for what in [message(), Content::SignStatement] {
        let keyless = sigstore.sign(cosign().signing(what.clone())).unwrap();
        let keyed = sigstore.sign_with_key(&managed, cosign().signing(what.clone())).unwrap();
        for keys in [vec![key("release", &managed)], vec![lax.clone()]] {
            let keys_only = collector(&Settings { keys, ..Settings::default() });
            let (code, detail) = rejected(&keys_only, keyless.clone()).await;
            assert_eq!(code, Code::CERTIFICATE_UNTRUSTED, "{detail}");
        }
        let (code, detail) = rejected(&roots_only, keyed).await;
        assert_eq!(code, Code::KEY_NOT_TRUSTED, "{detail}");
        // A keyless signature that says it is a key's, and a key's that shows somebody's certificate.
        let (hint, other) = (json!({"hint": "release"}), sigstore.sign(cosign()).unwrap());
        let other: Value = serde_json::from_slice(&other).unwrap();
        let roots = vec![root("acme", &sigstore)];
        let both = collector(&Settings { roots, keys: vec![lax.clone()], ..Settings::default() });
        let swapped = |bundle: &[u8], from: &str, to: &str, material: &Value| {
            changed(bundle, |bundle| {
                let fields = bundle["verificationMaterial"].as_object_mut().unwrap();
                assert!(fields.remove(from).is_some());
                fields.insert(to.into(), material.clone());
            })
        };
        let as_key = swapped(&keyless, "certificate", "publicKey", &hint);
        assert_eq!(rejected(&both, as_key).await.0, Code::KEY_NOT_TRUSTED);
        for request in [cosign(), cosign().with(Knob::NoLogEntry)] {
            let keyed = sigstore.sign_with_key(&managed, request.signing(what.clone())).unwrap();
            let certificate = &other["verificationMaterial"]["certificate"];
            let as_keyless = swapped(&keyed, "publicKey", "certificate", certificate);
            assert!(matches!(finding(&both, as_keyless).await, Finding::Rejected(_)));
            verified(&both, keyed).await;
        }
    }
}
