//! A CA of one trust domain that issues good SVIDs, as certificates and as tokens, and, for tests, bad ones.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use serde_json::json;
use time::OffsetDateTime;

use crate::case::Timestamp;
use crate::dev::tokens::{KeyKind, TokenSigner};

/// The CA of one trust domain: P-256, in memory only.
pub struct SpiffeCa {
    trust_domain: String,
    key: KeyPair,
    params: CertificateParams,
    der: Vec<u8>,
    pem: String,
    /// Signs JWT-SVIDs; P-256.
    tokens: TokenSigner,
    /// The certificates between this CA and the root, nearest first; empty for a root.
    path: Vec<(Vec<u8>, String)>,
}

/// What the leaf certificate is to look like.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Not valid before.
    pub not_before: Timestamp,
    /// Not valid after.
    pub not_after: Timestamp,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
}

/// One departure from the X.509-SVID profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// No BasicConstraints: what CAs make that never heard of SPIFFE.
    NoBasicConstraints,
    /// BasicConstraints with `cA=true`.
    IsCa,
    /// KeyUsage with keyCertSign.
    SignsCertificates,
    /// KeyUsage with cRLSign.
    SignsRevocations,
    /// No KeyUsage.
    NoKeyUsage,
    /// ExtendedKeyUsage with serverAuth only.
    ServerOnly,
    /// No ExtendedKeyUsage: allowed.
    NoExtendedKeyUsage,
    /// A second `spiffe:` URI.
    TwoSpiffeUris,
    /// An `https:` URI beside the SPIFFE ID.
    HttpsUri,
    /// No URI at all.
    NoUri,
    /// 33 URIs: one more than is looked at.
    ManyUris,
    /// Signed, but by another key than the CA's.
    WrongSignature,
}

/// A certificate with its key; `Debug` leaves the key out.
#[derive(Clone)]
pub struct Svid {
    /// The SPIFFE ID, as it was asked for.
    pub spiffe_id: String,
    /// The chain, leaf first, DER.
    pub chain_der: Vec<Vec<u8>>,
    /// PKCS#8 DER.
    pub key_der: Vec<u8>,
    /// The chain, leaf first, PEM.
    pub chain_pem: String,
    /// PKCS#8 PEM.
    pub key_pem: String,
}

/// How long before its start a leaf is already valid, as in SPIRE: clocks differ.
const BACKDATED: Duration = Duration::from_secs(10);
/// A leaf's life if nothing is said (SPIRE's default).
const LEAF_LIFE: Duration = Duration::from_secs(3600);
/// A CA's life.
const CA_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long before its start a CA is already valid.
const CA_BACKDATED: Duration = Duration::from_secs(24 * 3600);

impl Leaf {
    /// A good leaf for one hour from `now`.
    pub fn new(now: Timestamp) -> Self {
        Self::lasting(now, LEAF_LIFE)
    }

    /// A good leaf that ends `life` after `now`, rounded down to a second.
    pub fn lasting(now: Timestamp, life: Duration) -> Self {
        Self { not_before: now - BACKDATED, not_after: now + life, flaw: None }
    }

    /// The same leaf with something wrong.
    #[must_use]
    pub fn with(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self
    }
}

