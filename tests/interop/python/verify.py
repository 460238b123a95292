"""Verifies bundles with sigstore-python, offline, against a trusted root of ours.

Usage: verify.py TRUSTED_ROOT ARTIFACT IDENTITY ISSUER BUNDLE...
Exit 0: all verified; 1: the first that did not, on stderr.
"""

import hashlib
import json
import sys
from pathlib import Path

from sigstore.errors import VerificationError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity


def main(trusted_root: str, artifact: str, identity: str, issuer: str, *bundles: str) -> int:
    verifier = Verifier(trusted_root=TrustedRoot.from_file(trusted_root))
    policy = Identity(identity=identity, issuer=issuer)
    content = Path(artifact).read_bytes()
    for name in bundles:
        text = Path(name).read_text()
        bundle = Bundle.from_json(text)
        try:
            if "dsseEnvelope" in json.loads(text):
                _, payload = verifier.verify_dsse(bundle, policy)
                subjects = [subject["digest"]["sha256"] for subject in json.loads(payload)["subject"]]
                if subjects != [hashlib.sha256(content).hexdigest()]:
                    raise VerificationError("the statement is about another artifact")
            else:
                verifier.verify_artifact(content, bundle, policy)
        except VerificationError as error:
            print(f"{Path(name).name}: {error}", file=sys.stderr)
            return 1
    print(f"verified {len(bundles)} bundles")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
