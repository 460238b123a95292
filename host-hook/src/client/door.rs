//! HTTP to the gateway: two routes, every answer bounded in size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use reqwest::{Client, RequestBuilder, Response};
use rustls::ClientConfig;
use tokio::time::timeout;
use url::Url;

use super::{ClientFault, Timeouts};
use crate::digest::Digest;
use crate::surface;

/// The largest answer to an admission, in bytes: a ticket of 64 KiB and what stands around it.
pub(super) const MAX_ANSWER_BYTES: u64 = 1 << 20;
/// How often a pending admission is asked for again.
const MAX_PENDING_TRIES: u32 = 5;
/// The longest the gateway may make us wait between two tries, in seconds.
const MAX_RETRY_AFTER_S: u64 = 10;

const ADMITTING: &str = "deciding on the admission";
const FETCHING: &str = "handing over the component";

/// The routes a host uses.
#[derive(Debug)]
pub(super) struct Door {
    client: Client,
    url: Url,
    timeouts: Timeouts,
}

/// Reads `https://HOST:PORT`, without path, query or user.
pub(super) fn address(text: &str) -> Result<Url, ClientFault> {
    let wrong = || ClientFault::Address { found: text.to_owned() };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    if url.scheme() == "https" && url.has_host() && plain && nobody { Ok(url) } else { Err(wrong()) }
}

impl Door {
    pub(super) fn new(url: Url, tls: ClientConfig, timeouts: Timeouts) -> Result<Self, ClientFault> {
        let client = client(timeouts).https_only(true).tls_backend_preconfigured(tls).build();
        let client = client.map_err(|source| ClientFault::NoAnswer { doing: ADMITTING, source: source.into() })?;
        Ok(Self { client, url, timeouts })
    }

    /// `POST /v1/admissions`; asks again while the gateway is still collecting evidence.
    pub(super) async fn admit(&self, reference: &str, links: &[String]) -> Result<(StatusCode, Bytes), ClientFault> {
        let question = serde_json::json!({"reference": reference, "host": null, "links": links, "dry_run": false});
        let mut tries = 0;
        loop {
            let request = self.client.post(self.route(&["v1", "admissions"])).json(&question);
            let answer = async {
                let response = send(request, ADMITTING).await?;
                let (status, wait) = (response.status(), retry_after(&response));
                Ok((status, wait, body(response, MAX_ANSWER_BYTES, ADMITTING).await?))
            };
            let (status, wait, body) = within(self.timeouts.answer, ADMITTING, answer).await?;
            match wait {
                Some(wait) if status == StatusCode::TOO_MANY_REQUESTS && tries < MAX_PENDING_TRIES => {
                    tries += 1;
                    tokio::time::sleep(wait).await;
                }
                _ => return Ok((status, body)),
            }
        }
    }

    /// `GET /v1/components/{digest}`, at most `size_bytes` of it.
    pub(super) async fn component(
        &self,
        digest: &Digest,
        size_bytes: u64,
        ticket_id: &str,
    ) -> Result<Bytes, ClientFault> {
        if size_bytes > surface::MAX_BYTES {
            return Err(ClientFault::TooLarge { doing: FETCHING, limit_bytes: surface::MAX_BYTES });
        }
        let route = self.route(&["v1", "components", &digest.to_string()]);
        let request = self.client.get(route).header("Witgate-Ticket", ticket_id);
        let answer = async {
            let response = send(request, FETCHING).await?;
            let status = response.status();
            if status == StatusCode::OK {
                return body(response, size_bytes, FETCHING).await;
            }
            Err(super::answer::problem(status, &body(response, MAX_ANSWER_BYTES, FETCHING).await?, FETCHING))
        };
        within(self.timeouts.component, FETCHING, answer).await
    }

    fn route(&self, segments: &[&str]) -> Url {
        let mut url = self.url.clone();
        url.path_segments_mut().expect("an address with a host has a path").clear().extend(segments);
        url
    }
}

/// What every client of ours has: no proxy, for it would end the TLS; no redirect, for the gateway gives none.
fn client(timeouts: Timeouts) -> reqwest::ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(timeouts.connect)
        .user_agent(concat!("witgate-host/", env!("CARGO_PKG_VERSION")))
}

async fn within<T>(
    limit: Duration,
    doing: &'static str,
    work: impl Future<Output = Result<T, ClientFault>>,
) -> Result<T, ClientFault> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(elapsed) => Err(ClientFault::NoAnswer { doing, source: elapsed.into() }),
    }
}

/// A handshake in the instant of a rotation fails: a failed connect is tried once more, a sent request never.
async fn send(request: RequestBuilder, doing: &'static str) -> Result<Response, ClientFault> {
    let again = request.try_clone();
    let sent = match (request.send().await, again) {
        (Err(error), Some(again)) if error.is_connect() => again.send().await,
        (sent, _) => sent,
    };
    sent.map_err(|error| ClientFault::NoAnswer { doing, source: error.without_url().into() })
}

