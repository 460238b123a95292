//! An own X.509 authority: certificates without an OIDC issuer, times from an own authority or the logs of a root.
//!
//! It is turned into a trusted root of its own, so that the verifier of bundles checks chain, times and log as it does for
//! Sigstore's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::certificate;
use super::demands::{Demands, LogDemand, SctDemand};
use super::document::read;
use super::limits::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX};
use super::pem::{self, PemFault};
use super::root::Root;
use super::settings::AuthoritySettings;
use super::start_error::StartError;
use crate::case::{Digest, canonical_json};

/// The certificates of one authority, read once.
#[derive(Clone, Debug)]
pub(super) struct Authority {
    settings: AuthoritySettings,
    /// The issuing CA first, the root last; DER.
    chain: Vec<Vec<u8>>,
    /// The time-stamp authority's certificate first, its root last; empty without one.
    timestamp_chain: Vec<Vec<u8>>,
    digest: Digest,
}

/// Why an authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityFault {
    /// No PEM.
    #[error("`{setting}` is no PEM text")]
    Pem {
        /// `chain` or `timestamp_authority`.
        setting: &'static str,
        /// What is wrong with it.
        source: PemFault,
    },
    /// Something else than certificates.
    #[error("`{setting}`: expected certificates and nothing else, found a `{label}` block")]
    NoCertificate {
        /// `chain` or `timestamp_authority`.
        setting: &'static str,
        /// The block's label.
        label: String,
    },
    /// A certificate that may not stand at its place.
    #[error("`{setting}`: expected certificate {number} to be {expected}")]
    Certificate {
        /// `chain` or `timestamp_authority`.
        setting: &'static str,
        /// Counted from 1.
        number: usize,
        /// What has to stand there.
        expected: &'static str,
    },
    /// Nothing could ever verify.
    #[error("`{setting}`: expected certificates that are valid at one time, found none")]
    NoTime {
        /// `chain` or `timestamp_authority`.
        setting: &'static str,
    },
    /// No root of that name.
    #[error("`root`: expected the name of one of `[[evidence.roots]]`, found `{found}`")]
    NoRoot {
        /// What it says.
        found: String,
    },
    /// The root's logs would be needed, and it has none.
    #[error("`root`: expected a root with transparency logs, found `{found}` without any")]
    NoLog {
        /// What it says.
        found: String,
    },
    /// A log is asked for, and none is named.
    #[error("expected `root`, whose logs an entry may be in, or `transparency_log = \"optional\"`, found neither")]
    Unlogged,
    /// No time could ever be proven.
    #[error("expected `timestamp_authority` or `root`, as a signature counts at a proven time only, found neither")]
    Untimed,
    /// What the verifier of bundles says of it.
    #[error("its certificates cannot be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AuthorityFault {
    /// The next thing to do.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::NoRoot { .. } | Self::NoLog { .. } => "name a root of `[[evidence.roots]]` that has the log",
            Self::Unlogged | Self::Untimed => {
                "say where a proven time comes from: `root = \"NAME\"` of `[[evidence.roots]]`, or `timestamp_authority`, the PEM \
                 chain of a time-stamp authority"
            }
            _ => {
                "write PEM certificates, the issuing CA (or the time-stamp authority's own certificate) first, the root last; \
                 `openssl x509 -noout -text` shows one"
            }
        }
    }
}

impl Authority {
    /// Reads the certificates; `root` is looked for later, as roots change.
    pub(super) fn load(settings: &AuthoritySettings) -> Result<Self, StartError> {
        let unusable = |source| StartError::Authority { name: settings.name.clone(), source };
        let bytes = |path| read(&settings.name, path, CHAIN_BYTES_MAX).map(|(bytes, _)| bytes);
        let chain = certificates(CHAIN, &bytes(&settings.chain)?).map_err(unusable)?;
        authorities(&chain).map_err(unusable)?;
        let timestamp_chain = match &settings.timestamp_authority {
            Some(path) => certificates(TIMESTAMP, &bytes(path)?).map_err(unusable)?,
            None => Vec::new(),
        };
        timestamp_authorities(&timestamp_chain).map_err(unusable)?;
        let digests = |chain: &[Vec<u8>]| chain.iter().map(|der| Digest::of(der)).collect::<Vec<_>>();
        // Of its own certificates alone: a root that is refreshed changes nothing about who the authority is.
        let digest = Digest::of(&canonical_json(&json!({
            "chain": digests(&chain),
            "timestamp_authority": digests(&timestamp_chain),
        })));
        Ok(Self { settings: settings.clone(), chain, timestamp_chain, digest })
    }

    /// What is asked under it, with the logs of the root that it names.
    pub(super) fn root(&self, roots: &[Root]) -> Result<Root, StartError> {
        self.assemble(roots).map_err(|source| StartError::Authority { name: self.settings.name.clone(), source })
    }

