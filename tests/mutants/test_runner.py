"""The runner itself: what it reads, what it weaves, what it does not let through."""

import pathlib
import tempfile
import unittest

import mutants
from mutants import Edit, Misfit


def of(text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "x.mutants")
        path.write_text(text)
        return mutants.all_mutants(pathlib.Path(folder))


ONE = "# Prose.\n\n## A6.4 a thing\ntest: lib a6_4_a_thing\nfile: a.rs\n<<<<\nif «ready(x)» {\n====\ntrue\n>>>>\n"


class Reading(unittest.TestCase):
    def test_a_mutant_is_read(self):
        [mutant] = of(ONE)
        self.assertEqual((mutant.title, mutant.kind, mutant.test, mutant.row), ("A6.4 a thing", "lib", "a6_4_a_thing", "A6.4"))
        self.assertEqual(mutant.edits, (Edit("a.rs", "if ", "ready(x)", " {", "true"),))

    def test_several_edits_are_one_mutant(self):
        more = "<<<<\n«b();»\n====\n>>>>\nfile: c.rs\n<<<<\n«d()»\n====\ne()\nf()\n>>>>\nAnd why.\n"
        [mutant] = of(ONE + more)
        self.assertEqual([(edit.file, edit.honest, edit.instead) for edit in mutant.edits[1:]], [("a.rs", "b();", ""), ("c.rs", "d()", "e()\nf()")])

    def test_what_cannot_be_read_is_told(self):
        for bad in [
            ONE.replace("«", "").replace("»", ""),
            ONE.replace("«", "««"),
            ONE.replace("«ready(x)»", "»ready(x)«"),
            ONE.replace("«ready(x)»", "«»ready(x)"),
            ONE.replace("file: a.rs\n", ""),
            ONE.replace("test: lib", "test: unit"),
            ONE.replace("a6_4_a_thing", "a6_41_a_thing"),
            ONE.replace("a6_4_a_thing", "a_thing"),
            ONE.replace(">>>>\n", ""),
            ONE + "<<<<\n«x»\n",
            ONE + ONE.removeprefix("# Prose.\n\n"),
            ONE.replace("test: lib", "test: rego"),
            ONE + "file: b.rego\n<<<<\n«x»\n====\ny\n>>>>\n",
        ]:
            with self.assertRaises(Misfit, msg=bad):
                of(bad)


class Weaving(unittest.TestCase):
    def woven(self, text, *edits):
        return mutants.woven(text, [(number, Edit("a.rs", *edit)) for number, edit in enumerate(edits, 1)])

    def test_expressions_stand_in_brackets_and_statements_do_not(self):
        self.assertEqual(self.woven("a && b", ("", "a", " &&", "true")), "(if crate::taken_out(1) { true } else { a }) && b")
        self.assertEqual(self.woven("a()?; b", ("", "a()?;", "", "")), "if crate::taken_out(1) {  } else { a()?; } b")
        self.assertEqual(self.woven("if a { b() }\n", ("", "if a { b() }", "", "")), "if crate::taken_out(1) {  } else { if a { b() } }\n")

    def test_one_lies_inside_another_or_in_its_place(self):
        self.assertEqual(
            self.woven("f(a, b)", ("", "f(a, b)", "", "0"), ("", "b", ")", "1"), ("f(", "a", ",", "2")),
            "(if crate::taken_out(1) { 0 } else { f((if crate::taken_out(3) { 2 } else { a }), (if crate::taken_out(2) { 1 } else { b })) })",
        )
        twice = self.woven("x", ("", "x", "", "y"), ("", "x", "", "z"))
        self.assertEqual(twice, "(if crate::taken_out(1) { y } else { (if crate::taken_out(2) { z } else { x }) })")

    def test_what_fits_no_longer_is_told(self):
        for edits in [[("", "c", "", "")], [("", "a", "", "")], [("", "a b", "", "0"), ("", "b a", "", "1")]]:
            with self.assertRaises(Misfit):
                self.woven("a b a", *edits)

    def test_a_control_changes_nothing(self):
        [mutant] = of(ONE)
        [edit] = mutants.control(mutant).edits
        self.assertEqual(mutants.mutated("if ready(x) {", edit), "if ready(x) {")
        self.assertEqual(mutants.mutated("if ready(x) {", mutant.edits[0]), "if true {")


if __name__ == "__main__":
    unittest.main()
