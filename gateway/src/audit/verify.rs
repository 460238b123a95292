//! Whether a stored log is what was said: offline, trusting nothing but keys.
//!
//! Every entry is hashed again, every tile and root computed again, every checkpoint's signature and root compared, every
//! body hashed against its entry and every disclosure against its commitment. One read transaction sees one moment.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use uuid::Uuid;

use super::commitment::{Disclosure, disclose};
use super::entry::Entry;
use super::event::Kind;
use super::record::committed;
use super::recording::Admitted;
use super::store::{self, Access, Connection, Filter, FoundBy, LogRow, Order, Row, StoreError};
use super::tlog::{Checkpoint, Hash, PolicyError, Tree, TrustPolicy, VerifierKey, VkeyError, leaf_hash};
use crate::case::{Case, DecisionFacts, Digest, canonical_json};

/// How many entries are held in memory at once.
const PAGE: u32 = 256;

/// What the reader trusts.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// The log's key; without it, the key is the one that the database names, which proves no more than that the log is
    /// consistent with itself.
    pub vkey: Option<VerifierKey>,
    /// Whose cosignatures the newest checkpoint must carry.
    pub policy: Option<TrustPolicy>,
    /// A signed checkpoint that was kept elsewhere: the log must begin with it.
    pub anchor: Option<String>,
}

/// A log that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its name with its incarnation.
    pub origin: String,
    /// The number of entries.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// The newest signed checkpoint.
    pub checkpoint: String,
    /// The keys its checkpoints were checked with.
    pub vkeys: Vec<String>,
    /// Whether the reader brought the key.
    pub key_source: KeySource,
    /// The number of stored checkpoints.
    pub checkpoints: u64,
    /// The number of entries of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// The number of admissions and refusals.
    pub verdicts: BTreeMap<String, u64>,
    /// The number of fields whose values are gone.
    pub redacted: u64,
    /// Incarnations before this one, verified as well.
    pub earlier: Vec<(String, u64)>,
}

/// Where the key came from that checkpoints were checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The reader brought it.
    Given,
    /// The database named it.
    Database,
}

impl Verified {
    /// The number of decisions.
    pub fn decisions(&self) -> u64 {
        self.kinds.get(Kind::Decision.as_str()).copied().unwrap_or(0)
    }
}

