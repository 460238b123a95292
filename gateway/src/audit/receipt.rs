//! The proof that a decision is on disk: only a committed append makes a [`Receipt`].

use uuid::Uuid;

use crate::case::{Digest, Timestamp};

/// Where a decision stands in the log. It exists only after COMMIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    decision: Uuid,
    origin: String,
    index: u64,
    leaf_hash: Digest,
    tree_size: u64,
    proof: Vec<[u8; 32]>,
    checkpoint: String,
    committed_at: Timestamp,
}

/// The fields of a [`Receipt`], for its one maker.
pub(super) struct Committed {
    pub decision: Uuid,
    pub origin: String,
    pub index: u64,
    pub leaf_hash: Digest,
    pub tree_size: u64,
    pub proof: Vec<[u8; 32]>,
    pub checkpoint: String,
    pub committed_at: Timestamp,
}

impl Receipt {
    /// To be called after COMMIT and from nowhere else.
    pub(super) fn after_commit(committed: Committed) -> Self {
        let Committed { decision, origin, index, leaf_hash, tree_size, proof, checkpoint, committed_at } = committed;
        Self { decision, origin, index, leaf_hash, tree_size, proof, checkpoint, committed_at }
    }

    /// The decision it is about.
    pub fn decision(&self) -> Uuid {
        self.decision
    }

    /// The log's origin line.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The leaf's index, dense from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// RFC 6962 leaf hash: SHA-256(0x00 ‖ entry).
    pub fn leaf_hash(&self) -> &Digest {
        &self.leaf_hash
    }

    /// The size of the tree that `checkpoint` signs.
    pub fn tree_size(&self) -> u64 {
        self.tree_size
    }

    /// The inclusion proof at `tree_size`, from the leaf's sibling up (RFC 6962, 2.1.1).
    pub fn proof(&self) -> &[[u8; 32]] {
        &self.proof
    }

    /// The signed checkpoint (C2SP tlog-checkpoint).
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// When the batch was committed.
    pub fn committed_at(&self) -> Timestamp {
        self.committed_at
    }

    /// A receipt for unit tests of `handover`.
    #[cfg(test)]
    pub(crate) fn for_tests(decision: Uuid, index: u64, now: Timestamp) -> Self {
        Self {
            decision,
            origin: "test.example/audit/1".into(),
            index,
            leaf_hash: Digest::of(b"leaf"),
            tree_size: index + 1,
            proof: Vec::new(),
            checkpoint: String::new(),
            committed_at: now,
        }
    }
}
