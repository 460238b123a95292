# What other tests start from. It stands alone, for who names a package in a test evaluates all of it.
package witgate.fixture_test

shop := "spiffe://prod.example/ns/shop"

# Unsigned, and otherwise good.
case := {
	"time": "2026-01-15T00:00:00Z",
	"scope": {"tenant": "default", "environment": "prod"},
	"caller": {"kind": "x509-svid", "id": shop},
	"host": shop,
	"links": [],
	"reference": {"upstream": "ghcr.io", "repository": "acme/cart"},
	"evidence": {"looked_in": ["referrers-api"], "findings": []},
}

base := {
	"signatures": [{"references": ["*"], "identities": [{"key": "release"}]}],
	"grants": [{"callers": ["spiffe://prod.example/ns/*", "local"], "references": ["*"], "imports": []}],
}

exemption := {
	"id": "EX-1",
	"scope": {"tenant": "default", "environment": "prod"},
	"references": ["ghcr.io/acme/*"],
	"codes": ["no-verified-signature"],
	"owner": "team-shop",
	"approved_by": "security",
	"reason": "the signer is down",
	"starts": "2026-01-01T00:00:00Z",
	"expires": "2026-02-01T00:00:00Z",
}

signed := object.union(case, {"evidence": {"looked_in": [], "findings": [{
	"status": "verified",
	"kind": "signature",
	"source": {"name": "sha256:1"},
	"signer": {"kind": "key", "name": "release", "keyid": "00"},
}]}})

test_the_one_is_signed_and_the_other_is_not if {
	count(case.evidence.findings) == 0
	count(signed.evidence.findings) == 1
}
