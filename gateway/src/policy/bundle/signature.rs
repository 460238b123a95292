//! `.signatures.json`: one token that lists every file of the bundle with its hash, by a key of the settings.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use super::super::LoadError;
use super::archive::{Files, MANIFEST, SIGNATURES};
use super::fault::SignatureFault;
use super::key::BundleKey;
use super::settings::{Demand, Settings};
use super::structured::structured;
use crate::strict_json;

/// Verifies the signature of `files` as `settings` demand: the name of the key that made it, or none where none is demanded.
pub(super) fn verify(files: &Files, settings: &Settings) -> Result<Option<String>, LoadError> {
    match (settings.demand(), files.get(SIGNATURES)) {
        (Demand::Nothing, _) | (Demand::SignedOrNot, None) => return Ok(None),
        (Demand::Signed, None) => return Err(fault(SignatureFault::Unsigned)),
        (Demand::Signed | Demand::SignedOrNot, Some(_)) => {}
    }
    if settings.keys.is_empty() {
        return Err(fault(SignatureFault::NoKeys));
    }
    if settings.keys.len() > MAX_KEYS {
        let what = "number of keys in `[policy.keys]`".into();
        return Err(LoadError::Limit { what, found: settings.keys.len(), limit: MAX_KEYS });
    }
    let keys = settings.keys.iter().map(|(name, key)| BundleKey::load(name, key)).collect::<Result<Vec<_>, _>>()?;
    verify_with(files, &keys).map(Some).map_err(fault)
}

fn fault(fault: SignatureFault) -> LoadError {
    LoadError::Bundle(fault.into())
}

/// The name of the key that signed all of `files`.
pub(super) fn verify_with(files: &Files, keys: &[BundleKey]) -> Result<String, SignatureFault> {
    let bytes = files.get(SIGNATURES).ok_or(SignatureFault::Unsigned)?;
    let unverified_jwt = token(bytes)?;
    let (key, payload) = verified(&unverified_jwt, keys)?;
    if payload.scope != key.scope {
        return Err(SignatureFault::Scope { expected: key.scope.clone(), found: shown(&payload.scope) });
    }
    let mut listed = BTreeSet::new();
    for file in &payload.files {
        // OPA itself signs names as they stand in the folder, without a slash in front.
        let bytes = files.get(&file.name).ok_or_else(|| SignatureFault::Missing { name: shown(&file.name) })?;
        if hash(&file.name, bytes, &file.algorithm)? != file.hash.to_ascii_lowercase() {
            return Err(SignatureFault::Changed { name: file.name.clone() });
        }
        if !listed.insert(&file.name) {
            return Err(shape("each file once", format!("`{}` twice", file.name)));
        }
    }
    match files.keys().find(|name| *name != SIGNATURES && !listed.contains(name)) {
        Some(name) => Err(SignatureFault::NotListed { name: name.clone() }),
        None => Ok(key.name.clone()),
    }
}

/// `.signatures.json` as OPA writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    signatures: Vec<String>,
    #[serde(default)]
    plugin: Option<String>,
}

/// The header of the token; what else it says decides nothing, but `crit` says that it would.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// The claims that mean something to OPA and to us.
#[derive(Deserialize)]
struct Payload {
    files: Vec<SignedFile>,
    keyid: Option<String>,
    #[serde(default)]
    scope: String,
}

#[derive(Deserialize)]
struct SignedFile {
    name: String,
    hash: String,
    algorithm: String,
}

/// The one token.
fn token(bytes: &[u8]) -> Result<String, SignatureFault> {
    if bytes.len() > MAX_SIGNATURES_BYTES {
        return Err(shape("at most 1 MiB", format!("{} bytes", bytes.len())));
    }
    let written: Written = document(bytes)?;
    if let Some(plugin) = written.plugin.filter(|plugin| !matches!(plugin.as_str(), "" | "_default")) {
        return Err(shape("no plugin, or `_default`", format!("`{}`", shown(&plugin))));
    }
    match <[String; 1]>::try_from(written.signatures) {
        Ok([token]) => Ok(token),
        Err(tokens) => Err(shape("one signature", tokens.len().to_string())),
    }
}

