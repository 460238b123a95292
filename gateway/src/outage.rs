//! Why there is no answer: which peer failed, doing what; nobody is admitted.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A peer that witgate needs for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An OCI registry, by its configured name.
    Registry(String),
    /// The object store that replicas share, by its configured URL.
    Store(String),
    /// The SPIFFE Workload API or the files that stand for it.
    Identity,
    /// The trusted root that evidence is checked against.
    TrustRoot,
    /// The revocation list.
    Revocations,
    /// The policy engine.
    Policy,
    /// The audit log's store.
    Audit,
    /// The gateway itself: a bug or an exhausted resource.
    Internal,
}

impl Peer {
    /// The peer's kind as one stable word: `registry`, `store`, `identity`, `trust-root`, `revocations`, `policy`, `audit`,
    /// `internal`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Registry(_) => "registry",
            Self::Store(_) => "store",
            Self::Identity => "identity",
            Self::TrustRoot => "trust-root",
            Self::Revocations => "revocations",
            Self::Policy => "policy",
            Self::Audit => "audit",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(name) => write!(f, "registry `{name}`"),
            Self::Store(name) => write!(f, "store `{name}`"),
            Self::TrustRoot => f.write_str("trust root"),
            Self::Revocations => f.write_str("revocation list"),
            Self::Audit => f.write_str("audit log"),
            other => f.write_str(other.kind()),
        }
    }
}

/// A peer failed: nobody is admitted, HTTP says 503 (429 where the peer said to wait), the command line exits 3.
///
/// `Display` says what was being done, never the source's text; print the chain once, at the edge.
#[derive(Debug)]
pub struct Outage {
    /// Who failed.
    pub peer: Peer,
    /// What witgate was doing, as a phrase without full stop: ``reading the manifest of `acme/cart:1.4` ``.
    pub doing: String,
    /// What was expected and what to do, if there is something to say.
    pub hint: Option<String>,
    /// How long the peer said to wait, where it said so: HTTP says 429 then.
    pub retry_after: Option<Duration>,
    /// The fault underneath.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Outage {
    /// An outage of `peer` while `doing` something.
    pub fn new(peer: Peer, doing: impl Into<String>) -> Self {
        Self { peer, doing: doing.into(), hint: None, retry_after: None, source: None }
    }

    /// The same outage with the fault underneath.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same outage of a peer that said to wait.
    #[must_use]
    pub fn again_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same outage with the next thing to do.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The whole chain in one line, for the edge: `doing: source: source`.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// A fault with everything underneath, in one line: `fault: source: source`.
pub fn chain(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(below) = source {
        text.push_str(": ");
        text.push_str(&below.to_string());
        source = below.source();
    }
    text
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} gave no answer while {}", self.peer, self.doing)
    }
}

impl Error for Outage {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// Why an admission ended without a decision.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The registry is up and does not know the reference: 404, exit 3.
    #[error("unknown reference `{reference}`")]
    UnknownReference {
        /// The reference as it was asked for.
        reference: String,
    },
    /// The request cannot be understood: 422, exit 2.
    #[error("{detail}")]
    Unprocessable {
        /// What was expected and what was found.
        detail: String,
    },
    /// Work goes on in the background: 429 with `Retry-After`.
    #[error("the evidence is still being collected")]
    Pending {
        /// When to ask again.
        retry_after: Duration,
    },
    /// A peer failed: 503, or 429 where it said to wait; exit 3.
    #[error(transparent)]
    Outage(#[from] Outage),
}
