//! Files that hold keys: which are taken, what is told of the others, and what an encrypted one may cost.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use sigstore::crypto::signing_key::SigStoreKeyPair;

use super::super::limits::{
    ENCRYPTED_KEY_BYTES_MAX, KEY_BYTES_MAX, PRIVATE_KEY_BYTES_MAX, SCRYPT_N_MAX, SCRYPT_P_MAX, SCRYPT_R_MAX,
    SCRYPT_SALT_BYTES_MAX,
};
use super::super::pem::encode;
use super::super::{KeyFile, KeyFileFault, PublicKey, StartError};
use super::*;
use crate::dev::sigstore::KeyKind;
use crate::outage::chain;

/// One DER element (X.690); lengths up to 65535.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let header = match body.len() {
        0..128 => vec![tag, length[1]],
        128..256 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [header, body].concat()
}

/// SPKI PEM of these object identifiers and key bits (RFC 5280, 4.1.2.7).
fn spki(algorithm: &[&[u8]], key: &[u8]) -> String {
    encode("PUBLIC KEY", &der(0x30, &[&der(0x30, algorithm), &der(0x03, &[&[0], key])]))
}

const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const NULL: &[u8] = b"\x05\x00";
const EC: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P521: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x23";
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
const ED448: &[u8] = b"\x06\x03\x2b\x65\x71";

/// An RSA key of this many bits, with this exponent.
fn rsa(bits: usize, exponent: &[u8], parameters: &[u8]) -> String {
    let mut modulus = vec![0xff; bits.div_ceil(8)];
    modulus[0] >>= modulus.len() * 8 - bits;
    if modulus[0] >= 0x80 {
        modulus.insert(0, 0);
    }
    spki(&[RSA, parameters], &der(0x30, &[&der(0x02, &[&modulus]), &der(0x02, &[exponent])]))
}

/// How a gateway's start answers to a key of this text.
fn told(text: &str, algorithm: Option<&str>) -> String {
    let algorithm = algorithm.map(|algorithm| algorithm.parse().unwrap());
    let pem = PemSource::Inline(InlinePem { text: text.into() });
    let keys = vec![KeySettings { algorithm, ..KeySettings::new("release", pem) }];
    match Trust::load(&Settings { keys, ..Settings::default() }) {
        Ok(_) => "loads".into(),
        Err(fault) => {
            let hint = fault.hint().unwrap();
            let text = chain(&fault).replace("the key `release` of `[[evidence.keys]]` cannot be used: ", "");
            format!("{text}\n  hint: {hint}")
        }
    }
}

