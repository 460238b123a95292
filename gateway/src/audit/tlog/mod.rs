//! The transparency log's formats: RFC 6962 tree, C2SP tiles, notes, checkpoints, cosignatures, proofs, trust policies.
//!
//! Values in, values out: nothing here touches a store, a clock or a socket. Written after C2SP @5ba5ee83
//! (`signed-note`, `tlog-checkpoint`, `tlog-tiles`, `tlog-cosignature`, `tlog-proof`, `tlog-policy`) and RFC 9162, 2.1.

pub mod checkpoint;
pub mod hash;
pub mod note;
pub mod plan;
pub mod proof;
pub mod proof_file;
pub mod tile;
pub mod tree;
pub mod trust_policy;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
pub use note::{KeyKind, NoteError, SignedNote, Signer, VerifierKey, VkeyError};
pub use plan::{Node, Plan};
pub use proof::{ProofError, verify_consistency, verify_inclusion};
pub use proof_file::{ProofFile, ProofFileError};
pub use tile::{TileKind, TilePath, TilePathError};
pub use tree::{FullTile, Nodes, Tree, TreeError};
pub use trust_policy::{PolicyError, TrustPolicy};
