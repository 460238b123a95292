//! Whether a connection has a request that is not answered to the end, and how long its peer may keep us waiting.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::pace::{Credit, Pace};

/// The open requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Requests(watch::Sender<State>);

#[derive(Clone, Copy, Debug)]
struct State {
    open: usize,
    /// How many of them have given their peer something that it has not taken yet.
    waiting: usize,
    /// Since when `credit` tells of what is waited for now.
    since: Instant,
    /// The connection's, not a body's: over HTTP/2 a slow line is shared by many.
    credit: Credit,
    /// Whether there was any request yet.
    met: bool,
    idle_since: Instant,
}

/// One request: open until dropped.
#[derive(Debug)]
pub(super) struct Open {
    requests: watch::Sender<State>,
    is_waiting: bool,
}

impl State {
    fn settle(&mut self) {
        let now = Instant::now();
        if self.waiting > 0 {
            self.credit.spend(now.duration_since(self.since));
        }
        self.since = now;
    }
}

impl Requests {
    pub(super) fn new(pace: Pace) -> Self {
        let (now, credit) = (Instant::now(), Credit::of(pace));
        Self(watch::Sender::new(State { open: 0, waiting: 0, since: now, credit, met: false, idle_since: now }))
    }

    pub(super) fn begin(&self) -> Open {
        self.0.send_modify(|state| {
            if state.open == 0 {
                state.credit.renew();
            }
            state.open += 1;
            state.met = true;
        });
        Open { requests: self.0.clone(), is_waiting: false }
    }

    /// Returns once the peer has kept us waiting for too long, or up to a quarter of its patience later: nobody is woken for
    /// every piece that is sent.
    pub(super) async fn too_slow(&self) {
        let mut states = self.0.subscribe();
        loop {
            let State { open, waiting, since, credit, .. } = *states.borrow_and_update();
            if waiting > 0 && since.elapsed() >= credit.left() {
                return;
            }
            if open == 0 {
                states.changed().await.expect("broken invariant: we hold the sender");
            } else {
                tokio::time::sleep(credit.patience() / 4).await;
            }
        }
    }

    /// Returns once there was no request for `first` after the start, or for `then` after the last one.
    pub(super) async fn idle(&self, first: Duration, then: Duration) {
        let mut states = self.0.subscribe();
        loop {
            let State { open, met, idle_since, .. } = *states.borrow_and_update();
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

impl Open {
    /// The peer was given so many bytes to take.
    pub(super) fn handed(&mut self, bytes: usize) {
        self.is_waiting = true;
        self.requests.send_if_modified(|state| {
            state.settle();
            state.credit.earn(bytes);
            state.waiting += 1;
            false
        });
    }

    /// The peer has taken what it was given: if there is nothing to send now, it is us who keep it waiting.
    pub(super) fn taken(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            self.requests.send_if_modified(|state| {
                state.settle();
                state.waiting -= 1;
                false
            });
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.taken();
        self.requests.send_modify(|state| {
            state.open -= 1;
            state.idle_since = Instant::now();
        });
    }
}
