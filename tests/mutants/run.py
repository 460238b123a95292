#!/usr/bin/env python3
"""Takes one check at a time out of the code and sees that its named test fails.

    tests/mutants/run.py [WORD…]        # all of tests/mutants/*.mutants, or those whose title or file holds a WORD

Each mutant is a title, the test that has to fail, a file, and what is put in place of what. The tree is copied first, so
nothing here changes the working tree; builds go to CARGO_TARGET_DIR. A mutant that survives, that no longer fits the code,
or that does not compile ends the run with 1. It takes about a minute a mutant, so it is run by hand and not by CI; the
last outcome stands in README.md beside this file.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path.home() / ".cache/witgate-target"))
TREE = TARGET / "mutants" / "tree"
MUTANT = re.compile(
    r"^## (?P<title>[^\n]+)\n"
    r"test: (?P<kind>lib|stories|rego|commands) (?P<test>\S+)\n"
    r"file: (?P<file>\S+)\n"
    r"<<<<\n(?P<find>.*?)====\n(?P<replace>.*?)>>>>\n",
    re.M | re.S,
)


def mutants(words):
    for path in sorted(pathlib.Path(__file__).parent.glob("*.mutants")):
        text = path.read_text()
        found = list(MUTANT.finditer(text))
        if len(found) != text.count("\n## ") + text.startswith("## "):
            sys.exit(f"{path}: a mutant cannot be read; each has the shape of the others")
        for match in found:
            mutant = match.groupdict()
            if not words or any(word in mutant["title"] or word in path.name for word in words):
                yield mutant


def copy_tree():
    shutil.rmtree(TREE, ignore_errors=True)
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in names:
        source, copy = ROOT / name, TREE / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            # With the time of now: cargo goes by it, and what an earlier run left was built of a mutant.
            shutil.copyfile(source, copy)


def command(kind, test):
    if kind == "rego":
        return ["cargo", "run", "--workspace", "--locked", "--quiet", "--bin", "witgate", "--", "policy", "test", "policies"]
    target = ["--lib"] if kind == "lib" else ["--test", kind]
    return ["cargo", "test", "--workspace", "--locked", "--quiet", *target, "--", test]


def run(kind, test):
    """`passed`, `failed`, `absent` or `does not compile`, with the output."""
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET), "CARGO_INCREMENTAL": "0", "RUSTFLAGS": os.environ.get("RUSTFLAGS", "")}
    # Cargo compares times with a grain of its own: what is written in the moment of a build may pass for built.
    time.sleep(1)
    done = subprocess.run(command(kind, test), cwd=TREE, env=environment, capture_output=True, text=True)
    output = done.stdout + done.stderr
    if "error: could not compile" in output or re.search(r"^error(\[E\d+\])?:", output, re.M) and "test result" not in output:
        return "does not compile", output
    if done.returncode != 0:
        return "failed", output
    if kind != "rego" and not re.search(r"test result: ok\. [1-9]", output):
        return "absent", output
    return "passed", output


def main():
    wanted = list(mutants(sys.argv[1:]))
    if not wanted:
        sys.exit("no mutant has that name")
    copy_tree()
    faults = 0
    for number, mutant in enumerate(wanted, 1):
        path = TREE / mutant["file"]
        honest = path.read_text()
        count = honest.count(mutant["find"])
        began = time.monotonic()
        if count != 1:
            outcome, output = f"stands {count} times in {mutant['file']}", mutant["find"]
        else:
            path.write_text(honest.replace(mutant["find"], mutant["replace"]))
            outcome, output = run(mutant["kind"], mutant["test"])
            path.write_text(honest)
        killed = outcome == "failed"
        faults += not killed
        seconds = time.monotonic() - began
        word = "caught" if killed else outcome.upper()
        print(f"{number}/{len(wanted)} {word}: {mutant['title']} ({mutant['kind']} {mutant['test']}, {seconds:.0f} s)", flush=True)
        if not killed:
            print("\n".join(output.splitlines()[-15:]), flush=True)
    # What fails with every check in place would prove nothing.
    for kind, test in sorted({(mutant["kind"], mutant["test"]) for mutant in wanted}):
        outcome, output = run(kind, test)
        if outcome != "passed":
            faults += 1
            print(f"{outcome.upper()} with every check in place: {kind} {test}\n{output[-2000:]}")
    print(f"{len(wanted)} mutants, {faults} faults")
    sys.exit(faults != 0)


if __name__ == "__main__":
    main()
