package witgate.claims_test

import data.witgate.claims

case_with(claimed, imported) := {
	"artifact": {"config": {"claimed_imports": claimed}},
	"surface": {"status": "component", "imports": [{"name": name} | some name in imported]},
}

details(case_) := {reason.detail | some reason in claims.warn with input as case_}

test_a_true_claim_and_none_are_no_warning if {
	count(details(case_with(["b", "a"], ["a", "b"]))) == 0
	count(details(case_with([], []))) == 0
	count(details({"artifact": {"config": {}}, "surface": {"status": "component", "imports": [{"name": "a"}]}})) == 0
	count(details({"artifact": {}, "surface": {"status": "component", "imports": []}})) == 0
	count(details({"artifact": {"config": {"claimed_imports": ["a"]}}, "surface": {"status": "unreadable"}})) == 0
}

test_what_is_left_out_is_told if {
	details(case_with([], ["wasi:sockets/tcp@0.2.3"])) == {"the config leaves out `wasi:sockets/tcp@0.2.3`"}
}

test_what_is_claimed_and_not_so_is_told if {
	details(case_with(["a", "c"], ["a", "b"])) == {"the config leaves out `b`", "the config claims `c`"}
}

test_many_are_counted if {
	details(case_with([], ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])) == {"the config leaves out `a`, `b`, `c`, `d`, `e`, `f`, `g`, `h` and 2 more"}
}

test_it_is_a_warning_of_the_contract if {
	codes := {reason.code | some reason in data.witgate.admission.warn with input as case_with([], ["a"])}
	codes == {"config-mismatch"}
}