/// What is wrong with a log, and where.
#[derive(Debug, thiserror::Error)]
pub enum VerifyFault {
    /// The database cannot be read.
    #[error("could not read the log")]
    Unreadable(#[from] StoreError),
    /// There is no log in it.
    #[error("the database holds no log")]
    NoLog,
    /// The database names a key that is none.
    #[error("the log names a key that is none")]
    StoredKey(#[source] VkeyError),
    /// An index is missing, or stands twice.
    #[error("entry {index} is missing")]
    Gap {
        /// The first index that is missing.
        index: u64,
    },
    /// The stored leaf hash is not the entry's.
    #[error("entry {index} does not hash to its leaf")]
    Leaf {
        /// Its index.
        index: u64,
    },
    /// The entry is not what this version writes.
    #[error("entry {index} is not in canonical form")]
    Entry {
        /// Its index.
        index: u64,
    },
    /// Entry and body say different things.
    #[error("entry {index} and its body differ in `{field}`")]
    Field {
        /// Its index.
        index: u64,
        /// What differs.
        field: &'static str,
    },
    /// The body is not the one that was committed to.
    #[error("the body of entry {index} does not hash to its entry's `body_commit`")]
    Body {
        /// Its index.
        index: u64,
    },
    /// A disclosure is not the value that was committed to.
    #[error("the disclosure of `{pointer}` of entry {index} is not what was committed to")]
    Disclosure {
        /// The entry's index.
        index: u64,
        /// The field.
        pointer: String,
    },
    /// A stored tile is not the tree's.
    #[error("tile {tile} of level {level} is not the tree's")]
    Tile {
        /// Its level.
        level: u8,
        /// Its number.
        tile: u64,
    },
    /// The stored tree is not the one that the entries make.
    #[error("the entries make another tree of {size} than the stored one")]
    Tree {
        /// The stored size.
        size: u64,
    },
    /// A checkpoint is not signed by the log's key.
    #[error("the checkpoint of size {size} is not signed by the log's key")]
    Checkpoint {
        /// Its size.
        size: u64,
        /// Why not.
        source: PolicyError,
    },
    /// A checkpoint signs another tree than the entries make.
    #[error("the checkpoint of size {size} signs another tree than the entries make")]
    Root {
        /// Its size.
        size: u64,
    },
    /// The newest checkpoint does not cover the newest entry.
    #[error("no checkpoint covers the {size} entries")]
    NotCovered {
        /// The number of entries.
        size: u64,
    },
    /// Rows that no leaf stands for.
    #[error("the database holds {count} {what} that the tree knows nothing of")]
    Stray {
        /// How many.
        count: u64,
        /// Of what.
        what: &'static str,
    },
    /// An admission that the index of admissions does not know, or knows an older one for.
    #[error("entry {index} is an admission that the index of admissions does not know")]
    Admission {
        /// Its index.
        index: u64,
    },
    /// The log does not begin with the anchor.
    #[error("the log does not begin with the anchor of size {size}")]
    Anchor {
        /// The anchor's size.
        size: u64,
    },
    /// The anchor is no checkpoint of this log.
    #[error("the anchor is no checkpoint of this log")]
    AnchorForm(#[source] PolicyError),
    /// The newest checkpoint does not satisfy the reader's policy.
    #[error("the newest checkpoint does not satisfy the policy")]
    Policy(#[source] PolicyError),
}

/// Verifies every log in the database at `database`; the newest one is described.
pub async fn verify(database: &Path, options: &VerifyOptions) -> Result<Verified, VerifyFault> {
    let mut connection = store::open(database, Access::Read).await?;
    store::begin_snapshot(&mut connection).await?;
    let logs = store::logs(&mut connection).await?;
    let (newest, earlier) = logs.split_last().ok_or(VerifyFault::NoLog)?;
    let mut verified_earlier = Vec::new();
    for log in earlier {
        let trust = Trust::of(&mut connection, log, &VerifyOptions::default()).await?;
        let walk = Walk::along(&mut connection, log, &trust, None).await?;
        verified_earlier.push((log.origin.clone(), walk.tree.size()));
    }
    let trust = Trust::of(&mut connection, newest, options).await?;
    let anchor = match &options.anchor {
        Some(note) => Some(trust.check(note).map_err(VerifyFault::AnchorForm)?),
        None => None,
    };
    let walk = Walk::along(&mut connection, newest, &trust, anchor.as_ref()).await?;
    if let Some(policy) = &options.policy {
        policy.verify(walk.newest_checkpoint.as_bytes()).map_err(VerifyFault::Policy)?;
    }
    let counts = store::counts(&mut connection, newest.log_id).await?;
    let stray_notes =
        if store::has_admissions(&mut connection).await? { store::stray_notes(&mut connection).await? } else { 0 };
    let stray = [(counts.stray_disclosures, "disclosures"), (stray_notes, "notes of admissions")];
    if let Some((count, what)) = stray.into_iter().find(|(count, _)| *count > 0) {
        return Err(VerifyFault::Stray { count, what });
    }
    Ok(Verified {
        origin: newest.origin.clone(),
        size: walk.tree.size(),
        root: Digest::from_bytes(walk.tree.root()),
        checkpoint: walk.newest_checkpoint,
        vkeys: trust.keys.iter().map(VerifierKey::to_string).collect(),
        key_source: trust.source,
        checkpoints: walk.checkpoints,
        kinds: walk.kinds,
        verdicts: walk.verdicts,
        redacted: walk.redacted,
        earlier: verified_earlier,
    })
}

/// The keys that a log's checkpoints may be signed with.
struct Trust {
    keys: Vec<VerifierKey>,
    origin: String,
    source: KeySource,
}

impl Trust {
    async fn of(connection: &mut Connection, log: &LogRow, options: &VerifyOptions) -> Result<Self, VerifyFault> {
        let origin = log.origin.clone();
        if let Some(key) = &options.vkey {
            return Ok(Self { keys: vec![key.clone()], origin, source: KeySource::Given });
        }
        let stored = store::keys(connection, log.log_id).await?;
        let keys = stored.iter().map(|vkey| vkey.parse()).collect::<Result<_, _>>().map_err(VerifyFault::StoredKey)?;
        Ok(Self { keys, origin, source: KeySource::Database })
    }

    /// The checkpoint in a note, if one of the keys signed it under this origin.
    fn check(&self, note: &str) -> Result<Checkpoint, PolicyError> {
        let mut refused = PolicyError::Incomplete;
        for key in &self.keys {
            match TrustPolicy::of_log(key.clone()).verify(note.as_bytes()) {
                Ok(checkpoint) if checkpoint.origin == self.origin => return Ok(checkpoint),
                Ok(checkpoint) => refused = PolicyError::Origin { origin: checkpoint.origin },
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

/// One walk along a log.
#[derive(Default)]
struct Walk {
    tree: Tree,
    kinds: BTreeMap<String, u64>,
    verdicts: BTreeMap<String, u64>,
    redacted: u64,
    checkpoints: u64,
    newest_checkpoint: String,
}

impl Walk {
    async fn along(
        connection: &mut Connection,
        log: &LogRow,
        trust: &Trust,
        anchor: Option<&Checkpoint>,
    ) -> Result<Self, VerifyFault> {
        let mut walk = Self::default();
        let (size, root) = store::tree(connection, log.log_id).await?;
        let mut pending = Checkpoints::default();
        pending.pass(connection, log, trust, &mut walk).await?;
        let has_admissions = store::has_admissions(connection).await?;
        let mut full_tiles = Vec::new();
        loop {
            let after = walk.tree.size().checked_sub(1);
            let (order, filter) = (Order::OldestFirst, Filter::default());
            let page = store::rows(connection, log.log_id, after, order, filter, PAGE).await?;
            if page.is_empty() {
                break;
            }
            let mut disclosures: BTreeMap<Uuid, Vec<Disclosure>> = BTreeMap::new();
            for (id, disclosure) in store::disclosures(connection, page.iter().map(|row| row.id)).await? {
                disclosures.entry(id).or_default().push(disclosure);
            }
            for row in page {
                let (leaf, admitted) = walk.entry(&row, &disclosures.remove(&row.id).unwrap_or_default())?;
                walk.tree.push(leaf, &mut full_tiles);
                // With every note pointing at an admission, and none older than any, each is the newest.
                if let Some(admitted) = admitted.filter(|_| has_admissions)
                    && store::noted(connection, &admitted).await?.is_none_or(|noted| noted < (log.log_id, row.idx))
                {
                    return Err(VerifyFault::Admission { index: row.idx });
                }
                for tile in full_tiles.drain(..) {
                    let hashes = store::stored_tile(connection, log.log_id, tile.level, tile.index).await?;
                    if hashes.is_none_or(|stored| stored != (tile.hash, tile.hashes)) {
                        return Err(VerifyFault::Tile { level: tile.level, tile: tile.index });
                    }
                }
                pending.pass(connection, log, trust, &mut walk).await?;
                if let Some(anchor) = anchor.filter(|anchor| anchor.size == walk.tree.size())
                    && anchor.root != walk.tree.root()
                {
                    return Err(VerifyFault::Anchor { size: anchor.size });
                }
            }
        }
        walk.end(connection, log, (size, root), &pending, anchor).await?;
        Ok(walk)
    }

    /// Compares what is beside the entries: tree row, row counts, anchor, the newest checkpoint.
    async fn end(
        &self,
        connection: &mut Connection,
        log: &LogRow,
        stored: (u64, Hash),
        checkpoints: &Checkpoints,
        anchor: Option<&Checkpoint>,
    ) -> Result<(), VerifyFault> {
        let size = self.tree.size();
        let counts = store::counts(connection, log.log_id).await?;
        if counts.leaves > size {
            return Err(VerifyFault::Gap { index: size });
        }
        if stored != (size, self.tree.root()) {
            return Err(VerifyFault::Tree { size: stored.0 });
        }
        if let Some((at, _)) = checkpoints.page.front() {
            return Err(VerifyFault::Root { size: *at });
        }
        if checkpoints.last != Some(size) {
            return Err(VerifyFault::NotCovered { size });
        }
        if let Some(anchor) = anchor.filter(|anchor| anchor.size > size) {
            return Err(VerifyFault::Anchor { size: anchor.size });
        }
        let tiles: u64 = (1..=8).map(|level| super::tlog::tree::level_width(size, level)).sum();
        let stray = [(counts.rows.saturating_sub(size), "rows"), (counts.tiles.saturating_sub(tiles), "tiles")];
        match stray.into_iter().find(|(count, _)| *count > 0) {
            Some((count, what)) => Err(VerifyFault::Stray { count, what }),
            None => Ok(()),
        }
    }

    /// Checks one row, and gives its leaf and what it admitted.
    fn entry(&mut self, row: &Row, disclosures: &[Disclosure]) -> Result<(Hash, Option<Admitted>), VerifyFault> {
        let index = self.tree.size();
        if row.idx != index {
            return Err(VerifyFault::Gap { index });
        }
        let leaf = leaf_hash(&row.entry);
        if leaf != row.leaf {
            return Err(VerifyFault::Leaf { index });
        }
        let entry = Entry::parse(&row.entry).ok_or(VerifyFault::Entry { index })?;
        if Digest::of(&row.body) != entry.body_commit {
            return Err(VerifyFault::Body { index });
        }
        if entry.id != row.id {
            return Err(VerifyFault::Field { index, field: "id" });
        }
        found_by_what_it_says(index, &entry, &row.found_by)?;
        let mut body: Value = serde_json::from_slice(&row.body).map_err(|_| VerifyFault::Body { index })?;
        let pointers = committed(&body).ok_or(VerifyFault::Body { index })?;
        let mut admitted = None;
        if let Some(decision) = &entry.decision {
            admitted = same_decision(index, &entry, decision, &body)?;
            *self.verdicts.entry(decision.verdict.as_str().to_owned()).or_default() += 1;
        } else if body["kind"] != entry.kind.as_str() {
            return Err(VerifyFault::Field { index, field: "kind" });
        }
        for disclosure in disclosures {
            if !pointers.contains(&disclosure.pointer) || !disclose(&mut body, disclosure) {
                return Err(VerifyFault::Disclosure { index, pointer: disclosure.pointer.clone() });
            }
        }
        self.redacted += (pointers.len() - disclosures.len()) as u64;
        *self.kinds.entry(entry.kind.to_string()).or_default() += 1;
        Ok((leaf, admitted))
    }
}

/// A column that differs from the entry would hide it from whoever lists refusals, or an artifact's decisions.
fn found_by_what_it_says(index: u64, entry: &Entry, found_by: &FoundBy) -> Result<(), VerifyFault> {
    let decision = entry.decision.as_ref();
    let verdict = decision.map(|decision| decision.verdict.as_str());
    let artifact = decision.map(|decision| decision.artifact.as_bytes().as_slice());
    let field = if found_by.kind != entry.kind.as_str() {
        "kind"
    } else if found_by.verdict.as_deref() != verdict {
        "verdict"
    } else if found_by.artifact.as_deref() != artifact {
        "artifact"
    } else {
        return Ok(());
    };
    Err(VerifyFault::Field { index, field })
}

/// Whether the entry is the one that follows from the body; gives what it admitted.
fn same_decision(
    index: u64,
    entry: &Entry,
    decision: &super::entry::DecisionEntry,
    body: &Value,
) -> Result<Option<Admitted>, VerifyFault> {
    let field = |field| VerifyFault::Field { index, field };
    if Digest::of(&canonical_json(&body["case"])) != decision.case_digest {
        return Err(field("case_digest"));
    }
    let case: Case = serde_json::from_value(body["case"].clone()).map_err(|_| field("case"))?;
    let facts: DecisionFacts = serde_json::from_value(body["decision"].clone()).map_err(|_| field("decision"))?;
    let expected = Entry::of_decision(&case, &facts, decision.case_digest, entry.body_commit);
    let expected_decision = expected.decision.as_ref().expect("an entry of a decision has its part");
    let same = [
        ("id", facts.id == entry.id && expected.id == entry.id),
        ("time", expected.time == entry.time),
        ("verdict", expected_decision.verdict == decision.verdict),
        ("artifact", expected_decision.artifact == decision.artifact),
        ("policy", expected_decision.policy == decision.policy),
        ("reasons", expected_decision.reasons == decision.reasons),
        ("evidence", expected_decision.evidence == decision.evidence),
        ("entry", expected == *entry),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some((name, _)) => Err(field(name)),
        None => Ok(Admitted::of(&case, &facts)),
    }
}

/// The stored checkpoints in the order of their sizes, a page at a time.
#[derive(Default)]
struct Checkpoints {
    page: std::collections::VecDeque<(u64, String)>,
    read_to: Option<u64>,
    last: Option<u64>,
    done: bool,
}

impl Checkpoints {
    /// Checks every checkpoint of the tree's present size.
    async fn pass(
        &mut self,
        connection: &mut Connection,
        log: &LogRow,
        trust: &Trust,
        walk: &mut Walk,
    ) -> Result<(), VerifyFault> {
        if self.page.is_empty() && !self.done {
            self.page = store::checkpoints(connection, log.log_id, self.read_to, PAGE).await?.into();
            self.read_to = self.page.back().map(|(size, _)| *size).or(self.read_to);
            self.done = self.page.is_empty();
        }
        let Some((size, note)) = self.page.pop_front_if(|(size, _)| *size <= walk.tree.size()) else { return Ok(()) };
        let checkpoint = trust.check(&note).map_err(|source| VerifyFault::Checkpoint { size, source })?;
        if checkpoint.size != size || size != walk.tree.size() || checkpoint.root != walk.tree.root() {
            return Err(VerifyFault::Root { size });
        }
        walk.checkpoints += 1;
        walk.newest_checkpoint = note;
        self.last = Some(size);
        Ok(())
    }
}
