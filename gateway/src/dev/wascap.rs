//! A signer of wasmCloud 1.x tokens, as `wash claims sign` was one.
//!
//! It hashes the file as it is, which is what a token's hash means for compiler output, so it shares no code with the verifier.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use witgate_host_hook::key::PrivateKey;

use super::components::custom_section;
use crate::case::Digest;
use crate::nkey::{Kind, Nkey};

/// The section of wasmCloud 0.9 and later.
pub const SECTION: &str = "wasmcloud_jwt";
/// `{"typ":"jwt","alg":"Ed25519"}`.
const HEADER: &str = r#"{"typ":"jwt","alg":"Ed25519"}"#;

/// An account that signs, with the keys of what it signs.
pub struct Account {
    key: PrivateKey,
    module: Nkey,
    service: Nkey,
}

impl Account {
    /// The account whose seed is `seed`, signing for the module or service whose seed is `subject`.
    pub fn from_seeds(seed: &[u8; 32], subject: &[u8; 32]) -> Self {
        let of = |kind| Nkey::new(kind, PrivateKey::from_seed(subject).public());
        Self { key: PrivateKey::from_seed(seed), module: of(Kind::Module), service: of(Kind::Service) }
    }

    /// An account with new keys.
    ///
    /// # Errors
    /// The system gave no random bytes.
    pub fn generate() -> anyhow::Result<Self> {
        let (mut seed, mut subject) = ([0; 32], [0; 32]);
        getrandom::fill(&mut seed)?;
        getrandom::fill(&mut subject)?;
        Ok(Self::from_seeds(&seed, &subject))
    }

    /// Its public nkey, `A…`.
    pub fn issuer(&self) -> String {
        Nkey::new(Kind::Account, self.key.public()).to_string()
    }

    /// What its components are called, `M…`.
    pub fn module(&self) -> String {
        self.module.to_string()
    }

    /// What its providers are called, `V…`.
    pub fn service(&self) -> String {
        self.service.to_string()
    }

    /// The payload of an honest token for `wasm`, in the order that wascap writes.
    pub fn claims(&self, wasm: &[u8]) -> String {
        let (issuer, module, hash) = (self.issuer(), &self.module, upper_hex(wasm));
        format!(
            r#"{{"jti":"0000000000000000000000","iat":1700000000,"iss":"{issuer}","sub":"{module}","wascap":{{"name":"t","hash":"{hash}","prov":false}},"wascap_revision":3}}"#
        )
    }

    /// A token of any payload.
    pub fn token(&self, payload: &str) -> String {
        self.token_under(HEADER, payload)
    }

    /// A token of any header and payload.
    pub fn token_under(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// `wasm` with an honest token at its end.
    pub fn sign(&self, wasm: &[u8]) -> Vec<u8> {
        embed(wasm, SECTION, &self.token(&self.claims(wasm)))
    }

    /// The payload of an honest token for a provider archive of these entries, by target or `world.wasm`.
    pub fn provider_claims(&self, entries: &BTreeMap<&str, &[u8]>) -> Value {
        let hashes: BTreeMap<_, _> = entries.iter().map(|(target, bytes)| (*target, upper_hex(bytes))).collect();
        json!({
            "jti": "0000000000000000000000", "iat": 1_700_000_000, "iss": self.issuer(), "sub": self.service(),
            "wascap": {"name": "p", "vendor": "acme", "target_hashes": hashes}, "wascap_revision": 3,
        })
    }

    /// A provider archive of these entries, by target or `world.wasm`, with an honest token; plain tar.
    pub fn provider_archive(&self, entries: &BTreeMap<&str, &[u8]>) -> Vec<u8> {
        let token = self.token(&self.provider_claims(entries).to_string());
        let mut files = vec![("claims.jwt".to_owned(), token.as_bytes())];
        // The world comes before the targets.
        let world = |target: &&str| *target == "world.wasm";
        for (target, bytes) in entries.iter().filter(|(target, _)| world(target)) {
            files.push(((*target).to_owned(), bytes));
        }
        for (target, bytes) in entries.iter().filter(|(target, _)| !world(target)) {
            files.push((format!("{target}.bin"), bytes));
        }
        tar(&files)
    }
}

/// `wasm` with a token section at its end.
pub fn embed(wasm: &[u8], section: &str, token: &str) -> Vec<u8> {
    [wasm, &custom_section(section, token.as_bytes())].concat()
}

/// A tar file with GNU headers, as the provider-archive crate writes them.
pub fn tar(files: &[(String, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, bytes) in files {
        out.extend_from_slice(&tar_header(name, bytes.len(), b'0'));
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// One GNU tar header of any entry type, with its checksum.
///
/// # Panics
/// For a name past 100 bytes, which does not fit.
pub fn tar_header(name: &str, size_bytes: usize, entry_type: u8) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    assert!(name.len() <= 100, "a name of at most 100 bytes");
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size_bytes:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[entry_type]);
    put(257, b"ustar  \0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn upper_hex(bytes: &[u8]) -> String {
    Digest::of(bytes).hex().to_uppercase()
}
