//! What evidence has to be about, with its bytes.

use bytes::Bytes;

use crate::case::Digest;
use crate::outage::{Outage, Peer};

/// An artifact as `registry` resolved it: its manifest, the indexes it was reached through, its component.
#[derive(Clone, Debug)]
pub struct Exhibit {
    digest: Digest,
    manifest: Bytes,
    indexes: Vec<(Digest, Bytes)>,
    component: Option<Bytes>,
}

impl Exhibit {
    /// An artifact that is its manifest alone.
    pub fn of(manifest: Bytes) -> Self {
        Self { digest: Digest::of(&manifest), manifest, indexes: Vec::new(), component: None }
    }

    /// The same, reached through `indexes`, outermost first.
    #[must_use]
    pub fn through(mut self, indexes: &[Bytes]) -> Self {
        self.indexes = indexes.iter().map(|bytes| (Digest::of(bytes), bytes.clone())).collect();
        self
    }

    /// The same with the component's bytes, which may hold evidence themselves.
    #[must_use]
    pub fn with_component(mut self, component: Option<Bytes>) -> Self {
        self.component = component;
        self
    }

    /// SHA-256 of the manifest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The component's bytes, if there is one.
    pub fn component(&self) -> Option<&Bytes> {
        self.component.as_ref()
    }

    /// What a candidate has to be about: the manifest, or the index that its source names.
    ///
    /// # Errors
    /// An outage of our own: the artifact was not reached through that index.
    pub(super) fn subject(&self, index: Option<Digest>) -> Result<(Digest, &Bytes), Outage> {
        match index {
            None => Ok((self.digest, &self.manifest)),
            Some(index) => self
                .indexes
                .iter()
                .find(|(digest, _)| *digest == index)
                .map(|(digest, bytes)| (*digest, bytes))
                .ok_or_else(|| {
                    let doing = format!("checking evidence about `{index}`, which did not lead to `{}`", self.digest);
                    Outage::new(Peer::Internal, doing)
                }),
        }
    }
}
