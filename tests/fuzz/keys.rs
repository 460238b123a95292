//! Keys and certificates that somebody names in a configuration: public, private, encrypted, and the chains of own authorities.

use std::sync::LazyLock;

use serde_json::{Value, json};
use witgate::dev::sigstore::{Depth, KeyKind, ManagedKey, OwnAuthority, Sigstore};
use witgate::evidence::{KeyFile, fuzzing};

struct Made {
    keys: Vec<ManagedKey>,
    chains: Vec<String>,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    witgate_tests::provider();
    let at = "2026-06-01T12:00:00Z".parse().unwrap();
    let keys = KeyKind::ALL.into_iter().map(|kind| ManagedKey::of(kind).unwrap()).collect();
    let own = |depth| OwnAuthority::new(at, depth).unwrap().chain_pem();
    let chains = vec![own(Depth::Intermediate), own(Depth::Root), Sigstore::new(at).unwrap().timestamp_authority_pem()];
    Made { keys, chains }
});

pub fn key_files() -> Vec<Vec<u8>> {
    let files = MADE.keys.iter().flat_map(|key| [key.public_pem(), key.private_pem()]);
    files.map(String::into_bytes).collect()
}

/// What is read of a key can be written and read again, and a private key never stands in its public half.
pub fn key_file(bytes: &[u8]) {
    let public = match KeyFile::read(bytes) {
        Ok(KeyFile::Public(public)) => public,
        // Opening one costs what scrypt costs: see `encrypted-key`.
        Ok(KeyFile::Private(private)) if private.is_encrypted() => return,
        Ok(KeyFile::Private(private)) => match private.public(None) {
            Ok(public) => public,
            Err(_) => return,
        },
        Err(_) => return,
    };
    match KeyFile::read(public.to_pem().as_bytes()) {
        Ok(KeyFile::Public(again)) => assert_eq!(again.keyid(), public.keyid()),
        other => panic!("its own PEM is read as {other:?}"),
    }
    assert!(!public.algorithms().is_empty());
}

pub fn encrypted_keys() -> Vec<Vec<u8>> {
    let key = |n: u64| {
        let params = json!({"N": n, "r": 8, "p": 1});
        json!({
            "kdf": {"name": "scrypt", "params": params, "salt": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="},
            "cipher": {"name": "nacl/secretbox", "nonce": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"},
            "ciphertext": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
        })
    };
    [key(32_768), key(65_536)].map(|key| key.to_string().into_bytes()).to_vec()
}

/// Whatever is opened costs what cosign's own keys cost.
pub fn encrypted_key(bytes: &[u8]) {
    let Some(checked) = fuzzing::encrypted_key(bytes) else { return };
    let value: Value = serde_json::from_slice(&checked).expect("what is opened is JSON");
    let cost = &value["kdf"]["params"];
    assert!([32_768, 65_536].contains(&cost["N"].as_u64().unwrap()) && cost["r"] == 8 && cost["p"] == 1, "{cost}");
    assert_eq!(value["cipher"]["nonce"].as_str().unwrap().len(), 32, "the crate panics on another nonce");
}

pub fn authority_chains() -> Vec<Vec<u8>> {
    MADE.chains.iter().map(|chain| chain.clone().into_bytes()).collect()
}

pub fn authority_chain(bytes: &[u8]) {
    assert!(fuzzing::authority_chain(bytes).is_none_or(|certificates| (1..=8).contains(&certificates)));
}

/// Fails where an honest input is refused.
pub fn honest_keys_are_taken() {
    for file in key_files() {
        match KeyFile::read(&file).unwrap() {
            KeyFile::Public(public) => assert!(!public.algorithms().is_empty()),
            KeyFile::Private(private) => assert!(private.public(None).is_ok()),
        }
    }
    assert!(encrypted_keys().iter().all(|key| fuzzing::encrypted_key(key).is_some()));
    let [intermediate, root, stamps] = &authority_chains()[..] else { panic!("three chains") };
    assert_eq!([intermediate, root, stamps].map(|chain| fuzzing::authority_chain(chain)), [Some(2), Some(1), None]);
}
