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

    /// A receipt for unit tests of `handover`: the newest leaf of a tree whose other leaves are made up, with a proof that
    /// holds and a checkpoint that nobody signed.
    #[cfg(test)]
    pub(crate) fn for_tests(decision: Uuid, index: u64, now: Timestamp) -> Self {
        use base64::Engine as _;

        let leaf_hash = Digest::of(b"leaf");
        // The newest leaf has only left siblings, one for each bit of its index (RFC 6962, 2.1.1).
        let proof: Vec<_> = (0..index.count_ones()).map(|level| *Digest::of(&level.to_be_bytes()).as_bytes()).collect();
        let root = proof.iter().fold(*leaf_hash.as_bytes(), |hash, sibling| {
            *Digest::of(&[[0x01].as_slice(), sibling, &hash].concat()).as_bytes()
        });
        let (origin, tree_size) = ("test.example/audit/1", index + 1);
        let root = base64::engine::general_purpose::STANDARD.encode(root);
        Self {
            decision,
            origin: origin.into(),
            index,
            leaf_hash,
            tree_size,
            proof,
            checkpoint: format!("{origin}\n{tree_size}\n{root}\n\n\u{2014} {origin} AAAA\n"),
            committed_at: now,
        }
    }
}
