//! An issuer's keys by OpenID Connect Discovery, fetched in the background and never for the sake of one request.
//!
//! The document at `ISSUER/.well-known/openid-configuration` names the JWK Set. Both are asked over https, within bounds, with
//! no redirects, and only at addresses within reach. An unknown key wakes the fetch early, once in a cool-down, however many
//! strangers invent keys; the request that showed it is refused meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::super::settings::StartError;
use super::jwks::{JWKS_SIZE_BYTES, JwksFault, KeySet, Purpose};
use super::ring::Ring;
use crate::case::Timestamp;
use crate::egress::{AddressRefused, GuardedResolver, Reach};
use crate::outage::chain;
use crate::strict_json;

/// The largest discovery document, in bytes; Google's has about 1 KiB, Keycloak's 8.
pub const DISCOVERY_SIZE_BYTES: usize = 64 * 1024;
/// How long connecting to an issuer may take, in milliseconds.
pub const CONNECT_TIMEOUT_MS: u64 = 3_000;
/// How long each of the two documents may take as a whole, in milliseconds: a slow drip is none.
pub const FETCH_TIMEOUT_MS: u64 = 5_000;
/// The deepest discovery document.
const DISCOVERY_DEPTH: usize = 4;

/// How often an issuer is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// After an answer.
    pub(super) life: Duration,
    /// After a failure.
    pub(super) retry: Duration,
    /// Between two fetches that unknown keys asked for.
    pub(super) cool_down: Duration,
    /// How long each document may take as a whole.
    pub(super) answer: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self {
            life: Duration::from_secs(600),
            retry: Duration::from_secs(30),
            cool_down: Duration::from_secs(60),
            answer: Duration::from_millis(FETCH_TIMEOUT_MS),
        }
    }
}

