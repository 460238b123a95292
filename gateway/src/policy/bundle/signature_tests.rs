//! Whose bundles are loaded, and what becomes of those that somebody touched.

use std::path::Path;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use super::archive::{Files, pack, unpack};
use super::*;
use crate::policy::Policy;

struct Key {
    private: String,
    settings: KeySettings,
    // The file lies there as long as the key is used.
    _folder: tempfile::TempDir,
}

impl Key {
    fn of(pair: &KeyPair, algorithm: Algorithm) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pub");
        std::fs::write(&file, pair.public_key_pem()).unwrap();
        let settings = KeySettings { file, algorithm, scope: String::new() };
        Self { private: pair.serialize_pem(), settings, _folder: folder }
    }

    fn p256() -> Self {
        Self::of(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), Algorithm::Es256)
    }

    fn signer(&self) -> Signer {
        Signer::from_pem("key.pem", self.private.as_bytes(), Some(self.settings.algorithm)).unwrap()
    }
}

fn settings(keys: &[(&str, &Key)]) -> Settings {
    let keys = keys.iter().map(|(name, key)| ((*name).to_owned(), key.settings.clone())).collect();
    Settings { keys, ..Settings::default() }
}

const ADMISSION: &str = "package witgate.admission\n\ndefault admit := false\n\nadmit if data.own.open\n";

fn files() -> Files {
    let entries = [
        (MANIFEST, r#"{"revision":"r1","roots":["witgate","own"],"metadata":{"witgate":{"sequence":4}}}"#),
        ("admission.rego", ADMISSION),
        ("own/data.json", "{\"open\": true, \"x\": 1.50}"),
    ];
    entries.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

fn signed(key: &Key) -> Files {
    unpack(&key.signer().sign(&pack(&files()).unwrap()).unwrap()).unwrap()
}

fn load(files: &Files, settings: &Settings) -> Result<Option<String>, LoadError> {
    let bundle = Bundle::from_archive(&pack(files).unwrap(), "t".into(), settings)?;
    match bundle.form {
        Form::Opa { signed_by, .. } => Ok(signed_by),
        Form::Plain => panic!("an archive is in OPA's format"),
    }
}

fn fault(files: &Files, settings: &Settings) -> SignatureFault {
    match load(files, settings) {
        Err(LoadError::Bundle(BundleFault::Signature(fault))) => fault,
        other => panic!("{other:?}"),
    }
}

/// The token of a signed bundle, changed part by part and signed anew.
fn forged(key: &Key, change: impl FnOnce(&mut Value, &mut Value)) -> Files {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let mut files = signed(key);
    let written: Value = serde_json::from_slice(&files[archive::SIGNATURES]).unwrap();
    let token = written["signatures"][0].as_str().unwrap();
    let parts: Vec<Value> =
        token.split('.').take(2).map(|part| serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()).collect();
    let [mut header, mut claims] = <[Value; 2]>::try_from(parts).unwrap();
    change(&mut header, &mut claims);
    let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let signature = key.signer().sign_text(&message);
    put(&mut files, &json!({"signatures": [format!("{message}.{signature}")]}));
    files
}

fn put(files: &mut Files, signatures: &Value) {
    files.insert(archive::SIGNATURES.into(), signatures.to_string().into_bytes());
}

#[test]
fn every_algorithm_signs_and_verifies() {
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    for key in [
        Key::p256(),
        Key::of(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(), Algorithm::Es384),
        Key::of(&KeyPair::generate_for(&PKCS_ED25519).unwrap(), Algorithm::EdDsa),
        Key::of(&rsa, Algorithm::Rs256),
        Key::of(&rsa, Algorithm::Ps256),
    ] {
        let files = signed(&key);
        assert_eq!(load(&files, &settings(&[("release", &key)])).unwrap().as_deref(), Some("release"));
        let said = Signer::from_pem("k", key.private.as_bytes(), None).unwrap().algorithm();
        assert!(said == key.settings.algorithm || key.settings.algorithm == Algorithm::Ps256);
        for other in Algorithm::ALL.into_iter().filter(|other| *other != key.settings.algorithm) {
            let mut wrong = settings(&[("release", &key)]);
            wrong.keys.get_mut("release").unwrap().algorithm = other;
            // Another kind of key is a fault of the settings, another use of the key one of the signature.
            assert!(load(&files, &wrong).is_err(), "{} as {other}", key.settings.algorithm);
        }
    }
}

#[test]
fn a18_3_an_unsigned_bundle_is_refused() {
    let key = Key::p256();
    assert_eq!(fault(&files(), &settings(&[("release", &key)])), SignatureFault::Unsigned);
    let demanded = Settings { require_signature: Some(true), ..Settings::default() };
    assert_eq!(fault(&files(), &demanded), SignatureFault::Unsigned);
    assert_eq!(fault(&signed(&key), &demanded), SignatureFault::NoKeys);
    let optional = Settings { require_signature: Some(false), ..settings(&[("release", &key)]) };
    assert_eq!(load(&files(), &optional).unwrap(), None);
    assert_eq!(load(&signed(&key), &optional).unwrap().as_deref(), Some("release"));
}

#[test]
fn a18_3_a_folder_without_a_manifest_has_no_signature() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("admission.rego"), ADMISSION).unwrap();
    let with_dir = |settings: Settings| Settings { dir: Some(dir.path().into()), ..settings };
    assert!(Policy::load(&with_dir(Settings::default())).is_ok());
    let key = Key::p256();
    std::fs::write(dir.path().join(archive::SIGNATURES), &signed(&key)[archive::SIGNATURES]).unwrap();
    let error = Policy::load(&with_dir(settings(&[("release", &key)]))).unwrap_err();
    assert_eq!(error.to_string(), "expected a bundle with a signature, found none");
}

