package witgate.importing_test

import data.witgate.admission
import data.witgate.fixture_test as fixture
import data.witgate.importing

tcp := {"name": "wasi:sockets/tcp@0.2.3", "package": "wasi:sockets", "interface": "tcp", "version": "0.2.3", "track": "wasi:sockets/tcp@0.2"}

udp := {"name": "wasi:sockets/udp@0.2.3", "package": "wasi:sockets", "interface": "udp", "version": "0.2.3", "track": "wasi:sockets/udp@0.2"}

old := {"name": "a:b/c", "package": "a:b", "interface": "c", "track": "a:b/c"}

run := {"name": "run", "track": "run"}

case(imports) := {
	"scope": {"tenant": "default", "environment": "prod"},
	"caller": {"kind": "x509-svid", "id": "spiffe://prod.example/ns/shop"},
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"surface": {"status": "component", "imports": imports},
}

after(imports, names) := object.union(case(imports), {"previous": {"version": "1.0.0", "imports": names}})

denies(deny) := {"references": ["ghcr.io/acme/*"], "deny": deny}

told(asked, entries) := {[reason.code, reason.about] | some reason in refuse} if {
	refuse := importing.refuse with input as asked with data.witgate.import_rules as entries
}

allowed(asked, entries) if importing.allowed with input as asked with data.witgate.import_rules as entries

test_a_denied_import_is_refused_in_every_form if {
	every pattern in ["wasi:sockets/*", "wasi:sockets/*@0.2", "wasi:sockets/tcp", "wasi:sockets/tcp@0.2", "wasi:sockets/tcp@0.2.3", "*"] {
		told(case([tcp]), [denies([{"pattern": pattern}])]) == {["import-denied", "wasi:sockets/tcp@0.2.3"]}
		not allowed(case([tcp]), [denies([{"pattern": pattern}])])
	}
	every pattern in ["wasi:sockets/udp", "wasi:sockets/*@0.3", "wasi:sock/*", "wasi:sockets/tcp@0.3", "run", "tcp"] {
		told(case([tcp]), [denies([{"pattern": pattern}])]) == set()
		allowed(case([tcp]), [denies([{"pattern": pattern}])])
	}
	told(case([run, old]), [denies([{"pattern": "run"}, {"pattern": "a:b/c"}])]) == {["import-denied", "run"], ["import-denied", "a:b/c"]}
}

test_a_range_narrows_to_its_versions_and_what_has_none_is_in_it if {
	in_range(tcp, "wasi:sockets/*", ">=0.2.0 <0.3.0") == {["import-denied", tcp.name]}
	in_range(tcp, "wasi:sockets/*", ">=0.3.0") == set()
	in_range(old, "a:b/*", ">=0.3.0") == {["import-denied", "a:b/c"]}
	candidate := object.union(tcp, {"name": "wasi:sockets/tcp@0.2.0-rc.1", "version": "0.2.0-rc.1", "track": "wasi:sockets/tcp@0.2.0-rc.1"})
	in_range(candidate, "wasi:sockets/*", ">=0.2.0 <0.3.0") == {["import-denied", "wasi:sockets/tcp@0.2.0-rc.1"]}
	odd := object.union(tcp, {"name": "wasi:sockets/tcp@0.2", "version": "0.2", "track": "wasi:sockets/tcp@0.2"})
	in_range(odd, "wasi:sockets/*", ">=0.3.0") == {["import-denied", "wasi:sockets/tcp@0.2"]}
}

in_range(import_, pattern, range) := told(case([import_]), [denies([{"pattern": pattern, "range": range}])])

test_a_rule_is_for_its_references_callers_and_environments if {
	rule := denies([{"pattern": "wasi:sockets/*"}])
	every other in [
		{"references": ["ghcr.io/other/*"]},
		{"callers": ["spiffe://prod.example/ns/cart"]},
		{"callers": []},
		{"environments": ["dev"]},
	] {
		allowed(case([tcp]), [object.union(rule, other)])
	}
	every same in [{"callers": ["spiffe://prod.example/ns/*"]}, {"environments": ["prod"]}] {
		not allowed(case([tcp]), [object.union(rule, same)])
	}
}

test_the_reason_is_told if {
	refuse := importing.refuse with input as case([tcp])
		with data.witgate.import_rules as [object.union(denies([{"pattern": "wasi:sockets/*", "range": "<1.0.0"}]), {"reason": "raw sockets are for the edge"})]
	{reason.detail | some reason in refuse} == {"policy denies `wasi:sockets/*` in `<1.0.0`, because `raw sockets are for the edge`"}
}

