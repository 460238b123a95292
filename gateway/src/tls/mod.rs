//! The accept loop: TLS 1.3 with verified peers, closed when the peer's proof ends.
