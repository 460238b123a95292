//! The certificate that a listener shows under a DNS name, from PEM files that are renewed while it serves.
//!
//! Another program (cert-manager, certbot) writes the files. A pair counts once two reads agree, the key belongs to the
//! certificate, and its time has begun and is not over; until then the last good pair stays. New handshakes use the new pair.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use crate::case::Timestamp;
use crate::identity::{FileFault, Links, Pace, certificates, not_open, read_file, settled};
use crate::outage::chain;

/// A certificate with its key, as handshakes use it now.
#[derive(Debug)]
pub struct Certificate {
    files: Pem,
    current: ArcSwap<CertifiedKey>,
}

/// Where the pair lies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pem {
    certificate: PathBuf,
    key: PathBuf,
}

/// Why a pair of files gives no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    /// A file cannot be read, holds something else, or the two do not belong together.
    #[error(transparent)]
    File(#[from] FileFault),
    /// No client could tell whose it is.
    #[error("the certificate in `{}` names no host: expected a DNS name or an IP address in its SAN", path.display())]
    NoName {
        /// The file.
        path: PathBuf,
    },
    /// No client would take it now.
    #[error("the certificate in `{}` is valid from {not_before} to {not_after}, and now is {now}", path.display())]
    Time {
        /// The file.
        path: PathBuf,
        /// When its time begins.
        not_before: Timestamp,
        /// When its time is over.
        not_after: Timestamp,
        /// When it was looked at.
        now: Timestamp,
    },
}

impl Certificate {
    /// Reads the pair.
    ///
    /// # Errors
    /// There is no usable pair now.
    pub async fn read(certificate: &Path, key: &Path, now: Timestamp) -> Result<Arc<Self>, CertificateFault> {
        Self::read_at(certificate, key, now, Pace::default()).await
    }

    pub(super) async fn read_at(
        certificate: &Path,
        key: &Path,
        now: Timestamp,
        pace: Pace,
    ) -> Result<Arc<Self>, CertificateFault> {
        let files = Pem { certificate: certificate.to_owned(), key: key.to_owned() };
        let pair = files.pair(now, pace).await?;
        Ok(Arc::new(Self { files, current: ArcSwap::from_pointee(pair) }))
    }

    /// Looks again and again; what cannot be used is counted, and the last good pair stays.
    pub async fn follow(self: Arc<Self>) {
        self.follow_at(Pace::default()).await;
    }

    pub(super) async fn follow_at(self: Arc<Self>, pace: Pace) {
        let mut last_fault = None;
        loop {
            tokio::time::sleep(pace.poll).await;
            match self.files.pair(Timestamp::now(), pace).await {
                Ok(pair) => {
                    if pair.cert != self.current.load().cert {
                        tracing::info!(certificate.file = %self.files.certificate.display(), "the listener's certificate changed");
                        self.current.store(Arc::new(pair));
                    }
                    last_fault = None;
                }
                Err(fault) => {
                    metrics::counter!("witgate_certificate_errors_total").increment(1);
                    let text = chain(&fault);
                    if last_fault.as_ref() != Some(&text) {
                        tracing::warn!(
                            error = text,
                            "the listener's certificate cannot be renewed: the last good one stays"
                        );
                        last_fault = Some(text);
                    }
                }
            }
        }
    }

    /// TLS 1.3 for clients that show no certificate of their own, HTTP/2 or HTTP/1.1.
    pub fn server_config(self: &Arc<Self>) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("broken invariant: the provider has the suites of TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.resolver());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// The pair of each moment, for TLS that is configured elsewhere.
    pub fn resolver(self: &Arc<Self>) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(self) as Arc<dyn ResolvesServerCert>
    }
}

impl ResolvesServerCert for Certificate {
    /// One certificate, whatever name was asked for: clients that know us by another refuse it themselves.
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl Pem {
    async fn pair(&self, now: Timestamp, pace: Pace) -> Result<CertifiedKey, CertificateFault> {
        let files = self.clone();
        let read = move || {
            let key = Zeroizing::new(read_file(&files.key, Links::Anywhere, not_open)?);
            Ok((read_file(&files.certificate, Links::Anywhere, |_, _| Ok(()))?, key))
        };
        let (certificate, key) = settled(read, tokio::time::sleep(pace.settle)).await?;
        let chain = certificates(&self.certificate, &certificate)?;
        let unreadable = |path: &Path, expected| FileFault::Pem { path: path.to_owned(), expected };
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| unreadable(&self.key, "PEM private key"))?;
        let leaf = chain.first().ok_or_else(|| unreadable(&self.certificate, "PEM certificate"))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|_| unreadable(&self.certificate, "readable certificate"))?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let named = names.is_some_and(|names| {
            names
                .value
                .general_names
                .iter()
                .any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)))
        });
        if !named {
            return Err(CertificateFault::NoName { path: self.certificate.clone() });
        }
        let second = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp());
        let validity = parsed.validity();
        let (Ok(not_before), Ok(not_after)) = (second(validity.not_before), second(validity.not_after)) else {
            return Err(unreadable(&self.certificate, "certificate with times").into());
        };
        if now < not_before || now >= not_after {
            return Err(CertificateFault::Time { path: self.certificate.clone(), not_before, not_after, now });
        }
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let pair = CertifiedKey::from_der(chain, key, &provider).map_err(|_| FileFault::KeyMismatch)?;
        pair.keys_match().map_err(|_| FileFault::KeyMismatch)?;
        Ok(pair)
    }
}
