//! The path of one request, top to bottom: the only place that calls the stages in order.

use std::sync::Arc;

use serde::Deserialize;
use tracing::Instrument as _;

use crate::case::{self, BreakGlass, Case, DecisionFacts, Digest, Purpose, Reference, ReferenceFacts, Timestamp};
use crate::gate::{Gate, Held};
use crate::handover::{Pull, Ticket};
use crate::identity::Caller;
use crate::outage::NoAnswer;
use crate::policy::Verdict;
use crate::surface;

/// What a proven caller asks.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks, proven by `identity`.
    pub caller: Caller,
    /// What for.
    pub asked: Asked,
}

/// The question itself, as a door received it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "Question")]
pub struct Asked {
    /// The component's reference.
    pub reference: Reference,
    /// Who is to run it; the caller itself where absent.
    pub host: Option<String>,
    /// Links to other components.
    pub links: Vec<String>,
    /// What an admission is for.
    pub purpose: Purpose,
    /// To be let past what policy's `break_glass` may lift, and why.
    pub break_glass: Option<BreakGlass>,
}

/// The body of `POST /v1/admissions`, which cannot ask for a pull: those come through the registry door.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    reference: Reference,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    links: Vec<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    break_glass: Option<BreakGlass>,
}

impl From<Question> for Asked {
    fn from(Question { reference, host, links, dry_run, break_glass }: Question) -> Self {
        let purpose = if dry_run { Purpose::DryRun } else { Purpose::Admission };
        Self { reference, host, links, purpose, break_glass }
    }
}

impl Asked {
    /// The longest host id, in bytes (SPIFFE-ID, section 2.3: 2048).
    pub const MAX_HOST_BYTES: usize = 2048;
    /// The most links that may be asked for at once.
    pub const MAX_LINKS: usize = 64;
    /// The longest link, in bytes.
    pub const MAX_LINK_BYTES: usize = 512;
    /// The longest justification of break-glass, in bytes.
    pub const MAX_JUSTIFICATION_BYTES: usize = 1024;

    /// A question for `reference` alone.
    pub fn of(reference: Reference) -> Self {
        Self { reference, host: None, links: Vec::new(), purpose: Purpose::Admission, break_glass: None }
    }

    /// May the caller fetch `reference` through the registry door?
    pub fn to_pull(reference: Reference) -> Self {
        Self { purpose: Purpose::Pull, ..Self::of(reference) }
    }

    /// Holds the limits above.
    ///
    /// # Errors
    /// [`NoAnswer::Unprocessable`] names the limit.
    fn bounded(mut self) -> Result<Self, NoAnswer> {
        let unprocessable = |detail: String| Err(NoAnswer::Unprocessable { detail });
        if self.host.as_ref().is_some_and(|host| host.len() > Self::MAX_HOST_BYTES) {
            return unprocessable(format!("`host` is longer than {} bytes", Self::MAX_HOST_BYTES));
        }
        if self.links.len() > Self::MAX_LINKS {
            return unprocessable(format!("`links` has more than {} entries", Self::MAX_LINKS));
        }
        if self.links.iter().any(|link| link.len() > Self::MAX_LINK_BYTES) {
            return unprocessable(format!("a link is longer than {} bytes", Self::MAX_LINK_BYTES));
        }
        if let Some(BreakGlass { justification }) = &self.break_glass
            && (justification.trim().is_empty() || justification.len() > Self::MAX_JUSTIFICATION_BYTES)
        {
            let most = Self::MAX_JUSTIFICATION_BYTES;
            return unprocessable(format!("`break_glass.justification` has to say why, in 1 to {most} bytes"));
        }
        self.links.sort();
        self.links.dedup();
        Ok(self)
    }
}

/// What was answered. Both forms stand in the log before they exist.
#[derive(Debug)]
pub enum Admission {
    /// The caller may have the component.
    Granted {
        /// What was decided and where it stands in the log.
        recorded: Held,
        /// What it gets.
        handed: Handed,
    },
    /// It may not.
    Refused {
        /// What was decided and where it stands in the log.
        recorded: Held,
    },
}

/// What an admitted caller gets, by the purpose of what it asked.
#[derive(Clone, Debug)]
pub enum Handed {
    /// A dry run's answer.
    Nothing,
    /// The ticket of an admission.
    Ticket(Ticket),
    /// The grant of a pull.
    Pull(Arc<Pull>),
}

impl Admission {
    /// The ticket, if there is one.
    pub fn ticket(&self) -> Option<&Ticket> {
        match self {
            Self::Granted { handed: Handed::Ticket(ticket), .. } => Some(ticket),
            _ => None,
        }
    }

    /// What was decided and where it stands in the log.
    pub fn recorded(&self) -> &Held {
        match self {
            Self::Granted { recorded, .. } | Self::Refused { recorded } => recorded,
        }
    }

    /// The decision as recorded.
    pub fn decision(&self) -> &DecisionFacts {
        self.recorded().decision.facts()
    }
}

