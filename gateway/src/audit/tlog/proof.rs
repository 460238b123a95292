//! Whether an inclusion or consistency proof holds (RFC 9162, 2.1.3.2 and 2.1.4.2).

use super::hash::{EMPTY_ROOT, Hash, node_hash};

/// The most hashes of a proof: the height of a tree of 2^63 leaves.
pub const MAX_PROOF_HASHES: usize = 63;

/// Why a proof is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no such leaf.
    #[error("index {index} is not in a tree of {size} leaves")]
    IndexOutside {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// A log does not shrink.
    #[error("a tree of {old} leaves is not the past of one of {new}")]
    Shrinks {
        /// The size said to be older.
        old: u64,
        /// The size said to be newer.
        new: u64,
    },
    /// More or fewer hashes than the sizes ask for.
    #[error("the proof has a hash too many or too few")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// Checks that `leaf` stands at `index` in the tree of `size` leaves with `root`.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutside { index, size });
    }
    let (mut place, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `new` leaves with `new_root` begins with the tree of `old` leaves with `old_root`.
pub fn verify_consistency(
    old: u64,
    new: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrinks { old, new });
    }
    if old == new || old == 0 {
        if !proof.is_empty() {
            return Err(ProofError::Length);
        }
        let expected = if old == new { new_root } else { &EMPTY_ROOT };
        let empty_is_empty = new != 0 || *new_root == EMPTY_ROOT;
        return if old_root == expected && empty_is_empty { Ok(()) } else { Err(ProofError::Root) };
    }
    // The old root is left out of the proof when it is a complete subtree.
    let mut hashes = proof.iter();
    let first = if old.is_power_of_two() { old_root } else { hashes.next().ok_or(ProofError::Length)? };
    let (mut place, mut last) = (old - 1, new - 1);
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let (mut from_old, mut from_new) = (*first, *first);
    for hash in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            from_old = node_hash(hash, &from_old);
            from_new = node_hash(hash, &from_new);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            from_new = node_hash(&from_new, hash);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if from_old == *old_root && from_new == *new_root { Ok(()) } else { Err(ProofError::Root) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hash::leaf_hash;
    use super::super::plan::Plan;
    use super::super::tree::{Nodes, Tree};
    use super::*;

    /// The roots and proofs of facts computed by two independent implementations: the eight leaves of RFC 6962's tests.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn hash(hex_text: &str) -> Hash {
        hex::decode(hex_text).unwrap().try_into().unwrap()
    }

    /// A tree of `{"n":0}` and so on, with the nodes of all its tiles.
    fn counting(size: u64) -> (Tree, Nodes, Vec<Hash>) {
        let leaves: Vec<Hash> = (0..size).map(|n| leaf_hash(format!("{{\"n\":{n}}}").as_bytes())).collect();
        grown(&leaves)
    }

    fn grown(leaves: &[Hash]) -> (Tree, Nodes, Vec<Hash>) {
        let (mut tree, mut full, mut nodes) = (Tree::default(), Vec::new(), Nodes::default());
        for leaf in leaves {
            tree.push(*leaf, &mut full);
        }
        for tile in &full {
            nodes.add(tile.level, tile.index, &tile.hashes);
        }
        tree.add_to(&mut nodes);
        (tree, nodes, leaves.to_vec())
    }

    fn inclusion(nodes: &Nodes, index: u64, size: u64) -> Vec<Hash> {
        Plan::inclusion(index, size).unwrap().hashes(|node| nodes.get(node)).unwrap()
    }

    fn consistency(nodes: &Nodes, old: u64, new: u64) -> Vec<Hash> {
        Plan::consistency(old, new).unwrap().hashes(|node| nodes.get(node)).unwrap()
    }

    fn root_at(nodes: &Nodes, size: u64) -> Hash {
        Plan::root(size).map_or(EMPTY_ROOT, |plan| plan.hashes(|node| nodes.get(node)).unwrap()[0])
    }

    #[test]
    fn roots_of_the_rfc_leaves() {
        let leaves: Vec<Hash> = LEAVES.iter().map(|entry| leaf_hash(&hex::decode(entry).unwrap())).collect();
        for (size, root) in (1..=8).zip(ROOTS) {
            assert_eq!(hex::encode(grown(&leaves[..size]).0.root()), root);
        }
        assert_eq!(Tree::default().root(), EMPTY_ROOT);
        assert_eq!(EMPTY_ROOT, <[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(b"")));
    }

    #[test]
    fn proofs_of_the_rfc_leaves() {
        let leaves: Vec<Hash> = LEAVES.iter().map(|entry| leaf_hash(&hex::decode(entry).unwrap())).collect();
        let (_, nodes, _) = grown(&leaves);
        let expected = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
            ROOTS[3],
        ];
        assert_eq!(inclusion(&nodes, 5, 7), expected.map(hash));
        let expected = [
            "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
            "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
            ROOTS[1],
            "837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e",
        ];
        let proof = consistency(&nodes, 3, 7);
        // The proof of 3 -> 7: leaf 2, leaf 3, root(2), right half.
        assert_eq!(proof, [expected[0], expected[1], expected[2], expected[3]].map(hash));
        let expected = ["6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"];
        assert_eq!(consistency(&nodes, 4, 8), expected.map(hash));
    }

    #[test]
    fn roots_and_tiles_of_seventy_thousand_entries() {
        let (mut tree, mut full) = (Tree::default(), Vec::new());
        for n in 0..70_000u64 {
            tree.push(leaf_hash(format!("{{\"n\":{n}}}").as_bytes()), &mut full);
            let expected = match tree.size() {
                256 => "5674300101808c96b0b2eb1b448615fb1c98650b2583b6791cf4c764918a823d",
                257 => "9ac4c5b4d82fd3136ea384ce5f0b19825197b47e5e9aaeac18d24db89b910310",
                65_537 => "8a6e29bc1b744e1bb530be11835c70ef37545de0031e77210cc9600a1e18d99c",
                70_000 => "060bfef3a2680a0345df6fd2c1c998b4f265d652926cc843a1174363051b1547",
                _ => continue,
            };
            assert_eq!(hex::encode(tree.root()), expected);
        }
        let file = |level: u8, index: u64| {
            let tile = full.iter().find(|tile| (tile.level, tile.index) == (level, index)).unwrap();
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(tile.hashes.concat()))
        };
        assert_eq!(file(0, 0), "bbbacfcbb4647511e8a1189ffb9c99988745f25660daebea49f57fe22993d097");
        assert_eq!(file(1, 0), "e8334701932fe14412837a1525b944bbd6871b6c06b409a66f2e87292beae7fe");
        let sha256 = |bytes: Vec<u8>| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes));
        let partial = |level: usize| sha256(tree.pending()[level].concat());
        assert_eq!((tree.pending()[0].len(), tree.pending()[1].len()), (112, 17));
        assert_eq!(partial(0), "4e6912f144e9a2d41518c59cf8c025c755d687176331ce3e3fe7b339f49e3a4d");
        assert_eq!(partial(1), "402b7f84cbe34586527d9a4c6174b16759edc0e554e0c6621dca204ce82d7ec7");
        assert_eq!(full.iter().filter(|tile| tile.level == 0).count(), 273);
        assert_eq!(full.iter().filter(|tile| tile.level == 1).count(), 1);
    }

    #[test]
    fn every_inclusion_proof_verifies_at_every_size() {
        for size in 1..=70 {
            let (tree, nodes, leaves) = counting(size);
            assert_eq!(root_at(&nodes, size), tree.root());
            for index in 0..size {
                let proof = inclusion(&nodes, index, size);
                verify_inclusion(&leaves[index as usize], index, size, &proof, &tree.root()).unwrap();
            }
        }
    }

    #[test]
    fn every_consistency_proof_verifies_between_all_sizes() {
        let (_, nodes, _) = counting(70);
        for new in 0..=70 {
            for old in 0..=new {
                let (old_root, new_root) = (root_at(&nodes, old), root_at(&nodes, new));
                // The proof is of nodes that exist at `new`, but no smaller tree is needed to make it.
                let proof = consistency(&nodes, old, new);
                verify_consistency(old, new, &proof, &old_root, &new_root).unwrap();
                if old != new && old != 0 {
                    let mut long = proof.clone();
                    long.push([0; 32]);
                    assert!(verify_consistency(old, new, &long, &old_root, &new_root).is_err());
                    let short = &proof[..proof.len() - 1];
                    assert!(verify_consistency(old, new, short, &old_root, &new_root).is_err());
                }
            }
        }
        assert_eq!(Plan::consistency(2, 1), None);
        assert_eq!(verify_consistency(2, 1, &[], &[0; 32], &[0; 32]), Err(ProofError::Shrinks { old: 2, new: 1 }));
    }

    #[test]
    fn proofs_cross_tiles_and_levels() {
        let (tree, nodes, leaves) = counting(66_000);
        let size = tree.size();
        for index in [0, 1, 255, 256, 257, 65_535, 65_536, 65_791, 65_792, 65_999] {
            let proof = inclusion(&nodes, index, size);
            verify_inclusion(&leaves[index as usize], index, size, &proof, &tree.root()).unwrap();
        }
        for old in [1, 2, 255, 256, 257, 511, 65_535, 65_536, 65_537, 65_999, 66_000] {
            let proof = consistency(&nodes, old, size);
            verify_consistency(old, size, &proof, &root_at(&nodes, old), &tree.root()).unwrap();
        }
    }

    #[test]
    fn an_index_outside_is_refused() {
        let (tree, nodes, leaves) = counting(7);
        let proof = inclusion(&nodes, 6, 7);
        assert_eq!(
            verify_inclusion(&leaves[6], 7, 7, &proof, &tree.root()),
            Err(ProofError::IndexOutside { index: 7, size: 7 })
        );
        assert_eq!(Plan::inclusion(7, 7), None);
        assert_eq!(
            verify_inclusion(&leaves[6], u64::MAX, u64::MAX, &proof, &tree.root()),
            Err(ProofError::IndexOutside { index: u64::MAX, size: u64::MAX })
        );
    }

    proptest! {
        #[test]
        fn a_flipped_bit_in_an_inclusion_proof_is_refused(size in 2u64..=70, place: u64, hash_at: u16, bit in 0usize..256) {
            let (tree, nodes, leaves) = counting(size);
            let index = place % size;
            let mut proof = inclusion(&nodes, index, size);
            let at = usize::from(hash_at) % proof.len();
            proof[at][bit / 8] ^= 1 << (bit % 8);
            prop_assert!(verify_inclusion(&leaves[index as usize], index, size, &proof, &tree.root()).is_err());
        }

        #[test]
        fn a_flipped_bit_in_leaf_or_root_is_refused(size in 1u64..=70, place: u64, bit in 0usize..256) {
            let (tree, nodes, leaves) = counting(size);
            let index = place % size;
            let proof = inclusion(&nodes, index, size);
            let flipped = |mut hash: Hash| { hash[bit / 8] ^= 1 << (bit % 8); hash };
            let leaf = leaves[index as usize];
            prop_assert!(verify_inclusion(&flipped(leaf), index, size, &proof, &tree.root()).is_err());
            prop_assert!(verify_inclusion(&leaf, index, size, &proof, &flipped(tree.root())).is_err());
        }

        #[test]
        fn an_inclusion_proof_of_the_wrong_length_or_place_is_refused(size in 2u64..=70, place: u64, other: u64) {
            let (tree, nodes, leaves) = counting(size);
            let (index, other) = (place % size, other % size);
            let proof = inclusion(&nodes, index, size);
            let leaf = leaves[index as usize];
            prop_assert!(verify_inclusion(&leaf, index, size, &proof[1..], &tree.root()).is_err());
            let long = [proof.as_slice(), &[[7; 32]]].concat();
            prop_assert!(verify_inclusion(&leaf, index, size, &long, &tree.root()).is_err());
            if other != index {
                prop_assert!(verify_inclusion(&leaf, other, size, &proof, &tree.root()).is_err());
            }
        }

        #[test]
        fn a_flipped_bit_in_a_consistency_proof_is_refused(old in 1u64..70, more in 1u64..70, hash_at: u16, bit in 0usize..256) {
            let new = old + more;
            let (_, nodes, _) = counting(new);
            let mut proof = consistency(&nodes, old, new);
            let at = usize::from(hash_at) % proof.len();
            proof[at][bit / 8] ^= 1 << (bit % 8);
            prop_assert!(verify_consistency(old, new, &proof, &root_at(&nodes, old), &root_at(&nodes, new)).is_err());
        }

        #[test]
        fn a_tree_taken_up_again_grows_the_same(size in 0u64..1_200, more in 0u64..600) {
            let (tree, _, _) = counting(size);
            let pending = tree.pending().to_vec();
            let mut again = Tree::resume(size, pending).unwrap();
            let mut full = Vec::new();
            for n in size..size + more {
                again.push(leaf_hash(format!("{{\"n\":{n}}}").as_bytes()), &mut full);
            }
            prop_assert_eq!(again.root(), counting(size + more).0.root());
        }
    }
}
