"""Mutants as people write them, and sources with all of them woven in, each behind a switch of its own."""

import dataclasses
import pathlib
import re

KINDS = ("lib", "stories", "commands", "conformance", "rego")
OPEN, CLOSE = "«", "»"
HEAD = re.compile(r"## (?P<title>[^\n]+)\ntest: (?P<kind>\S+) (?P<test>\S+)\n")
EDIT = re.compile(r"(?:file: (?P<file>\S+)\n)?<<<<\n(?P<context>.*?)\n====\n(?P<instead>.*?\n?)>>>>\n", re.S)
# The row of the catalogue that a title begins with: `A6.4`.
ROW = re.compile(r"A\d+\.\d+")
# What stands as a statement without a semicolon behind it.
BLOCK = re.compile(r"(if|match|for|while)\b.*\}", re.S)


class Misfit(Exception):
    """A mutant that cannot be read, or that fits the code no longer."""


@dataclasses.dataclass(frozen=True)
class Edit:
    """What stands in place of one expression or one statement of a file."""

    file: str
    before: str
    honest: str
    after: str
    instead: str

    def span(self, text):
        """Where the marked piece stands in `text`."""
        context = self.before + self.honest + self.after
        count = text.count(context)
        if count != 1:
            raise Misfit(f"stands {count} times in {self.file}: {context!r}")
        start = text.index(context) + len(self.before)
        return start, start + len(self.honest)


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One check that is taken out, with the test that has to fail then."""

    title: str
    kind: str
    test: str
    edits: tuple

    @property
    def row(self):
        found = ROW.match(self.title)
        return found.group() if found else None

    @property
    def is_rules(self):
        """Whether it changes policies, which need no build."""
        return all(edit.file.endswith(".rego") for edit in self.edits)


def read(path):
    """The mutants of one file."""
    found = []
    for part in re.split(r"^(?=## )", path.read_text(), flags=re.M)[1:]:
        title = part.split("\n", 1)[0].removeprefix("## ")
        head = HEAD.match(part)
        if not head or head["kind"] not in KINDS:
            raise Misfit(f"{path.name}: `{title}`: expected `test: KIND NAME` below the title, with one of {', '.join(KINDS)}")
        edits, at, file = [], head.end(), None
        while edit := EDIT.match(part, at):
            file, at = edit["file"] or file, edit.end()
            context, instead = edit["context"], edit["instead"].removesuffix("\n")
            pieces = re.split(f"[{OPEN}{CLOSE}]", context)
            if file is None or len(pieces) != 3 or context.index(OPEN) > context.index(CLOSE) or not pieces[1].strip():
                raise Misfit(f"{path.name}: `{title}`: expected a file, and one {OPEN}expression{CLOSE} in its line")
            edits.append(Edit(file, *pieces, instead))
        # What stands between two mutants is prose, and no half of a block.
        if not edits or any(line.startswith(("<<<<", "====", ">>>>", "file:", "test:")) for line in part[at:].splitlines()):
            raise Misfit(f"{path.name}: `{title}` cannot be read; each has the shape of the others")
        mutant = Mutant(title, head["kind"], head["test"], tuple(edits))
        if mutant.is_rules != any(edit.file.endswith(".rego") for edit in edits) or (mutant.kind == "rego" and not mutant.is_rules):
            raise Misfit(f"{path.name}: `{title}`: policies and code are never changed by one mutant")
        # The row's test is found by its name: `a6_4_…` for A6.4.
        if mutant.row and not re.search(rf"(^|_){mutant.row.lower().replace('.', '_')}(_|$)", mutant.test):
            raise Misfit(f"{path.name}: `{title}`: `{mutant.test}` does not name {mutant.row}")
        found.append(mutant)
    return found


def all_mutants(folder=pathlib.Path(__file__).parent):
    """Every mutant of every file, in their order."""
    found = [mutant for path in sorted(folder.glob("*.mutants")) for mutant in read(path)]
    titles = [mutant.title for mutant in found]
    for title in titles:
        if titles.count(title) > 1:
            raise Misfit(f"`{title}` stands twice")
    return found


def control(mutant):
    """The same, changing nothing: whoever does not see it survive sees nothing."""
    edits = tuple(dataclasses.replace(edit, instead=edit.honest) for edit in mutant.edits)
    return dataclasses.replace(mutant, title=f"control: nothing taken out, in place of `{mutant.title}`", edits=edits)


def mutated(text, edit):
    """`text` with one edit made: for policies."""
    start, end = edit.span(text)
    return text[:start] + edit.instead + text[end:]


def woven(text, edits):
    """`text` with every (number, edit) in it, each behind its switch; one may lie inside another."""
    spans = []
    for number, edit in edits:
        start, end = edit.span(text)
        spans.append((start, -end, number, edit.instead))
    return _weave(text, 0, len(text), sorted(spans, key=lambda span: span[:2]))


def _weave(text, start, end, spans):
    pieces, at = [], start
    while spans:
        begin, until, number, instead = spans[0]
        until = -until
        inner = [span for span in spans[1:] if span[0] < until]
        if any(-span[1] > until for span in inner):
            raise Misfit(f"two mutants lap over each other at {text[begin:until]!r}")
        pieces += [text[at:begin], _switch(number, instead, text[begin:until], _weave(text, begin, until, inner))]
        at, spans = until, spans[1 + len(inner) :]
    return "".join([*pieces, text[at:end]])


def _switch(number, instead, original, honest):
    either = f"if crate::taken_out({number}) {{ {instead} }} else {{ {honest} }}"
    is_statement = original.rstrip().endswith(";") or BLOCK.fullmatch(original.strip())
    return either if is_statement else f"({either})"
