# A file as people put it beside ours: it adds to `refuse` of the package. Tests decide nothing, so this one is in no policy.
package witgate.admission

refuse contains reason if {
	input.refused_by_an_own_rule
	reason := {"code": "own-rule", "about": "", "detail": "", "hint": ""}
}

test_an_own_rule_is_silent_by_default if {
	count([reason | some reason in refuse; reason.code == "own-rule"]) == 0 with input as {}
}
