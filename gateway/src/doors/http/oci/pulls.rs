//! Who may have which digest: a live grant says so, or a decision that is made now.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::admissions::count_reasons;
use super::super::{Door, going_on};
use super::error::ErrorAnswer;
use crate::admission::{Admission, Asked, Handed};
use crate::case::{Digest, Reference, Repository};
use crate::gate::{Found, Held, Live, PartKind, Pull};
use crate::identity::Caller;
use crate::outage::{NoAnswer, Outage};
use crate::reason::Code;

/// One request for something of a repository.
pub(super) struct Pulling<'a> {
    door: &'a Door,
    caller: &'a Caller,
    repository: &'a Repository,
    until: Instant,
}

/// A grant that was just made or taken up, with the decision it stands on.
pub(super) struct Admitted {
    pub pull: Arc<Pull>,
    pub recorded: Held,
}

/// What a grant has to cover.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Digest(&'a Digest, PartKind),
    Anything,
}

/// Why there is none.
enum NotAdmitted {
    /// Policy says no.
    Refused(Held),
    /// Policy says no, to somebody who may not even know whether it is there; who was not hidden from it before anybody was
    /// asked, for a policy of one's own may say so of what it has seen.
    Hidden,
    /// Nothing was decided.
    NoAnswer(Arc<NoAnswer>),
}

impl<'a> Pulling<'a> {
    pub fn new(door: &'a Door, caller: &'a Caller, repository: &'a Repository) -> Self {
        Self { door, caller, repository, until: Instant::now() + door.deadline }
    }

    /// A whole decision about `reference`, or the one that is held.
    pub async fn admitted(&self, reference: &Reference) -> Result<Admitted, ErrorAnswer> {
        let unknown = || ErrorAnswer::manifest_unknown(reference);
        self.admit(reference.clone()).await.map_err(|not_admitted| not_admitted.told(unknown))
    }

    /// The proof that the caller may have a manifest: under a live grant, or because it is admitted, or what leads to it is.
    pub async fn may_have_manifest(&self, digest: &Digest) -> Result<Live, ErrorAnswer> {
        let roots = match self.found(digest, PartKind::Manifest) {
            Found::Live(live) => return Ok(live),
            Found::Lapsed(roots) => roots,
            Found::Unknown => Vec::new(),
        };
        let itself = (!roots.contains(digest)).then_some(*digest);
        let found = Found::Lapsed(roots.into_iter().chain(itself).collect());
        let live = self.still(found, Wanted::Digest(digest, PartKind::Manifest)).await?;
        live.ok_or_else(|| ErrorAnswer::manifest_unknown(&self.repository.at_digest(*digest)))
    }

    /// The proof that the caller may have a digest which an artifact names that it was admitted to; none if there is no such.
    pub async fn was_granted(&self, digest: &Digest, kind: PartKind) -> Result<Option<Live>, ErrorAnswer> {
        self.still(self.found(digest, kind), Wanted::Digest(digest, kind)).await
    }

    /// The proof that the caller is admitted to something in this repository.
    pub async fn was_granted_any(&self) -> Result<Option<Live>, ErrorAnswer> {
        let Door { gate, clock, .. } = self.door;
        self.still(gate.pull_found_any(self.caller, self.repository, clock()), Wanted::Anything).await
    }

