//! Bounded requests to one upstream: every answer is limited, timed, unencoded, hashed by us.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
};
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::time::{Instant, timeout};
use url::Url;
use zeroize::Zeroizing;

use crate::case::Digest;

use super::budgets::{ERROR_BODY_BYTES, REDIRECTS, TOKEN_ANSWER_BYTES};
use super::challenge::Challenge;
use super::credential::Secret;
use super::fault::Fault;
use super::pause;
use super::token;
use super::upstream::Upstream;

/// A whole answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The bytes as received.
    pub bytes: Bytes,
    /// What they hash to.
    pub digest: Digest,
    /// `Content-Type` without parameters, lower-case; empty if there is none.
    pub content_type: String,
    /// `Link` lines.
    pub links: Vec<String>,
}

impl Upstream {
    /// Reads a manifest, an index or a page of referrers: no redirects, at most `limit_bytes`, within `metadata_timeout_ms`.
    pub async fn metadata(&self, url: &Url, repository: &str, accept: &str, limit_bytes: u64) -> Result<Answer, Fault> {
        let whole = async {
            let _place = self.place().await?;
            let mut response = self.authorized(Method::GET, url, Some(accept), repository).await?;
            if response.status().is_redirection() {
                return Err(Fault::Redirected { host: target_host(&response, url) });
            }
            self.expect_ok(&mut response).await?;
            let (bytes, digest) = self.body(&mut response, limit_bytes, Pace::Whole).await?;
            check_header_digests(response.headers(), &bytes, &digest)?;
            let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
            if response.headers().get_all(CONTENT_TYPE).iter().nth(1).is_some() {
                return Err(Fault::ContentTypeTwice);
            }
            let content_type = response.headers().get(CONTENT_TYPE).map(text).unwrap_or_default();
            let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let links = response.headers().get_all(reqwest::header::LINK).iter().map(text).collect();
            Ok(Answer { bytes, digest, content_type, links })
        };
        let after = self.budgets.metadata;
        timeout(after, whole).await.map_err(|_| Fault::TimedOut { after })?
    }

    /// Reads the blob that a descriptor names; other bytes than exactly those are a fault.
    pub async fn blob(&self, repository: &str, digest: &Digest, size_bytes: u64) -> Result<Bytes, Fault> {
        let _place = self.place().await?;
        let mut response = self.blob_response(Method::GET, repository, digest).await?;
        self.expect_ok(&mut response).await?;
        let mismatch = |found: String| Fault::SizeMismatch { digest: *digest, expected_bytes: size_bytes, found };
        if let Some(announced) = response.content_length().filter(|announced| *announced != size_bytes) {
            return Err(mismatch(format!("{announced} were announced")));
        }
        let read = self.body(&mut response, size_bytes, Pace::Steady).await;
        let (bytes, found) = read.map_err(|fault| match fault {
            Fault::TooLarge { .. } => mismatch("more came".into()),
            other => other,
        })?;
        if bytes.len() as u64 != size_bytes {
            return Err(mismatch(format!("{} came", bytes.len())));
        }
        if found != *digest {
            return Err(Fault::DigestMismatch { expected: *digest, found });
        }
        check_header_digests(response.headers(), &bytes, &found)?;
        Ok(bytes)
    }

    /// Whether the repository holds a blob whose bytes we already have.
    pub async fn holds_blob(&self, repository: &str, digest: &Digest) -> Result<bool, Fault> {
        let whole = async {
            let _place = self.place().await?;
            let mut response = self.blob_response(Method::HEAD, repository, digest).await?;
            match self.expect_ok(&mut response).await {
                Ok(()) => Ok(true),
                Err(Fault::NotFound) => Ok(false),
                Err(fault) => Err(fault),
            }
        };
        let after = self.budgets.metadata;
        timeout(after, whole).await.map_err(|_| Fault::TimedOut { after })?
    }

