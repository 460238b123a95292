//! The proof that bytes are what their digest says: only this folder makes an [`Artifact`].

use std::fmt;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::fault::Trouble;
use crate::case::{ArtifactFacts, Candidates, Digest, Reference, ReferenceFacts};

/// A manifest whose digest we computed, with the component it names if there is nothing wrong with it.
#[derive(Clone)]
pub struct Artifact {
    reference: Reference,
    reference_facts: ReferenceFacts,
    body: std::sync::Arc<Body>,
    /// What was found about the digest that the reference means, if that was looked for at the same time.
    searched: Option<Result<std::sync::Arc<Candidates>, Trouble>>,
}

/// What does not depend on the reference by which it was found.
pub(super) struct Body {
    /// The facts for the case.
    pub facts: ArtifactFacts,
    /// The manifest, byte for byte.
    pub manifest: Bytes,
    /// The indexes that led to it, outermost first.
    pub indexes: Vec<Bytes>,
    /// The bytes of the component, or of the components of an application, as the facts name them.
    pub components: Vec<Bytes>,
    /// The room that they take where the store's memory does not count them.
    pub cold: Option<OwnedSemaphorePermit>,
}

impl Artifact {
    pub(super) fn new(reference: &Reference, body: std::sync::Arc<Body>) -> Self {
        Self { reference: reference.clone(), reference_facts: reference.facts(), body, searched: None }
    }

    /// The same with what a search about [`Self::root`] found meanwhile.
    pub(super) fn searched(self, found: Result<Candidates, Trouble>) -> Self {
        Self { searched: Some(found.map(std::sync::Arc::new)), ..self }
    }

    /// What a search about `subject` found while the artifact was resolved.
    pub(super) fn found_about(&self, subject: &Digest) -> Option<Result<Candidates, Trouble>> {
        let found = self.searched.as_ref().filter(|_| self.root() == subject)?;
        Some(found.as_ref().map(|found| Candidates::clone(found)).map_err(Trouble::clone))
    }

    /// What the reference means: the outermost index, or the manifest.
    fn root(&self) -> &Digest {
        self.facts().indexes.first().unwrap_or(self.digest())
    }

    /// The reference it was resolved from.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The reference as it stands in a case.
    pub fn reference_facts(&self) -> &ReferenceFacts {
        &self.reference_facts
    }

    /// The artifact as it stands in a case, defects included.
    pub fn facts(&self) -> &ArtifactFacts {
        &self.body.facts
    }

    /// SHA-256 of the manifest.
    pub fn digest(&self) -> &Digest {
        &self.body.facts.digest
    }

    /// The manifest, byte for byte as the registry sent it.
    pub fn manifest(&self) -> &Bytes {
        &self.body.manifest
    }

    /// The indexes that led to it, byte for byte, in the order of [`ArtifactFacts::indexes`].
    pub fn indexes(&self) -> &[Bytes] {
        &self.body.indexes
    }

    /// The component's bytes, which hash to [`crate::case::ComponentFacts::digest`]; none if the artifact has a defect or is an
    /// application of several.
    pub fn component(&self) -> Option<&Bytes> {
        self.body.facts.component.as_ref().and(self.body.components.first())
    }

    /// The bytes of everything that would run: the component, or all components of an application.
    pub fn components(&self) -> &[Bytes] {
        &self.body.components
    }
}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artifact")
            .field("reference", &self.reference)
            .field("facts", self.facts())
            .finish_non_exhaustive()
    }
}