#[test]
fn what_a_key_may_be() {
    let of = |kind| ManagedKey::of(kind).unwrap();
    let (p256, edwards) = (of(KeyKind::P256), of(KeyKind::Ed25519));
    let secret = p256.private_pem();
    let mut identity = [0; 32];
    identity[0] = 1;
    let certificate = encode("CERTIFICATE", b"x");
    let rows = [
        ("P-256", told(&p256.public_pem(), None)),
        ("P-256 that says so", told(&p256.public_pem(), Some("ecdsa-sha2-256-nistp256"))),
        ("P-256 behind a text", told(&format!("keyid 12\n{}", p256.public_pem()), None)),
        ("RSA of 2048 bits", told(&rsa(2048, &[1, 0, 1], NULL), None)),
        ("RSA of 3072 bits", told(&rsa(3072, &[3], NULL), Some("rsa-sign-pkcs1-3072-sha256"))),
        ("RSA of 4096 bits", told(&rsa(4096, &[1, 0, 1], NULL), None)),
        ("Ed25519, pure", told(&edwards.public_pem(), Some("ed25519"))),
        ("Ed25519, prehashed", told(&edwards.public_pem(), Some("ed25519-ph"))),
        ("Ed25519 that does not say", told(&edwards.public_pem(), None)),
        ("P-256 that says RSA", told(&p256.public_pem(), Some("rsa-sign-pkcs1-2048-sha256"))),
        ("RSA of another size", told(&rsa(2048, &[1, 0, 1], NULL), Some("rsa-sign-pkcs1-4096-sha256"))),
        ("RSA of 1024 bits", told(&rsa(1024, &[1, 0, 1], NULL), None)),
        ("RSA of 2047 bits", told(&rsa(2047, &[1, 0, 1], NULL), None)),
        ("RSA of 8192 bits", told(&rsa(8192, &[1, 0, 1], NULL), None)),
        ("RSA to the power of one", told(&rsa(2048, &[1], NULL), None)),
        ("RSA to an even power", told(&rsa(2048, &[2], NULL), None)),
        ("RSA written in another way", told(&rsa(2048, &[1, 0, 1], &[]), None)),
        ("P-521", told(&spki(&[EC, P521], &[4; 133]), None)),
        ("Ed448", told(&spki(&[ED448], &[7; 57]), None)),
        ("P-256, compressed", told(&spki(&[EC, P256], &[2; 33]), None)),
        ("a point of small order", told(&spki(&[ED25519], &identity), Some("ed25519"))),
        ("Ed25519, cut off", told(&spki(&[ED25519], &[9; 31]), Some("ed25519"))),
        ("no key", told("", None)),
        ("a certificate", told(&certificate, None)),
        ("two keys", told(&format!("{}{}", p256.public_pem(), edwards.public_pem()), None)),
        ("bytes that are none", told(&encode("PUBLIC KEY", b"x"), None)),
        ("a private key", told(&secret, None)),
        ("a private key in another form", told(&secret.replace("PRIVATE", "EC PRIVATE"), None)),
        ("an encrypted key", told(&secret.replace("PRIVATE", "ENCRYPTED SIGSTORE PRIVATE"), None)),
        ("a private key beside its public half", told(&format!("{}{secret}", p256.public_pem()), None)),
    ];
    let lines = rows.map(|(what, told)| format!("{what}: {told}"));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    P-256: loads
    P-256 that says so: loads
    P-256 behind a text: loads
    RSA of 2048 bits: loads
    RSA of 3072 bits: loads
    RSA of 4096 bits: loads
    Ed25519, pure: loads
    Ed25519, prehashed: loads
    Ed25519 that does not say: expected `algorithm` to say whether an Ed25519 key signs purely or prehashes, found none
      hint: write `algorithm = "ed25519-ph"` where cosign 3 signs with it, else `"ed25519"`; on the command line it is `--signing-algorithm`
    P-256 that says RSA: expected `algorithm` to be `ecdsa-sha2-256-nistp256`, which the key is, found `rsa-sign-pkcs1-2048-sha256`
      hint: leave `algorithm` out, or name the key that was meant
    RSA of another size: expected `algorithm` to be `rsa-sign-pkcs1-2048-sha256`, which the key is, found `rsa-sign-pkcs1-4096-sha256`
      hint: leave `algorithm` out, or name the key that was meant
    RSA of 1024 bits: expected ECDSA on P-256 or P-384, RSA of 2048, 3072 or 4096 bits, or Ed25519, found RSA of 1024 bits
      hint: sign with another key, for instance one of `cosign generate-key-pair`
    RSA of 2047 bits: expected ECDSA on P-256 or P-384, RSA of 2048, 3072 or 4096 bits, or Ed25519, found RSA of 2047 bits
      hint: sign with another key, for instance one of `cosign generate-key-pair`
    RSA of 8192 bits: expected ECDSA on P-256 or P-384, RSA of 2048, 3072 or 4096 bits, or Ed25519, found RSA of 8192 bits
      hint: sign with another key, for instance one of `cosign generate-key-pair`
    RSA to the power of one: the key is weak: an RSA exponent that is 1 or even
      hint: sign with another key, for instance one of `cosign generate-key-pair`
    RSA to an even power: the key is weak: an RSA exponent that is 1 or even
      hint: sign with another key, for instance one of `cosign generate-key-pair`
    RSA written in another way: expected a public key in its one DER form, found RSA without NULL parameters (RFC 3279, 2.3.1)
      hint: write the public key as SPKI PEM, for instance with `cosign public-key` or `witgate key show`
    P-521: expected ECDSA on P-256 or P-384, RSA of 2048, 3072 or 4096 bits, or Ed25519, found ECDSA on P-521
      hint: sign with another key, for instance one of `cosign generate-key-pair`
    Ed448: expected ECDSA on P-256 or P-384, RSA of 2048, 3072 or 4096 bits, or Ed25519, found a key of the kind `1.3.101.113`
      hint: sign with another key, for instance one of `cosign generate-key-pair`
    P-256, compressed: expected a public key in its one DER form, found Invalid key: ECDSA public key must use uncompressed SEC1 point encoding
      hint: write the public key as SPKI PEM, for instance with `cosign public-key` or `witgate key show`
    a point of small order: the key is weak: a point of small order
      hint: sign with another key, for instance one of `cosign generate-key-pair`
    Ed25519, cut off: expected a public key in its one DER form, found an Ed25519 key that is no point
      hint: write the public key as SPKI PEM, for instance with `cosign public-key` or `witgate key show`
    no key: it is no PEM text: expected a line `-----BEGIN …-----`, found none
      hint: write the public key as SPKI PEM, for instance with `cosign public-key` or `witgate key show`
    a certificate: expected one `PUBLIC KEY` block, found `CERTIFICATE`
      hint: write the public key as SPKI PEM, for instance with `cosign public-key` or `witgate key show`
    two keys: expected one `PUBLIC KEY` block, found `PUBLIC KEY`, `PUBLIC KEY`
      hint: write the public key as SPKI PEM, for instance with `cosign public-key` or `witgate key show`
    bytes that are none: expected a public key in its one DER form, found bytes that are none
      hint: write the public key as SPKI PEM, for instance with `cosign public-key` or `witgate key show`
    a private key: expected a `PUBLIC KEY` block, found `PRIVATE KEY`: a gateway needs no private key
      hint: write the public half with `witgate key show FILE > FILE.pub`, and name that file
    a private key in another form: expected a `PUBLIC KEY` block, found `EC PRIVATE KEY`: a gateway needs no private key
      hint: write the public half with `witgate key show FILE > FILE.pub`, and name that file
    an encrypted key: expected a `PUBLIC KEY` block, found `ENCRYPTED SIGSTORE PRIVATE KEY`: a gateway needs no private key
      hint: write the public half with `witgate key show FILE > FILE.pub`, and name that file
    a private key beside its public half: expected a `PUBLIC KEY` block, found `PRIVATE KEY`: a gateway needs no private key
      hint: write the public half with `witgate key show FILE > FILE.pub`, and name that file
    "#);
}

