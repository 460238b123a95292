//! The tickets a host has taken, so that none is taken twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// The ids of taken tickets, each kept until its ticket has expired; bounded.
///
/// It lives in memory. A host that starts anew has forgotten them, which is why a ticket lives for minutes and is taken
/// only from the connection it was asked for on.
#[derive(Debug)]
pub struct UsedTickets {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    by_id: BTreeMap<Uuid, i64>,
    by_end: BTreeSet<(i64, Uuid)>,
}

/// Why a ticket is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// It was taken before.
    Used,
    /// There is no room to remember it, so nobody could say that it is new.
    Full {
        /// How many are remembered.
        most: usize,
    },
}

impl UsedTickets {
    /// How many ids are kept at most: some 200 starts a second over five minutes.
    pub const MAX_IDS: usize = 65_536;

    /// An empty store for [`UsedTickets::MAX_IDS`] ids.
    pub fn new() -> Self {
        Self::bounded(Self::MAX_IDS)
    }

    /// An empty store for `most` ids.
    pub fn bounded(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// Takes `id` once; it is remembered while `now_s` (seconds since 1970) is not past `keep_until_s`.
    ///
    /// # Errors
    /// [`Replay`] when it was taken before, or when the store is full.
    pub fn take(&self, id: Uuid, keep_until_s: i64, now_s: i64) -> Result<(), Replay> {
        // No caller's code runs under the lock: what a panic elsewhere left behind is whole.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(&(end, old)) = taken.by_end.first()
            && end < now_s
        {
            taken.by_end.remove(&(end, old));
            taken.by_id.remove(&old);
        }
        if taken.by_id.contains_key(&id) {
            return Err(Replay::Used);
        }
        if taken.by_id.len() >= self.most {
            return Err(Replay::Full { most: self.most });
        }
        taken.by_id.insert(id, keep_until_s);
        taken.by_end.insert((keep_until_s, id));
        Ok(())
    }
}

impl Default for UsedTickets {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn takes_an_id_once() {
        let used = UsedTickets::new();
        assert_eq!(used.take(id(1), 100, 0), Ok(()));
        assert_eq!(used.take(id(1), 100, 0), Err(Replay::Used));
        assert_eq!(used.take(id(1), 100, 100), Err(Replay::Used));
        assert_eq!(used.take(id(2), 100, 0), Ok(()));
    }

    #[test]
    fn forgets_only_what_has_expired() {
        let used = UsedTickets::bounded(2);
        used.take(id(1), 10, 0).unwrap();
        used.take(id(2), 20, 0).unwrap();
        assert_eq!(used.take(id(3), 30, 10), Err(Replay::Full { most: 2 }));
        assert_eq!(used.take(id(3), 30, 11), Ok(()));
        assert_eq!(used.take(id(2), 20, 11), Err(Replay::Used));
    }

    #[test]
    fn one_of_many_threads_gets_it() {
        let used = UsedTickets::new();
        let won = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| used.take(id(7), 100, 0).is_ok())).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|won| *won).count()
        });
        assert_eq!(won, 1);
    }
}
