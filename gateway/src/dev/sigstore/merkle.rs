//! The Merkle tree of RFC 6962 in memory, as Rekor keeps it.

use sha2::{Digest as _, Sha256};

/// A hash in the tree.
pub(super) type Hash = [u8; 32];

/// An append-only tree.
#[derive(Default)]
pub(super) struct Tree {
    leaves: Vec<Hash>,
}

impl Tree {
    /// Appends an entry, giving its index.
    pub(super) fn append(&mut self, entry: &[u8]) -> usize {
        self.leaves.push(hash(&[&[0x00], entry]));
        self.leaves.len() - 1
    }

    /// How many entries there are.
    pub(super) fn size(&self) -> usize {
        self.leaves.len()
    }

    /// The root hash (RFC 6962, 2.1).
    pub(super) fn root(&self) -> Hash {
        root(&self.leaves)
    }

    /// The audit path of the entry at `index`, from the leaf up (RFC 6962, 2.1.1).
    pub(super) fn path(&self, index: usize) -> Vec<Hash> {
        path(&self.leaves, index)
    }
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => hash(&[]),
        [leaf] => *leaf,
        leaves => {
            let (left, right) = leaves.split_at(left_size(leaves.len()));
            hash(&[&[0x01], &root(left), &root(right)])
        }
    }
}

fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(left_size(leaves.len()));
    let (mut below, sibling) = match index.checked_sub(left.len()) {
        None => (path(left, index), root(right)),
        Some(index) => (path(right, index), root(left)),
    };
    below.push(sibling);
    below
}

/// The largest power of two below `size` (RFC 6962, 2.1), for sizes of at least two.
fn left_size(size: usize) -> usize {
    size.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_that_of_the_reference_implementation() {
        // certificate-transparency `merkletree/merkle_tree_test.cc`: the tree of eight test leaves.
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let mut tree = Tree::default();
        for leaf in leaves {
            tree.append(leaf);
        }
        assert_eq!(hex::encode(tree.root()), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn every_path_leads_to_the_root() {
        for size in 1..40 {
            let mut tree = Tree::default();
            for entry in 0..size {
                tree.append(&[entry]);
            }
            for entry in 0..size {
                let (mut index, mut last) = (usize::from(entry), tree.size() - 1);
                let mut found = hash(&[&[0x00], &[entry]]);
                // RFC 9162, 2.1.3.2.
                for sibling in tree.path(usize::from(entry)) {
                    if index % 2 == 1 || index == last {
                        found = hash(&[&[0x01], &sibling, &found]);
                        while index % 2 == 0 && index != 0 {
                            index /= 2;
                            last /= 2;
                        }
                    } else {
                        found = hash(&[&[0x01], &found, &sibling]);
                    }
                    index /= 2;
                    last /= 2;
                }
                assert_eq!(found, tree.root(), "entry {entry} of {size}");
            }
        }
    }
}
