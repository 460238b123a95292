//! An OCI registry in memory on a real socket, speaking distribution-spec 1.1.
//!
//! It keeps what it is given: a manifest may be any bytes under any media type, because tests push hostile ones. It checks
//! what a client states about digests, so that an honest push stays honest. Lies are told by [`Rule`]s, one at a time.

mod access;
mod content_digest;
pub mod cosign_tags;
mod fault;
mod misbehave;
mod pull;
pub mod push;
mod refusal;
mod route;
mod serve;
mod store;
mod upload;
mod wire;

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use access::Auth;
pub use content_digest::{ContentDigest, ContentDigestError};
pub use fault::{Fault, Match, Rule, Target};

use access::Access;
use fault::{Moment, Rules};
use route::Route;
use store::Store;

/// A running registry; dropping it stops the server.
pub struct DevRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

/// How a registry is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who may come in.
    pub auth: Auth,
    /// How referrers are told.
    pub referrers: Referrers,
    /// What it takes at most.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            auth: Auth::Open,
            referrers: Referrers::Api { page_size: DEFAULT_REFERRERS_PAGE },
            limits: Limits::default(),
        }
    }
}

/// How referrers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referrers {
    /// The referrers API of distribution-spec 1.1, with `Link` pages of `page_size` entries (at least one).
    Api {
        /// Entries a page.
        page_size: usize,
    },
    /// No API (404, no `OCI-Subject`), like docker-registry 2.8: clients keep the fallback tag themselves.
    TagOnly,
}

/// What a registry takes at most, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// One manifest; past it 413.
    pub manifest_bytes: usize,
    /// One blob; past it 413.
    pub blob_bytes: usize,
    /// All manifests, blobs, and unfinished uploads together; past it 507.
    pub total_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { manifest_bytes: 4 << 20, blob_bytes: 256 << 20, total_bytes: 2 << 30 }
    }
}

/// One request as it arrived, for assertions.
#[derive(Clone)]
pub struct SeenRequest {
    /// The method: `GET`.
    pub method: String,
    /// The raw path: `/v2/acme/cart/manifests/1.4`.
    pub path: String,
    /// The raw query behind `?`, if there is one.
    pub query: Option<String>,
    /// The `Authorization` header, if there is one.
    pub authorization: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
}

impl fmt::Debug for SeenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let scheme = self.authorization.as_deref().and_then(|value| value.split(' ').next());
        write!(f, "{} {}{query} ({})", self.method, self.path, scheme.unwrap_or("anonymous"))
    }
}

impl DevRegistry {
    /// Binds the socket, then serves in the background of the current runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: Options) -> std::io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let shared = Arc::new(Shared {
            access: Access::new(options.auth, address.to_string()),
            referrers: options.referrers,
            limits: options.limits,
            bodies: Semaphore::new(MAX_BODIES_AT_ONCE),
            store: Mutex::new(Store::new(options.limits.total_bytes)),
            seen: Mutex::default(),
            struck: Mutex::default(),
            rules: Mutex::default(),
        });
        tasks.spawn(serve::accept(listener, shared.clone(), tasks.clone(), stop.clone()));
        let _stop_when_dropped = stop.clone().drop_guard();
        Ok(Self { address, shared, tasks, stop, _stop_when_dropped })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name in references: `127.0.0.1:41234`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The latest requests in order of arrival, at most [`MAX_SEEN_REQUESTS`].
    pub fn requests(&self) -> Vec<SeenRequest> {
        lock(&self.shared.seen).iter().cloned().collect()
    }

    /// The paths of the requests that were lied to, at most [`MAX_SEEN_REQUESTS`]. Requests that come at once are counted by a
    /// rule in another order than [`Self::requests`] has them.
    pub fn struck(&self) -> Vec<String> {
        lock(&self.shared.struck).clone()
    }

    /// Lies from now on to the requests that the rule is meant for; of several rules the first that strikes is followed.
    pub fn inject(&self, rule: Rule) {
        lock(&self.shared.rules).inject(rule);
    }

    /// Forgets every rule; connections that already hang go on hanging until the client leaves.
    pub fn heal(&self) {
        lock(&self.shared.rules).heal();
    }

    /// Makes every bearer token handed out so far worthless, as if its time were over.
    pub fn expire_tokens(&self) {
        self.shared.access.expire_tokens();
    }

    /// Stops the server, then waits until every connection is closed.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl fmt::Debug for DevRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevRegistry").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What all connections of one registry share; no lock is held across an await.
struct Shared {
    access: Access,
    referrers: Referrers,
    limits: Limits,
    /// Request bodies that are being read: they are in memory before the store counts them.
    bodies: Semaphore,
    store: Mutex<Store>,
    seen: Mutex<VecDeque<SeenRequest>>,
    struck: Mutex<Vec<String>>,
    rules: Mutex<Rules>,
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    fn strike(&self, moment: Moment, request: &http::request::Parts, route: Option<&Route>) -> Option<Fault> {
        let fault = lock(&self.rules).strike(moment, &request.method, route, &self.store())?;
        let mut struck = lock(&self.struck);
        if struck.len() < MAX_SEEN_REQUESTS {
            struck.push(request.uri.path().to_owned());
        }
        Some(fault)
    }

    fn note(&self, request: &http::request::Parts) {
        let seen = SeenRequest {
            method: request.method.to_string(),
            path: request.uri.path().to_owned(),
            query: request.uri.query().map(str::to_owned),
            authorization: access::authorization(&request.headers).map(str::to_owned),
            headers: request.headers.clone(),
        };
        let mut list = lock(&self.seen);
        if list.len() == MAX_SEEN_REQUESTS {
            list.pop_front();
        }
        list.push_back(seen);
    }
}

/// Every critical section leaves its value whole, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Requests that are remembered: the oldest is forgotten first.
pub const MAX_SEEN_REQUESTS: usize = 10_000;
/// Referrers on one page unless the options say otherwise.
const DEFAULT_REFERRERS_PAGE: usize = 100;
/// Request bodies in memory at once, each at most [`Limits::blob_bytes`].
const MAX_BODIES_AT_ONCE: usize = 8;

#[cfg(test)]
mod tests;
