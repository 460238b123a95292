//! Every parser of foreign bytes against a bounded number of mutated inputs.

#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test that cannot go on has failed")]
//!
//! `WITGATE_FUZZ_ROUNDS` is how many inputs a cheap target gets, `WITGATE_FUZZ_SEED` which ones, `WITGATE_FUZZ_TARGET` names
//! the only target to run. The same seed gives the same inputs on every machine.

mod evidence;
mod keys;
mod mutation;
mod targets;
mod tokens;
mod wascap;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use mutation::{Numbers, mutated};
use targets::Target;

/// Rounds of a cheap target within the ordinary tests: seconds, not minutes.
const ROUNDS: u64 = 2000;
/// The inputs of a run that names no seed.
const SEED: u64 = 1;

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}=`{text}` is no number")),
        Err(_) => otherwise,
    }
}

#[test]
fn no_parser_panics_or_believes_what_was_changed() {
    let (rounds, seed) = (number("WITGATE_FUZZ_ROUNDS", ROUNDS), number("WITGATE_FUZZ_SEED", SEED));
    let only = std::env::var("WITGATE_FUZZ_TARGET").ok();
    let mut ran = 0;
    for target in targets::all() {
        if only.as_ref().is_none_or(|only| only == target.name) {
            // Told before it runs: an abort leaves no other trace.
            println!("fuzz {}: seed {seed}", target.name);
            run(&target, (rounds / target.cost).max(1), seed);
            ran += 1;
        }
    }
    assert!(ran > 0, "WITGATE_FUZZ_TARGET names no target");
}

fn run(target: &Target, rounds: u64, seed: u64) {
    let begin = Instant::now();
    for honest in &target.seeds {
        check(target, honest, "a seed");
    }
    // A sequence of its own for each target, so that a new target does not change the others' inputs.
    let mut numbers =
        Numbers::new(target.name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())));
    for round in 0..rounds {
        check(target, &mutated(&mut numbers, &target.seeds), &format!("seed {seed}, round {round}"));
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("fuzz {}: {rounds} rounds in {seconds:.2} s, {:.0} a second", target.name, rounds as f64 / seconds);
}

fn check(target: &Target, bytes: &[u8], which: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.check)(bytes))) {
        let why = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        panic!("{} ({which}): {}\ninput in hex: {}", target.name, why.unwrap_or("a panic"), hex::encode(bytes));
    }
}

#[test]
fn the_honest_seeds_get_through() {
    // Else the targets' properties would hold of parsers that refuse everything.
    targets::honest_inputs_are_believed();
    keys::honest_keys_are_taken();
}
