//! The readers of predicates and keys, with the hash that a wasmCloud token is about, opened to the fuzz targets.

use super::limits::STATEMENT_DEPTH_MAX;
use super::{authority, key_file, predicates, wascap};
use crate::case::Attested;
use crate::reason::Code;
use crate::strict_json;

/// What a predicate of this type says; `None` for bytes that are no JSON, and for types that are not known.
pub fn predicate(predicate_type: &str, bytes: &[u8]) -> Option<Result<Attested, Code>> {
    let predicate = strict_json::parse(bytes, STATEMENT_DEPTH_MAX).ok()?;
    predicates::read(predicate_type, Some(&predicate)).map_err(|rejection| rejection.code).transpose()
}

/// What a token's hash has to be in these bytes; `None` where they are no module or component that can be read.
pub fn unsigned_hash(bytes: &[u8]) -> Option<[u8; 32]> {
    wascap::unsigned_hash(bytes)
}

/// The JSON of an encrypted key once it is held to its limits, as whoever opens it reads it; `None` for what is not opened.
pub fn encrypted_key(bytes: &[u8]) -> Option<Vec<u8>> {
    key_file::container(bytes).ok()
}

/// How many certificates the chain of an own authority has; `None` for what is none.
pub fn authority_chain(bytes: &[u8]) -> Option<usize> {
    let chain = authority::certificates(authority::CHAIN, bytes).ok()?;
    authority::authorities(&chain).is_ok().then_some(chain.len())
}
