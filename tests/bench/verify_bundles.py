"""How long sigstore-python takes for each bundle, offline.

Usage: verify_bundles.py ROUNDS TRUSTED_ROOT ARTIFACT IDENTITY ISSUER BUNDLE...
Prints [[BUNDLE, MEDIAN_US]...]; one verifier for all, each bundle read and verified anew in each round.
"""

import json
import statistics
import sys
import time
from pathlib import Path

from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity


def main(rounds: str, trusted_root: str, artifact: str, identity: str, issuer: str, *bundles: str) -> None:
    verifier = Verifier(trusted_root=TrustedRoot.from_file(trusted_root))
    policy = Identity(identity=identity, issuer=issuer)
    content = Path(artifact).read_bytes()
    medians = []
    for name in bundles:
        text = Path(name).read_text()
        is_statement = "dsseEnvelope" in json.loads(text)
        times = []
        for _ in range(int(rounds)):
            begun = time.perf_counter()
            bundle = Bundle.from_json(text)
            if is_statement:
                verifier.verify_dsse(bundle, policy)
            else:
                verifier.verify_artifact(content, bundle, policy)
            times.append(time.perf_counter() - begun)
        medians.append([name, statistics.median(times) * 1e6])
    json.dump(medians, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
