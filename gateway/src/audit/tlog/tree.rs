//! The growing edge of the tree: at most 255 hashes a level, full tiles handed out as they fill.

use std::collections::BTreeMap;

use super::hash::{EMPTY_ROOT, Hash, node_hash};
use super::plan::Node;
use super::tile::{TILE_HEIGHT, TILE_WIDTH};

/// The right edge of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Level l: the hashes of its last, partial tile.
    pending: Vec<Vec<Hash>>,
}

/// A tile that will never change again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// Its level: 0 holds leaf hashes.
    pub level: u8,
    /// Its number on the level.
    pub index: u64,
    /// Its 256 hashes.
    pub hashes: Vec<Hash>,
    /// The root over them: the hash it has on the next level.
    pub hash: Hash,
}

/// Why a tree cannot be taken up again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("level {level} of a tree of {size} leaves holds {expected} hashes behind its full tiles, found {found}")]
pub struct TreeError {
    /// The tree's size.
    pub size: u64,
    /// The level.
    pub level: u8,
    /// What it must hold.
    pub expected: usize,
    /// What there was.
    pub found: usize,
}

impl Tree {
    /// Takes a tree up again: `pending` holds the partial tile of each level that is not empty, lowest first.
    pub fn resume(size: u64, pending: Vec<Vec<Hash>>) -> Result<Self, TreeError> {
        for level in 0..levels(size).max(pending.len() as u8) {
            let expected = partial_width(size, level);
            let found = pending.get(usize::from(level)).map_or(0, Vec::len);
            if expected != found {
                return Err(TreeError { size, level, expected, found });
            }
        }
        Ok(Self { size, pending })
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The partial tile of each level, lowest first.
    pub fn pending(&self) -> &[Vec<Hash>] {
        &self.pending
    }

    /// Appends a leaf; tiles that it fills go to `full`, lowest level first.
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<FullTile>) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0.. {
            if self.pending.len() == usize::from(level) {
                self.pending.push(Vec::new());
            }
            let hashes = &mut self.pending[usize::from(level)];
            hashes.push(hash);
            if hashes.len() < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::take(hashes);
            hash = complete_root(&hashes);
            let index = (self.size >> (TILE_HEIGHT * (u32::from(level) + 1))) - 1;
            full.push(FullTile { level, index, hashes, hash });
        }
    }

    /// The root (RFC 6962, 2.1).
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for hashes in &self.pending {
            let mut rest = hashes.as_slice();
            // The count's lowest bit is the rightmost, smallest subtree.
            while !rest.is_empty() {
                let (before, subtree) = rest.split_at(rest.len() - (1 << rest.len().trailing_zeros()));
                let left = complete_root(subtree);
                root = Some(root.map_or(left, |right| node_hash(&left, &right)));
                rest = before;
            }
        }
        root.unwrap_or(EMPTY_ROOT)
    }

    /// The partial tiles, for the proofs of leaves that are still in them.
    pub fn add_to(&self, nodes: &mut Nodes) {
        for (level, hashes) in self.pending.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
            let level = level as u8;
            nodes.add(level, level_width(self.size, level) >> TILE_HEIGHT, hashes);
        }
    }
}

/// The number of hashes on a level of a tree of `size`.
pub fn level_width(size: u64, level: u8) -> u64 {
    size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0)
}

/// The number of levels that hold at least one hash.
pub fn levels(size: u64) -> u8 {
    (0..).take_while(|level| level_width(size, *level) > 0).count() as u8
}

/// The number of hashes in a level's last, partial tile; 0 when there is none.
pub fn partial_width(size: u64, level: u8) -> usize {
    (level_width(size, level) % TILE_WIDTH as u64) as usize
}

/// The subtrees inside some tiles, by height and index.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    tiles: BTreeMap<(u8, u64), Vec<Vec<Hash>>>,
}

impl Nodes {
    /// Adds a tile, full or partial, with every complete subtree inside it.
    pub fn add(&mut self, level: u8, index: u64, hashes: &[Hash]) {
        let mut rows = vec![hashes.to_vec()];
        while let Some(row) = rows.last().filter(|row| row.len() > 1) {
            let above = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
            rows.push(above);
        }
        self.tiles.insert((level, index), rows);
    }

    /// The hash of a subtree, if its tile was added and holds it.
    pub fn get(&self, node: Node) -> Option<Hash> {
        let (level, row) = (u32::from(node.height) / TILE_HEIGHT, u32::from(node.height) % TILE_HEIGHT);
        let tile = node.index >> (TILE_HEIGHT - row);
        let place = node.index & ((1 << (TILE_HEIGHT - row)) - 1);
        self.tiles.get(&(level as u8, tile))?.get(row as usize)?.get(place as usize).copied()
    }

    /// The level and index of the tile that holds a subtree.
    pub fn tile_of(node: Node) -> (u8, u64) {
        let (level, row) = (u32::from(node.height) / TILE_HEIGHT, u32::from(node.height) % TILE_HEIGHT);
        (level as u8, node.index >> (TILE_HEIGHT - row))
    }
}

/// The root over a power of two of hashes.
pub fn complete_root(hashes: &[Hash]) -> Hash {
    debug_assert!(hashes.len().is_power_of_two(), "only complete subtrees are folded by halves");
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row[0]
}
