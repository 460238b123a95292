//! Tokens that were proven a moment ago, so that a host's next request costs no signature.
//!
//! Only proven tokens are kept, under their hash, and each look holds the entry against the time, against the keys that are in
//! force and against `identity.callers`: it saves the arithmetic and decides nothing.

use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::super::caller::Caller;

/// How many proven tokens are remembered: more than there are hosts behind one gateway.
pub const PROVEN_TOKENS: u64 = 10_000;

/// A token's proof, with the keys that it rests on.
#[derive(Clone, Debug)]
pub(super) struct Proven {
    pub(super) caller: Caller,
    /// The index of the rule that judged it.
    pub(super) rule: usize,
    /// The generation of that rule's keys.
    pub(super) generation: u64,
}

#[derive(Debug)]
pub(super) struct Memory(Cache<[u8; 32], Proven>);

impl Memory {
    pub(super) fn new() -> Self {
        Self(Cache::new(PROVEN_TOKENS))
    }

    pub(super) fn look(&self, jwt: &str) -> Option<Proven> {
        self.0.get(&name(jwt))
    }

    pub(super) fn keep(&self, jwt: &str, proven: Proven) {
        self.0.insert(name(jwt), proven);
    }

    /// How many tokens are remembered, once [`Memory::settle`] was called.
    #[cfg(test)]
    pub(super) fn len(&self) -> u64 {
        self.0.entry_count()
    }

    /// Counts what was put in and taken out meanwhile.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        self.0.run_pending_tasks();
    }

    pub(super) fn forget(&self, jwt: &str) {
        self.0.invalidate(&name(jwt));
    }
}

/// The token itself is not kept.
fn name(jwt: &str) -> [u8; 32] {
    Sha256::digest(jwt).into()
}
