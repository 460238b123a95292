//! One set of identity files: read with bounds, taken only if its parts belong together.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use spiffe::{TrustDomain, X509Svid};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::settings::FileSettings;
use super::settled::READ_TIMEOUT_MS;
use super::workload_api::server::Material;
use super::workload_api::wire;
use crate::case::Timestamp;

/// Why a set of identity files is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A path names a pipe, a folder or a device.
    #[error("`{}` is no regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A symbolic link leads out of the file's folder.
    #[error("`{}` leads out of its folder", path.display())]
    OutsideFolder {
        /// The path.
        path: PathBuf,
    },
    /// Everyone on the machine may read the key.
    #[error("the key `{}` is readable by everyone (mode {mode:o})", path.display())]
    OpenKey {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is larger than `FILE_SIZE_BYTES`.
    #[error("`{}` has more than {FILE_SIZE_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file holds not what is expected there.
    #[error("`{}` holds no {expected}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Such as `PEM certificate`.
        expected: &'static str,
    },
    /// The certificate chain is no X.509-SVID.
    #[error("`{}` holds no X.509-SVID", path.display())]
    Svid {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The private key is not the certificate's.
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    /// The certificate chain does not lead to the bundle now.
    #[error("the certificate chain does not lead to the bundle")]
    Chain {
        /// What the verifier says: expired, unknown issuer, bad signature.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A bundle holds a CA that names another trust domain, so each could mint the other's IDs.
    #[error("the bundle `{}` of `{trust_domain}` holds a CA of `{found}`", path.display())]
    ForeignAuthority {
        /// The bundle.
        path: PathBuf,
        /// Whose bundle it is.
        trust_domain: String,
        /// Whose CA was found.
        found: String,
    },
    /// A bundle holds a certificate that is no CA: its key's owner could mint IDs.
    #[error("the bundle `{}` holds a certificate that is no CA", path.display())]
    NotAnAuthority {
        /// The bundle.
        path: PathBuf,
    },
    /// `files.federated` names the SVID's own trust domain.
    #[error("`identity.files.federated` names our own trust domain `{trust_domain}`")]
    FederatedSelf {
        /// The trust domain.
        trust_domain: String,
    },
    /// Two reads, a moment apart, differ: somebody is writing.
    #[error("the identity files are being written")]
    Unsettled,
    /// The disk did not answer in time.
    #[error("the identity files could not be read within {READ_TIMEOUT_MS} ms")]
    Slow,
}

/// The largest identity file; a chain of three certificates has about 4 KiB.
pub const FILE_SIZE_BYTES: u64 = 256 * 1024;
/// Where the files lie.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) own: FileSettings,
    pub(super) federated: BTreeMap<TrustDomain, PathBuf>,
}

/// The bytes of all files as one read found them.
#[derive(PartialEq, Eq)]
pub(super) struct Files {
    svid: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    bundle: Vec<u8>,
    federated: BTreeMap<TrustDomain, Vec<u8>>,
}

impl Files {
    pub(super) fn read(paths: &Paths) -> Result<Self, FileFault> {
        Ok(Self {
            svid: read_file(&paths.own.svid, Links::WithinFolder, |_, _| Ok(()))?,
            key: Zeroizing::new(read_file(&paths.own.key, Links::WithinFolder, not_open)?),
            bundle: read_file(&paths.own.bundle, Links::WithinFolder, |_, _| Ok(()))?,
            federated: paths
                .federated
                .iter()
                .map(|(trust_domain, path)| {
                    Ok((trust_domain.clone(), read_file(path, Links::WithinFolder, |_, _| Ok(()))?))
                })
                .collect::<Result<_, FileFault>>()?,
        })
    }

    /// The set as the Workload API would give it, if its parts belong together at `now`.
    pub(super) fn material(&self, paths: &Paths, now: Timestamp) -> Result<Material, FileFault> {
        let Paths { own, federated } = paths;
        let chain = certificates(&own.svid, &self.svid)?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(&self.key)
            .map_err(|_| FileFault::Pem { path: own.key.clone(), expected: "PKCS#8 PEM private key" })?;
        let chain_der = concatenated(&chain);
        let svid = X509Svid::parse_from_der(&chain_der, key.secret_pkcs8_der())
            .map_err(|error| FileFault::Svid { path: own.svid.clone(), source: error.into() })?;
        let trust_domain = svid.spiffe_id().trust_domain();
        if federated.contains_key(trust_domain) {
            return Err(FileFault::FederatedSelf { trust_domain: trust_domain.to_string() });
        }
        let roots = authorities(&own.bundle, &self.bundle, trust_domain)?;
        leads_to(&chain, &roots, now)?;
        belongs(&chain, &key)?;
        let mut bundles = BTreeMap::new();
        for (trust_domain, pem) in &self.federated {
            let path = federated.get(trust_domain).expect("broken invariant: only configured bundles were read");
            bundles.insert(trust_domain.id_string(), Bytes::from(concatenated(&authorities(path, pem, trust_domain)?)));
        }
        let svid = wire::X509Svid {
            spiffe_id: svid.spiffe_id().to_string(),
            x509_svid: Bytes::from(chain_der),
            x509_svid_key: Bytes::copy_from_slice(key.secret_pkcs8_der()),
            bundle: Bytes::from(concatenated(&roots)),
            hint: String::new(),
        };
        Ok(Material { svids: vec![svid], federated: bundles, ..Material::default() })
    }
}

