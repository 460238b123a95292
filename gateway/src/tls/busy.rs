//! Whether a connection has a request that is not answered to the end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::Instant;

/// The open requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Requests(watch::Sender<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    open: usize,
    /// Whether there was any request yet.
    met: bool,
    idle_since: Instant,
}

/// One request: open until dropped.
#[derive(Debug)]
pub(super) struct Open(watch::Sender<State>);

impl Requests {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(State { open: 0, met: false, idle_since: Instant::now() }))
    }

    pub(super) fn begin(&self) -> Open {
        self.0.send_modify(|state| {
            state.open += 1;
            state.met = true;
        });
        Open(self.0.clone())
    }

    /// Returns once there was no request for `first` after the start, or for `then` after the last one.
    pub(super) async fn idle(&self, first: Duration, then: Duration) {
        let mut states = self.0.subscribe();
        loop {
            let State { open, met, idle_since } = *states.borrow_and_update();
            let changed = states.changed();
            if open > 0 {
                changed.await.expect("broken invariant: we hold the sender");
                continue;
            }
            let deadline = idle_since + if met { then } else { first };
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|state| {
            state.open -= 1;
            state.idle_since = Instant::now();
        });
    }
}

/// A response body that keeps its request open until it is sent or given up.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) body: Body,
    pub(super) _open: Open,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
