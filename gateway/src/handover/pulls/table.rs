//! Every pull grant by its place and by the digests it covers; bounded in all and for each caller, the oldest go first.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use crate::case::{Digest, Timestamp};

use super::pull::{PartKind, Pull};

/// A place's key with the digest that the grant goes by.
pub(super) type Key = (Digest, Digest);

/// The grants in memory.
#[derive(Debug)]
pub(super) struct Table {
    most: usize,
    most_a_caller: usize,
    grants: HashMap<Key, Arc<Pull>>,
    /// Place and part to the roots that cover it, in no order.
    parts: HashMap<Key, Vec<Digest>>,
    /// Place to its roots, in no order.
    places: HashMap<Digest, Vec<Digest>>,
    by_age: BTreeSet<(Timestamp, Key)>,
    by_caller: HashMap<Digest, BTreeSet<(Timestamp, Key)>>,
}

impl Table {
    pub fn bounded(most: usize, most_a_caller: usize) -> Self {
        Self {
            most,
            most_a_caller,
            grants: HashMap::new(),
            parts: HashMap::new(),
            places: HashMap::new(),
            by_age: BTreeSet::new(),
            by_caller: HashMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.grants.len()
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Pull>> {
        self.grants.get(key)
    }

    /// The grants of a place that cover `digest`, newest first.
    pub fn covering(&self, place: &Digest, digest: &Digest, kind: PartKind) -> Vec<&Arc<Pull>> {
        let roots = self.parts.get(&(*place, *digest)).map(Vec::as_slice).unwrap_or_default();
        let grants = roots.iter().filter_map(|root| self.grants.get(&(*place, *root)));
        newest_first(grants.filter(|pull| pull.part(digest, kind).is_some()))
    }

    /// Every grant, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Pull>> {
        self.grants.values()
    }

    /// Every grant of a place, newest first.
    pub fn at(&self, place: &Digest) -> Vec<&Arc<Pull>> {
        let roots = self.places.get(place).map(Vec::as_slice).unwrap_or_default();
        newest_first(roots.iter().filter_map(|root| self.grants.get(&(*place, *root))))
    }

    /// Takes `pull` in place of the one it was made from, with what was attached to it.
    pub fn attach(&mut self, pull: Arc<Pull>) {
        let key = (pull.place.key, pull.root);
        if self.grants.get(&key).is_some_and(|known| known.decision == pull.decision) {
            self.remove(&key);
            self.insert(key, pull);
        }
    }

    /// Takes a grant in place of the one with the same key; gives the keys that had to make room.
    ///
    /// A caller past its share loses its own oldest grants, so that it takes no room from others.
    pub fn put(&mut self, pull: Arc<Pull>) -> Vec<Key> {
        let key = (pull.place.key, pull.root);
        self.remove(&key);
        let mut evicted = Vec::new();
        let theirs = self.by_caller.get(&pull.place.caller);
        if let Some(oldest) = theirs.filter(|theirs| theirs.len() >= self.most_a_caller).and_then(BTreeSet::first) {
            evicted.push(oldest.1);
        } else if self.grants.len() >= self.most {
            evicted.extend(self.by_age.first().map(|(_, key)| *key));
        }
        for key in &evicted {
            self.remove(key);
        }
        self.insert(key, pull);
        evicted
    }

    fn insert(&mut self, key: Key, pull: Arc<Pull>) {
        let age = (pull.granted_at, key);
        for digest in pull.digests() {
            let roots = self.parts.entry((pull.place.key, digest)).or_default();
            if !roots.contains(&pull.root) {
                roots.push(pull.root);
            }
        }
        self.places.entry(pull.place.key).or_default().push(pull.root);
        self.by_age.insert(age);
        self.by_caller.entry(pull.place.caller).or_default().insert(age);
        self.grants.insert(key, pull);
    }

    fn remove(&mut self, key: &Key) {
        let Some(pull) = self.grants.remove(key) else { return };
        let age = (pull.granted_at, *key);
        self.by_age.remove(&age);
        if let Some(theirs) = self.by_caller.get_mut(&pull.place.caller) {
            theirs.remove(&age);
            if theirs.is_empty() {
                self.by_caller.remove(&pull.place.caller);
            }
        }
        for digest in pull.digests() {
            leave(&mut self.parts, &(pull.place.key, digest), &pull.root);
        }
        leave(&mut self.places, &pull.place.key, &pull.root);
    }
}

fn leave<K: Hash + Eq>(lists: &mut HashMap<K, Vec<Digest>>, key: &K, root: &Digest) {
    if let Some(roots) = lists.get_mut(key) {
        roots.retain(|known| known != root);
        if roots.is_empty() {
            lists.remove(key);
        }
    }
}

fn newest_first<'a>(pulls: impl Iterator<Item = &'a Arc<Pull>>) -> Vec<&'a Arc<Pull>> {
    let mut pulls: Vec<_> = pulls.collect();
    pulls.sort_by_key(|pull| std::cmp::Reverse(pull.granted_at));
    pulls
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::place::Place;
    use super::super::pull::{Attached, Part};
    use super::*;

    fn pull(caller: &str, root: u8, granted_at: i64) -> Arc<Pull> {
        let part = |name: &str, kind| Part { digest: Digest::of(name.as_bytes()), kind };
        let root = Digest::of(&[root]);
        Arc::new(Pull {
            place: Place { key: Digest::of(caller.as_bytes()), caller: Digest::of(format!("{caller}!").as_bytes()) },
            root,
            decision: Uuid::nil(),
            granted_at: Timestamp::from_second(granted_at).unwrap(),
            parts: vec![
                Part { digest: root, kind: PartKind::Manifest },
                part("shared", PartKind::Blob),
                part("shared", PartKind::Blob),
            ],
            attached: Vec::new(),
            holds: None,
        })
    }

    fn covering(table: &Table, caller: &str) -> Vec<Digest> {
        let found = table.covering(&Digest::of(caller.as_bytes()), &Digest::of(b"shared"), PartKind::Blob);
        found.into_iter().map(|pull| pull.root).collect()
    }

    fn root(number: u8) -> Digest {
        Digest::of(&[number])
    }

    #[test]
    fn a_shared_part_is_covered_by_each_newest_first_in_its_place_alone() {
        let mut table = Table::bounded(9, 9);
        for (caller, number, at) in [("a", 1, 10), ("a", 2, 30), ("a", 3, 20), ("b", 4, 40), ("a", 1, 25)] {
            assert_eq!(table.put(pull(caller, number, at)), []);
        }
        assert_eq!(covering(&table, "a"), [root(2), root(1), root(3)]);
        assert_eq!(covering(&table, "b"), [root(4)]);
        assert_eq!(covering(&table, "c"), []);
        assert_eq!(table.len(), 4);
        let as_manifest = table.covering(&Digest::of(b"a"), &Digest::of(b"shared"), PartKind::Manifest);
        assert!(as_manifest.is_empty(), "a blob is no manifest");
    }

    #[test]
    fn the_oldest_makes_room_and_leaves_nothing_behind() {
        let mut table = Table::bounded(2, 9);
        table.put(pull("a", 1, 20));
        table.put(pull("b", 2, 10));
        assert_eq!(table.put(pull("c", 3, 30)), [(Digest::of(b"b"), root(2))]);
        assert_eq!((covering(&table, "a"), covering(&table, "b")), (vec![root(1)], vec![]));
        for (at, number) in (40..80).zip(0..40) {
            table.put(pull("d", number, at));
        }
        let places = table.places.values().map(Vec::len).sum::<usize>();
        assert_eq!(
            (table.len(), table.by_age.len(), table.parts.len(), table.by_caller.len(), places),
            (2, 2, 3, 1, 2)
        );
    }

    #[test]
    fn what_is_attached_is_covered_as_long_as_the_grant_is() {
        let mut table = Table::bounded(2, 9);
        table.put(pull("a", 1, 10));
        let bundle = Digest::of(b"bundle");
        let attached =
            Attached { part: Part { digest: bundle, kind: PartKind::Blob }, referrer: Digest::of(b"referrer") };
        let with = |pull: &Arc<Pull>| Arc::new(Pull { attached: vec![attached], ..Pull::clone(pull) });
        let covers = |table: &Table| !table.covering(&Digest::of(b"a"), &bundle, PartKind::Blob).is_empty();
        table.attach(with(&pull("a", 1, 10)));
        assert!(covers(&table) && table.at(&Digest::of(b"a")).len() == 1);
        // Decided anew meanwhile: what was attached to the decision before is not attached to this one.
        let anew = Arc::new(Pull { decision: Uuid::from_u128(2), ..Pull::clone(&pull("a", 1, 20)) });
        table.put(anew);
        table.attach(with(&pull("a", 1, 10)));
        assert!(!covers(&table));
        table.attach(with(&pull("b", 1, 10)));
        assert_eq!((table.len(), table.at(&Digest::of(b"b")).len()), (1, 0), "nothing to attach it to");
    }

    #[test]
    fn a_caller_past_its_share_loses_its_own() {
        let mut table = Table::bounded(4, 2);
        table.put(pull("b", 9, 1));
        table.put(pull("a", 1, 10));
        table.put(pull("a", 2, 20));
        assert_eq!(table.put(pull("a", 3, 30)), [(Digest::of(b"a"), root(1))]);
        assert_eq!((covering(&table, "a"), covering(&table, "b")), (vec![root(3), root(2)], vec![root(9)]));
    }
}
