//! A response body on its way to its peer: open until it is sent, in pieces, never slower than it must be.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};

use super::busy::Open;

/// A response body that keeps its request open until its last piece is taken or given up.
///
/// It is handed to the connection piece by piece, so that how fast the peer takes it can be seen: given a whole blob at once
/// hyper calls it sent, whoever reads it and when, and copies it for a transport that writes one buffer at a time.
#[derive(Debug)]
pub(super) struct Sending {
    body: Body,
    /// What the body gave and the peer has not room for yet.
    rest: Bytes,
    open: Open,
}

/// What is handed to the connection at once, in bytes.
pub(super) const PIECE_BYTES: usize = 512 * 1024;

impl Sending {
    pub(super) fn new(body: Body, open: Open) -> Self {
        Self { body, rest: Bytes::new(), open }
    }
}

impl hyper::body::Body for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        // Asked for more: the peer has room for it.
        self.open.taken();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.rest = bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let size = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(size);
        self.open.handed(size);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (behind, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(behind.lower().saturating_add(rest));
        if let Some(upper) = behind.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use futures::future::poll_fn;
    use hyper::body::Body as _;
    use tokio::time::{Instant, timeout};

    use super::super::busy::Requests;
    use super::super::pace::Pace;
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(500);
    const PACE: Pace = Pace { least_bytes_per_s: 1 << 10, patience: PATIENCE };

    async fn next(sending: &mut Sending) -> Option<Bytes> {
        let frame = poll_fn(|context| Pin::new(&mut *sending).poll_frame(context)).await;
        frame.map(|frame| frame.unwrap().into_data().unwrap())
    }

    fn sending(pieces: usize, requests: &Requests) -> Sending {
        Sending::new(Body::from(vec![7; pieces * PIECE_BYTES]), requests.begin())
    }

    #[tokio::test]
    async fn a_body_goes_out_in_pieces_that_nobody_copied() {
        let whole = Bytes::from(vec![7; 3 * PIECE_BYTES + 1]);
        let mut sending = Sending::new(Body::from(whole.clone()), Requests::new(PACE).begin());
        let mut sent = 0;
        while sent < whole.len() {
            assert_eq!(sending.size_hint().exact(), Some((whole.len() - sent) as u64));
            assert!(!sending.is_end_stream());
            let piece = next(&mut sending).await.unwrap();
            assert!(piece.len() <= PIECE_BYTES);
            assert_eq!(piece.as_ptr(), whole.slice(sent..).as_ptr(), "copied");
            sent += piece.len();
        }
        assert!(sending.is_end_stream());
        assert_eq!(next(&mut sending).await, None);
    }

    #[tokio::test]
    async fn a12_3_a_peer_that_takes_nothing_is_waited_for_as_long_as_patience_lasts() {
        let requests = Requests::new(PACE);
        let mut sending = sending(10, &requests);
        // Nothing was handed out yet: it is us who are slow.
        assert!(timeout(PATIENCE * 3, requests.too_slow()).await.is_err());
        next(&mut sending).await.unwrap();
        let start = Instant::now();
        requests.too_slow().await;
        assert!(start.elapsed() >= PATIENCE, "{:?}", start.elapsed());
        // It takes more, and has what a piece earns.
        next(&mut sending).await.unwrap();
        assert!(requests.too_slow().now_or_never().is_none());
        drop(sending);
        assert!(timeout(PATIENCE * 3, requests.too_slow()).await.is_err(), "what is over is not slow");
    }

    /// Over HTTP/2 many answers share one line: one of them that waits for its turn is no slow peer.
    #[tokio::test]
    async fn what_moves_on_one_stream_counts_for_the_others() {
        let requests = Requests::new(PACE);
        let (mut moving, mut still) = (sending(40, &requests), sending(10, &requests));
        next(&mut still).await.unwrap();
        for _ in 0..30 {
            next(&mut moving).await.unwrap();
            assert!(timeout(PATIENCE / 10, requests.too_slow()).await.is_err());
        }
        drop(moving);
        requests.too_slow().await;
    }

    #[tokio::test]
    async fn a_body_that_we_have_not_yet_is_no_slow_peer() {
        let requests = Requests::new(PACE);
        let (sender, receiver) = tokio::sync::oneshot::channel::<Bytes>();
        let late = futures::stream::once(async { receiver.await.map_err(std::io::Error::other) });
        let mut sending = Sending::new(Body::from_stream(late), requests.begin());
        assert!(next(&mut sending).now_or_never().is_none());
        assert!(timeout(PATIENCE * 3, requests.too_slow()).await.is_err());
        sender.send(Bytes::from_static(b"late")).unwrap();
        assert_eq!(next(&mut sending).await.unwrap(), "late");
        requests.too_slow().await;
    }
}
