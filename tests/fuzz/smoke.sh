#!/usr/bin/env bash
# About a minute of fuzzing on stable Rust: the same inputs each time, a panic or an abort fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
export WITGATE_FUZZ_ROUNDS="${WITGATE_FUZZ_ROUNDS:-100000}" WITGATE_FUZZ_SEED="${WITGATE_FUZZ_SEED:-1}"
cargo test --workspace --locked --test fuzz -- --nocapture
