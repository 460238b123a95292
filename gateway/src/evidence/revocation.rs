//! The revocation list: what was signed well and is not to be believed any more.
//!
//! Nobody else tells: bundles carry no CRL and no OCSP answer. The format stands in `docs/revocation.md`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::limits::{REVOCATION_BYTES_MAX, REVOCATION_ENTRIES_MAX, REVOCATION_MAX_AGE_S, REVOCATION_TEXT_BYTES_MAX};
use super::rejection::printable;
use super::standing::is_ahead;
use crate::case::{CandidateSource, Digest, San, Signer, Timestamp};
use crate::nkey::Nkey;
use crate::strict_json;

/// The table `[evidence.revocations]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationSettings {
    /// The list's file.
    pub file: PathBuf,
    /// The age past which nothing is answered, in seconds, counted from the list's `issued_at`.
    #[serde(default = "default_max_age_s")]
    pub max_age_s: u64,
}

impl RevocationSettings {
    /// A list with everything else as configured by default.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), max_age_s: REVOCATION_MAX_AGE_S }
    }
}

fn default_max_age_s() -> u64 {
    REVOCATION_MAX_AGE_S
}

/// Why a text is no revocation list.
#[derive(Debug, thiserror::Error)]
pub enum ListFault {
    /// Larger than is read.
    #[error("the list is larger than {REVOCATION_BYTES_MAX} bytes")]
    TooLarge,
    /// No JSON, or JSON that says a thing twice.
    #[error("the list is no strict JSON")]
    Json(#[source] strict_json::StrictJsonError),
    /// JSON of another shape: a missing field, an unknown field or kind.
    #[error("the list has another form than `docs/revocation.md` says")]
    Form(#[source] serde_json::Error),
    /// Another version.
    #[error("the list has the version `{found}`, expected `1`")]
    Version {
        /// What it says.
        found: u64,
    },
    /// More entries than are held.
    #[error("the list has {found} entries, at most {REVOCATION_ENTRIES_MAX} are allowed")]
    TooMany {
        /// How many there are.
        found: usize,
    },
    /// An entry that could match nothing, or something else than it looks like.
    #[error("`entries[{index}].{field}`: {expected}")]
    Entry {
        /// Which one.
        index: usize,
        /// Which of its fields.
        field: &'static str,
        /// What has to stand there.
        expected: &'static str,
    },
    /// Issued in the future.
    #[error("`issued_at` is `{issued_at}`, which is still to come")]
    Ahead {
        /// What it says.
        issued_at: Timestamp,
    },
    /// Issued before the one that is known.
    #[error("the list was issued at `{issued_at}`, but another one of `{known}` is known: an older list came back")]
    Older {
        /// What it says.
        issued_at: Timestamp,
        /// What the known one says.
        known: Timestamp,
    },
}

impl ListFault {
    /// The next thing to do.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Ahead { .. } => "set the clocks right, or issue the list anew",
            Self::Older { .. } => "put the newest list back, and give each new one a later `issued_at`",
            Self::TooLarge | Self::TooMany { .. } => "take out entries about things that no registry holds any more",
            _ => "write it as `docs/revocation.md` says, and move it into place with `mv`",
        }
    }
}

/// One list, in the form in which it is asked.
#[derive(Debug)]
pub struct RevocationList {
    digest: Digest,
    issued_at: Timestamp,
    entries: usize,
    keys: BTreeMap<String, Entry>,
    /// By subject; an entry without an issuer covers every issuer.
    identities: BTreeMap<String, Vec<(Option<String>, Entry)>>,
    artifacts: BTreeMap<Digest, Entry>,
    components: BTreeMap<Digest, Entry>,
    evidence: BTreeMap<Digest, Entry>,
    callers: BTreeMap<String, Entry>,
    roots: Vec<(Option<String>, Option<Digest>, Entry)>,
}

/// Which entry it is, with what it says for a person.
#[derive(Clone, Debug)]
struct Entry {
    index: usize,
    reason: String,
    since: Option<Timestamp>,
}

impl Entry {
    /// A signature that provably existed before the revocation began is not touched; without a proven time it is.
    fn covers(&self, times: &[Timestamp]) -> bool {
        match self.since {
            None => true,
            Some(since) => times.is_empty() || times.iter().any(|time| *time >= since),
        }
    }

