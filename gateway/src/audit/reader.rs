//! Reading the log: by id, by page, by tile, by proof; also from other processes while `serve` writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use super::commitment::Disclosure;
use super::record::Record;
use super::selector::Selector;
use super::start::{LogFault, StartError};
use super::store::{self, Connection, Filter, LogRow, Order, Readers, Row, StoreError};
use super::tlog::tile::{TILE_WIDTH, entry_bundle};
use super::tlog::{Hash, Plan, ProofFile, TileKind, TilePath};
use super::window::{Decisions, Window};
use crate::case::{Digest, VerdictWord};
use crate::outage::{Outage, Peer};

/// The most records of one page.
pub const MAX_PAGE: u32 = 500;
/// How many ids an ambiguous prefix lists.
const MAX_AMBIGUOUS: u32 = 10;
/// How long one question may take.
const READ_DEADLINE: Duration = Duration::from_secs(5);

/// Reads a log; cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    database: PathBuf,
    readers: Readers,
}

/// A page of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Goes on behind this index (in the order asked for).
    pub after_index: Option<u64>,
    /// Which way.
    pub order: Order,
    /// At most this many, cut to [`MAX_PAGE`].
    pub limit: u32,
    /// Only these verdicts.
    pub verdict: Option<VerdictWord>,
    /// Only decisions on this artifact.
    pub artifact: Option<Digest>,
}

impl Default for Query {
    fn default() -> Self {
        Self { after_index: None, order: Order::OldestFirst, limit: 50, verdict: None, artifact: None }
    }
}

/// Why an entry was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// More than one id begins so.
    #[error("`{prefix}` names more than one entry")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The first of the ids that begin with it.
        ids: Vec<Uuid>,
    },
    /// The database gave no answer.
    #[error(transparent)]
    Outage(#[from] Outage),
}

impl Reader {
    /// Opens the database of a log, read-only.
    pub async fn open(database: &Path) -> Result<Self, StartError> {
        if !database.exists() {
            return Err(StartError::NoLog { path: database.to_owned() });
        }
        let readers = Readers::open(database).await.map_err(LogFault::from)?;
        Ok(Self { database: database.to_owned(), readers })
    }

    /// The database it reads.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Closes its connections.
    pub async fn close(&self) {
        self.readers.close().await;
    }

    /// The one entry that `selector` names, in the newest log.
    pub async fn find(&self, selector: &Selector) -> Result<Option<Record>, FindError> {
        let rows = within("reading an entry", READ_DEADLINE, async {
            let (mut connection, log) = self.newest().await?;
            match selector {
                Selector::Index(index) => {
                    store::row_at(&mut connection, log.log_id, *index).await.map(|row| row.into_iter().collect())
                }
                Selector::Id(id) => store::rows_with_prefix(&mut connection, log.log_id, *id, *id, 1).await,
                Selector::Prefix(prefix) => {
                    let (first, last) = prefix.range();
                    store::rows_with_prefix(&mut connection, log.log_id, first, last, MAX_AMBIGUOUS).await
                }
            }
        })
        .await?;
        match rows.len() {
            0 => Ok(None),
            1 => Ok(self.records(rows).await?.pop()),
            _ => {
                let ids = rows.into_iter().map(|row| row.id).collect();
                Err(FindError::Ambiguous { prefix: selector.to_string(), ids })
            }
        }
    }

    /// A page of the newest log.
    pub async fn list(&self, query: &Query) -> Result<Vec<Record>, Outage> {
        let rows = within("reading the log", READ_DEADLINE, async {
            let (mut connection, log) = self.newest().await?;
            let filter = Filter { verdict: query.verdict, artifact: query.artifact };
            let limit = query.limit.min(MAX_PAGE);
            store::rows(&mut connection, log.log_id, query.after_index, query.order, filter, limit).await
        })
        .await?;
        self.records(rows).await
    }

    /// The offline proof of the entry at `index` (C2SP tlog-proof), with the newest checkpoint.
    pub async fn proof(&self, index: u64) -> Result<Option<ProofFile>, Outage> {
        within("making a proof", READ_DEADLINE, async {
            let (mut connection, log) = self.newest().await?;
            let (size, checkpoint) = store::newest_checkpoint(&mut connection, log.log_id).await?;
            let Some(plan) = Plan::inclusion(index, size) else { return Ok(None) };
            let hashes = hashes(&mut connection, &log, size, &plan).await?;
            Ok(Some(ProofFile { unverified_extra: None, index, hashes, checkpoint }))
        })
        .await
    }

    /// The newest signed checkpoint with its cosignatures.
    pub async fn checkpoint(&self) -> Result<String, Outage> {
        within("reading the checkpoint", READ_DEADLINE, async {
            let (mut connection, log) = self.newest().await?;
            store::newest_checkpoint(&mut connection, log.log_id).await.map(|(_, note)| note)
        })
        .await
    }

