#!/usr/bin/env bash
# Other people's programs against ours. It installs what it needs (root, Debian 12) and fails where it cannot.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/witgate-target}"
export CARGO_INCREMENTAL=0

# clang and wasi-libc make a component; docker-registry and skopeo speak OCI.
packages=(clang lld wasi-libc libclang-rt-14-dev-wasm32 docker-registry skopeo python3-venv)
command -v go >/dev/null || packages+=(golang-go)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Tools of the run live beside the build: made once, made anew when their pins change.
tools="$CARGO_TARGET_DIR/interop"
mkdir -p "$tools"
pins="$(sha256sum tests/interop/requirements.txt | cut -c1-16)"
venv="$tools/venv-$pins"
if [ ! -e "$venv/ready" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/requirements.txt
  touch "$venv/ready"
fi
(cd tests/interop/tlog && GOFLAGS=-mod=readonly GOTOOLCHAIN=local go build -o "$tools/tlog" .)

# The command line's tests bring the binary along, built as `cargo test --workspace` built it: no second build.
cargo test --workspace --locked --features witgate-tests/interop --test interop --test commands --no-run
export WITGATE_INTEROP_WITGATE="$CARGO_TARGET_DIR/debug/witgate"
export WITGATE_INTEROP_PYTHON="$venv/bin/python"
export WITGATE_INTEROP_TLOG="$tools/tlog"
cargo test --workspace --locked --features witgate-tests/interop --test interop
