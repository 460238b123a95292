//! The SPIFFE Workload API from the serving side, as much of it as X.509-SVIDs need.

pub(crate) mod server;
pub(crate) mod wire;
