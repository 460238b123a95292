//! What the pieces of a verified file hash to, so that it can be read in pieces later without being believed.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::case::Digest;

/// The digest of each piece of a file, made in one pass with the digest of the whole: who reads a piece that hashes to the
/// piece's digest has bytes of the verified whole, whatever happened to the file since.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seal {
    size_bytes: u64,
    pieces: Vec<Digest>,
}

/// What tells that a file is still the one that was hashed, as far as anybody who alters files honestly is concerned. Nothing
/// is served on the strength of it: it only saves hashing a large file as a whole before each reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Identity {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        }
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }
}

impl Seal {
    /// Reads to the end; gives the digest of the whole with those of its pieces.
    pub fn of(mut reader: impl Read) -> io::Result<(Digest, Self)> {
        let mut buffer = vec![0; PIECE_BYTES];
        let (mut whole, mut pieces, mut size_bytes) = (Sha256::new(), Vec::new(), 0);
        loop {
            let piece_bytes = fill(&mut reader, &mut buffer)?;
            let (piece, _) = buffer.split_at(piece_bytes);
            if !piece.is_empty() {
                whole.update(piece);
                pieces.push(Digest::of(piece));
                size_bytes += piece_bytes as u64;
            }
            if piece_bytes < PIECE_BYTES {
                break;
            }
        }
        Ok((Digest::from_bytes(whole.finalize().into()), Self { size_bytes, pieces }))
    }

    /// The size of the whole, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How much memory it takes, in bytes.
    pub fn weight_bytes(&self) -> u32 {
        u32::try_from(size_of::<Self>() + self.pieces.len() * size_of::<Digest>()).unwrap_or(u32::MAX)
    }

    /// The bytes of a piece as they are in `file`; none if they are others than those that were sealed.
    pub fn piece(&self, file: &File, number: usize) -> io::Result<Option<Bytes>> {
        let Some(expected) = self.pieces.get(number) else { return Ok(None) };
        let start = number as u64 * PIECE_BYTES as u64;
        let length = (self.size_bytes - start).min(PIECE_BYTES as u64);
        let mut bytes = vec![0; usize::try_from(length).expect("a piece is small")];
        match file.read_exact_at(&mut bytes, start) {
            Ok(()) if Digest::of(&bytes) == *expected => Ok(Some(bytes.into())),
            Ok(()) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Reads until `buffer` is full or the end is reached.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A piece, in bytes: what a reader from disk has in memory at a time. 64 readers take 16 MiB.
pub(super) const PIECE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_seal_covers_every_byte() {
        for size in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 2 * PIECE_BYTES + 5] {
            let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let (digest, seal) = Seal::of(bytes.as_slice()).unwrap();
            assert_eq!((digest, seal.size_bytes()), (Digest::of(&bytes), size as u64));
            assert_eq!(seal.pieces.len(), size.div_ceil(PIECE_BYTES));
            let file = file(&bytes);
            let read: Vec<u8> =
                (0..seal.pieces.len()).flat_map(|number| seal.piece(&file, number).unwrap().unwrap()).collect();
            assert_eq!(read, bytes);
            assert_eq!(seal.piece(&file, seal.pieces.len()).unwrap(), None);
        }
    }

    #[test]
    fn a2_4_a_piece_that_was_altered_is_never_given() {
        let bytes = vec![7_u8; 2 * PIECE_BYTES + 5];
        let (_, seal) = Seal::of(bytes.as_slice()).unwrap();
        for (at, spoilt) in [(0, 0), (PIECE_BYTES - 1, 0), (PIECE_BYTES, 1), (2 * PIECE_BYTES + 4, 2)] {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            let file = file(&altered);
            let given: Vec<bool> = (0..3).map(|number| seal.piece(&file, number).unwrap().is_some()).collect();
            let expected: Vec<bool> = (0..3).map(|number| number != spoilt).collect();
            assert_eq!(given, expected, "byte {at}");
        }
        let cut = file(&bytes[..2 * PIECE_BYTES + 4]);
        assert_eq!(seal.piece(&cut, 2).unwrap(), None);
        let longer = file(&[bytes.as_slice(), b"x"].concat());
        assert!(seal.piece(&longer, 2).unwrap().is_some(), "what stands behind the sealed bytes is never read");
    }
}
