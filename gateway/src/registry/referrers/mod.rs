//! Everything in a repository that is attached to an artifact as evidence.

mod attached;
mod cosign_tags;
mod kind;
mod listing;
mod read;

use crate::case::{Candidate, CandidateSource, Candidates, Digest};

pub use self::attached::{Attachment, Attachments};
pub(super) use self::cosign_tags::signed_layers;
use self::cosign_tags::{COSIGN_TAGS, CosignTag};
pub(super) use self::kind::is_evidence;
pub(super) use self::listing::listed;
use self::read::Budget;
use super::fault::{Fault, Trouble};
use super::upstream::Upstream;

/// Asks the referrers API, then the fallback tag if that knows nothing, with cosign's two tags at the same time; then reads
/// what was found.
///
/// Whatever was found but cannot be read is a candidate with a defect: a flood or a lie must never look like "none". A
/// registry that does not answer is an outage. What plainly is another kind of artifact, such as an SBOM, is no candidate.
pub(super) async fn candidates(upstream: &Upstream, repository: &str, subject: &Digest) -> Result<Candidates, Trouble> {
    let search = Search { upstream, repository, subject };
    let (referrers, signatures, attestations) = tokio::try_join!(
        search.ask_for_referrers(),
        search.ask_cosign_tag(CosignTag::Signatures),
        search.ask_cosign_tag(CosignTag::Attestations),
    )?;
    let (mut looked_in, listing) = referrers;
    let via = looked_in.last().cloned().unwrap_or_default();
    looked_in.push(COSIGN_TAGS.into());
    let mut found = Candidates { looked_in, list: Vec::new() };
    for (name, defect) in listing.defects {
        found.list.push(Candidate { source: source(&via, name), content: Err(defect) });
    }
    // In one order, whichever answer came first: what is charged against the limits must not depend on that.
    let mut budget = Budget::besides(listing.entries.len() + found.list.len());
    let mut pieces = search.read_referrers(&via, listing.entries, &mut budget).await?;
    for tagged in [signatures, attestations].into_iter().flatten() {
        pieces.extend(tagged.pieces(&mut budget));
    }
    found.list.extend(search.read_pieces(pieces).await?);
    found.list.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(found)
}

/// One search for the evidence about one subject.
struct Search<'a> {
    upstream: &'a Upstream,
    repository: &'a str,
    subject: &'a Digest,
}

impl Search<'_> {
    fn trouble(&self, doing: String, fault: Fault) -> Trouble {
        Trouble::Registry { upstream: self.upstream.name.clone(), doing, fault }
    }
}

fn source(via: &str, name: String) -> CandidateSource {
    CandidateSource { via: via.to_owned(), name, index: None, media_type: None, digest: None }
}

#[cfg(test)]
mod tests;
