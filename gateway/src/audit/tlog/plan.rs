//! Which complete subtrees a root or a proof is made of.
//!
//! A plan is computed from sizes alone, so that a store can fetch what it names in one go.

use std::ops::Range;

use super::hash::{Hash, node_hash};

/// A complete subtree: leaves `index << height .. (index + 1) << height`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Its height: 0 is a leaf.
    pub height: u8,
    /// Its number among the subtrees of this height.
    pub index: u64,
}

/// The hashes of a proof, each as the complete subtrees it is folded from, left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(Vec<Vec<Node>>);

impl Plan {
    /// The root of a tree of `size` leaves; `None` for the empty tree, whose root is [`super::EMPTY_ROOT`].
    pub fn root(size: u64) -> Option<Self> {
        (size > 0).then(|| Self(vec![complete_subtrees(0..size)]))
    }

    /// The inclusion proof of leaf `index` in a tree of `size`, from the leaf's sibling up (RFC 6962, 2.1.1).
    /// `None` when the tree has no such leaf.
    pub fn inclusion(index: u64, size: u64) -> Option<Self> {
        if index >= size {
            return None;
        }
        let mut within = 0..size;
        let mut downward = Vec::new();
        while within.end - within.start > 1 {
            let middle = within.start + largest_power_of_two_below(within.end - within.start);
            if index < middle {
                downward.push(middle..within.end);
                within.end = middle;
            } else {
                downward.push(within.start..middle);
                within.start = middle;
            }
        }
        Some(Self(downward.into_iter().rev().map(complete_subtrees).collect()))
    }

    /// The consistency proof between trees of `old` and `new` leaves (RFC 6962, 2.1.2); empty when `old` is 0 or `new`.
    /// `None` when `old` is the larger one.
    pub fn consistency(old: u64, new: u64) -> Option<Self> {
        if old > new {
            return None;
        }
        if old == 0 || old == new {
            return Some(Self(Vec::new()));
        }
        let mut within = 0..new;
        let mut downward = Vec::new();
        while old != within.end {
            let middle = within.start + largest_power_of_two_below(within.end - within.start);
            if old <= middle {
                downward.push(middle..within.end);
                within.end = middle;
            } else {
                downward.push(within.start..middle);
                within.start = middle;
            }
        }
        // The old root itself is known to the reader and left out when it is a whole left edge.
        let mut ranges = Vec::new();
        if within.start != 0 {
            ranges.push(within);
        }
        ranges.extend(downward.into_iter().rev());
        Some(Self(ranges.into_iter().map(complete_subtrees).collect()))
    }

    /// Every subtree that the plan needs.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        self.0.iter().flatten().copied()
    }

    /// The hashes of the proof, given the subtrees' hashes; `None` when one is missing.
    pub fn hashes(&self, lookup: impl Fn(Node) -> Option<Hash>) -> Option<Vec<Hash>> {
        self.0.iter().map(|nodes| fold(nodes, &lookup)).collect()
    }
}

fn fold(nodes: &[Node], lookup: &impl Fn(Node) -> Option<Hash>) -> Option<Hash> {
    let (last, before) = nodes.split_last()?;
    let mut hash = lookup(*last)?;
    for node in before.iter().rev() {
        hash = node_hash(&lookup(*node)?, &hash);
    }
    Some(hash)
}

/// A range that is a subtree of an RFC 6962 tree, as complete subtrees, largest first.
fn complete_subtrees(mut range: Range<u64>) -> Vec<Node> {
    let mut nodes = Vec::new();
    while !range.is_empty() {
        let height = (range.end - range.start).ilog2();
        nodes.push(Node { height: height as u8, index: range.start >> height });
        range.start += 1 << height;
    }
    nodes
}

fn largest_power_of_two_below(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}
