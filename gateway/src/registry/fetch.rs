//! Bounded requests to one upstream: every answer is limited, timed, unencoded, hashed by us.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION,
    RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256, Sha512};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::case::Digest;

use super::budgets::{ERROR_BODY_BYTES, REDIRECTS, TOKEN_ANSWER_BYTES};
use super::challenge::Challenge;
use super::fault::Fault;
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
            response = self.send(method.clone(), &url, None, None).await?;
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
        let response = self.send(method.clone(), url, accept, held.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.authorizations.drop_held(&self.name, &scope);
        let challenge = Challenge::of(response.headers()).ok_or(Fault::ChallengeMalformed)?;
        self.drain(response).await;
        let (authorization, life) = self.meet(&challenge, &scope).await?;
        let response = self.send(method, url, accept, Some(&authorization)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            let not_after = life.map(|life| Instant::now() + life);
            self.authorizations.hold(&self.name, &scope, authorization, not_after);
        }
        Ok(response)
    }

    /// What to answer to a challenge, with its life; without a credential that fits the 401 stands.
    async fn meet(&self, challenge: &Challenge, scope: &str) -> Result<(HeaderValue, Option<Duration>), Fault> {
        if let Some(token) = self.credential.token().await? {
            return Ok((token, None));
        }
        let basic = self.credential.basic().await?;
        match challenge {
            Challenge::Basic => basic.map(|basic| (basic, None)).ok_or(Fault::Status { status: 401 }),
            Challenge::Bearer { unchecked_realm, service } => {
                let realm = self.realm(unchecked_realm, service.as_deref(), scope)?;
                let (token, life) = self.fetch_token(&realm, basic.as_ref()).await?;
                Ok((token, Some(life)))
            }
        }
    }

    /// The token endpoint's URL, if it is one that may be asked. The scope is ours, not the challenge's.
    fn realm(&self, unchecked_realm: &str, service: Option<&str>, scope: &str) -> Result<Url, Fault> {
        let mut realm = Url::parse(unchecked_realm).map_err(|_| Fault::ChallengeMalformed)?;
        if !self.trusts_realm(&realm) {
            return Err(Fault::RealmRefused { host: host_text(&realm) });
        }
        realm.set_fragment(None);
        if let Some(service) = service {
            realm.query_pairs_mut().append_pair("service", service);
        }
        realm.query_pairs_mut().append_pair("scope", scope);
        Ok(realm)
    }

    async fn fetch_token(&self, realm: &Url, basic: Option<&HeaderValue>) -> Result<(HeaderValue, Duration), Fault> {
        let whole = async {
            let mut response = self.send(Method::GET, realm, Some("application/json"), basic).await?;
            match response.status() {
                StatusCode::OK => {}
                StatusCode::TOO_MANY_REQUESTS => return Err(rate_limited(response.headers())),
                other => return Err(Fault::TokenStatus { status: other.as_u16() }),
            }
            let (body, _) = self.body(&mut response, TOKEN_ANSWER_BYTES, Pace::Whole).await?;
            token::read_answer(&body)
        };
        let after = self.budgets.metadata;
        timeout(after, whole).await.map_err(|_| Fault::TimedOut { after })?
    }

    /// One request, no redirects, no retries; the address in the URL is checked here, that behind a name by the resolver.
    async fn send(
        &self,
        method: Method,
        url: &Url,
        accept: Option<&str>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Fault> {
        self.reach.check_literal(url)?;
        let mut request = self.client.request(method, url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let after = self.budgets.idle;
        let sent = timeout(after, request.send()).await.map_err(|_| Fault::Silent { after })?;
        let response = sent.map_err(Fault::transport)?;
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
            StatusCode::TOO_MANY_REQUESTS => Err(rate_limited(response.headers())),
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

fn rate_limited(headers: &HeaderMap) -> Fault {
    let seconds = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u32>().ok().map(u64::from);
    Fault::RateLimited { retry_after_s: headers.get(RETRY_AFTER).and_then(seconds) }
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

/// A peer's announcement alone makes us allocate no more than this, in bytes.
const FIRST_ALLOCATION_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use serde_json::json;

    use crate::registry::budgets::{Budgets, MANIFEST_BYTES};
    use crate::registry::document::OCI_MANIFEST;
    use crate::registry::peer::{Ending, Peer, Pushed, Reply, Stage};
    use crate::registry::settings::Upstreams;
    use crate::registry::{Settings, UpstreamSettings};

    use super::*;

    fn quick() -> Budgets {
        let short = Duration::from_millis(150);
        Budgets { idle: short, metadata: short * 2, slow_start: short, ..Budgets::default() }
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
            assert_eq!(stage.registry.component(&Digest::of(b"component")).await.unwrap(), None, "{what} was kept");
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
            Reply::status(429),
            Reply::status(307).header("location", "/v2/"),
        ] {
            peer.on("/token?scope=repository%3Ax%3Apull", answer);
            let outage = stage.outage(&peer, "x:1").await;
            assert!(!outage.chain().contains("wrong"), "{}", outage.chain());
        }
        for challenge in ["Negotiate", "Bearer service=x", "Basic realm=x"] {
            peer.guard("Bearer t", challenge);
            stage.outage(&peer, "x:1").await;
        }
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
            let fault = upstream.send(Method::GET, &url, None, None).await.unwrap_err();
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
