//! One at a time for each digest: what the first one did is there for those who waited.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::case::Digest;

/// Who may work on which digest.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>>);

/// The right to work on one digest, until it is dropped.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// Waits until nobody else works on `digest`.
    pub async fn take(&self, digest: Digest) -> Turn {
        let turn = {
            // A panic under this lock leaves at most a turn that nobody has.
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let known = turns.get(&digest).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let new = Arc::default();
                turns.insert(digest, Arc::downgrade(&new));
                new
            })
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_digest_has_one_turn_and_others_are_free() {
        let turns = Turns::default();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let first = turns.take(a).await;
        let mut second = Box::pin(turns.take(a));
        assert!(futures::poll!(&mut second).is_pending());
        drop(turns.take(b).await);
        drop(first);
        drop(second.await);
        drop(turns.take(a).await);
        assert_eq!(turns.0.lock().unwrap().len(), 1, "turns that nobody has are forgotten");
    }
}
