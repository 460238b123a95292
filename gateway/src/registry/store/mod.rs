//! Verified blobs, kept by their digest.

mod files;

pub(super) use files::Blobs;