/// Why an issuer gave no keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiscoveryFault {
    #[error("the address may not be reached")]
    Address(#[from] AddressRefused),
    #[error("no whole answer came")]
    Transport(#[source] reqwest::Error),
    #[error("the answer's status is {status}, expected 200")]
    Status { status: u16 },
    #[error("the answer is larger than {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
    #[error("the discovery document cannot be read")]
    Document(#[source] strict_json::NotStrict),
    #[error("the discovery document is another issuer's")]
    OtherIssuer,
    #[error("`jwks_uri` is no https URL at the issuer's host or at one of `jwks_hosts`")]
    JwksUri,
    #[error("the JWK Set cannot be used")]
    Jwks(#[from] JwksFault),
}

/// One issuer that is asked for its keys.
#[derive(Debug)]
pub(super) struct Discovery {
    issuer: String,
    document: Url,
    hosts: Vec<String>,
    reach: Reach,
    client: reqwest::Client,
}

/// The part of OpenID Connect Discovery 1.0, section 3, that is of use here; the rest of the document is passed over.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

impl Discovery {
    /// Prepares the requests; nothing is asked yet. `table` is the issuer's table in the configuration.
    ///
    /// # Errors
    /// The issuer is no plain https URL, or `ca` holds no certificates.
    pub(super) fn new(
        table: &str,
        issuer: &str,
        jwks_hosts: &[String],
        reach: Reach,
        ca: Option<&Path>,
        answer: Duration,
    ) -> Result<Self, StartError> {
        let fault =
            |expected| StartError::Setting { key: format!("{table}.issuer"), expected, found: issuer.to_owned() };
        let url = plain_https(issuer).ok_or_else(|| fault("an https URL without user, query and fragment"))?;
        reach
            .check_literal(&url)
            .map_err(|_| fault("an address that may be reached (`private = true` if it is meant)"))?;
        let document = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = Url::parse(&document).map_err(|_| fault("a URL"))?;
        let mut hosts = vec![authority(&url)];
        hosts.extend(jwks_hosts.iter().map(|host| host.to_ascii_lowercase()));
        let builder = reqwest::Client::builder()
            .user_agent(concat!("witgate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .https_only(true)
            .dns_resolver(GuardedResolver(reach))
            .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
            .timeout(answer);
        let builder = match ca {
            Some(path) => builder.tls_certs_only(certificates(table, path)?),
            None => builder,
        };
        let client = builder.build().map_err(|error| StartError::Tls { source: error.into() })?;
        Ok(Self { issuer: issuer.to_owned(), document, hosts, reach, client })
    }

    /// Asks the issuer once.
    pub(super) async fn fetch(&self) -> Result<KeySet, DiscoveryFault> {
        let json = self.get(&self.document, DISCOVERY_SIZE_BYTES).await?;
        let uri = self.jwks_uri(&json)?;
        let json = self.get(&uri, JWKS_SIZE_BYTES).await?;
        Ok(KeySet::read(&json, Purpose::Oidc)?)
    }

    /// What the document names, if it is this issuer's and names a place of its own.
    pub(super) fn jwks_uri(&self, json: &[u8]) -> Result<Url, DiscoveryFault> {
        let value = strict_json::parse(json, DISCOVERY_DEPTH)
            .map_err(|error| DiscoveryFault::Document(strict_json::NotStrict { detail: error.to_string() }))?;
        let document: Document = serde_json::from_value(value)
            .map_err(|error| DiscoveryFault::Document(strict_json::NotStrict { detail: error.to_string() }))?;
        if document.issuer != self.issuer {
            return Err(DiscoveryFault::OtherIssuer);
        }
        let uri = plain_https(&document.jwks_uri).ok_or(DiscoveryFault::JwksUri)?;
        if !self.hosts.contains(&authority(&uri)) {
            return Err(DiscoveryFault::JwksUri);
        }
        Ok(uri)
    }

    async fn get(&self, url: &Url, max_bytes: usize) -> Result<Vec<u8>, DiscoveryFault> {
        self.reach.check_literal(url)?;
        let mut response = self.client.get(url.clone()).send().await.map_err(transport)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(DiscoveryFault::Status { status });
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > max_bytes {
                return Err(DiscoveryFault::TooLarge { max_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// Asks once, and tells of a failure; the keys that were there stay.
    pub(super) async fn refresh(&self, ring: &Ring) -> Outcome {
        match self.fetch().await {
            Ok(keys) => {
                tracing::debug!(issuer = self.issuer, keys = keys.len(), "an issuer's keys were confirmed");
                ring.confirm(keys, Timestamp::now());
                Outcome::Confirmed
            }
            Err(fault) => {
                metrics::counter!("witgate_issuer_errors_total", "issuer" => self.issuer.clone()).increment(1);
                tracing::warn!(
                    issuer = self.issuer,
                    error = chain(&fault),
                    "an issuer gave no keys: the last ones stay"
                );
                Outcome::Failed
            }
        }
    }

    /// Asks again and again, in one task: what many wait for is fetched once.
    pub(super) async fn follow(self, ring: Arc<Ring>, rhythm: Rhythm, first: Outcome) {
        let mut outcome = first;
        let mut cool_until = Instant::now();
        loop {
            let pause = match outcome {
                Outcome::Confirmed => rhythm.life,
                Outcome::Failed => rhythm.retry,
            };
            let missed = async {
                tokio::time::sleep_until(cool_until).await;
                ring.missed().await;
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = missed => cool_until = Instant::now() + rhythm.cool_down,
            }
            outcome = self.refresh(&ring).await;
        }
    }
}

/// What one look brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Confirmed,
    Failed,
}

/// reqwest's errors repeat the URL, which the log line names already.
fn transport(error: reqwest::Error) -> DiscoveryFault {
    DiscoveryFault::Transport(error.without_url())
}

fn plain_https(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = url.scheme() == "https"
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

/// Host and port, the port only where it is not 443.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn certificates(table: &str, path: &Path) -> Result<Vec<reqwest::Certificate>, StartError> {
    let fault = || StartError::Setting {
        key: format!("{table}.ca"),
        expected: "a file of PEM certificates",
        found: path.display().to_string(),
    };
    let pem = std::fs::read(path).map_err(|_| fault())?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(fault()),
    }
}
