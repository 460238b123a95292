"""Signs with sigstore-python: a message and the statement of `cosign sign`, about one artifact.

Usage: sign.py TRUSTED_ROOT SIGNING_CONFIG ARTIFACT < TOKEN
Writes message.json and statement.json.
"""

import hashlib
import json
import sys
from pathlib import Path

from sigstore.dsse import DigestSet, StatementBuilder, Subject
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext


def main(trusted_root: str, signing_config: str, artifact: str) -> None:
    config = {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": json.loads(Path(trusted_root).read_text()),
        "signingConfig": json.loads(Path(signing_config).read_text()),
    }
    content = Path(artifact).read_bytes()
    digest = DigestSet(root={"sha256": hashlib.sha256(content).hexdigest()})
    statement = (
        StatementBuilder()
        .subjects([Subject(name="artifact", digest=digest)])
        .predicate_type("https://sigstore.dev/cosign/sign/v1")
        .predicate({})
        .build()
    )
    context = SigningContext.from_trust_config(ClientTrustConfig.from_json(json.dumps(config)))
    with context.signer(IdentityToken(sys.stdin.read())) as signer:
        Path("message.json").write_text(signer.sign_artifact(content).to_json())
        Path("statement.json").write_text(signer.sign_dsse(statement).to_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
