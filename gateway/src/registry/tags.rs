//! The tags of a repository, page by page as its registry tells them.

use serde_json::Value;

use super::Registry;
use super::budgets::{TAG_PAGE, TAG_PAGE_BYTES};
use super::document::{self, shown};
use super::fault::Fault;
use super::links::next_page;
use super::resolve::registry_trouble;
use crate::case::Repository;
use crate::outage::Outage;

/// A page of tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// The tags, sorted.
    pub tags: Vec<String>,
    /// What to ask behind, if there are more.
    pub next: Option<String>,
}

impl Registry {
    /// At most `n` tags behind `last`; none if the registry knows no such repository.
    ///
    /// # Errors
    /// An outage of the registry: a page that is too long, is none, or leads nowhere.
    pub async fn tags(&self, repository: &Repository, n: usize, last: Option<&str>) -> Result<Option<Tags>, Outage> {
        let Ok(upstream) = self.inner.upstreams.of_registry(repository.registry()) else { return Ok(None) };
        let trouble =
            |fault| registry_trouble(&upstream, format!("listing the tags of `{repository}`"), fault).into_outage();
        let mut url = upstream.endpoint(repository.name(), "tags", "list");
        let first = url.clone();
        let wanted = n.min(TAG_PAGE);
        url.query_pairs_mut().append_pair("n", &wanted.max(1).to_string());
        if let Some(last) = last {
            url.query_pairs_mut().append_pair("last", last);
        }
        let answer = match upstream.metadata(&url, repository.name(), "application/json", TAG_PAGE_BYTES).await {
            Err(Fault::NotFound) => return Ok(None),
            answer => answer.map_err(trouble)?,
        };
        let malformed = |detail: &str| trouble(Fault::TagsMalformed { detail: detail.to_owned() });
        let listed = read(&answer.bytes, repository).map_err(|detail| malformed(&detail))?;
        let next = next_page(&answer.links, &url, &first).map_err(trouble)?;
        if wanted == 0 {
            return Ok(Some(Tags::default()));
        }
        let Some(next) = next else { return Ok(Some(page(listed, wanted, last))) };
        // The registry's own cursor: which of its tags comes last may not be the greatest.
        let cursor = next.query_pairs().find(|(key, _)| key == "last").map(|(_, value)| value.into_owned());
        let cursor = cursor.or_else(|| listed.last().cloned());
        match cursor.filter(|cursor| Some(cursor.as_str()) != last && cursor.len() <= CURSOR_MAX_BYTES) {
            Some(cursor) if listed.len() <= wanted => {
                let mut tags = listed;
                tags.sort();
                tags.dedup();
                Ok(Some(Tags { tags, next: Some(cursor) }))
            }
            Some(_) => Err(malformed(&format!("more than the {wanted} tags that were asked for"))),
            None => Err(malformed("a next page that leads nowhere")),
        }
    }
}

/// The part of a whole list that is behind `last`.
fn page(mut listed: Vec<String>, n: usize, last: Option<&str>) -> Tags {
    listed.sort();
    listed.dedup();
    listed.retain(|tag| last.is_none_or(|last| tag.as_str() > last));
    let more = listed.len() > n;
    listed.truncate(n);
    let next = listed.last().filter(|_| more).cloned();
    Tags { tags: listed, next }
}

/// Reads `{"name":…,"tags":[…]}` (distribution-spec, "Listing Tags"); each tag must be one.
fn read(bytes: &[u8], repository: &Repository) -> Result<Vec<String>, String> {
    let value = document::parse(bytes, "tags").map_err(|defect| defect.detail)?;
    let list = document::object(&value, "tags", &["name", "tags"]).map_err(|defect| defect.detail)?;
    let tags = list.array("tags").map_err(|defect| defect.detail)?.unwrap_or_default();
    let tag = |tag: &Value| match tag.as_str() {
        Some(text) if repository.at_tag(text).is_ok() => Ok(text.to_owned()),
        Some(text) => Err(format!("`{}` is no tag", shown(text))),
        None => Err("a tag that is no text".to_owned()),
    };
    tags.iter().map(tag).collect()
}

/// The longest cursor that is passed on, in bytes: a tag has 128.
const CURSOR_MAX_BYTES: usize = 256;
