//! One `hosts.toml` of containerd: whom it asks for a registry, in which order, and whether each of them is witgate.
//!
//! The rules are containerd's own (`docs/hosts.md`, `core/remotes/docker/config/hosts.go`): the tables of `host` are asked in
//! the order of the file, then `server`, then nobody; without a `server` the registry itself stands in its place. A 403, 404 or
//! 451 of one sends it to the next. A file that it cannot decode is logged and left aside, and the registry itself is asked; before
//! 2.0 that includes each file without a table of `host` (measured with 1.6.20, read in 1.7.27).

use std::path::Path;

use super::document::{Document, Entry, Undecodable};
use super::endpoint::{Endpoint, Scheme};
use super::finding::Finding;
use super::guard::Guard;

/// The folder whose file counts where a registry has no folder of its own.
pub(super) const DEFAULT: &str = "_default";

/// What stands in the file of the registry `namespace`.
pub(super) fn check(path: &Path, namespace: &str, text: &str, guard: &Guard) -> Vec<Finding> {
    let about = path.display().to_string();
    if text.is_empty() {
        let found = format!("the file is empty: containerd asks {} itself", itself(namespace));
        return vec![fixed(Finding::wrong(SERVER, about, found), path, guard)];
    }
    let file = match Document::parse(path, text).and_then(|document| File::read(&document)) {
        Ok(file) => file,
        Err(Undecodable { at, why }) => {
            let found = format!(
                "containerd cannot decode the file, leaves it aside and asks {} itself: {why}",
                itself(namespace)
            );
            return vec![fixed(Finding::wrong(UNDECODABLE, at, found), path, guard)];
        }
    };
    let mut findings = file.findings(path, namespace, guard);
    if findings.is_empty() {
        let found = format!("whoever asks for {} asks witgate alone", itself(namespace));
        findings.push(Finding::ok(HOSTS, about, found));
    }
    findings
}

/// A registry in words.
pub(super) fn itself(namespace: &str) -> String {
    if namespace == DEFAULT { "each registry without a folder of its own".into() } else { format!("`{namespace}`") }
}

/// The finding with the whole file as it should be.
pub(super) fn fixed(finding: Finding, path: &Path, guard: &Guard) -> Finding {
    finding.with_fix(format!("write this to `{}`", path.display()), guard.hosts_toml())
}

/// A file that containerd can decode.
struct File {
    /// In the order in which they are asked; `server` is the last.
    hosts: Vec<Host>,
    /// Whether `server` is among them.
    has_server: bool,
    /// Where a table of `host` has a key `server`.
    lost_server: Option<String>,
    /// Keys that are not containerd's, with what is wrong.
    strange: Vec<(Strange, String, String)>,
}

enum Strange {
    /// Taken for another key, whatever its case.
    Folded,
    /// Passed over.
    Unknown,
}

/// Somebody whom containerd asks.
struct Host {
    name: String,
    at: String,
    /// None: no address that two programs read alike.
    endpoint: Option<Endpoint>,
    settings: Settings,
}

/// What a host may be asked, and how.
#[derive(Default)]
struct Settings {
    /// Without any: everything.
    capabilities: Vec<String>,
    /// Where `skip_verify = true` stands.
    skip_verify: Option<String>,
}

impl Settings {
    fn can(&self, capability: &str) -> bool {
        self.capabilities.is_empty() || self.capabilities.iter().any(|one| one == capability)
    }
}

impl File {
    fn read(document: &Document<'_>) -> Result<Self, Undecodable> {
        let mut file = Self { hosts: Vec::new(), has_server: false, lost_server: None, strange: Vec::new() };
        let (mut server, mut of_server) = (None, Settings::default());
        for entry in document.entries() {
            match entry.key() {
                "server" => server = Some(entry).filter(|entry| entry.string() != Ok("")),
                "host" => {
                    for host in entry.table()? {
                        let mut settings = Settings::default();
                        for entry in host.table()? {
                            if entry.key() == "server" {
                                file.lost_server = Some(entry.key_at());
                            } else {
                                file.setting(&entry, HOST_KEYS, &mut settings)?;
                            }
                        }
                        file.hosts.push(Host::new(host.key(), host.key_at(), settings));
                    }
                }
                _ => file.setting(&entry, ROOT_KEYS, &mut of_server)?,
            }
        }
        if let Some(server) = server {
            file.has_server = true;
            if let Some(at) = file.lost_server.take() {
                file.strange.push((
                    Strange::Unknown,
                    at,
                    "containerd knows no key `server` in a table and passes it over".into(),
                ));
            }
            file.hosts.push(Host::new(server.string()?, server.at(), of_server));
        }
        Ok(file)
    }

