//! Tokens of wasmCloud 1.x, with the binaries and archives around them.

use std::sync::LazyLock;

use witgate::case::Digest;
use witgate::dev::components;
use witgate::dev::wascap::{Account, SECTION, embed};
use witgate::evidence::fuzzing as evidence_fuzzing;
use witgate::evidence::{WascapStatus, wascap_report};
use witgate::nkey::Nkey;

use crate::targets::{COMPONENT, component_seeds, text};

pub fn account() -> Account {
    Account::from_seeds(&[1; 32], &[2; 32])
}

pub fn honest_token() -> String {
    account().token(&account().claims(COMPONENT))
}

/// Signed ones first, then what a token may be hidden in.
pub fn signed_components() -> Vec<Vec<u8>> {
    let signed = account().sign(COMPONENT);
    let nested = [COMPONENT, &components::nested_section(&signed)].concat();
    let mut seeds = vec![signed.clone(), account().sign(b"\0asm\x01\0\0\0"), account().sign(&component_seeds()[0])];
    seeds.extend([nested, embed(&signed, "jwt", "x")]);
    seeds.extend(component_seeds());
    seeds
}

pub fn provider_archives() -> Vec<Vec<u8>> {
    let one = account().provider_archive(&[("x86_64-linux", &b"binary"[..])].into());
    let two = account().provider_archive(&[("x86_64-linux", &b"binary"[..]), ("world.wasm", COMPONENT)].into());
    vec![one, two]
}

/// Whether a file's token verifies; its digest.
pub fn verified_token(bytes: &[u8]) -> Option<Digest> {
    let report = wascap_report(bytes, "2026-06-01T12:00:00Z".parse().unwrap())?;
    let verified = report.status == WascapStatus::Verified;
    assert_ne!(verified, report.code.is_some(), "a verdict has a code or none");
    report.digest.filter(|_| verified)
}

pub fn nkey(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match text.parse::<Nkey>() {
        Ok(nkey) => assert_eq!(nkey.to_string(), text, "an nkey has one spelling"),
        Err(error) => assert!(text.len() < 20 || !error.to_string().contains(text), "it may be a secret"),
    }
}

pub fn wascap_token(bytes: &[u8]) {
    let file = [COMPONENT, &components::custom_section(SECTION, bytes)].concat();
    if verified_token(&file).is_some() {
        assert_eq!(bytes, honest_token().as_bytes(), "a token that nobody signed, or in another spelling");
    }
}

pub fn wascap_component(bytes: &[u8]) {
    static HONEST: LazyLock<Vec<(Digest, [u8; 32])>> = LazyLock::new(|| {
        let seeds = signed_components();
        let of = |seed: &Vec<u8>| Some((verified_token(seed)?, evidence_fuzzing::unsigned_hash(seed)?));
        seeds.iter().filter_map(of).collect()
    });
    let hash = evidence_fuzzing::unsigned_hash(bytes);
    if let Some(token) = verified_token(bytes) {
        let hash = hash.expect("what verified can be read");
        assert!(HONEST.contains(&(token, hash)), "a token stands for bytes that it was not made for");
    }
    if let Some(hash) = hash {
        let appended = evidence_fuzzing::unsigned_hash(&embed(bytes, "jwt", "x"));
        assert_eq!(appended, Some(hash), "a token section changes the hash that it has to hold");
    }
}

pub fn provider_archive(bytes: &[u8]) {
    static HONEST: LazyLock<Vec<Digest>> =
        LazyLock::new(|| provider_archives().iter().filter_map(|seed| verified_token(seed)).collect());
    if let Some(token) = verified_token(bytes) {
        assert!(HONEST.contains(&token), "a token that nobody signed");
        // One of the honest ones was changed in a way that does not count: a header's time or owner. The bytes are the same.
        assert!(bytes.windows(6).any(|window| window == b"binary"), "other bytes than were signed");
    }
}
