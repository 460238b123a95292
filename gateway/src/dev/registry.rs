//! An OCI registry in memory, on a real socket.