test_whose_imports_nobody_knows_is_refused_where_a_rule_asks if {
	every surface in [{"status": "unreadable"}, {"status": "component"}] {
		asked := object.union(object.remove(case([]), ["surface"]), {"surface": surface})
		told(asked, [denies([{"pattern": "*"}])]) == {["import-denied", "ghcr.io/acme/cart"]}
		allowed(asked, [])
	}
}

newly(more) := object.union({"references": ["*"], "new_imports": "refuse"}, more)

test_what_a_release_newly_imports_is_told if {
	told(after([tcp, run], ["run"]), [newly({})]) == {["import-new", tcp.name]}
	told(after([tcp, run], []), [newly({})]) == {["import-new", tcp.name], ["import-new", "run"]}
	refuse := importing.refuse with input as after([tcp], []) with data.witgate.import_rules as [newly({})]
	{reason.detail | some reason in refuse} == {"this release newly imports `wasi:sockets/tcp@0.2.3`; version `1.0.0`, admitted before, did not"}
	unversioned := json.remove(after([tcp], []), ["previous/version"])
	again := importing.refuse with input as unversioned with data.witgate.import_rules as [newly({})]
	{reason.detail | some reason in again} == {"this release newly imports `wasi:sockets/tcp@0.2.3`; the artifact admitted before did not"}
}

test_tracks_are_compared_as_the_host_links_them if {
	told(after([tcp], ["wasi:sockets/tcp@0.2.0"]), [newly({})]) == set()
	told(after([tcp], ["wasi:sockets/tcp@0.2.0+build.1"]), [newly({})]) == set()
	told(after([tcp], ["wasi:sockets/tcp@0.3.0"]), [newly({})]) == {["import-new", tcp.name]}
	told(after([tcp], ["wasi:sockets/tcp@0.2.0-rc.1"]), [newly({})]) == {["import-new", tcp.name]}
	told(after([tcp], ["wasi:sockets/tcp"]), [newly({})]) == {["import-new", tcp.name]}
}

test_a_name_is_cut_to_its_track if {
	tracks := {
		"a:b/c@1.4.0": "a:b/c@1",
		"wasi:io/poll@0.2.12": "wasi:io/poll@0.2",
		"a:b/c@0.0.1": "a:b/c@0.0.1",
		"a:b/c@0.2.0-rc.1": "a:b/c@0.2.0-rc.1",
		"a:b/c@v1.0.0": "a:b/c@v1.0.0",
		"a:b/c@1.0": "a:b/c@1.0",
		"a:b/c": "a:b/c",
		"run": "run",
	}
	every name, track in tracks {
		importing.track_of(name) == track
	}
}

test_only_what_is_watched_is_looked_at if {
	watch := newly({"watch": ["wasi:sockets/tcp"]})
	told(after([tcp, udp, run], []), [watch]) == {["import-new", tcp.name]}
	told(after([tcp, udp, run], []), [newly({"watch": ["wasi:sockets/*"]})]) == {["import-new", tcp.name], ["import-new", udp.name]}
	told(after([udp, run], []), [watch]) == set()
}

test_a_first_release_is_compared_with_nothing if {
	told(case([tcp, run]), [newly({})]) == set()
	allowed(case([tcp, run]), [newly({})])
}

test_a_warning_refuses_nothing if {
	asked := after([tcp], [])
	rules := [newly({"new_imports": "warn"})]
	told(asked, rules) == set()
	warn := importing.warn with input as asked with data.witgate.import_rules as rules
	{[reason.code, reason.about] | some reason in warn} == {["import-new", tcp.name]}
	refused := importing.warn with input as asked with data.witgate.import_rules as [newly({})]
	refused == set()
}

test_a19_2_admission_asks_and_nothing_lifts_it if {
	asked := object.union(fixture.case, {"surface": {"status": "component", "imports": [tcp]}})
	lifts := object.union(fixture.exemption, {"codes": ["no-verified-signature", "import-denied"]})
	answer := {"admit": admission.admit, "refuse": admission.refuse} with input as asked
		with data.witgate.signatures as fixture.base.signatures
		with data.witgate.grants as fixture.base.grants
		with data.witgate.exemptions as [lifts]
		with data.witgate.import_rules as [{"references": ["*"], "deny": [{"pattern": "wasi:sockets/*"}]}]
	answer.admit == false
	{reason.code | some reason in answer.refuse} == {"import-denied"}
}
