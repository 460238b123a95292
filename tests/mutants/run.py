#!/usr/bin/env python3
"""Takes every check out of the code, one at a time, and sees that its named test fails.

    tests/mutants/run.py               # every mutant of tests/mutants/*.mutants, as `.ci/run` does
    tests/mutants/run.py WORD…         # those whose title, test or file holds a WORD
    tests/mutants/run.py --write       # every mutant; then writes what came out into README.md

One build holds all of them, each behind a switch that is in the copy of the tree alone. A mutant that survives, that fits
the code no longer or that does not compile ends the run with 1; so does a test that fails with every check in place, a row
of the catalogue without a mutant, and a README.md that tells of another run. README.md beside this file says more.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import mutants
import tree

README = pathlib.Path(__file__).with_name("README.md")
BEGIN, END = "<!-- written by run.py --write -->\n", "<!-- end -->\n"
# A test that hangs is no test that fails.
PATIENCE_S = 180
# Every row that has to be held by a named test, of the catalogue of bypasses. A25.3 and A26.4 have tests and no mutant: nothing
# reads what a list says of its entries or what a caller calls itself, so there is no check that could be taken out.
ROWS = """
A4.1 A4.2 A4.3 A5.1 A5.2 A5.3 A6.1 A6.2 A6.3 A6.4 A7.1 A7.2 A7.3 A8.1 A8.2 A9.1 A9.2 A9.3
A10.1 A10.2 A10.3 A10.4 A11.1 A22.1 A22.2 A22.3 A23.1 A23.2 A25.1 A25.2 A26.1 A26.2 A26.3
""".split()
CAUGHT, SURVIVED = "caught", "SURVIVED"


class Bench:
    """The built tests, and how one of them is run."""

    def __init__(self, built):
        self.built = built
        [(self.witgate, _)] = built["bin"]
        self.names = {kind: list(self._list(kind)) for kind in built if kind != "bin"}

    def _list(self, kind):
        for program, folder in self.built[kind]:
            done = subprocess.run([program, "--list", "--format", "terse"], cwd=folder, capture_output=True, text=True, check=True)
            for line in done.stdout.splitlines():
                if line.endswith(": test"):
                    yield line.removesuffix(": test"), program, folder

    def find(self, kind, test):
        """The one test of that name, with as much of its path as tells it from others: its path, the program, its folder."""
        found = [entry for entry in self.names[kind] if f"::{entry[0]}".endswith(f"::{test}")]
        if len(found) != 1:
            raise mutants.Misfit(f"{len(found)} tests are called `{test}` ({kind}), expected one")
        return found[0]

    def passes(self, kind, test, number=0, rules=None):
        """Whether a test passes with the check `number` taken out, or over other policies; with what it said."""
        if kind == "rego":
            return self._rules_pass(test, rules or tree.COPY / "policies")
        name, program, folder = self.find(kind, test)
        more = {"TAKEN_OUT": str(number)} | ({"TAKEN_OUT_RULES": str(rules)} if rules else {})
        code, said = _run([program, "--exact", name, "--test-threads", "1"], folder, more)
        if code == 0 and "test result: ok. 1 passed" in said:
            return True, said
        if code == 101 and "test result: FAILED. 0 passed; 1 failed" in said:
            return False, said
        raise mutants.Misfit(f"`{test}` neither passed nor failed (exit code {code}):\n{said}")

    def _rules_pass(self, test, rules):
        code, said = _run([self.witgate, "policy", "test", "--output", "json", rules], tree.COPY, {})
        if code not in (0, 1):
            raise mutants.Misfit(f"the policies do not compile (exit code {code}):\n{said}")
        found = [result for result in json.loads(said[said.index("{") :])["results"] if result["name"].rsplit(".", 1)[-1] == test]
        if len(found) != 1:
            raise mutants.Misfit(f"{len(found)} tests are called `{test}` (rego), expected one")
        return found[0]["outcome"]["outcome"] == "pass", json.dumps(found[0])


def _run(command, folder, more):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WITGATE_", "TAKEN_OUT"))}
    environment |= {"INSTA_UPDATE": "no", "INSTA_WORKSPACE_ROOT": str(tree.COPY), "CARGO_MANIFEST_DIR": str(folder), "NO_COLOR": "1", "RUST_BACKTRACE": "0"}
    if vectors := os.environ.get("WITGATE_CONFORMANCE_DIR"):
        environment["WITGATE_CONFORMANCE_DIR"] = vectors
    try:
        done = subprocess.run(command, cwd=folder, env=environment | more, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise mutants.Misfit(f"no end within {PATIENCE_S} s") from None
    return done.returncode, done.stdout + done.stderr


def judged(bench, number, mutant):
    """What became of one mutant, in how many seconds, with what there is to say of it."""
    began = time.monotonic()
    try:
        if mutant.is_rules:
            with tempfile.TemporaryDirectory() as folder:
                rules = pathlib.Path(folder, "policies")
                shutil.copytree(tree.COPY / "policies", rules)
                for edit in mutant.edits:
                    path = pathlib.Path(folder, edit.file)
                    path.write_text(mutants.mutated(path.read_text(), edit))
                passed, said = bench.passes(mutant.kind, mutant.test, rules=rules)
        else:
            passed, said = bench.passes(mutant.kind, mutant.test, number)
        outcome = SURVIVED if passed else CAUGHT
    except mutants.Misfit as misfit:
        outcome, said = "UNFIT", str(misfit)
    return outcome, time.monotonic() - began, said


def table(listed):
    """What README.md says of a whole run in which everything was caught."""
    order = sorted(listed, key=lambda mutant: (_by_row(mutant.row), mutant.title))
    rows = [BEGIN, f"{len(order)} checks were taken out, one at a time, and the named test failed each time.\n\n"]
    rows += ["| row | taken out | of | test that failed |\n|---|---|---|---|\n"]
    for mutant in order:
        title = mutant.title.removeprefix(mutant.row or "").strip().replace("|", "\\|")
        files = ", ".join(dict.fromkeys(f"`{edit.file.removeprefix('upstream/')}`" for edit in mutant.edits))
        rows.append(f"| {mutant.row or ''} | {title} | {files} | {mutant.kind} `{mutant.test}` |\n")
    return "".join([*rows, END])


def _by_row(row):
    return [int(number) for number in re.findall(r"\d+", row)] if row else [1 << 30]


def told(text, listed):
    """README.md with the outcome in its place."""
    begin, end = text.index(BEGIN), text.index(END) + len(END)
    return text[:begin] + table(listed) + text[end:]


def main(arguments):
    began = time.monotonic()
    words = [word for word in arguments if word != "--write"]
    listed = mutants.all_mutants()
    chosen = [mutant for mutant in listed if not words or any(word in mutant.title + mutant.test + mutant.edits[0].file for word in words)]
    if not chosen:
        raise mutants.Misfit("no mutant has that name")
    # One of each kind that changes nothing has to survive, or this run says nothing.
    controls = [mutants.control(next(m for m in listed if m.is_rules == is_rules)) for is_rules in (False, True)]
    numbered = list(enumerate([*listed, *controls], 1))
    tree.prepare([(number, mutant) for number, mutant in numbered if not mutant.is_rules])
    try:
        bench = Bench(tree.build({mutant.kind for mutant in listed}))
    except tree.NotBuilt as error:
        print(error)
        for number in sorted({int(number) for number in re.findall(r"taken_out\((\d+)\)", str(error))}):
            print(f"DOES NOT COMPILE, or stands in such a line: {dict(numbered)[number].title}")
        return 1
    print(f"built in {time.monotonic() - began:.0f} s", flush=True)

    faults = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        # What fails with every check in place would prove nothing.
        tests = sorted({(mutant.kind, mutant.test) for mutant in chosen})
        for (kind, test), (outcome, _, said) in zip(tests, pool.map(lambda test: _honest(bench, *test), tests)):
            if outcome != "passed":
                faults += 1
                print(f"{outcome} with every check in place: {kind} {test}\n{_end(said)}", flush=True)
        tried = [(number, mutant) for number, mutant in numbered if mutant in chosen or mutant in controls]
        for (_, mutant), (outcome, seconds, said) in zip(tried, pool.map(lambda one: judged(bench, *one), tried)):
            expected = SURVIVED if mutant in controls else CAUGHT
            print(f"{outcome}: {mutant.title} ({mutant.kind} {mutant.test}, {seconds:.1f} s)", flush=True)
            if outcome != expected:
                faults += 1
                print(_end(said), flush=True)
    if not words:
        held = {mutant.row for mutant in chosen}
        if missing := [row for row in ROWS if row not in held]:
            faults += 1
            print(f"no mutant for {', '.join(missing)}")
        text = README.read_text()
        if faults == 0 and text != told(text, listed):
            if "--write" in arguments:
                README.write_text(told(text, listed))
            else:
                faults += 1
                print("README.md tells of another run: write it anew with `tests/mutants/run.py --write`")
    print(f"{len(chosen)} mutants, {faults} faults, {time.monotonic() - began:.0f} s")
    return 1 if faults else 0


def _honest(bench, kind, test):
    try:
        passed, said = bench.passes(kind, test)
    except mutants.Misfit as misfit:
        return "UNFIT", 0, str(misfit)
    return "passed" if passed else "FAILED", 0, said


def _end(said):
    return "\n".join(said.splitlines()[-20:])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except mutants.Misfit as misfit:
        sys.exit(f"error: {misfit}")
