//! Embedded peers that speak the real protocols: used by `demo`, `dev-registry` and the tests alike.

pub mod components;
pub mod deployment;
pub mod oidc;
pub mod registry;
pub mod sigstore;
pub mod site;
pub mod spiffe;
pub mod tokens;
pub mod tuf;
pub mod wascap;
