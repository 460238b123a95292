//! What it would touch: bytes become imports and exports.
