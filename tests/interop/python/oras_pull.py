"""Pulls an artifact with oras, with the credential that docker's configuration names.

Usage: oras_pull.py REFERENCE CA FOLDER basic|token
Prints the files it wrote.
"""

import sys

import oras.client


def main(reference: str, ca: str, folder: str, backend: str) -> None:
    client = oras.client.OrasClient(tls_verify=ca, auth_backend=backend)
    for file in client.pull(target=reference, outdir=folder):
        print(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