/// Answers one request: may this caller run this component with these capabilities?
///
/// # Errors
/// [`NoAnswer`]: nobody is admitted, nothing is handed over.
pub async fn admit(gate: &Gate, request: Request, now: Timestamp) -> Result<Admission, NoAnswer> {
    let Request { caller, asked } = request;
    let asked = asked.bounded()?;
    if let Some(recorded) = gate.held(&caller, &asked, now) {
        return gate.hand_over(recorded, now).await;
    }
    if is_hidden(gate, &caller, &asked, now) {
        return Err(NoAnswer::UnknownReference { reference: asked.reference.to_string() });
    }

    // What caller and reference alone decide is decided before anybody else is asked. Of a registry that nobody would ask
    // anyway there is nothing to decide.
    let nothing = unseen(gate, &caller, &asked, now);
    if gate.registry.has_upstream(asked.reference.registry())
        && let Some(refused) = stage("policy").in_scope(|| gate.policy.current().decide_unseen(&nothing))?
    {
        let receipt = gate.audit.append(&nothing, &refused).instrument(stage("audit")).await?;
        if let Some(asked) = &nothing.break_glass {
            gate.log_break_glass(&nothing, asked, refused.facts(), now).await?;
        }
        return Ok(Admission::Refused { recorded: Held::new(&nothing, refused, receipt) });
    }

    let artifact = gate.registry.resolve_and_search(&asked.reference, now).instrument(stage("registry")).await?;
    let who = [caller.facts().id.as_str(), host(&caller, &asked)];
    let evidence = gate.evidence.collect(&artifact, &who, now).instrument(stage("evidence")).await?;
    let surface = surface::inspect_all(artifact.components()).instrument(stage("surface")).await?;
    let previous = gate.previous(&artifact).instrument(stage("audit")).await?;
    let case = Case {
        previous,
        reference: artifact.reference_facts().clone(),
        artifact: artifact.facts().clone(),
        evidence,
        surface,
        ..unseen(gate, &caller, &asked, now)
    };
    let decision = stage("policy").in_scope(|| gate.policy.current().decide(&case))?;
    let receipt = gate.audit.append(&case, &decision).instrument(stage("audit")).await?;
    if let Some(asked) = &case.break_glass {
        gate.log_break_glass(&case, asked, decision.facts(), now).await?;
    }
    let recorded = Held::new(&case, decision, receipt);
    match recorded.decision.verdict() {
        Verdict::Admit(_) => {
            gate.hold(&caller, &asked, &recorded);
            gate.hand_over(recorded, now).await
        }
        Verdict::Refuse(_) => Ok(Admission::Refused { recorded }),
    }
}

/// Whether a pull is answered as if there were nothing, because it would be answered with access that we lend and no grant rule
/// speaks for its caller. Asked before anybody else is: what is there and what is not costs the same work, which is none.
fn is_hidden(gate: &Gate, caller: &Caller, asked: &Asked, now: Timestamp) -> bool {
    let registry = asked.reference.registry();
    // A registry that is in no table is asked by nobody, whoever asks us.
    let lends = gate.registry.has_upstream(registry) && gate.registry.lends_access(registry);
    if asked.purpose != Purpose::Pull || !lends {
        return false;
    }
    let unseen = unseen(gate, caller, asked, now);
    let hidden = !stage("policy").in_scope(|| gate.policy.current().may_speak_for_caller(&unseen));
    if hidden {
        tracing::info!(
            caller.id = unseen.caller.id,
            "a pull of `{}` is answered as unknown, and nobody was asked: no grant rule speaks for its caller",
            unseen.reference.text
        );
    }
    hidden
}

/// The case of which nothing is known yet but who asks for what: it admits nobody.
fn unseen(gate: &Gate, caller: &Caller, asked: &Asked, now: Timestamp) -> Case {
    Case {
        version: case::Version::V1,
        id: gate.next_id(now),
        time: now,
        scope: gate.scope.clone(),
        mode: gate.mode,
        purpose: asked.purpose,
        caller: caller.facts().clone(),
        host: host(caller, asked).to_owned(),
        links: asked.links.clone(),
        reference: asked.reference.facts(),
        artifact: case::ArtifactFacts::unseen(),
        evidence: case::Evidence::default(),
        surface: case::Surface::Unseen,
        previous: None,
        break_glass: asked.break_glass.clone(),
    }
}

/// The host that is to run it: the caller itself where it names none.
fn host<'a>(caller: &'a Caller, asked: &'a Asked) -> &'a str {
    asked.host.as_deref().unwrap_or(&caller.facts().id)
}

/// Collects what a decision about `reference` will look at, and decides nothing: bytes are fetched, hashed and kept, evidence is
/// verified and its verdicts remembered. Gives the artifact's digest.
///
/// # Errors
/// As [`admit`]; nothing is recorded either way.
pub async fn prefetch(gate: &Gate, caller: &Caller, reference: &Reference, now: Timestamp) -> Result<Digest, NoAnswer> {
    // Who may not know of it by pulling may not learn of it here.
    if is_hidden(gate, caller, &Asked::to_pull(reference.clone()), now) {
        return Err(NoAnswer::UnknownReference { reference: reference.to_string() });
    }
    let artifact = gate.registry.resolve_and_search(reference, now).instrument(stage("registry")).await?;
    gate.evidence.collect(&artifact, &[], now).instrument(stage("evidence")).await?;
    Ok(*artifact.digest())
}

/// A span named as the stage.
fn stage(name: &'static str) -> tracing::Span {
    match name {
        "registry" => tracing::info_span!("registry"),
        "evidence" => tracing::info_span!("evidence"),
        "surface" => tracing::info_span!("surface"),
        "policy" => tracing::info_span!("policy"),
        _ => tracing::info_span!("audit"),
    }
}

/// What a decision was about, for answers.
#[derive(Clone, Debug)]
pub struct About {
    /// What was asked for.
    pub reference: ReferenceFacts,
    /// Which bytes it was.
    pub artifact: case::ArtifactFacts,
}
