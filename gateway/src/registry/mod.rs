//! Which bytes: a reference becomes an artifact whose every byte we hashed.
