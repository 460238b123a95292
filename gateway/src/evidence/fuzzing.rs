//! The readers of predicates, with the hash that a wasmCloud token is about, opened to the fuzz targets.

use super::limits::STATEMENT_DEPTH_MAX;
use super::{predicates, wascap};
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
