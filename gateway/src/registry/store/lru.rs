//! Values by their digest, in the order of their last use.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::case::Digest;

/// What is held, what it weighs in bytes, what was used last.
#[derive(Debug)]
pub(super) struct Lru<V> {
    entries: BTreeMap<Digest, Entry<V>>,
    order: BTreeMap<u64, Digest>,
    weight_bytes: u64,
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    weight_bytes: u64,
    last_use: u64,
}

impl<V> Lru<V> {
    /// Holds nothing yet.
    pub fn new() -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), weight_bytes: 0, uses: 0 }
    }

    /// Holds `value` as the one used last, in place of what `digest` had.
    pub fn put(&mut self, digest: Digest, weight_bytes: u64, value: V) {
        self.remove(&digest);
        self.uses += 1;
        self.order.insert(self.uses, digest);
        self.weight_bytes += weight_bytes;
        self.entries.insert(digest, Entry { value, weight_bytes, last_use: self.uses });
    }

    /// The value of `digest`, which is now the one used last.
    pub fn used(&mut self, digest: &Digest) -> Option<&mut V> {
        let entry = self.entries.get_mut(digest)?;
        self.order.remove(&entry.last_use);
        self.uses += 1;
        self.order.insert(self.uses, *digest);
        entry.last_use = self.uses;
        Some(&mut entry.value)
    }

    /// The value of `digest`; looking is no use.
    pub fn look(&mut self, digest: &Digest) -> Option<&mut V> {
        self.entries.get_mut(digest).map(|entry| &mut entry.value)
    }

    /// Takes the value of `digest` out.
    pub fn remove(&mut self, digest: &Digest) -> Option<V> {
        let entry = self.entries.remove(digest)?;
        self.order.remove(&entry.last_use);
        self.weight_bytes -= entry.weight_bytes;
        Some(entry.value)
    }

    /// What all of it weighs.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// Everything with its weight, the longest unused first.
    pub fn oldest(&self) -> impl Iterator<Item = (&Digest, u64, &V)> {
        self.order.values().map(|digest| {
            let entry = self.entries.get(digest).expect("what is in the order is held");
            (digest, entry.weight_bytes, &entry.value)
        })
    }

    /// The next digest behind `last` in the order of digests, the first one for none.
    pub fn next_after(&self, last: Option<Digest>) -> Option<Digest> {
        let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((behind, Bound::Unbounded)).next().map(|(digest, _)| *digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    fn order(lru: &Lru<u8>) -> Vec<u8> {
        lru.oldest().map(|(_, _, value)| *value).collect()
    }

    #[test]
    fn the_order_is_that_of_the_last_use() {
        let mut lru = Lru::new();
        for number in [3, 1, 2] {
            lru.put(digest(number), u64::from(number), number);
        }
        assert_eq!((order(&lru), lru.weight_bytes()), (vec![3, 1, 2], 6));
        assert_eq!(lru.used(&digest(3)), Some(&mut 3));
        assert_eq!(lru.used(&digest(9)), None);
        assert_eq!(order(&lru), [1, 2, 3]);
        lru.look(&digest(1));
        assert_eq!(order(&lru), [1, 2, 3], "looking is no use");
        lru.put(digest(1), 10, 11);
        assert_eq!((order(&lru), lru.weight_bytes()), (vec![2, 3, 11], 15));
        assert_eq!((lru.remove(&digest(2)), lru.remove(&digest(2)), lru.weight_bytes()), (Some(2), None, 13));
        assert_eq!(lru.next_after(None), Some(digest(1)));
        assert_eq!(lru.next_after(Some(digest(1))), Some(digest(3)));
        assert_eq!(lru.next_after(Some(digest(2))), Some(digest(3)), "what is gone is no obstacle");
        assert_eq!(lru.next_after(Some(digest(3))), None);
    }

    proptest! {
        #[test]
        fn order_and_weight_are_those_of_what_is_held(steps in prop::collection::vec((0_u8..3, 0_u8..6), 0..60)) {
            let mut lru = Lru::new();
            for (kind, number) in steps {
                match kind {
                    0 => lru.put(digest(number), u64::from(number), number),
                    1 => drop(lru.used(&digest(number)).copied()),
                    _ => drop(lru.remove(&digest(number))),
                }
            }
            let mut listed = order(&lru);
            prop_assert_eq!(listed.iter().map(|number| u64::from(*number)).sum::<u64>(), lru.weight_bytes());
            listed.sort_unstable();
            let mut walked = Vec::new();
            let mut last = None;
            while let Some(next) = lru.next_after(last) {
                walked.push(next.as_bytes()[0]);
                last = Some(next);
            }
            prop_assert_eq!(listed, walked);
        }
    }
}
