//! One pull grant: what a decision lets one caller fetch, and until when.

use uuid::Uuid;

use crate::case::{Digest, Timestamp};
use crate::policy::Grant;

use super::place::Place;

/// A pull grant; only [`super::Pulls::grant`] makes a live one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    pub(super) place: Place,
    pub(super) root: Digest,
    pub(super) decision: Uuid,
    pub(super) granted_at: Timestamp,
    pub(super) parts: Vec<Part>,
    /// What was found attached to the artifact since: gone with the grant, and never on disk.
    pub(super) attached: Vec<Attached>,
    /// None for what was read back from disk: it says which artifact to decide about, and lets nobody fetch anything.
    pub(super) holds: Option<Holds>,
}

/// A digest that the admitted artifact names, itself included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its digest.
    pub digest: Digest,
    /// What it is.
    pub kind: PartKind,
}

/// A digest of a referrer of the admitted artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The referrer's manifest, or a blob that it names.
    pub part: Part,
    /// The referrer's manifest.
    pub referrer: Digest,
}

/// What a digest of an artifact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// The manifest, or an index that led to it.
    Manifest,
    /// The config or a layer.
    Blob,
}

/// How long the gate stands by a decision, and on what belief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// When it is decided anew at the latest.
    pub until: Timestamp,
    /// The digest of the trust it was decided on.
    pub trust: Digest,
}

/// What counts at the moment of a question.
#[derive(Clone, Copy, Debug)]
pub struct Under {
    /// When it is asked.
    pub now: Timestamp,
    /// The digest of the policy in force.
    pub policy: Digest,
    /// The digest of what is believed.
    pub trust: Digest,
}

/// The terms of a grant as [`super::Pulls`] keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holds {
    pub terms: Terms,
    pub policy: Digest,
    pub epoch: u64,
}

impl Pull {
    pub(super) fn of(grant: &Grant, place: Place, holds: Holds, granted_at: Timestamp) -> Self {
        let manifests = grant.indexes().iter().chain([grant.artifact()]);
        let part = |kind| move |digest: &Digest| Part { digest: *digest, kind };
        let parts: Vec<Part> =
            manifests.map(part(PartKind::Manifest)).chain(grant.blobs().iter().map(part(PartKind::Blob))).collect();
        Self {
            place,
            root: parts[0].digest,
            decision: grant.decision(),
            granted_at,
            parts,
            attached: Vec::new(),
            holds: Some(holds),
        }
    }

    /// The decision that lets the caller fetch it.
    pub fn decision(&self) -> Uuid {
        self.decision
    }

    /// What a reference by digest names: the outermost index, or the manifest.
    pub fn root(&self) -> &Digest {
        &self.root
    }

    /// The manifest itself, behind the indexes.
    pub fn manifest(&self) -> &Digest {
        let manifests = self.parts.iter().filter(|part| part.kind == PartKind::Manifest);
        manifests.map(|part| &part.digest).next_back().unwrap_or(&self.root)
    }

    /// The part with this digest, as what is asked for, and the manifest that names it.
    pub(super) fn part(&self, digest: &Digest, kind: PartKind) -> Option<(Part, Digest)> {
        let own = self.parts.iter().map(|part| (*part, *self.manifest()));
        let attached = self.attached.iter().map(|attached| (attached.part, attached.referrer));
        own.chain(attached).find(|(part, _)| part.digest == *digest && part.kind == kind)
    }

    /// Every digest it covers.
    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.parts.iter().map(|part| part.digest).chain(self.attached.iter().map(|attached| attached.part.digest))
    }

    /// Whether nothing that the decision stood on has changed or run out.
    pub(super) fn is_live(&self, under: &Under, epoch: u64) -> bool {
        self.holds.is_some_and(|Holds { terms, policy, epoch: made_in }| {
            under.now < terms.until && under.policy == policy && under.trust == terms.trust && epoch == made_in
        })
    }
}
