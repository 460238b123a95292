//! Certificates with DNS names, from a CA of their own.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use time::OffsetDateTime;

use crate::case::Timestamp;

/// A CA that clients can be told to believe.
pub struct SiteCa {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct SiteCertificate {
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Its key, PKCS#8 PEM.
    pub key_pem: String,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

impl SiteCa {
    /// A fresh CA.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// The CA itself, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for `names`, DNS names or IP addresses, valid from `from` for `life`.
    ///
    /// # Errors
    /// A name cannot stand in a certificate, or there are no random numbers.
    pub fn certify(&self, names: &[&str], from: Timestamp, life: Duration) -> anyhow::Result<SiteCertificate> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.not_before = OffsetDateTime::from_unix_timestamp(from.as_second())?;
        params.not_after = params.not_before + life;
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok(SiteCertificate { certificate_pem: leaf.pem(), key_pem: key.serialize_pem(), der: leaf.der().to_vec() })
    }
}