/// The claims of a token that one of `keys` signed, by that key's own algorithm.
fn verified<'a>(unverified_jwt: &str, keys: &'a [BundleKey]) -> Result<(&'a BundleKey, Payload), SignatureFault> {
    let parts: Vec<_> = unverified_jwt.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return Err(shape("a token of three parts", parts.len().to_string()));
    };
    let claimed: Header = part(header)?;
    if claimed.crit.is_some() {
        return Err(shape("a header without `crit`", "one"));
    }
    let payload: Payload = part(claims)?;
    let claimed_key = match (claimed.kid, payload.keyid.as_deref()) {
        (Some(kid), Some(keyid)) if kid != keyid => {
            return Err(shape("one key's id", format!("`{}` and `{}`", shown(&kid), shown(keyid))));
        }
        (kid, keyid) => kid.or(keyid.map(str::to_owned)).filter(|id| !id.is_empty()),
    };
    let known = || keys.iter().map(|key| format!("`{}`", key.name)).collect::<Vec<_>>().join(", ");
    // Who names no key is tried against each: believed are all of them, each for its own algorithm.
    let named: Vec<_> = keys.iter().filter(|key| claimed_key.as_ref().is_none_or(|id| *id == key.name)).collect();
    if named.is_empty() {
        return Err(SignatureFault::KeyUnknown { found: shown(&claimed_key.unwrap_or_default()), known: known() });
    }
    let able: Vec<_> = named.iter().copied().filter(|key| key.algorithm.as_str() == claimed.alg).collect();
    if able.is_empty() {
        let expected = named.iter().map(|key| format!("`{}`", key.algorithm)).collect::<Vec<_>>().join(" or ");
        return Err(SignatureFault::AlgorithmDiffers { expected, found: shown(&claimed.alg) });
    }
    let message = format!("{header}.{claims}");
    match able.into_iter().find(|key| key.verifies(&message, signature)) {
        Some(key) => Ok((key, payload)),
        None => Err(SignatureFault::Wrong { known: known() }),
    }
}

fn part<T: DeserializeOwned>(base64url: &str) -> Result<T, SignatureFault> {
    let bytes = URL_SAFE_NO_PAD.decode(base64url).map_err(|_| shape("base64url", "other characters"))?;
    document(&bytes)
}

fn document<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SignatureFault> {
    let expected = "the JSON that OPA writes";
    let value =
        strict_json::parse(bytes, strict_json::MAX_DEPTH).map_err(|error| shape(expected, error.to_string()))?;
    // serde takes a list for a struct.
    if !value.is_object() {
        return Err(shape(expected, "something else"));
    }
    serde_json::from_value(value).map_err(|error| shape(expected, error.to_string()))
}

/// The hash of a file in hex: of JSON that has a place in the bundle by its structure, of the bytes for all else.
pub(super) fn hash(name: &str, bytes: &[u8], algorithm: &str) -> Result<String, SignatureFault> {
    let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
    let structured = match matches!(file, "data.json" | MANIFEST) {
        true => Some(structured(bytes).ok_or_else(|| SignatureFault::Changed { name: name.into() })?),
        false => None,
    };
    let bytes = structured.as_deref().unwrap_or(bytes);
    match algorithm {
        SHA256 => Ok(hex::encode(Sha256::digest(bytes))),
        "SHA-384" => Ok(hex::encode(Sha384::digest(bytes))),
        "SHA-512" => Ok(hex::encode(Sha512::digest(bytes))),
        other => Err(SignatureFault::Hash { name: name.into(), found: shown(other) }),
    }
}

fn shape(expected: &'static str, found: impl Into<String>) -> SignatureFault {
    SignatureFault::Shape { expected, found: found.into() }
}

/// A foreign text as a message may show it.
fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

/// The hash that we write, as OPA does.
pub(super) const SHA256: &str = "SHA-256";
/// Keys in `[policy.keys]`: each is tried for a token that names none.
const MAX_KEYS: usize = 16;
/// `.signatures.json`, in bytes: 512 files with names of 255 bytes take 350 KiB.
const MAX_SIGNATURES_BYTES: usize = 1 << 20;
