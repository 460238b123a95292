//! What was fetched on pull grants, counted in memory until the log has it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::pull::PartKind;
use crate::case::Timestamp;

/// The most decisions whose uses wait for the log at once: as many grants as there can be, and as many again that made room.
pub const UNLOGGED_MAX: usize = 2 * super::PULLS_MAX;

/// What was fetched on one decision and is not in the log yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Manifests and indexes answered, HEAD included.
    pub manifests: u64,
    /// Blobs answered, whole or in part, HEAD included.
    pub blobs: u64,
    /// Bytes of bodies that were begun.
    pub bytes: u64,
    /// The first of them.
    pub from: Timestamp,
    /// The last of them.
    pub to: Timestamp,
}

/// Nothing more is handed out: the log does not take what was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log does not take the uses of pull grants")]
pub struct Unlogged;

/// The counts of all decisions.
#[derive(Debug, Default)]
pub(super) struct Uses {
    counts: Mutex<BTreeMap<Uuid, Used>>,
    refused: AtomicBool,
}

impl Uses {
    /// Counts one answer of `bytes` bytes.
    pub fn count(&self, decision: Uuid, kind: PartKind, bytes: u64, now: Timestamp) -> Result<(), Unlogged> {
        if self.refused.load(Ordering::Relaxed) {
            return Err(Unlogged);
        }
        let mut counts = self.counts();
        if !counts.contains_key(&decision) && counts.len() >= UNLOGGED_MAX {
            return Err(Unlogged);
        }
        let used = counts.entry(decision).or_insert(Used { manifests: 0, blobs: 0, bytes: 0, from: now, to: now });
        match kind {
            PartKind::Manifest => used.manifests += 1,
            PartKind::Blob => used.blobs += 1,
        }
        used.bytes += bytes;
        used.to = used.to.max(now);
        Ok(())
    }

    /// What waits for the log.
    pub fn waiting(&self) -> Vec<(Uuid, Used)> {
        self.counts().iter().map(|(decision, used)| (*decision, *used)).collect()
    }

    /// The log has it: what was used meanwhile stays.
    pub fn logged(&self, decision: Uuid, logged: &Used) {
        let mut counts = self.counts();
        let Some(used) = counts.get_mut(&decision) else { return };
        used.manifests -= logged.manifests;
        used.blobs -= logged.blobs;
        used.bytes -= logged.bytes;
        used.from = logged.to;
        if (used.manifests, used.blobs) == (0, 0) {
            counts.remove(&decision);
        }
    }

    /// Whether the log took everything that was handed to it last: if not, nothing more is handed out until it does.
    pub fn log_takes(&self, takes: Result<(), Unlogged>) {
        self.refused.store(takes.is_err(), Ordering::Relaxed);
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Uuid, Used>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_used_while_the_log_writes_is_counted_once() {
        let (uses, decision) = (Uses::default(), Uuid::from_u128(7));
        uses.count(decision, PartKind::Manifest, 100, at(1)).unwrap();
        uses.count(decision, PartKind::Blob, 2000, at(2)).unwrap();
        let waiting = uses.waiting();
        let used = Used { manifests: 1, blobs: 1, bytes: 2100, from: at(1), to: at(2) };
        assert_eq!(waiting, [(decision, used)]);
        uses.count(decision, PartKind::Blob, 30, at(3)).unwrap();
        uses.logged(decision, &used);
        let rest = Used { manifests: 0, blobs: 1, bytes: 30, from: at(2), to: at(3) };
        assert_eq!(uses.waiting(), [(decision, rest)]);
        uses.logged(decision, &rest);
        assert_eq!(uses.waiting(), []);
    }

    #[test]
    fn nothing_is_handed_out_that_the_log_would_not_take() {
        let uses = Uses::default();
        uses.log_takes(Err(Unlogged));
        assert_eq!(uses.count(Uuid::nil(), PartKind::Blob, 1, at(0)), Err(Unlogged));
        uses.log_takes(Ok(()));
        for number in 0..UNLOGGED_MAX as u128 {
            uses.count(Uuid::from_u128(number), PartKind::Blob, 1, at(0)).unwrap();
        }
        assert_eq!(uses.count(Uuid::from_u128(u128::MAX), PartKind::Blob, 1, at(0)), Err(Unlogged));
        assert_eq!(uses.count(Uuid::from_u128(0), PartKind::Blob, 1, at(0)), Ok(()), "one that is counted already");
    }
}