    fn says(&self, what: &str) -> String {
        let since = self.since.map_or_else(String::new, |since| format!(" since `{since}`"));
        printable(&format!("{what} is revoked{since} by `entries[{}]`: {}", self.index, self.reason))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "version")]
    _version: u64,
    issued_at: Timestamp,
    entries: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Row {
    Key {
        keyid: String,
        reason: String,
        #[serde(default, deserialize_with = "strict_json::not_null")]
        since: Option<Timestamp>,
    },
    Identity {
        #[serde(default, deserialize_with = "strict_json::not_null")]
        issuer: Option<String>,
        san: String,
        reason: String,
        #[serde(default, deserialize_with = "strict_json::not_null")]
        since: Option<Timestamp>,
    },
    Artifact {
        digest: Digest,
        reason: String,
    },
    Component {
        digest: Digest,
        reason: String,
    },
    Evidence {
        digest: Digest,
        reason: String,
    },
    Caller {
        id: String,
        reason: String,
    },
    TrustRoot {
        #[serde(default, deserialize_with = "strict_json::not_null")]
        name: Option<String>,
        #[serde(default, deserialize_with = "strict_json::not_null")]
        digest: Option<Digest>,
        reason: String,
    },
}

impl RevocationList {
    /// Parses a list in full; nothing that is not understood is passed over.
    ///
    /// # Errors
    /// The first thing that is not as `docs/revocation.md` says.
    pub fn parse(json: &[u8], now: Timestamp) -> Result<Self, ListFault> {
        if json.len() as u64 > REVOCATION_BYTES_MAX {
            return Err(ListFault::TooLarge);
        }
        let value = strict_json::parse(json, DEPTH_MAX).map_err(ListFault::Json)?;
        // The version first: another one may have other fields.
        if let Some(found) = value["version"].as_u64().filter(|found| *found != 1) {
            return Err(ListFault::Version { found });
        }
        let Document { issued_at, entries, .. } = serde_json::from_value(value).map_err(ListFault::Form)?;
        if entries.len() > REVOCATION_ENTRIES_MAX {
            return Err(ListFault::TooMany { found: entries.len() });
        }
        if is_ahead(issued_at, now) {
            return Err(ListFault::Ahead { issued_at });
        }
        let mut list = Self {
            digest: Digest::of(json),
            issued_at,
            entries: entries.len(),
            keys: BTreeMap::new(),
            identities: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            components: BTreeMap::new(),
            evidence: BTreeMap::new(),
            callers: BTreeMap::new(),
            roots: Vec::new(),
        };
        for (index, row) in entries.into_iter().enumerate() {
            list.add(index, row)?;
        }
        Ok(list)
    }

    fn add(&mut self, index: usize, row: Row) -> Result<(), ListFault> {
        let fault = |field, expected| ListFault::Entry { index, field, expected };
        let text = |field, text: String| match text.is_empty() || text.len() > REVOCATION_TEXT_BYTES_MAX {
            true => Err(fault(field, "expected a text of 1 to 2048 bytes")),
            false => Ok(text),
        };
        let entry = |reason: String, since| Ok(Entry { index, reason: text("reason", reason)?, since });
        match row {
            Row::Key { keyid, reason, since } => {
                if !is_key(&keyid) {
                    return Err(fault("keyid", "expected SHA-256 of the SPKI in lower-case hex, or an nkey"));
                }
                let entry = entry(reason, since)?;
                keep(&mut self.keys, keyid, entry);
            }
            Row::Identity { issuer, san, reason, since } => {
                let issuer = issuer.map(|issuer| text("issuer", issuer)).transpose()?;
                let entry = entry(reason, since)?;
                self.identities.entry(text("san", san)?).or_default().push((issuer, entry));
            }
            Row::Artifact { digest, reason } => keep(&mut self.artifacts, digest, entry(reason, None)?),
            Row::Component { digest, reason } => keep(&mut self.components, digest, entry(reason, None)?),
            Row::Evidence { digest, reason } => keep(&mut self.evidence, digest, entry(reason, None)?),
            Row::Caller { id, reason } => keep(&mut self.callers, text("id", id)?, entry(reason, None)?),
            Row::TrustRoot { name, digest, reason } => {
                if name.is_none() && digest.is_none() {
                    return Err(fault("name", "expected the root's name, its digest, or both"));
                }
                let name = name.map(|name| text("name", name)).transpose()?;
                self.roots.push((name, digest, entry(reason, None)?));
            }
        }
        Ok(())
    }