async fn body(mut response: Response, limit_bytes: u64, doing: &'static str) -> Result<Bytes, ClientFault> {
    let too_large = ClientFault::TooLarge { doing, limit_bytes };
    if response.content_length().is_some_and(|length| length > limit_bytes) {
        return Err(too_large);
    }
    let mut bytes = BytesMut::new();
    let fault = |error: reqwest::Error| ClientFault::NoAnswer { doing, source: error.without_url().into() };
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if (bytes.len() + chunk.len()) as u64 > limit_bytes {
            return Err(too_large);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: u64 = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(MAX_RETRY_AFTER_S)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// A peer that answers each connection with the next text, and tells what it was asked.
    async fn peer(answers: Vec<String>) -> (Door, mpsc::UnboundedReceiver<String>) {
        install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for answer in answers {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !is_whole(&request) {
                    let mut chunk = [0; 4096];
                    let read = socket.read(&mut chunk).await.unwrap();
                    request.extend_from_slice(&chunk[..read]);
                }
                sender.send(String::from_utf8(request).unwrap()).unwrap();
                socket.write_all(answer.as_bytes()).await.unwrap();
                socket.shutdown().await.unwrap();
            }
        });
        let timeouts = Timeouts { answer: Duration::from_secs(5), ..Timeouts::default() };
        (Door { client: client(timeouts).build().unwrap(), url, timeouts }, receiver)
    }

    fn install_provider() {
        super::super::install_tls();
    }

    fn is_whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        body.len() >= length.map_or(0, |length| length.parse().unwrap())
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn asks_in_the_words_of_the_contract() {
        let (door, mut asked) = peer(vec![answer("200 OK", "", "{}")]).await;
        let (status, body) = door.admit("registry.example/a:1", &["x".into()]).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::OK, b"{}".as_slice()));
        let request = asked.recv().await.unwrap();
        assert!(request.starts_with("POST /v1/admissions HTTP/1.1\r\n"), "{request}");
        let body = request.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(body).unwrap(),
            serde_json::json!({"reference": "registry.example/a:1", "host": null, "links": ["x"], "dry_run": false})
        );
    }

    #[tokio::test]
    async fn asks_again_while_the_answer_is_pending() {
        let pending = answer("429 Too Many Requests", "retry-after: 0\r\n", "{}");
        let (door, mut asked) = peer(vec![pending.clone(), answer("403 Forbidden", "", "{}")]).await;
        assert_eq!(door.admit("r", &[]).await.unwrap().0, StatusCode::FORBIDDEN);
        assert!(asked.recv().await.is_some() && asked.recv().await.is_some());

        let (door, _asked) = peer(vec![pending; 6]).await;
        assert_eq!(door.admit("r", &[]).await.unwrap().0, StatusCode::TOO_MANY_REQUESTS);
    }

    #[tokio::test]
    async fn an_answer_ends_at_the_limit() {
        let fits = " ".repeat(usize::try_from(MAX_ANSWER_BYTES).unwrap());
        let over = format!("{fits} ");
        let (door, _asked) = peer(vec![answer("200 OK", "", &fits), answer("200 OK", "", &over)]).await;
        assert_eq!(door.admit("r", &[]).await.unwrap().1.len() as u64, MAX_ANSWER_BYTES);
        assert!(matches!(door.admit("r", &[]).await, Err(ClientFault::TooLarge { .. })));
    }

    #[tokio::test]
    async fn a_component_is_cut_off_at_the_tickets_size_even_without_a_length() {
        let chunked = "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n1\r\ne\r\n0\r\n\r\n";
        let (door, mut asked) = peer(vec![chunked.into(), answer("200 OK", "", "abcd")]).await;
        let digest = Digest::of(b"abcd");
        assert!(matches!(door.component(&digest, 4, "id").await, Err(ClientFault::TooLarge { limit_bytes: 4, .. })));
        assert_eq!(&*door.component(&digest, 4, "id").await.unwrap(), b"abcd");
        let request = asked.recv().await.unwrap();
        assert!(request.starts_with(&format!("GET /v1/components/{digest} HTTP/1.1\r\n")), "{request}");
        assert!(request.to_ascii_lowercase().contains("\r\nwitgate-ticket: id\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_ticket_for_more_than_any_component_asks_nothing() {
        let (door, _asked) = peer(Vec::new()).await;
        let fault = door.component(&Digest::of(b""), surface::MAX_BYTES + 1, "id").await;
        assert!(matches!(fault, Err(ClientFault::TooLarge { .. })));
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let redirect = answer("302 Found", "location: http://127.0.0.1:1/\r\n", "");
        let (door, _asked) = peer(vec![redirect]).await;
        let fault = door.component(&Digest::of(b""), 1, "id").await;
        assert!(matches!(fault, Err(ClientFault::Status { status: 302, .. })), "{fault:?}");
    }

    #[tokio::test]
    async fn a_silent_peer_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        install_provider();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let timeouts = Timeouts { answer: Duration::from_millis(50), ..Timeouts::default() };
        let door = Door { client: client(timeouts).build().unwrap(), url, timeouts };
        assert!(matches!(door.admit("r", &[]).await, Err(ClientFault::NoAnswer { .. })));
    }

    #[test]
    fn only_plain_https_addresses_are_taken() {
        assert!(address("https://127.0.0.1:7443").is_ok());
        for text in
            ["http://127.0.0.1:7443", "127.0.0.1:7443", "https://a/b", "https://u@a", "https://a?x", "", "https://"]
        {
            assert!(address(text).is_err(), "`{text}` was taken");
        }
    }
}