    /// One key of the root or of a host, as containerd types it.
    fn setting(&mut self, entry: &Entry<'_, '_>, known: &[&str], settings: &mut Settings) -> Result<(), Undecodable> {
        match entry.key() {
            "capabilities" => {
                for capability in entry.strings()? {
                    let folded = capability.to_lowercase();
                    match folded.as_str() {
                        "pull" | "resolve" | "push" => settings.capabilities.push(folded),
                        _ => {
                            let why = format!(
                                "`{capability}` is no capability that each containerd knows: expected `pull`, `resolve` or `push`"
                            );
                            return Err(Undecodable { at: entry.at(), why });
                        }
                    }
                }
            }
            "skip_verify" => settings.skip_verify = entry.boolean()?.then(|| entry.at()),
            "override_path" => {
                entry.boolean()?;
            }
            "dial_timeout" => {
                let text = entry.string()?;
                if !text.is_empty() && !is_go_duration(text) {
                    let why = format!("`dial_timeout`: expected a duration such as `30s`, found `{text}`");
                    return Err(Undecodable { at: entry.at(), why });
                }
            }
            "proxy" => {
                entry.string()?;
            }
            "ca" if !entry.is_text_or_texts(1) => return Err(entry.expected("a path or an array of paths")),
            "client" if !entry.is_text_or_texts(2) || entry.inner_lengths().iter().any(|length| *length != 2) => {
                return Err(entry.expected("a path, an array of paths or an array of pairs of paths"));
            }
            "header" => {
                for header in entry.table()? {
                    if !header.is_text_or_texts(1) {
                        return Err(header.expected("a string or an array of strings"));
                    }
                }
            }
            "ca" | "client" => {}
            key => {
                let folded = key.to_lowercase();
                let at = entry.key_at();
                self.strange.push(if known.contains(&folded.as_str()) {
                    (
                        Strange::Folded,
                        at,
                        format!("containerd 2 takes `{key}` for `{folded}`, whichever comes last: write `{folded}`"),
                    )
                } else {
                    (Strange::Unknown, at, format!("containerd knows no key `{key}` here and passes it over"))
                });
            }
        }
        Ok(())
    }

    fn findings(&self, path: &Path, namespace: &str, guard: &Guard) -> Vec<Finding> {
        let about = path.display().to_string();
        let is_witgate = |host: &Host| host.endpoint.as_ref().is_some_and(|endpoint| guard.is_witgate(endpoint));
        let first = self.hosts.iter().position(is_witgate);
        if first.is_none() && namespace != DEFAULT && !guard.guards(namespace) {
            let found = format!("no upstream of witgate: what comes from `{namespace}` goes past it");
            return vec![Finding::warn(OTHER, about, found)];
        }
        let mut findings = Vec::new();
        for (index, host) in self.hosts.iter().enumerate().filter(|(_, host)| !is_witgate(host)) {
            let server = self.has_server && index + 1 == self.hosts.len();
            let name = &host.name;
            let (check, is) =
                if server { (SERVER, format!("`server` is `{name}`,")) } else { (HOST, format!("`{name}` is")) };
            let then = match (host.endpoint.is_some(), first) {
                (false, _) => "no address that every program reads alike: expected `https://HOST[:PORT]`",
                (true, None) => "not witgate, and witgate is never asked",
                (true, Some(first)) if first < index => "not witgate: containerd asks it for what witgate refuses",
                (true, Some(_)) => "not witgate, and asked before it: witgate never sees what it has",
            };
            let found = format!("{is} {then}");
            findings.push(Finding::wrong(check, host.at.clone(), found));
        }
        // What nobody says is witgate where the folder is witgate's own.
        if !self.has_server && !guard.is_own_name(namespace) {
            let lost = self.lost_server.as_ref().map_or_else(String::new, |at| {
                format!("; the one at {at} belongs to the table above it: put it before the first table")
            });
            let found = format!(
                "there is no `server`: containerd asks {} itself for what witgate refuses{lost}",
                itself(namespace)
            );
            findings.push(Finding::wrong(SERVER, about, found));
        }
        if self.hosts.len() == usize::from(self.has_server) && !guard.is_own_name(namespace) {
            let found = format!(
                "there is no table `host`: before containerd 2.0 that is a file it cannot decode, and it asks {} itself",
                itself(namespace)
            );
            findings.push(Finding::wrong(NO_HOST, path.display().to_string(), found));
        }
        let closed = findings.is_empty();
        for host in self.hosts.iter().filter(|host| is_witgate(host)) {
            findings.extend(self.incapable(host, closed, &is_witgate));
            findings.extend(host.transport());
        }
        for (strange, at, found) in &self.strange {
            findings.push(match strange {
                Strange::Folded => Finding::wrong(KEY, at, found),
                Strange::Unknown => Finding::warn(KEY, at, found),
            });
        }
        findings.into_iter().map(|finding| fixed(finding, path, guard)).collect()
    }