#[test]
fn a_private_keys_file_is_named_with_the_next_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cosign.key");
    std::fs::write(&path, ManagedKey::generate().unwrap().private_pem()).unwrap();
    let keys = vec![KeySettings::new("release", PemSource::File(path.clone()))];
    let fault = Trust::load(&Settings { keys, ..Settings::default() }).err().unwrap();
    let hint = fault.hint().unwrap().replace(&path.display().to_string(), "PATH");
    insta::assert_snapshot!(hint, @"write the public half with `witgate key show PATH > PATH.pub`, and name that file");

    let mut text = ManagedKey::generate().unwrap().public_pem();
    text.push_str(&"\n".repeat(usize::try_from(KEY_BYTES_MAX).unwrap() - text.len()));
    std::fs::write(&path, &text).unwrap();
    let load = || {
        let keys = vec![KeySettings::new("release", PemSource::File(path.clone()))];
        Trust::load(&Settings { keys, ..Settings::default() })
    };
    assert!(load().is_ok());
    std::fs::write(&path, text + "\n").unwrap();
    assert!(matches!(load(), Err(StartError::TooLarge { .. })));
}

fn private(file: &str) -> Result<super::super::PrivateKey, KeyFileFault> {
    match KeyFile::read(file.as_bytes())? {
        KeyFile::Private(private) => Ok(private),
        KeyFile::Public(_) => panic!("a public key"),
    }
}