    /// SHA-256 of the list's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// When it was issued: its age counts from here.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether it revokes nothing.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub(super) fn artifact(&self, digest: &Digest) -> Option<String> {
        self.artifacts.get(digest).map(|entry| entry.says(&format!("the artifact `{digest}`")))
    }

    pub(super) fn component(&self, digest: &Digest) -> Option<String> {
        self.components.get(digest).map(|entry| entry.says(&format!("the component `{digest}`")))
    }

    pub(super) fn caller(&self, id: &str) -> Option<String> {
        self.callers.get(id).map(|entry| entry.says(&format!("`{id}`")))
    }

    /// By the bundle's bytes, or by the manifest that holds them.
    pub(super) fn evidence(&self, source: &CandidateSource) -> Option<String> {
        let named = source.name.parse::<Digest>().ok();
        [source.digest, named]
            .into_iter()
            .flatten()
            .find_map(|digest| self.evidence.get(&digest).map(|entry| entry.says(&format!("the evidence `{digest}`"))))
    }

    /// An entry with name and digest means that root in that form alone.
    pub(super) fn trust_root(&self, name: &str, digest: &Digest) -> Option<String> {
        let (.., entry) = self.roots.iter().find(|(wanted, form, _)| {
            wanted.as_ref().is_none_or(|wanted| wanted == name) && form.as_ref().is_none_or(|form| form == digest)
        })?;
        Some(entry.says(&format!("the trust root `{name}`")))
    }

    pub(super) fn signer(&self, signer: &Signer, times: &[Timestamp]) -> Option<String> {
        match signer {
            Signer::Keyless { issuer, san, .. } => self.identity(Some(issuer), san, times),
            Signer::Certificate { san, .. } => self.identity(None, san, times),
            Signer::Key { keyid, .. } => self.key(keyid, times),
            Signer::LegacyNkey { issuer, subject } => self.key(issuer, times).or_else(|| self.key(subject, times)),
        }
    }

    fn key(&self, keyid: &str, times: &[Timestamp]) -> Option<String> {
        let entry = self.keys.get(keyid).filter(|entry| entry.covers(times))?;
        Some(entry.says(&format!("the key `{keyid}`")))
    }

    fn identity(&self, issuer: Option<&str>, san: &San, times: &[Timestamp]) -> Option<String> {
        let (_, entry) = self.identities.get(&san.value)?.iter().find(|(wanted, entry)| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == issuer) && entry.covers(times)
        })?;
        Some(entry.says(&format!("the identity `{}`", san.value)))
    }
}

/// Of two entries for one thing the one that covers more stays.
fn keep<K: Ord>(into: &mut BTreeMap<K, Entry>, key: K, entry: Entry) {
    match into.get(&key) {
        Some(known) if known.since.is_none() || entry.since.is_some_and(|since| Some(since) >= known.since) => {}
        _ => {
            into.insert(key, entry);
        }
    }
}

/// A key as findings name it: SHA-256 in lower-case hex, or a public nkey. A mistyped one would revoke nothing.
fn is_key(keyid: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    keyid.len() == 64 && keyid.bytes().all(hex) || keyid.parse::<Nkey>().is_ok()
}

