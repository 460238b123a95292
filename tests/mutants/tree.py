"""A copy of the tree with every mutant in it, built once beside the real build and never in its place."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import mutants
from mutants import Misfit

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path.home() / ".cache/witgate-target")).resolve()
BASE = TARGET / "mutants"
# A level below the workspace's manifest: cargo names what it builds by the path from there, so nothing that is built of
# the copy has the name of anything that is built of the tree, while all of what both depend on has one name and is shared.
WORKSPACE = BASE / "workspace"
COPY = WORKSPACE / "copy"
# Crates of others whose checks are taken out too: `file: upstream/sigstore-verify/src/…`.
UPSTREAM = BASE / "upstream"
CRATES = ("gateway", "host-hook")

SWITCH = """
/// Whether the check `number` is taken out in this process: put here by `tests/mutants`, never in the tree.
#[doc(hidden)]
#[allow(missing_docs, dead_code)]
pub fn taken_out(number: u32) -> bool {
    static TAKEN_OUT: std::sync::LazyLock<Option<u32>> =
        std::sync::LazyLock::new(|| std::env::var("TAKEN_OUT").ok().and_then(|number| number.parse().ok()));
    *TAKEN_OUT == Some(number)
}
"""
RULES = """
/// The text of an embedded policy, or of the one that is tried in its place.
#[doc(hidden)]
pub fn tried_rules(name: &str, text: &str) -> String {
    let tried = std::env::var_os("TAKEN_OUT_RULES").map(|folder| std::path::Path::new(&folder).join(name));
    tried.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_else(|| text.to_owned())
}
"""
# What the copy needs so that a mutant can be chosen from outside: (file, what stands there, what stands there instead).
HOOKS = (
    ("gateway/src/policy/bundle/mod.rs", "text: (*text).into()", "text: crate::tried_rules(name, text)"),
    (
        "tests/commands/main.rs",
        ".env_clear()",
        '.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TAKEN_OUT")))',
    ),
)


def prepare(numbered):
    """Writes the copy with every (number, mutant) of code in it."""
    by_file = {}
    for number, mutant in numbered:
        for edit in mutant.edits:
            by_file.setdefault(edit.file, []).append((number, edit))
    written = set()
    for name in _tracked():
        text = (ROOT / name).read_bytes()
        if name in ("Cargo.toml", "Cargo.lock"):
            continue
        edits = [] if name.endswith(".rego") else by_file.pop(name, [])
        for file, there, instead in HOOKS:
            if name == file:
                if text.count(there.encode()) != 1:
                    raise Misfit(f"`{there}` does not stand once in {file}: see HOOKS in tests/mutants/tree.py")
                # Behind the mutants, which are written for the tree as it is.
                text = _woven(text, edits).replace(there.encode(), instead.encode())
                edits = []
        text = _woven(text, edits)
        if name in [f"{crate}/src/lib.rs" for crate in CRATES]:
            text += SWITCH.encode() + (RULES.encode() if name.startswith("gateway") else b"")
        written.add(_write(COPY / name, text))
    crates = {file.split("/")[1] for file in by_file if file.startswith("upstream/")}
    for crate, source in _sources(crates).items():
        for path in sorted(source.rglob("*")):
            name = f"upstream/{crate}/{path.relative_to(source)}"
            if path.is_file():
                text = _woven(path.read_bytes(), by_file.pop(name, []))
                text += SWITCH.encode() if name == f"upstream/{crate}/src/lib.rs" else b""
                written.add(_write(BASE / name, text))
    lost = sorted(file for file in by_file if not file.endswith(".rego"))
    if lost:
        raise Misfit(f"no such file: {', '.join(lost)}")
    written |= {_write(WORKSPACE / "Cargo.toml", _manifest(crates)), _write(WORKSPACE / "Cargo.lock", _lock(crates))}
    for path in [*WORKSPACE.rglob("*"), *UPSTREAM.rglob("*")]:
        if path.is_file() and path not in written:
            path.unlink()


def build(kinds):
    """Builds what mutants of these kinds are tried with; the executables by kind, each with the folder it is run in."""
    command = ["cargo", "test", "--workspace", "--locked", "--no-run", "--lib", "--message-format=json-render-diagnostics"]
    # The program itself, which tries policies, is built where the commands are.
    for kind in sorted({"commands", *kinds} - {"lib", "rego"}):
        command += ["--test", kind]
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(BASE),
        "CARGO_BUILD_BUILD_DIR": str(TARGET),
        "CARGO_INCREMENTAL": "0",
        "CARGO_TERM_COLOR": "never",
    }
    done = subprocess.run(command, cwd=WORKSPACE, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        errors = re.findall(r"^error.*?(?=^$|\Z)", done.stderr, re.M | re.S) or [done.stderr[-4000:]]
        raise NotBuilt("\n".join(errors))
    built = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            target, folder = message["target"], pathlib.Path(message["manifest_path"]).parent
            kind = target["kind"][0] if target["kind"][0] in ("lib", "bin") else target["name"]
            if message["profile"]["test"] or target["name"] == "witgate":
                built.setdefault(kind, []).append((pathlib.Path(message["executable"]), folder))
    return built


class NotBuilt(Exception):
    """What the compiler says of the copy."""


def _woven(text, edits):
    return mutants.woven(text.decode(), edits).encode() if edits else text


def _tracked():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).is_file()]


def _write(path, text):
    """Leaves alone what is there already: cargo goes by the time of a file."""
    if not path.is_file() or path.read_bytes() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    return path


def _sources(crates):
    """Where cargo keeps the sources of crates of others."""
    if not crates:
        return {}
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    packages = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)["packages"]
    found = {package["name"]: pathlib.Path(package["manifest_path"]).parent for package in packages if package["name"] in crates}
    if missing := crates - set(found):
        raise Misfit(f"no such crates: {', '.join(sorted(missing))}")
    return found


def _manifest(crates):
    """The workspace's manifest, a level up."""
    text = (ROOT / "Cargo.toml").read_text()
    text = re.sub(r'"(gateway|host-hook|tests)"', rf'"{COPY.name}/\1"', text)
    patches = [f'{crate} = {{ path = "{UPSTREAM / crate}" }}\n' for crate in sorted(crates)]
    return (text + "\n[patch.crates-io]\n" + "".join(patches)).encode()


def _lock(crates):
    """The same versions, where some crates come from a folder now."""
    parts = (ROOT / "Cargo.lock").read_text().split("\n\n")
    of_ours = [f'name = "{crate}"\n' for crate in crates]
    strip = re.compile(r'^(source|checksum) = "[^\n]*\n', re.M)
    return "\n\n".join(strip.sub("", part + "\n").rstrip("\n") if any(name in part for name in of_ours) else part for part in parts).encode()