/// As cosign encrypts it, under either of its labels.
fn encrypted(managed: &ManagedKey, password: &[u8]) -> String {
    let secret = super::super::pem::blocks(managed.private_pem().as_bytes(), 1).unwrap().remove(0);
    let pair = SigStoreKeyPair::from_der(&secret.bytes).unwrap();
    pair.private_key_to_encrypted_pem(password).unwrap().to_string()
}

#[test]
fn every_kind_of_private_key_gives_its_public_half() {
    for kind in KeyKind::ALL {
        let managed = ManagedKey::of(kind).unwrap();
        let plain = private(&managed.private_pem()).unwrap();
        assert!(!plain.is_encrypted());
        for password in [None, Some(&b"not looked at"[..])] {
            assert_eq!(plain.public(password).unwrap().to_pem(), managed.public_pem());
        }
        let KeyFile::Public(public) = KeyFile::read(managed.public_pem().as_bytes()).unwrap() else {
            panic!("private")
        };
        assert_eq!(public.to_pem(), managed.public_pem());
        assert!(public.algorithms().iter().any(|algorithm| algorithm.as_str() == kind.name()));
        assert!(!format!("{plain:?}{public:?}").contains("BEGIN"), "a key is not printed");
    }
    let managed = ManagedKey::generate().unwrap();
    for password in [&b"correct horse"[..], b""] {
        let file = encrypted(&managed, password);
        for label in ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"] {
            let file = file
                .replace("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
                .replace("ENCRYPTED COSIGN PRIVATE KEY", label);
            let locked = private(&file).unwrap();
            assert!(locked.is_encrypted());
            assert_eq!(locked.public(Some(password)).unwrap().to_pem(), managed.public_pem());
            assert!(matches!(locked.public(None), Err(KeyFileFault::Locked)));
            assert!(matches!(locked.public(Some(b"wrong")), Err(KeyFileFault::WrongPassword)));
        }
    }
}

#[test]
fn a_private_key_is_in_one_form_and_alone() {
    let managed = ManagedKey::generate().unwrap();
    let (secret, public) = (managed.private_pem(), managed.public_pem());
    for file in [
        secret.replace("PRIVATE", "EC PRIVATE"),
        secret.replace("PRIVATE", "RSA PRIVATE"),
        secret.replace("PRIVATE", "OPENSSH PRIVATE"),
        secret.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        format!("{secret}{secret}"),
        format!("{public}{secret}"),
    ] {
        assert!(matches!(private(&file), Err(KeyFileFault::Form { .. })), "{file}");
    }
    for bytes in [vec![0; 40], vec![0x30; PRIVATE_KEY_BYTES_MAX]] {
        let file = encode("PRIVATE KEY", &bytes);
        assert!(matches!(private(&file).unwrap().public(None), Err(KeyFileFault::NoKey)));
    }
    let large = encode("PRIVATE KEY", &vec![0x30; PRIVATE_KEY_BYTES_MAX + 1]);
    assert!(matches!(private(&large).unwrap().public(None), Err(KeyFileFault::TooLarge { .. })));
}