    /// What witgate is not asked for although it is asked.
    fn incapable(&self, host: &Host, closed: bool, is_witgate: &dyn Fn(&Host) -> bool) -> Option<Finding> {
        let missing: Vec<&str> = ["pull", "resolve"].into_iter().filter(|one| !host.settings.can(one)).collect();
        let elsewhere =
            |capability: &&str| self.hosts.iter().any(|other| is_witgate(other) && other.settings.can(capability));
        let (name, names) = (&host.name, missing.join("` and `"));
        if missing.is_empty() || (closed && missing.iter().all(elsewhere)) {
            return None;
        }
        Some(if closed {
            let found =
                format!("`{name}` lacks `{names}` in its `capabilities`, and nobody else has it: nothing is pulled");
            Finding::warn(CAPABILITIES, host.at.clone(), found)
        } else {
            let found =
                format!("`{name}` lacks `{names}` in its `capabilities`: containerd goes past it to the others");
            Finding::wrong(CAPABILITIES, host.at.clone(), found)
        })
    }
}

impl Host {
    fn new(name: &str, at: String, settings: Settings) -> Self {
        // containerd takes what begins with `http` for a URL, and a URL without a host for none: it asks the registry itself.
        let misread = name.starts_with("http") && !name.contains("://");
        let endpoint = name.parse().ok().filter(|_| !misread);
        Self { name: name.to_owned(), at, endpoint, settings }
    }

    /// How somebody between containerd and witgate could answer in its place.
    fn transport(&self) -> Vec<Finding> {
        let Some(endpoint) = self.endpoint.as_ref().filter(|endpoint| !endpoint.is_loopback()) else {
            return Vec::new();
        };
        let mut findings = Vec::new();
        let between = "whoever is between can answer in its place";
        if endpoint.scheme() == Scheme::Http {
            let found = format!("witgate is asked in clear at `{endpoint}`: {between}");
            findings.push(Finding::wrong(TRANSPORT, self.at.clone(), found));
        }
        if let Some(at) = &self.settings.skip_verify {
            let found = format!("`skip_verify`: nobody looks at the certificate of `{endpoint}`: {between}");
            findings.push(Finding::wrong(TRANSPORT, at, found));
        }
        findings
    }
}

/// `1m30s`, as Go's `time.ParseDuration` reads it.
fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let digits = rest.len() - number.len();
        let written = rest.get(..digits).unwrap_or_default();
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].into_iter().filter(|unit| number.starts_with(unit));
        let Some(unit) = unit.max_by_key(|unit| unit.len()) else { return false };
        if !written.bytes().any(|byte| byte.is_ascii_digit()) || written.matches('.').count() > 1 {
            return false;
        }
        rest = number.get(unit.len()..).unwrap_or_default();
        parts += 1;
    }
    parts > 0
}

/// The file as a whole.
const HOSTS: &str = "containerd-hosts";
/// The last whom containerd asks.
const SERVER: &str = "containerd-server";
/// Whether older ones can decode it.
const NO_HOST: &str = "containerd-no-host";
/// Those whom it asks before.
const HOST: &str = "containerd-host";
/// What witgate is not asked for.
const CAPABILITIES: &str = "containerd-capabilities";
/// How witgate is asked.
const TRANSPORT: &str = "containerd-transport";
/// A key that means another, or nothing.
const KEY: &str = "containerd-key";
/// A file that containerd leaves aside.
const UNDECODABLE: &str = "containerd-undecodable";
/// A registry that is not behind witgate.
const OTHER: &str = "containerd-other";
/// What may stand in the root of the file.
const ROOT_KEYS: &[&str] = &[
    "server",
    "host",
    "capabilities",
    "ca",
    "client",
    "skip_verify",
    "header",
    "override_path",
    "dial_timeout",
    "proxy",
];
/// What may stand in a table of `host`.
const HOST_KEYS: &[&str] =
    &["capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout", "proxy"];
