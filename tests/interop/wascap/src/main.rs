//! Signs and verifies with wasmCloud's own crates, `wascap` and `provider-archive`, as wash 1.x did.

use std::error::Error;
use std::process::ExitCode;

use provider_archive::ProviderArchive;
use wascap::jwt::{CapabilityProvider, Component, validate_token};
use wascap::prelude::KeyPair;
use wascap::wasm::{extract_claims, sign_buffer_with_claims};

const USAGE: &str = "usage: wascap-peer sign WASM OUT DAYS_UNTIL_EXPIRY | archive plain|gzip OUT | verify component|provider FILE";

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["sign", wasm, out, days] => sign(wasm, out, days),
        ["archive", packing @ ("plain" | "gzip"), out] => archive(packing == "gzip", out),
        ["verify", "component", file] => verify_component(file),
        ["verify", "provider", file] => verify_provider(file),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// As `wash claims sign`; prints issuer and subject.
fn sign(wasm: &str, out: &str, days: &str) -> Result<()> {
    let (account, module) = (KeyPair::new_account(), KeyPair::new_module());
    let signed = sign_buffer_with_claims(
        "cart".into(),
        std::fs::read(wasm)?,
        &module,
        &account,
        Some(days.parse()?),
        None,
        vec!["acme/shop".into()],
        false,
        Some(4),
        Some("1.4.0".into()),
        Some("acme/cart".into()),
    )?;
    std::fs::write(out, signed)?;
    println!("{} {}", account.public_key(), module.public_key());
    Ok(())
}

/// As `wash par create`; prints issuer and subject.
fn archive(is_packed: bool, out: &str) -> Result<()> {
    let (account, service) = (KeyPair::new_account(), KeyPair::new_service());
    let mut archive = ProviderArchive::new("kv", "acme", Some(1), Some("0.1.0".into()));
    archive.add_library("x86_64-linux", &[b"\x7fELF", &[0; 2000][..]].concat())?;
    archive.add_library("aarch64-macos", b"another machine's")?;
    archive.add_wit_world(b"\0asm\x0d\0\x01\0")?;
    runtime()?.block_on(archive.write(out, &account, &service, is_packed))?;
    println!("{} {}", account.public_key(), service.public_key());
    Ok(())
}

/// What wasmCloud 1.x checked before it ran a component, with what it left to its caller; prints issuer and subject.
fn verify_component(file: &str) -> Result<()> {
    let token = extract_claims(std::fs::read(file)?)?.ok_or("no token")?;
    let found = validate_token::<Component>(&token.jwt)?;
    accept(found.signature_valid, found.expired, found.cannot_use_yet)?;
    println!("{} {}", token.claims.issuer, token.claims.subject);
    Ok(())
}

/// The same for a provider archive.
fn verify_provider(file: &str) -> Result<()> {
    let archive = runtime()?.block_on(ProviderArchive::try_load_file(file))?;
    let token = archive.claims_token().ok_or("no token")?;
    let found = validate_token::<CapabilityProvider>(&token.jwt)?;
    accept(found.signature_valid, found.expired, found.cannot_use_yet)?;
    println!("{} {}", token.claims.issuer, token.claims.subject);
    Ok(())
}

fn accept(is_signed: bool, is_expired: bool, is_early: bool) -> Result<()> {
    match (is_signed, is_expired, is_early) {
        (true, false, false) => Ok(()),
        found => Err(format!("signed, expired, early: {found:?}").into()),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?)
}
