//! Good bundles with one thing changed: refused, and with the code of what was changed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use witgate::case::{Digest, Timestamp};
use witgate::dev::sigstore::{Content, Log, ManagedKey, Sign, Sigstore};
use witgate::evidence::{Expected, OneBundleError, Subject, verify_bundle};

use super::vectors::{self, Outcome, read};

/// A bundle that verifies, with all it takes.
struct Good {
    name: String,
    root: Vec<u8>,
    bundle: Value,
    artifact: Vec<u8>,
    signer: Signer,
}

#[derive(Clone)]
enum Signer {
    Identity { san: String, issuer: String },
    Key { pem: String },
}

impl Good {
    fn outcome(&self, bundle: &Value) -> String {
        let expected = match &self.signer {
            Signer::Identity { san, issuer } => Expected::Identity { san, issuer },
            Signer::Key { pem } => Expected::Key { pem },
        };
        let bytes = serde_json::to_vec(bundle).unwrap();
        match verify_bundle(&self.root, &bytes, Subject::Bytes(&self.artifact), expected) {
            Ok(_) => "verified".into(),
            Err(OneBundleError::Rejected(rejection)) => rejection.code.to_string(),
            Err(other) => panic!("{}: {other:?}", self.name),
        }
    }
}

fn of_the_suite() -> Vec<Good> {
    let Some((folder, vectors)) = vectors::all() else { return Vec::new() };
    let good = vectors.into_iter().filter(|vector| vector.expect == Outcome::Pass);
    good.map(|vector| {
        let signer = match (&vector.key, vector.identity.clone(), vector.issuer.clone()) {
            (Some(key), ..) => Signer::Key { pem: String::from_utf8(read(&folder, key)).unwrap() },
            (None, Some(san), Some(issuer)) => Signer::Identity { san, issuer },
            _ => panic!("`{}` names nobody", vector.name),
        };
        Good {
            root: read(&folder, &vector.trusted_root),
            bundle: serde_json::from_slice(&read(&folder, &vector.bundle)).unwrap(),
            artifact: read(&folder, &vector.artifact),
            name: vector.name,
            signer,
        }
    })
    .collect()
}

fn of_our_own() -> Vec<Good> {
    witgate::tls::install_provider();
    let start: Timestamp = "2025-06-01T12:00:00Z".parse().unwrap();
    let sigstore = Sigstore::new(start).unwrap();
    let key = ManagedKey::generate().unwrap();
    let artifact = b"{\"schemaVersion\":2}".to_vec();
    let (san, issuer) = ("https://github.com/acme/cart/release.yml", "https://issuer.example");
    let mut good = Vec::new();
    for log in [Log::RekorV1, Log::RekorV2] {
        for what in [Content::Message { bytes: artifact.clone().into() }, Content::SignStatement] {
            let kind = if matches!(what, Content::SignStatement) { "statement" } else { "message" };
            let request = Sign::cosign(Digest::of(&artifact), san, issuer, start).logged_in(log).signing(what);
            let keyless = Signer::Identity { san: san.into(), issuer: issuer.into() };
            let made = [
                ("keyless", sigstore.sign(request.clone()), keyless),
                ("keyed", sigstore.sign_with_key(&key, request), Signer::Key { pem: key.public_pem() }),
            ];
            for (by, bundle, signer) in made {
                good.push(Good {
                    name: format!("{by} {kind} in {log:?}"),
                    root: sigstore.trusted_root_json().into(),
                    bundle: serde_json::from_slice(&bundle.unwrap()).unwrap(),
                    artifact: artifact.clone(),
                    signer,
                });
            }
        }
    }
    good
}

/// Every leaf of a document, as JSON pointers.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| leaves(value, &format!("{at}/{name}"), found));
        }
        Value::Array(values) if !values.is_empty() => {
            values.iter().enumerate().for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// The pointer without the numbers in it, and without what every entry shares.
fn field(pointer: &str) -> String {
    let words = pointer.split('/').filter(|word| word.parse::<usize>().is_err());
    words.collect::<Vec<_>>().join("/").replace("/verificationMaterial", "")
}

fn without(bundle: &Value, pointer: &str) -> Value {
    let mut bundle = bundle.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match bundle.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(name)),
        Value::Array(values) => drop(values.remove(name.parse().unwrap())),
        other => panic!("{other} has no fields"),
    }
    bundle
}

fn with(bundle: &Value, pointer: &str, value: Value) -> Value {
    let mut bundle = bundle.clone();
    *bundle.pointer_mut(pointer).unwrap() = value;
    bundle
}

/// The value with something flipped: a bit at the start, in the middle, at the end of what base64 stands for; a character of
/// a checkpoint; a digit.
fn flips(pointer: &str, value: &Value) -> Vec<Value> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => return vec![Value::from(number.as_i64().unwrap() + 1)],
        // An empty list has nothing to flip.
        _ => return Vec::new(),
    };
    if let Ok(number) = text.parse::<i64>() {
        return vec![(number + 1).to_string().into()];
    }
    let positions = |length: usize| [0, length / 3, length / 2, length - 1];
    let is_text = ["envelope", "kind", "version", "mediaType", "algorithm", "payloadType", "hint"];
    let binary = BASE64_STANDARD.decode(&text).ok().filter(|bytes| !bytes.is_empty());
    match binary.filter(|_| !is_text.iter().any(|name| pointer.ends_with(name))) {
        Some(bytes) => positions(bytes.len())
            .map(|at| {
                let mut bytes = bytes.clone();
                bytes[at] ^= 1;
                Value::from(BASE64_STANDARD.encode(bytes))
            })
            .to_vec(),
        None => {
            let letters: Vec<char> = text.chars().collect();
            if letters.is_empty() {
                return vec!["x".into()];
            }
            positions(letters.len())
                .map(|at| {
                    let mut letters = letters.clone();
                    letters[at] = if letters[at] == 'b' { 'c' } else { 'b' };
                    Value::from(letters.into_iter().collect::<String>())
                })
                .to_vec()
        }
    }
}

#[test]
fn explore() {
    let mut table: BTreeMap<(String, &str), BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for good in [of_the_suite(), of_our_own()] {
        for (index, one) in good.iter().enumerate() {
            assert_eq!(one.outcome(&one.bundle), "verified", "{}", one.name);
            let mut pointers = Vec::new();
            leaves(&one.bundle, "", &mut pointers);
            for pointer in &pointers {
                let value = one.bundle.pointer(pointer).unwrap();
                let mut note = |how: &'static str, changed: &Value| {
                    let outcome = one.outcome(changed);
                    table.entry((field(pointer), how)).or_default().entry(outcome).or_default().push(one.name.clone());
                };
                note("drop", &without(&one.bundle, pointer));
                for flipped in flips(pointer, value) {
                    note("flip", &with(&one.bundle, pointer, flipped));
                }
                for donor in good.iter().cycle().skip(index + 1).take(good.len() - 1) {
                    if let Some(other) = donor.bundle.pointer(pointer).filter(|other| *other != value) {
                        note("swap", &with(&one.bundle, pointer, other.clone()));
                        break;
                    }
                }
            }
        }
    }
    for ((field, how), outcomes) in table {
        let outcomes: Vec<String> = outcomes
            .into_iter()
            .map(|(code, mut names)| {
                names.dedup();
                if code == "verified" { format!("VERIFIED {names:?}") } else { format!("{code} x{}", names.len()) }
            })
            .collect();
        println!("{field} {how}: {}", outcomes.join(", "));
    }
}