    /// The consistency proof between two sizes of the newest log; `None` when they are not two of its sizes.
    pub async fn consistency(&self, from: u64, to: u64) -> Result<Option<Vec<Hash>>, Outage> {
        within("making a proof", READ_DEADLINE, async {
            let (mut connection, log) = self.newest().await?;
            let (size, _) = store::newest_checkpoint(&mut connection, log.log_id).await?;
            let Some(plan) = Plan::consistency(from, to).filter(|_| to <= size) else { return Ok(None) };
            hashes(&mut connection, &log, size, &plan).await.map(Some)
        })
        .await
    }

    /// The bytes of a tile or entry bundle (C2SP tlog-tiles); `None` when the log does not reach that far.
    pub async fn tile(&self, path: &TilePath) -> Result<Option<Vec<u8>>, Outage> {
        within("reading a tile", READ_DEADLINE, async {
            let (mut connection, log) = self.newest().await?;
            let (size, _) = store::newest_checkpoint(&mut connection, log.log_id).await?;
            let width = usize::from(path.width());
            match path.kind() {
                TileKind::Hashes(level) => {
                    let tile = store::tile(&mut connection, log.log_id, size, level, path.index(), width).await?;
                    Ok(tile.map(|hashes| hashes.concat()))
                }
                TileKind::Entries => {
                    let end = path.start().and_then(|start| start.checked_add(width as u64));
                    let Some(end) = end.filter(|end| *end <= size) else { return Ok(None) };
                    let start = end - width as u64;
                    let order = Order::OldestFirst;
                    let rows = store::rows(
                        &mut connection,
                        log.log_id,
                        start.checked_sub(1),
                        order,
                        Filter::default(),
                        width.min(TILE_WIDTH) as u32,
                    );
                    bundle(&rows.await?, start, end).map(Some)
                }
            }
        })
        .await
    }

    /// The decisions of a window of the newest log, newest first, a page at a time.
    pub async fn decisions(&self, window: &Window) -> Result<Decisions, Outage> {
        let (_, log) = within("reading the log", READ_DEADLINE, self.newest()).await?;
        Ok(Decisions::new(self.clone(), log, window))
    }

    pub(super) async fn connection(&self) -> Result<impl std::ops::DerefMut<Target = Connection> + use<>, StoreError> {
        self.readers.connection().await
    }

    async fn newest(&self) -> Result<(impl std::ops::DerefMut<Target = Connection> + use<>, LogRow), StoreError> {
        let mut connection = self.readers.connection().await?;
        let log = store::logs(&mut connection).await?.pop();
        let log = log.ok_or_else(|| StoreError::damaged("read the log", "the database holds no log yet"))?;
        Ok((connection, log))
    }

    async fn records(&self, rows: Vec<Row>) -> Result<Vec<Record>, Outage> {
        let mut left: BTreeMap<Uuid, Vec<Disclosure>> = BTreeMap::new();
        within("reading the disclosures", READ_DEADLINE, async {
            let mut connection = self.readers.connection().await?;
            for (id, disclosure) in store::disclosures(&mut connection, rows.iter().map(|row| row.id)).await? {
                left.entry(id).or_default().push(disclosure);
            }
            Ok(())
        })
        .await?;
        let record = |row: Row| {
            let disclosures = left.remove(&row.id).unwrap_or_default();
            Record::new(row, &disclosures).map_err(|damaged| {
                let hint = "see what is wrong with `witgate log verify`";
                Outage::new(Peer::Audit, "reading the log").because(damaged).with_hint(hint)
            })
        };
        rows.into_iter().map(record).collect()
    }
}

async fn hashes(connection: &mut Connection, log: &LogRow, size: u64, plan: &Plan) -> Result<Vec<Hash>, StoreError> {
    let nodes = store::nodes(connection, log.log_id, size, plan.nodes()).await?;
    plan.hashes(|node| nodes.get(node)).ok_or_else(|| StoreError::damaged("make a proof", "a hash is missing"))
}

fn bundle(rows: &[Row], start: u64, end: u64) -> Result<Vec<u8>, StoreError> {
    let whole = rows.iter().map(|row| row.idx).eq(start..end);
    let bundle = entry_bundle(rows.iter().map(|row| row.entry.as_slice())).filter(|_| whole);
    bundle.ok_or_else(|| StoreError::damaged("read a tile", "an entry is missing or too long"))
}

/// Runs one question against its deadline.
pub(super) async fn within<T>(
    doing: &'static str,
    deadline: Duration,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Outage> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            let hint = error.hint();
            let outage = Outage::new(Peer::Audit, doing).because(error);
            Err(match hint {
                Some(hint) => outage.with_hint(hint),
                None => outage,
            })
        }
        Err(_) => {
            let waited = format!("the database did not answer within {} ms", deadline.as_millis());
            Err(Outage::new(Peer::Audit, doing).because(waited))
        }
    }
}