/// How deep a list may be nested: document, entries, entry.
const DEPTH_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2025-06-02T12:00:00Z".parse().unwrap()
    }

    fn parse(entries: &Value) -> Result<RevocationList, ListFault> {
        let list = json!({"version": 1, "issued_at": now(), "entries": entries});
        RevocationList::parse(list.to_string().as_bytes(), now())
    }

    fn one(entry: Value) -> Result<RevocationList, ListFault> {
        parse(&Value::Array(vec![entry]))
    }

    #[test]
    fn a22_2_what_is_not_understood_is_no_list() {
        let digest = Digest::of(b"x");
        assert!(one(json!({"kind": "artifact", "digest": digest, "reason": "r"})).is_ok());
        for entry in [
            json!({"kind": "artefact", "digest": digest, "reason": "r"}),
            json!({"kind": "artifact", "digest": "sha256:xyz", "reason": "r"}),
            json!({"kind": "artifact", "digest": digest}),
            json!({"kind": "artifact", "digest": digest, "reason": ""}),
            json!({"kind": "artifact", "digest": digest, "reason": "r", "since": now()}),
            json!({"kind": "artifact", "digest": digest, "reason": "r", "Reason": "r"}),
            json!({"kind": "key", "keyid": "release", "reason": "r"}),
            json!({"kind": "key", "keyid": "A".repeat(64), "reason": "r"}),
            json!({"kind": "key", "keyid": "a".repeat(64), "reason": "r", "since": null}),
            json!({"kind": "key", "keyid": "a".repeat(64), "reason": "r", "since": "yesterday"}),
            json!({"kind": "identity", "san": "", "reason": "r"}),
            json!({"kind": "identity", "issuer": null, "san": "x", "reason": "r"}),
            json!({"kind": "caller", "reason": "r"}),
            json!({"kind": "trust-root", "reason": "r"}),
            json!({"digest": digest, "reason": "r"}),
            json!([]),
            json!(null),
        ] {
            assert!(one(entry.clone()).is_err(), "{entry}");
        }
        for text in [
            "",
            "[]",
            "{}",
            "{\"version\":1,\"entries\":[]}",
            "{\"version\":1,\"issued_at\":\"2025-06-02T12:00:00Z\"}",
            "{\"version\":2,\"issued_at\":\"2025-06-02T12:00:00Z\",\"entries\":[]}",
            "{\"version\":1,\"version\":1,\"issued_at\":\"2025-06-02T12:00:00Z\",\"entries\":[]}",
            "{\"version\":1,\"issued_at\":\"2025-06-02T12:00:00Z\",\"entries\":[],\"more\":[]}",
            "{\"version\":1,\"issued_at\":\"2025-06-02T12:02:00Z\",\"entries\":[]}",
        ] {
            assert!(RevocationList::parse(text.as_bytes(), now()).is_err(), "{text}");
        }
    }

    #[test]
    fn a22_2_a_list_of_another_version_says_which() {
        let of = |version: Value| {
            let list = json!({"version": version, "issued_at": now(), "entries": [], "more": 1});
            RevocationList::parse(list.to_string().as_bytes(), now()).unwrap_err()
        };
        for version in [0, 2, u64::MAX] {
            assert!(matches!(of(json!(version)), ListFault::Version { found } if found == version));
        }
        for version in [json!(1), json!(-1), json!(1.0), json!("1"), json!(null)] {
            assert!(matches!(of(version), ListFault::Form(_)));
        }
    }

    #[test]
    fn a22_2_a_list_has_limits() {
        let entry = json!({"kind": "caller", "id": "c", "reason": "r"});
        let many = |count| parse(&Value::Array(vec![entry.clone(); count]));
        assert_eq!(many(REVOCATION_ENTRIES_MAX).unwrap().len(), REVOCATION_ENTRIES_MAX);
        assert!(matches!(many(REVOCATION_ENTRIES_MAX + 1), Err(ListFault::TooMany { .. })));
        let long = |bytes| one(json!({"kind": "caller", "id": "c".repeat(bytes), "reason": "r"}));
        assert!(long(REVOCATION_TEXT_BYTES_MAX).is_ok());
        assert!(matches!(long(REVOCATION_TEXT_BYTES_MAX + 1), Err(ListFault::Entry { .. })));
        let mut padded = b"{\"version\":1,\"issued_at\":\"2025-06-02T12:00:00Z\",\"entries\":[]}".to_vec();
        padded.resize(usize::try_from(REVOCATION_BYTES_MAX).unwrap(), b' ');
        assert!(RevocationList::parse(&padded, now()).is_ok());
        padded.push(b' ');
        assert!(matches!(RevocationList::parse(&padded, now()), Err(ListFault::TooLarge)));
    }

    #[test]
    fn a22_1_a_signature_counts_only_if_every_proven_time_is_before_the_revocation() {
        let second = |second| now() + jiff::SignedDuration::from_secs(second);
        let keyid = "a".repeat(64);
        let key = Signer::Key { name: "k".into(), keyid: keyid.clone() };
        let list = one(json!({"kind": "key", "keyid": keyid, "reason": "stolen", "since": now()})).unwrap();
        assert!(list.signer(&key, &[second(-1)]).is_none());
        assert!(list.signer(&key, &[second(0)]).is_some());
        assert!(list.signer(&key, &[second(-1), second(1)]).is_some());
        assert!(list.signer(&key, &[]).is_some(), "without a proven time it may be of yesterday or of tomorrow");
    }

    #[test]
    fn a22_1_of_two_entries_for_one_key_the_wider_stays() {
        let keyid = "a".repeat(64);
        let key = Signer::Key { name: "k".into(), keyid: keyid.clone() };
        let row = |since: Option<&str>| match since {
            Some(since) => json!({"kind": "key", "keyid": keyid, "reason": "r", "since": since}),
            None => json!({"kind": "key", "keyid": keyid, "reason": "r"}),
        };
        let (early, late) = ("2025-06-01T00:00:00Z", "2025-06-02T00:00:00Z");
        let between: Timestamp = "2025-06-01T12:00:00Z".parse().unwrap();
        for rows in [[Some(early), Some(late)], [Some(late), Some(early)], [None, Some(late)], [Some(late), None]] {
            let list = parse(&rows.map(row).to_vec().into()).unwrap();
            assert!(list.signer(&key, &[between]).is_some(), "{rows:?}");
        }
    }

    #[test]
    fn what_a_person_reads() {
        let digest = Digest::of(b"x");
        let list = one(json!({"kind": "component", "digest": digest, "reason": "CVE-2026-1\nadmit"})).unwrap();
        let detail = list.component(&digest).unwrap();
        assert_eq!(detail, format!("the component `{digest}` is revoked by `entries[0]`: CVE-2026-1\\u{{a}}admit"));
        let since: Timestamp = "2025-06-01T00:00:00Z".parse().unwrap();
        let entry = json!({"kind": "identity", "san": "ci@acme.example", "reason": "left", "since": since});
        let san = San { kind: crate::case::SanKind::Email, value: "ci@acme.example".into() };
        assert_eq!(
            one(entry).unwrap().identity(None, &san, &[]).unwrap(),
            "the identity `ci@acme.example` is revoked since `2025-06-01T00:00:00Z` by `entries[0]`: left"
        );
        let fault = one(json!({"kind": "key", "keyid": "release", "reason": "r"})).unwrap_err();
        assert_eq!(fault.to_string(), "`entries[0].keyid`: expected SHA-256 of the SPKI in lower-case hex, or an nkey");
    }

    #[test]
    fn a22_1_an_identity_is_its_exact_name_of_its_issuer_or_of_every_one() {
        let san = |value: &str| San { kind: crate::case::SanKind::Uri, value: value.into() };
        let keyless = |issuer: &str, value: &str| Signer::Keyless {
            issuer: issuer.into(),
            san: san(value),
            claims: BTreeMap::new(),
        };
        let own = |value: &str| Signer::Certificate { authority: "own".into(), san: san(value) };
        let of_one =
            one(json!({"kind": "identity", "issuer": "https://i", "san": "https://h/x", "reason": "r"})).unwrap();
        let of_all = one(json!({"kind": "identity", "san": "https://h/x", "reason": "r"})).unwrap();
        for (signer, by_one, by_all) in [
            (keyless("https://i", "https://h/x"), true, true),
            (keyless("https://j", "https://h/x"), false, true),
            (own("https://h/x"), false, true),
            (keyless("https://i", "https://h/xy"), false, false),
            (keyless("https://i", "https://H/x"), false, false),
            (own("https://h/"), false, false),
        ] {
            let found = (of_one.signer(&signer, &[]).is_some(), of_all.signer(&signer, &[]).is_some());
            assert_eq!(found, (by_one, by_all), "{signer:?}");
        }
        // Each entry about a name is asked: a narrow one does not hide a wide one.
        let both = parse(&json!([
            {"kind": "identity", "issuer": "https://i", "san": "https://h/x", "reason": "r"},
            {"kind": "identity", "san": "https://h/x", "since": now(), "reason": "r"},
        ]))
        .unwrap();
        assert!(both.signer(&keyless("https://j", "https://h/x"), &[now()]).is_some());
    }

    #[test]
    fn a22_1_an_nkey_is_revoked_as_issuer_and_as_subject() {
        let account = "ADLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRVRTU".to_owned();
        let module = "MA6UAF6D5BBYSWUSW4FKOTI3P26JZGBMZ4XMJFUMYDGVL4JK6RTAYU6I".to_owned();
        let signer = Signer::LegacyNkey { issuer: account.clone(), subject: module.clone() };
        for keyid in [account, module] {
            let list = one(json!({"kind": "key", "keyid": keyid, "reason": "r"})).unwrap();
            assert!(list.signer(&signer, &[]).is_some());
        }
        // One letter mistyped would revoke nothing, without a word: the checksum tells.
        let mistyped = "ADLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRVRTA";
        assert!(one(json!({"kind": "key", "keyid": mistyped, "reason": "r"})).is_err());
    }
}
