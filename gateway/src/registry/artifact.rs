//! The proof that bytes are what their digest says: only this folder makes an [`Artifact`].

use std::fmt;

use bytes::Bytes;

use crate::case::{ArtifactFacts, Digest, Reference, ReferenceFacts};

/// A manifest whose digest we computed, with the component it names if there is nothing wrong with it.
#[derive(Clone)]
pub struct Artifact {
    reference: Reference,
    reference_facts: ReferenceFacts,
    body: std::sync::Arc<Body>,
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
}

impl Artifact {
    pub(super) fn new(reference: &Reference, body: std::sync::Arc<Body>) -> Self {
        let reference_facts = ReferenceFacts {
            text: reference.to_string(),
            upstream: reference.registry().to_owned(),
            repository: reference.repository().to_owned(),
            tag: reference.tag().map(str::to_owned),
            digest: reference.digest().copied(),
        };
        Self { reference: reference.clone(), reference_facts, body }
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