impl SpiffeCa {
    /// A fresh root of `trust_domain`, valid around `start` for 30 days.
    ///
    /// # Errors
    /// `trust_domain` cannot stand in a URI, or there are no random numbers.
    pub fn new(trust_domain: &str, start: Timestamp) -> anyhow::Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = ca_params(trust_domain, start)?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            trust_domain: trust_domain.to_owned(),
            tokens: TokenSigner::new(&format!("{trust_domain}-1"), KeyKind::P256)?,
            der: certificate.der().to_vec(),
            pem: certificate.pem(),
            key,
            params,
            path: vec![],
        })
    }

    /// A CA beneath this one: its leaves carry it in their chain, the bundle stays the root's.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn intermediate(&self, start: Timestamp) -> anyhow::Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = ca_params(&self.trust_domain, start)?;
        params.distinguished_name.push(DnType::OrganizationalUnitName, "intermediate");
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key))?;
        let mut path = vec![(certificate.der().to_vec(), certificate.pem())];
        path.extend(self.path.iter().cloned());
        Ok(Self {
            trust_domain: self.trust_domain.clone(),
            tokens: self.tokens.clone(),
            der: self.der.clone(),
            pem: self.pem.clone(),
            key,
            params,
            path,
        })
    }

    /// Issues an SVID for a path such as `/host/a`, or for a whole SPIFFE ID, of another trust domain too.
    ///
    /// # Errors
    /// The ID cannot stand in a URI, or there are no random numbers.
    pub fn issue(&self, path_or_id: &str, leaf: &Leaf) -> anyhow::Result<Svid> {
        let spiffe_id = match path_or_id.starts_with('/') {
            true => format!("spiffe://{}{path_or_id}", self.trust_domain),
            false => path_or_id.to_owned(),
        };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let params = leaf_params(&spiffe_id, leaf)?;
        let foreign = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let signer = if leaf.flaw == Some(Flaw::WrongSignature) { &foreign } else { &self.key };
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, signer))?;
        let mut chain_der = vec![certificate.der().to_vec()];
        let mut chain_pem = certificate.pem();
        for (der, pem) in &self.path {
            chain_der.push(der.clone());
            chain_pem.push_str(pem);
        }
        Ok(Svid { spiffe_id, chain_der, key_der: key.serialize_der(), chain_pem, key_pem: key.serialize_pem() })
    }

    /// A JWT-SVID for a path such as `/host/a`, good for `life` from `now`.
    pub fn token(&self, path: &str, audience: &str, now: Timestamp, life: Duration) -> String {
        let spiffe_id = format!("spiffe://{}{path}", self.trust_domain);
        jwt_svid(&self.tokens, &spiffe_id, &[audience.to_owned()], now, life)
    }

    /// Who signs the JWT-SVIDs.
    pub fn tokens(&self) -> &TokenSigner {
        &self.tokens
    }

    /// The same CA with another key for JWT-SVIDs, as after a rotation.
    #[must_use]
    pub fn with_tokens(mut self, tokens: TokenSigner) -> Self {
        self.tokens = tokens;
        self
    }

    /// The name of the trust domain.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The root, PEM.
    pub fn bundle_pem(&self) -> &str {
        &self.pem
    }

    /// The root, DER.
    pub fn bundle_der(&self) -> &[u8] {
        &self.der
    }
}

impl fmt::Debug for SpiffeCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpiffeCa").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid").field("spiffe_id", &self.spiffe_id).finish_non_exhaustive()
    }
}

/// A token as SPIRE makes it: `sub`, `aud`, `exp`, `iat`.
pub(super) fn jwt_svid(
    signer: &TokenSigner,
    spiffe_id: &str,
    audience: &[String],
    now: Timestamp,
    life: Duration,
) -> String {
    let end = now + life;
    signer.token(&json!({
        "sub": spiffe_id, "aud": audience, "exp": end.as_second(), "iat": now.as_second(),
    }))
}

fn ca_params(trust_domain: &str, start: Timestamp) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "witgate dev");
    params.distinguished_name.push(DnType::CommonName, format!("{trust_domain} CA"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))?];
    params.not_before = second(start - CA_BACKDATED)?;
    params.not_after = second(start + CA_LIFE)?;
    Ok(params)
}

fn leaf_params(spiffe_id: &str, leaf: &Leaf) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "witgate dev");
    params.subject_alt_names = vec![uri(spiffe_id)?];
    // Present with cA=false: rcgen's own default leaves it out, which X.509-SVID section 5.2 refuses.
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = second(leaf.not_before)?;
    params.not_after = second(leaf.not_after)?;
    match leaf.flaw {
        None | Some(Flaw::WrongSignature) => {}
        Some(Flaw::NoBasicConstraints) => params.is_ca = IsCa::NoCa,
        Some(Flaw::IsCa) => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        Some(Flaw::SignsCertificates) => params.key_usages.push(KeyUsagePurpose::KeyCertSign),
        Some(Flaw::SignsRevocations) => params.key_usages.push(KeyUsagePurpose::CrlSign),
        Some(Flaw::NoKeyUsage) => params.key_usages.clear(),
        Some(Flaw::ServerOnly) => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        Some(Flaw::NoExtendedKeyUsage) => params.extended_key_usages.clear(),
        Some(Flaw::TwoSpiffeUris) => params.subject_alt_names.push(uri(&format!("{spiffe_id}-too"))?),
        Some(Flaw::HttpsUri) => params.subject_alt_names.push(uri("https://gate.example/host/a")?),
        Some(Flaw::NoUri) => params.subject_alt_names.clear(),
        Some(Flaw::ManyUris) => {
            let more = (0..32).map(|number| uri(&format!("https://gate.example/{number}")));
            params.subject_alt_names.extend(more.collect::<Result<Vec<_>, _>>()?);
        }
    }
    Ok(params)
}

fn uri(text: &str) -> anyhow::Result<SanType> {
    Ok(SanType::URI(text.try_into().with_context(|| format!("`{text}` cannot stand in a certificate"))?))
}

fn second(time: Timestamp) -> anyhow::Result<OffsetDateTime> {
    Ok(OffsetDateTime::from_unix_timestamp(time.as_second())?)
}
