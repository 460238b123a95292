//! `witgate key show`, and keys as `witgate verify` takes them.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use sigstore::crypto::signing_key::SigStoreKeyPair;
use witgate::case::{Digest, Timestamp};
use witgate::dev::sigstore::{Content, KeyKind, ManagedKey, SIGNED_AFTER_S, Sign, Sigstore};

use super::{stderr, stdout, witgate};

/// A key that cosign 3.1.3 made, and its password.
fn cosign() -> (String, String, String) {
    let made: Value = serde_json::from_str(include_str!("../../gateway/src/evidence/tests/cosign-3.1.3.json")).unwrap();
    let text = |pointer: &str| made.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    (text("/keys/0/private"), text("/keys/0/public"), text("/password"))
}

fn write(home: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = home.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn show(home: &Path, file: &Path, more: &[&str], password: Option<&str>) -> Output {
    let mut command = witgate(home);
    command.args(["key", "show"]).arg(file).args(more).env_remove("COSIGN_PASSWORD");
    if let Some(password) = password {
        command.env("COSIGN_PASSWORD", password);
    }
    command.output().unwrap()
}

#[test]
fn a_key_of_cosign_shows_its_public_half_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let (private, public, password) = cosign();
    let file = write(home.path(), "cosign.key", &private);
    let shown = show(home.path(), &file, &[], Some(&password));
    assert_eq!((shown.status.code(), stderr(&shown).as_str()), (Some(0), ""));
    let text = stdout(&shown);
    let keyid = text.lines().find_map(|line| line.strip_prefix("keyid      ")).unwrap();
    assert_eq!(text, format!("algorithm  ecdsa-sha2-256-nistp256\nkeyid      {keyid}\n{public}"));
    // What was printed is a public key's file.
    let again = show(home.path(), &write(home.path(), "cosign.pub", &text), &["--output", "json"], None);
    let json: Value = serde_json::from_str(&stdout(&again)).unwrap();
    assert_eq!((json["keyid"].as_str(), json["public_key"].as_str()), (Some(keyid), Some(public.as_str())));
    assert_eq!(json["algorithms"], serde_json::json!(["ecdsa-sha2-256-nistp256"]));

    let file_with_password = write(home.path(), "password", format!("{password}\n"));
    let flag = ["--password-file", file_with_password.to_str().unwrap()];
    assert_eq!(stdout(&show(home.path(), &file, &flag, None)), text);
    for (password, told) in [
        (
            None,
            "the key is encrypted, and there is no password\nwitgate: hint: put it into the environment as `COSIGN_PASSWORD`",
        ),
        (
            Some("wrong"),
            "the password does not open the key, or the file was changed\nwitgate: hint: give the password",
        ),
    ] {
        let refused = show(home.path(), &file, &[], password);
        assert_eq!((refused.status.code(), stdout(&refused).as_str()), (Some(2), ""));
        assert!(stderr(&refused).contains(told), "{}", stderr(&refused));
        assert!(!stderr(&refused).contains("wrong"), "a password is never printed");
    }
}

#[test]
fn every_form_of_key_is_shown() {
    let home = tempfile::tempdir().unwrap();
    for kind in KeyKind::ALL {
        let key = ManagedKey::of(kind).unwrap();
        let (public, private) =
            (write(home.path(), "a.pub", key.public_pem()), write(home.path(), "a.pem", key.private_pem()));
        let text = stdout(&show(home.path(), &public, &[], None));
        assert_eq!(stdout(&show(home.path(), &private, &[], None)), text);
        assert!(text.contains(kind.name()) && text.ends_with(&key.public_pem()), "{text}");
    }
    for (text, told) in [
        ("", "it is no PEM text"),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
            "openssl pkcs8 -topk8 -nocrypt",
        ),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "expected one `PUBLIC KEY` block"),
    ] {
        let refused = show(home.path(), &write(home.path(), "b.pem", text), &[], None);
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains(told) && stderr(&refused).contains("hint: "), "{}", stderr(&refused));
    }
    assert_eq!(show(home.path(), &home.path().join("none"), &[], None).status.code(), Some(2));
}

#[test]
fn verify_takes_a_key_in_each_of_its_forms() {
    witgate::tls::install_provider();
    let home = tempfile::tempdir().unwrap();
    let at = Timestamp::now() - jiff::SignedDuration::from_secs(SIGNED_AFTER_S);
    let sigstore = Sigstore::new(at).unwrap();
    let root = write(home.path(), "root.json", sigstore.trusted_root_json());
    let message = b"a component";
    let component = write(home.path(), "a.wasm", message);
    let verify = |key: &Path, bundle: &Path, more: &[&str]| {
        let mut command = witgate(home.path());
        command.arg("verify").arg(&component).arg("--bundle").arg(bundle).arg("--trusted-root").arg(&root);
        command.arg("--key").arg(key).args(more).env("COSIGN_PASSWORD", "correct horse").output().unwrap()
    };
    for kind in [KeyKind::P256, KeyKind::Ed25519] {
        let key = ManagedKey::of(kind).unwrap();
        let request = Sign::cosign(Digest::of(message), "", "", at);
        let request = request.signing(Content::Message { bytes: message.as_slice().into() });
        let bundle = write(home.path(), "bundle.json", sigstore.sign_with_key(&key, request).unwrap());
        let pair = SigStoreKeyPair::from_der(&der_of(&key.private_pem())).unwrap();
        let encrypted = pair.private_key_to_encrypted_pem(b"correct horse").unwrap();
        let files = [
            write(home.path(), "a.pub", key.public_pem()),
            write(home.path(), "a.pem", key.private_pem()),
            write(home.path(), "a.key", encrypted.as_bytes()),
        ];
        for file in &files {
            let stated = verify(file, &bundle, &["--signing-algorithm", kind.name()]);
            assert_eq!(stated.status.code(), Some(0), "{}", stderr(&stated));
            let unstated = verify(file, &bundle, &[]);
            match kind {
                KeyKind::Ed25519 => {
                    assert_eq!(unstated.status.code(), Some(2));
                    assert!(stderr(&unstated).contains("`--signing-algorithm ed25519-ph`"), "{}", stderr(&unstated));
                }
                _ => assert_eq!(unstated.status.code(), Some(0), "{}", stderr(&unstated)),
            }
        }
        let other = write(home.path(), "other.pub", ManagedKey::of(kind).unwrap().public_pem());
        let refused = verify(&other, &bundle, &["--signing-algorithm", kind.name()]);
        assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
        assert!(stderr(&refused).contains("key-not-trusted"), "{}", stderr(&refused));
    }
}

/// The bytes of the one block of a text.
fn der_of(pem: &str) -> Vec<u8> {
    let base64 = pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    base64::Engine::decode(&base64::prelude::BASE64_STANDARD, base64).unwrap()
}
