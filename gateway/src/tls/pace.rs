//! How fast bodies have to move, in either direction.

use std::time::Duration;

/// A rate, and for how long a peer may fall behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) least_bytes_per_s: u64,
    pub(super) patience: Duration,
}

/// What is left of the patience with a peer: all of it at first, less with the time that it is waited for, more with each byte.
///
/// What came fast is not saved up past that: a peer that stops after many megabytes is given no longer than one that
/// never began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Credit {
    pace: Pace,
    left: Duration,
}

impl Credit {
    pub(super) fn of(pace: Pace) -> Self {
        Self { pace, left: pace.patience }
    }

    /// All of it again.
    pub(super) fn renew(&mut self) {
        self.left = self.pace.patience;
    }

    /// As much as there is at first.
    pub(super) fn patience(&self) -> Duration {
        self.pace.patience
    }

    /// How much longer the peer may be waited for.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    pub(super) fn spend(&mut self, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
    }

    pub(super) fn earn(&mut self, bytes: usize) {
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.pace.least_bytes_per_s.max(1);
        self.left = self.left.saturating_add(Duration::from_micros(micros)).min(self.pace.patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { least_bytes_per_s: 1000, patience: Duration::from_secs(30) };

    /// Whether a peer outlasts `seconds` that moves `bytes` at the end of each of them.
    fn outlasts(bytes: usize, seconds: u64) -> bool {
        let mut credit = Credit::of(PACE);
        (0..seconds).all(|_| {
            credit.spend(Duration::from_secs(1));
            let in_time = !credit.left().is_zero();
            credit.earn(bytes);
            in_time
        })
    }

    #[test]
    fn the_rate_is_enough_for_ever_and_less_is_not() {
        assert!(outlasts(1000, 1_000_000));
        assert!(!outlasts(999, 1_000_000));
        assert!(outlasts(999, 20_000), "a little too slow is a long time");
        assert!(outlasts(1, 29) && !outlasts(1, 31), "a byte a second is nearly nothing");
        assert!(outlasts(0, 29) && !outlasts(0, 30));
    }

    #[test]
    fn what_came_fast_is_not_saved_up() {
        let mut credit = Credit::of(PACE);
        credit.earn(usize::MAX);
        assert_eq!(credit.left(), PACE.patience);
        credit.spend(Duration::MAX);
        assert_eq!(credit.left(), Duration::ZERO);
        credit.earn(500);
        assert_eq!(credit.left(), Duration::from_millis(500));
    }
}