/// What an encrypted key's file holds, with its parts as given.
fn container(change: impl FnOnce(&mut Value)) -> Result<PublicKey, KeyFileFault> {
    let mut value = json!({
        "kdf": {
            "name": "scrypt",
            "params": {"N": 32_768, "r": 8, "p": 1},
            "salt": BASE64_STANDARD.encode([7; 32]),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": BASE64_STANDARD.encode([7; 24])},
        "ciphertext": BASE64_STANDARD.encode([7; 64]),
    });
    change(&mut value);
    opened(value.to_string().as_bytes())
}

fn opened(json: &[u8]) -> Result<PublicKey, KeyFileFault> {
    private(&encode("ENCRYPTED SIGSTORE PRIVATE KEY", json)).unwrap().public(Some(b"password"))
}

#[test]
fn a_foreign_files_scrypt_parameters_are_no_bomb() {
    // At its limits it is opened, and says no.
    let at = |n, r, p| container(|value| value["kdf"]["params"] = json!({"N": n, "r": r, "p": p}));
    assert!(matches!(at(SCRYPT_N_MAX, SCRYPT_R_MAX, SCRYPT_P_MAX), Err(KeyFileFault::WrongPassword)));
    for (n, r, p) in [
        (SCRYPT_N_MAX + 1, SCRYPT_R_MAX, SCRYPT_P_MAX),
        (SCRYPT_N_MAX * 2, SCRYPT_R_MAX, SCRYPT_P_MAX),
        (SCRYPT_N_MAX, SCRYPT_R_MAX + 1, SCRYPT_P_MAX),
        (SCRYPT_N_MAX, SCRYPT_R_MAX, SCRYPT_P_MAX + 1),
        (u64::from(u32::MAX), 1, 1),
        (1 << 40, 1, 1),
        (2, u64::MAX, 1),
        (2, 1, u64::from(u32::MAX)),
    ] {
        assert!(matches!(at(n, r, p), Err(KeyFileFault::Costly { .. })), "{n} {r} {p}");
    }
    // Less than cosign asks is guessed at too cheaply.
    for (n, r, p) in [(2, 8, 1), (16_384, 8, 1), (32_768, 1, 1), (40_000, 8, 1)] {
        assert!(matches!(at(n, r, p), Err(KeyFileFault::Container { .. })), "{n} {r} {p}");
    }
    for bad in [json!(0), json!(-1), json!(32_768.5), json!("32768"), json!(null)] {
        let found = container(|value| value["kdf"]["params"]["N"] = bad.clone());
        assert!(matches!(found, Err(KeyFileFault::Container { .. })), "{bad}");
    }
}

#[test]
fn an_encrypted_key_is_read_in_one_way_only() {
    let text = |bytes: usize| json!(BASE64_STANDARD.encode(vec![7; bytes]));
    // The crate that opens the box panics on a nonce of another length.
    let changes: [&dyn Fn(&mut Value); 17] = [
        &|value| value["cipher"]["nonce"] = text(23),
        &|value| value["cipher"]["nonce"] = text(25),
        &|value| value["cipher"]["nonce"] = json!(""),
        &|value| value["cipher"]["nonce"] = json!("!"),
        &|value| value["cipher"]["name"] = json!("aes"),
        &|value| value["kdf"]["name"] = json!("pbkdf2"),
        &|value| value["kdf"]["salt"] = text(SCRYPT_SALT_BYTES_MAX + 1),
        &|value| value["kdf"]["salt"] = json!(""),
        &|value| value["kdf"]["more"] = json!(1),
        &|value| value["kdf"]["params"]["more"] = json!(1),
        &|value| value["more"] = json!(1),
        &|value| value["ciphertext"] = text(16),
        &|value| value["ciphertext"] = json!(7),
        &|value| drop(value["kdf"].as_object_mut().unwrap().remove("params")),
        &|value| drop(value.as_object_mut().unwrap().remove("cipher")),
        &|value| value["kdf"]["params"] = json!([[1]]),
        &|value| *value = json!([]),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        assert!(matches!(container(change), Err(KeyFileFault::Container { .. })), "change {number}");
    }
    assert!(matches!(
        container(|value| value["kdf"]["salt"] = text(SCRYPT_SALT_BYTES_MAX)),
        Err(KeyFileFault::WrongPassword)
    ));
    for json in ["{", "{\"kdf\":{},\"kdf\":{}}", "null"] {
        assert!(matches!(opened(json.as_bytes()), Err(KeyFileFault::Container { .. })), "{json}");
    }
    let padded = |bytes: usize| {
        let json = json!({"kdf": {}, "cipher": {}, "ciphertext": ""}).to_string();
        match opened((json.clone() + &" ".repeat(bytes - json.len())).as_bytes()) {
            Err(KeyFileFault::Container { expected }) => expected,
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(padded(ENCRYPTED_KEY_BYTES_MAX), padded(ENCRYPTED_KEY_BYTES_MAX + 1));
}
