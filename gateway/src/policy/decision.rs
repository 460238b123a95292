//! The proof that policy decided: only this folder makes a [`Decision`] or a [`Grant`].

use uuid::Uuid;

use crate::case::{
    ArtifactFacts, Caller, Case, ComponentFacts, DecisionFacts, Digest, Finding, Grants, PolicyFacts, Purpose,
    ReferenceFacts, Signer, Surface, VerdictWord,
};
use crate::reason::Reason;

/// What policy decided on one case.
#[derive(Clone, Debug)]
pub struct Decision {
    facts: DecisionFacts,
    verdict: Verdict,
}

/// Admit with a grant, or refuse with reasons.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one lives at a time, and most are admissions")]
pub enum Verdict {
    /// The one thing a ticket can be made of.
    Admit(Grant),
    /// At least one reason.
    Refuse(Vec<Reason>),
}

/// What an admitted caller may have, bound to the case it was granted on.
#[derive(Clone, Debug)]
pub struct Grant {
    decision: Uuid,
    caller: Caller,
    audience: String,
    reference: ReferenceFacts,
    repository: String,
    indexes: Vec<Digest>,
    artifact: Digest,
    blobs: Vec<Digest>,
    hosted: Option<Hosted>,
    imports: Vec<String>,
    grants: Grants,
    policy: PolicyFacts,
    signers: Vec<Signer>,
    purpose: Purpose,
}

/// The one component that a ticket can be about.
#[derive(Clone, Debug)]
struct Hosted {
    component: ComponentFacts,
    world: Digest,
}

impl Decision {
    /// A refusal; without a reason it is given [`crate::reason::Code::NOT_ADMITTED`] by the caller of this function.
    pub(super) fn refuse(
        case: &Case,
        mut reasons: Vec<Reason>,
        mut warnings: Vec<Reason>,
        policy: PolicyFacts,
    ) -> Self {
        debug_assert!(!reasons.is_empty(), "a refusal has a reason");
        reasons.sort();
        reasons.dedup();
        warnings.sort();
        warnings.dedup();
        let facts = DecisionFacts {
            id: case.id,
            verdict: VerdictWord::Refuse,
            reasons: reasons.clone(),
            warnings,
            grants: None,
            policy,
            bundles: Vec::new(),
            would_refuse: Vec::new(),
        };
        Self { facts, verdict: Verdict::Refuse(reasons) }
    }

    /// An admission of `case` with `grants`. `None` when the case has nothing that can be granted: the floor let it
    /// through, which is a bug of the caller, and the caller refuses.
    pub(super) fn admit(case: &Case, grants: Grants, mut warnings: Vec<Reason>, policy: PolicyFacts) -> Option<Self> {
        warnings.sort();
        warnings.dedup();
        let artifact = &case.artifact;
        let (hosted, imports) = match (&case.surface, &artifact.component) {
            (Surface::Component(world), Some(component)) => {
                (Some(Hosted { component: component.clone(), world: world.digest }), world.imports.as_slice())
            }
            // Several components, or native code: for hosts that pull them, for a ticket is about one component.
            (Surface::Component(world), None) if !artifact.components.is_empty() => (None, world.imports.as_slice()),
            (Surface::Unreadable { .. }, None) if artifact.native.is_some() => (None, [].as_slice()),
            _ => return None,
        };
        let grant = Grant {
            decision: case.id,
            caller: case.caller.clone(),
            audience: case.host.clone(),
            reference: case.reference.clone(),
            repository: format!("{}/{}", case.reference.upstream, case.reference.repository),
            indexes: case.artifact.indexes.clone(),
            artifact: case.artifact.digest,
            blobs: blobs(artifact),
            hosted,
            imports: imports.iter().map(|import| import.name.clone()).collect(),
            grants: grants.clone(),
            policy: policy.clone(),
            signers: case
                .evidence
                .findings
                .iter()
                .filter_map(|finding| match finding {
                    Finding::Verified(verified) => Some(verified.signer.clone()),
                    Finding::Rejected(_) => None,
                })
                .collect(),
            purpose: case.purpose,
        };
        let facts = DecisionFacts {
            id: case.id,
            verdict: VerdictWord::Admit,
            reasons: Vec::new(),
            warnings,
            grants: Some(grants),
            policy,
            bundles: Vec::new(),
            would_refuse: Vec::new(),
        };
        Some(Self { facts, verdict: Verdict::Admit(grant) })
    }

    /// The same, with the bundles that decided, where there were several.
    pub(super) fn by(mut self, bundles: Vec<PolicyFacts>) -> Self {
        self.facts.bundles = bundles;
        self
    }

    /// The same admission, with what policy would have refused it for in another mode.
    pub(super) fn passing(mut self, mut would_refuse: Vec<Reason>) -> Self {
        would_refuse.sort();
        would_refuse.dedup();
        self.facts.would_refuse = would_refuse;
        self
    }

    /// The decision as it is recorded.
    pub fn facts(&self) -> &DecisionFacts {
        &self.facts
    }

    /// The verdict with its proof.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// A decision for unit tests of the stages behind policy.
    #[cfg(test)]
    pub(crate) fn admit_for_tests(case: &Case, grants: Grants, policy: PolicyFacts) -> Self {
        Self::admit(case, grants, Vec::new(), policy).expect("the test's case has a component")
    }

    /// A refusal for unit tests of the stages behind policy.
    #[cfg(test)]
    pub(crate) fn refuse_for_tests(case: &Case, reasons: Vec<Reason>, policy: PolicyFacts) -> Self {
        Self::refuse(case, reasons, Vec::new(), policy)
    }
}

/// Every blob that an artifact names, each once.
fn blobs(artifact: &ArtifactFacts) -> Vec<Digest> {
    let ArtifactFacts { config, component, components, carried, native, .. } = artifact;
    let config = config.iter().map(|config| config.digest);
    let components = component.iter().chain(components).map(|component| component.digest);
    let layers = carried.iter().chain(native).map(|layer| layer.digest);
    let mut blobs = Vec::new();
    for digest in config.chain(components).chain(layers) {
        if !blobs.contains(&digest) {
            blobs.push(digest);
        }
    }
    blobs
}

impl Grant {
    /// The decision it belongs to.
    pub fn decision(&self) -> Uuid {
        self.decision
    }

    /// Who asked for it, as `identity` proved it.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What was asked for.
    pub fn reference(&self) -> &ReferenceFacts {
        &self.reference
    }

    /// The one host that may use it: a SPIFFE ID, or `local`.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// Upstream and repository of the reference that was asked for, for people: `ghcr.io/acme/cart`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The indexes that led to the manifest, outermost first.
    pub fn indexes(&self) -> &[Digest] {
        &self.indexes
    }

    /// Every blob that the manifest names, config and layers: all were looked at.
    pub fn blobs(&self) -> &[Digest] {
        &self.blobs
    }

    /// The manifest's digest.
    pub fn artifact(&self) -> &Digest {
        &self.artifact
    }

    /// The one component it is about, with the digest of its world; none for what no ticket can be about.
    pub fn component(&self) -> Option<(&ComponentFacts, &Digest)> {
        self.hosted.as_ref().map(|hosted| (&hosted.component, &hosted.world))
    }

    /// Every import of the component, sorted.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// What may be linked.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The policy that granted it.
    pub fn policy(&self) -> &PolicyFacts {
        &self.policy
    }

    /// Who signed, verified.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Whether anything may be handed over.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }
}
