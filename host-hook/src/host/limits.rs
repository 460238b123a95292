//! What one instance may use up, whatever the component says.

use std::time::{Duration, Instant};

use wasmtime::{ResourceLimiter, UpdateDeadline};

use crate::grants::Limits;

/// The most memory a grant can give, in bytes: what 32-bit addresses reach.
pub const MAX_MEMORY_BYTES: u64 = 4 << 30;
/// The longest one command or request may run, in milliseconds: a day.
pub const MAX_TIMEOUT_MS: u64 = 24 * 60 * 60 * 1000;
/// The most output that is kept of one command and stream, in bytes: 1 MiB.
pub const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// The most elements in all tables of an instance: a Python interpreter has 10,000.
pub const MAX_TABLE_ELEMENTS: usize = 1_000_000;
/// The most core instances in one component instance.
const MAX_INSTANCES: usize = 100;
/// The most memories and the most tables in one component instance.
const MAX_MEMORIES: usize = 100;
/// How often a running guest gives way to others, and is looked at, in milliseconds.
pub(super) const TICK_MS: u64 = 10;

/// Counts memory and tables of one store, all of them together.
///
/// wasmtime's own `StoreLimits` limits each memory by itself: a hundred of 64 MiB would pass.
#[derive(Debug)]
pub(super) struct Meter {
    most_bytes: u64,
    bytes: u64,
    elements: usize,
}

impl Meter {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { most_bytes: limits.memory_bytes.min(MAX_MEMORY_BYTES), bytes: 0, elements: 0 }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        // A growth that fails later stays counted: too much is counted, never too little.
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current) as u64);
        let allowed = bytes <= self.most_bytes && maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.bytes = bytes;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.elements.saturating_add(desired.saturating_sub(current));
        let allowed = elements <= MAX_TABLE_ELEMENTS && maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.elements = elements;
        }
        Ok(allowed)
    }

    fn instances(&self) -> usize {
        MAX_INSTANCES
    }

    fn tables(&self) -> usize {
        MAX_MEMORIES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

/// The wall time of one command or request.
pub(super) fn timeout(limits: &Limits) -> Duration {
    Duration::from_millis(limits.timeout_ms.min(MAX_TIMEOUT_MS))
}

/// What to do with a guest that has run for another tick: let others run, or end it.
pub(super) fn at_tick(deadline: Instant) -> UpdateDeadline {
    if Instant::now() < deadline { UpdateDeadline::Yield(1) } else { UpdateDeadline::Interrupt }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_together_end_at_the_grant() {
        let mut meter = Meter::new(&Limits { memory_bytes: 100, ..Limits::default() });
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.memory_growing(0, 40, None).unwrap());
        assert!(!meter.memory_growing(40, 41, None).unwrap());
        assert!(!meter.memory_growing(60, usize::MAX, None).unwrap());
    }

    #[test]
    fn no_grant_gives_more_than_the_host_has() {
        let mut meter = Meter::new(&Limits { memory_bytes: u64::MAX, ..Limits::default() });
        let most = usize::try_from(MAX_MEMORY_BYTES).unwrap();
        assert!(meter.memory_growing(0, most, None).unwrap());
        assert!(!meter.memory_growing(most, most + 1, None).unwrap());
        assert_eq!(
            timeout(&Limits { timeout_ms: u64::MAX, ..Limits::default() }),
            Duration::from_millis(MAX_TIMEOUT_MS)
        );
    }

    #[test]
    fn tables_end_at_the_limit() {
        let mut meter = Meter::new(&Limits::default());
        assert!(meter.table_growing(0, MAX_TABLE_ELEMENTS, None).unwrap());
        assert!(!meter.table_growing(0, 1, None).unwrap());
    }
}
