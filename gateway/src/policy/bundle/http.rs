//! A bundle from an HTTP server: asked for again and again, fetched when it changed, believed by its signature alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, ETAG, HeaderValue, IF_NONE_MATCH};
use tokio::sync::Mutex;
use url::Url;

use super::super::LoadError;
use super::archive::MAX_PACKED_BYTES;
use super::candidate::Candidate;
use super::fault::{BundleFault, SignatureFault};
use super::folder::read_bytes;
use super::name_of;
use super::settings::{Demand, Settings};
use crate::egress::{AddressRefused, GuardedResolver, Reach, is_loopback};

/// The server that `policy.url` names.
#[derive(Debug)]
pub struct HttpSource {
    url: Url,
    reach: Reach,
    client: reqwest::Client,
    settings: Settings,
    /// Of the bundle that is in force: no other is called unchanged.
    etag: Mutex<Option<HeaderValue>>,
}

/// A bundle that came, read and verified.
#[derive(Debug)]
pub struct Fetched {
    /// The bundle.
    pub candidate: Candidate,
    etag: Option<HeaderValue>,
}

/// Why a server gave no bundle; what is in force stays.
#[derive(Debug, thiserror::Error)]
pub enum SourceFault {
    /// The setting is none that may be used.
    #[error("`policy.{key}`: expected {expected}")]
    Setting {
        /// Its name.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The server's address may not be asked.
    #[error("the address may not be reached")]
    Address(#[from] AddressRefusedShown),
    /// The client could not be made.
    #[error("TLS cannot be set up")]
    Client(#[source] reqwest::Error),
    /// No answer, or half of one.
    #[error("no whole answer came")]
    Transport(#[source] reqwest::Error),
    /// Another status than 200 and 304.
    #[error("the answer's status is {status}, expected 200 or 304")]
    Status {
        /// The status.
        status: u16,
    },
    /// 304 to a question without `If-None-Match`.
    #[error("the answer says that nothing changed, expected a bundle: none was fetched before")]
    NothingBefore,
    /// More than an archive may have.
    #[error("the answer is larger than {max_bytes} bytes")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// The file with the token is none.
    #[error("`{}`: expected one line of printable characters, a token, found something else", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
}

/// An address that the server may not lead to.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct AddressRefusedShown(AddressRefused);

impl HttpSource {
    /// Prepares the requests for `policy.url`, if there is one; nothing is asked yet.
    ///
    /// # Errors
    /// A URL that is no plain https one (http on this machine alone), `dir` beside it, no key whose signature is demanded.
    pub fn new(settings: &Settings) -> Result<Option<Self>, LoadError> {
        Self::within(settings, ANSWER_TIMEOUT)
    }

    fn within(settings: &Settings, answer: Duration) -> Result<Option<Self>, LoadError> {
        let Some(url) = settings.url.clone() else { return Ok(None) };
        let setting = |key, expected| LoadError::Source(SourceFault::Setting { key, expected });
        if settings.dir.is_some() {
            return Err(setting("url", "either `url` or `dir`"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(setting("url", "a URL without user and fragment; a token goes into `token_file`"));
        }
        let reach = match url.scheme() {
            "https" => Reach::Anywhere,
            "http" if is_loopback(&url) => Reach::LoopbackOnly,
            _ => return Err(setting("url", "an https URL, or an http one on this machine")),
        };
        reach.check_literal(&url).map_err(|_| setting("url", "an address that may be reached"))?;
        if settings.keys.is_empty() {
            return Err(BundleFault::from(SignatureFault::NoKeys).into());
        }
        if settings.demand() != Demand::Signed {
            return Err(setting("require_signature", "no `false`: whoever answers for a server is not who may admit"));
        }
        let builder = reqwest::Client::builder()
            .user_agent(concat!("witgate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .dns_resolver(GuardedResolver(reach))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(answer);
        let builder = match &settings.ca {
            Some(path) => builder.tls_certs_only(certificates(path)?),
            // Nothing is asked over TLS, so a machine without certificate authorities will do.
            None if reach == Reach::LoopbackOnly => builder.tls_certs_only([]),
            None => builder,
        };
        let client = builder.build().map_err(SourceFault::Client)?;
        Ok(Some(Self { url, reach, client, settings: settings.clone(), etag: Mutex::new(None) }))
    }

    /// Asks once: the bundle if it is another than the one taken last, none if that is still the one.
    ///
    /// The bundle is read and verified, not compiled; call [`HttpSource::taken`] once it is in force.
    ///
    /// # Errors
    /// The server, or a bundle that is not signed by a key of the settings.
    pub async fn look(&self) -> Result<Option<Fetched>, LoadError> {
        let known = self.etag.lock().await.clone();
        let Some((bytes, etag)) = self.get(known).await? else { return Ok(None) };
        let (settings, name) = (self.settings.clone(), name_of(Path::new(self.url.path())));
        let reading = tokio::task::spawn_blocking(move || Candidate::from_archive(&bytes, &name, &settings));
        let candidate = reading.await.expect("reading a bundle does not panic")?;
        Ok(Some(Fetched { candidate, etag }))
    }

    /// Remembers that `fetched` is in force: until it changes, the server need not send it again.
    pub async fn taken(&self, fetched: &Fetched) {
        *self.etag.lock().await = fetched.etag.clone();
    }

    /// The archive with its ETag, or none if it is the `known` one.
    async fn get(&self, known: Option<HeaderValue>) -> Result<Option<(Vec<u8>, Option<HeaderValue>)>, SourceFault> {
        self.reach.check_literal(&self.url).map_err(AddressRefusedShown)?;
        let mut request = self.client.get(self.url.clone());
        // Read anew each time: tokens are changed while we run.
        if let Some(path) = &self.settings.token_file {
            request = request.header(AUTHORIZATION, bearer(path)?);
        }
        let asked_for_change = known.is_some();
        if let Some(etag) = known {
            request = request.header(IF_NONE_MATCH, etag);
        }
        // The URL of an error may hold what is none of a log's business.
        let transport = |error: reqwest::Error| SourceFault::Transport(error.without_url());
        let mut response = request.send().await.map_err(transport)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if asked_for_change => return Ok(None),
            StatusCode::NOT_MODIFIED => return Err(SourceFault::NothingBefore),
            status => return Err(SourceFault::Status { status: status.as_u16() }),
        }
        let etag = response.headers().get(ETAG).filter(|etag| etag.len() <= MAX_ETAG_BYTES).cloned();
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > MAX_PACKED_BYTES {
                return Err(SourceFault::TooLarge { max_bytes: MAX_PACKED_BYTES });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some((body.into(), etag)))
    }
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, LoadError> {
    let pem = read_bytes(path, MAX_CA_BYTES)?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(SourceFault::Setting { key: "ca", expected: "a file of certificates in PEM" }.into()),
    }
}

/// `Bearer TOKEN` as a header that no log prints (RFC 6750, 2.1).
fn bearer(path: &Path) -> Result<HeaderValue, SourceFault> {
    let fault = || SourceFault::Token { path: path.to_owned() };
    let bytes = zeroize::Zeroizing::new(read_bytes(path, MAX_TOKEN_BYTES).map_err(|_| fault())?);
    let token = std::str::from_utf8(&bytes).map_err(|_| fault())?.trim_end_matches(['\r', '\n']);
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(fault());
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| fault())?;
    header.set_sensitive(true);
    Ok(header)
}

/// How long a server may take to be there at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a whole answer of 8 MiB may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The file of a token, in bytes, as for registries.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// A bundle of certificate authorities, in bytes; Debian's has 220 KiB.
const MAX_CA_BYTES: usize = 1 << 20;
/// The longest ETag that is sent back, in bytes.
const MAX_ETAG_BYTES: usize = 1024;

#[cfg(test)]
#[cfg(feature = "dev")]
#[path = "http_tests.rs"]
mod tests;
