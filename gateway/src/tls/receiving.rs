//! A request body on its way from its peer, never slower than it must be.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::pace::{Credit, Pace};

/// A request body that ends in an error once its peer falls too far behind the pace.
#[derive(Debug)]
pub(super) struct Receiving<B> {
    body: B,
    credit: Credit,
    /// Since when the peer is waited for, with what ends the wait.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    late: Late,
}

/// Whether the body of a request came too slowly.
#[derive(Clone, Debug, Default)]
pub(super) struct Late(Arc<AtomicBool>);

impl Late {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a reader of the body is told.
#[derive(Debug, thiserror::Error)]
#[error("the request's body comes too slowly")]
struct TooSlow;

impl<B> Receiving<B> {
    pub(super) fn new(body: B, pace: Pace, late: Late) -> Self {
        Self { body, credit: Credit::of(pace), waiting: None, late }
    }
}

impl<B> Body for Receiving<B>
where
    B: Body<Data = Bytes, Error: Into<axum::BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some((since, _)) = this.waiting.take() {
                this.credit.spend(since.elapsed());
            }
            if let Some(Ok(frame)) = &frame {
                this.credit.earn(frame.data_ref().map_or(0, Bytes::len));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let left = this.credit.left();
        let (_, end) = this.waiting.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + left)))
        });
        match end.as_mut().poll(context) {
            Poll::Ready(()) => {
                this.late.0.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err(TooSlow.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::StreamExt as _;
    use futures::stream;

    use super::*;

    const PACE: Pace = Pace { least_bytes_per_s: 1000, patience: Duration::from_millis(500) };

    /// Reads a body of 50 pieces, of which one comes every 20 ms.
    async fn read(piece_bytes: usize) -> (Result<Bytes, axum::Error>, Late) {
        let pieces = stream::iter(0..50).then(move |_| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; piece_bytes]))
        });
        let late = Late::default();
        let body = axum::body::Body::from_stream(Box::pin(pieces));
        let body = axum::body::Body::new(Receiving::new(body, PACE, late.clone()));
        (axum::body::to_bytes(body, usize::MAX).await, late)
    }

    #[tokio::test]
    async fn a12_3_a_body_that_comes_byte_by_byte_ends_and_one_that_takes_as_long_and_moves_does_not() {
        let (whole, late) = read(10_000).await;
        assert_eq!((whole.unwrap().len(), late.is_set()), (500_000, false));
        let start = Instant::now();
        let (cut, late) = read(1).await;
        assert!(cut.is_err() && late.is_set());
        assert!(start.elapsed() >= PACE.patience, "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a12_3_a_body_that_never_comes_ends_with_patience() {
        let late = Late::default();
        let never = axum::body::Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let body = axum::body::Body::new(Receiving::new(never, PACE, late.clone()));
        let start = Instant::now();
        assert!(axum::body::to_bytes(body, usize::MAX).await.is_err());
        assert!(late.is_set());
        assert!(start.elapsed() >= PACE.patience, "{:?}", start.elapsed());
    }
}
