//! A private Sigstore: CA, CT log, Rekor v1, Rekor v2 and TSA.
