//! The lists of an artifact's referrers.

use serde_json::Value;

use super::super::budgets::{REFERRER_PAGE_BYTES, REFERRER_PAGES, REFERRERS};
use super::super::document::{self, Descriptor, OCI_INDEX, invalid, over_limit, shown};
use super::super::fault::{Fault, Trouble};
use super::super::fetch::Answer;
use super::super::links::next_page;
use super::Search;
use crate::case::Defect;
use crate::reason::Code;

const API: &str = "referrers-api";
const FALLBACK_TAG: &str = "fallback-tag";

/// What was listed: descriptors in order, and what is wrong with the lists by the name of the place.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) entries: Vec<Descriptor>,
    pub(super) defects: Vec<(String, Defect)>,
}

impl Listing {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.defects.is_empty()
    }

    /// Adds the entries of one index; the first that is one too many ends the listing.
    fn add(&mut self, page: &str, answer: &Answer) {
        if let Err(defect) = self.try_add(page, answer) {
            self.defects.push((page.to_owned(), defect));
        }
    }

    fn try_add(&mut self, page: &str, answer: &Answer) -> Result<(), Defect> {
        let value = document::parse(&answer.bytes, page)?;
        let index = document::object(&value, page, &["schemaVersion", "mediaType", "manifests"])?;
        if index.field("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err(invalid(page, "expected `schemaVersion` 2"));
        }
        if index.media_type("mediaType")?.unwrap_or(OCI_INDEX) != OCI_INDEX || answer.content_type != OCI_INDEX {
            return Err(invalid(page, format!("`{}` is no index", shown(&answer.content_type))));
        }
        let entries = index.array("manifests")?.ok_or_else(|| invalid(page, "no `manifests`"))?;
        for (position, entry) in entries.iter().enumerate() {
            let name = format!("{page} entry {position}");
            match document::descriptor(entry, &name) {
                Ok(entry) if self.entries.iter().any(|known| known.digest == entry.digest) => {}
                _ if self.entries.len() + self.defects.len() >= REFERRERS => {
                    return Err(over_limit(page, format!("more than {REFERRERS} referrers")));
                }
                Ok(entry) => self.entries.push(entry),
                Err(defect) => self.defects.push((name, defect)),
            }
        }
        Ok(())
    }

    fn over_limit(&self) -> bool {
        self.defects.iter().any(|(_, defect)| defect.code == Code::LIMIT_EXCEEDED)
    }
}

/// How many entries and how many defects one index has.
pub(in super::super) fn listed(answer: &Answer) -> (usize, usize) {
    let mut listing = Listing::default();
    listing.add("page 1", answer);
    (listing.entries.len(), listing.defects.len())
}

impl Search<'_> {
    /// The referrers, and the places where was looked for them: the fallback tag where the API knows nothing.
    pub(super) async fn ask_for_referrers(&self) -> Result<(Vec<String>, Listing), Trouble> {
        let mut looked_in = vec![API.into()];
        let mut listing = self.ask_api().await?;
        if listing.is_empty() {
            looked_in.push(FALLBACK_TAG.into());
            listing = self.ask_fallback_tag().await?;
        }
        Ok((looked_in, listing))
    }

    /// Distribution-spec, "Listing Referrers": an index in pages; 404 means that there is no such API.
    async fn ask_api(&self) -> Result<Listing, Trouble> {
        let mut listing = Listing::default();
        let first = self.upstream.endpoint(self.repository, "referrers", &self.subject.to_string());
        let mut url = first.clone();
        for page in 1.. {
            let name = format!("page {page}");
            if page > REFERRER_PAGES {
                listing.defects.push((name, over_limit("referrers", format!("more than {REFERRER_PAGES} pages"))));
                break;
            }
            let doing = || format!("listing the referrers of `{}@{}`, page {page}", self.repository, self.subject);
            let answer = match self.upstream.metadata(&url, self.repository, OCI_INDEX, REFERRER_PAGE_BYTES).await {
                Err(Fault::NotFound) if page == 1 => break,
                Err(Fault::TooLarge { limit_bytes }) => {
                    listing
                        .defects
                        .push((name, over_limit("referrers", format!("a page of more than {limit_bytes} bytes"))));
                    break;
                }
                answer => answer.map_err(|fault| self.trouble(doing(), fault))?,
            };
            if answer.content_type != OCI_INDEX {
                // A web page, say: this is no referrers API, nor does it say that there is none.
                let fault = Fault::ContentType { expected: OCI_INDEX, found: shown(&answer.content_type) };
                return Err(self.trouble(doing(), fault));
            }
            listing.add(&name, &answer);
            match next_page(&answer.links, &url, &first).map_err(|fault| self.trouble(doing(), fault))? {
                Some(next) if !listing.over_limit() => url = next,
                _ => break,
            }
        }
        Ok(listing)
    }

    /// Distribution-spec, "Referrers Tag Schema": an index under the tag `sha256-HEX`.
    async fn ask_fallback_tag(&self) -> Result<Listing, Trouble> {
        let mut listing = Listing::default();
        let tag = format!("sha256-{}", self.subject.hex());
        let url = self.upstream.endpoint(self.repository, "manifests", &tag);
        match self.upstream.metadata(&url, self.repository, OCI_INDEX, REFERRER_PAGE_BYTES).await {
            Ok(answer) => listing.add(&tag, &answer),
            Err(Fault::NotFound) => {}
            Err(Fault::TooLarge { limit_bytes }) => {
                let defect = over_limit("referrers", format!("an index of more than {limit_bytes} bytes"));
                listing.defects.push((tag, defect));
            }
            Err(fault) => {
                return Err(self.trouble(format!("reading the referrers tag `{}:{tag}`", self.repository), fault));
            }
        }
        Ok(listing)
    }
}
