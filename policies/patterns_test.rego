package witgate.patterns_test

import data.witgate.patterns

test_name_and_its_folders if {
	patterns.covering("ghcr.io/acme/cart") == {"ghcr.io/acme/cart", "ghcr.io/acme/*", "ghcr.io/*"}
}

test_a9_1_nothing_beside_a_folder if {
	not "ghcr.io/acme/*" in patterns.covering("ghcr.io/acme-evil/cart")
	not "ghcr.io/acme/*" in patterns.covering("ghcr.io/acme")
	not "ghcr.io/acme/*" in patterns.covering("ghcr.io/acme/")
}