/// Where a symbolic link may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// Kubernetes volumes swap such links; one that leads elsewhere could name another workload's files.
    WithinFolder,
    /// Wherever the operator's tools point it: certbot's links lead to another folder.
    Anywhere,
}

/// Reads a regular file within bounds.
pub(crate) fn read_file(
    path: &Path,
    links: Links,
    allowed: fn(&Path, &Metadata) -> Result<(), FileFault>,
) -> Result<Vec<u8>, FileFault> {
    let unreadable = |source| FileFault::Unreadable { path: path.to_owned(), source };
    let real = path.canonicalize().map_err(unreadable)?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if links == Links::WithinFolder && !real.starts_with(folder.canonicalize().map_err(unreadable)?) {
        return Err(FileFault::OutsideFolder { path: path.to_owned() });
    }
    // Asked before opening too: opening a pipe waits for its writer.
    let regular = |metadata: &Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(FileFault::NotAFile { path: path.to_owned() }),
    };
    regular(&real.metadata().map_err(unreadable)?)?;
    let file = File::open(&real).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    regular(&metadata)?;
    allowed(path, &metadata)?;
    let mut bytes = Vec::new();
    file.take(FILE_SIZE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_SIZE_BYTES {
        return Err(FileFault::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// The group may read: Kubernetes gives mounted keys to a group.
pub(crate) fn not_open(path: &Path, metadata: &Metadata) -> Result<(), FileFault> {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(FileFault::OpenKey { path: path.to_owned(), mode });
    }
    Ok(())
}

pub(crate) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let none = || FileFault::Pem { path: path.to_owned(), expected: "PEM certificate" };
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| none())?;
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

/// DER beside DER, as the Workload API has it.
fn concatenated(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    certificates.iter().flat_map(|certificate| certificate.iter().copied()).collect()
}

/// The CAs of `trust_domain`; one that names another domain in its URI SAN refuses the whole file.
fn authorities(path: &Path, pem: &[u8], trust_domain: &TrustDomain) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let found = certificates(path, pem)?;
    for certificate in &found {
        let unreadable = || FileFault::Pem { path: path.to_owned(), expected: "readable CA certificate" };
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| unreadable())?;
        // The TLS library takes whatever lies in the bundle for a CA.
        let constraints = parsed.basic_constraints().map_err(|_| unreadable())?;
        if !constraints.is_some_and(|constraints| constraints.value.ca) {
            return Err(FileFault::NotAnAuthority { path: path.to_owned() });
        }
        let named = named_trust_domains(&parsed).ok_or_else(unreadable)?;
        if let Some(named) = named.into_iter().find(|named| named != trust_domain.as_str()) {
            let trust_domain = trust_domain.to_string();
            return Err(FileFault::ForeignAuthority { path: path.to_owned(), trust_domain, found: named });
        }
    }
    Ok(found)
}

/// The trust domains that a CA's URI SANs name; `None` if they cannot be read.
fn named_trust_domains(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let Some(names) = certificate.subject_alternative_name().ok()? else { return Some(vec![]) };
    let uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(uri),
        _ => None,
    });
    let spiffe = uris.filter(|uri| uri.to_ascii_lowercase().starts_with("spiffe:"));
    spiffe.map(|uri| spiffe::SpiffeId::new(uri).ok().map(|id| id.trust_domain().to_string())).collect()
}

fn leads_to(
    chain: &[CertificateDer<'static>],
    roots: &[CertificateDer<'static>],
    now: Timestamp,
) -> Result<(), FileFault> {
    let broken = |source: Box<dyn Error + Send + Sync>| FileFault::Chain { source };
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(|error| broken(error.into()))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider)
        .build()
        .map_err(|error| broken(error.into()))?;
    let (leaf, intermediates) = chain.split_first().expect("broken invariant: a chain has a leaf");
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier.verify_client_cert(leaf, intermediates, now).map_err(|error| broken(error.into()))?;
    Ok(())
}

fn belongs(chain: &[CertificateDer<'static>], key: &PrivatePkcs8KeyDer<'static>) -> Result<(), FileFault> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = PrivateKeyDer::Pkcs8(key.clone_key());
    let pair = CertifiedKey::from_der(chain.to_vec(), key, &provider).map_err(|_| FileFault::KeyMismatch)?;
    pair.keys_match().map_err(|_| FileFault::KeyMismatch)
}