    async fn place(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Fault> {
        let after = self.budgets.queue;
        let place = timeout(after, self.places.acquire()).await.map_err(|_| Fault::Busy { after })?;
        Ok(place.expect("the semaphore of an upstream is never closed"))
    }

    /// The answer to a blob request, up to three permitted redirects further on; the credential stays with the registry.
    async fn blob_response(&self, method: Method, repository: &str, digest: &Digest) -> Result<Response, Fault> {
        let mut url = self.endpoint(repository, "blobs", &digest.to_string());
        let mut response = self.authorized(method.clone(), &url, None, repository).await?;
        for _ in 0..REDIRECTS {
            if !response.status().is_redirection() {
                return Ok(response);
            }
            url = self.redirect_target(&response, &url)?;
            response = self.send(Ask::of(method.clone(), &url)).await?;
        }
        if response.status().is_redirection() {
            Err(Fault::TooManyRedirects { limit: REDIRECTS })
        } else {
            Ok(response)
        }
    }

    fn redirect_target(&self, response: &Response, url: &Url) -> Result<Url, Fault> {
        let target =
            response.headers().get(LOCATION).and_then(|text| text.to_str().ok()).and_then(|text| url.join(text).ok());
        match target {
            Some(target) if self.trusts_redirect(&target) => Ok(target),
            _ => Err(Fault::RedirectRefused { host: target_host(response, url) }),
        }
    }

    /// Sends with the authorization that last worked; on 401 once more with a fresh one.
    async fn authorized(
        &self,
        method: Method,
        url: &Url,
        accept: Option<&str>,
        repository: &str,
    ) -> Result<Response, Fault> {
        let scope = format!("repository:{repository}:pull");
        let held = self.authorizations.held(&self.name, &scope, Instant::now());
        let ask = Ask { accept, ..Ask::of(method, url) };
        let response = self.send(Ask { authorization: held.as_ref(), ..ask.clone() }).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.authorizations.drop_held(&self.name, &scope);
        let challenge = Challenge::of(response.headers()).ok_or(Fault::ChallengeMalformed)?;
        self.drain(response).await;
        let (authorization, life) = self.meet(&challenge, &scope).await?;
        let response = self.send(Ask { authorization: Some(&authorization), ..ask }).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            let not_after = life.map(|life| Instant::now() + life);
            self.authorizations.hold(&self.name, &scope, authorization, not_after);
        }
        Ok(response)
    }

    /// What to answer to a challenge, with its life; without a credential that fits the 401 stands.
    async fn meet(&self, challenge: &Challenge, scope: &str) -> Result<(HeaderValue, Option<Duration>), Fault> {
        let secret = self.credential.secret(&self.budgets).await?;
        if let Secret::Bearer(token) = secret {
            return Ok((token, None));
        }
        let Challenge::Bearer { unchecked_realm, service } = challenge else {
            return match secret {
                Secret::Password(basic) => Ok((basic, None)),
                Secret::Identity(_) => Err(Fault::IdentityNotAsked),
                Secret::Bearer(_) | Secret::Nothing => Err(Fault::Status { status: 401 }),
            };
        };
        let mut realm = self.realm(unchecked_realm)?;
        // The scope is ours, not the challenge's.
        let parameters = service.iter().map(|service| ("service", service.as_str())).chain([("scope", scope)]);
        let (token, life) = if let Secret::Identity(refresh) = &secret {
            let form = refresh_form(parameters, refresh);
            let ask = Ask { accept: Some(JSON), form: Some(&form), ..Ask::of(Method::POST, &realm) };
            self.fetch_token(ask).await?
        } else {
            realm.query_pairs_mut().extend_pairs(parameters);
            let authorization = if let Secret::Password(basic) = &secret { Some(basic) } else { None };
            self.fetch_token(Ask { accept: Some(JSON), authorization, ..Ask::of(Method::GET, &realm) }).await?
        };
        Ok((token, Some(life)))
    }

    /// The token endpoint's URL, if it is one that may be asked.
    fn realm(&self, unchecked_realm: &str) -> Result<Url, Fault> {
        let mut realm = Url::parse(unchecked_realm).map_err(|_| Fault::ChallengeMalformed)?;
        if !self.trusts_realm(&realm) {
            return Err(Fault::RealmRefused { host: host_text(&realm) });
        }
        realm.set_fragment(None);
        Ok(realm)
    }

    async fn fetch_token(&self, ask: Ask<'_>) -> Result<(HeaderValue, Duration), Fault> {
        let whole = async {
            let mut response = self.send(ask).await?;
            match response.status() {
                StatusCode::OK => {}
                other => return Err(Fault::TokenStatus { status: other.as_u16() }),
            }
            let (body, _) = self.body(&mut response, TOKEN_ANSWER_BYTES, Pace::Whole).await?;
            token::read_answer(&body)
        };
        let after = self.budgets.metadata;
        timeout(after, whole).await.map_err(|_| Fault::TimedOut { after })?
    }

    /// One request, no redirects, no retries; the address in the URL is checked here, that behind a name by the resolver.
    ///
    /// A registry that said to wait is not asked, nor is its token endpoint or its store of blobs.
    async fn send(&self, ask: Ask<'_>) -> Result<Response, Fault> {
        if let Some(wait) = self.pauses.left(&self.name, Instant::now()) {
            return Err(Fault::RateLimited { wait });
        }
        self.reach.check_literal(ask.url)?;
        let mut request = self.client.request(ask.method, ask.url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(accept) = ask.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = ask.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(form) = ask.form {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.to_owned());
        }
        let after = self.budgets.idle;
        let sent = timeout(after, request.send()).await.map_err(|_| Fault::Silent { after })?;
        let response = sent.map_err(Fault::transport)?;
        if let Some(wait) = pause::wait(response.status().as_u16(), response.headers()) {
            self.pauses.hold(&self.name, wait, Instant::now());
            return Err(Fault::RateLimited { wait });
        }
        let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if response.headers().get_all(CONTENT_ENCODING).iter().all(identity) {
            Ok(response)
        } else {
            Err(Fault::Encoded)
        }
    }

