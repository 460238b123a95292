//! What evidence has to be about, with its bytes.

use bytes::Bytes;
use serde_json::Value;

use crate::case::Digest;
use crate::outage::{Outage, Peer};
use crate::strict_json;

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
    /// An index counts only if its very bytes name the next one by digest, and so on down to the manifest.
    ///
    /// # Errors
    /// An outage of our own: the artifact was not reached through that index.
    pub(super) fn subject(&self, index: Option<Digest>) -> Result<(Digest, &Bytes), Outage> {
        let Some(index) = index else { return Ok((self.digest, &self.manifest)) };
        let at = self.indexes.iter().position(|(digest, _)| *digest == index);
        let way = at.and_then(|at| self.indexes.get(at..)).unwrap_or_default();
        let next = way.iter().skip(1).map(|(digest, _)| *digest).chain([self.digest]);
        match way.first() {
            Some((digest, bytes)) if way.iter().zip(next).all(|((_, bytes), next)| names(bytes, next)) => {
                Ok((*digest, bytes))
            }
            _ => {
                let doing = format!("checking evidence about `{index}`, which did not lead to `{}`", self.digest);
                Err(Outage::new(Peer::Internal, doing))
            }
        }
    }
}

/// Whether `index` lists `child` among its `manifests`.
fn names(index: &[u8], child: Digest) -> bool {
    let Ok(index) = strict_json::parse(index, strict_json::MAX_DEPTH) else { return false };
    let children = index.get("manifests").and_then(Value::as_array).into_iter().flatten();
    let mut digests = children.filter_map(|entry| entry.get("digest")).filter_map(Value::as_str);
    digests.any(|digest| digest == child.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn index(children: &[Digest]) -> Bytes {
        let manifests = children.iter().map(|digest| json!({"digest": digest})).collect::<Vec<_>>();
        json!({"schemaVersion": 2, "manifests": manifests}).to_string().into()
    }

    #[test]
    fn a3_7_an_index_counts_only_if_its_bytes_lead_to_the_artifact() {
        let manifest = Bytes::from_static(b"{}");
        let digest = Digest::of(&manifest);
        let inner = index(&[Digest::of(b"other"), digest]);
        let outer = index(&[Digest::of(&inner)]);
        let stranger = index(&[Digest::of(b"other")]);
        let about = |indexes: &[&Bytes], index: &Bytes| {
            let indexes: Vec<_> = indexes.iter().copied().cloned().collect();
            let exhibit = Exhibit::of(manifest.clone()).through(&indexes);
            exhibit.subject(Some(Digest::of(index))).map(|(digest, _)| digest).map_err(|outage| outage.peer)
        };
        assert_eq!(about(&[&inner], &inner), Ok(Digest::of(&inner)));
        assert_eq!(about(&[&outer, &inner], &outer), Ok(Digest::of(&outer)));
        assert_eq!(about(&[&outer, &inner], &inner), Ok(Digest::of(&inner)));
        assert_eq!(about(&[&outer], &outer), Err(Peer::Internal), "it leads to another index only");
        assert_eq!(about(&[&stranger], &stranger), Err(Peer::Internal));
        assert_eq!(about(&[&inner, &stranger], &inner), Err(Peer::Internal), "the way is broken below it");
        assert_eq!(about(&[], &inner), Err(Peer::Internal));
        assert_eq!(Exhibit::of(manifest).subject(None).unwrap().0, digest);
    }
}
