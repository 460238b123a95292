//! The readers of predicates, opened to the fuzz targets.

use super::limits::STATEMENT_DEPTH_MAX;
use super::predicates;
use crate::case::Attested;
use crate::reason::Code;
use crate::strict_json;

/// What a predicate of this type says; `None` for bytes that are no JSON, and for types that are not known.
pub fn predicate(predicate_type: &str, bytes: &[u8]) -> Option<Result<Attested, Code>> {
    let predicate = strict_json::parse(bytes, STATEMENT_DEPTH_MAX).ok()?;
    predicates::read(predicate_type, Some(&predicate)).map_err(|rejection| rejection.code).transpose()
}
