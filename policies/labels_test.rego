package witgate.labels_test

import data.witgate.admission
import data.witgate.fixture_test as fixture
import data.witgate.labels

shop := {"caller": {"kind": "x509-svid", "id": "spiffe://prod.example/ns/shop"}}

callers := [
	{"callers": ["spiffe://prod.example/ns/*"], "labels": {"env": "prod"}},
	{"callers": ["spiffe://prod.example/ns/shop"], "labels": {"team": "shop"}},
]

means(selector) if labels.selects(selector) with input as shop with data.witgate.callers as callers

expression(key, operator, values) := {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}

test_a_selector_means_whom_all_of_it_fits if {
	every selector in [
		{"matchLabels": {"env": "prod", "team": "shop"}},
		{"matchLabels": {"env": "prod"}, "matchExpressions": [{"key": "team", "operator": "Exists"}]},
		expression("team", "In", ["cart", "shop"]),
		expression("team", "NotIn", ["cart"]),
		expression("team", "Exists", []),
		expression("zone", "DoesNotExist", []),
	] {
		means(selector)
	}
	every selector in [
		{"matchLabels": {"env": "prod", "team": "cart"}},
		{"matchLabels": {"env": "prod"}, "matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]},
		{"matchLabels": {"zone": "a"}},
		expression("team", "In", ["cart"]),
		expression("team", "NotIn", ["cart", "shop"]),
		expression("zone", "Exists", []),
	] {
		not means(selector)
	}
}

test_a20_2_what_is_not_known_matches_nothing if {
	every selector in [
		{},
		{"matchLabels": {}},
		{"matchExpressions": []},
		expression("zone", "NotIn", ["a"]),
		expression("team", "NotIn", []),
		expression("team", "in", ["shop"]),
		{"matchExpressions": [{"operator": "DoesNotExist"}]},
		{"matchExpressions": [{"key": "team", "operator": "In"}]},
		{"matchExpressions": [{"key": "team", "operator": "NotIn"}]},
	] {
		not means(selector)
	}
}

test_a20_2_a_caller_without_labels_matches_nothing if {
	every selector in [expression("zone", "DoesNotExist", []), expression("team", "NotIn", ["cart"])] {
		stranger := {"caller": {"kind": "x509-svid", "id": "spiffe://other.example/x"}}
		not labels.selects(selector) with input as stranger with data.witgate.callers as callers
		not labels.selects(selector) with input as shop with data.witgate.callers as []
		unproven := {"caller": {"kind": "local", "id": "spiffe://prod.example/ns/shop"}}
		not labels.selects(selector) with input as unproven with data.witgate.callers as callers
	}
}

test_a20_2_labels_that_contradict_one_another_match_nothing if {
	twice := array.concat(callers, [{"callers": ["spiffe://prod.example/ns/shop"], "labels": {"team": "cart"}}])
	not labels.selects({"matchLabels": {"env": "prod"}}) with input as shop with data.witgate.callers as twice
}

admits(grants, labelled) if {
	admission.admit with input as fixture.signed with data.witgate.signatures as fixture.base.signatures
		with data.witgate.grants as grants
		with data.witgate.callers as labelled
}

test_a_grant_names_callers_or_selects_them_or_both if {
	rule := {"references": ["ghcr.io/acme/*"], "selector": {"matchLabels": {"team": "shop"}}}
	other := {"matchLabels": {"team": "cart"}}
	admits([rule], callers)
	not admits([rule], [])
	not admits([object.union(rule, {"references": ["ghcr.io/other/*"]})], callers)
	not admits([object.union(rule, {"environments": ["dev"]})], callers)
	not admits([object.remove(rule, ["selector"])], callers)
	named := object.union(rule, {"callers": ["spiffe://prod.example/ns/*"]})
	admits([named], callers)
	not admits([object.union(object.remove(named, ["selector"]), {"selector": other})], callers)
	not admits([object.union(named, {"callers": ["spiffe://prod.example/host/*"]})], callers)
	not admits([object.union(named, {"callers": []})], callers)
}
