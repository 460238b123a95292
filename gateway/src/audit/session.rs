//! One opened log: a connection, the tree as it stands there, and the guards that say it is still ours.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::anchor::Anchor;
use super::guard::Files;
use super::recording::Recording;
use super::start::LogFault;
use super::store::{self, Access, Batch, Connection, Step};
use super::tlog::tree::{Nodes, levels};
use super::tlog::{Checkpoint, EMPTY_ROOT, Hash, Node, Plan, SignedNote, Signer, Tree};
use crate::case::Timestamp;

/// How long the file system may take for the guards before a batch.
const GUARD_DEADLINE: Duration = Duration::from_secs(1);

/// What does not change while the log is open.
#[derive(Debug)]
pub(super) struct Log {
    pub database: PathBuf,
    pub log_id: i64,
    pub signer: Signer,
    pub anchor: Arc<Anchor>,
}

/// A size with its root and signed checkpoint, after COMMIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub size: u64,
    pub root: Hash,
    pub checkpoint: String,
}

/// An open database with the tree that stands in it.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    tree: Tree,
    files: Files,
    published: Published,
}

/// A committed batch: what receipts are made of.
#[derive(Debug)]
pub(super) struct Committed {
    pub first_index: u64,
    pub published: Published,
    pub signed_at: Timestamp,
    nodes: Nodes,
}

impl Log {
    fn origin(&self) -> &str {
        self.signer.verifier().name()
    }
}

impl Session {
    /// Takes the log up as the database has it, and refuses when the tree contradicts itself, or is older than what this
    /// process (`last`) or the anchor has published.
    pub async fn open(log: &Log, last: Option<&Published>) -> Result<Self, LogFault> {
        let mut connection = store::open(&log.database, Access::Write).await?;
        let (size, root) = store::tree(&mut connection, log.log_id).await?;
        let mut pending = Vec::new();
        for level in 0..levels(size) {
            pending.push(store::partial(&mut connection, log.log_id, size, level).await?);
        }
        let tree = Tree::resume(size, pending).map_err(|error| LogFault::Damaged { detail: error.to_string() })?;
        let (_, checkpoint) = store::newest_checkpoint(&mut connection, log.log_id).await?;
        let published = Published { size, root, checkpoint };
        if tree.root() != root || !is_signed(log, &published) {
            return Err(LogFault::Damaged {
                detail: format!("the tree of {size} entries is not the one that was signed"),
            });
        }
        let files = Files::of(&log.database)?;
        let mut session = Self { connection, tree, files, published };
        if let Some(last) = last {
            session.contains(log, last.size, &last.root).await?;
        }
        session.check_anchor(log).await?;
        Ok(session)
    }

    /// What was published last.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// Refuses when the files are not those that were opened, or the anchor is ahead of us.
    pub async fn check_guards(&mut self, log: &Log) -> Result<(), LogFault> {
        let files = self.files.clone();
        on_disk(move || files.check()).await?;
        self.check_anchor(log).await
    }

    async fn check_anchor(&mut self, log: &Log) -> Result<(), LogFault> {
        let anchor = Arc::clone(&log.anchor);
        match on_disk(move || anchor.read()).await? {
            Some(checkpoint) => self.contains(log, checkpoint.size, &checkpoint.root).await,
            None => Ok(()),
        }
    }

    /// Refuses unless this log begins with the tree of `size` and `root`.
    async fn contains(&mut self, log: &Log, size: u64, root: &Hash) -> Result<(), LogFault> {
        let ours = if size == self.published.size {
            Some(self.published.root)
        } else {
            self.root_at(log.log_id, size).await?
        };
        if ours.as_ref() == Some(root) {
            return Ok(());
        }
        Err(LogFault::RolledBack { size: self.published.size, published: size, origin: log.origin().to_owned() })
    }

    /// The root that the log had at `size`; `None` when it is smaller.
    async fn root_at(&mut self, log_id: i64, size: u64) -> Result<Option<Hash>, LogFault> {
        if size > self.published.size {
            return Ok(None);
        }
        let Some(plan) = Plan::root(size) else { return Ok(Some(EMPTY_ROOT)) };
        let nodes = store::nodes(&mut self.connection, log_id, self.published.size, plan.nodes()).await?;
        Ok(plan.hashes(|node| nodes.get(node)).map(|hashes| hashes[0]))
    }

    /// Appends a batch in one transaction. On an error the session must be given up: whether COMMIT happened is for the
    /// database to say.
    pub async fn append(
        &mut self,
        log: &Log,
        recordings: &[Recording],
        reached: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Committed, LogFault> {
        let mut tree = self.tree.clone();
        let mut full_tiles = Vec::new();
        for recording in recordings {
            tree.push(recording.leaf, &mut full_tiles);
        }
        let (size, root) = (tree.size(), tree.root());
        let checkpoint = Checkpoint { origin: log.origin().to_owned(), size, root };
        let checkpoint = log.signer.sign(&checkpoint.to_string()).to_string();
        let signed_at = recordings.iter().map(|recording| recording.entry.time).max().unwrap_or_default();
        let batch = Batch {
            log_id: log.log_id,
            old: (self.published.size, self.published.root),
            recordings,
            full_tiles: &full_tiles,
            new: (size, root),
            checkpoint: &checkpoint,
            signed_at,
        };
        store::append(&mut self.connection, &batch, reached).await?;
        let mut nodes = Nodes::default();
        for tile in &full_tiles {
            nodes.add(tile.level, tile.index, &tile.hashes);
        }
        tree.add_to(&mut nodes);
        let first_index = self.published.size;
        self.tree = tree;
        self.published = Published { size, root, checkpoint };
        Ok(Committed { first_index, published: self.published.clone(), signed_at, nodes })
    }

    /// Closes the connection; SQLite folds the write-ahead log into the database.
    pub async fn close(self) -> Result<(), LogFault> {
        Ok(store::close(self.connection).await?)
    }

    /// Lets the database grow by a few pages only, as a full disk does.
    #[cfg(test)]
    pub async fn limit(&mut self, pages: i64) {
        store::limit(&mut self.connection, pages).await;
    }

    /// The files it stands on.
    pub fn files(&self) -> &Files {
        &self.files
    }
}

impl Committed {
    /// The inclusion proof of an entry of this batch at the batch's size.
    pub fn proof(&self, index: u64) -> Vec<Hash> {
        let lookup = |node: Node| self.nodes.get(node);
        let proof = Plan::inclusion(index, self.published.size).and_then(|plan| plan.hashes(lookup));
        proof.expect("a batch's tiles hold every hash that its own proofs need")
    }
}

/// Whether the log's key signed exactly this size and root.
fn is_signed(log: &Log, published: &Published) -> bool {
    let checkpoint = Checkpoint { origin: log.origin().to_owned(), size: published.size, root: published.root };
    SignedNote::parse(published.checkpoint.as_bytes()).is_ok_and(|note| {
        note.unverified_text() == checkpoint.to_string()
            && note.verify(std::slice::from_ref(log.signer.verifier())).is_ok()
    })
}

/// Runs a guard where a hanging file system cannot hold up the runtime.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogFault> + Send + 'static,
) -> Result<T, LogFault> {
    match tokio::time::timeout(GUARD_DEADLINE, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
        Err(_) => Err(LogFault::Slow { deadline_ms: GUARD_DEADLINE.as_millis() as u64 }),
    }
}
