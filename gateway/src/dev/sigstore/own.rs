//! An authority of one's own: its certificates name no OIDC issuer and are in no certificate transparency log.

use anyhow::Result;

use super::Sigstore;
use super::ca::{Authority, Leaf};
use super::key::pem;
use super::legacy::Tag;
use super::request::{Knob, Sign};
use crate::case::{CosignLayer, Timestamp};

/// A certificate authority that stands in no trusted root.
pub struct OwnAuthority(Authority);

/// Who signs the leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The root itself.
    Root,
    /// An intermediate below it.
    Intermediate,
}

impl OwnAuthority {
    /// An authority whose certificates begin at `start` and hold ten years.
    ///
    /// # Errors
    /// When the machine gives no random bytes, or `start` fits no certificate.
    pub fn new(start: Timestamp, depth: Depth) -> Result<Self> {
        Ok(Self(match depth {
            Depth::Root => Authority::without_intermediate(start)?,
            Depth::Intermediate => Authority::new(start, None)?,
        }))
    }

    /// An authority whose intermediate ends at `until`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn ending(start: Timestamp, until: Timestamp) -> Result<Self> {
        Ok(Self(Authority::new(start, Some(until))?))
    }

    /// Its certificates in PEM, whoever signs leaves first.
    pub fn chain_pem(&self) -> String {
        self.0.chain().into_iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// A signing certificate of it in PEM, as a signer has one.
    ///
    /// # Errors
    /// When the request cannot be put into a certificate.
    #[allow(clippy::needless_pass_by_value, reason = "a request is made for one signature")]
    pub fn leaf_pem(&self, request: Sign) -> Result<String> {
        Ok(pem("CERTIFICATE", &self.issue(&request)?.certificate))
    }

    fn issue(&self, request: &Sign) -> Result<Leaf> {
        let mut request = request.clone().with(Knob::NoSct);
        if !request.knobs.has(Knob::IssuerBeside) {
            request = request.with(Knob::NoIssuer);
        }
        self.0.issue(&request)
    }
}

impl Sigstore {
    /// A bundle v0.3 with a certificate of an own authority, dated and logged by this deployment, as JSON.
    ///
    /// # Errors
    /// When the request cannot be put into a certificate.
    #[allow(clippy::needless_pass_by_value, reason = "a request is made for one signature")]
    pub fn sign_with_authority(&self, own: &OwnAuthority, request: Sign) -> Result<Vec<u8>> {
        self.assemble_certified(&own.issue(&request)?, &request)
    }

    /// A layer of `sha256-HEX.sig` with a certificate of an own authority.
    ///
    /// # Errors
    /// As [`Self::sign_with_authority`].
    #[allow(clippy::needless_pass_by_value, reason = "a request is made for one signature")]
    pub fn sign_legacy_with_authority(&self, own: &OwnAuthority, request: Sign) -> Result<CosignLayer> {
        self.own_layer(&own.0, &own.issue(&request)?, Tag::Signature, &request)
    }

    /// A layer of `sha256-HEX.att` with a certificate of an own authority, with the statement that the request signs.
    ///
    /// # Errors
    /// As [`Self::sign_with_authority`].
    #[allow(clippy::needless_pass_by_value, reason = "a request is made for one signature")]
    pub fn attest_legacy_with_authority(&self, own: &OwnAuthority, request: Sign) -> Result<CosignLayer> {
        self.own_layer(&own.0, &own.issue(&request)?, Tag::Attestation, &request)
    }
}
