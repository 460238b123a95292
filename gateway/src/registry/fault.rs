//! What can go wrong between us and a registry.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::case::Digest;
use crate::outage::{NoAnswer, Outage, Peer};

use super::budgets::REQUESTS_PER_UPSTREAM;
use super::docker_config::DockerConfigFault;
use super::helper::HelperFault;
use crate::egress::AddressRefused;

/// Why one request to a registry brought nothing that can be used.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The registry says that it does not have it.
    #[error("the registry answered 404")]
    NotFound,
    /// Any other status than the one expected.
    #[error("the registry answered {status}")]
    Status {
        /// The HTTP status.
        status: u16,
    },
    /// The registry asks us to wait: it answered 429, or 503 with `Retry-After`, now or a while ago.
    #[error("the registry says to wait {} s", seconds(*wait))]
    RateLimited {
        /// How much longer.
        wait: Duration,
    },
    /// No answer, or no further piece of it, in time.
    #[error("nothing came for {} ms", after.as_millis())]
    Silent {
        /// How long we waited.
        after: Duration,
    },
    /// The request as a whole took too long.
    #[error("no whole answer within {} ms", after.as_millis())]
    TimedOut {
        /// How long we waited.
        after: Duration,
    },
    /// A blob trickles.
    #[error("the answer comes at less than {least_bytes_per_s} bytes a second")]
    TooSlow {
        /// The least mean rate.
        least_bytes_per_s: u64,
    },
    /// Too much is under way already.
    #[error("no free place among {REQUESTS_PER_UPSTREAM} requests within {} ms", after.as_millis())]
    Busy {
        /// How long we waited.
        after: Duration,
    },
    /// Too many bytes are under way already.
    #[error("no room within {} ms for what is fetched and not decided about yet", after.as_millis())]
    NoRoom {
        /// How long we waited.
        after: Duration,
    },
    /// The connection failed, or the answer is no HTTP.
    #[error("the connection failed")]
    Transport(#[source] Arc<reqwest::Error>),
    /// The URL leads where this upstream may not reach.
    #[error(transparent)]
    Address(#[from] AddressRefused),
    /// Nothing is ever decompressed.
    #[error("the answer is encoded; expected `identity`")]
    Encoded,
    /// More bytes than the limit.
    #[error("the answer is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// Other bytes than the digest names.
    #[error("expected `{expected}`, the bytes are `{found}`")]
    DigestMismatch {
        /// The digest that was asked for.
        expected: Digest,
        /// What the bytes hash to.
        found: Digest,
    },
    /// `Docker-Content-Digest` names other bytes than those that came.
    #[error("`Docker-Content-Digest` does not name the bytes, which are `{found}`")]
    HeaderDigest {
        /// What the bytes hash to.
        found: Digest,
    },
    /// Another length than the descriptor announced.
    #[error("expected {expected_bytes} bytes of `{digest}`, {found}")]
    SizeMismatch {
        /// The digest that was asked for.
        digest: Digest,
        /// The descriptor's size.
        expected_bytes: u64,
        /// What came, such as `12 came` or `more came`.
        found: String,
    },
    /// Only blobs may be redirected.
    #[error("the registry redirects to `{host}`; only blobs may be redirected")]
    Redirected {
        /// Where to.
        host: String,
    },
    /// A redirect to a host that is not in `redirect_hosts`, or not in a permitted form.
    #[error("the registry redirects a blob to `{host}`, which is not in `redirect_hosts` or not https")]
    RedirectRefused {
        /// Where to.
        host: String,
    },
    /// A chain of redirects.
    #[error("more than {limit} redirects")]
    TooManyRedirects {
        /// The limit.
        limit: usize,
    },
    /// The registry answered 401 in a way that we cannot meet.
    #[error("the registry asks for credentials in a form that is not understood")]
    ChallengeMalformed,
    /// The token endpoint is not one that may see credentials.
    #[error("the registry names the token endpoint `{host}`, which is not in `auth_hosts` or not https")]
    RealmRefused {
        /// Its host.
        host: String,
    },
    /// The token endpoint failed.
    #[error("the token endpoint answered {status}")]
    TokenStatus {
        /// The HTTP status.
        status: u16,
    },
    /// The token endpoint answered nonsense.
    #[error("the token endpoint's answer is unusable: {detail}")]
    TokenMalformed {
        /// What is wrong with it; never the token.
        detail: &'static str,
    },
    /// The file that holds our credential cannot be read.
    #[error("the credential file cannot be used")]
    CredentialFile(#[source] Arc<std::io::Error>),
    /// Docker's configuration gives no credential.
    #[error("docker's configuration cannot be used")]
    DockerConfig(#[source] DockerConfigFault),
    /// A credential helper gives none.
    #[error("credential helper `{name}` {fault}")]
    Helper {
        /// The helper.
        name: String,
        /// What happened.
        fault: HelperFault,
    },
    /// The registry wants a name and password where we have a refresh token.
    #[error("the registry asks for a name and a password, the credential is an identity token")]
    IdentityNotAsked,
    /// A page's `Link` leads somewhere else.
    #[error("the link to the next page leads away from the repository's referrers")]
    LinkRefused,
    /// Two headers where there is one, so that two readers may take two things for it.
    #[error("the answer has more than one `Content-Type`")]
    ContentTypeTwice,
    /// More referrers than can be told of.
    #[error("the list of referrers is unusable: {detail}")]
    ReferrersMalformed {
        /// What is wrong with it.
        detail: String,
    },
    /// No list of tags, or one that cannot be followed.
    #[error("the list of tags is unusable: {detail}")]
    TagsMalformed {
        /// What is wrong with it.
        detail: String,
    },
    /// An answer of another type than the request can have.
    #[error("the answer is `{found}`, expected `{expected}`")]
    ContentType {
        /// What was expected.
        expected: &'static str,
        /// What came, cut.
        found: String,
    },
}

impl Fault {
    /// A transport fault without the URL: redirected URLs carry signatures.
    pub fn transport(error: reqwest::Error) -> Self {
        let mut source: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(fault) = source {
            if let Some(refused) = fault.downcast_ref::<AddressRefused>() {
                return Self::Address(refused.clone());
            }
            source = fault.source();
        }
        Self::Transport(Arc::new(error.without_url()))
    }

    /// What to do about it, for a person.
    fn hint(&self, upstream: &str) -> Option<String> {
        let table = format!("[registry.upstreams.\"{upstream}\"]");
        match self {
            Self::Status { status: status @ (401 | 403) } | Self::TokenStatus { status: status @ (401 | 403) } => {
                Some(format!(
                    "the registry answered {status}: check `username` with `password_file`, `token_file` or `docker_config` in `{table}`"
                ))
            }
            Self::Busy { .. } => Some("ask again when the registry has answered those".into()),
            Self::NoRoom { .. } => Some("ask again, or raise `registry.cold_max_bytes`".into()),
            Self::RateLimited { wait } => Some(format!("ask again in {} s", seconds(*wait).max(1))),
            Self::DockerConfig(_) | Self::Helper { .. } => {
                Some(format!("look at what `docker_config` of `{table}` names: `docker login` writes it"))
            }
            Self::Address(_) => Some(format!("set `private = true` in `{table}` if it is a registry of your network")),
            Self::RedirectRefused { host } => {
                Some(format!("if it is the registry's store, add `{host}` to `redirect_hosts` in `{table}`"))
            }
            Self::RealmRefused { host } => {
                Some(format!("if it is the registry's own, add `{host}` to `auth_hosts` in `{table}`"))
            }
            _ => None,
        }
    }
}

/// Whole seconds, so that whoever waits them has waited long enough.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Why a request of ours to this stage has no answer; cheap to clone, because many may wait for one flight.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// The registry does not know it.
    Unknown,
    /// The registry failed or lied.
    Registry {
        /// The upstream's name.
        upstream: String,
        /// What we were doing.
        doing: String,
        /// What happened.
        fault: Fault,
    },
    /// The store that replicas share failed.
    Store {
        /// Its URL in the configuration.
        name: String,
        /// What we were doing.
        doing: String,
        /// What happened.
        source: Arc<std::io::Error>,
    },
    /// Our own disk failed.
    Disk {
        /// What we were doing.
        doing: String,
        /// What happened.
        source: Arc<std::io::Error>,
    },
}

impl Trouble {
    /// A disk fault.
    pub fn disk(doing: impl Into<String>, source: std::io::Error) -> Self {
        Self::Disk { doing: doing.into(), source: Arc::new(source) }
    }

    /// The answer for somebody who asked for `reference`.
    pub fn into_no_answer(self, reference: &str) -> NoAnswer {
        match self {
            Self::Unknown => NoAnswer::UnknownReference { reference: reference.to_owned() },
            other => NoAnswer::Outage(other.into_outage()),
        }
    }

    /// The outage it is where nothing can be unknown.
    pub fn into_outage(self) -> Outage {
        match self {
            Self::Unknown => Outage::new(Peer::Internal, "reading what was just there"),
            Self::Registry { upstream, doing, fault } => {
                let hint = fault.hint(&upstream);
                let mut outage = Outage::new(Peer::Registry(upstream), doing);
                if let Fault::RateLimited { wait } = fault {
                    outage = outage.again_after(wait);
                }
                let outage = outage.because(fault);
                match hint {
                    Some(hint) => outage.with_hint(hint),
                    None => outage,
                }
            }
            Self::Store { name, doing, source } => Outage::new(Peer::Store(name), doing)
                .because(source)
                .with_hint("look at `[registry.store]` and whether the store answers; without that table witgate keeps what it fetches for itself"),
            Self::Disk { doing, source } => Outage::new(Peer::Internal, doing).because(source),
        }
    }
}