    async fn expect_ok(&self, response: &mut Response) -> Result<(), Fault> {
        match response.status() {
            StatusCode::OK => Ok(()),
            StatusCode::NOT_FOUND => {
                self.drain_in_place(response).await;
                Err(Fault::NotFound)
            }
            other => Err(Fault::Status { status: other.as_u16() }),
        }
    }

    /// Reads the body up to a limit, hashing as it comes.
    async fn body(&self, response: &mut Response, limit_bytes: u64, pace: Pace) -> Result<(Bytes, Digest), Fault> {
        let announced = response.content_length().unwrap_or(0);
        if announced > limit_bytes {
            return Err(Fault::TooLarge { limit_bytes });
        }
        let started = Instant::now();
        let mut bytes = Vec::with_capacity(usize::try_from(announced.min(FIRST_ALLOCATION_BYTES)).unwrap_or(0));
        let mut hasher = Sha256::new();
        let after = self.budgets.idle;
        while let Some(chunk) =
            timeout(after, response.chunk()).await.map_err(|_| Fault::Silent { after })?.map_err(Fault::transport)?
        {
            if chunk.len() as u64 > limit_bytes - bytes.len() as u64 {
                return Err(Fault::TooLarge { limit_bytes });
            }
            hasher.update(&chunk);
            grow(&mut bytes, chunk.len(), announced);
            bytes.extend_from_slice(&chunk);
            if pace == Pace::Steady {
                self.check_rate(bytes.len() as u64, started.elapsed())?;
            }
        }
        Ok((bytes.into(), Digest::from_bytes(hasher.finalize().into())))
    }

    fn check_rate(&self, received_bytes: u64, elapsed: Duration) -> Result<(), Fault> {
        let least_bytes_per_s = self.budgets.least_rate_bytes_per_s;
        let owed = u128::from(least_bytes_per_s) * elapsed.as_millis() / 1000;
        let slow = elapsed > self.budgets.slow_start && u128::from(received_bytes) < owed;
        if slow { Err(Fault::TooSlow { least_bytes_per_s }) } else { Ok(()) }
    }

    /// Reads a short error body, so that the connection serves again; what it says does not matter.
    async fn drain(&self, mut response: Response) {
        self.drain_in_place(&mut response).await;
    }

    async fn drain_in_place(&self, response: &mut Response) {
        let _ = self.body(response, ERROR_BODY_BYTES, Pace::Steady).await;
    }
}

/// Makes room for `more` bytes: twice as much as there was, but no more than was announced, for what is held is held long.
fn grow(bytes: &mut Vec<u8>, more: usize, announced: u64) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        let room = (2 * bytes.capacity()).min(announced).max(needed);
        bytes.reserve_exact(room - bytes.len());
    }
}

/// What buys a token with a refresh token (Docker token specification, "OAuth2"): a body, for it must stand in no URL.
fn refresh_form<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>, refresh: &str) -> Zeroizing<String> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(parameters).extend_pairs([("grant_type", "refresh_token"), ("client_id", "witgate")]);
    Zeroizing::new(form.append_pair("refresh_token", refresh).finish())
}

/// One request.
#[derive(Clone)]
struct Ask<'a> {
    method: Method,
    url: &'a Url,
    accept: Option<&'a str>,
    authorization: Option<&'a HeaderValue>,
    /// A body in `application/x-www-form-urlencoded`.
    form: Option<&'a str>,
}

impl<'a> Ask<'a> {
    /// A request without anything that it does not need.
    fn of(method: Method, url: &'a Url) -> Self {
        Self { method, url, accept: None, authorization: None, form: None }
    }
}

/// How a body's time is bounded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// By the time of the whole request.
    Whole,
    /// By a least rate: components may be large.
    Steady,
}

/// Every `Docker-Content-Digest` must name these bytes; what cannot be checked does not agree.
fn check_header_digests(headers: &HeaderMap, bytes: &Bytes, found: &Digest) -> Result<(), Fault> {
    let agrees = |value: &HeaderValue| match value.to_str() {
        Ok(text) if text.starts_with("sha256:") => text.parse() == Ok(*found),
        Ok(text) => text.strip_prefix("sha512:").is_some_and(|hex| hex == hex::encode(Sha512::digest(bytes))),
        Err(_) => false,
    };
    let all_agree = headers.get_all("docker-content-digest").iter().all(agrees);
    if all_agree { Ok(()) } else { Err(Fault::HeaderDigest { found: *found }) }
}

/// Where a redirect leads, for a message: never the path or query, which may hold a signature.
fn target_host(response: &Response, url: &Url) -> String {
    let location = response.headers().get(LOCATION).and_then(|text| text.to_str().ok());
    location.and_then(|text| url.join(text).ok()).as_ref().map_or_else(|| "nowhere".into(), host_text)
}

/// `host` or `host:port`, as it would stand in the configuration.
fn host_text(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "nowhere".into(),
    }
}

/// What a token endpoint answers with.
const JSON: &str = "application/json";
/// A peer's announcement alone makes us allocate no more than this, in bytes.
const FIRST_ALLOCATION_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests;
