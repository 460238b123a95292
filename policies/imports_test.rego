package witgate.imports_test

import data.witgate.imports

poll := {"name": "wasi:io/poll@0.2.3", "package": "wasi:io", "interface": "poll", "track": "wasi:io/poll@0.2"}

run := {"name": "run", "track": "run"}

old := {"name": "a:b/c", "package": "a:b", "interface": "c", "track": "a:b/c"}

test_covers if {
	imports.covers("wasi:io/poll@0.2.3", poll)
	imports.covers("wasi:io/poll@0.2", poll)
	imports.covers("wasi:io/*@0.2", poll)
	imports.covers("wasi:io/*", poll)
	imports.covers("run", run)
	imports.covers("a:b/*", old)
}

test_covers_nothing_else if {
	not imports.covers("wasi:io/*@0.3", poll)
	not imports.covers("wasi:*", poll)
	not imports.covers("*", poll)
	not imports.covers("*", run)
	not imports.covers("run/*", run)
}

test_uncovered if {
	surface := {"imports": [poll, run]}
	imports.uncovered({"wasi:io/*"}) == {"run"} with input.surface as surface
	imports.uncovered({"wasi:io/*", "run"}) == set() with input.surface as surface
}