#[test]
fn a18_3_another_keys_signature_is_refused() {
    let (ours, theirs) = (Key::p256(), Key::p256());
    let optional = Settings { require_signature: Some(false), ..settings(&[("release", &ours)]) };
    for settings in [settings(&[("release", &ours)]), optional] {
        assert!(matches!(fault(&signed(&theirs), &settings), SignatureFault::Wrong { .. }));
    }
    assert_eq!(load(&signed(&theirs), &settings(&[("a", &ours), ("b", &theirs)])).unwrap().as_deref(), Some("b"));
    let named = forged(&theirs, |header, _| header["kid"] = "a".into());
    assert!(matches!(fault(&named, &settings(&[("a", &ours), ("b", &theirs)])), SignatureFault::Wrong { .. }));
    assert!(matches!(fault(&named, &settings(&[("b", &theirs)])), SignatureFault::KeyUnknown { .. }));
    let twice = forged(&theirs, |header, claims| {
        header["kid"] = "a".into();
        claims["keyid"] = "b".into();
    });
    assert!(matches!(fault(&twice, &settings(&[("b", &theirs)])), SignatureFault::Shape { .. }));
}

#[test]
fn a18_3_what_changed_after_signing_is_refused() {
    let key = Key::p256();
    let trusted = settings(&[("release", &key)]);
    let good = signed(&key);
    for (name, text) in [
        ("admission.rego", format!("{ADMISSION}\nadmit if true\n")),
        ("own/data.json", r#"{"open": false, "x": 1.50}"#.into()),
        ("own/data.json", r#"{"open": true, "x": 1.5}"#.into()),
        ("own/data.json", "{".into()),
        (MANIFEST, r#"{"revision":"r1","roots":["witgate","own"],"metadata":{"witgate":{"sequence":5}}}"#.into()),
    ] {
        let mut changed = good.clone();
        changed.insert(name.to_owned(), text.into_bytes());
        assert_eq!(fault(&changed, &trusted), SignatureFault::Changed { name: name.into() });
    }
    let mut spaced = good.clone();
    spaced.insert("own/data.json".into(), b"{\"x\":1.50,\n\"open\":true}".to_vec());
    assert!(load(&spaced, &trusted).is_ok(), "white space and the order of keys say nothing in JSON");
    let mut more = good.clone();
    more.insert("more.rego".into(), b"package witgate.more".to_vec());
    assert_eq!(fault(&more, &trusted), SignatureFault::NotListed { name: "more.rego".into() });
    let mut readme = good.clone();
    readme.insert("README.md".into(), b"hello".to_vec());
    assert_eq!(fault(&readme, &trusted), SignatureFault::NotListed { name: "README.md".into() });
    for name in [MANIFEST, "own/data.json"] {
        let mut fewer = good.clone();
        fewer.remove(name);
        assert_eq!(fault(&fewer, &trusted), SignatureFault::Missing { name: name.into() });
    }
}

#[test]
fn a_token_says_nothing_of_how_it_is_verified() {
    let key = Key::p256();
    let trusted = settings(&[("release", &key)]);
    for algorithm in ["none", "HS256", "ES384", "RS256", ""] {
        let files = forged(&key, |header, _| header["alg"] = algorithm.into());
        assert!(matches!(fault(&files, &trusted), SignatureFault::AlgorithmDiffers { .. }), "`{algorithm}`");
    }
    let critical = forged(&key, |header, _| header["crit"] = json!(["b64"]));
    assert!(matches!(fault(&critical, &trusted), SignatureFault::Shape { .. }));
    // A key that comes along is not looked at: it is ours that made this signature.
    assert!(load(&forged(&key, |header, _| header["jwk"] = json!({"kty": "oct"})), &trusted).is_ok());
}

#[test]
fn scope_hashes_and_form_are_held() {
    let key = Key::p256();
    let trusted = settings(&[("release", &key)]);
    let scoped = forged(&key, |_, claims| claims["scope"] = "write".into());
    assert!(matches!(fault(&scoped, &trusted), SignatureFault::Scope { .. }));
    let mut expects = trusted.clone();
    expects.keys.get_mut("release").unwrap().scope = "write".into();
    assert!(load(&scoped, &expects).is_ok());
    assert!(matches!(fault(&signed(&key), &expects), SignatureFault::Scope { .. }));
    for weak in ["MD5", "SHA-1", "SHA-224", "", "sha-256"] {
        let files = forged(&key, |_, claims| claims["files"][0]["algorithm"] = weak.into());
        assert!(matches!(fault(&files, &trusted), SignatureFault::Hash { .. }), "`{weak}`");
    }
    let twice = forged(&key, |_, claims| {
        let first = claims["files"][0].clone();
        claims["files"].as_array_mut().unwrap().push(first);
    });
    assert!(matches!(fault(&twice, &trusted), SignatureFault::Shape { .. }));
    let token = serde_json::from_slice::<Value>(&signed(&key)[archive::SIGNATURES]).unwrap()["signatures"][0].clone();
    for signatures in [
        json!({"signatures": []}),
        json!({"signatures": [token, token]}),
        json!({"signatures": ["a.b"]}),
        json!({"signatures": [token], "plugin": "vault"}),
        json!({"signatures": [format!("{}=", token.as_str().unwrap())]}),
        json!([token]),
        json!({}),
    ] {
        let mut files = signed(&key);
        put(&mut files, &signatures);
        assert!(load(&files, &trusted).is_err(), "{signatures}");
    }
}

#[test]
fn keys_that_are_none_are_told() {
    let key = Key::p256();
    let files = signed(&key);
    let with = |text: &str| {
        std::fs::write(&key.settings.file, text).unwrap();
        load(&files, &settings(&[("release", &key)])).unwrap_err().to_string()
    };
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    assert_eq!(with(&ed25519.public_key_pem()), "key `release`: expected a key for ES256, found Ed25519");
    let expected = "key `release`: expected one public key as SPKI PEM, found no block `PUBLIC KEY`";
    assert_eq!(with(&key.private), expected);
    assert_eq!(with(""), expected);
    assert!(with(&"x".repeat(key::MAX_KEY_BYTES + 1)).starts_with("size of `"));
    let error = Signer::from_pem("k.pem", ed25519.public_key_pem().as_bytes(), None).map(|_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "key `k.pem`: expected one private key in PEM, not encrypted, found no block `PRIVATE KEY`"
    );
}

fn write(dir: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_folder_and_its_archive_are_one_bundle() {
    let key = Key::p256();
    let dir = tempfile::tempdir().unwrap();
    let (folder, archive) = (dir.path().join("team"), dir.path().join("team.tar.gz"));
    write(&folder, &signed(&key));
    std::fs::write(&archive, pack(&signed(&key)).unwrap()).unwrap();
    let facts = |path: &Path| {
        let settings = Settings { dir: Some(path.into()), ..settings(&[("release", &key)]) };
        Policy::load(&settings).unwrap().facts().clone()
    };
    let found = facts(&archive);
    assert_eq!(facts(&folder), found);
    assert_eq!((found.name.as_str(), found.revision.as_str()), ("team", "r1"));
    // Nothing hidden is read, and nothing that nobody signed.
    std::fs::create_dir(folder.join(".git")).unwrap();
    std::fs::write(folder.join(".git/x.rego"), "package x").unwrap();
    assert_eq!(facts(&folder), found);
    std::fs::write(folder.join("more.rego"), "package own.more").unwrap();
    assert!(Bundle::read(&Settings { dir: Some(folder), ..settings(&[("release", &key)]) }).is_err());
}

#[test]
fn what_is_made_of_a_folder_decides_as_the_folder_does() {
    let dir = tempfile::tempdir().unwrap();
    let plain = Files::from([
        ("admission.rego".to_owned(), ADMISSION.as_bytes().to_vec()),
        ("admission_test.rego".to_owned(), b"package witgate.admission_test\n\ntest_a if true\n".to_vec()),
        ("data/own.json".to_owned(), br#"{"own":{"open":true}}"#.to_vec()),
        ("data/grants.json".to_owned(), br#"{"witgate":{"grants":[]}}"#.to_vec()),
        ("README.md".to_owned(), b"hello".to_vec()),
    ]);
    write(dir.path(), &plain);
    let making = Making { revision: Some("r7".into()), roots: vec!["witgate".into(), "own".into()], sequence: Some(7) };
    let made = make(dir.path(), &making).unwrap();
    assert_eq!(made.bytes, make(dir.path(), &making).unwrap().bytes, "the same folder makes the same bytes");
    assert_eq!(made.files, [MANIFEST, "admission.rego", "data.json"]);
    assert_eq!((made.policy.revision.as_str(), made.sequence), ("r7", Some(7)));
    let bundle = Bundle::from_archive(&made.bytes, "t".into(), &Settings::default()).unwrap();
    assert_eq!(bundle.facts().digest, made.policy.digest);
    let data = |bundle: &Bundle| crate::policy::data::load(bundle).unwrap();
    assert_eq!(data(&bundle), data(&Bundle::from_dir(dir.path()).unwrap()));
    // What was made is a folder's content again, and its manifest is the one that is told less of.
    let again = tempfile::tempdir().unwrap();
    write(again.path(), &unpack(&made.bytes).unwrap());
    assert_eq!(make(again.path(), &Making::default()).unwrap().policy.digest, made.policy.digest);
    let next = make(again.path(), &Making { sequence: Some(8), ..Making::default() }).unwrap();
    assert_eq!((next.policy.revision.as_str(), next.sequence), ("r7", Some(8)));
    assert!(make(dir.path(), &Making { roots: vec!["witgate".into()], ..Making::default() }).is_err());
    std::fs::write(dir.path().join("admission.rego"), "package witgate.admission\n\nadmit if\n").unwrap();
    assert!(matches!(make(dir.path(), &Making::default()), Err(LoadError::Compile { .. })));
}