    fn assemble(&self, roots: &[Root]) -> Result<Root, AuthorityFault> {
        let lender = match &self.settings.root {
            None => None,
            Some(name) => {
                let root = roots.iter().find(|root| root.name() == name);
                let root = root.ok_or_else(|| AuthorityFault::NoRoot { found: name.clone() })?;
                if root.tlogs().is_empty() {
                    return Err(AuthorityFault::NoLog { found: name.clone() });
                }
                Some(root)
            }
        };
        let trusted = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": lender.map_or(&[][..], Root::tlogs),
            "certificateAuthorities": [authority(&self.chain)],
            "timestampAuthorities": match &self.timestamp_chain[..] {
                [] => Vec::new(),
                chain => vec![authority(chain)],
            },
        });
        let demands = Demands { transparency_log: self.settings.transparency_log, sct: SctDemand::NotRequired };
        Root::own((&self.settings.name, self.digest), trusted, demands, lender.map(Root::name))
    }
}

impl AuthoritySettings {
    /// Whether anything could verify under it, before any file is read.
    pub(super) fn check(&self) -> Result<(), StartError> {
        let source = match (&self.root, &self.timestamp_authority, self.transparency_log) {
            (None, _, LogDemand::Required) => AuthorityFault::Unlogged,
            (None, None, LogDemand::Optional) => AuthorityFault::Untimed,
            _ => return Ok(()),
        };
        Err(StartError::Authority { name: self.name.clone(), source })
    }
}

fn authority(chain: &[Vec<u8>]) -> Value {
    let certificates = chain.iter().map(|der| json!({"rawBytes": STANDARD.encode(der)})).collect::<Vec<_>>();
    json!({"uri": "", "certChain": {"certificates": certificates}})
}

/// The certificates of a PEM text, in its order.
pub(super) fn certificates(setting: &'static str, text: &[u8]) -> Result<Vec<Vec<u8>>, AuthorityFault> {
    let blocks = pem::blocks(text, CHAIN_CERTIFICATES_MAX).map_err(|source| AuthorityFault::Pem { setting, source })?;
    let der = |(index, block): (usize, pem::Block)| {
        if block.label != "CERTIFICATE" {
            return Err(AuthorityFault::NoCertificate { setting, label: block.label });
        }
        match X509Certificate::from_der(&block.bytes) {
            Ok(([], certificate)) if certificate.extensions_map().is_ok() => Ok(block.bytes.to_vec()),
            _ => Err(misplaced(setting, index, "an X.509 certificate, each extension once")),
        }
    };
    blocks.into_iter().enumerate().map(der).collect()
}

/// Each of them may sign certificates, and is issued by the next one.
///
/// The verifier of bundles makes a trust anchor of every certificate of a chain without a look at what it is for: a signer's own
/// certificate among them would be a CA.
pub(super) fn authorities(chain: &[Vec<u8>]) -> Result<(), AuthorityFault> {
    each(CHAIN, chain, |_, certificate| match certificate::may_issue(certificate) {
        true => Ok(()),
        false => Err("a CA that may sign certificates"),
    })
}

/// The first one stamps times and does nothing else, the others are CAs.
fn timestamp_authorities(chain: &[Vec<u8>]) -> Result<(), AuthorityFault> {
    each(TIMESTAMP, chain, |index, certificate| match index {
        0 if certificate::is_for_time_stamps_only(certificate) => Ok(()),
        0 => Err("for time-stamps only, by a critical extended key usage"),
        _ if certificate::may_issue(certificate) => Ok(()),
        _ => Err("a CA that may sign certificates"),
    })
}

fn each(
    setting: &'static str,
    chain: &[Vec<u8>],
    check: impl Fn(usize, &X509Certificate<'_>) -> Result<(), &'static str>,
) -> Result<(), AuthorityFault> {
    let parsed = chain.iter().map(|der| X509Certificate::from_der(der).map(|(_, certificate)| certificate));
    let parsed: Vec<_> = parsed.collect::<Result<_, _>>().map_err(|error| AuthorityFault::Unusable(error.into()))?;
    for (index, certificate) in parsed.iter().enumerate() {
        check(index, certificate).map_err(|expected| misplaced(setting, index, expected))?;
        if let Some(next) = parsed.get(index + 1)
            && certificate.issuer().as_raw() != next.subject().as_raw()
        {
            return Err(misplaced(setting, index + 1, "the issuer of the one before it"));
        }
    }
    Ok(())
}

fn misplaced(setting: &'static str, index: usize, expected: &'static str) -> AuthorityFault {
    AuthorityFault::Certificate { setting, number: index + 1, expected }
}

/// The names of the settings, for messages.
pub(super) const CHAIN: &str = "chain";
pub(super) const TIMESTAMP: &str = "timestamp_authority";
