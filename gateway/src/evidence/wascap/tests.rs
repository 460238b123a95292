//! Vectors and attacks.
