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
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use serde_json::json;

    use crate::registry::budgets::{Budgets, MANIFEST_BYTES, PAUSE_DEFAULT, REQUESTS_PER_UPSTREAM};
    use crate::registry::document::OCI_MANIFEST;
    use crate::registry::peer::{Ending, Peer, Pushed, Reply, Stage};
    use crate::registry::settings::Upstreams;
    use crate::registry::{Settings, UpstreamSettings};

    use super::*;

    fn quick() -> Budgets {
        let short = Duration::from_millis(150);
        Budgets { idle: short, metadata: short * 2, slow_start: short, ..Budgets::default() }
    }

    #[test]
    fn what_was_announced_is_held_in_no_more_room_than_that() {
        for (announced, pieces, most) in [(100_000_u64, 10, 100_000), (0, 10, 160_000), (1, 10, 160_000)] {
            let mut bytes = Vec::with_capacity(10_000);
            for _ in 0..pieces {
                grow(&mut bytes, 10_000, announced);
                bytes.extend_from_slice(&[0; 10_000]);
            }
            assert!(bytes.len() == 100_000 && bytes.capacity() <= most, "{announced}: {}", bytes.capacity());
        }
    }

    #[tokio::test]
    async fn a2_3_a_header_that_names_other_bytes_is_an_outage() {
        let peer = Peer::start().await;
        let stage = Stage::bare();
        let pushed = Pushed::new("x", b"a").on(&peer, "1");
        let sha512 = format!("sha512:{}", hex::encode(Sha512::digest(&pushed.manifest)));
        let right = pushed.digest().to_string();
        for lie in [
            Digest::of(b"lie").to_string(),
            right.to_uppercase(),
            format!("sha512:{}", "0".repeat(128)),
            "md5:0".into(),
            String::new(),
        ] {
            peer.on(
                pushed.manifest_path("1"),
                Reply::ok(OCI_MANIFEST, pushed.manifest.clone()).header("docker-content-digest", &lie),
            );
            let outage = stage.outage(&peer, "x:1").await;
            assert!(outage.chain().contains(&right), "{lie}: {}", outage.chain());
        }
        let both = Reply::ok(OCI_MANIFEST, pushed.manifest.clone())
            .header("docker-content-digest", &right)
            .header("docker-content-digest", &sha512);
        peer.on(pushed.manifest_path("1"), both);
        assert_eq!(*stage.resolve(&peer, "x:1").await.unwrap().digest(), pushed.digest());
    }

    #[tokio::test]
    async fn a3_2_a3_3_blobs_that_are_not_what_was_announced_are_outages_that_leave_nothing() {
        let peer = Peer::start().await;
        let stage = Stage::of(&Settings::default(), quick());
        let pushed = Pushed::new("x", b"component").on(&peer, "1");
        let blob = |body: &[u8]| Reply::ok("application/octet-stream", body);
        for (what, lie) in [
            ("other bytes", blob(b"komponent")),
            ("one byte short", blob(b"componen")),
            ("one byte more", blob(b"component!")),
            ("one byte more, no length", blob(b"component!").ending(Ending::Chunked)),
            ("one byte short, no length", blob(b"componen").ending(Ending::Chunked)),
            ("cut off", blob(b"compo").ending(Ending::Announcing(9))),
            ("length too small", blob(b"component").ending(Ending::Announcing(8))),
            ("length too large", blob(b"component").ending(Ending::Announcing(10))),
            ("endless", blob(b"").ending(Ending::Endless)),
            ("stalled", blob(b"component").ending(Ending::Stalled)),
            ("mute", blob(b"component").ending(Ending::Mute)),
            ("trickling", blob(b"component").ending(Ending::Trickling)),
            ("gzip", blob(b"component").header("content-encoding", "gzip")),
            ("partial", Reply::status(206).body(b"component")),
            ("header", blob(b"component").header("docker-content-digest", &Digest::of(b"x").to_string())),
        ] {
            peer.on(pushed.layer_path(), lie);
            let outage = stage.outage(&peer, "x:1").await;
            assert_eq!(outage.peer.kind(), "registry", "{what}");
            assert_eq!(stage.held(&Digest::of(b"component")).await, None, "{what} was kept");
        }
        let honest = blob(b"component").ending(Ending::Chunked).header("content-encoding", "identity");
        peer.on(pushed.layer_path(), honest);
        assert!(Stage::bare().resolve(&peer, "x:1").await.unwrap().component().is_some());
    }

    #[tokio::test]
    async fn a12_1_a12_3_manifests_are_bounded_in_bytes_or_time() {
        let peer = Peer::start().await;
        let stage = Stage::bare();
        let large = |size: u64| vec![b' '; usize::try_from(size).unwrap()];
        for (what, reply) in [
            ("announced", Reply::ok(OCI_MANIFEST, "x").ending(Ending::Announcing(300 << 20))),
            ("one byte more", Reply::ok(OCI_MANIFEST, large(MANIFEST_BYTES + 1)).ending(Ending::Chunked)),
        ] {
            peer.on("/v2/x/manifests/1", reply);
            let chain = stage.outage(&peer, "x:1").await.chain();
            assert!(chain.contains("longer than 4194304 bytes"), "{what}: {chain}");
        }
        let impatient = Stage::of(&Settings::default(), quick());
        for ending in [Ending::Endless, Ending::Stalled, Ending::Mute, Ending::Trickling] {
            peer.on("/v2/x/manifests/1", Reply::ok(OCI_MANIFEST, vec![b' '; 100]).ending(ending));
            impatient.outage(&peer, "x:1").await;
        }
        peer.on("/v2/x/manifests/1", Reply::ok(OCI_MANIFEST, large(MANIFEST_BYTES)));
        let facts = stage.resolve(&peer, "x:1").await.unwrap().facts().clone();
        assert_eq!((facts.size_bytes, facts.defects.len()), (MANIFEST_BYTES, 1), "within the limit it is judged");
    }

    #[tokio::test]
    async fn a16_2_a17_2_redirects_are_for_blobs_to_listed_hosts_without_the_credential() {
        let (peer, store, stranger) = (Peer::start().await, Peer::start().await, Peer::start().await);
        let folder = tempfile::tempdir().unwrap();
        let (credential, _) = password(&folder);
        let stage = Stage::with(&peer, UpstreamSettings { redirect_hosts: vec![store.name.clone()], ..credential });
        peer.guard("Basic dTpodW50ZXIy", "Basic realm=x");
        let pushed = Pushed::new("x", b"component").on(&peer, "1");
        let to = |target: &str| Reply::status(307).header("location", target);
        let at = |peer: &Peer, path: &str| format!("http://{}{path}", peer.name);

        for target in [
            at(&stranger, "/blob"),
            "http://169.254.169.254/latest".into(),
            "https://127.0.0.1:1/".into(),
            format!("http://u:p@{}/blob", store.name),
            format!("http://{}@{}/", store.name, stranger.name),
            "file:///etc/passwd".into(),
            "http://".into(),
        ] {
            peer.on(pushed.layer_path(), to(&target));
            let chain = stage.outage(&peer, "x:1").await.chain();
            assert!(chain.contains("redirects a blob"), "{target}: {chain}");
        }
        peer.on(pushed.manifest_path("2"), to(&at(&store, "/manifest")));
        assert!(stage.outage(&peer, "x:2").await.chain().contains("only blobs"));
        assert!(stranger.asked().is_empty() && store.asked().is_empty());

        // peer, store, store, store: three redirects.
        store.on("/blob", Reply::ok("application/octet-stream", "component"));
        store.on("/2", to("/blob"));
        store.on("/1", to(&at(&store, "/2")));
        store.on("/0", to("/1"));
        peer.on(pushed.layer_path(), to(&at(&store, "/0")));
        assert!(stage.outage(&peer, "x:1").await.chain().contains("more than 3 redirects"));
        peer.on(pushed.layer_path(), to(&at(&store, "/1")));
        assert_eq!(stage.resolve(&peer, "x:1").await.unwrap().component().unwrap(), &b"component"[..]);
        assert!(store.asked().iter().all(|asked| asked.authorization.is_none()), "the credential left the registry");
    }

    fn password(folder: &tempfile::TempDir) -> (UpstreamSettings, PathBuf) {
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        let (username, password_file) = (Some("u".into()), Some(file.clone()));
        (UpstreamSettings { username, password_file, ..UpstreamSettings::default() }, file)
    }

    #[tokio::test]
    async fn a_token_is_fetched_once_for_a_repository() {
        let peer = Peer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let (credential, _) = password(&folder);
        let stage = Stage::with(&peer, credential);
        Pushed::new("x/y", b"component").on(&peer, "1");
        let challenge =
            format!("Bearer realm=\"http://{}/token?a=b\",service=\"s s\",scope=\"repository:*:push\"", peer.name);
        peer.guard("Bearer t0ken", &challenge);
        let asked_for = "/token?a=b&service=s+s&scope=repository%3Ax%2Fy%3Apull";
        peer.on(asked_for, Reply::ok("application/json", json!({"token": "t0ken", "expires_in": 300}).to_string()));
        stage.resolve(&peer, "x/y:1").await.unwrap();
        let token: Vec<_> = peer.asked().into_iter().filter(|asked| asked.path == asked_for).collect();
        assert_eq!(token.len(), 1);
        assert_eq!(token[0].authorization.as_deref(), Some("Basic dTpodW50ZXIy"));
        assert_eq!(peer.asked().len(), 1 + 1 + 3, "401, token, manifest, config, component");
    }

    /// Docker's configuration with one entry for `peer`.
    fn docker_config(folder: &tempfile::TempDir, peer: &Peer, entry: &serde_json::Value) -> UpstreamSettings {
        let file = folder.path().join("config.json");
        let config = json!({"auths": {peer.name.clone(): entry}});
        std::fs::write(&file, config.to_string()).unwrap();
        UpstreamSettings { docker_config: Some(file), ..UpstreamSettings::default() }
    }

    #[tokio::test]
    async fn an_identity_token_buys_a_token_in_a_body_and_nowhere_else() {
        let (peer, thief) = (Peer::start().await, Peer::start().await);
        let folder = tempfile::tempdir().unwrap();
        let settings = docker_config(&folder, &peer, &json!({"identitytoken": "re fresh&x=y"}));
        let stage = Stage::with(&peer, settings);
        Pushed::new("x", b"component").on(&peer, "1");
        peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/steal\"", thief.name));
        stage.outage(&peer, "x:1").await;
        peer.guard("Bearer t", "Basic realm=x");
        assert!(stage.outage(&peer, "x:1").await.chain().contains("identity token"));
        assert_eq!(thief.asked().len(), 0);

        peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/token\",service=\"s\"", peer.name));
        peer.on(
            "/token",
            Reply::ok("application/json", json!({"access_token": "t", "refresh_token": "r"}).to_string()),
        );
        stage.resolve(&peer, "x:1").await.unwrap();
        let asked: Vec<_> = peer.asked().into_iter().filter(|asked| asked.path.starts_with("/token")).collect();
        let [token] = &*asked else { panic!("{asked:?}") };
        assert_eq!((&*token.method, &*token.path, &token.authorization), ("POST", "/token", &None));
        assert_eq!(
            token.body,
            "service=s&scope=repository%3Ax%3Apull&grant_type=refresh_token&client_id=witgate&refresh_token=re+fresh%26x%3Dy"
        );
        assert!(peer.asked().iter().all(|asked| !asked.path.contains("fresh")));
    }

    #[tokio::test]
    async fn a16_3_each_upstream_gets_its_own_credential_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b, open) = (Peer::start().await, Peer::start().await, Peer::start().await);
        let config = folder.path().join("config.json");
        let auth = |pair: &str| json!({"auth": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, pair)});
        let auths = json!({a.name.clone(): auth("u:a"), b.name.clone(): auth("u:b")});
        std::fs::write(&config, json!({"auths": auths}).to_string()).unwrap();
        let docker = || UpstreamSettings { docker_config: Some(config.clone()), ..UpstreamSettings::default() };
        let upstreams =
            [(a.name.clone(), docker()), (b.name.clone(), docker()), (open.name.clone(), UpstreamSettings::default())];
        let stage = Stage::of(&Settings { upstreams: upstreams.into(), ..Settings::default() }, Budgets::default());
        for (peer, basic) in [(&a, "Basic dTph"), (&b, "Basic dTpi"), (&open, "Basic none")] {
            Pushed::new("x", b"component").on(peer, "1");
            peer.guard(basic, "Basic realm=x");
        }
        for _ in 0..2 {
            stage.resolve(&a, "x:1").await.unwrap();
            stage.resolve(&b, "x:1").await.unwrap();
            stage.outage(&open, "x:1").await;
        }
        let sent = |peer: &Peer| {
            let mut sent: Vec<_> = peer.asked().into_iter().filter_map(|asked| asked.authorization).collect();
            sent.dedup();
            sent
        };
        assert_eq!((sent(&a), sent(&b), sent(&open)), (vec!["Basic dTph".into()], vec!["Basic dTpi".into()], vec![]));
    }

    #[tokio::test]
    async fn a_helper_is_asked_when_the_registry_asks_and_not_before() {
        let peer = Peer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let helper = folder.path().join("docker-credential-good");
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scripts/docker-credential-fake");
        std::os::unix::fs::symlink(script, &helper).unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, json!({"credHelpers": {peer.name.clone(): "good"}}).to_string()).unwrap();
        let one = UpstreamSettings { docker_config: Some(file.clone()), ..UpstreamSettings::default() };
        let settings = Settings {
            upstreams: [(peer.name.clone(), one)].into(),
            credential_helpers: [("good".to_owned(), helper)].into(),
            ..Settings::default()
        };
        let stage = Stage::of(&settings, Budgets::default());
        Pushed::new("x", b"component").on(&peer, "1");
        peer.guard("Basic dTpodW50ZXIy", "Basic realm=x");
        stage.resolve(&peer, "x:1").await.unwrap();
        // Rotated to a helper that nobody allowed: what is held is good until the registry says otherwise.
        std::fs::write(&file, json!({"credHelpers": {peer.name.clone(): "sh"}}).to_string()).unwrap();
        Pushed::new("x", b"other").on(&peer, "2");
        stage.resolve(&peer, "x:2").await.unwrap();
        peer.guard("Basic new", "Basic realm=x");
        Pushed::new("x", b"third").on(&peer, "3");
        let outage = stage.outage(&peer, "x:3").await;
        assert!(outage.chain().contains("`sh`, which is not listed"), "{}", outage.chain());
        assert!(outage.hint.unwrap().contains("docker_config"));
    }

    #[tokio::test]
    async fn a16_1_no_token_endpoint_but_our_own_sees_the_credential() {
        let (peer, thief) = (Peer::start().await, Peer::start().await);
        let folder = tempfile::tempdir().unwrap();
        let (credential, _) = password(&folder);
        let stage = Stage::with(&peer, credential.clone());
        Pushed::new("x", b"component").on(&peer, "1");
        for realm in [
            format!("http://{}/steal", thief.name),
            format!("http://{}@{}/steal", peer.name, thief.name),
            format!("http://u:p@{}/token", peer.name),
            "http://169.254.169.254/token".into(),
            "https://auth.example/token".into(),
            "file:///token".into(),
            "/token".into(),
            String::new(),
        ] {
            peer.guard("Bearer t", &format!("Bearer realm=\"{realm}\""));
            let outage = stage.outage(&peer, "x:1").await;
            assert!(!format!("{} {:?}", outage.chain(), outage).contains("hunter2"), "{realm}");
        }
        assert_eq!(thief.asked().len(), 0);
        assert_eq!(peer.times("/token"), 0);

        let listed = Stage::with(&peer, UpstreamSettings { auth_hosts: vec![thief.name.clone()], ..credential });
        peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/token\"", thief.name));
        thief.on("/token?scope=repository%3Ax%3Apull", Reply::ok("application/json", "{\"access_token\":\"t\"}"));
        listed.resolve(&peer, "x:1").await.unwrap();
    }

    #[tokio::test]
    async fn a16_4_useless_token_answers_are_outages() {
        let peer = Peer::start().await;
        let stage = Stage::of(&Settings::default(), quick());
        peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/token\"", peer.name));
        for answer in [
            Reply::ok("application/json", "{\"token\":\"a\\nb\"}"),
            Reply::ok("application/json", "{\"token\":\"wrong\"}"),
            Reply::ok("application/json", " ".repeat(64 * 1024 + 1)),
            Reply::ok("application/json", "").ending(Ending::Endless),
            Reply::ok("application/json", "").ending(Ending::Mute),
            Reply::status(401),
            Reply::status(307).header("location", "/v2/"),
            Reply::status(429),
        ] {
            peer.on("/token?scope=repository%3Ax%3Apull", answer);
            let outage = stage.outage(&peer, "x:1").await;
            assert!(!outage.chain().contains("wrong"), "{}", outage.chain());
        }
        let stage = Stage::of(&Settings::default(), quick());
        for challenge in ["Negotiate", "Bearer service=x", "Basic realm=x"] {
            peer.guard("Bearer t", challenge);
            stage.outage(&peer, "x:1").await;
        }
    }

    #[tokio::test]
    async fn a_registry_that_says_to_wait_is_asked_by_nobody_until_then() {
        let (peer, other) = (Peer::start().await, Peer::start().await);
        let wait = |status: u16| Reply::status(status).header("retry-after", "7");
        for at in ["manifest", "token", "blob", "store"] {
            let store = Peer::start().await;
            let stage = Stage::with(
                &peer,
                UpstreamSettings { redirect_hosts: vec![store.name.clone()], ..UpstreamSettings::default() },
            );
            let pushed = Pushed::new("x", b"component").on(&peer, "1");
            Pushed::new("y", b"other").on(&peer, "1");
            match at {
                "manifest" => peer.on(pushed.manifest_path("1"), wait(429)),
                "token" => {
                    peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/token\"", peer.name));
                    peer.on("/token?scope=repository%3Ax%3Apull", wait(503));
                }
                "blob" => peer.on(pushed.layer_path(), wait(503)),
                _ => {
                    let target = format!("http://{}/blob", store.name);
                    peer.on(pushed.layer_path(), Reply::status(307).header("location", &target));
                    store.on("/blob", wait(429));
                }
            }
            let outage = stage.outage(&peer, "x:1").await;
            let asked = peer.asked().len();
            assert_eq!(outage.retry_after, Some(Duration::from_secs(7)), "{at}: {}", outage.chain());
            for rest in ["x:1", "x:2", "y:1"] {
                let outage = stage.outage(&peer, rest).await;
                assert_eq!(outage.peer.to_string(), format!("registry `{}`", peer.name));
                let left = outage.retry_after.unwrap();
                assert!(left > Duration::from_secs(1) && left <= Duration::from_secs(7), "{at}: {left:?}");
            }
            assert_eq!(peer.asked().len(), asked, "{at}: it was asked again");
            peer.open();
        }
        // Another registry is not to blame, and another gateway process was not told.
        Pushed::new("x", b"component").on(&other, "1");
        let stage = Stage::bare();
        peer.on("/v2/x/manifests/9", wait(429));
        stage.outage(&peer, "x:9").await;
        stage.resolve(&other, "x:1").await.unwrap();
    }

    #[tokio::test]
    async fn a_registry_that_gave_no_time_is_asked_again_after_a_second() {
        let peer = Peer::start().await;
        let stage = Stage::bare();
        peer.on("/v2/x/manifests/1", Reply::status(503));
        assert_eq!(stage.outage(&peer, "x:1").await.retry_after, None);
        peer.on("/v2/x/manifests/1", Reply::status(429));
        assert_eq!(stage.outage(&peer, "x:1").await.retry_after, Some(PAUSE_DEFAULT));
        peer.on("/v2/x/manifests/2", Reply::status(429).header("retry-after", "0"));
        let fresh = Stage::bare();
        assert_eq!(fresh.outage(&peer, "x:2").await.retry_after, Some(Duration::ZERO));
        assert!(fresh.resolve(&peer, "x:3").await.is_err());
        assert_eq!(peer.times("/v2/x/manifests/3"), 1, "no time is no pause");
    }

    #[tokio::test]
    async fn a_rotated_password_is_used_at_the_next_401() {
        let peer = Peer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let (credential, file) = password(&folder);
        let stage = Stage::with(&peer, credential);
        Pushed::new("x", b"component").on(&peer, "1");
        peer.guard("Basic dTpodW50ZXIz", "Basic realm=x");
        assert!(stage.outage(&peer, "x:1").await.hint.unwrap().contains("password_file"));
        std::fs::write(&file, "hunter3").unwrap();
        stage.resolve(&peer, "x:1").await.unwrap();
    }

    #[tokio::test]
    async fn no_more_than_32_requests_at_once_go_to_one_upstream() {
        let (peer, other) = (Peer::start().await, Peer::start().await);
        let queue = Duration::from_millis(200);
        let one = |peer: &Peer| (peer.name.clone(), UpstreamSettings::default());
        let settings = Settings { upstreams: [one(&peer), one(&other)].into(), ..Settings::default() };
        let stage = Arc::new(Stage::of(&settings, Budgets { queue, ..Budgets::default() }));
        let mute = |number: usize| format!("/v2/x/manifests/{number}");
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..REQUESTS_PER_UPSTREAM {
            peer.on(mute(number), Reply::ok(OCI_MANIFEST, "{}").ending(Ending::Mute));
            let (stage, peer) = (stage.clone(), peer.clone());
            asking.spawn(async move { stage.resolve(&peer, &format!("x:{number}")).await.is_err() });
        }
        peer.asked_times(REQUESTS_PER_UPSTREAM).await;
        let chain = stage.outage(&peer, "x:one-more").await.chain();
        assert!(chain.contains("no free place within 200 ms"), "{chain}");
        assert_eq!(peer.asked().len(), REQUESTS_PER_UPSTREAM);
        Pushed::new("x", b"component").on(&other, "1");
        stage.resolve(&other, "x:1").await.unwrap();
        // Who leaves gives the place back.
        asking.shutdown().await;
        Pushed::new("x", b"component").on(&peer, "1");
        stage.resolve(&peer, "x:1").await.unwrap();
    }

    #[tokio::test]
    async fn a_token_answer_and_an_error_body_have_their_limits() {
        let peer = Peer::start().await;
        let stage = Stage::bare();
        Pushed::new("x", b"component").on(&peer, "1");
        peer.guard("Bearer t", &format!("Bearer realm=\"http://{}/token\"", peer.name));
        let padded = |size: u64| {
            let token = json!({"token": "t"}).to_string();
            format!("{token}{}", " ".repeat(usize::try_from(size).unwrap() - token.len()))
        };
        let path = "/token?scope=repository%3Ax%3Apull";
        peer.on(path, Reply::ok(JSON, padded(TOKEN_ANSWER_BYTES + 1)));
        let chain = stage.outage(&peer, "x:1").await.chain();
        assert!(chain.contains("longer than 65536 bytes"), "{chain}");
        peer.on(path, Reply::ok(JSON, padded(TOKEN_ANSWER_BYTES)));
        stage.resolve(&peer, "x:1").await.unwrap();
        peer.open();
        // What an error has to say is read as far as it is short, and never waited for.
        for size in [ERROR_BODY_BYTES, ERROR_BODY_BYTES + 1, 1 << 20] {
            for ending in [Ending::Whole, Ending::Chunked] {
                let body = vec![b'x'; usize::try_from(size).unwrap()];
                peer.on("/v2/x/manifests/none", Reply::status(404).body(body).ending(ending));
                let unknown = stage.resolve(&peer, "x:none").await.unwrap_err();
                assert!(matches!(unknown, crate::outage::NoAnswer::UnknownReference { .. }), "{size}: {unknown:?}");
            }
        }
        peer.on("/v2/x/manifests/none", Reply::status(404).ending(Ending::Endless));
        assert!(stage.resolve(&peer, "x:none").await.is_err());
    }

    #[tokio::test]
    async fn a_blob_at_the_least_rate_is_taken_and_one_below_it_is_not() {
        let peer = Peer::start().await;
        let stage = Stage::bare();
        let upstream = stage.registry.inner.upstreams.of_registry(&peer.name).unwrap();
        let least = upstream.budgets.least_rate_bytes_per_s;
        let after = |seconds| Duration::from_secs(seconds);
        assert_eq!((least, upstream.budgets.slow_start), (64 << 10, after(10)), "the limits that are documented");
        assert!(upstream.check_rate(0, after(10)).is_ok(), "slow at the start");
        assert!(upstream.check_rate(11 * least, after(11)).is_ok());
        assert!(matches!(upstream.check_rate(11 * least - 1, after(11)), Err(Fault::TooSlow { .. })));
        assert!(upstream.check_rate(u64::MAX, Duration::MAX).is_err(), "no rate overflows into a good one");
    }

    #[tokio::test]
    async fn a17_3_no_url_in_what_is_read_is_ever_asked() {
        let (peer, thief) = (Peer::start().await, Peer::start().await);
        let url = format!("http://{}/fetch-me", thief.name);
        let config = json!({
            "layerDigests": [Digest::of(b"component").to_string()], "$ref": url, "rootfs": {"url": url},
            "component": {"imports": [url], "target": url},
        });
        let config = config.to_string().into_bytes();
        let mut layer = crate::registry::peer::descriptor("application/wasm", b"component");
        layer["annotations"] = json!({"org.opencontainers.image.source": url, "issuer": url, "jwks_uri": url});
        let mut pushed = Pushed::with_config("x", b"component", config);
        let manifest = |layer: &serde_json::Value, pushed: &Pushed| {
            json!({
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": crate::registry::peer::descriptor("application/vnd.wasm.config.v0+json", &pushed.config),
                "layers": [layer],
                "annotations": {"org.opencontainers.image.url": url, "$ref": url},
            })
            .to_string()
            .into_bytes()
        };
        pushed.manifest = manifest(&layer, &pushed);
        let pushed = pushed.on(&peer, "1");
        let stage = Stage::bare();
        let artifact = stage.resolve(&peer, "x:1").await.unwrap();
        assert!(artifact.component().is_some(), "{:?}", artifact.facts().defects);
        stage.registry.candidates(&artifact).await.unwrap();
        layer["urls"] = json!([url]);
        let mut foreign = Pushed::with_config("x", b"component", pushed.config.clone());
        foreign.manifest = manifest(&layer, &pushed);
        foreign.on(&peer, "2");
        let artifact = stage.resolve(&peer, "x:2").await.unwrap();
        assert_eq!(artifact.facts().defects[0].code, crate::reason::Code::MANIFEST_INVALID);
        assert!(thief.asked().is_empty(), "{:?}", thief.asked());
    }

    #[tokio::test]
    async fn a17_2_a_name_that_leads_out_of_reach_is_refused_before_any_connection() {
        let peer = Peer::start().await;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let public = UpstreamSettings::default();
        let settings = Settings { upstreams: [("public.example".to_owned(), public)].into(), ..Settings::default() };
        let upstreams = Upstreams::of(&settings, &Arc::default()).unwrap();
        let upstream = upstreams.of_registry("public.example").unwrap();
        let port = peer.name.rsplit(':').next().unwrap();
        for host in ["localhost", "a.localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433"] {
            let url = Url::parse(&format!("http://{host}:{port}/")).unwrap();
            let fault = upstream.send(Ask::of(Method::GET, &url)).await.unwrap_err();
            assert!(matches!(fault, Fault::Address(_)), "{host}: {fault:?}");
        }
        assert!(peer.asked().is_empty());
    }

    /// A registry over TLS whose certificate is for `localhost`; gives its authority's PEM.
    async fn tls_peer(body: &'static [u8]) -> (u16, String) {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let service = hyper::service::service_fn(move |_| async move {
                    let answer = http::Response::builder().header("content-type", OCI_MANIFEST);
                    Ok::<_, std::convert::Infallible>(
                        answer.body(http_body_util::Full::new(Bytes::from_static(body))).unwrap(),
                    )
                });
                let serving = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        });
        (port, made.cert.pem())
    }

    #[tokio::test]
    async fn https_is_spoken_over_h2_with_the_configured_authority_alone() {
        let (port, pem) = tls_peer(b"{}").await;
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, pem).unwrap();
        let name = format!("localhost:{port}");
        let with = |ca: Option<PathBuf>, host: &str| {
            let url = Some(format!("https://{host}:{port}"));
            let one = UpstreamSettings { url, ca, ..UpstreamSettings::default() };
            Stage::of(&Settings { upstreams: [(name.clone(), one)].into(), ..Settings::default() }, Budgets::default())
        };
        let reference = format!("{name}/x:1").parse().unwrap();
        let resolve =
            async |stage: Stage| Box::pin(stage.registry.resolve(&reference, crate::case::Timestamp::UNIX_EPOCH)).await;
        let artifact = resolve(with(Some(ca.clone()), "localhost")).await.unwrap();
        assert_eq!(artifact.digest(), &Digest::of(b"{}"));
        assert!(resolve(with(None, "localhost")).await.is_err(), "an unknown authority was believed");
        assert!(resolve(with(Some(ca), "127.0.0.1")).await.is_err(), "a certificate for another name was believed");
    }

    #[tokio::test]
    async fn a_refused_connection_names_the_registry_but_no_url() {
        let peer = Peer::nowhere();
        let outage = Stage::bare().outage(&peer, "x:1").await;
        assert!(
            outage.chain().starts_with("registry `127.0.0.1:1` gave no answer while reading"),
            "{}",
            outage.chain()
        );
        assert!(!outage.chain().contains("http://"), "{}", outage.chain());
    }
}
