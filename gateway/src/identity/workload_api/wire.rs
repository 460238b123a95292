//! The messages of the SPIFFE Workload API.
//!
//! SPIFFE Workload API, section 5; `workload.proto` has no package, so the service is `SpiffeWorkloadAPI`.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// `X509SVIDRequest` or `X509BundlesRequest`: both are empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub(crate) struct Empty {}

/// `X509SVIDResponse`: the whole truth, each one replaces the one before.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct X509SvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<X509Svid>,
    /// DER; the client that we use ignores them.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) crl: Vec<Bytes>,
    /// By `spiffe://td`: concatenated DER.
    #[prost(btree_map = "string, bytes", tag = "3")]
    pub(crate) federated_bundles: BTreeMap<String, Bytes>,
}

/// `X509SVID`; its `Debug` leaves the key out.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct X509Svid {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    /// Concatenated DER, leaf first.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) x509_svid: Bytes,
    /// PKCS#8 DER.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) x509_svid_key: Bytes,
    /// Concatenated DER of the CAs of the SVID's own trust domain.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) bundle: Bytes,
    #[prost(string, tag = "5")]
    pub(crate) hint: String,
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid").field("spiffe_id", &self.spiffe_id).field("hint", &self.hint).finish_non_exhaustive()
    }
}

/// `X509BundlesResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct X509BundlesResponse {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) crl: Vec<Bytes>,
    /// By `spiffe://td`: concatenated DER.
    #[prost(btree_map = "string, bytes", tag = "2")]
    pub(crate) bundles: BTreeMap<String, Bytes>,
}

/// `JWTSVIDRequest`.
#[cfg(feature = "dev")]
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct JwtSvidRequest {
    #[prost(string, repeated, tag = "1")]
    pub(crate) audience: Vec<String>,
    /// Empty: whatever the workload is.
    #[prost(string, tag = "2")]
    pub(crate) spiffe_id: String,
}

/// `JWTSVIDResponse`.
#[cfg(feature = "dev")]
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct JwtSvidResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) svids: Vec<JwtSvid>,
}

/// `JWTSVID`; its `Debug` leaves the token out.
#[cfg(feature = "dev")]
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct JwtSvid {
    #[prost(string, tag = "1")]
    pub(crate) spiffe_id: String,
    #[prost(string, tag = "2")]
    pub(crate) svid: String,
    #[prost(string, tag = "3")]
    pub(crate) hint: String,
}

#[cfg(feature = "dev")]
impl fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvid").field("spiffe_id", &self.spiffe_id).field("hint", &self.hint).finish_non_exhaustive()
    }
}

/// `JWTBundlesResponse`.
#[cfg(feature = "dev")]
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct JwtBundlesResponse {
    /// By `spiffe://td`: a JWK Set.
    #[prost(btree_map = "string, bytes", tag = "1")]
    pub(crate) bundles: BTreeMap<String, Bytes>,
}
