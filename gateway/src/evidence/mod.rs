//! Who vouches: candidates become findings, each verified or rejected.
