//! Why a peer's proof holds no longer, or never did.

use std::sync::Arc;

use spiffe::{TrustDomain, X509BundleSet};

use super::token::TokenFault;
use crate::case::Timestamp;

/// The trust bundles as they stood at one moment.
///
/// The default trusts nobody. Take it before a handshake: what was verified in between is compared with what is trusted later.
#[derive(Clone, Debug, Default)]
pub struct Trust(pub(super) Option<Arc<X509BundleSet>>);

impl Trust {
    /// Whether every CA that `trust_domain` had then is still one now; a CA that came since takes no proof away.
    pub(super) fn holds(&self, trust_domain: &TrustDomain, now: &X509BundleSet) -> bool {
        let then = self.0.as_ref().and_then(|bundles| bundles.get_ref(trust_domain));
        let (Some(then), Some(now)) = (then, now.get_ref(trust_domain)) else { return false };
        Arc::ptr_eq(then, now) || then.authorities().iter().all(|authority| now.authorities().contains(authority))
    }
}

/// Why a peer is no caller: for telemetry, never for the peer or the audit log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The peer sent no certificate.
    #[error("the peer sent no certificate")]
    NoCertificate,
    /// The certificate is no X.509-SVID.
    #[error("the peer's certificate is no X.509-SVID: {why}")]
    NotAnSvid {
        /// What the parser says.
        why: String,
    },
    /// The SVID is past its end.
    #[error("the SVID of `{spiffe_id}` ended at {not_after}")]
    Expired {
        /// Whose it is.
        spiffe_id: String,
        /// When it ended.
        not_after: Timestamp,
    },
    /// No entry of `identity.callers` means this ID.
    #[error("`{id}` is not among `identity.callers`")]
    NotACaller {
        /// The ID.
        id: String,
    },
    /// The trust domain is gone, or a CA that the proof may rest on was taken out.
    #[error("trust domain `{trust_domain}` is no longer trusted as it was when `{spiffe_id}` was verified")]
    TrustChanged {
        /// The ID.
        spiffe_id: String,
        /// Its trust domain.
        trust_domain: String,
    },
    /// We have no trust bundles ourselves: our identity was withdrawn, or its source ended.
    #[error("there are no trust bundles to hold `{spiffe_id}` against")]
    NoTrust {
        /// The ID.
        spiffe_id: String,
    },
    /// The request shows no token where one is needed.
    #[error("the request shows no token")]
    NoToken,
    /// The request has an `Authorization` header that carries no token.
    #[error("the `Authorization` header cannot be read: {why}")]
    Authorization {
        /// What is wrong with it; nothing of its content.
        why: &'static str,
    },
    /// The token proves nothing.
    #[error("the token proves nothing")]
    Token(#[from] TokenFault),
    /// A TLS peer shows a token of somebody else.
    #[error("the token of `{id}` came from the TLS peer `{spiffe_id}`")]
    AnotherIdentity {
        /// Whom the token proves.
        id: String,
        /// Who the TLS peer is.
        spiffe_id: String,
    },
}

impl Unproven {
    /// One stable word for metrics.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::NotAnSvid { .. } => "not-an-svid",
            Self::Expired { .. } => "expired",
            Self::NotACaller { .. } => "not-a-caller",
            Self::TrustChanged { .. } => "trust-changed",
            Self::NoTrust { .. } => "no-trust",
            Self::NoToken => "no-token",
            Self::Authorization { .. } => "authorization-unreadable",
            Self::Token(fault) => fault.cause(),
            Self::AnotherIdentity { .. } => "another-identity",
        }
    }
}
