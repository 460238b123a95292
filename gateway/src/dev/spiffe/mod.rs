//! A SPIFFE CA with its Workload API.
