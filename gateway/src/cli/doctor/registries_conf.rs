//! One file of containers-registries.conf(5): the registries it speaks for, and where it sends what they are asked.

use std::path::Path;

use super::document::{Document, Entry, Undecodable};

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct File {
    pub(super) registries: Vec<Registry>,
    /// `unqualified-search-registries`, with where each stands; absent is not empty.
    pub(super) search: Option<Vec<(String, String)>>,
    /// Keys that are taken for others, with where they stand.
    pub(super) folded: Vec<(String, String)>,
}

/// One `[[registry]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registry {
    /// `FILE:LINE:COLUMN`.
    pub(super) at: String,
    /// `HOST[:PORT][/NAMESPACE…]`, or `*.DOMAIN`.
    pub(super) prefix: String,
    /// Whether `prefix` is written, or `location` stands for it.
    pub(super) remaps: bool,
    /// Where requests really go.
    pub(super) location: String,
    /// Where `insecure = true` stands.
    pub(super) insecure: Option<String>,
    /// Whether nothing is pulled.
    pub(super) blocked: bool,
    /// Who is asked before `location`, with where it stands.
    pub(super) mirrors: Vec<(String, String)>,
}

/// Why a file says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The tools stop at it.
    Undecodable(Undecodable),
    /// It is in the first form of the format, which knows no `location`.
    VersionOne(String),
}

impl From<Undecodable> for Fault {
    fn from(fault: Undecodable) -> Self {
        Self::Undecodable(fault)
    }
}

impl File {
    /// Reads a file as `sysregistriesv2` does.
    ///
    /// # Errors
    /// What it stops at, and the first form of the format.
    pub(super) fn read(path: &Path, text: &str) -> Result<Self, Fault> {
        let document = Document::parse(path, text)?;
        let mut file = Self::default();
        for entry in document.entries() {
            match entry.key() {
                "registry" => {
                    for (at, entries) in entry.tables()? {
                        file.registry(at, &entries)?;
                    }
                }
                "unqualified-search-registries" => {
                    let at = entry.at();
                    let names = entry.strings()?.into_iter().map(|name| Ok((location(name, &entry)?, at.clone())));
                    file.search = Some(names.collect::<Result<_, Undecodable>>()?);
                }
                "registries" => return Err(Fault::VersionOne(entry.key_at())),
                _ => file.other(&entry, &["registry", "registries", "unqualified-search-registries"]),
            }
        }
        Ok(file)
    }

    fn registry(&mut self, at: String, entries: &[Entry<'_, '_>]) -> Result<(), Undecodable> {
        let (mut prefix, mut to, mut insecure, mut blocked, mut mirrors) = (None, None, None, false, Vec::new());
        for entry in entries {
            match entry.key() {
                "prefix" => prefix = Some(location(entry.string()?, entry)?).filter(|prefix| !prefix.is_empty()),
                "location" => to = Some(location(entry.string()?, entry)?).filter(|location| !location.is_empty()),
                "insecure" => insecure = entry.boolean()?.then(|| entry.at()),
                "blocked" => blocked = entry.boolean()?,
                "mirror" => {
                    for (at, entries) in entry.tables()? {
                        let name = entries.iter().find(|entry| entry.key() == "location");
                        let name = name.map_or(Ok("an unnamed one"), Entry::string)?.to_owned();
                        mirrors.push((name, at));
                    }
                }
                "mirror-by-digest-only" => {
                    entry.boolean()?;
                }
                _ => self.other(entry, REGISTRY_KEYS),
            }
        }
        let unset = |why: &str| Undecodable { at: at.clone(), why: why.to_owned() };
        let remaps = prefix.is_some();
        let (prefix, location) = match (prefix, to) {
            (Some(prefix), Some(location)) => (prefix, location),
            (None, Some(location)) => (location.clone(), location),
            (Some(prefix), None) if prefix.starts_with("*.") => (prefix.clone(), prefix),
            (Some(_), None) => {
                return Err(unset("`[[registry]]` without `location`: only a `*.DOMAIN` may do without"));
            }
            (None, None) => return Err(unset("`[[registry]]` with neither `prefix` nor `location`")),
        };
        if prefix.starts_with("*.") && prefix.contains(['/', '@', ':']) {
            return Err(unset("a prefix `*.DOMAIN` has no path, port or digest"));
        }
        self.registries.push(Registry { at, prefix, remaps, location, insecure, blocked, mirrors });
        Ok(())
    }

    /// A key that is none of ours; the tools take one of another case for it.
    fn other(&mut self, entry: &Entry<'_, '_>, known: &[&str]) {
        let folded = entry.key().to_lowercase();
        if known.contains(&folded.as_str()) {
            self.folded.push((entry.key().to_owned(), entry.key_at()));
        }
    }
}

/// As the tools take a location: without a slash at its end, and without a scheme.
fn location(text: &str, entry: &Entry<'_, '_>) -> Result<String, Undecodable> {
    if text.starts_with("http://") || text.starts_with("https://") {
        let why = format!("`{}`: expected `HOST[:PORT][/PATH]`, found a URL", entry.key());
        return Err(Undecodable { at: entry.at(), why });
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// What may stand in a `[[registry]]`.
const REGISTRY_KEYS: &[&str] = &["prefix", "location", "insecure", "blocked", "mirror", "mirror-by-digest-only"];