    /// What lapsed is admitted anew, newest first.
    async fn still(&self, found: Found, wanted: Wanted<'_>) -> Result<Option<Live>, ErrorAnswer> {
        let roots = match found {
            Found::Live(live) => return Ok(Some(live)),
            Found::Lapsed(roots) => roots,
            Found::Unknown => return Ok(None),
        };
        let mut refused = None;
        for root in roots {
            match self.admit(self.repository.at_digest(root)).await {
                Ok(Admitted { pull, .. }) => {
                    let (digest, kind) = match wanted {
                        Wanted::Digest(digest, kind) => (digest, kind),
                        Wanted::Anything => (pull.root(), PartKind::Manifest),
                    };
                    if let Some(live) = self.door.gate.pull_live(&pull, digest, kind, (self.door.clock)()) {
                        return Ok(Some(live));
                    }
                }
                Err(NotAdmitted::NoAnswer(no_answer)) => {
                    if !matches!(*no_answer, NoAnswer::UnknownReference { .. }) {
                        return Err(ErrorAnswer::no_answer(&no_answer, ErrorAnswer::no_such_manifest));
                    }
                }
                // Another artifact that names it may still be admitted; the newest is told of.
                Err(NotAdmitted::Refused(recorded)) => refused = refused.or(Some(recorded)),
                Err(NotAdmitted::Hidden) => {}
            }
        }
        match refused {
            Some(recorded) => Err(ErrorAnswer::denied(&recorded)),
            None => Ok(None),
        }
    }

    /// Asked last before `bytes` bytes are sent.
    pub fn hand_out(&self, live: &Live, bytes: usize) -> Result<(), ErrorAnswer> {
        let handed = self.door.gate.pull_hand_out(live, bytes as u64, (self.door.clock)());
        handed.map_err(|outage| ErrorAnswer::outage(&outage))?;
        metrics::counter!("witgate_pull_bytes_total").increment(bytes as u64);
        Ok(())
    }

    /// Reads something that may be sent; what was begun is finished when the caller leaves.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl Future<Output = Result<Option<T>, Outage>> + Send + 'static,
        unknown: impl Fn() -> ErrorAnswer,
    ) -> Result<T, ErrorAnswer> {
        let read = going_on("reading what may be fetched", self.until, read).await;
        match read.map(|read| read.map_err(NoAnswer::from)) {
            Ok(Ok(Some(read))) => Ok(read),
            Ok(Ok(None)) => Err(unknown()),
            Ok(Err(no_answer)) | Err(no_answer) => Err(ErrorAnswer::no_answer(&no_answer, unknown)),
        }
    }

    fn found(&self, digest: &Digest, kind: PartKind) -> Found {
        self.door.gate.pull_found(self.caller, self.repository, digest, kind, (self.door.clock)())
    }

    async fn admit(&self, reference: Reference) -> Result<Admitted, NotAdmitted> {
        let Door { gate, clock, flights, .. } = self.door;
        let answer = flights.ask(gate, self.caller.clone(), Asked::to_pull(reference), clock(), self.until).await;
        match answer.map_err(NotAdmitted::NoAnswer)?.as_ref() {
            Admission::Granted { handed: Handed::Pull(pull), recorded } => {
                Ok(Admitted { pull: Arc::clone(pull), recorded: recorded.clone() })
            }
            // Never made for a pull; if it were, nobody would get anything by it.
            Admission::Granted { recorded, .. } => Err(NotAdmitted::Refused(recorded.clone())),
            Admission::Refused { recorded } => {
                count_reasons(recorded);
                let mut reasons = recorded.decision.facts().reasons.iter();
                let not_spoken_for = reasons.any(|reason| reason.code == Code::CALLER_NOT_GRANTED);
                if not_spoken_for && gate.registry.lends_access(self.repository.registry()) {
                    tracing::info!(
                        decision.id = %recorded.decision.facts().id,
                        "a pull of `{}` was refused and answered as unknown: no grant rule speaks for its caller",
                        recorded.about.reference.text
                    );
                    return Err(NotAdmitted::Hidden);
                }
                Err(NotAdmitted::Refused(recorded.clone()))
            }
        }
    }
}

impl NotAdmitted {
    fn told(self, unknown: impl FnOnce() -> ErrorAnswer) -> ErrorAnswer {
        match self {
            Self::Refused(recorded) => ErrorAnswer::denied(&recorded),
            Self::Hidden => unknown(),
            Self::NoAnswer(no_answer) => ErrorAnswer::no_answer(&no_answer, unknown),
        }
    }
}
