//! A blob whose bytes were hashed, to be read as a whole or in part.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};

use super::super::fault::Trouble;
use super::Store;
use super::files::Opened;
use super::seal::{PIECE_BYTES, Seal};
use crate::case::Digest;
use crate::outage::Outage;

/// The bytes of a digest: either in memory, or in a file of which every piece is hashed again before it is given.
///
/// It can be read whatever the cache does meanwhile.
pub struct Blob {
    digest: Digest,
    pub(super) source: Source,
}

pub(super) enum Source {
    Memory(Bytes),
    File(Arc<Sealed>),
}

/// A file with the digests of its pieces, made when the whole hashed to the blob's digest.
pub(super) struct Sealed {
    pub opened: Opened,
    pub seal: Arc<Seal>,
    pub store: Store,
    pub digest: Digest,
}

impl Blob {
    pub(in super::super) fn in_memory(digest: Digest, bytes: Bytes) -> Self {
        Self { digest, source: Source::Memory(bytes) }
    }

    pub(super) fn in_file(sealed: Sealed) -> Self {
        Self { digest: sealed.digest, source: Source::File(Arc::new(sealed)) }
    }

    /// What the bytes hash to.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How many bytes there are.
    pub fn size_bytes(&self) -> u64 {
        match &self.source {
            Source::Memory(bytes) => bytes.len() as u64,
            Source::File(sealed) => sealed.seal.size_bytes(),
        }
    }

    /// The bytes of `range`, which is cut where the blob ends, if they are in memory: nobody copies them.
    pub fn at_hand(&self, range: Range<u64>) -> Option<Bytes> {
        let Source::Memory(bytes) = &self.source else { return None };
        let end = range.end.min(self.size_bytes());
        Some(bytes.slice(position(range.start.min(end))..position(end)))
    }

    /// The bytes of `range`, which is cut where the blob ends; from memory they come in one piece that nobody copied.
    ///
    /// An error ends it: a piece of the file no longer hashes to what it was, or the disk failed. Whoever sends it on must
    /// break the connection, so that the receiver does not take a part for the whole.
    pub fn read(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Outage>> {
        let end = range.end.min(self.size_bytes());
        let start = range.start.min(end);
        match &self.source {
            Source::Memory(bytes) => {
                let part = bytes.slice(position(start)..position(end));
                stream::iter((!part.is_empty()).then_some(Ok(part))).boxed()
            }
            Source::File(sealed) => {
                let sealed = sealed.clone();
                stream::unfold(Some((sealed, start)), move |state| async move {
                    let (sealed, at) = state.filter(|(_, at)| *at < end)?;
                    match Sealed::part(&sealed, at, end).await {
                        Ok(part) => {
                            let next = at + part.len() as u64;
                            Some((Ok(part), Some((sealed, next))))
                        }
                        Err(trouble) => Some((Err(trouble.into_outage()), None)),
                    }
                })
                .boxed()
            }
        }
    }

    /// All of it in memory; none if the file was altered, which is set aside then.
    pub(in super::super) async fn whole(self) -> Result<Option<Bytes>, Trouble> {
        let sealed = match self.source {
            Source::Memory(bytes) => return Ok(Some(bytes)),
            Source::File(sealed) => sealed,
        };
        let mut whole = Vec::with_capacity(position(sealed.seal.size_bytes()));
        while (whole.len() as u64) < sealed.seal.size_bytes() {
            let Some(piece) = Sealed::piece(&sealed, whole.len() / PIECE_BYTES).await? else { return Ok(None) };
            whole.extend_from_slice(&piece);
        }
        Ok(Some(whole.into()))
    }
}

impl Sealed {
    /// What a piece has of the bytes from `start` to `end`.
    async fn part(sealed: &Arc<Self>, start: u64, end: u64) -> Result<Bytes, Trouble> {
        let (number, within) = (position(start) / PIECE_BYTES, position(start) % PIECE_BYTES);
        let doing = || format!("reading cached blob `{}`", sealed.digest);
        let piece = Self::piece(sealed, number).await?.ok_or_else(|| {
            let altered = "its file has other bytes than its digest: it is set aside, ask again";
            Trouble::disk(doing(), std::io::Error::new(std::io::ErrorKind::InvalidData, altered))
        })?;
        let wanted = position(end) - number * PIECE_BYTES;
        Ok(piece.slice(within..wanted.min(piece.len())))
    }

    /// A piece of the file, hashed; none if its bytes were altered.
    async fn piece(sealed: &Arc<Self>, number: usize) -> Result<Option<Bytes>, Trouble> {
        let failed = {
            let digest = sealed.digest;
            move |source| Trouble::disk(format!("reading cached blob `{digest}`"), source)
        };
        let sealed = sealed.clone();
        let read = tokio::task::spawn_blocking(move || {
            let piece = sealed.seal.piece(sealed.opened.file(), number)?;
            if piece.is_none() {
                sealed.store.altered(&sealed.digest, &sealed.opened)?;
            }
            Ok(piece)
        });
        read.await.map_err(|gone| failed(gone.into()))?.map_err(failed)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob").field("digest", &self.digest).field("size_bytes", &self.size_bytes()).finish()
    }
}

/// A position within a blob; its size is limited, far below what a machine can address.
fn position(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a blob's size is limited")
}
