//! The SPIFFE Workload API from the serving side: X.509-SVIDs, and JWT-SVIDs for the embedded peers.

#[cfg(feature = "dev")]
pub(crate) mod minting;
pub(crate) mod server;
pub(crate) mod wire;
